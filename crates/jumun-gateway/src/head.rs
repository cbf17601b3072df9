//! Heads of requests and responses: hop-by-hop headers (RFC 9110, section 7.6), `X-Forwarded-*`, CORS.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version,
    header::{self, Entry},
};
use jumun_http::{CAPACITY, Code, EXPIRES, Problem};
use jumun_telemetry::REQUEST_ID;
use std::net::IpAddr;

/// Headers that apply to one connection only.
const HOP_BY_HOP: [HeaderName; 6] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

const ASK: HeaderName = HeaderName::from_static(EXPIRES);
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The gateway in the header `Via`, with the version of HTTP in which it received the message.
const fn via(version: Version) -> HeaderValue {
    HeaderValue::from_static(match version {
        Version::HTTP_10 => "1.0 jumun",
        _ => "1.1 jumun",
    })
}

/// The client's end of a connection: its address, in the forms that each request needs.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// The IP address of the client.
    pub(crate) ip: IpAddr,
    address: HeaderValue,
    /// The element for the header `Forwarded`, if the request has one.
    forwarded: HeaderValue,
}

impl Peer {
    pub(crate) fn new(address: IpAddr) -> Self {
        let node = if address.is_ipv6() { format!("\"[{address}]\"") } else { address.to_string() };
        let value = |text: String| HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        Self { ip: address, address: value(address.to_string()), forwarded: value(format!("for={node};proto=http")) }
    }
}

/// Prepares the head of a client's request for a service.
///
/// Values of earlier proxies are kept, and the gateway appends its own. The service decides which proxies it trusts.
pub(crate) fn prepare_request(head: &mut HeaderMap, version: Version, peer: &Peer, host: Option<HeaderValue>) {
    remove_hop_by_hop(head);
    head.remove(header::PROXY_AUTHORIZATION);
    head.remove(header::EXPECT); // the gateway has read the body
    head.remove(header::CONTENT_LENGTH); // set again from the buffered body
    head.remove(ASK); // only services may ask
    append(head, FORWARDED_FOR, &peer.address);
    append(head, FORWARDED_PROTO, &HeaderValue::from_static("http"));
    if let Some(host) = host {
        append(head, FORWARDED_HOST, &host);
    }
    if head.contains_key(FORWARDED) {
        append(head, FORWARDED, &peer.forwarded);
    }
    append(head, header::VIA, &via(version));
}

/// Whether `Max-Forwards` lets a request go on to a service, and counts it down (RFC 9110, section 7.6.2).
pub(crate) fn may_forward(head: &mut HeaderMap) -> Result<bool, Problem> {
    let Some(left) = head.get(header::MAX_FORWARDS) else { return Ok(true) };
    let digits = left.to_str().ok().filter(|left| !left.is_empty() && left.bytes().all(|byte| byte.is_ascii_digit()));
    let digits = digits.ok_or_else(|| Problem::new(Code::Malformed, "The value of Max-Forwards is not a number."))?;
    let left = digits.parse().unwrap_or(u64::MAX).checked_sub(1); // a larger number becomes the largest one
    left.inspect(|left| drop(head.insert(header::MAX_FORWARDS, (*left).into()))).map_or(Ok(false), |_| Ok(true))
}

/// Checks how the body of a response is framed (RFC 9112, section 6.3), and removes what contradicts it. hyper has done so
/// in part: it takes a coding that nobody can undo, and a length beside a coding. Passed on, both would be taken for another
/// body.
pub(crate) fn check_response(head: &mut http::response::Parts) -> Result<(), &'static str> {
    let (status, head) = (head.status, &mut head.headers);
    let has_no_body = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if head.contains_key(header::TRANSFER_ENCODING) && !has_no_body {
        let mut codings = head.get_all(header::TRANSFER_ENCODING).iter();
        let is_chunked = codings.all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
        if !is_chunked || head.get_all(header::TRANSFER_ENCODING).iter().nth(1).is_some() {
            return Err("it has a transfer coding that is not known here");
        }
        if head.contains_key(header::CONTENT_LENGTH) {
            return Err("it has a length beside a transfer coding");
        }
    }
    if status == StatusCode::NO_CONTENT {
        head.remove(header::CONTENT_LENGTH); // RFC 9110, section 8.6
    }
    let mut lengths = head.get_all(header::CONTENT_LENGTH).iter();
    let (Some(first), second) = (lengths.next(), lengths.next()) else { return Ok(()) };
    if second.is_none() && first.as_bytes().iter().all(u8::is_ascii_digit) && !first.is_empty() {
        return Ok(());
    }
    let text = |length: &HeaderValue| length.to_str().map(str::to_owned).map_err(|_| "its length is not a number");
    let lengths = head.get_all(header::CONTENT_LENGTH).iter().map(text).collect::<Result<Vec<_>, _>>()?.join(",");
    let number =
        |length: &str| length.trim().bytes().all(|byte| byte.is_ascii_digit()).then(|| length.trim().parse().ok());
    let mut lengths = lengths.split(',').map(|length| number(length).flatten());
    let first: u64 = lengths.next().flatten().ok_or("its length is not a number")?;
    if lengths.any(|length| length != Some(first)) {
        return Err("it has several lengths");
    }
    head.insert(header::CONTENT_LENGTH, first.into());
    Ok(())
}

/// Prepares the head of a service's response for a client.
pub(crate) fn prepare_response<B>(response: &mut Response<B>, request_id: &HeaderValue) {
    let version = std::mem::replace(response.version_mut(), Version::HTTP_11);
    let head = response.headers_mut();
    remove_hop_by_hop(head);
    head.remove(CAPACITY); // told to other services only
    append(head, header::VIA, &via(version));
    if let Entry::Vacant(vacant) = head.entry(REQUEST_ID) {
        vacant.insert(request_id.clone());
    }
}

fn remove_hop_by_hop(head: &mut HeaderMap) {
    if head.contains_key(header::CONNECTION) {
        let named =
            head.get_all(header::CONNECTION).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        let named: Vec<_> = named.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect();
        for name in named {
            head.remove(name);
        }
        head.remove(header::CONNECTION);
    }
    for name in &HOP_BY_HOP {
        head.remove(name);
    }
}

/// Appends a line. Lines of the same name form one list (RFC 9110, section 5.3).
fn append(head: &mut HeaderMap, name: HeaderName, value: &HeaderValue) {
    head.append(name, value.clone());
}

/// The origins of web pages that may call the gateway.
#[derive(Debug)]
pub(crate) enum Cors {
    /// None: the gateway sends no CORS headers, and browsers apply the same-origin policy.
    Off,
    /// All origins.
    Any,
    /// The listed origins.
    Listed(Vec<HeaderValue>),
}

impl Cors {
    pub(crate) fn new(origins: &[String]) -> Self {
        if origins.is_empty() {
            return Self::Off;
        }
        if origins.iter().any(|origin| origin == "*") {
            return Self::Any;
        }
        Self::Listed(origins.iter().filter_map(|origin| HeaderValue::try_from(origin).ok()).collect())
    }

    pub(crate) const fn is_off(&self) -> bool {
        matches!(self, Self::Off)
    }

    /// Whether a request is a preflight.
    pub(crate) fn is_preflight(&self, method: &Method, head: &HeaderMap) -> bool {
        !self.is_off()
            && method == Method::OPTIONS
            && head.contains_key(header::ORIGIN)
            && head.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// Sets the headers that let pages of this origin read the response, if it is allowed.
    pub(crate) fn allow(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        let allowed = match self {
            Self::Off => return,
            Self::Any => origin.map(|_| HeaderValue::from_static("*")),
            Self::Listed(origins) => {
                answer.append(header::VARY, HeaderValue::from_static("origin"));
                origin.filter(|origin| origins.contains(origin)).cloned()
            }
        };
        let Some(allowed) = allowed else { return };
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        let readable = HeaderValue::from_static("location, retry-after, x-request-id, jumun-seen, idempotency-key");
        answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, readable);
    }

    /// Sets the further headers of the response to a preflight.
    pub(crate) fn allow_preflight(answer: &mut HeaderMap) {
        let headers = [
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST, PUT, PATCH, DELETE"),
            (
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                "content-type, accept, idempotency-key, x-request-id, jumun-seen, traceparent, tracestate",
            ),
            (header::ACCESS_CONTROL_MAX_AGE, "3600"),
        ];
        for (name, value) in headers {
            answer.insert(name, HeaderValue::from_static(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut head = HeaderMap::new();
        for (name, value) in lines {
            head.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        head
    }

    fn all<'a>(head: &'a HeaderMap, name: &str) -> Vec<&'a str> {
        head.get_all(name).iter().map(|value| value.to_str().expect("text")).collect()
    }

    #[test]
    fn hop_by_hop_headers_are_removed() {
        let mut request = head(&[
            ("host", "shop"),
            ("connection", "close, X-Private"),
            ("connection", "x-forwarded-for"),
            ("x-private", "1"),
            ("x-public", "1"),
            ("x-forwarded-for", "6.6.6.6"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic x"),
            ("expect", "100-continue"),
            ("content-length", "7"),
            ("jumun-expires", "99999999999999"),
        ]);
        let peer = Peer::new([10, 0, 0, 1].into());
        prepare_request(&mut request, Version::HTTP_11, &peer, Some(HeaderValue::from_static("shop")));
        let mut left: Vec<_> = request.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        let ours = ["host", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-public"];
        assert_eq!(left, ours);
        assert_eq!(all(&request, "x-forwarded-for"), ["10.0.0.1"], "a client cannot remove it");
    }

    #[test]
    fn values_of_earlier_proxies_are_kept() {
        let mut request = head(&[
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=1.1.1.1"),
            ("via", "1.1 edge"),
        ]);
        let peer = Peer::new(std::net::Ipv6Addr::LOCALHOST.into());
        prepare_request(&mut request, Version::HTTP_11, &peer, None);
        assert_eq!(all(&request, "x-forwarded-for"), ["1.1.1.1", "::1"]);
        assert_eq!(all(&request, "x-forwarded-proto"), ["https", "http"]);
        assert_eq!(all(&request, "forwarded"), ["for=1.1.1.1", "for=\"[::1]\";proto=http"]);
        assert_eq!(all(&request, "via"), ["1.1 edge", "1.1 jumun"]);
    }

    #[test]
    fn a_length_is_one_and_a_coding_is_chunked() {
        let check = |status: u16, lines: &[(&'static str, &'static str)]| {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::from_u16(status).expect("a status");
            *response.headers_mut() = head(lines);
            let (mut parts, ()) = response.into_parts();
            let checked = check_response(&mut parts);
            checked.map(|()| all(&parts.headers, "content-length").join("|"))
        };
        let (length, coding) = ("content-length", "transfer-encoding");
        assert_eq!(check(200, &[(length, "5")]), Ok("5".into()));
        assert_eq!(check(200, &[(length, "5, 5")]), Ok("5".into()));
        assert_eq!(check(200, &[(length, "5"), (length, "5")]), Ok("5".into()));
        assert_eq!(check(200, &[(coding, "chunked")]), Ok(String::new()));
        assert_eq!(check(204, &[(length, "5"), (coding, "chunked")]), Ok(String::new()));
        assert_eq!(check(304, &[(length, "5")]), Ok("5".into()), "of what was not sent");
        for lines in [
            &[(length, "5, 6")][..],
            &[(length, "5"), (length, "6")],
            &[(length, "+5")],
            &[(length, "")],
            &[(coding, "gzip, chunked")],
            &[(coding, "gzip")],
            &[(coding, "chunked"), (coding, "chunked")],
            &[(coding, "chunked"), (length, "5")],
        ] {
            assert!(check(200, lines).is_err(), "{lines:?}");
        }
    }

    #[test]
    fn forwards_are_counted_down() {
        let forward = |left: &'static str| {
            let mut request = head(&[("max-forwards", left)]);
            may_forward(&mut request).map(|may| (may, all(&request, "max-forwards").join("|"))).ok()
        };
        assert_eq!(forward("0"), Some((false, "0".into())));
        assert_eq!(forward("1"), Some((true, "0".into())));
        assert_eq!(forward("99999999999999999999"), Some((true, (u64::MAX - 1).to_string())));
        assert_eq!((forward("-1"), forward(""), forward("x")), (None, None, None));
        assert_eq!(may_forward(&mut HeaderMap::new()).ok(), Some(true));
    }

    #[test]
    fn only_listed_origins_may_read_responses() {
        let origin = HeaderValue::from_static("https://shop.example");
        let allowed = |origins: &[&str], origin: Option<&HeaderValue>| {
            let mut answer = HeaderMap::new();
            Cors::new(&origins.iter().map(ToString::to_string).collect::<Vec<_>>()).allow(origin, &mut answer);
            let allowed = answer.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).cloned();
            (allowed, answer.contains_key(header::VARY))
        };
        assert_eq!(allowed(&[], Some(&origin)), (None, false));
        assert_eq!(allowed(&["*"], Some(&origin)), (Some(HeaderValue::from_static("*")), false));
        assert_eq!(allowed(&["*"], None), (None, false));
        assert_eq!(allowed(&["https://other.example"], Some(&origin)), (None, true));
        let two = ["https://other.example", "https://shop.example"];
        assert_eq!(allowed(&two, Some(&origin)), (Some(origin.clone()), true));
        assert_eq!(allowed(&two, None), (None, true), "a cache must not serve it to a page");
    }
}

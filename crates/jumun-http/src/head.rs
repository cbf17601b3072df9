//! What RFC 9110 and RFC 9112 require of the head of each request, whatever its path: checked by the gateway and by services
//! before anything else.

use crate::{
    fields::{MediaType, is_utf8, list},
    headers::{IDEMPOTENCY_KEY, SEEN},
    limits::URI_MAX_BYTES,
    problem::{Code, Problem},
    reply::Reply,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header, request::Parts, uri::Scheme};
use jumun_telemetry::REQUEST_ID;

/// Headers of which a request has one. Which of several counts, two servers may decide in two ways.
const SINGLE: [&str; 7] = [IDEMPOTENCY_KEY, SEEN, REQUEST_ID, "authorization", "max-forwards", "origin", "x-api-key"];

/// Checks the head of a request. `max_lines` is the most header lines that the server takes.
pub fn check_head(head: &Parts, has_body: bool, max_lines: usize) -> Result<(), Problem> {
    check(head, has_body, max_lines).map_err(|problem| {
        // Two servers may understand a malformed head in two ways, and so disagree where the next request begins.
        let is_last = matches!(problem.code, Code::Malformed | Code::NotImplemented);
        Problem { is_last, ..problem }
    })
}

fn check(head: &Parts, has_body: bool, max_lines: usize) -> Result<(), Problem> {
    let Parts { method, uri, version, headers, .. } = head;
    check_target(method, uri)?;
    if headers.len() > max_lines {
        return Err(Problem::new(Code::HeadTooLarge, format!("A request has at most {max_lines} header lines.")));
    }
    if !is_known(method) {
        let why = format!("The method {method} is not known here. Nothing was done.");
        return Err(Problem::new(Code::NotImplemented, why));
    }
    let (mut hosts, mut codings, mut previous) = (0, 0, None);
    for (name, value) in headers {
        // All lines of one name come one after the other.
        if previous == Some(name) && SINGLE.contains(&name.as_str()) {
            return Err(Problem::new(Code::Malformed, format!("A request has one {name}; this one has several.")));
        }
        previous = Some(name);
        if *name == header::HOST {
            hosts += 1;
            if !is_host(value.as_bytes()) {
                return Err(Problem::new(Code::Malformed, "The value of Host is not a host with or without a port."));
            }
        } else if *name == header::TRANSFER_ENCODING {
            codings += 1;
            check_transfer_coding(value)?;
        } else if *name == header::EXPECT && !is_expected(value) {
            return Err(Problem::new(
                Code::ExpectationFailed,
                "The only expectation that is met here is 100-continue.",
            ));
        } else if *name == header::CONTENT_RANGE {
            return Err(Problem::new(Code::Malformed, "No request changes a range of a resource: omit Content-Range."));
        }
    }
    if hosts > 1 || (hosts == 0 && *version == Version::HTTP_11) {
        return Err(Problem::new(Code::Malformed, "A request must have exactly one Host."));
    }
    if codings > 1 {
        return Err(Problem::new(Code::Malformed, "A body is chunked once only."));
    }
    if has_body { check_content_coding(headers) } else { Ok(()) }
}

/// The target of a request (RFC 9112, section 3.2).
fn check_target(method: &Method, uri: &Uri) -> Result<(), Problem> {
    let malformed = |why: &'static str| Err(Problem::new(Code::Malformed, why));
    if uri.authority().is_some_and(|authority| !is_host(authority.as_str().as_bytes())) {
        return malformed("The target of a request names a host and nothing before it.");
    }
    if *method == Method::CONNECT {
        let is_authority = uri.scheme().is_none() && uri.authority().is_some() && uri.path_and_query().is_none();
        return if is_authority { Ok(()) } else { malformed("The target of CONNECT is a host and a port.") };
    }
    let Some(path) = uri.path_and_query() else { return malformed("The target of a request begins with a slash.") };
    if path.as_str().len() > URI_MAX_BYTES {
        let why = format!("A path with its query has at most {URI_MAX_BYTES} bytes.");
        return Err(Problem::new(Code::UriTooLong, why));
    }
    if path.as_str() == "*" {
        return if *method == Method::OPTIONS { Ok(()) } else { malformed("The target * is for OPTIONS only.") };
    }
    match uri.scheme() {
        None if uri.authority().is_some() => malformed("The target of a request begins with a slash."),
        Some(scheme) if *scheme != Scheme::HTTP => {
            // RFC 9110, section 7.4: https must not be answered over a connection without TLS.
            let why = format!("This server answers http:// only, not {scheme}://.");
            Err(Problem::new(Code::Misdirected, why))
        }
        _ if !path.as_str().starts_with('/') => malformed("The target of a request begins with a slash."),
        _ => Ok(()),
    }
}

fn is_known(method: &Method) -> bool {
    // Known, and for no path: QUERY, a safe method with a body.
    method.as_str() == "QUERY"
        || matches!(
            *method,
            Method::GET
                | Method::HEAD
                | Method::POST
                | Method::PUT
                | Method::PATCH
                | Method::DELETE
                | Method::OPTIONS
                | Method::TRACE
                | Method::CONNECT
        )
}

/// Whether a text is a host with or without a port (RFC 3986, section 3.2.2), possibly empty.
fn is_host(text: &[u8]) -> bool {
    let is_port = |text: &[u8]| text.is_empty() || (text[0] == b':' && text[1..].iter().all(u8::is_ascii_digit));
    if let Some(rest) = text.strip_prefix(b"[") {
        let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
        let is_address = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
        return end > 0 && rest[..end].iter().all(is_address) && is_port(&rest[end + 1..]);
    }
    let end = text.iter().position(|byte| *byte == b':').unwrap_or(text.len());
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(byte);
    text[..end].iter().all(is_name) && is_port(&text[end..])
}

/// Whether `100-continue` is among what is expected.
pub(crate) fn is_continue_expected(value: &HeaderValue) -> bool {
    expectations(value).any(is_continue)
}

/// Whether nothing but `100-continue` is expected: a list, which may be empty (RFC 9110, section 10.1.1).
fn is_expected(value: &HeaderValue) -> bool {
    expectations(value).all(|expected| expected.is_empty() || is_continue(expected))
}

fn expectations(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

fn is_continue(expected: &[u8]) -> bool {
    expected.eq_ignore_ascii_case(b"100-continue")
}

/// hyper has found that the last coding is `chunked`.
fn check_transfer_coding(value: &HeaderValue) -> Result<(), Problem> {
    if value.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let why = "The only transfer coding that is known here is chunked.";
    Err(Problem::new(Code::NotImplemented, why))
}

fn check_content_coding(headers: &HeaderMap) -> Result<(), Problem> {
    let is_plain = |coding: Option<&str>| coding.is_some_and(|coding| coding.eq_ignore_ascii_case("identity"));
    if list(headers, &header::CONTENT_ENCODING).all(is_plain) {
        return Ok(());
    }
    Err(Problem::new(Code::UnsupportedCoding, "Send the body as it is, without a Content-Encoding."))
}

/// Checks that a body is JSON by its `Content-Type`: `application/json` or a type of that syntax (`…+json`), in UTF-8.
pub fn check_json(headers: &HeaderMap) -> Result<(), Problem> {
    let unsupported = |why: &'static str| Err(Problem::new(Code::UnsupportedMediaType, why));
    let mut lines = headers.get_all(header::CONTENT_TYPE).iter();
    let first = lines.next();
    if lines.next().is_some() {
        return unsupported("Several Content-Types contradict each other. Send one: content-type: application/json");
    }
    if first.is_some_and(|first| first == "application/json") {
        return Ok(()); // most of them
    }
    let Some(parsed) = first.and_then(|first| first.to_str().ok()).and_then(MediaType::parse) else {
        return unsupported("Send JSON, and say so: content-type: application/json");
    };
    let ends_with_json = |subtype: &str| {
        let start = subtype.len().checked_sub("+json".len()).filter(|start| *start > 0);
        start.and_then(|start| subtype.get(start..)).is_some_and(|suffix| suffix.eq_ignore_ascii_case("+json"))
    };
    let is_json = parsed.subtype.eq_ignore_ascii_case("json") || ends_with_json(parsed.subtype);
    // Its body is a list of operations, which no command reads.
    let is_patch = parsed.subtype.eq_ignore_ascii_case("json-patch+json");
    if !parsed.kind.eq_ignore_ascii_case("application") || !is_json || is_patch {
        return unsupported("Send JSON, and say so: content-type: application/json");
    }
    let charsets = || parsed.parameters().flatten().filter(|(name, _)| name.eq_ignore_ascii_case("charset"));
    if charsets().count() > 1
        || charsets().any(|(_, charset)| !is_utf8(&charset) && !charset.eq_ignore_ascii_case("us-ascii"))
    {
        return unsupported("JSON is UTF-8. Send it so: content-type: application/json");
    }
    Ok(())
}

/// What the preconditions of a request come to (RFC 9110, section 13). Resources have no entity tags and no date of
/// modification, so a condition on either that requires a match is false, and a client that sends one would lose its
/// protection if it were ignored.
///
/// They count only where the request would succeed without them (section 13.2.1): a path that is not there is 404 all the
/// same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// There are none, or all hold.
    Holds,
    /// One does not hold.
    Fails,
    /// The client wants a resource only if it is not there.
    NotModified,
}

impl Precondition {
    /// The preconditions of a request for a resource that is there.
    pub fn of(method: &Method, headers: &HeaderMap) -> Self {
        if matches!(*method, Method::OPTIONS | Method::TRACE | Method::CONNECT) {
            return Self::Holds;
        }
        let is_any = |value: &HeaderValue| value.as_bytes().trim_ascii() == b"*";
        if headers.get_all(header::IF_MATCH).iter().any(|tags| !is_any(tags)) {
            return Self::Fails;
        }
        match headers.get_all(header::IF_NONE_MATCH).iter().any(is_any) {
            false => Self::Holds,
            true if method.is_safe() => Self::NotModified,
            true => Self::Fails,
        }
    }

    /// To be asked just before a command is done.
    pub fn check(self) -> Result<(), Problem> {
        if self == Self::Holds {
            return Ok(());
        }
        let why =
            "Resources have no entity tags, so If-Match never holds, nor does If-None-Match: *. Nothing was done.";
        Err(Problem::new(Code::PreconditionFailed, why))
    }

    /// What a read answers under this condition in place of its reply.
    pub fn answer(self, reply: Reply) -> Result<Reply, Problem> {
        match (self, reply) {
            (Self::NotModified, Reply::Found(_) | Reply::State(StatusCode::OK, _)) => Ok(Reply::NotModified),
            (Self::Fails, Reply::Found(_) | Reply::State(StatusCode::OK, _)) => {
                self.check().map(|()| Reply::NotModified)
            }
            (_, reply) => Ok(reply),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn refusal(method: &str, uri: &str, lines: &[(&str, &str)]) -> Option<Code> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).expect("a request").into_parts();
        check_head(&head, true, 100).err().map(|problem| problem.code)
    }

    #[test]
    fn targets_are_of_the_four_forms() {
        let host = [("host", "h")];
        for (method, uri) in [
            ("GET", "/orders?x=1"),
            ("GET", "http://h/orders"),
            ("GET", "http://[::1]:80/"),
            ("OPTIONS", "*"),
            ("CONNECT", "h:80"),
            ("TRACE", "/"),
            ("QUERY", "/orders"),
        ] {
            assert_eq!(refusal(method, uri, &host), None, "{method} {uri}");
        }
        for (method, uri) in [("GET", "*"), ("GET", "orders"), ("CONNECT", "/orders"), ("GET", "http://u:p@h/")] {
            assert_eq!(refusal(method, uri, &host), Some(Code::Malformed), "{method} {uri}");
        }
        assert_eq!(refusal("GET", "https://h/orders", &host), Some(Code::Misdirected));
        assert_eq!(refusal("BREW", "/orders", &host), Some(Code::NotImplemented));
        let longest = format!("/{}", "x".repeat(URI_MAX_BYTES - 1));
        assert_eq!(refusal("GET", &longest, &host), None);
        assert_eq!(refusal("GET", &format!("{longest}x"), &host), Some(Code::UriTooLong));
    }

    #[test]
    fn there_is_one_host_and_it_is_one() {
        assert_eq!(refusal("GET", "/", &[]), Some(Code::Malformed));
        assert_eq!(refusal("GET", "/", &[("host", "a"), ("host", "a")]), Some(Code::Malformed));
        for host in ["", "shop.example", "shop.example:80", "127.0.0.1:8088", "[::1]", "[::1]:80", "h:", "under_score"]
        {
            assert_eq!(refusal("GET", "/", &[("host", host)]), None, "{host}");
        }
        for host in ["a b", "a/b", "u@h", "h:80x", "h:8:0", "[::1", "[]", "[::1]x", "h?x", "h#x", "a,b c", "\"h\""] {
            assert_eq!(refusal("GET", "/", &[("host", host)]), Some(Code::Malformed), "{host}");
        }
    }

    #[test]
    fn codings_and_expectations_that_nobody_meets_are_refused() {
        let with = |name, value| refusal("POST", "/", &[("host", "h"), (name, value)]);
        for (name, value) in [
            ("transfer-encoding", "Chunked"),
            ("expect", "100-Continue"),
            ("expect", ""),
            ("expect", "100-continue, 100-continue,"),
            ("content-encoding", "identity"),
            ("content-encoding", ""),
        ] {
            assert_eq!(with(name, value), None, "{name}: {value}");
        }
        assert_eq!(with("transfer-encoding", "gzip, chunked"), Some(Code::NotImplemented));
        assert_eq!(with("expect", "100-continue, x"), Some(Code::ExpectationFailed));
        for coding in ["gzip", "br", "identity, gzip", "x-unknown"] {
            assert_eq!(with("content-encoding", coding), Some(Code::UnsupportedCoding), "{coding}");
        }
        assert_eq!(with("content-range", "bytes 0-1/2"), Some(Code::Malformed));
    }

    #[test]
    fn json_says_that_it_is_json() {
        let is_json = |lines: &[&str]| {
            let mut head = HeaderMap::new();
            for line in lines {
                head.append(header::CONTENT_TYPE, line.parse().expect("a value"));
            }
            check_json(&head).is_ok()
        };
        for line in [
            "application/json",
            "APPLICATION/JSON",
            "application/json;charset=UTF-8",
            "application/json ; charset=\"utf-8\"",
            "application/json; charset=utf8",
            "application/json; charset=US-ASCII",
            "application/json; profile=\"a;b\"",
            "application/hal+json",
            "application/vnd.shop.v2+JSON",
            "application/merge-patch+json",
        ] {
            assert!(is_json(&[line]), "{line}");
        }
        for line in [
            "",
            "json",
            "text/json",
            "text/plain",
            "application/jsonx",
            "application/+json",
            "application/json; charset=utf-16",
            "application/json; charset=iso-8859-1",
            "application/json; charset=utf-8; charset=utf-16",
            "application/json; charset",
            "application/json, application/json",
            "application/json-patch+json",
            "application/x-www-form-urlencoded",
        ] {
            assert!(!is_json(&[line]), "{line}");
        }
        assert!(!is_json(&[]));
        assert!(!is_json(&["application/json", "application/json"]));
    }

    #[test]
    fn conditions_that_cannot_hold_are_not_ignored() {
        use Precondition::{Fails, Holds, NotModified};
        let of = |method, lines: &[(&str, &str)]| {
            let mut head = HeaderMap::new();
            for (name, value) in lines {
                head.append(name.parse::<http::HeaderName>().expect("a name"), value.parse().expect("a value"));
            }
            Precondition::of(&method, &head)
        };
        let (tag, any) = ("\"1\"", "*");
        let date = "Sat, 29 Oct 1994 19:43:31 GMT";
        for (method, lines, expected) in [
            (Method::DELETE, &[("if-match", tag)][..], Fails),
            (Method::GET, &[("if-match", tag)], Fails),
            (Method::GET, &[("if-match", any), ("if-match", tag)], Fails),
            (Method::DELETE, &[("if-match", any)], Holds),
            (Method::PUT, &[("if-none-match", any)], Fails),
            (Method::GET, &[("if-none-match", any)], NotModified),
            (Method::HEAD, &[("if-none-match", tag), ("if-none-match", any)], NotModified),
            (Method::GET, &[("if-none-match", tag)], Holds),
            (Method::GET, &[("if-modified-since", date)], Holds),
            (Method::DELETE, &[("if-unmodified-since", date)], Holds),
            (Method::OPTIONS, &[("if-match", tag), ("if-none-match", any)], Holds),
            (Method::TRACE, &[("if-match", tag)], Holds),
            (Method::CONNECT, &[("if-match", tag)], Holds),
        ] {
            assert_eq!(of(method.clone(), lines), expected, "{method} {lines:?}");
        }
        let found = || Reply::Found("{}".to_owned());
        assert!(matches!(Holds.answer(found()), Ok(Reply::Found(_))));
        assert!(matches!(NotModified.answer(found()), Ok(Reply::NotModified)));
        assert_eq!(Fails.answer(found()).expect_err("412").code, Code::PreconditionFailed);
        let down = Reply::State(StatusCode::SERVICE_UNAVAILABLE, String::new());
        assert!(matches!(Fails.answer(down), Ok(Reply::State(..))), "it would not succeed without the condition");
    }

    #[test]
    fn what_has_one_value_comes_once() {
        let with = |name, first, second| refusal("GET", "/", &[("host", "h"), (name, first), (name, second)]);
        for name in SINGLE {
            assert_eq!(with(name, "a", "b"), Some(Code::Malformed), "{name}");
            assert_eq!(refusal("GET", "/", &[("host", "h"), (name, "a")]), None, "{name}");
        }
        assert_eq!(with("accept", "a/b", "c/d"), None);
    }
}

//! One exchange over HTTP/1.1, with TLS where the address says `https`.

use crate::{SendError, limits, message::chain, tls};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::pki_types::CertificateDer;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// A client for one receiver.
#[derive(Debug)]
pub(crate) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    time_limit: Duration,
}

/// A response. Its body is there if it came whole, in time and was not too large.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) head: HeaderMap,
    pub(crate) body: Option<Bytes>,
}

impl Http {
    /// A client that trusts the usual authorities and these.
    pub(crate) fn new(time_limit: Duration, authorities: &[CertificateDer<'static>]) -> Result<Self, rustls::Error> {
        let tls = tls::client(authorities)?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false); // TLS is put around it
        tcp.set_nodelay(true);
        // A failed connection means *surely not sent*; it must be known before the time limit ends.
        tcp.set_connect_timeout(Some(time_limit / 2));
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(limits::IDLE_CONNECTION_KEPT)
            .pool_max_idle_per_host(limits::IDLE_CONNECTIONS_MAX)
            .pool_timer(TokioTimer::new())
            .build(connector.wrap_connector(tcp));
        Ok(Self { client, time_limit })
    }

    /// Sends a request. Redirections are not followed.
    pub(crate) async fn post(&self, url: &Uri, head: HeaderMap, body: Bytes) -> Result<Answer, SendError> {
        let deadline = Instant::now() + self.time_limit;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = url.clone();
        *request.headers_mut() = head;
        let agent = HeaderValue::from_static(concat!("jumun/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(header::USER_AGENT, agent);
        let response = match timeout_at(deadline, self.client.request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) if error.is_connect() => return Err(SendError::not_sent(chain(&error))),
            Ok(Err(error)) => return Err(SendError::unknown(chain(&error))),
            Err(_) => return Err(SendError::unknown(format!("no answer within {:?}", self.time_limit))),
        };
        let (head, body) = response.into_parts();
        let body = timeout_at(deadline, Limited::new(body, limits::ANSWER_MAX_BYTES).collect()).await;
        let body = body.ok().and_then(Result::ok).map(http_body_util::Collected::to_bytes);
        Ok(Answer { status: head.status, head: head.headers, body })
    }
}

/// How long a receiver wants to be left alone: seconds, or a date (RFC 9110).
pub(crate) fn retry_after(head: &HeaderMap) -> Option<Duration> {
    let text = head.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if let Ok(seconds) = text.parse::<u64>() {
        Duration::from_secs(seconds)
    } else {
        let until = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
        Duration::try_from(until.duration_since(jiff::Timestamp::now())).unwrap_or_default()
    };
    Some(wait.min(limits::RETRY_AFTER_MAX))
}

/// Reads `http://host:port/path` or `https://…`. Names and passwords in it are refused: errors would show them.
pub(crate) fn url(text: &str) -> Result<Uri, String> {
    let url = text.parse::<Uri>().ok().filter(|url| {
        let is_http = matches!(url.scheme_str(), Some("http" | "https"));
        is_http && url.authority().is_some_and(|authority| !authority.as_str().contains('@'))
    });
    url.ok_or_else(|| "must be an address: https://host/path".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(text: &str) -> Option<Duration> {
        let mut head = HeaderMap::new();
        head.insert(header::RETRY_AFTER, text.parse().expect("a header"));
        retry_after(&head)
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(after("120"), Some(Duration::from_mins(2)));
        assert_eq!(after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO), "it is over");
        assert_eq!(after("Fri, 01 Jan 2100 00:00:00 GMT").map(|wait| wait.as_secs()), Some(86_400), "a day at most");
        assert_eq!(after("18446744073709551615"), Some(limits::RETRY_AFTER_MAX));
        for nonsense in ["", "soon", "-1", "1.5"] {
            assert_eq!(after(nonsense), None, "{nonsense}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn an_address_has_a_scheme_and_a_host_and_no_password() {
        for good in ["https://kapi.kakao.com", "http://127.0.0.1:80/hook?x=1"] {
            assert!(url(good).is_ok(), "{good}");
        }
        for bad in ["", "kapi.kakao.com", "ftp://x", "https://", "https://user:password@host/"] {
            let error = url(bad).expect_err(bad);
            assert!(!error.contains("password"), "{error}");
        }
    }
}

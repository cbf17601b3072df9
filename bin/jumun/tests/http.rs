//! What RFC 9110 and RFC 9112 require of servers and gateways, tried byte by byte: a table for clients' requests, sent to the
//! gateway and to a service itself, and a table for services' answers, sent through the gateway.

mod lab;

use http::StatusCode;
use lab::{
    Client, LONG, Lab, basket, wait_until,
    wire::{Message, Reaction, Upstream, Wire},
};
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

const BODY_MAX: usize = 1024 * 1024;

/// What becomes of the connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// It takes another request.
    Stays,
    /// The answer says that it ends, and it ends.
    Ends,
}
use Then::{Ends, Stays};

/// A request and its answer. `code` is that of the problem, or a header line that the answer has: `allow: GET`.
struct Row {
    section: &'static str,
    what: &'static str,
    request: String,
    status: u16,
    code: &'static str,
    then: Then,
}

fn row(
    section: &'static str,
    what: &'static str,
    request: impl Into<String>,
    status: u16,
    code: &'static str,
    then: Then,
) -> Row {
    Row { section, what, request: request.into(), status, code, then }
}

/// A request for the orders with these header lines.
fn get(lines: &str) -> String {
    format!("GET /orders HTTP/1.1\r\nhost: h\r\n{lines}\r\n")
}

/// An order with these header lines.
fn post(lines: &str, body: &str) -> String {
    format!("POST /orders HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n{lines}\r\n{body}")
}

/// An order with a length, of this media type, with further lines.
fn order_as(media_type: &str, lines: &str) -> String {
    let order = order();
    let length = order.len();
    let kind = if media_type.is_empty() { String::new() } else { format!("content-type: {media_type}\r\n") };
    format!("POST /orders HTTP/1.1\r\nhost: h\r\n{kind}content-length: {length}\r\n{lines}\r\n{order}")
}

fn order() -> String {
    r#"{"storeName":"s","itemName":"i","itemQty":1,"price":1}"#.to_owned()
}

/// The chunks of an order, each with what `mark` appends to its size.
fn chunks(mark: &str) -> String {
    let order = order();
    let (first, second) = order.split_at(20);
    format!("{:X}{mark}\r\n{first}\r\n{:x}{mark}\r\n{second}\r\n0\r\n\r\n", first.len(), second.len())
}

#[rustfmt::skip]
fn requests() -> Vec<Row> {
    let order = order();
    let length = order.len();
    let long_path = |bytes: usize| format!("GET /{} HTTP/1.1\r\nhost: h\r\n\r\n", "x".repeat(bytes - 1));
    let chunked = |lines: &str, body: &str| post(&format!("transfer-encoding: chunked\r\n{lines}"), body);
    vec![
        // RFC 9112, section 2: messages
        row("9112 2.2", "an empty line before a request is ignored", format!("\r\n{}", get("")), 200, "", Stays),
        row("9112 2.2", "LF alone ends a line, too", get("").replace("\r\n", "\n"), 200, "", Stays),
        row("9112 2.2", "CR alone does not", get("x: a\rb\r\n"), 400, "malformed", Ends),
        row("9112 2.2", "no space before the first header", "GET /orders HTTP/1.1\r\n host: h\r\n\r\n", 400, "malformed", Ends),
        row("9112 2.2", "no text before a request", "nonsense\r\n\r\n", 400, "malformed", Ends),
        row("9112 2.2", "no NUL", "\0\0\0\0\r\n\r\n", 400, "malformed", Ends),
        row("9112 2.2", "no TLS", "\x16\x03\x01\x02\0\x01\0\x01", 400, "malformed", Ends),
        row("9112 2.3", "HTTP/1.0 is spoken", "GET /orders HTTP/1.0\r\n\r\n", 200, "", Ends),
        row("9112 2.3", "HTTP/2.0 is not", get("").replace("1.1", "2.0"), 505, "version-unsupported", Ends),
        row("9112 2.3", "HTTP/3.0 is not", get("").replace("1.1", "3.0"), 505, "version-unsupported", Ends),
        row("9112 2.3", "HTTP/1.7 is not", get("").replace("1.1", "1.7"), 505, "version-unsupported", Ends),
        row("9113 3.4", "the preface of HTTP/2 is not", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version-unsupported", Ends),
        // section 3: the request line
        row("9112 3", "a request line has a version", "GET /orders\r\nhost: h\r\n\r\n", 400, "malformed", Ends),
        row("9112 3", "a request line has no second space", "GET /orders /x HTTP/1.1\r\nhost: h\r\n\r\n", 400, "malformed", Ends),
        row("9112 3", "the version is in capitals", "GET /orders http/1.1\r\nhost: h\r\n\r\n", 400, "malformed", Ends),
        row("9112 3", "the longest path", long_path(16 * 1024), 404, "not-found", Stays),
        row("9112 3", "a longer path", long_path(16 * 1024 + 1), 414, "uri-too-long", Stays),
        row("9112 3", "a path longer than a head", long_path(70_000), 414, "uri-too-long", Ends),
        row("9112 3.1", "a method is a token", get("").replace("GET", "G@T"), 400, "malformed", Ends),
        row("9110 9.1", "an unknown method", get("").replace("GET", "BREW"), 501, "not-implemented", Ends),
        row("9110 9.1", "methods are in capitals", get("").replace("GET", "get"), 501, "not-implemented", Ends),
        row("9112 3.2", "a request has a Host", "GET /orders HTTP/1.1\r\n\r\n", 400, "malformed", Ends),
        row("9112 3.2", "… and one only", get("host: h\r\n"), 400, "malformed", Ends),
        row("9112 3.2", "… that is a host", get("").replace("host: h", "host: h/x"), 400, "malformed", Ends),
        row("9112 3.2", "… without a user", get("").replace("host: h", "host: u@h"), 400, "malformed", Ends),
        row("9112 3.2", "… with a port that is a number", get("").replace("host: h", "host: h:x"), 400, "malformed", Ends),
        row("9112 3.2", "an IPv6 address is a host", get("").replace("host: h", "host: [::1]:80"), 200, "", Stays),
        row("9112 3.2", "an empty Host is one", get("").replace("host: h", "host:"), 200, "", Stays),
        row("9112 3.2.1", "a path begins with a slash", get("").replace("/orders", "orders"), 400, "malformed", Ends),
        row("9112 3.2.2", "the absolute form", get("").replace("/orders", "http://shop.example/orders"), 200, "", Stays),
        row("9110 4.2.4", "… without a user", get("").replace("/orders", "http://u:p@h/orders"), 400, "malformed", Ends),
        row("9110 7.4", "… is not for https", get("").replace("/orders", "https://h/orders"), 421, "misdirected", Stays),
        row("9112 3.2.3", "CONNECT has a host", get("").replace("GET", "CONNECT"), 400, "malformed", Ends),
        row("9110 9.3.6", "CONNECT", get("").replace("GET /orders", "CONNECT h:80"), 405, "allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS", Ends),
        row("9110 9.3.8", "TRACE", get("").replace("GET", "TRACE"), 405, "allow: GET, HEAD, POST, OPTIONS", Stays),
        row("9112 3.2.4", "the asterisk is for OPTIONS", get("").replace("/orders", "*"), 400, "malformed", Ends),
        row("9110 9.3.7", "OPTIONS *", get("").replace("GET /orders", "OPTIONS *"), 204, "allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS", Stays),
        row("9110 9.3.7", "OPTIONS of a path", get("").replace("GET", "OPTIONS"), 204, "allow: GET, HEAD, POST, OPTIONS", Stays),
        row("9110 7.6.2", "Max-Forwards: 0", get("max-forwards: 0\r\n").replace("GET", "OPTIONS"), 204, "allow: GET, HEAD, POST, OPTIONS", Stays),
        // section 5: header lines
        row("9112 5.1", "no space before a colon", get("x : y\r\n"), 400, "malformed", Ends),
        row("9112 5.1", "a header has a name", get(": y\r\n"), 400, "malformed", Ends),
        row("9112 5.1", "a header has a colon", get("x\r\n"), 400, "malformed", Ends),
        row("9110 5.1", "a name is a token", get("x(y: z\r\n"), 400, "malformed", Ends),
        row("9110 5.5", "a value has no NUL", get("x: a\0b\r\n"), 400, "malformed", Ends),
        row("9112 5.2", "a line is not folded", get("x: a\r\n b\r\n"), 400, "malformed", Ends),
        row("6585 5", "too many lines", get(&"x: y\r\n".repeat(200)), 431, "head-too-large", Ends),
        row("6585 5", "a line too long", get(&format!("x: {}\r\n", "y".repeat(70_000))), 431, "head-too-large", Ends),
        // section 6: bodies
        row("9112 6.2", "a length", post(&format!("content-length: {length}\r\n"), &order), 201, "", Stays),
        row("9112 6.3", "the same length twice", post(&"content-length: 54\r\n".repeat(2), &order), 201, "", Stays),
        row("9112 6.3", "two lengths", post(&format!("content-length: {length}\r\ncontent-length: 3\r\n"), &order), 400, "malformed", Ends),
        row("9112 6.3", "a list of lengths", post(&format!("content-length: {length}, 3\r\n"), &order), 400, "malformed", Ends),
        row("9110 8.6", "a length with a sign", post(&format!("content-length: +{length}\r\n"), &order), 400, "malformed", Ends),
        row("9110 8.6", "a negative length", post("content-length: -1\r\n", &order), 400, "malformed", Ends),
        row("9110 8.6", "a length in another base", post("content-length: 0x36\r\n", &order), 400, "malformed", Ends),
        row("9110 8.6", "no length", post("content-length:\r\n", &order), 400, "malformed", Ends),
        row("9110 8.6", "a length beyond all numbers", post("content-length: 18446744073709551616\r\n", &order), 400, "malformed", Ends),
        row("9110 8.6", "a length of two words", post("content-length: 5 4\r\n", &order), 400, "malformed", Ends),
        row("9112 7.1", "chunks", chunked("", &chunks("")), 201, "", Stays),
        row("9112 7.1.1", "extensions of chunks are ignored", chunked("", &chunks(";a=b;c=\"d\"")), 201, "", Stays),
        row("9112 7.1.2", "trailers are ignored", chunked("trailer: x\r\n", &chunks("").replace("0\r\n\r\n", "0\r\nx: y\r\n\r\n")), 201, "", Stays),
        row("9112 7", "codings are in any case", post("Transfer-Encoding: CHUNKED\r\n", &chunks("")), 201, "", Stays),
        row("9112 6.1", "a length beside chunks counts for nothing, and is the last", chunked("content-length: 3\r\n", &chunks("")), 201, "", Ends),
        row("9112 6.1", "no chunks in HTTP/1.0", chunked("", &chunks("")).replace("1.1", "1.0"), 400, "malformed", Ends),
        row("9112 6.1", "an unknown coding", post("transfer-encoding: gzip, chunked\r\n", &chunks("")), 501, "not-implemented", Ends),
        row("9112 6.3", "a coding that does not end", post("transfer-encoding: gzip\r\n", &chunks("")), 400, "malformed", Ends),
        row("9112 6.3", "chunked that is not the last coding", post("transfer-encoding: chunked, gzip\r\n", &chunks("")), 400, "malformed", Ends),
        row("9112 6.1", "no chunks of chunks", chunked("transfer-encoding: chunked\r\n", &chunks("")), 400, "malformed", Ends),
        row("9112 6.1", "no coding of a similar name", post("transfer-encoding: xchunked\r\n", &chunks("")), 400, "malformed", Ends),
        row("9112 7.1", "a size that is no number", chunked("", "x\r\n{}\r\n0\r\n\r\n"), 400, "malformed", Ends),
        row("9112 7.1", "a size beyond all numbers", chunked("", "ffffffffffffffff1\r\n{}\r\n0\r\n\r\n"), 400, "malformed", Ends),
        row("9112 7.1", "a size with a sign", chunked("", "-2\r\n{}\r\n0\r\n\r\n"), 400, "malformed", Ends),
        row("9112 7.1", "a chunk longer than its size", chunked("", "2\r\n{}x\r\n0\r\n\r\n"), 400, "malformed", Ends),
        row("9112 7.1", "chunks whose lines end with LF alone", chunked("", "2\n{}\n0\n\n"), 400, "malformed", Ends),
        row("9112 7.1.1", "extensions without end", chunked("", &format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "x".repeat(70_000))), 400, "malformed", Ends),
        row("9112 7.1.2", "trailers without end", chunked("", &format!("2\r\n{{}}\r\n0\r\n{}\r\n", "a: b\r\n".repeat(3_000))), 400, "malformed", Ends),
        // section 9: connections
        row("9112 9.6", "a client that closes", get("connection: close\r\n"), 200, "", Ends),
        row("9110 7.6.1", "options are in any case", get("connection: x, Close\r\n"), 200, "", Ends),
        row("9112 9.3", "HTTP/1.0 stays if it is asked", "GET /orders HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", 200, "connection: keep-alive", Stays),
        row("9110 7.8", "Upgrade is ignored", get("connection: upgrade\r\nupgrade: websocket\r\n"), 200, "", Stays),
        row("9110 10.1.4", "TE is ignored", get("connection: te\r\nte: trailers, deflate;q=0.5\r\n"), 200, "", Stays),
        // RFC 9110: the meaning of headers
        row("9110 10.1.1", "an expectation that is not met", post(&format!("expect: x\r\ncontent-length: {length}\r\n"), &order), 417, "expectation-failed", Stays),
        row("9110 10.1.1", "an empty list of expectations", post(&format!("expect:\r\ncontent-length: {length}\r\n"), &order), 201, "", Stays),
        row("9110 10.1.1", "the same expectation twice", post(&format!("expect: 100-continue, 100-continue\r\ncontent-length: {length}\r\n"), &order), 201, "", Stays),
        row("9110 15.5.16", "an encoded body", order_as("application/json", "content-encoding: gzip\r\n"), 415, "unsupported-coding", Stays),
        row("9110 15.5.16", "… is told what to send", order_as("application/json", "content-encoding: br\r\n"), 415, "accept-encoding: identity", Stays),
        row("9110 8.4", "identity is no coding", order_as("application/json", "content-encoding: identity\r\n"), 201, "", Stays),
        row("9110 8.3", "a body has a media type", order_as("", ""), 415, "unsupported-media-type", Stays),
        row("9110 8.3", "… of JSON", order_as("text/plain", ""), 415, "accept: application/json", Stays),
        row("9110 8.3", "… one only", order_as("application/json", "content-type: text/plain\r\n"), 415, "unsupported-media-type", Stays),
        row("9110 8.3.1", "… in any case", order_as("Application/JSON; Charset=\"UTF-8\"", ""), 201, "", Stays),
        row("9110 8.3.1", "… with spaces", order_as("application/json ;  charset=utf-8 ;", ""), 201, "", Stays),
        row("9110 8.3.1", "… of UTF-8 by another name", order_as("application/json; charset=utf8", ""), 201, "", Stays),
        row("9110 8.3.1", "… of a part of UTF-8", order_as("application/json; charset=us-ascii", ""), 201, "", Stays),
        row("9110 12.5.1", "… and an answer in it", get("accept: application/json; charset=utf8\r\n"), 200, "content-type: application/json", Stays),
        row("9110 8.3.2", "… in UTF-8", order_as("application/json; charset=utf-16", ""), 415, "unsupported-media-type", Stays),
        row("6902 6", "… and no list of operations", order_as("application/json-patch+json", ""), 415, "unsupported-media-type", Stays),
        row("9110 12.5.1", "no Accept", get(""), 200, "content-type: application/hal+json", Stays),
        row("9110 12.5.1", "anything", get("accept: */*\r\n"), 200, "content-type: application/hal+json", Stays),
        row("9110 12.5.1", "JSON of a lower weight", get("accept: application/json;q=0.9\r\n"), 200, "content-type: application/json", Stays),
        row("9110 12.5.1", "JSON with a charset", get("accept: application/json; charset=utf-8\r\n"), 200, "content-type: application/json", Stays),
        row("9110 12.5.1", "JSON in a list", get("accept: application/json, text/plain\r\n"), 200, "content-type: application/json", Stays),
        row("9110 12.5.1", "JSON in a second line", get("accept: text/plain\r\naccept: application/json\r\n"), 200, "content-type: application/json", Stays),
        row("9110 12.5.1", "JSON rather than HAL", get("accept: application/hal+json;q=0.5, application/json\r\n"), 200, "content-type: application/json", Stays),
        row("9110 12.5.1", "all but HAL", get("accept: application/hal+json;q=0, */*;q=0.1\r\n"), 200, "content-type: application/json", Stays),
        row("9110 15.5.7", "nothing that there is", get("accept: text/html\r\n"), 406, "not-acceptable", Stays),
        row("9110 15.5.7", "… and then nothing is done", order_as("application/json", "accept: application/xml\r\n"), 406, "not-acceptable", Stays),
        row("9110 12.5.3", "what is compressed only", get("accept-encoding: gzip, identity;q=0\r\n"), 406, "not-acceptable", Stays),
        row("9110 12.5.3", "what is compressed, too", get("accept-encoding: gzip, deflate, br\r\n"), 200, "", Stays),
        row("9110 14.2", "Range is ignored", get("range: bytes=0-1\r\n"), 200, "", Stays),
        row("9110 14.5", "Content-Range is not", post(&format!("content-range: bytes 0-1/2\r\ncontent-length: {length}\r\n"), &order), 400, "malformed", Ends),
        row("9110 13.1.1", "If-Match of a tag never holds", get("if-match: \"1\"\r\n").replace("GET /orders", "DELETE /orders/1"), 412, "precondition-failed", Stays),
        row("9110 13.2.1", "… and counts for nothing where there is nothing", get("if-match: \"1\"\r\n").replace("/orders", "/orders/999"), 404, "not-found", Stays),
        row("9110 13.2.1", "… nor for a command", get("if-match: \"1\"\r\n").replace("GET /orders", "DELETE /orders/999"), 404, "not-found", Stays),
        row("9110 13.2.1", "… nor for a method that there is not", get("if-match: \"1\"\r\n").replace("GET", "DELETE"), 405, "allow: GET, HEAD, POST, OPTIONS", Stays),
        row("9110 13.2.1", "… nor for OPTIONS", get("if-match: \"1\"\r\nif-none-match: *\r\n").replace("GET", "OPTIONS"), 204, "allow: GET, HEAD, POST, OPTIONS", Stays),
        row("9110 13.1.2", "what is there is not read again", get("if-none-match: *\r\n"), 304, "", Stays),
        row("9110 13.1.2", "… nor is a page", get("if-none-match: *\r\n").replace("/orders", "/actuator/info"), 304, "", Stays),
        row("9110 13.1.2", "… and what is not is not there", get("if-none-match: *\r\n").replace("/orders", "/orders/999"), 404, "not-found", Stays),
        row("9110 13.1.2", "If-None-Match: * of a command", order_as("application/json", "if-none-match: *\r\n"), 412, "precondition-failed", Stays),
        row("9110 13.1.2", "If-None-Match of a tag always holds", get("if-none-match: \"1\"\r\n"), 200, "", Stays),
        row("9110 13.1.3", "If-Modified-Since is ignored", get("if-modified-since: Sat, 29 Oct 1994 19:43:31 GMT\r\n"), 200, "", Stays),
        row("9110 5.3", "two keys", order_as("application/json", "idempotency-key: a\r\nidempotency-key: b\r\n"), 400, "malformed", Ends),
        row("9110 5.3", "two events", get("jumun-seen: order/0/1\r\njumun-seen: order/0/2\r\n"), 400, "malformed", Ends),
        row("9110 5.6", "an event of no service", get("jumun-seen: nobody/0/1\r\n"), 400, "malformed", Stays),
        row("9110 5.3", "two ids of a request", get("x-request-id: a\r\nx-request-id: b\r\n"), 400, "malformed", Ends),
        row("9110 5.3", "two credentials", get("authorization: a\r\nauthorization: b\r\n"), 400, "malformed", Ends),
        row("9110 5.3", "two origins", get("origin: http://a\r\norigin: http://b\r\n"), 400, "malformed", Ends),
        row("9110 5.3", "two Max-Forwards", get("max-forwards: 1\r\nmax-forwards: 0\r\n").replace("GET", "OPTIONS"), 400, "malformed", Ends),
        row("9110 15.5.5", "nothing there", get("").replace("/orders", "/nowhere"), 404, "not-found", Stays),
        row("9110 15.5.6", "a method that a path has not", get("").replace("GET", "DELETE"), 405, "allow: GET, HEAD, POST, OPTIONS", Stays),
        row("9110 15.3.5", "204 has no body and no length", get("").replace("GET /orders", "DELETE /orders/{id}"), 204, "", Stays),
    ]
}

#[tokio::test]
async fn requests_are_answered_as_the_standards_have_it() {
    let mut lab = Lab::running().await;
    lab.gateway.start().await;
    for _ in 0..2 {
        lab.order.client().place("냉면", 1).await;
    }
    let mut wrong = Vec::new();
    let rows = requests();
    for (server, address, id) in [("gateway", lab.gateway.address(), "1"), ("order", lab.order.address(), "2")] {
        for row in &rows {
            if let Err(why) = try_row(row, &row.request.replace("{id}", id), address).await {
                let sent: String = row.request.chars().take(200).collect();
                wrong.push(format!("{server}: {} {}: {why}\n    {sent:?}", row.section, row.what));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), 2 * rows.len(), wrong.join("\n"));

    // What no handler saw is counted.
    for client in [lab.gateway.client(), lab.order.client()] {
        let page = String::from_utf8(client.get("/actuator/prometheus").await.body.to_vec()).expect("text");
        for status in [400, 414, 431, 505] {
            let count = page.lines().any(|line| {
                let is_it = line.contains(r#"route="unreadable""#) && line.contains(&format!(r#"status="{status}""#));
                is_it && line.starts_with("jumun_http_requests_total")
            });
            assert!(count, "{status}:\n{page}");
        }
    }
    lab.assert_the_promise().await;
}

async fn try_row(row: &Row, request: &str, address: SocketAddr) -> Result<(), String> {
    let mut wire = Wire::to(address).await;
    wire.say(request).await;
    let answer = wire.message().await.ok_or("no answer")?;
    let is = |is: bool, what: &str| if is { Ok(()) } else { Err(format!("{what}: {answer:?} {}", answer.text())) };
    is(answer.status() == row.status, &format!("not {}", row.status))?;
    check_answer(&answer)?;
    match row.code.split_once(": ") {
        Some((name, value)) => is(answer.header(name) == Some(value), &format!("no {}", row.code))?,
        None if row.status >= 400 => is(code_of(&answer).as_deref() == Some(row.code), &format!("not {}", row.code))?,
        None => {}
    }
    if matches!(row.status, 204 | 304) {
        is(answer.header("content-length").is_none() && answer.header("content-type").is_none(), "a body of nothing")?;
    }
    let says_close = answer.header("connection") == Some("close");
    // To HTTP/1.0, nothing needs to be said.
    is(says_close == (row.then == Ends) || row.request.contains("HTTP/1.0"), "the end is not as it should be")?;
    if row.then == Ends {
        return is(wire.rest().await.is_empty(), "there is more");
    }
    wire.say("GET /actuator/health/liveness HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
    let next = wire.message().await.ok_or("no second answer")?;
    is(next.status() == 200 && wire.rest().await.is_empty(), &format!("another second answer: {next:?}"))
}

/// What every answer has.
fn check_answer(answer: &Message) -> Result<(), String> {
    let has = |name: &str| answer.header(name).is_some_and(|value| !value.is_empty());
    if !has("date") || !has("x-request-id") {
        return Err(format!("no date or no id: {answer:?}"));
    }
    if answer.status() < 400 {
        return Ok(());
    }
    let problem: Value = serde_json::from_slice(&answer.body).map_err(|error| format!("{error}: {answer:?}"))?;
    let is_problem = answer.header("content-type") == Some("application/problem+json")
        && problem["status"] == answer.status()
        && problem["requestId"].as_str() == answer.header("x-request-id")
        && ["type", "title", "detail", "instance"]
            .iter()
            .all(|name| problem[name].as_str().is_some_and(|text| !text.is_empty()));
    if is_problem { Ok(()) } else { Err(format!("no problem: {answer:?} {problem}")) }
}

fn code_of(answer: &Message) -> Option<String> {
    let problem: Value = serde_json::from_slice(&answer.body).ok()?;
    Some(problem["type"].as_str()?.strip_prefix("urn:jumun:problem:")?.to_owned())
}

#[tokio::test]
async fn every_path_names_its_methods_and_head_is_get_without_a_body() {
    let mut lab = Lab::all_running().await;
    lab.gateway.start().await;
    lab.gateway.client().place("치킨", 1).await;
    let gateway = lab.gateway.client();
    gateway.until("/stores/1", "orderStatus", "ORDER_CONFIRMED").await;
    let of_service = |client: Client| (client, true);
    let (order, store) = (of_service(lab.order.client()), of_service(lab.store.client()));
    let through = (gateway, false);
    for ((client, is_service), path, allow) in [
        (&order, "/orders", "GET, HEAD, POST, OPTIONS"),
        (&through, "/orders", "GET, HEAD, POST, OPTIONS"),
        (&order, "/orders/1", "GET, HEAD, DELETE, OPTIONS"),
        (&through, "/orders/1", "GET, HEAD, DELETE, OPTIONS"),
        (&through, "/orders/search", "GET, HEAD, OPTIONS"),
        (&through, "/orders/search/findByStoreName?storeName=s", "GET, HEAD, OPTIONS"),
        (&store, "/stores", "GET, HEAD, OPTIONS"),
        (&store, "/stores/1/accept", "PUT, OPTIONS"),
        (&through, "/stores/1/accept", "PUT, OPTIONS"),
        (&through, "/dashboards", "GET, HEAD, OPTIONS"),
        (&through, "/dashboards/1", "GET, HEAD, OPTIONS"),
        (&of_service(lab.payment.client()), "/payinfos/void", "POST, OPTIONS"),
        (&order, "/actuator/health", "GET, HEAD, OPTIONS"),
        (&order, "/actuator/prometheus", "GET, HEAD, OPTIONS"),
        (&through, "/actuator/health", "GET, HEAD, OPTIONS"),
        (&through, "/actuator/health/liveness", "GET, HEAD, OPTIONS"),
        (&through, "/actuator/health/readiness", "GET, HEAD, OPTIONS"),
        (&through, "/actuator/info", "GET, HEAD, OPTIONS"),
        (&through, "/actuator/prometheus", "GET, HEAD, OPTIONS"),
    ] {
        let send = async |method: &str, head: &[(&str, &str)]| {
            client.send(method.parse().expect("a method"), path, head, "").await.expect("an answer")
        };
        let options = send("OPTIONS", &[]).await;
        assert_eq!((options.status, options.header("allow")), (204, Some(allow)), "{path}");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"] {
            // The gateway gives no client the methods for services.
            let is_allowed = allow.split(", ").any(|known| known == method);
            if !is_allowed && (*is_service || method != "POST" || !path.starts_with("/payinfos")) {
                let answer = send(method, &[]).await;
                assert_eq!(answer.problem(), "method-not-allowed", "{method} {path}");
                assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
            }
        }
        if allow.starts_with("GET") {
            let (got, head) = (send("GET", &[]).await, send("HEAD", &[]).await);
            assert_eq!((got.status, head.status, head.body.len()), (200, 200, 0), "{path}");
            let names = |answer: &lab::Answer| {
                let mut names: Vec<_> = answer.head.keys().map(|name| name.as_str().to_owned()).collect();
                names.sort_unstable();
                names
            };
            assert_eq!(names(&got), names(&head), "{path}");
            assert_eq!(got.header("content-type"), head.header("content-type"), "{path}");
            let refused = send("GET", &[("accept", "image/png")]).await;
            assert_eq!((refused.status, &*refused.problem()), (406, "not-acceptable"), "{path}");
        }
    }
    assert_eq!(through.0.send(http::Method::TRACE, "/orders/1/x", &[], "").await.expect("an answer").status, 404);
}

#[tokio::test]
async fn a_client_that_waits_to_be_told_to_go_on_is_refused_instead() {
    let mut lab = Lab::running().await;
    lab.gateway.start().await;
    let post = "POST /orders HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\n";
    let length = order().len();
    for address in [lab.gateway.address(), lab.order.address()] {
        for (request, status) in [
            (format!("{post}content-type: application/json\r\ncontent-length: 2000000\r\n\r\n"), 413),
            (
                format!("{post}content-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: 9\r\n\r\n"),
                415,
            ),
            (format!("{post}content-length: {length}\r\n\r\n").replace("POST", "PUT"), 405),
            (format!("{post}content-length: {length}\r\n\r\n").replace("/orders", "/nowhere"), 404),
        ] {
            if status == 405 && address == lab.gateway.address() {
                continue; // a service decides: the gateway has read the body by then
            }
            let mut wire = Wire::to(address).await;
            wire.say(&request).await;
            let answer = wire.message().await.expect("an answer");
            assert_eq!((answer.status(), answer.header("connection")), (status, Some("close")), "{request}");
            assert_eq!(wire.rest().await, b"");
        }
        let mut wire = Wire::to(address).await;
        wire.say(format!("{post}content-type: application/json\r\ncontent-length: {length}\r\n\r\n")).await;
        assert_eq!(wire.head().await.expect("a word").status(), 100);
        wire.say(order()).await;
        assert_eq!(wire.message().await.expect("an answer").status(), 201);
        // To HTTP/1.0 nothing is said in advance.
        let mut wire = Wire::to(address).await;
        let old = format!("{post}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{}", order());
        wire.say(old.replace("HTTP/1.1", "HTTP/1.0")).await;
        assert_eq!(wire.message().await.expect("an answer").status(), 201);
    }
}

#[tokio::test]
async fn a_head_that_cannot_be_read_behind_a_request_is_refused_as_any_other() {
    let mut lab = Lab::running().await;
    lab.gateway.start().await;
    let broken = [
        (get("").replace("1.1", "3.0"), 505, "version-unsupported"),
        (format!("GET /{} HTTP/1.1\r\nhost: h\r\n\r\n", "x".repeat(70_000)), 414, "uri-too-long"),
        (get(&format!("x: {}\r\n", "y".repeat(70_000))), 431, "head-too-large"),
        ("\x16\x03\x01\x02\0\x01\0\x01".to_owned(), 400, "TLS"),
        ("nonsense\r\n\r\n".to_owned(), 400, "malformed"),
        (get("content-length: +1\r\n"), 400, "malformed"),
        ("GET /orders HTT".to_owned(), 400, "ended before the head"),
    ];
    for address in [lab.gateway.address(), lab.order.address()] {
        for (broken, status, named) in &broken {
            let mut wire = Wire::to(address).await;
            wire.say(get("") + broken).await;
            assert_eq!(wire.message().await.expect("an answer").status(), 200, "{named}");
            wire.end().await;
            let answer = wire.message().await.unwrap_or_else(|| panic!("{named}: no second answer"));
            assert_eq!((answer.status(), answer.header("connection")), (*status, Some("close")), "{named}");
            assert!(answer.text().contains(named), "{named}: {}", answer.text());
            assert_eq!(wire.rest().await, b"", "{named}");
        }
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answers_gets_the_last_one_like_any_other() {
    let mut lab = Lab::running().await;
    lab.gateway.start().await;
    for nth in 0..20 {
        lab.order.client().place("냉면", nth).await;
    }
    for server in [&lab.gateway, &lab.order] {
        let client = server.client();
        for (request, status, count) in [(get(""), 200, 600), (order_as("text/plain", ""), 415, 2_000)] {
            for (broken, last) in [("nonsense\r\n\r\n", 400), (&*get("").replace("1.1", "3.0"), 505)] {
                let mut wire = Wire::to(server.address()).await;
                let begun = answered(&client, status).await;
                wire.say(format!("{}{broken}", request.repeat(count))).await;
                let mut before = begun;
                wait_until(LONG, "all are answered, or no buffer takes another answer", async || {
                    let now = answered(&client, status).await;
                    std::mem::replace(&mut before, now) == now && now > begun
                })
                .await;
                for nth in 0..count {
                    let answer = wire.message().await.unwrap_or_else(|| panic!("no answer {nth}"));
                    assert_eq!(answer.status(), status, "{nth}");
                }
                let answer = wire.message().await.expect("an answer");
                assert_eq!((answer.status(), answer.header("connection")), (last, Some("close")));
                check_answer(&answer).expect("a problem");
            }
        }
    }
}

/// How many requests for orders a server has answered with this status.
async fn answered(client: &Client, status: u16) -> u64 {
    let page = String::from_utf8(client.get("/actuator/prometheus").await.body.to_vec()).expect("text");
    let is_it = |line: &&str| {
        let has = |label: &str| line.contains(label);
        line.starts_with("jumun_http_requests_total") && has(r#"orders""#) && has(&format!(r#"status="{status}""#))
    };
    let counts = page.lines().filter(is_it).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    counts.sum()
}

// ---- an answer that is given early is heard

/// Sends all of a request before it reads anything, as most libraries do. The status, or what went wrong.
fn send_all_then_read(address: SocketAddr, parts: &[&[u8]]) -> String {
    let exchange = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(LONG))?;
        for part in parts {
            stream.write_all(part)?;
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or("nothing").to_owned())
    };
    exchange().unwrap_or_else(|error| error.kind().to_string())
}

#[tokio::test]
async fn what_is_refused_before_its_body_is_read_is_heard() {
    let mut lab = Lab::running().await;
    lab.gateway.start().await;
    let (gateway, order, payment) = (lab.gateway.address(), lab.order.address(), lab.payment.address());
    let body = vec![b'x'; 2 * BODY_MAX];
    let head = |first: &str, lines: &str| format!("{first} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{lines}\r\n");
    let sized = |first: &str, lines: &str| head(first, &format!("{lines}content-length: {}\r\n", body.len()));
    let json = "content-type: application/json\r\n";
    let chunk = [format!("{:x}\r\n", 65_536).as_bytes(), &body[..65_536], b"\r\n"].concat();
    let chunked = [chunk.repeat(32), b"0\r\n\r\n".to_vec()].concat();
    let coded = |first: &str, lines: &str| head(first, &format!("{lines}transfer-encoding: chunked\r\n"));
    let long_line = format!("x: {}\r\n", "y".repeat(200_000));
    let cases = [
        ("413", gateway, sized("POST /orders", json), &body),
        ("413", order, sized("POST /orders", json), &body),
        ("413", gateway, coded("POST /orders", json), &chunked),
        ("413", order, coded("POST /orders", json), &chunked),
        ("415", order, sized("POST /orders", "content-type: text/plain\r\n"), &body),
        ("415", gateway, sized("POST /orders", "content-encoding: gzip\r\n"), &body),
        ("415", order, coded("POST /orders", "content-type: text/plain\r\n"), &chunked),
        ("404", gateway, sized("POST /nowhere", json), &body),
        ("404", order, coded("POST /nowhere", json), &chunked),
        ("405", gateway, sized("POST /actuator/health", json), &body),
        ("405", order, sized("PUT /orders", json), &body),
        ("403", gateway, sized("POST /payinfos", json), &body),
        ("403", payment, sized("POST /payinfos", json), &body),
        ("406", order, sized("POST /orders", "content-type: application/json\r\naccept: text/html\r\n"), &body),
        ("417", gateway, sized("POST /orders", "expect: x\r\n"), &body),
        ("400", gateway, sized("POST /orders", "host: h\r\n"), &body),
        ("400", gateway, head("POST /orders", "content-length: +1\r\n"), &body),
        ("400", order, head("POST /orders", "content-length: +1\r\n"), &body),
        ("431", gateway, sized("POST /orders", &long_line), &body),
        ("431", order, sized("POST /orders", &long_line), &body),
        ("414", gateway, sized(&format!("POST /{}", "x".repeat(200_000)), ""), &body),
        ("505", gateway, sized("POST /orders", "").replace("HTTP/1.1", "HTTP/3.0"), &body),
        ("501", order, sized("BREW /orders", ""), &body),
    ];
    for (expected, address, head, body) in cases {
        let first_line = head.chars().take(40).collect::<String>();
        let body = body.clone();
        let heard = tokio::task::spawn_blocking(move || {
            (0..20).map(|_| send_all_then_read(address, &[head.as_bytes(), &body])).collect::<Vec<_>>()
        });
        assert_eq!(heard.await.expect("answers"), vec![expected; 20], "{first_line} at {address}");
    }
}

#[tokio::test]
async fn what_is_refused_for_load_is_heard() {
    let hanging = Upstream::new(|_, _| Reaction::SayAndHang(String::new())).await;
    let mut lab = Lab::new();
    for setting in [
        format!("gateway.upstreams.order={}", hanging.url()),
        "gateway.max_concurrent=1".to_owned(),
        "gateway.rate.per_second=1".to_owned(),
        "gateway.rate.burst=25".to_owned(),
    ] {
        lab.gateway.set(setting);
    }
    lab.gateway.start().await;
    let address = lab.gateway.address();
    let mut waiting = Wire::to(address).await;
    waiting.say(get("")).await;
    wait_until(LONG, "one is at work", async || hanging.seen().len() == 1).await;
    let heard = tokio::task::spawn_blocking(move || {
        let head =
            format!("POST /orders HTTP/1.1\r\nhost: h\r\ncontent-length: {BODY_MAX}\r\nconnection: close\r\n\r\n");
        let body = vec![b'x'; BODY_MAX];
        (0..60).map(|_| send_all_then_read(address, &[head.as_bytes(), &body])).collect::<Vec<_>>()
    });
    let heard = heard.await.expect("answers");
    let count = |status: &str| heard.iter().filter(|known| *known == status).count();
    assert!(count("503") >= 20 && count("429") >= 20 && count("503") + count("429") == 60, "{heard:?}");
}

#[tokio::test]
async fn a_small_body_that_is_not_needed_costs_no_connection() {
    let lab = Lab::running().await;
    let mut wire = Wire::to(lab.order.address()).await;
    for body in [2, 60_000] {
        wire.say(format!("POST /nowhere HTTP/1.1\r\nhost: h\r\ncontent-length: {body}\r\n\r\n{}", "x".repeat(body)))
            .await;
        let answer = wire.message().await.expect("an answer");
        assert_eq!((answer.status(), answer.header("connection")), (404, None));
    }
    wire.say(format!("POST /nowhere HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n{}", chunks(""))).await;
    let answer = wire.message().await.expect("an answer");
    assert_eq!((answer.status(), answer.header("connection")), (404, None));
    wire.say(get("connection: close\r\n")).await;
    assert_eq!(wire.message().await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn a_client_that_goes_on_sending_is_not_listened_to_for_ever() {
    let mut lab = Lab::running().await;
    let refused = async || {
        let mut wire = Wire::to(lab.order.address()).await;
        wire.say("POST /orders HTTP/1.1\r\nhost: h\r\ncontent-type: text/plain\r\ncontent-length: 1000000000\r\n\r\n")
            .await;
        assert_eq!(wire.message().await.expect("an answer").status(), 415);
        wire
    };
    // One that says nothing more is left after a pause, one that goes on is left in the end.
    let pid = lab.order.pid();
    let sockets = || std::fs::read_dir(format!("/proc/{pid}/fd")).expect("a process").count();
    let before = sockets();
    let silent = refused().await;
    assert!(sockets() > before, "its connection is not closed yet");
    wait_until(Duration::from_secs(8), "the silent one is left", async || sockets() <= before).await;
    silent.hang_up();
    let mut dripping = refused().await;
    let began = Instant::now();
    wait_until(Duration::from_secs(15), "the other one is left", async || !dripping.drip().await).await;
    assert!(began.elapsed() > Duration::from_secs(5), "but not at once: {:?}", began.elapsed());
    // A stop waits for none of them.
    let mut others = Vec::new();
    for _ in 0..5 {
        others.push(refused().await);
    }
    lab.order.terminate();
    let all_are_left = wait_until(LONG, "all are left", async || {
        let mut are_left = true;
        for other in &mut others {
            are_left &= !other.drip().await;
        }
        are_left
    });
    tokio::join!(all_are_left, lab.order.wait_until_ended(Duration::from_secs(6)));
}

// ---- limits that nest

#[tokio::test]
async fn what_the_gateway_accepts_is_not_too_much_for_a_service() {
    let mut lab = Lab::running().await;
    lab.gateway.start().await;
    let address = lab.gateway.address();
    let status = async |request: String| {
        let mut wire = Wire::to(address).await;
        wire.say(&request).await;
        wire.message().await.expect("an answer").status()
    };
    // A client may leave out what the gateway writes: CR, the space after a colon, an id, a key.
    let heads: [(&str, &str, &str); 3] = [
        ("GET /orders HTTP/1.1\r\nhost: h\r\nforwarded: for=1.1.1.1\r\n", ": ", "\r\n"),
        ("GET /orders HTTP/1.1\nhost:h\nforwarded:for=1.1.1.1\n", ":", "\n"),
        ("DELETE /orders/7 HTTP/1.1\nhost:h\nforwarded:for=1.1.1.1\n", ":", "\n"),
    ];
    for (first, colon, end) in heads {
        let expected = if first.starts_with("GET") { 200 } else { 404 };
        let lines = |count: usize| format!("x{colon}y{end}").repeat(count - 2);
        for (count, status_of_it) in [(88, expected), (89, 431)] {
            assert_eq!(status(format!("{first}{}{end}", lines(count))).await, status_of_it, "{count} lines: {first}");
        }
        // As many lines as possible, and as many bytes.
        let fixed = first.len() + lines(87).len() + format!("z{colon}{end}{end}").len();
        for (bytes, status_of_it) in [(65_536, expected), (65_537, 431)] {
            let long = "z".repeat(bytes - fixed);
            let head = format!("{first}{}z{colon}{long}{end}{end}", lines(87));
            assert_eq!(head.len(), bytes);
            assert_eq!(status(head).await, status_of_it, "{bytes} bytes: {first}");
        }
    }
    let path =
        |bytes: usize| format!("GET /orders?{} HTTP/1.1\r\nhost: h\r\n\r\n", "x".repeat(bytes - "/orders?".len()));
    assert_eq!((status(path(16_384)).await, status(path(16_385)).await), (200, 414));
    let sized = |size: usize| {
        let (head, tail) = (r#"{"storeName":"s","itemQty":1,"price":1,"note":""#, r#""}"#);
        let body = format!("{head}{}{tail}", "x".repeat(size - head.len() - tail.len()));
        post(&format!("content-length: {size}\r\n"), &body)
    };
    assert_eq!((status(sized(BODY_MAX)).await, status(sized(BODY_MAX + 1)).await), (201, 413));
}

// ---- services' answers

/// An answer of a service and what the client gets: a status, header lines that are there or (`!`) are not, the body.
struct Exchange {
    section: &'static str,
    what: &'static str,
    request: String,
    said: String,
    status: u16,
    lines: &'static [&'static str],
    body: &'static str,
}

#[rustfmt::skip]
fn answers() -> Vec<Exchange> {
    let ok = |lines: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n{body}");
    let row = |section, what, said: String, status, lines, body| Exchange { section, what, request: get("te: trailers\r\n"), said, status, lines, body };
    let head = |section, what, said: String, status, lines| Exchange { section, what, request: get("").replace("GET", "HEAD"), said, status, lines, body: "" };
    vec![
        row("9112 6.3", "a length", ok("content-length: 2\r\n", "{}"), 200, &["content-length: 2", "via: 1.1 jumun"], "{}"),
        row("9112 6.3", "chunks", ok("transfer-encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"), 200, &["!content-length"], "{}"),
        row("9112 6.3", "a body until the end", ok("", "{}"), 200, &["transfer-encoding: chunked"], "{}"),
        row("9110 8.6", "the same length twice is one", ok("content-length: 2\r\ncontent-length: 2\r\n", "{}"), 200, &["content-length: 2"], "{}"),
        row("9110 8.6", "a list of the same length is one", ok("content-length: 2, 2\r\n", "{}"), 200, &["content-length: 2"], "{}"),
        row("9112 6.3", "two lengths", ok("content-length: 2\r\ncontent-length: 3\r\n", "{}"), 502, &[], ""),
        row("9112 6.3", "a length with a sign", ok("content-length: +2\r\n", "{}"), 502, &[], ""),
        row("9112 6.3", "a negative length", ok("content-length: -2\r\n", "{}"), 502, &[], ""),
        row("9112 6.3", "a length that is no number", ok("content-length: x\r\n", "{}"), 502, &[], ""),
        row("9112 6.1", "a length beside chunks", ok("content-length: 2\r\ntransfer-encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"), 502, &[], ""),
        row("9112 6.1", "an unknown coding before chunks", ok("transfer-encoding: gzip, chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"), 502, &[], ""),
        row("9112 6.1", "an unknown coding", ok("transfer-encoding: gzip\r\n", "{}"), 502, &[], ""),
        row("9112 6.1", "chunks of chunks", ok("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"), 502, &[], ""),
        row("9112 6.1", "chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n".into(), 502, &[], ""),
        row("9112 2.3", "HTTP/1.0", "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}".into(), 200, &["via: 1.0 jumun"], "{}"),
        row("9112 2.3", "HTTP/2.0", "HTTP/2.0 200 OK\r\n\r\n".into(), 502, &[], ""),
        row("9112 2.2", "LF alone ends a line, too", "HTTP/1.1 200 OK\ncontent-length: 2\n\n{}".into(), 200, &["content-length: 2"], "{}"),
        row("9112 4", "no HTTP", "SSH-2.0-OpenSSH_9.6\r\n\r\n".into(), 502, &[], ""),
        row("9112 4", "a status of two digits", "HTTP/1.1 20 OK\r\n\r\n".into(), 502, &[], ""),
        row("9112 4", "a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n".into(), 502, &[], ""),
        row("9110 15", "a status of its own", "HTTP/1.1 299 Mine\r\ncontent-length: 2\r\n\r\n{}".into(), 299, &[], "{}"),
        row("9112 4", "no reason", "HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\n{}".into(), 200, &[], "{}"),
        row("9112 5.1", "a space before a colon is removed", ok("x-end : 1\r\ncontent-length: 2\r\n", "{}"), 200, &["x-end: 1"], "{}"),
        row("9112 5.2", "a folded line", ok("x: a\r\n b\r\ncontent-length: 2\r\n", "{}"), 502, &[], ""),
        row("9112 5.1", "a line without a colon", ok("x\r\n", "{}"), 502, &[], ""),
        row("9110 5.5", "NUL in a value", ok("x: a\0b\r\n", "{}"), 502, &[], ""),
        row("9112 2.2", "CR in a value", ok("x: a\rb\r\n", "{}"), 502, &[], ""),
        row("9110 5.4", "a head beyond all bounds", ok(&format!("x: {}\r\n", "y".repeat(70_000)), "{}"), 502, &[], ""),
        row("9110 15.2", "what is said in advance stays here", format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n{}", ok("content-length: 2\r\n", "{}")), 200, &["!link"], "{}"),
        row("9110 15.2.2", "another protocol", "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n".into(), 502, &[], ""),
        row("9110 15.3.5", "204 has no body and no length", "HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n{}".into(), 204, &["!content-length", "!transfer-encoding"], ""),
        row("9112 6.1", "204 has no coding", "HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".into(), 204, &["!content-length", "!transfer-encoding"], ""),
        row("9110 15.4.5", "304 has no body", "HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\n\r\n".into(), 304, &["etag: \"1\"", "!transfer-encoding"], ""),
        row("9110 7.6.1", "what is about one connection", ok("connection: x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\nupgrade: h2c\r\nx-end: 1\r\ncontent-length: 2\r\n", "{}"), 200, &["!x-hop", "!keep-alive", "!upgrade", "!connection", "x-end: 1"], "{}"),
        row("9110 6.5", "trailers", ok("trailer: x-sum\r\ntransfer-encoding: chunked\r\n", "2\r\n{}\r\n0\r\nx-sum: 1\r\n\r\n"), 200, &["!trailer", "!x-sum"], "{}"),
        row("9110 7.6.3", "Via is kept", ok("via: 1.1 inner\r\ncontent-length: 0\r\n", ""), 200, &["via: 1.1 inner|1.1 jumun"], ""),
        row("9110 6.6.1", "Date is kept", ok("date: Sat, 29 Oct 1994 19:43:31 GMT\r\ncontent-length: 0\r\n", ""), 200, &["date: Sat, 29 Oct 1994 19:43:31 GMT"], ""),
        row("9112 6.3", "more than its length", ok("content-length: 2\r\n", "{}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison"), 200, &[], "{}"),
        head("9110 9.3.2", "the length of what HEAD does not send", ok("content-length: 5000\r\n", ""), 200, &["content-length: 5000"]),
        head("9110 9.3.2", "the coding of what HEAD does not send", ok("transfer-encoding: chunked\r\n", ""), 200, &["!content-length"]),
        head("9112 6.3", "two lengths of what HEAD does not send", ok("content-length: 5\r\ncontent-length: 6\r\n", ""), 502, &[]),
    ]
}

#[tokio::test]
async fn answers_of_services_are_passed_on_as_the_standards_have_it() {
    let rows = answers();
    let said: Vec<_> = rows.iter().map(|row| row.said.clone()).collect();
    let upstream = Upstream::new(move |_, request| {
        let nth = request.header("x-row").and_then(|nth| nth.parse::<usize>().ok());
        match nth {
            // Its end is the end of the connection.
            Some(nth) if !said[nth].contains("length") && !said[nth].contains("chunked") => {
                Reaction::SayAndClose(said[nth].clone())
            }
            Some(nth) => Reaction::Say(said[nth].clone()),
            None => Reaction::Say("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnext".into()),
        }
    })
    .await;
    let mut lab = Lab::new();
    lab.gateway.set(format!("gateway.upstreams.order={}", upstream.url()));
    lab.gateway.start().await;
    let mut wrong = Vec::new();
    for (nth, row) in rows.iter().enumerate() {
        if let Err(why) = try_answer(nth, row, lab.gateway.address()).await {
            wrong.push(format!("{} {}: {why}", row.section, row.what));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

async fn try_answer(nth: usize, row: &Exchange, address: SocketAddr) -> Result<(), String> {
    let mut wire = Wire::to(address).await;
    wire.say(row.request.replace("host: h\r\n", &format!("host: h\r\nx-row: {nth}\r\n"))).await;
    let head = wire.head().await.ok_or("no answer")?;
    let has_body = !row.request.starts_with("HEAD") && ![204, 304].contains(&row.status);
    let answer = if has_body { wire.with_body(head).await.ok_or("no whole answer")? } else { head };
    let is = |is: bool, what: &str| if is { Ok(()) } else { Err(format!("{what}: {answer:?} {}", answer.text())) };
    is(answer.status() == row.status, &format!("not {}", row.status))?;
    is(answer.header("date").is_some() && answer.header("x-request-id").is_some(), "no date or no id")?;
    if row.status == StatusCode::BAD_GATEWAY {
        is(!has_body || code_of(&answer).as_deref() == Some("bad-gateway"), "no problem")?;
    } else {
        is(answer.text() == row.body, "another body")?;
    }
    for line in row.lines {
        match line.split_once(": ") {
            None => is(answer.all(&line[1..]).is_empty(), line)?,
            Some((name, value)) => is(answer.all(name).join("|") == value, line)?,
        }
    }
    // The client's connection goes on, and no part of this answer belongs to the next one.
    wire.say(get("")).await;
    let next = wire.message().await.ok_or("no second answer")?;
    is(next.text() == "next", &format!("another second answer: {next:?}"))
}

#[tokio::test]
async fn an_answer_that_breaks_off_never_looks_whole() {
    let upstream = Upstream::new(|nth, _| {
        Reaction::SayAndClose(match nth % 2 {
            0 => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n".into(),
            _ => "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc".into(),
        })
    })
    .await;
    let mut lab = Lab::new();
    lab.gateway.set(format!("gateway.upstreams.order={}", upstream.url()));
    lab.gateway.start().await;
    let address = lab.gateway.address();
    let read = move |request: &'static str| {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(LONG)).expect("a limit");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        (ended.is_ok(), String::from_utf8_lossy(&answer).into_owned())
    };
    let read = |request| tokio::task::spawn_blocking(move || read(request));
    let (_, chunked) = read("GET /orders HTTP/1.1\r\nhost: h\r\n\r\n").await.expect("an end");
    assert!(!chunked.contains("0\r\n\r\n"), "{chunked}");
    let (_, sized) = read("GET /orders HTTP/1.1\r\nhost: h\r\n\r\n").await.expect("an end");
    assert!(sized.contains("content-length: 10") && !sized.ends_with("abcdefghij"), "{sized}");
    // HTTP/1.0 has chunks neither way: the end of the connection would be the end of the answer.
    let (is_whole, old) = read("GET /orders HTTP/1.0\r\n\r\n").await.expect("an end");
    assert!(!is_whole && !old.contains("content-length"), "{old}");
}

#[tokio::test]
async fn a_service_that_answers_before_it_has_read_is_heard_and_not_asked_again() {
    for said in [
        "HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\n{}",
    ] {
        let upstream = Upstream::new(move |_, request| {
            if request.first_line.starts_with("GET") {
                Reaction::Say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".into())
            } else {
                Reaction::SayEarly(said.into())
            }
        })
        .await;
        let mut lab = Lab::new();
        lab.gateway.set(format!("gateway.upstreams.order={}", upstream.url()));
        lab.gateway.start().await;
        let client = Client::with_idle_connections(lab.gateway.address(), 1);
        for nth in 0..20 {
            let answer = client.post_text("/orders", vec![b'1'; BODY_MAX]).await;
            assert_eq!(answer.status, 413, "{nth}: {answer:?}");
            assert_eq!(client.get("/orders").await.status, 200, "{nth}: on another connection");
        }
        assert_eq!(upstream.seen().len(), 40);
    }
    // Through the gateway, what a service refuses before it has read.
    let mut lab = Lab::running().await;
    lab.gateway.start().await;
    let client = lab.gateway.client();
    let body = vec![b'x'; BODY_MAX];
    for _ in 0..20 {
        let head = [("content-type", "text/plain")];
        let answer = client.send(http::Method::POST, "/orders", &head, body.clone()).await.expect("an answer");
        assert_eq!((answer.status, &*answer.problem()), (415, "unsupported-media-type"));
    }
    client.post("/orders", &basket("치킨", 1)).await.id();
}

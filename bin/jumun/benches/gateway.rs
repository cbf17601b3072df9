//! What the gateway costs: processor time per request through it to an upstream that does next to nothing. The load is a
//! closed loop on the same machine.
//!
//! `cargo bench -p jumun-program --bench gateway`

mod support;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};
use support::{BASKET, Service, client, percentile};
use tokio::net::TcpListener;

const REQUESTS: usize = 40_000;
const CALLERS: [usize; 3] = [1, 16, 64];

/// Says yes; how often somebody connected to it.
async fn upstream() -> io::Result<(String, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let service = service_fn(async |request: Request<hyper::body::Incoming>| {
                drop(request.into_body().collect().await);
                let mut response = Response::new(Full::new(Bytes::from_static(BASKET.as_bytes())));
                response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/hal+json"));
                response.headers_mut().insert("location", http::HeaderValue::from_static("/orders/7"));
                Ok::<_, Infallible>(response)
            });
            stream.set_nodelay(true)?;
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
        io::Result::Ok(())
    });
    Ok((url, connections))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let (url, connections) = upstream().await?;
    let set = ["--set".to_owned(), format!("gateway.upstreams.order={url}")];
    let gateway = Service::start("gateway", folder.path(), &set)?;
    let http = client();
    let mut out = io::stdout();
    writeln!(out, "callers  requests/s       p50       p99  CPU µs/request  connections")?;
    for callers in CALLERS {
        let (began, before) = (Instant::now(), gateway.cpu());
        let connected = connections.load(Ordering::Relaxed);
        let work: Vec<_> = (0..callers)
            .map(|_| {
                let (http, url) = (http.clone(), format!("{}/orders", gateway.url));
                tokio::spawn(async move {
                    let mut latencies = Vec::new();
                    for _ in 0..REQUESTS / callers {
                        let request = Request::post(&url).header("content-type", "application/json");
                        let Ok(request) = request.body(Full::from(BASKET)) else { break };
                        let sent = Instant::now();
                        let Ok(response) = http.request(request).await else { break };
                        if response.status() == 200 && response.into_body().collect().await.is_ok() {
                            latencies.push(sent.elapsed());
                        }
                    }
                    latencies
                })
            })
            .collect();
        let mut latencies = Vec::new();
        for caller in work {
            latencies.extend(caller.await?);
        }
        latencies.sort_unstable();
        let elapsed = began.elapsed();
        let used = gateway.cpu().unwrap_or_default().saturating_sub(before.unwrap_or_default());
        #[expect(clippy::cast_precision_loss, reason = "for people to read")]
        let requests = latencies.len() as f64;
        writeln!(
            out,
            "{callers:>7} {:>11.0} {:>9.1?} {:>9.1?} {:>15.1} {:>12}",
            requests / elapsed.as_secs_f64(),
            percentile(&latencies, 0.5),
            percentile(&latencies, 0.99),
            used.as_secs_f64() * 1e6 / requests,
            connections.load(Ordering::Relaxed) - connected,
        )?;
    }
    Ok(())
}

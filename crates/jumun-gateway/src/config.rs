//! The configuration of the gateway.

use crate::rate::{Network, RateConfig};
use http::Uri;
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

/// The name of the gateway among the processes of a system; no service may have it.
pub const GATEWAY: &str = "gateway";

/// The configuration of the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayConfig {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// Origins of web pages that may call the gateway, such as `https://shop.example`, or `*` for all. None by default.
    pub cors_origins: Vec<String>,
    /// The addresses of each service.
    pub upstreams: BTreeMap<String, Vec<Uri>>,
    /// How long the gateway waits for the answer of a service. Includes the retry of a broken request.
    pub time_limit: Duration,
    /// How long a client may take to send the head of a request; also how long its connection may be idle.
    pub head_time_limit: Duration,
    /// How long a client may take to send the body of a request.
    pub body_time_limit: Duration,
    /// Requests in progress to one service. Further ones get 503 at once.
    pub max_concurrent: u32,
    /// Requests in progress to all services. Further ones get 503 at once.
    pub max_concurrent_total: u32,
    /// The rate limit of each client.
    pub rate: RateConfig,
    /// Proxies whose `X-Forwarded-For` the gateway trusts. None by default.
    pub trusted_proxies: Vec<Network>,
}

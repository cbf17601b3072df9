//! The configuration of the gateway.

use crate::rate::{Network, RateConfig};
use http::Uri;
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

/// The name of the gateway among the processes of a system; no service may have it.
pub const GATEWAY: &str = "gateway";

/// The configuration of the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The web pages that may call it from a browser, `https://shop.example`, or `*` for all. None by default.
    pub cors_origins: Vec<String>,
    /// Where each service is, once or more often.
    pub upstreams: BTreeMap<String, Vec<Uri>>,
    /// How long the answer of a service is waited for, the repeat of a broken request included.
    pub time_limit: Duration,
    /// How long a client may take to send the head of a request; also how long a connection may be idle.
    pub head_time_limit: Duration,
    /// How long a client may take to send the body of a request.
    pub body_time_limit: Duration,
    /// Requests to one service at once. One more is answered 503 at once.
    pub max_concurrent: u32,
    /// Requests to all services at once. One more is answered 503 at once.
    pub max_concurrent_total: u32,
    /// How often a client may ask.
    pub rate: RateConfig,
    /// Whose `X-Forwarded-For` says where a client is. None by default.
    pub trusted_proxies: Vec<Network>,
}

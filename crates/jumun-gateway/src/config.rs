//! The configuration of the gateway: the table `[gateway]`.

use crate::{
    limits::{GATEWAY_REQUESTS_MAX, GATEWAY_TIME_LIMIT, TRUSTED_PROXIES_MAX, UPSTREAM_REQUESTS_MAX, UPSTREAMS_MAX},
    rate::{Network, RateConfig},
};
use http::Uri;
use jumun_config::{Invalid, Section, check, section};
use jumun_http::{
    Address,
    limits::{BODY_TIME_LIMIT, HEAD_TIME_LIMIT},
};
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

/// The name of the gateway among the processes of a system; no service may have it.
pub const GATEWAY: &str = "gateway";

/// The port of the gateway of every system.
pub const PORT: u16 = 8088;

section! {
    /// The configuration of the gateway.
    #[derive(Eq)]
    pub struct GatewayConfig {
        /// Where the gateway listens. `port_offset` moves the default up.
        pub listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], PORT)),
        /// The web pages that may call the gateway from a browser: `https://shop.example`, or `*` for all.
        pub cors_origins: Vec<String> = Vec::new(),
        /// The addresses of the service of that name: `["http://host:port", …]`. By default where the service listens.
        pub upstreams: BTreeMap<String, Vec<Address>> = BTreeMap::new(),
        /// How long the gateway waits for the answer of a service, the repeat of a broken request included.
        pub time_limit: Duration = GATEWAY_TIME_LIMIT,
        /// How long a client may take to send the head of a request; also how long a connection may be idle.
        pub head_time_limit: Duration = HEAD_TIME_LIMIT,
        /// How long a client may take to send the body of a request.
        pub body_time_limit: Duration = BODY_TIME_LIMIT,
        /// Requests to one service at once. Requests over the limit get 503.
        pub max_concurrent: u32 = UPSTREAM_REQUESTS_MAX,
        /// Requests to all services at once. Requests over the limit get 503.
        pub max_concurrent_total: u32 = GATEWAY_REQUESTS_MAX,
        /// The rate limit of each client.
        pub rate: RateConfig = RateConfig::default(),
        /// Proxies whose `X-Forwarded-For` the gateway believes: `10.0.0.7`, `10.0.0.0/8`.
        pub trusted_proxies: Vec<Network> = Vec::new(),
    }
}

impl Section for GatewayConfig {
    fn check(&self) -> Result<(), Invalid> {
        if let Some(origin) = self.cors_origins.iter().find(|origin| !is_origin(origin)) {
            let why = format!("`{origin}` is not an origin; write https://host, or * for all");
            return Err(Invalid::new("cors_origins", why));
        }
        for (service, addresses) in &self.upstreams {
            if addresses.is_empty() || addresses.len() > UPSTREAMS_MAX {
                let why = format!("name 1 to {UPSTREAMS_MAX} addresses");
                return Err(Invalid::new(service, why).below("upstreams"));
            }
        }
        check::above_zero("time_limit", self.time_limit)?;
        check::above_zero("head_time_limit", self.head_time_limit)?;
        check::above_zero("body_time_limit", self.body_time_limit)?;
        check::at_least("max_concurrent", &self.max_concurrent, &1)?;
        check::at_least("max_concurrent_total", &self.max_concurrent_total, &1)?;
        self.rate.check().map_err(|invalid| invalid.below("rate"))?;
        if self.trusted_proxies.len() > TRUSTED_PROXIES_MAX {
            return Err(Invalid::new("trusted_proxies", format!("name at most {TRUSTED_PROXIES_MAX}")));
        }
        Ok(())
    }
}

/// What a browser calls an origin: a scheme, a host, perhaps a port, and nothing else.
fn is_origin(text: &str) -> bool {
    let uri = text.parse::<Uri>().ok().filter(|uri| uri.scheme().is_some() && uri.host().is_some());
    text == "*" || uri.is_some_and(|uri| uri.path() == "/" && !text.ends_with('/') && uri.query().is_none())
}

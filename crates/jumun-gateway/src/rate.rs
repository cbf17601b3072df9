//! Rate limits: each client may send a number of requests a second, and a burst. A request beyond it gets 429 with
//! `Retry-After`.
//!
//! # Why requests that end a resource have a separate limit
//!
//! A client that has placed orders too fast can still cancel them. Both limits have the same size.
//!
//! # Which requests belong to one client
//!
//! Requests with the same credentials; without credentials, requests from the same address. The gateway cannot verify
//! credentials, so a client may invent new ones for each request. The bound on known clients limits that: all clients
//! beyond it share one rate limit. Such a flood uses no memory and takes nothing from clients that were known before.

use crate::{
    head::FORWARDED_FOR,
    limits::{CLIENTS_MAX, FORWARDED_FOR_MAX},
};
use governor::{
    Quota, RateLimiter,
    clock::{Clock, MonotonicClock},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{StateStore, keyed::ShrinkableKeyedStateStore},
};
use http::{HeaderMap, HeaderName, header};
use jumun_config::{Invalid, Section, section};
use std::{
    collections::{HashMap, hash_map::RandomState},
    fmt,
    hash::BuildHasher,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    str::FromStr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

section! {
    /// The rate limit of each client.
    #[derive(Copy, Eq)]
    pub struct RateConfig {
        /// Requests a second of one client. Requests over the rate get 429. 0: no limit.
        pub per_second: u32 = 0,
        /// Requests of one client at once, after a pause. 0: as many as in a second.
        pub burst: u32 = 0,
    }
}

impl Section for RateConfig {
    fn check(&self) -> Result<(), Invalid> {
        if self.burst > 0 && self.per_second == 0 {
            return Err(Invalid::new("burst", "has no effect without rate.per_second"));
        }
        Ok(())
    }
}

/// An address, or a network in CIDR notation: `10.0.0.7`, `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// Bits of the address that all its members share.
    prefix: u8,
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        let host_bits = |of: IpAddr| u32::from(bits(of).saturating_sub(self.prefix));
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()).checked_shr(host_bits(address)).is_none_or(|differs| differs == 0)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()).checked_shr(host_bits(address)).is_none_or(|differs| differs == 0)
            }
            _ => false,
        }
    }
}

const fn bits(of: IpAddr) -> u8 {
    if of.is_ipv4() { 32 } else { 128 }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let why = || format!("`{text}` is neither an address nor a network; write 10.0.0.7 or 10.0.0.0/8");
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| why())?;
        let prefix = prefix.map_or(Ok(bits(address)), |prefix| prefix.parse().map_err(|_| why()))?;
        if prefix <= bits(address) { Ok(Self { address, prefix }) } else { Err(why()) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        if self.prefix == bits(self.address) { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

/// The rate limits of all clients.
pub(crate) struct Rates<C: Clock = MonotonicClock> {
    limiter: RateLimiter<u64, Clients, C, NoOpMiddleware<C::Instant>>,
    trusted: Vec<Network>,
    hasher: RandomState,
}

impl Rates {
    /// None if the configuration sets no limit.
    pub(crate) fn new(config: RateConfig, trusted: &[Network]) -> Option<Self> {
        Self::with(config, trusted, CLIENTS_MAX, MonotonicClock)
    }
}

impl<C: Clock> Rates<C> {
    fn with(config: RateConfig, trusted: &[Network], clients_max: usize, clock: C) -> Option<Self> {
        let per_second = NonZeroU32::new(config.per_second)?;
        let quota = Quota::per_second(per_second).allow_burst(NonZeroU32::new(config.burst).unwrap_or(per_second));
        let limiter = RateLimiter::new(quota, Clients { known: Mutex::default(), max: clients_max }, clock);
        Some(Self { limiter, trusted: trusted.to_vec(), hasher: RandomState::new() })
    }

    /// Counts a request. Fails with the time until the next one is allowed.
    pub(crate) fn check(&self, peer: IpAddr, head: &HeaderMap, may_end: bool) -> Result<(), Duration> {
        let key = self.hasher.hash_one((may_end, self.client(peer, head)));
        self.limiter.check_key(&key).map_err(|not_until| not_until.wait_time_from(self.limiter.clock().now()))
    }

    /// Forgets clients that have been idle for so long that they have their full burst again. Call it once a second.
    pub(crate) fn forget_idle(&self) {
        if !self.limiter.is_empty() {
            self.limiter.retain_recent();
        }
    }

    fn client<'a>(&self, peer: IpAddr, head: &'a HeaderMap) -> Client<'a> {
        let names = [header::AUTHORIZATION, API_KEY];
        let credentials = names.iter().find_map(|name| head.get(name).map(http::HeaderValue::as_bytes));
        credentials.map_or_else(|| Client::At(subscriber(self.origin(peer, head))), Client::Of)
    }

    /// The last address on the path that is not a trusted proxy. A client may have forged the addresses before it.
    fn origin(&self, peer: IpAddr, head: &HeaderMap) -> IpAddr {
        let is_trusted = |address| self.trusted.iter().any(|network| network.contains(address));
        let mut origin = peer.to_canonical();
        let lines = head.get_all(FORWARDED_FOR).iter().rev();
        let addresses = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        for address in addresses.take(FORWARDED_FOR_MAX) {
            let address = std::str::from_utf8(address).ok().and_then(|text| text.trim().parse::<IpAddr>().ok());
            match address {
                Some(address) if is_trusted(origin) => origin = address.to_canonical(),
                _ => break,
            }
        }
        origin
    }
}

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The identity of a client. Only its hash is stored.
#[derive(Hash, Debug, PartialEq, Eq)]
enum Client<'a> {
    /// Requests with these credentials.
    Of(&'a [u8]),
    /// Requests without credentials from this address.
    At(IpAddr),
}

/// The network of one subscriber. With IPv6 that is a /64 at least (RFC 6177): a client may change its address at will.
fn subscriber(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        IpAddr::V4(_) => address,
    }
}

/// The state of each known client, by its hash. The number is bounded; all further clients share one entry.
struct Clients {
    known: Mutex<HashMap<u64, Nanos>>,
    max: usize,
}

/// The key of all clients that are not known.
const OTHERS: u64 = 0;

impl Clients {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Nanos>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner) // a panic cannot leave a map of numbers inconsistent
    }
}

impl StateStore for Clients {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut known = self.lock();
        let key = if known.len() < self.max || known.contains_key(key) { *key } else { OTHERS };
        let (outcome, until) = f(known.get(&key).copied())?;
        known.insert(key, until);
        Ok(outcome)
    }
}

impl ShrinkableKeyedStateStore<u64> for Clients {
    fn retain_recent(&self, drop_below: Nanos) {
        self.lock().retain(|_, until| *until > drop_below);
    }

    fn shrink_to_fit(&self) {
        self.lock().shrink_to_fit();
    }

    fn len(&self) -> usize {
        self.lock().len()
    }

    fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;
    use http::HeaderValue;

    fn rates(per_second: u32, burst: u32, clients_max: usize) -> (Rates<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let trusted = ["10.0.0.0/8", "::1"].map(|network| network.parse().expect("a network"));
        let rates = Rates::with(RateConfig { per_second, burst }, &trusted, clients_max, clock.clone());
        (rates.expect("a limit"), clock)
    }

    fn head(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut head = HeaderMap::new();
        for (name, value) in lines {
            head.append(HeaderName::from_static(name), HeaderValue::try_from(*value).expect("a value"));
        }
        head
    }

    fn at(address: &str) -> IpAddr {
        address.parse().expect("an address")
    }

    #[test]
    fn a_client_is_limited_and_learns_when_to_retry() {
        let (rates, clock) = rates(2, 3, 8);
        let ask = || rates.check(at("1.1.1.1"), &HeaderMap::new(), false);
        assert_eq!([ask(), ask(), ask()], [Ok(()); 3], "at once");
        assert_eq!(ask(), Err(Duration::from_millis(500)));
        assert_eq!(rates.check(at("1.1.1.1"), &HeaderMap::new(), true), Ok(()), "it can still cancel");
        assert_eq!(rates.check(at("1.1.1.2"), &HeaderMap::new(), false), Ok(()), "another client is allowed");
        clock.advance(Duration::from_millis(500));
        assert_eq!(ask(), Ok(()));
        assert!(ask().is_err());
    }

    #[test]
    fn credentials_or_else_the_address_identify_a_client() {
        let (rates, _) = rates(1, 1, 8);
        let client = |peer, lines: &[(&'static str, &str)]| match rates.client(at(peer), &head(lines)) {
            Client::Of(credentials) => String::from_utf8(credentials.to_vec()).expect("text"),
            Client::At(address) => address.to_string(),
        };
        let (key, forwarded) = (("x-api-key", "k"), "x-forwarded-for");
        assert_eq!(client("1.1.1.1", &[key]), "k");
        assert_eq!(client("1.1.1.1", &[key, ("authorization", "Bearer b")]), "Bearer b");
        assert_eq!(client("1.1.1.1", &[(forwarded, "2.2.2.2")]), "1.1.1.1", "the header may be forged");
        assert_eq!(client("10.9.9.9", &[(forwarded, "2.2.2.2")]), "2.2.2.2");
        assert_eq!(client("10.9.9.9", &[(forwarded, "6.6.6.6, 2.2.2.2,10.0.0.1")]), "2.2.2.2");
        assert_eq!(client("10.9.9.9", &[(forwarded, "6.6.6.6"), (forwarded, "2.2.2.2")]), "2.2.2.2");
        assert_eq!(client("10.9.9.9", &[(forwarded, "2.2.2.2, nonsense")]), "10.9.9.9");
        assert_eq!(client("::ffff:10.9.9.9", &[(forwarded, "2.2.2.2")]), "2.2.2.2");
        assert_eq!(client("::1", &[(forwarded, "2001:db8:1:2:3:4:5:6")]), "2001:db8:1:2::", "a whole network");
    }

    #[test]
    fn a_flood_of_new_clients_uses_no_memory_and_spares_known_ones() {
        let (rates, clock) = rates(1, 2, 8);
        let ask = |key: &str| rates.check(at("1.1.1.1"), &head(&[("x-api-key", key)]), false).is_ok();
        assert!(ask("known before"));
        let taken = (0..1_000).filter(|nth| ask(&nth.to_string())).count();
        assert_eq!(taken, 7 + 2, "seven of them are known, the others share one limit");
        assert!(rates.limiter.len() <= 9, "{}", rates.limiter.len());
        assert!(ask("known before") && !ask("known before"), "it has a limit of its own");
        clock.advance(Duration::from_secs(10));
        rates.forget_idle();
        assert!(rates.limiter.is_empty(), "idle clients are forgotten");
        assert!(ask("0") && ask("0") && !ask("0"));
        rates.forget_idle();
        assert_eq!(rates.limiter.len(), 1, "an active client is kept");
        assert!(!ask("0"));
    }

    #[test]
    fn a_network_is_read_as_it_is_written() {
        for (text, inside, outside) in [
            ("10.0.0.7", "10.0.0.7", "10.0.0.6"),
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.168.4.0/22", "192.168.7.255", "192.168.8.0"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::1", "::1", "::2"),
        ] {
            let network: Network = text.parse().expect("a network");
            assert!(network.contains(at(inside)) && !network.contains(at(outside)), "{text}");
            assert!(!network.contains(at(if text.contains(':') { "1.2.3.4" } else { "::" })));
            assert_eq!(network.to_string(), text);
        }
        let all: Network = "0.0.0.0/0".parse().expect("a network");
        assert!(all.contains(at("255.255.255.255")) && !all.contains(at("::1")));
        for nonsense in ["", "host", "10.0.0.0/33", "10.0.0.0/x", "::/129", "/8"] {
            assert!(nonsense.parse::<Network>().is_err(), "{nonsense}");
        }
    }
}

//! What a guard is configured with: `[<service>.calls.<neighbour>]` and the tables below it.

use crate::limits;
use jumun_config::{Invalid, Section, Setting, check, section, units};
use serde::{Deserializer, Serializer, de};
use std::{fmt, time::Duration};

section! {
    /// The guard around the calls to one neighbour.
    #[derive(Copy)]
    pub struct GuardConfig {
        /// How long the caller waits for an answer, the wait for a slot included.
        pub time_limit: Duration = Duration::from_secs(1),
        /// When the guard stops calling.
        pub breaker: BreakerConfig = BreakerConfig::default(),
        /// How many calls may be in flight at once.
        pub bulkhead: BulkheadConfig = BulkheadConfig::default(),
    }
}

section! {
    /// When a breaker opens and closes.
    #[derive(Copy)]
    pub struct BreakerConfig {
        /// The calls that count: those of a time (`"10s"`), or the last ones (`100`).
        pub window: Window = Window::Time(Duration::from_secs(10)),
        /// With fewer calls in the window the breaker does not open. By default 20, or the size of the window if that
        /// is less.
        pub minimum_calls: Option<u32> = None,
        /// The breaker opens at this share of failed calls: above 0, at most 1.
        pub failure_rate: f64 = 0.5,
        /// From this duration on a call is slow. By default the time limit.
        pub slow_call: Option<Duration> = None,
        /// The breaker opens at this share of slow calls: above 0, at most 1.
        pub slow_call_rate: f64 = 1.0,
        /// How long the breaker stays open before it probes.
        pub wait_open: Duration = Duration::from_secs(5),
        /// How many calls a half-open breaker lets through. It decides by them.
        pub half_open_calls: u32 = 5,
    }
}

section! {
    /// How many calls may be in flight at once.
    #[derive(Copy, Eq)]
    pub struct BulkheadConfig {
        /// Calls in flight at once, at most.
        pub max_concurrent: u32 = 256,
        /// Whether fewer are in flight where the neighbour has fewer places: it tells in its answers how many it has, and how
        /// many calls queue there. `false`: `max_concurrent` applies whatever it tells.
        pub keep_to_places: bool = true,
        /// How long one more call waits for a slot, within the time limit, and hardly longer than leaves it the time that calls
        /// take. `0s`: the bulkhead refuses it at once.
        pub max_wait: Duration = Duration::from_millis(100),
    }
}

/// The calls that a breaker counts: written `"10s"`, or a number of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// The calls of this time.
    Time(Duration),
    /// The last calls, this many.
    Calls(u32),
}

/// An invalid configuration of a guard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct InvalidConfig(#[from] pub Invalid);

impl Section for GuardConfig {
    fn check(&self) -> Result<(), Invalid> {
        check::within("time_limit", &self.time_limit, &limits::DURATION)?;
        self.breaker.check().map_err(|invalid| invalid.below("breaker"))?;
        self.bulkhead.check().map_err(|invalid| invalid.below("bulkhead"))
    }
}

impl BreakerConfig {
    /// The number of calls in the window from which on the breaker decides.
    pub fn minimum_calls(&self) -> u32 {
        const DEFAULT: u32 = 20;
        self.minimum_calls.unwrap_or(match self.window {
            Window::Calls(calls) => calls.min(DEFAULT),
            Window::Time(_) => DEFAULT,
        })
    }
}

impl Section for BreakerConfig {
    fn check(&self) -> Result<(), Invalid> {
        let most = match self.window {
            Window::Time(time) => check::within("window", &time, &limits::WINDOW).map(|()| u32::MAX)?,
            Window::Calls(calls) => check::within("window", &calls, &limits::WINDOW_CALLS).map(|()| calls)?,
        };
        if let Some(minimum) = self.minimum_calls.filter(|minimum| !(1..=most).contains(minimum)) {
            let why = format!("must be from 1 to the size of the window; with {minimum} the breaker would never open");
            return Err(Invalid::new("minimum_calls", why));
        }
        check::share_above_zero("failure_rate", self.failure_rate)?;
        if let Some(slow_call) = self.slow_call {
            check::within("slow_call", &slow_call, &limits::DURATION)?;
        }
        check::share_above_zero("slow_call_rate", self.slow_call_rate)?;
        check::within("wait_open", &self.wait_open, &limits::DURATION)?;
        check::within("half_open_calls", &self.half_open_calls, &limits::HALF_OPEN_CALLS)
    }
}

impl Section for BulkheadConfig {
    fn check(&self) -> Result<(), Invalid> {
        check::within("max_concurrent", &self.max_concurrent, &limits::CONCURRENT)?;
        check::within("max_wait", &self.max_wait, &(Duration::ZERO..=*limits::DURATION.end()))
    }
}

impl InvalidConfig {
    /// The error code. It stays the same over releases.
    pub const fn code(&self) -> &'static str {
        "guard-configuration-invalid"
    }

    /// What the operator can do about it.
    pub const fn remedy(&self) -> &'static str {
        "Correct the value under calls in jumun.toml, the environment (JUMUN__…) or --set."
    }
}

impl Setting for Window {
    const UNIT: &'static str = "duration or number of calls";

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Window;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time like \"10s\" or a number of calls like 100")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Window, E> {
                let time = units::parse_duration(text).map(Window::Time);
                time.map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }

            fn visit_u64<E: de::Error>(self, calls: u64) -> Result<Window, E> {
                let fits = u32::try_from(calls).map(Window::Calls);
                fits.map_err(|_| E::invalid_value(de::Unexpected::Unsigned(calls), &self))
            }

            fn visit_i64<E: de::Error>(self, calls: i64) -> Result<Window, E> {
                let fits = u32::try_from(calls).map(Window::Calls);
                fits.map_err(|_| E::invalid_value(de::Unexpected::Signed(calls), &self))
            }
        }

        deserializer.deserialize_any(Visitor)
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Time(time) => serializer.serialize_str(&units::format_duration(*time)),
            Self::Calls(calls) => serializer.serialize_u32(*calls),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(keys: Value) -> Result<GuardConfig, String> {
        jumun_config::read(keys).map_err(|error| error.to_string())
    }

    #[test]
    fn the_keys_and_their_defaults_are_those_of_the_contract() {
        let keys = json!({
            "time_limit": "1s",
            "breaker": {
                "window": "10s", "minimum_calls": 20, "failure_rate": 0.5, "slow_call": "1s", "slow_call_rate": 1.0,
                "wait_open": "5s", "half_open_calls": 5,
            },
            "bulkhead": { "max_concurrent": 256, "keep_to_places": true, "max_wait": "100ms" },
        });
        let mut written = read(keys).expect("a configuration");
        assert_eq!(
            (written.breaker.minimum_calls, written.breaker.slow_call),
            (Some(20), Some(Duration::from_secs(1)))
        );
        (written.breaker.minimum_calls, written.breaker.slow_call) = (None, None); // by default; the same
        assert_eq!(read(json!({})), Ok(written));
        assert_eq!(written, GuardConfig::default());
    }

    #[test]
    fn a_window_is_a_time_or_a_number_of_calls() {
        let window = |value| read(json!({ "breaker": { "window": value } })).expect("a configuration").breaker;
        assert_eq!(window(json!("500ms")).window, Window::Time(Duration::from_millis(500)));
        assert_eq!(window(json!("500ms")).minimum_calls(), 20);
        assert_eq!(window(json!(100)).window, Window::Calls(100));
        assert_eq!(window(json!(100)).minimum_calls(), 20);
        assert_eq!(window(json!(10)).minimum_calls(), 10, "a window of 10 calls must be able to open");
    }

    #[test]
    fn a_rate_may_be_written_without_a_point_and_no_wait_is_a_wait() {
        let config = read(json!({ "breaker": { "failure_rate": 1 }, "bulkhead": { "max_wait": "0s" } }));
        assert_eq!(config.map(|config| config.bulkhead.max_wait), Ok(Duration::ZERO));
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (keys, named) in [
            (json!({ "nonsense": 1 }), "nonsense"),
            (json!({ "time_limit": "0s" }), "time_limit"),
            (json!({ "time_limit": "soon" }), "soon"),
            (json!({ "time_limit": "-1s" }), "-1s"),
            (json!({ "time_limit": 5 }), "5"),
            (json!({ "breaker": { "nonsense": 1 } }), "nonsense"),
            (json!({ "breaker": { "window": 0 } }), "window"),
            (json!({ "breaker": { "window": -1 } }), "10s"),
            (json!({ "breaker": { "window": 4_294_967_296_u64 } }), "10s"),
            (json!({ "breaker": { "window": 1.5 } }), "10s"),
            (json!({ "breaker": { "window": "1ms" } }), "window"),
            (json!({ "breaker": { "window": 10, "minimum_calls": 11 } }), "minimum_calls"),
            (json!({ "breaker": { "minimum_calls": 0 } }), "minimum_calls"),
            (json!({ "breaker": { "failure_rate": 0 } }), "failure_rate"),
            (json!({ "breaker": { "failure_rate": 1.01 } }), "failure_rate"),
            (json!({ "breaker": { "slow_call": "0s" } }), "slow_call"),
            (json!({ "breaker": { "slow_call_rate": -0.5 } }), "slow_call_rate"),
            (json!({ "breaker": { "wait_open": "0s" } }), "wait_open"),
            (json!({ "breaker": { "wait_open": "100000h" } }), "wait_open"),
            (json!({ "breaker": { "half_open_calls": 0 } }), "half_open_calls"),
            (json!({ "bulkhead": { "nonsense": 1 } }), "nonsense"),
            (json!({ "bulkhead": { "max_concurrent": 0 } }), "max_concurrent"),
            (json!({ "bulkhead": { "max_concurrent": 100_000 } }), "max_concurrent"),
            (json!({ "retry": { "max_attempts": 1 } }), "retry"),
        ] {
            let error = read(keys.clone()).expect_err(&keys.to_string());
            assert!(error.contains(named), "{keys}: {error}");
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let breaker = BreakerConfig { window: Window::Calls(50), minimum_calls: Some(9), ..BreakerConfig::default() };
        for config in [GuardConfig::default(), GuardConfig { breaker, ..GuardConfig::default() }] {
            assert_eq!(read(serde_json::to_value(config).expect("a table")), Ok(config));
        }
        let keys: Vec<_> = jumun_config::flatten(&GuardConfig::default()).into_iter().map(|(key, _)| key).collect();
        assert_eq!((keys.len(), keys[1].as_str(), keys[10].as_str()), (11, "breaker.window", "bulkhead.max_wait"));
    }

    #[test]
    fn what_a_program_makes_is_checked_too() {
        let breaker = BreakerConfig { failure_rate: f64::NAN, ..BreakerConfig::default() };
        let error = GuardConfig { breaker, ..GuardConfig::default() }.check().expect_err("not a number");
        assert_eq!(error.key, "breaker.failure_rate");
        assert_eq!(InvalidConfig(error).code(), "guard-configuration-invalid");
        let breaker = BreakerConfig { slow_call_rate: f64::NAN, ..BreakerConfig::default() };
        assert!(GuardConfig { breaker, ..GuardConfig::default() }.check().is_err());
    }
}

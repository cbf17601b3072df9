//! What a guard is told: the keys of `[order.calls.payment]` that are about the guard, with their defaults.
//!
//! A duration is written `400ms`, `10s`, `2m`. A key that nobody knows, or a value that cannot be, is an error.

use crate::limits;
use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, de};
use std::{fmt, ops::RangeInclusive, time::Duration};

/// The guard around one call.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields, default)]
pub struct GuardConfig {
    /// How long an answer is waited for: from the caller's first wish to the last attempt's end.
    #[serde(deserialize_with = "duration")]
    pub time_limit: Duration,
    /// When to stop calling.
    pub breaker: BreakerConfig,
    /// How many calls at once.
    pub bulkhead: BulkheadConfig,
}

/// When a breaker opens and closes.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields, default)]
pub struct BreakerConfig {
    /// Which calls count.
    pub window: Window,
    /// With fewer calls in the window it does not open. By default 20, or the window where that is less.
    pub minimum_calls: Option<u32>,
    /// It opens where so large a share of calls fails: above 0, at most 1.
    pub failure_rate: f64,
    /// A call that takes so long, or longer, is slow. By default the time limit.
    #[serde(deserialize_with = "some_duration")]
    pub slow_call: Option<Duration>,
    /// It opens where so large a share of calls is slow: above 0, at most 1.
    pub slow_call_rate: f64,
    /// How long it is open before it lets calls through again, to see.
    #[serde(deserialize_with = "duration")]
    pub wait_open: Duration,
    /// How many calls it lets through then, and decides by.
    pub half_open_calls: u32,
}

/// Which calls a breaker counts: written `"10s"`, or a number of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// Those of so much time.
    Time(Duration),
    /// The last so many.
    Calls(u32),
}

/// How many calls at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields, default)]
pub struct BulkheadConfig {
    /// Calls at work at once.
    pub max_concurrent: u32,
    /// How long one more waits for its turn, within the time limit. Zero: it is refused at once.
    #[serde(deserialize_with = "duration")]
    pub max_wait: Duration,
}

/// A value that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: {why}")]
pub struct InvalidConfig {
    /// The key.
    pub key: &'static str,
    /// What is wrong with its value.
    pub why: String,
}

impl Default for GuardConfig {
    fn default() -> Self {
        Self {
            time_limit: Duration::from_secs(1),
            breaker: BreakerConfig::default(),
            bulkhead: BulkheadConfig::default(),
        }
    }
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            window: Window::Time(Duration::from_secs(10)),
            minimum_calls: None,
            failure_rate: 0.5,
            slow_call: None,
            slow_call_rate: 1.0,
            wait_open: Duration::from_secs(5),
            half_open_calls: 5,
        }
    }
}

impl Default for BulkheadConfig {
    fn default() -> Self {
        Self { max_concurrent: 256, max_wait: Duration::from_millis(100) }
    }
}

impl GuardConfig {
    /// What is read is checked already; what a program makes is checked when a guard is made of it.
    ///
    /// # Errors
    /// The first value that cannot be.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        within("time_limit", self.time_limit, &limits::DURATION)?;
        self.breaker.check()?;
        self.bulkhead.check()
    }
}

impl BreakerConfig {
    /// With how many calls it decides at the earliest.
    pub fn minimum_calls(&self) -> u32 {
        const USUALLY: u32 = 20;
        self.minimum_calls.unwrap_or(match self.window {
            Window::Calls(calls) => calls.min(USUALLY),
            Window::Time(_) => USUALLY,
        })
    }

    fn check(&self) -> Result<(), InvalidConfig> {
        let most = match self.window {
            Window::Time(time) => within("window", time, &limits::WINDOW).map(|()| u32::MAX)?,
            Window::Calls(calls) => within("window", calls, &limits::WINDOW_CALLS).map(|()| calls)?,
        };
        if let Some(minimum) = self.minimum_calls.filter(|minimum| !(1..=most).contains(minimum)) {
            let why = format!("must be from 1 to what the window holds, {minimum} is not: it would never open");
            return Err(InvalidConfig { key: "minimum_calls", why });
        }
        rate("failure_rate", self.failure_rate)?;
        if let Some(slow_call) = self.slow_call {
            within("slow_call", slow_call, &limits::DURATION)?;
        }
        rate("slow_call_rate", self.slow_call_rate)?;
        within("wait_open", self.wait_open, &limits::DURATION)?;
        within("half_open_calls", self.half_open_calls, &limits::HALF_OPEN_CALLS)
    }
}

impl BulkheadConfig {
    fn check(&self) -> Result<(), InvalidConfig> {
        within("max_concurrent", self.max_concurrent, &limits::CONCURRENT)?;
        within("max_wait", self.max_wait, &(Duration::ZERO..=*limits::DURATION.end()))
    }
}

impl InvalidConfig {
    /// A code that stays the same over releases.
    pub const fn code(&self) -> &'static str {
        "guard-configuration-invalid"
    }

    /// What to do about it.
    pub const fn remedy(&self) -> &'static str {
        "Correct the value under calls in jumun.toml, the environment (JUMUN__…) or --set."
    }
}

fn within<T: PartialOrd + fmt::Debug>(
    key: &'static str,
    value: T,
    range: &RangeInclusive<T>,
) -> Result<(), InvalidConfig> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(InvalidConfig { key, why: format!("must be from {:?} to {:?}, not {value:?}", range.start(), range.end()) })
}

fn rate(key: &'static str, value: f64) -> Result<(), InvalidConfig> {
    if value > 0.0 && value <= 1.0 {
        return Ok(());
    }
    Err(InvalidConfig { key, why: format!("must be a share above 0 and at most 1, not {value:?}") })
}

/// What is read is checked at once, so that the error can say where it stands.
macro_rules! checked {
    ($($config:ty),+) => {$(
        impl<'de> Deserialize<'de> for $config {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let read = Self::deserialize(deserializer)?; // the derived one: `remote = "Self"` makes it a plain function
                read.check().map_err(de::Error::custom)?;
                Ok(read)
            }
        }
    )+};
}

checked!(GuardConfig, BreakerConfig, BulkheadConfig);

fn parse(text: &str) -> Option<Duration> {
    text.parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok())
}

/// Reads `610ms`, `1s`, `2m`.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).ok_or_else(|| de::Error::custom(format!("`{text}` is no duration; write 610ms, 1s or 2m")))
}

fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Window;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time like \"10s\" or a number of calls like 100")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Window, E> {
                parse(text).map(Window::Time).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(keys: Value) -> Result<GuardConfig, String> {
        serde_json::from_value(keys).map_err(|error| error.to_string())
    }

    #[test]
    fn the_keys_and_their_defaults_are_those_of_the_contract() {
        let keys = json!({
            "time_limit": "1s",
            "breaker": {
                "window": "10s", "minimum_calls": 20, "failure_rate": 0.5, "slow_call": "1s", "slow_call_rate": 1.0,
                "wait_open": "5s", "half_open_calls": 5,
            },
            "bulkhead": { "max_concurrent": 256, "max_wait": "100ms" },
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
    fn what_a_program_makes_is_checked_too() {
        let breaker = BreakerConfig { failure_rate: f64::NAN, ..BreakerConfig::default() };
        let error = GuardConfig { breaker, ..GuardConfig::default() }.check().expect_err("not a number");
        assert_eq!((error.key, error.code()), ("failure_rate", "guard-configuration-invalid"));
        let breaker = BreakerConfig { slow_call_rate: f64::NAN, ..BreakerConfig::default() };
        assert!(GuardConfig { breaker, ..GuardConfig::default() }.check().is_err());
    }
}

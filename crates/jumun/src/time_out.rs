//! Business time-outs: an instance waits for something to be done, and a command decides what happens if it is not.

use jumun_text::units::{format_duration, parse_duration};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, time::Duration};

/// A wait of an instance that ends by itself. See [`Aggregate::time_out`](crate::Aggregate::time_out).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeOut<C> {
    /// What it waits for, as operators see it: usually the key of the setting, such as `accept_within`.
    pub name: &'static str,
    /// How long it waits.
    pub after: Duration,
    /// What is decided then.
    pub command: C,
}

/// How long something may take: a setting of aggregates that [time out](crate::Aggregate::time_out). Operators write it
/// as a duration, such as `10m`. Off by default, and where it is empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimeLimit(Option<Duration>);

/// The longest time limit: a thousand years, so that a due time is always a date.
const LONGEST: Duration = Duration::from_hours(1_000 * 365 * 24);

impl TimeLimit {
    /// No limit.
    pub const OFF: Self = Self(None);

    /// This limit. None: it is zero, or longer than 365,000 days.
    pub fn new(limit: Duration) -> Option<Self> {
        (!limit.is_zero() && limit <= LONGEST).then_some(Self(Some(limit)))
    }

    /// The duration, if it is on.
    pub const fn get(self) -> Option<Duration> {
        self.0
    }

    /// The wait of an instance that waits now: it lasts so long and ends with this command. None where it does not wait, and
    /// while the limit is off.
    pub fn time_out<C>(self, waits: bool, name: &'static str, command: C) -> Option<TimeOut<C>> {
        self.0.filter(|_| waits).map(|after| TimeOut { name, after, command })
    }
}

impl Serialize for TimeLimit {
    /// Off is nothing.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            None => serializer.serialize_none(),
            Some(limit) => serializer.serialize_str(&format_duration(limit)),
        }
    }
}

impl<'de> Deserialize<'de> for TimeLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = TimeLimit;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as 10m, or nothing")
            }
            fn visit_unit<E: de::Error>(self) -> Result<TimeLimit, E> {
                Ok(TimeLimit::OFF)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<TimeLimit, E> {
                if text.is_empty() {
                    return Ok(TimeLimit::OFF);
                }
                let limit = parse_duration(text).map_err(E::custom)?;
                TimeLimit::new(limit)
                    .ok_or_else(|| E::custom("must be more than 0s and at most 365000d; leave it empty for no limit"))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_duration_or_nothing() {
        let read = |json: &str| serde_json::from_str::<TimeLimit>(json).map_err(|error| error.to_string());
        let ten = TimeLimit::new(Duration::from_mins(10)).expect("a limit");
        for (json, limit) in [("null", TimeLimit::OFF), ("\"\"", TimeLimit::OFF), ("\"10m\"", ten), ("\"600s\"", ten)] {
            assert_eq!(read(json), Ok(limit), "{json}");
        }
        for json in ["\"0s\"", "\"365001d\"", "\"10\"", "10", "true", "\"soon\""] {
            assert!(read(json).is_err(), "{json}");
        }
        assert_eq!(serde_json::to_string(&[TimeLimit::OFF, ten]).expect("JSON"), r#"[null,"10m"]"#);
    }
}

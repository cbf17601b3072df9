//! Points in time.

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;

/// A point in time, to the millisecond.
///
/// It is written as RFC 3339 has it, in UTC and always with three digits of a second: `2026-11-26T17:00:00.000Z`. So dates
/// as text are in the order of time, and readers that want a fixed width get it. Every form of RFC 3339 is read: other
/// offsets, more digits or none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(from = "Timestamp")]
pub struct Time(Timestamp);

impl Time {
    /// 1970-01-01T00:00:00.000Z
    pub const EPOCH: Self = Self(Timestamp::UNIX_EPOCH);

    /// Milliseconds since 1970 UTC.
    pub fn as_millisecond(self) -> i64 {
        self.0.as_millisecond()
    }
}

impl From<Timestamp> for Time {
    /// Digits beyond the milliseconds are cut off.
    fn from(time: Timestamp) -> Self {
        let nanosecond = time.as_nanosecond();
        let whole = nanosecond - nanosecond.rem_euclid(1_000_000);
        Self(Timestamp::from_nanosecond(whole).unwrap_or(time)) // only the earliest time has none before it
    }
}

impl From<Time> for Timestamp {
    fn from(time: Time) -> Self {
        time.0
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

crate::inline_schema!(Time: { "type": "string", "format": "date-time" });

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Time, serde_json::Error> {
        serde_json::from_value(serde_json::json!(text))
    }

    #[test]
    fn every_form_of_rfc_3339_is_read_and_one_is_written() {
        for (text, expected) in [
            ("2026-11-26T17:00:00Z", "2026-11-26T17:00:00.000Z"),
            ("2026-11-26T17:00:54.36Z", "2026-11-26T17:00:54.360Z"),
            ("2026-11-26T17:00:54.365999999Z", "2026-11-26T17:00:54.365Z"),
            ("2026-11-27T02:00:00.5+09:00", "2026-11-26T17:00:00.500Z"),
            ("2026-11-26T11:30:00-05:30", "2026-11-26T17:00:00.000Z"),
            ("2026-11-26t17:00:00z", "2026-11-26T17:00:00.000Z"),
            ("2026-11-26 17:00:00Z", "2026-11-26T17:00:00.000Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.000Z"), // clocks of computers have no leap seconds
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000Z"),
            ("1969-12-31T23:59:59.9999Z", "1969-12-31T23:59:59.999Z"),
            ("2024-02-29T00:00:00-00:00", "2024-02-29T00:00:00.000Z"),
        ] {
            assert_eq!(read(text).map(|time| time.to_string()).ok().as_deref(), Some(expected), "{text}");
        }
        for text in [
            "",
            "2026-11-26",
            "2026-11-26T17:00:00",
            "2026-02-30T00:00:00Z",
            "2026-11-26T25:00:00Z",
            "now",
            "1700000000",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_is_in_the_order_of_time(one in 0..253_402_207_200_000_i64, other in 0..253_402_207_200_000_i64) {
            let [one, other] = [one, other].map(|ms| Time::from(Timestamp::from_millisecond(ms).expect("a time")));
            let texts = [one, other].map(|time| time.to_string());
            prop_assert_eq!(one.cmp(&other), texts[0].cmp(&texts[1]));
            prop_assert_eq!(texts[0].len(), 24);
            prop_assert_eq!(read(&texts[0]).expect("a date"), one);
        }
    }
}

//! What a section may refuse, and the checks that most sections need.

use crate::units;
use std::{fmt, ops::RangeInclusive, time::Duration};

/// A value that a key cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: {why}")]
pub struct Invalid {
    /// The key, relative to the section: `breaker.window`.
    pub key: String,
    /// What is wrong with its value.
    pub why: String,
}

impl Invalid {
    /// Says what is wrong with the value of a key.
    pub fn new(key: impl Into<String>, why: impl Into<String>) -> Self {
        Self { key: key.into(), why: why.into() }
    }

    /// The same, seen from the table above: `window` below `breaker` is `breaker.window`.
    #[must_use]
    pub fn below(self, table: &str) -> Self {
        Self { key: format!("{table}.{}", self.key), why: self.why }
    }
}

/// A value that an error can show as its user would write it.
pub trait Shown {
    /// The value as it is written.
    fn shown(&self) -> String;
}

impl Shown for Duration {
    fn shown(&self) -> String {
        units::format_duration(*self)
    }
}

impl Shown for units::ByteSize {
    fn shown(&self) -> String {
        self.to_string()
    }
}

macro_rules! shown_as_debug {
    ($($Type:ty),+) => {$(
        impl Shown for $Type {
            fn shown(&self) -> String {
                format!("{self:?}")
            }
        }
    )+};
}

shown_as_debug!(u8, u16, u32, u64, usize, i32, i64, f64);

/// Refuses a value outside of a range.
///
/// # Errors
/// Names the range and the value.
pub fn within<T: PartialOrd + Shown>(key: &str, value: &T, range: &RangeInclusive<T>) -> Result<(), Invalid> {
    if range.contains(value) {
        return Ok(());
    }
    let (start, end) = (range.start().shown(), range.end().shown());
    Err(Invalid::new(key, format!("must be from {start} to {end}, not {}", value.shown())))
}

/// Refuses a value that is too small.
///
/// # Errors
/// Names the least value and the value.
pub fn at_least<T: PartialOrd + Shown>(key: &str, value: &T, least: &T) -> Result<(), Invalid> {
    if value >= least {
        return Ok(());
    }
    Err(Invalid::new(key, format!("must be {} or more, not {}", least.shown(), value.shown())))
}

/// Refuses a duration of zero.
///
/// # Errors
/// Names the key.
pub fn above_zero(key: &str, duration: Duration) -> Result<(), Invalid> {
    if duration.is_zero() { Err(Invalid::new(key, "must be more than 0s")) } else { Ok(()) }
}

/// Refuses what is not a share from 0 to 1.
///
/// # Errors
/// Names the value.
pub fn share(key: &str, value: f64) -> Result<(), Invalid> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(Invalid::new(key, format!("must be a share from 0 to 1, not {value:?}")))
}

/// Refuses what is not a share above 0 and at most 1.
///
/// # Errors
/// Names the value.
pub fn share_above_zero(key: &str, value: f64) -> Result<(), Invalid> {
    if value > 0.0 && value <= 1.0 {
        return Ok(());
    }
    Err(Invalid::new(key, format!("must be a share above 0 and at most 1, not {value:?}")))
}

impl fmt::Display for units::ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&units::format_size(self.0))
    }
}

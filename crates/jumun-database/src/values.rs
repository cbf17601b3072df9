//! What ids and the values of filters mean: the same for every adapter.

use uuid::Uuid;

/// What a field may hold for the text of a filter to match it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wanted {
    /// A string of just this text.
    pub(crate) text: String,
    /// A number that JSON shows as this text.
    pub(crate) number: Option<Number>,
    /// `true` or `false`, if that is this text.
    pub(crate) truth: Option<bool>,
}

/// A number in JSON.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    /// A whole one.
    Whole(i64),
    /// Another one.
    Real(f64),
}

impl Wanted {
    pub(crate) fn new(text: String) -> Self {
        // `007` is a text that looks like a number; JSON never shows a number like that.
        let number = match text.parse::<i64>() {
            Ok(whole) => (whole.to_string() == text).then_some(Number::Whole(whole)),
            Err(_) if text.contains('.') => text.parse().ok().filter(|real: &f64| real.is_finite()).map(Number::Real),
            Err(_) => None,
        };
        let truth = text.parse().ok();
        Self { text, number, truth }
    }
}

/// The time in an id of version 7, in milliseconds since 1970 UTC: its first 48 bits.
pub(crate) fn time_ms(id: Uuid) -> i64 {
    i64::try_from(id.as_u128() >> 80).unwrap_or(i64::MAX)
}

/// Integers of a database are signed; what we count stays far below their end.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

//! Durations and sizes as people write them: one parser and one formatter for configuration, flags and reports.
//!
//! A duration is a number with a unit, or several of them: `610ms`, `1s`, `2m`, `1h`, `7d`, `1d 12h`, `1.5s`. A size is
//! a number of bytes with a binary unit: `64KiB`, `16MiB`. What is formatted parses back to the same value.

use std::time::Duration;

/// A text that is not a value of its unit. The message shows how to write one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a duration.
    #[error("`{0}` is not a duration; write 610ms, 1s, 2m, 1h or 7d")]
    Duration(String),
    /// Not a size.
    #[error("`{0}` is not a size; write 512B, 64KiB, 16MiB or 1GiB")]
    Size(String),
}

/// The units of durations, the largest first: name, other names, nanoseconds.
const DURATIONS: [(&str, &[&str], u128); 7] = [
    ("d", &["day", "days"], 86_400 * SECOND),
    ("h", &["hr", "hour", "hours"], 3_600 * SECOND),
    ("m", &["min", "minute", "minutes"], 60 * SECOND),
    ("s", &["sec", "second", "seconds"], SECOND),
    ("ms", &["millis"], SECOND / 1_000),
    ("µs", &["us", "μs"], SECOND / 1_000_000), // the micro sign and the Greek letter
    ("ns", &[], 1),
];

const SECOND: u128 = 1_000_000_000;

/// The units of sizes, the largest first: name, bytes.
const SIZES: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Digits after the point that count: a nanosecond of a second. A day with nine digits is exact to 86 µs.
const FRACTION_DIGITS: usize = 9;

/// Parses a duration: one or more numbers, each with its unit. Zero (`0s`) is a duration; a key that does not allow it
/// refuses it in its check.
///
/// # Errors
/// [`UnitError::Duration`]: no unit, an unknown unit (a month), a negative number, or more than a [`Duration`] holds.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    nanoseconds(text).and_then(from_nanoseconds).ok_or_else(|| UnitError::Duration(text.to_owned()))
}

fn nanoseconds(text: &str) -> Option<u128> {
    let mut rest = text.trim();
    let mut total: u128 = 0;
    while {
        let number_bytes = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(number_bytes);
        let after = after.trim_start();
        let unit_bytes = after.find(|letter: char| !letter.is_alphabetic() && letter != 'µ').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_bytes);
        let (.., unit) = DURATIONS.iter().find(|(name, others, _)| *name == unit || others.contains(&unit))?;
        total = total.checked_add(scaled(number, *unit)?)?;
        rest = after.trim_start();
        !rest.is_empty()
    } {}
    Some(total)
}

/// A decimal number of a unit, in nanoseconds.
fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > FRACTION_DIGITS || (number.contains('.') && fraction.is_empty()) {
        return None;
    }
    let whole = whole.parse::<u128>().ok()?.checked_mul(unit)?;
    if fraction.is_empty() {
        return Some(whole);
    }
    let divisor = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    whole.checked_add(fraction.parse::<u128>().ok()? * unit / divisor)
}

fn from_nanoseconds(nanoseconds: u128) -> Option<Duration> {
    let seconds = u64::try_from(nanoseconds / SECOND).ok()?;
    Some(Duration::new(seconds, u32::try_from(nanoseconds % SECOND).ok()?))
}

/// Formats a duration in the largest unit that makes it a whole number: `610ms`, `90s`, `36h`, `7d`; zero is `0s`.
pub fn format_duration(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    if nanoseconds == 0 {
        return "0s".to_owned();
    }
    let (name, _, unit) =
        DURATIONS.iter().find(|(.., unit)| nanoseconds.is_multiple_of(*unit)).unwrap_or(&DURATIONS[6]);
    format!("{}{name}", nanoseconds / unit)
}

/// Parses a size in bytes: a whole number with its unit.
///
/// # Errors
/// [`UnitError::Size`]: no unit, an unknown unit (`KB` is ambiguous), or more than 2^64 − 1 bytes.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let wrong = || UnitError::Size(text.to_owned());
    let number_bytes = text.trim().find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.trim().split_at(number_bytes);
    let unit = SIZES.iter().find(|(name, _)| *name == unit.trim_start()).ok_or_else(wrong)?.1;
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(wrong)
}

/// Formats a size in the largest unit that makes it a whole number: `64KiB`, `1500B`; zero is `0B`.
pub fn format_size(bytes: u64) -> String {
    let (name, unit) = SIZES.iter().find(|(_, unit)| bytes != 0 && bytes.is_multiple_of(*unit)).unwrap_or(&SIZES[4]);
    format!("{}{name}", bytes / unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, nanoseconds) in [
            ("0s", 0),
            ("0ms", 0),
            ("610ms", 610_000_000),
            ("1s", SECOND),
            ("1.5s", SECOND * 3 / 2),
            ("2m", 120 * SECOND),
            ("1h", 3_600 * SECOND),
            ("7d", 7 * 86_400 * SECOND),
            ("1d 12h", 36 * 3_600 * SECOND),
            ("1h30m", 5_400 * SECOND),
            (" 5 minutes ", 300 * SECOND),
            ("250us", 250_000),
            ("250µs", 250_000),
            ("3ns", 3),
            ("0.000000001s", 1),
        ] {
            assert_eq!(parse_duration(text).map(|duration| duration.as_nanos()), Ok(nanoseconds), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_quoted_with_examples() {
        for text in [
            "",
            "7",
            "soon",
            "-1s",
            "1 month",
            "1y",
            "s",
            "1.s",
            ".5s",
            "1..5s",
            "1s 2",
            "1,5s",
            "1 s s",
            "PT1S",
            "20000000000000000000s",
            "0.0000000001s",
        ] {
            let error = parse_duration(text).expect_err(text).to_string();
            assert_eq!(error, format!("`{text}` is not a duration; write 610ms, 1s, 2m, 1h or 7d"));
        }
    }

    #[test]
    fn durations_are_written_in_the_largest_whole_unit() {
        for (duration, text) in [
            (Duration::ZERO, "0s"),
            (Duration::from_millis(610), "610ms"),
            (Duration::from_millis(1_500), "1500ms"),
            (Duration::from_secs(90), "90s"),
            (Duration::from_mins(2), "2m"),
            (Duration::from_hours(36), "36h"),
            (Duration::from_hours(7 * 24), "7d"),
            (Duration::from_nanos(1_001), "1001ns"),
            (Duration::from_micros(250), "250µs"),
        ] {
            assert_eq!(format_duration(duration), text);
        }
    }

    #[test]
    fn sizes_are_read_and_written_in_binary_units() {
        for (text, bytes) in
            [("0B", 0), ("512B", 512), ("64KiB", 64 << 10), ("16MiB", 16 << 20), ("1GiB", 1 << 30), ("3TiB", 3 << 40)]
        {
            assert_eq!((parse_size(text), format_size(bytes)), (Ok(bytes), text.to_owned()));
        }
        assert_eq!(parse_size(" 64 KiB "), Ok(64 << 10));
        for text in ["", "64", "64KB", "64kib", "-1B", "1.5MiB", "KiB", "99999999999999999999B", "16777216TiB"] {
            let error = parse_size(text).expect_err(text).to_string();
            assert_eq!(error, format!("`{text}` is not a size; write 512B, 64KiB, 16MiB or 1GiB"));
        }
    }

    proptest! {
        #[test]
        fn every_duration_formats_and_parses_back(seconds in any::<u64>(), nanos in 0_u32..1_000_000_000) {
            for duration in [Duration::new(seconds, nanos), Duration::new(seconds % 1_000_000, 0), Duration::new(0, nanos)] {
                prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
            }
        }

        #[test]
        fn the_standard_form_of_a_duration_is_read_too(seconds in 0_u64..10_000_000, nanos in 0_u32..1_000_000_000) {
            let duration = Duration::new(seconds, nanos);
            prop_assert_eq!(parse_duration(&format!("{duration:?}")), Ok(duration));
        }

        #[test]
        fn every_size_formats_and_parses_back(bytes in any::<u64>(), shift in 0_u32..64) {
            for bytes in [bytes, bytes >> shift << shift] {
                prop_assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,20}") {
            let _ = (parse_duration(&text), parse_size(&text));
        }
    }
}

//! Decimal numbers without a binary float between: exact, and as cheap for `1e999999999` as for `1`.

/// The whole number that a decimal text such as `7`, `7.0`, `-70e-1` or `+0007` is exactly. `None`: it is none, or none that
/// an `i64` holds.
pub(crate) fn whole(text: &str) -> Option<i64> {
    let (is_negative, text) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent_of(exponent)?),
        None => (text, 0),
    };
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || integer.bytes().chain(fraction.bytes());
    if digits().next().is_none() || !digits().all(|byte| byte.is_ascii_digit()) || integer.is_empty() {
        return None;
    }
    // Without zeros at the ends there are `significant` digits, the last of which counts `10^power`.
    let leading = digits().take_while(|byte| *byte == b'0').count();
    let trailing = digits().rev().take_while(|byte| *byte == b'0').count();
    let length = integer.len() + fraction.len();
    if leading == length {
        return Some(0);
    }
    let significant = length - leading - trailing;
    let power =
        exponent.checked_add(i64::try_from(trailing).ok()?)?.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    let zeros = u32::try_from(power).ok()?;
    if significant > MOST_DIGITS {
        return None;
    }
    let number = digits().skip(leading).take(significant).try_fold(0_i64, |number, byte| {
        let digit = i64::from(byte - b'0');
        let shifted = number.checked_mul(10)?;
        if is_negative { shifted.checked_sub(digit) } else { shifted.checked_add(digit) }
    })?;
    number.checked_mul(10_i64.checked_pow(zeros)?)
}

/// How many digits the largest `i64` has.
const MOST_DIGITS: usize = 19;

/// An exponent; one that is larger than any text is long counts as that.
fn exponent_of(text: &str) -> Option<i64> {
    const LARGEST: i64 = i64::MAX / 4;
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse().unwrap_or(LARGEST).min(LARGEST);
    Some(if text.starts_with('-') { -size } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_is_decided_exactly() {
        for (text, expected) in [
            ("7", Some(7)),
            ("7.0", Some(7)),
            ("7e0", Some(7)),
            ("70e-1", Some(7)),
            ("0.7E+1", Some(7)),
            ("007", Some(7)),
            ("+7", Some(7)),
            ("-0", Some(0)),
            ("-0.0e-999999999999999999999", Some(0)),
            ("0e999999999999999999999999", Some(0)),
            ("9007199254740993", Some(9_007_199_254_740_993)), // 2^53 + 1 is no double
            ("9007199254740993.0", Some(9_007_199_254_740_993)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("0.99999999999999999999", None),
            ("1.00000000000000000001", None),
            ("999999999999.99999999", None),
            ("1e-401", None),
            ("1e999999999", None),
            ("1e99999999999999999999", None),
            ("1e-99999999999999999999", None),
            ("0.5", None),
            ("", None),
            ("-", None),
            ("+-7", None),
            (".", None),
            (".5e1", None),
            ("e5", None),
            ("1e", None),
            ("1e+", None),
            ("0x7", None),
            ("1_000", None),
            ("7.0.0", None),
            ("７", None),
            ("inf", None),
            ("NaN", None),
        ] {
            assert_eq!(whole(text), expected, "{text}");
        }
        assert_eq!(whole(&format!("1{}e-1000000", "0".repeat(1_000_000))), Some(1));
        assert_eq!(whole(&format!("0.{}1e1000001", "0".repeat(1_000_000))), Some(1));
    }

    proptest! {
        #[test]
        fn every_spelling_of_a_number_is_that_number(number: i64, zeros in 0_usize..30, shift in 0_i32..30) {
            let tail = "0".repeat(zeros);
            let shifted = "0".repeat(usize::try_from(shift).expect("not negative"));
            for text in [
                format!("{number}"), format!("{number}.{tail}"), format!("{number}{shifted}e-{shift}"),
                format!("{number}.{tail}e0"), format!("{number}{shifted}.{tail}E-{shift}"),
            ] {
                prop_assert_eq!(whole(&text), Some(number), "{}", text);
            }
        }

        #[test]
        fn what_is_not_whole_never_is(number: u32, zeros in 0_usize..400, digit in 1..=9_u8, tail in "[0-9]{0,9}") {
            let text = format!("{number}.{}{digit}{tail}", "0".repeat(zeros));
            prop_assert_eq!(whole(&text), None, "{}", text);
        }

        #[test]
        fn any_text_is_decided(text in "[-+0-9.eE]{0,40}") {
            if let Ok(exact) = text.parse::<i64>() {
                prop_assert_eq!(whole(&text), Some(exact));
            } else if let Some(number) = whole(&text) {
                let near: f64 = text.parse().expect("a number");
                #[expect(clippy::cast_precision_loss, reason = "the float is the one that loses")]
                let difference = (near - number as f64).abs();
                prop_assert!(difference <= near.abs() * 1e-15, "{}: {}", text, number);
            }
        }
    }
}

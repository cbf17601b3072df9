//! Errors in a client's words. The names of types and of their kinds belong to the program and are left out.

use serde::de::{self, Expected, Unexpected};
use std::fmt::{self, Display};

/// Why a body is not what it should be.
#[derive(Debug)]
pub(super) enum Error {
    /// A text in it is not Unicode.
    Malformed(String),
    /// A value is missing, occurs twice or is impossible.
    Invalid {
        /// The field within the object at which the error is found; `None`: what is found there.
        field: Option<String>,
        /// Why.
        why: String,
    },
}

impl Error {
    pub(super) fn invalid(why: impl Into<String>) -> Self {
        Self::Invalid { field: None, why: why.into() }
    }

    pub(super) fn of(field: &str, why: &str) -> Self {
        Self::Invalid { field: Some(field.to_owned()), why: why.to_owned() }
    }

    pub(super) fn not_one_of(words: &'static [&'static str]) -> Self {
        let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
        Self::invalid(match words.as_slice() {
            [] => "is not valid".to_owned(),
            [word] => format!("must be {word}"),
            words => format!("must be one of {}", words.join(", ")),
        })
    }
}

/// What a value must be, from what the program expects.
fn must_be(expected: &dyn Expected) -> String {
    let expected = expected.to_string();
    let what = match expected.as_str() {
        text if text.starts_with("must ") => return expected,
        text if text.starts_with("struct ") || text.ends_with("map") => "a JSON object",
        text if text.ends_with("string") || text.ends_with("str") => "a text",
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" | "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => {
            "a whole number within the bounds"
        }
        "f32" | "f64" => "a number",
        text if text.contains("bool") => "true or false",
        text if ["sequence", "tuple", "array"].iter().any(|list| text.contains(list)) => "a list",
        text if text.starts_with("a ") && !text.contains("enum") => text,
        _ => return "is not valid".to_owned(),
    };
    format!("must be {what}")
}

impl de::Error for Error {
    fn custom<T: Display>(why: T) -> Self {
        let why = why.to_string();
        // The message of a type that accepts several forms and does not say which.
        let is_internal = why.starts_with("data did not match any variant") || why.starts_with("invalid type");
        Self::invalid(if is_internal { "has none of the forms that it may have".to_owned() } else { why })
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid(must_be(expected))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid(must_be(expected))
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Self::invalid(must_be(expected))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::not_one_of(expected)
    }

    fn unknown_field(field: &str, _: &'static [&'static str]) -> Self {
        Self::of(field, "is unknown")
    }

    fn missing_field(field: &'static str) -> Self {
        Self::of(field, "is required")
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::of(field, &format!("the field `{field}` occurs twice"))
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) | Self::Invalid { field: None, why } => f.write_str(why),
            Self::Invalid { field: Some(field), why } => write!(f, "{field} {why}"),
        }
    }
}

impl std::error::Error for Error {}

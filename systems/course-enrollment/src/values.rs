//! Values that clients send as texts or numbers.

use jumun::Quantity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The number of a course, 1 to 10^12. Another system keeps the courses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct EduNo(pub Quantity);

/// A client's own reference: a text of 1 to 64 characters, or a whole number. It is returned as it was sent, in its canonical
/// spelling. So it is one visible line of at most 256 bytes, and every sender takes it as a recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, try_from = "Sent")]
pub enum Reference {
    /// A number, which stays one.
    Number(i64),
    /// A text.
    Text(String),
}

/// A card number of which only the last four digits are kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Sent")]
pub struct CardNumber(String);

/// The longest reference, in characters.
const REFERENCE_MAX_CHARS: usize = 64;

/// The longest card number, in characters: 19 digits with spaces and dashes.
const CARD_NUMBER_MAX_CHARS: usize = 32;

/// A text or a number, as clients send it.
#[derive(Deserialize)]
#[serde(untagged, expecting = "must be a text or a whole number of at most 18 digits")]
enum Sent {
    Number(i64),
    Text(String),
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl TryFrom<Sent> for Reference {
    type Error = &'static str;

    fn try_from(sent: Sent) -> Result<Self, Self::Error> {
        match sent {
            Sent::Number(number) => Ok(Self::Number(number)),
            Sent::Text(text) if !text.trim().is_empty() && text.chars().count() <= REFERENCE_MAX_CHARS => {
                Ok(Self::Text(text))
            }
            Sent::Text(_) => Err("must be a text of 1 to 64 characters"),
        }
    }
}

jumun::inline_schema!(Reference: { "type": ["string", "integer"], "minLength": 1, "maxLength": REFERENCE_MAX_CHARS });

impl TryFrom<Sent> for CardNumber {
    type Error = &'static str;

    /// An error never repeats what was sent.
    fn try_from(sent: Sent) -> Result<Self, Self::Error> {
        let text = match sent {
            Sent::Number(number) if number < 0 => String::new(),
            Sent::Number(number) => number.to_string(),
            Sent::Text(text) => text,
        };
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        let is_number = text.chars().all(|letter| letter.is_ascii_digit() || matches!(letter, ' ' | '-'));
        if !is_number || digits.len() < 4 || text.len() > CARD_NUMBER_MAX_CHARS {
            return Err("must be a card number: 4 or more digits, at most 32 characters with spaces and dashes");
        }
        Ok(Self(digits[digits.len() - 4..].to_owned()))
    }
}

impl fmt::Debug for CardNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "…{}", self.0)
    }
}

jumun::inline_schema!(CardNumber: { "type": ["string", "integer"], "minLength": 4, "maxLength": CARD_NUMBER_MAX_CHARS });

//! Values that clients send as texts or numbers, and who enrolls for what.

use jumun::prelude::*;
use std::fmt;

jumun::documents! {
    /// Who enrolls for which course: what an order, its payment and its reservation have in common.
    pub struct Enrollment {
        /// The client's own reference, which need not be unique; the order's id if the client sends none.
        pub order_id: Reference,
        /// The customer.
        pub customer_id: Option<Reference>,
        /// The course.
        pub edu_no: EduNo,
    }
}

/// The number of a course, 1 to 10^12. Another system keeps the courses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct EduNo(pub Quantity);

/// Why something ended that nobody ended: it was not done in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Reason {
    /// The course's manager did not confirm the reservation.
    #[serde(rename = "Not Confirmed In Time")]
    NotConfirmedInTime,
}

/// A card number of which only the last four digits are kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "TextOrNumber")]
pub struct CardNumber(String);

/// The longest card number, in characters: 19 digits with spaces and dashes.
const CARD_NUMBER_MAX_CHARS: usize = 32;

impl TryFrom<TextOrNumber> for CardNumber {
    type Error = &'static str;

    /// An error never repeats what was sent.
    fn try_from(sent: TextOrNumber) -> Result<Self, Self::Error> {
        let text = match sent {
            TextOrNumber::Number(number) if number < 0 => String::new(),
            TextOrNumber::Number(number) => number.to_string(),
            TextOrNumber::Text(text) => text,
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

jumun::inline_schema!(
    CardNumber: { "type": "string", "pattern": "^[0-9]{4}$" },
    reads { "anyOf": [
        { "type": "string", "maxLength": CARD_NUMBER_MAX_CHARS, "pattern": "^[ -]*([0-9][ -]*){4,}$" },
        { "type": "integer", "format": "int64", "minimum": 1000, "maximum": i64::MAX }
    ] }
);

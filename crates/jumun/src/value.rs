//! The values of business data. A value that exists is valid. Numbers are also read from strings, as clients send them.

use crate::{
    decimal,
    limits::{AMOUNT_MAX, NAME_MAX_CHARS, REFERENCE_MAX_CHARS},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{borrow::Cow, cmp::Ordering, fmt, hash, marker::PhantomData};

/// The id of a `T`. The compiler keeps ids of different types apart; [`Id::cast`] converts one where an instance is made for
/// another and shares its id.
pub struct Id<T>(i64, PhantomData<fn() -> T>);

impl<T> Id<T> {
    /// An id, if it is 1 or more.
    pub const fn new(id: i64) -> Option<Self> {
        if id >= 1 { Some(Self(id, PhantomData)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The same number as the id of another type: the payment of order 7 is payment 7.
    pub const fn cast<U>(self) -> Id<U> {
        Id(self.0, PhantomData)
    }
}

// By hand, because derives would require the same of `T`.
impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Id<T> {}
impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<T> Eq for Id<T> {}
impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}
impl<T> hash::Hash for Id<T> {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
impl<T> fmt::Display for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
impl<T> From<Id<T>> for i64 {
    fn from(id: Id<T>) -> i64 {
        id.0
    }
}
impl<T> Serialize for Id<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0)
    }
}
impl<'de, T> Deserialize<'de> for Id<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(integer(deserializer, 1, i64::MAX)?, PhantomData))
    }
}
impl<T> JsonSchema for Id<T> {
    fn schema_name() -> Cow<'static, str> {
        "Id".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        number_schema(generator, 1, i64::MAX)
    }
}

/// Describes a value type by a JSON schema, which stands wherever the type is used. A type that reads more than it writes has
/// two: what it writes, then what it reads.
///
/// ```
/// struct Color(String);
/// jumun::inline_schema!(Color: { "type": "string", "minLength": 1 });
///
/// struct Size(i64);
/// jumun::inline_schema!(Size: { "type": "integer" }, reads { "type": ["integer", "string"] });
/// ```
#[macro_export]
macro_rules! inline_schema {
    ($Type:ident: $schema:tt) => {
        $crate::inline_schema!($Type: $schema, reads $schema);
    };
    ($Type:ident: $written:tt, reads $read:tt) => {
        impl ::schemars::JsonSchema for $Type {
            fn schema_name() -> ::std::borrow::Cow<'static, str> {
                ::core::stringify!($Type).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(generator: &mut ::schemars::SchemaGenerator) -> ::schemars::Schema {
                if generator.contract().is_deserialize() {
                    ::schemars::json_schema!($read)
                } else {
                    ::schemars::json_schema!($written)
                }
            }
        }
    };
}

/// A whole number within bounds, with its constructor, its deserializer and its schema.
macro_rules! bounded_number {
    ($(#[$doc:meta])* $name:ident, $least:expr, $most:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(i64);

        impl $name {
            /// The value, if it is within bounds.
            pub const fn new(value: i64) -> Option<Self> {
                if value >= $least && value <= $most { Some(Self(value)) } else { None }
            }

            /// The number.
            pub const fn get(self) -> i64 {
                self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                integer(deserializer, $least, $most).map(Self)
            }
        }
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                number_schema(generator, $least, $most)
            }
        }
    };
}

bounded_number! {
    /// An amount of money in won, 0 to 10^12.
    Won, 0, AMOUNT_MAX
}
bounded_number! {
    /// A number of items, 1 to 10^12.
    Quantity, 1, AMOUNT_MAX
}
bounded_number! {
    /// A number of items that may be none, 0 to 10^12.
    #[derive(Default)]
    Count, 0, AMOUNT_MAX
}

/// A short text of one line of which something is visible, at most 255 characters.
///
/// Clients' texts get the [canonical](jumun_text::canonical()) spelling before they come here, so names that look equal are
/// equal. What an earlier release has stored gets it when it is read, if it has one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Name(String);

impl Name {
    /// The name of this text in its canonical spelling. None: it has none, or is too long.
    pub fn new(text: impl AsRef<str>) -> Option<Self> {
        Self::stored(jumun_text::canonical(text.as_ref()).ok()?.into_owned())
    }

    fn stored(text: String) -> Option<Self> {
        (!text.trim().is_empty() && text.chars().count() <= NAME_MAX_CHARS).then_some(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::stored(respelled(String::deserialize(deserializer)?))
            .ok_or_else(|| de::Error::custom(format!("must be a text of 1 to {NAME_MAX_CHARS} characters")))
    }
}
inline_schema!(
    Name: { "type": "string", "minLength": 1, "maxLength": NAME_MAX_CHARS },
    reads { "type": "string", "minLength": 1, "maxLength": NAME_MAX_CHARS, "pattern": VISIBLE_LINE }
);

/// A pattern of texts that are one line of which something is visible. It is a little wider than
/// [`jumun_text::canonical()`]: a text of nothing but combining marks or rare blanks fits it, and is refused.
pub const VISIBLE_LINE: &str = concat!(
    r"^[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u206f]*",
    r"[^\u0000-\u0020\u007f-\u00a0\u00ad\u1160\u180e\u2000-\u206f\u2800\u3000\u3164\ufeff]",
    r"[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u206f]*$",
);

/// The schema of a whole number within bounds. Clients may send it as a text, too.
fn number_schema(generator: &SchemaGenerator, least: i64, most: i64) -> Schema {
    let number = json_schema!({ "type": "integer", "format": "int64", "minimum": least, "maximum": most });
    if generator.contract().is_serialize() {
        return number;
    }
    // As many digits as are within bounds whatever they are.
    let more = most.ilog10().saturating_sub(1);
    let first = if least > 0 { "[1-9]" } else { "[0-9]" };
    let pattern = format!(r"^ *0*{first}[0-9]{{0,{more}}}(\.0+)? *$");
    json_schema!({ "anyOf": [number, { "type": "string", "pattern": pattern }] })
}

/// A text or a whole number, as clients send it: what values that may be either are made from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "must be a text or a whole number of at most 18 digits")]
pub enum TextOrNumber {
    /// A number.
    Number(i64),
    /// A text.
    Text(String),
}

/// A client's own reference: a text of 1 to 64 characters, or a whole number. It is returned as it was sent, in its canonical
/// spelling. So it is one visible line of at most 256 bytes, and every sender takes it as a recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, try_from = "TextOrNumber")]
pub enum Reference {
    /// A number, which stays one.
    Number(i64),
    /// A text.
    Text(String),
}

impl Reference {
    /// The spellings in which this reference may be stored: clients send the number 7 as `7` or as `"7"`, and mean the same.
    /// The one that it has comes first.
    pub fn spellings(&self) -> impl Iterator<Item = Self> + use<> {
        let other = match self {
            Self::Number(number) => Some(Self::Text(number.to_string())),
            Self::Text(text) => text.parse().ok().filter(|number: &i64| number.to_string() == *text).map(Self::Number),
        };
        std::iter::once(self.clone()).chain(other)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl TryFrom<TextOrNumber> for Reference {
    type Error = &'static str;

    fn try_from(sent: TextOrNumber) -> Result<Self, Self::Error> {
        match sent {
            TextOrNumber::Number(number) => Ok(Self::Number(number)),
            TextOrNumber::Text(text) => {
                let text = respelled(text);
                if text.trim().is_empty() || text.chars().count() > REFERENCE_MAX_CHARS {
                    return Err("must be a text of 1 to 64 characters");
                }
                Ok(Self::Text(text))
            }
        }
    }
}

/// A stored text in the spelling that texts have now. Mostly it has it already.
fn respelled(text: String) -> String {
    match jumun_text::respelled(&text) {
        Cow::Borrowed(same) if same.len() == text.len() => text,
        other => other.into_owned(),
    }
}

inline_schema!(
    Reference: { "type": ["string", "integer"], "minLength": 1, "maxLength": REFERENCE_MAX_CHARS },
    reads { "anyOf": [
        { "type": "string", "minLength": 1, "maxLength": REFERENCE_MAX_CHARS, "pattern": VISIBLE_LINE },
        { "type": "integer", "format": "int64", "minimum": i64::MIN, "maximum": i64::MAX }
    ] }
);

/// Reads a whole number between `least` and `most` from `7`, `"7"` or `"7.0"`. A body of a client also has `7.0`: that is
/// read as 7 before it comes here. A float is refused: it may have been another number once.
fn integer<'de, D: Deserializer<'de>>(deserializer: D, least: i64, most: i64) -> Result<i64, D::Error> {
    struct Visitor {
        least: i64,
        most: i64,
    }
    impl Visitor {
        fn within<E: de::Error>(&self, value: Option<i64>) -> Result<i64, E> {
            value
                .filter(|value| (self.least..=self.most).contains(value))
                .ok_or_else(|| E::custom(format!("must be a whole number from {} to {}", self.least, self.most)))
        }
    }
    impl de::Visitor<'_> for Visitor {
        type Value = i64;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a whole number from {} to {}", self.least, self.most)
        }
        fn visit_i64<E: de::Error>(self, value: i64) -> Result<i64, E> {
            self.within(Some(value))
        }
        fn visit_u64<E: de::Error>(self, value: u64) -> Result<i64, E> {
            self.within(i64::try_from(value).ok())
        }
        fn visit_f64<E: de::Error>(self, _: f64) -> Result<i64, E> {
            self.within(None)
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<i64, E> {
            self.within(decimal::whole(text.trim()))
        }
    }
    deserializer.deserialize_any(Visitor { least, most })
}

/// Who confirms what an event created: a setting of aggregates that a person may confirm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confirm {
    /// The service confirms at once.
    #[default]
    Automatic,
    /// A person confirms with a command, such as `accept`.
    Manual,
}

/// The largest payment that is taken: a setting of aggregates that take payments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclineOver {
    /// A price above this is declined.
    pub decline_over: Won,
}

impl Default for DeclineOver {
    fn default() -> Self {
        Self { decline_over: const { Won::new(1_000_000_000).expect("within bounds") } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn won(json: &str) -> Result<i64, String> {
        serde_json::from_str::<Won>(json).map(Won::get).map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_are_read_as_clients_send_them() {
        for json in ["22000", "\"22000\"", "\" 22000 \"", "\"22000.0\"", "\"2.2e4\""] {
            assert_eq!(won(json), Ok(22_000), "{json}");
        }
    }

    #[test]
    fn impossible_numbers_are_refused_with_the_bounds() {
        for json in [
            "-1",
            "0.5",
            "22000.0",
            "0.99999999999999999999",
            "\"0.99999999999999999999\"",
            "\"1e-401\"",
            "\"\"",
            "\"ten\"",
            "1000000000001",
            "1e300",
            "18446744073709551615",
            "true",
            "[]",
            "null",
        ] {
            let error = won(json).expect_err(json);
            assert!(error.contains("whole number from 0 to 1000000000000"), "{json}: {error}");
        }
        assert!(serde_json::from_str::<Quantity>("0").is_err());
        assert!(serde_json::from_str::<Id<()>>("0").is_err());
    }

    #[test]
    fn a_name_is_not_blank_and_not_long() {
        assert_eq!(serde_json::from_str::<Name>("\"스토어99\"").expect("a name").as_str(), "스토어99");
        assert!(serde_json::from_str::<Name>("\"  \"").is_err());
        assert!(Name::new("가".repeat(255)).is_some());
        assert!(Name::new("가".repeat(256)).is_none());
        assert_eq!(Name::new(" cafe\u{301}\u{200b} "), Name::new("café"));
        assert!(["\u{3164}", "\u{202e}abc", "kim\nlee"].iter().all(|text| Name::new(text).is_none()));
        assert_eq!(serde_json::from_str::<Name>("\"cafe\u{301}\"").expect("a name").as_str(), "café");
        // What an earlier release took is still read.
        assert_eq!(serde_json::from_str::<Name>("\"kim\\nlee\"").expect("a name").as_str(), "kim\nlee");
    }

    #[test]
    fn a_reference_has_the_spellings_of_its_number() {
        let text = |text: &str| Reference::Text(text.to_owned());
        for (sent, spellings) in [
            (Reference::Number(7), vec![Reference::Number(7), text("7")]),
            (text("7"), vec![text("7"), Reference::Number(7)]),
            (text("07"), vec![text("07")]),
            (text("+7"), vec![text("+7")]),
            (text("kim"), vec![text("kim")]),
        ] {
            assert_eq!(sent.spellings().collect::<Vec<_>>(), spellings);
        }
    }

    proptest::proptest! {
        #[test]
        fn every_amount_survives_each_of_its_spellings(amount in 0..=AMOUNT_MAX) {
            for json in [format!("{amount}"), format!("\"{amount}.0\""), format!("\"{amount}\"")] {
                proptest::prop_assert_eq!(won(&json), Ok(amount));
            }
        }
    }
}

//! Values that only the process may know.

use crate::limits::QUOTE_MAX_CHARS;
use jumun_config::Setting;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// A password, a token, a key. It is read from configuration and never shown: `Debug` and serialisation give `***`, or
/// nothing where it is empty.
#[derive(Clone, Default)]
pub struct Secret(SecretString);

impl Secret {
    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Whether there is one.
    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }

    /// A receiver's answer, fit for an error: short, on one line, and without this secret, should the receiver have
    /// echoed it.
    pub(crate) fn quote(&self, text: &str) -> String {
        let text = self.hide(text);
        text.chars().take(QUOTE_MAX_CHARS).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
    }

    /// A text without this secret.
    pub(crate) fn hide(&self, text: &str) -> String {
        if self.is_empty() { text.to_owned() } else { text.replace(self.expose(), "***") }
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

/// Of configurations, when they are compared; never of what a stranger sends, as it takes longer the more is right.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "\"\"" } else { "***" })
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.is_empty() { "" } else { "***" })
    }
}

/// Only from text. The usual error would show the value; and a number may have lost zeros on its way here.
impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Text {
            fn no<E: de::Error>() -> Result<Secret, E> {
                Err(E::custom(
                    "must be a text; a secret that looks like a number is read from jumun.toml only, in quotes",
                ))
            }
        }

        impl de::Visitor<'_> for Text {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Secret, E> {
                Ok(text.into())
            }

            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Secret, E> {
                Self::no()
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Secret, E> {
                Self::no()
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Secret, E> {
                Self::no()
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Secret, E> {
                Self::no()
            }
        }

        deserializer.deserialize_any(Text)
    }
}

impl Setting for Secret {
    const UNIT: &'static str = "text";
    const IS_SECRET: bool = true;

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_secret_is_told_to_nobody() {
        let secret = Secret::from("hunter2");
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(serde_json::to_value(&secret).expect("a value"), json!("***"));
        assert_eq!(secret.quote("535 hunter2 is\r\nwrong"), "535 *** is  wrong");
        assert!(secret.quote(&"x".repeat(10_000)).len() <= QUOTE_MAX_CHARS);
    }

    #[test]
    fn a_number_is_no_secret_and_the_error_does_not_tell_it() {
        for value in [json!(12_345), json!(-12_345), json!(1.2345), json!(true), json!(["12345"]), json!({"12345": 1})]
        {
            let error = serde_json::from_value::<Secret>(value.clone()).expect_err("no text").to_string();
            assert!(!error.contains("2345"), "{error}");
        }
        assert_eq!(serde_json::from_value::<Secret>(json!("007")).expect("a text"), "007".into());
    }
}

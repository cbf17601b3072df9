//! Durations and sizes in configuration: how they are written is `jumun_text::units`, and here is what serde needs.
//!
//! For fields of other structs than sections there are modules for serde: `#[serde(with =
//! "jumun_config::units::duration")]`.

pub use jumun_text::units::{UnitError, format_duration, format_size, parse_duration, parse_size};

use std::time::Duration;

/// A size in bytes, as a key may hold it: `64KiB`, or a plain number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(pub u64);

/// A [`Duration`] for serde: `#[serde(with = "jumun_config::units::duration")]`. Zero is allowed.
pub mod duration {
    use super::{Duration, format_duration, parse_duration};
    use serde::{Deserialize, Deserializer, Serializer, de};

    /// Reads it from a text.
    ///
    /// # Errors
    /// [`UnitError::Duration`](super::UnitError::Duration), and where it is not a text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        parse_duration(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }

    /// Writes it as a text.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_duration(*duration))
    }
}

/// An optional [`Duration`] for serde: `#[serde(with = "jumun_config::units::optional_duration")]`. An empty text is
/// none.
pub mod optional_duration {
    use super::{Duration, format_duration, parse_duration};
    use serde::{Deserialize, Deserializer, Serializer, de};

    /// Reads it from a text.
    ///
    /// # Errors
    /// [`UnitError::Duration`](super::UnitError::Duration), and where it is not a text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        match Option::<String>::deserialize(deserializer)?.as_deref() {
            None | Some("") => Ok(None),
            Some(text) => parse_duration(text).map(Some).map_err(de::Error::custom),
        }
    }

    /// Writes it as a text.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&duration.map(format_duration).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serde_reads_and_writes_the_same_words() {
        #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
        struct Times {
            #[serde(with = "super::duration")]
            wait: Duration,
            #[serde(with = "super::optional_duration")]
            kept: Option<Duration>,
        }
        for (wait, kept) in [("0s", ""), ("2m", "7d")] {
            let text = format!(r#"{{"wait":"{wait}","kept":"{kept}"}}"#);
            let times: Times = serde_json::from_str(&text).expect("times");
            assert_eq!(serde_json::to_string(&times).expect("a text"), text);
        }
        assert!(serde_json::from_str::<Times>(r#"{"wait":1,"kept":""}"#).is_err());
        assert!(serde_json::from_str::<Times>(r#"{"wait":"1s","kept":"soon"}"#).is_err());
    }
}

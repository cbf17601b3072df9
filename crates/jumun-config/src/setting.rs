//! What a key may hold. The type of a key decides how its value is read and written, what its unit is called, and
//! whether it is a secret: so a declaration cannot say one thing and do another.
//!
//! Here are the usual types. A component implements [`Setting`] for its own: by hand, or
//! with [`settings_by_serde!`](crate::settings_by_serde!) or [`settings_by_text!`](crate::settings_by_text!).

use crate::units::{self, ByteSize};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use std::{collections::BTreeMap, fmt::Display, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

/// A key of a section, as its declaration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Its name in the table.
    pub name: &'static str,
    /// What a user writes there: *duration*, *number*; of a section below nothing.
    pub unit: &'static str,
    /// Its documentation.
    pub doc: &'static str,
    /// Whether only the process may know the value.
    pub secret: bool,
    /// The keys below it, where it is a section itself.
    pub below: &'static [Key],
}

/// A type that a key may have.
pub trait Setting: Sized {
    /// What a user writes there: *duration*, *number*, `console` or `file`.
    const UNIT: &'static str;
    /// Whether only the process may know the value. It is written as `***`.
    const IS_SECRET: bool = false;
    /// The keys below it in the order of their declaration, where it is a section.
    const KEYS: &'static [Key] = &[];

    /// Reads a value.
    ///
    /// # Errors
    /// Says what a user may write instead.
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;

    /// Writes a value so that it can be read again. A secret is written as `***`.
    ///
    /// # Errors
    /// Those of the serializer.
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
}

/// The key of a field, from its type.
#[doc(hidden)]
pub const fn key<T: Setting>(name: &'static str, doc: &'static str) -> Key {
    Key { name, unit: T::UNIT, doc: trimmed(doc), secret: T::IS_SECRET, below: T::KEYS }
}

/// Without the space that a doc comment begins with, and without the end of its last line.
const fn trimmed(doc: &'static str) -> &'static str {
    doc.trim_ascii()
}

/// For `#[serde(with = "jumun_config::setting")]`, which [`section!`](macro@crate::section) puts on every key.
///
/// # Errors
/// Those of [`Setting::read`].
pub fn deserialize<'de, T: Setting, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    T::read(deserializer)
}

/// See [`deserialize()`].
///
/// # Errors
/// Those of the serializer.
pub fn serialize<T: Setting, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    value.write(serializer)
}

/// Implements [`Setting`] for types by a function that reads a value and one that writes it.
#[macro_export]
macro_rules! settings_by {
    ($read:path, $write:path; $($Type:ty: $unit:expr),+ $(,)?) => {$(
        impl $crate::Setting for $Type {
            const UNIT: &'static str = $unit;

            fn read<'de, D: ::serde::Deserializer<'de>>(deserializer: D) -> ::core::result::Result<Self, D::Error> {
                $read(deserializer)
            }

            fn write<S: ::serde::Serializer>(&self, serializer: S) -> ::core::result::Result<S::Ok, S::Error> {
                $write(self, serializer)
            }
        }
    )+};
}

/// Implements [`Setting`] for types by their own `Serialize` and `Deserialize`.
#[macro_export]
macro_rules! settings_by_serde {
    ($($settings:tt)+) => {
        $crate::settings_by! { ::serde::Deserialize::deserialize, ::serde::Serialize::serialize; $($settings)+ }
    };
}

/// Implements [`Setting`] for types by their own `FromStr` and `Display`.
#[macro_export]
macro_rules! settings_by_text {
    ($($settings:tt)+) => {
        $crate::settings_by! { $crate::setting::read_text, $crate::setting::write_text; $($settings)+ }
    };
}

/// For [`settings_by_text!`](crate::settings_by_text!).
#[doc(hidden)]
pub fn read_text<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

/// For [`settings_by_text!`](crate::settings_by_text!).
#[doc(hidden)]
pub fn write_text<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

settings_by_serde! {
    bool: "true or false",
    u16: "number",
    u32: "number",
    u64: "number",
    f64: "number",
    String: "text",
    PathBuf: "path",
    SocketAddr: "address:port",
}

settings_by! { units::duration::deserialize, units::duration::serialize; Duration: "duration" }

impl Setting for ByteSize {
    const UNIT: &'static str = "size";

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if let Some(bytes) = value.as_u64() {
            return Ok(Self(bytes));
        }
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        units::parse_size(&text).map(Self).map_err(de::Error::custom)
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An optional key. An empty text means none, and none is written as one.
impl<T: Setting> Setting for Option<T> {
    const UNIT: &'static str = T::UNIT;
    const IS_SECRET: bool = T::IS_SECRET;

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if value.is_null() || value == "" {
            return Ok(None);
        }
        T::read(value).map(Some).map_err(de::Error::custom)
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Some(value) => value.write(serializer),
            None => serializer.serialize_str(""),
        }
    }
}

/// A list: of texts, or as the environment and flags have it, `a, b`.
impl<T: FromStr<Err: Display> + Display> Setting for Vec<T> {
    const UNIT: &'static str = "list";

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "must be a list of texts")]
        enum OneOrMany {
            One(String),
            Many(Vec<String>),
        }
        let parse = |text: &str| text.parse().map_err(|error| de::Error::custom(format_args!("{error}")));
        match OneOrMany::deserialize(deserializer)? {
            OneOrMany::One(text) => text.split(',').map(str::trim).filter(|one| !one.is_empty()).map(parse).collect(),
            OneOrMany::Many(list) => list.iter().map(|one| parse(one)).collect(),
        }
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(ToString::to_string))
    }
}

/// A table whose keys the component does not declare: names of services, say.
impl<T: Setting> Setting for BTreeMap<String, T> {
    const UNIT: &'static str = "table";

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = BTreeMap::<String, Named<T>>::deserialize(deserializer)?;
        Ok(table.into_iter().map(|(name, Named(value))| (name, value)).collect())
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(name, value)| (name, Written(value))))
    }
}

/// A value of a table, read as its [`Setting`] says.
struct Named<T>(T);

impl<'de, T: Setting> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::read(deserializer).map(Self)
    }
}

/// A value of a table, written as its [`Setting`] says.
struct Written<'a, T>(&'a T);

impl<T: Setting> Serialize for Written<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write(serializer)
    }
}

/// Any table or value, for a component that reads it itself.
impl Setting for serde_json::Map<String, Value> {
    const UNIT: &'static str = "table";

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.serialize(serializer)
    }
}

//! A table of configuration, declared once.

use crate::{Invalid, Key, Setting};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// A table of configuration. Its component owns it, declares it with [`section!`](crate::section!) and checks it here.
pub trait Section: Setting + Serialize + DeserializeOwned + Default {
    /// Refuses values that the types allow and the component does not.
    ///
    /// # Errors
    /// The first invalid value; its key is relative to this section.
    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

/// A key as the reference for users shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// The key, relative to the section: `breaker.window`.
    pub key: String,
    /// What a user writes there.
    pub unit: &'static str,
    /// Its documentation.
    pub doc: &'static str,
    /// Its default.
    pub default: Value,
    /// Whether only the process may know the value.
    pub secret: bool,
}

/// Reads a section from a table, and checks it. Keys that are not there have their defaults.
///
/// # Errors
/// The first key that is unknown or has an invalid value.
pub fn read<S: Section>(table: impl Into<Value>) -> Result<S, Invalid> {
    let section: S = serde_path_to_error::deserialize(table.into())
        .map_err(|error| Invalid::new(error.path().to_string(), error.inner().to_string()))?;
    section.check()?;
    Ok(section)
}

/// Every key with its value, in the order of declaration, as it may be written into `jumun.toml` below the table.
/// Secrets are `***`, or empty where there is none.
pub fn flatten<S: Section>(section: &S) -> Vec<(String, Value)> {
    let Ok(Value::Object(table)) = serde_json::to_value(section) else { return Vec::new() };
    let mut entries = Vec::new();
    walk(S::KEYS, "", &table, &mut |key, name, value| entries.push((name, redacted(key, value))));
    entries
}

/// Every key with its documentation and default, in the order of declaration.
pub fn describe<S: Section>() -> Vec<Description> {
    let Ok(Value::Object(table)) = serde_json::to_value(S::default()) else { return Vec::new() };
    let mut keys = Vec::new();
    walk(S::KEYS, "", &table, &mut |key, name, value| {
        let Key { unit, doc, secret, .. } = *key;
        keys.push(Description { key: name, unit, doc, default: redacted(key, value), secret });
    });
    keys
}

fn walk(keys: &'static [Key], path: &str, table: &Map<String, Value>, each: &mut impl FnMut(&Key, String, &Value)) {
    for key in keys {
        let name = format!("{path}{}", key.name);
        match table.get(key.name) {
            Some(Value::Object(below)) if !key.below.is_empty() => walk(key.below, &format!("{name}."), below, each),
            // Names that the section does not declare.
            Some(Value::Object(named)) if !named.is_empty() => {
                named.iter().for_each(|(below, value)| each(key, format!("{name}.{below}"), value));
            }
            Some(value) => each(key, name, value),
            None => {}
        }
    }
}

fn redacted(key: &Key, value: &Value) -> Value {
    match value {
        value if !key.secret => value.clone(),
        Value::Null => Value::Null,
        value if value == "" => value.clone(),
        _ => "***".into(),
    }
}

/// Declares a section: the struct with its keys, their types, documentation and defaults.
///
/// ```
/// # use std::time::Duration;
/// jumun_config::section! {
///     /// How long a call may take.
///     pub struct Limits {
///         /// How long the caller waits for an answer.
///         pub time_limit: Duration = Duration::from_secs(1),
///     }
/// }
/// impl jumun_config::Section for Limits {}
/// ```
///
/// It derives `Debug`, `Clone` and `PartialEq` (more may be derived in the declaration), `Default` with these defaults,
/// `Serialize` and `Deserialize` (an unknown key is an error, a missing one has its default) and [`Setting`], so that
/// it may be a key of another section. The types of the keys implement [`Setting`]. The crate that declares it depends
/// on `serde`.
#[macro_export]
macro_rules! section {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $Name:ident {
            $(
                $(#[doc = $doc:literal])+
                $field_visibility:vis $field:ident: $Type:ty = $default:expr
            ),+ $(,)?
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, PartialEq, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        $visibility struct $Name {
            $(
                $(#[doc = $doc])+
                #[serde(with = "jumun_config::setting")]
                $field_visibility $field: $Type,
            )+
        }

        impl ::core::default::Default for $Name {
            fn default() -> Self {
                Self { $($field: $default),+ }
            }
        }

        impl $crate::Setting for $Name {
            const UNIT: &'static str = "";
            const KEYS: &'static [$crate::Key] = &[
                $($crate::__key::<$Type>(stringify!($field), concat!($($doc, "\n"),+))),+
            ];

            fn read<'de, D: ::serde::Deserializer<'de>>(deserializer: D) -> ::core::result::Result<Self, D::Error> {
                ::serde::Deserialize::deserialize(deserializer)
            }

            fn write<S: ::serde::Serializer>(&self, serializer: S) -> ::core::result::Result<S::Ok, S::Error> {
                ::serde::Serialize::serialize(self, serializer)
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{check, settings_by_serde, units::ByteSize};
    use serde::{Deserialize, Deserializer, Serializer};
    use serde_json::json;
    use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

    /// A secret that forgets to redact itself.
    #[derive(Debug, Clone, PartialEq, Default)]
    struct Leaky(String);

    impl Setting for Leaky {
        const UNIT: &'static str = "text";
        const IS_SECRET: bool = true;

        fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            String::deserialize(deserializer).map(Self)
        }

        fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(&self.0)
        }
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Colour {
        Red,
        Blue,
    }

    settings_by_serde!(Colour: "`red` or `blue`");

    section! {
        /// A table below another one.
        #[derive(Eq, Copy)]
        struct Inner {
            /// How long it waits.
            /// Zero: not at all.
            pub max_wait: Duration = Duration::ZERO,
            /// How many.
            pub count: u32 = 5,
        }
    }

    impl Section for Inner {
        fn check(&self) -> Result<(), Invalid> {
            check::within("count", &self.count, &(1..=10))?;
            check::within("max_wait", &self.max_wait, &(Duration::ZERO..=Duration::from_secs(90)))
        }
    }

    section! {
        /// A table.
        struct Outer {
            /// The address.
            listen: Option<SocketAddr> = None,
            /// The token.
            token: Leaky = Leaky::default(),
            /// Peers.
            peers: Vec<String> = vec!["a".to_owned()],
            /// The size.
            size: ByteSize = ByteSize(64 << 10),
            /// The colour.
            colour: Colour = Colour::Red,
            /// How long events are kept.
            retention: Option<Duration> = None,
            /// Addresses by name.
            addresses: BTreeMap<String, Vec<SocketAddr>> = BTreeMap::new(),
            /// The table below.
            inner: Inner = Inner { count: 7, ..Inner::default() },
        }
    }

    impl Section for Outer {
        fn check(&self) -> Result<(), Invalid> {
            self.inner.check().map_err(|invalid| invalid.below("inner"))
        }
    }

    #[test]
    fn a_key_that_is_not_there_has_its_default() {
        let outer: Outer = read(json!({ "inner": { "max_wait": "1m" } })).expect("a section");
        assert_eq!(
            (outer.inner.max_wait, outer.inner.count),
            (Duration::from_mins(1), 5),
            "the default of the inner table"
        );
        assert_eq!(read::<Outer>(json!({})), Ok(Outer::default()));
        assert_eq!(Outer::default().inner.count, 7, "the default of the outer table");
    }

    #[test]
    fn values_are_read_as_files_the_environment_and_flags_have_them() {
        let table = json!({
            "listen": "127.0.0.1:80", "token": "t", "peers": "x, y,", "size": 512, "colour": "blue", "retention": "1d 12h",
        });
        let outer: Outer = read(table).expect("a section");
        assert_eq!((outer.peers, outer.size), (vec!["x".to_owned(), "y".to_owned()], ByteSize(512)));
        assert_eq!(outer.retention, Some(Duration::from_hours(36)));
        let outer: Outer =
            read(json!({ "listen": "", "peers": ["z"], "size": "2MiB", "retention": "" })).expect("a section");
        assert_eq!((outer.listen, outer.peers, outer.size), (None, vec!["z".to_owned()], ByteSize(2 << 20)));
        assert_eq!(outer.retention, None);
    }

    #[test]
    fn an_error_names_the_key_and_shows_how_to_write_it() {
        for (table, key, why) in [
            (json!({ "nonsense": 1 }), "nonsense", "unknown field"),
            (json!({ "inner": { "nonsense": 1 } }), "inner.nonsense", "unknown field"),
            (json!({ "inner": { "max_wait": "soon" } }), "inner.max_wait", "write 610ms"),
            (json!({ "inner": { "max_wait": "2m" } }), "inner.max_wait", "must be from 0s to 90s, not 2m"),
            (json!({ "inner": { "count": 11 } }), "inner.count", "must be from 1 to 10, not 11"),
            (json!({ "inner": { "count": -1 } }), "inner.count", "-1"),
            (json!({ "listen": "everywhere" }), "listen", "socket address"),
            (json!({ "retention": "7" }), "retention", "write 610ms"),
            (json!({ "size": "64KB" }), "size", "write 512B"),
            (json!({ "addresses": { "a": "here" } }), "addresses.a", "socket address"),
            (json!({ "addresses": 5 }), "addresses", "map"),
            (json!({ "peers": 5 }), "peers", "must be a list of texts"),
            (json!({ "colour": "green" }), "colour", "`red` or `blue`"),
        ] {
            let error = read::<Outer>(table.clone()).expect_err(key);
            assert!(error.key == key && error.why.contains(why), "{table}: {error}");
        }
    }

    #[test]
    fn a_section_is_written_as_it_is_read_and_its_secrets_are_not() {
        let mut outer = Outer { token: Leaky("hunter2".to_owned()), ..Outer::default() };
        let expected = [
            ("listen", json!("")),
            ("token", json!("***")),
            ("peers", json!(["a"])),
            ("size", json!("64KiB")),
            ("colour", json!("red")),
            ("retention", json!("")),
            ("addresses", json!({})),
            ("inner.max_wait", json!("0s")),
            ("inner.count", json!(7)),
        ];
        assert_eq!(flatten(&outer), expected.map(|(key, value)| (key.to_owned(), value)));
        outer.token = Leaky::default();
        assert_eq!(flatten(&outer)[1].1, json!(""), "there is none");
        outer.addresses = BTreeMap::from([("a".to_owned(), vec![SocketAddr::from(([127, 0, 0, 1], 80))])]);
        assert!(flatten(&outer).contains(&("addresses.a".to_owned(), json!(["127.0.0.1:80"]))));
        let table = serde_json::to_value(&outer).expect("a table");
        assert_eq!(read::<Outer>(table), Ok(outer));
    }

    #[test]
    fn a_description_has_the_documentation_and_the_default() {
        let keys = describe::<Outer>();
        let find = |name: &str| keys.iter().find(|key| key.key == name).expect("a key");
        let wait = find("inner.max_wait");
        assert_eq!((wait.unit, wait.doc), ("duration", "How long it waits.\n Zero: not at all."));
        assert_eq!((wait.default.clone(), wait.secret), (json!("0s"), false));
        assert_eq!((find("colour").unit, find("token").secret), ("`red` or `blue`", true));
        assert_eq!(find("listen").unit, "address:port");
        assert_eq!(keys.len(), 9);
        assert_eq!(Inner::KEYS.iter().map(|key| key.name).collect::<Vec<_>>(), ["max_wait", "count"]);
    }
}

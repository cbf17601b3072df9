//! Other names of keys, for operators who know the spelling of an earlier implementation.

use crate::{ConfigError, Invalid, Layers, Sources};
use serde_json::{Map, Value};

/// Another name of a key. It works in every source; so does its variable, which needs no prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// `order.api.payment.url`
    pub name: String,
    /// `configurl`: a variable of the environment, or a file in the folder of values.
    pub variable: Option<&'static str>,
    /// The key: `order.calls.payment.url`.
    pub key: String,
}

impl Alias {
    /// All spellings of the key, as the sources have them.
    fn spellings(&self) -> impl Iterator<Item = &str> {
        [self.key.as_str(), self.name.as_str()].into_iter().chain(self.variable)
    }
}

impl Layers {
    /// Gives values of other names to their keys.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] where a key and another name of it are both set, to different values.
    pub fn resolve(mut self, aliases: &[Alias], sources: &Sources) -> Result<Self, ConfigError> {
        for alias in aliases {
            let mut set: Option<(String, Value)> = None;
            for layer in self.layers() {
                let mut table = layer.table()?;
                let mut found = Vec::new();
                for spelling in alias.spellings() {
                    found.extend(take(&mut table, spelling).map(|value| (spelling.to_owned(), value)));
                }
                if let Some(name) = alias.variable.filter(|_| layer.is_environment()) {
                    found.extend(sources.variable(name)?.map(|value| (name.to_owned(), Value::String(value))));
                }
                for (spelling, value) in found {
                    if let Some((known, other)) = &set
                        && *known != spelling
                        && *other != value
                    {
                        // The values stay out of it: one of them may be a secret.
                        let why =
                            format!("`{known}` is another name of it, and both are set, to different values; set one");
                        return Err(Invalid::new(spelling, why).into());
                    }
                    put(&mut table, &alias.key, value.clone());
                    set = Some((spelling, value));
                }
                layer.replace(&table)?;
            }
        }
        Ok(self)
    }
}

/// Takes a value out of a table by its path, in whatever case it is written, and tables that it leaves empty.
fn take(table: &mut Map<String, Value>, path: &str) -> Option<Value> {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let name = table.keys().find(|key| key.eq_ignore_ascii_case(first))?.clone();
    let Some(rest) = rest else { return table.remove(&name) };
    let below = table.get_mut(&name)?.as_object_mut()?;
    let taken = take(below, rest);
    if taken.is_some() && below.is_empty() {
        table.remove(&name);
    }
    taken
}

/// Puts a value into a table by its path. A value in the way stays, and whoever reads the table refuses it.
fn put(table: &mut Map<String, Value>, path: &str, value: Value) {
    let Some((first, rest)) = path.split_once('.') else {
        table.insert(path.to_owned(), value);
        return;
    };
    if let Value::Object(below) = table.entry(first).or_insert_with(|| Value::Object(Map::new())) {
        put(below, rest, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Origin;

    fn url() -> [Alias; 1] {
        let (name, key) = ("order.api.payment.url".to_owned(), "order.calls.payment.url".to_owned());
        [Alias { name, variable: Some("configurl"), key }]
    }

    fn resolved(toml: &str, environment: &[(&str, &str)], mounted: &[(&str, &str)]) -> Result<(Value, Origin), String> {
        let (_folder, file, values) = jumun_testing::configuration(toml, mounted);
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let sources = Sources {
            file: Some(file),
            folder: Some(values),
            environment: Some(environment.collect()),
            ..Sources::default()
        };
        let layers = sources.layers().and_then(|layers| layers.resolve(&url(), &sources));
        let layers = layers.map_err(|error| error.to_string())?;
        let merged = Value::Object(layers.merged().map_err(|error| error.to_string())?);
        Ok((merged, layers.origin("order.calls.payment.url")))
    }

    #[test]
    fn another_name_works_in_every_source_and_leaves_nothing_behind() {
        let expected = serde_json::json!({ "order": { "calls": { "payment": { "url": "http://a" } } } });
        let toml = "[order]\napi.payment.url = \"http://a\"\n";
        let (merged, origin) = resolved(toml, &[], &[]).expect("values");
        assert_eq!(merged, expected);
        assert!(matches!(origin, Origin::File(_)), "{origin:?}");
        for name in ["JUMUN__ORDER__API__PAYMENT__URL", "configurl", "JUMUN__ORDER__CALLS__PAYMENT__URL"] {
            let (merged, origin) = resolved("", &[(name, "http://a")], &[]).expect("values");
            assert_eq!((merged, origin), (expected.clone(), Origin::Environment), "{name}");
        }
        for name in ["order.api.payment.url", "configurl"] {
            let (merged, origin) = resolved("", &[], &[(name, "http://a")]).expect("values");
            assert_eq!(merged, expected, "{name}");
            assert!(matches!(origin, Origin::Folder(_)), "{origin:?}");
        }
    }

    #[test]
    fn the_later_source_wins_under_one_name_and_two_names_must_agree() {
        let toml = "[order]\napi.payment.url = \"http://a\"\n";
        let same = [("JUMUN__ORDER__API__PAYMENT__URL", "http://b")];
        let (merged, origin) = resolved(toml, &same, &[]).expect("values");
        assert_eq!((&merged["order"]["calls"]["payment"]["url"], origin), (&"http://b".into(), Origin::Environment));
        assert!(resolved(toml, &[("configurl", "http://a")], &[]).is_ok(), "they agree");
        for (name, spelled) in
            [("configurl", "configurl"), ("JUMUN__ORDER__CALLS__PAYMENT__URL", "order.calls.payment.url")]
        {
            let error = resolved(toml, &[(name, "http://b")], &[]).expect_err("they differ");
            assert!(error.contains(spelled) && error.contains("order.api.payment.url"), "{error}");
            assert!(!error.contains("http://"), "{error}");
        }
    }

    #[test]
    fn what_stands_beside_another_name_stays() {
        let toml = "[order]\napi.payment.url = \"http://a\"\napi.payment.other = 1\n[order.calls.payment]\ntime_limit = \"1s\"\n";
        let (merged, _) = resolved(toml, &[], &[]).expect("values");
        assert_eq!(
            merged["order"]["api"],
            serde_json::json!({ "payment": { "other": 1 } }),
            "an unknown key is refused later"
        );
        assert_eq!(merged["order"]["calls"]["payment"]["time_limit"], "1s");
    }
}

//! Values that operators set for people to see, and other names of keys.

use jumun::SystemModel;
use jumun_config::{Alias, ConfigError, Invalid};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The name of the place where a system runs, and the variable that sets it.
pub(super) const LOCATION: &str = "LOCATION";

/// The key of a value: the configuration does not distinguish capital letters.
pub(super) fn key_of(name: &str) -> String {
    name.to_lowercase()
}

/// The other names of keys: those that services declare, and the variables of values.
pub(super) fn aliases(model: &SystemModel) -> Vec<Alias> {
    let of_services = model.services.iter().flat_map(|service| {
        service.aliases.iter().map(|alias| Alias {
            name: format!("{}.{}", service.name, alias.name),
            variable: Some(alias.variable),
            key: format!("{}.{}", service.name, alias.key),
        })
    });
    let location = Alias { name: key_of(LOCATION), variable: Some(LOCATION), key: key_of(LOCATION) };
    let values = model.values.iter().map(|name| Alias { name: (*name).to_owned(), variable: None, key: key_of(name) });
    of_services.chain([location]).chain(values).collect()
}

/// Takes the values of a system out of its configuration.
pub(super) fn read(
    model: &SystemModel,
    given: &mut Map<String, Value>,
) -> Result<BTreeMap<&'static str, String>, ConfigError> {
    let mut read = BTreeMap::new();
    for name in model.values.iter().copied() {
        let text = match take(given, &key_of(name)) {
            None => continue,
            Some(Value::String(text)) => text,
            Some(Value::Object(_) | Value::Array(_)) => {
                return Err(Invalid::new(name, "must be a text").into());
            }
            Some(value) => value.to_string(),
        };
        read.insert(name, text);
    }
    Ok(read)
}

fn take(given: &mut Map<String, Value>, path: &str) -> Option<Value> {
    let Some((first, rest)) = path.split_once('.') else { return given.remove(path) };
    let below = given.get_mut(first)?.as_object_mut()?;
    let taken = take(below, rest);
    if taken.is_some() && below.is_empty() {
        given.remove(first);
    }
    taken
}

//! What a service shows of its configuration.

use super::{load::Config, service::CALLS, tables::without_secret, values::LOCATION};
use jumun::ServiceModel;
use jumun_config::flatten;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What a service shows: the values of its system, and the keys that have another name, by that name. No secret is among
/// them.
pub(crate) fn shown(service: &ServiceModel, config: &Config) -> Map<String, Value> {
    let location = config.location.iter().map(|text| (LOCATION.to_owned(), text.clone().into()));
    let values = config.shown.iter().map(|(name, text)| ((*name).to_owned(), text.clone().into()));
    let calls = config.services[service.name].calls.iter().flat_map(|(callee, call)| {
        flatten(call).into_iter().map(move |(key, value)| (format!("{CALLS}.{callee}.{key}"), value))
    });
    let calls: BTreeMap<_, _> = calls.collect();
    let named = service.aliases.iter().filter_map(|alias| Some((alias.name.to_owned(), calls.get(alias.key)?.clone())));
    location
        .chain(values)
        .chain(named)
        .map(|(name, value)| (name.clone(), without_secret(&name.to_lowercase(), value)))
        .collect()
}

//! What processes show of their configuration. No secret is among it.

use super::{load::Config, service::CALLS, tables::without_secret, values::LOCATION};
use jumun::ServiceModel;
use jumun_config::flatten;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What every process shows: the values of its system.
pub(crate) fn shown(config: &Config) -> Map<String, Value> {
    let location = config.location.iter().map(|text| (LOCATION.to_owned(), text.clone().into()));
    let values = config.shown.iter().map(|(name, text)| ((*name).to_owned(), text.clone().into()));
    location.chain(values).map(redacted).collect()
}

/// What a service shows: besides these, its keys that have another name, by that name.
pub(crate) fn shown_by_service(service: &ServiceModel, config: &Config) -> Map<String, Value> {
    let calls = config.services[service.name].calls.iter().flat_map(|(callee, call)| {
        flatten(call).into_iter().map(move |(key, value)| (format!("{CALLS}.{callee}.{key}"), value))
    });
    let calls: BTreeMap<_, _> = calls.collect();
    let named = service.aliases.iter().filter_map(|alias| Some((alias.name.to_owned(), calls.get(alias.key)?.clone())));
    shown(config).into_iter().chain(named.map(redacted)).collect()
}

fn redacted((name, value): (String, Value)) -> (String, Value) {
    let value = without_secret(&name.to_lowercase(), value);
    (name, value)
}

//! Every key with its value in effect and the source that set it.

use super::{
    load::{Config, TELEMETRY, assemble, layers},
    service::{CALLS, NEIGHBOUR_KEYS, SENDER, ServiceConfig, ServiceKeys},
    system::SystemKeys,
    tables::without_secret,
    values::key_of,
};
use jumun::{ServiceModel, SystemModel};
use jumun_config::{ConfigError, Entry, Section, Sources, flatten};
use jumun_gateway::GATEWAY;
use jumun_telemetry::TelemetryConfig;
use serde_json::Value;

type Values = Vec<(String, Value)>;

/// Lists every key that may be set, with its value in effect and the source that set it. Secrets are redacted.
///
/// # Errors
/// Those of [`load()`](crate::config::load()).
pub fn explain(model: &SystemModel, sources: &Sources) -> Result<Vec<Entry>, ConfigError> {
    let layers = layers(model, sources)?;
    let config = assemble(model, sources, &layers)?;
    Ok(layers.explain(values(model, &config)))
}

/// Destructures every struct, so that the compiler refuses a field that is not listed.
fn values(model: &SystemModel, config: &Config) -> Values {
    let Config {
        port_offset,
        unavailable_status,
        location,
        folder: _,
        bus,
        database,
        retention,
        gateway,
        telemetry,
        shown,
        services,
        zone: _,
    } = config;
    let (port_offset, unavailable_status, retention) = (*port_offset, *unavailable_status, *retention);
    let (location, bus, database) = (location.clone(), Some(bus.clone()), database.clone());
    let system = SystemKeys { port_offset, unavailable_status, location, bus, database, retention };
    let mut values = flatten(&system);
    values.extend(model.values.iter().map(|name| {
        let key = key_of(name);
        let value = shown.get(*name).map_or(Value::Null, |text| text.clone().into());
        (key.clone(), without_secret(&key, value))
    }));
    values.extend(below(GATEWAY, gateway));
    values.extend(below(TELEMETRY, &TelemetryConfig::in_effect(telemetry.as_ref())));
    for service in &model.services {
        let Some(config) = services.get(service.name) else { continue };
        values.extend(of_service(service, config).map(|(key, value)| (format!("{}.{key}", service.name), value)));
    }
    values
}

fn of_service(service: &ServiceModel, config: &ServiceConfig) -> impl Iterator<Item = (String, Value)> {
    let ServiceConfig { listen, database, shed, admission, faults, calls, sender, settings } = config;
    let (listen, database) = (Some(*listen), Some(database.clone()));
    let own = flatten(&ServiceKeys { listen, database, shed: *shed, admission: *admission, faults: *faults });
    let settings = service.default_settings().iter().map(|(key, default)| {
        let value = settings.get(key).unwrap_or(default).clone();
        (key.clone(), without_secret(key, value))
    });
    let calls = service.asks.iter().filter_map(|ask| Some((ask, calls.get(ask.service)?))).flat_map(|(ask, call)| {
        let has = |key: &str| !ask.is_external() || !NEIGHBOUR_KEYS.contains(&key);
        let keys = flatten(call).into_iter().filter(move |(key, _)| has(key));
        keys.map(move |(key, value)| (format!("{CALLS}.{}.{key}", ask.service), value))
    });
    let sender = sender.iter().flat_map(|sender| below(SENDER, sender));
    own.into_iter().chain(settings).chain(calls).chain(sender).collect::<Values>().into_iter()
}

fn below<S: Section>(table: &str, section: &S) -> Values {
    flatten(section).into_iter().map(|(key, value)| (format!("{table}.{key}"), value)).collect()
}

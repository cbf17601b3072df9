//! Reads the configuration of a system, and checks it.

use super::{
    service::{self, ServiceConfig},
    system::{self, SystemKeys},
    tables::{default_listen, section, table},
    values,
};
use jiff::tz::TimeZone;
use jumun::{ServiceModel, SystemModel};
use jumun_bus::BusUrl;
use jumun_config::{ConfigError, Invalid, Layers, Sources};
use jumun_database::DatabaseUrl;
use jumun_gateway::{GATEWAY, GatewayConfig, PORT};
use jumun_http::Address;
use jumun_telemetry::{OtlpConfig, TelemetryConfig};
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    time::Duration,
};

/// The table of telemetry.
pub(super) const TELEMETRY: &str = "telemetry";

/// The configuration of a system.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// How far the default ports are moved up.
    pub port_offset: u16,
    /// The HTTP status of answers that say *not now*.
    pub unavailable_status: u16,
    /// The place where the system runs.
    pub location: Option<String>,
    /// The folder of all data of this system.
    pub folder: PathBuf,
    /// The bus.
    pub bus: BusUrl,
    /// The server with the databases of the services that name none of their own.
    pub database: Option<DatabaseUrl>,
    /// How long events stay on the bus at least; for ever, where it is `None`.
    pub retention: Option<Duration>,
    /// The gateway.
    pub gateway: GatewayConfig,
    /// The collector that takes spans, if there is one.
    pub telemetry: Option<OtlpConfig>,
    /// The values that every service shows, by the name that users know.
    pub shown: BTreeMap<&'static str, String>,
    /// The services, by name.
    pub services: BTreeMap<String, ServiceConfig>,
    /// The time zone that dates are shown in, from the variable `TZ` or the settings of the machine.
    pub zone: TimeZone,
}

/// Reads the configuration of a system, and checks it.
///
/// # Errors
/// The first key that is unknown or has an invalid value, or a source that cannot be read.
pub fn load(model: &SystemModel, sources: &Sources) -> Result<Config, ConfigError> {
    assemble(model, sources, &layers(model, sources)?)
}

/// What the sources say, over the defaults of the system.
pub(super) fn layers(model: &SystemModel, sources: &Sources) -> Result<Layers, ConfigError> {
    let layers = sources.layers()?.over(&defaults_of(model).collect::<Vec<_>>())?;
    layers.resolve(&values::aliases(model), sources)
}

/// The keys of the runtime for which a system has defaults of its own.
pub(super) fn defaults_of(model: &SystemModel) -> impl Iterator<Item = (String, String)> {
    let of_service = |service: &ServiceModel| {
        let name = service.name;
        service.defaults.clone().into_iter().map(move |(key, value)| (format!("{name}.{key}"), value.to_owned()))
    };
    model.services.iter().flat_map(of_service)
}

pub(super) fn assemble(model: &SystemModel, sources: &Sources, layers: &Layers) -> Result<Config, ConfigError> {
    let mut given = layers.merged()?;
    let folder = sources.data.as_deref().unwrap_or(Path::new("data")).join(model.name);
    let SystemKeys { port_offset, unavailable_status, location, bus, database, retention } = system::read(&mut given)?;
    let bus = bus.unwrap_or_else(|| BusUrl::embedded(folder.join("bus")));
    let mut gateway = gateway(model, table(&mut given, GATEWAY)?, port_offset)?;
    let telemetry: TelemetryConfig = section(TELEMETRY, table(&mut given, TELEMETRY)?)?;
    let telemetry = telemetry.otlp(|name| sources.variable(name))?;
    let shown = values::read(model, &mut given)?;
    let mut services = BTreeMap::new();
    for service in &model.services {
        let own = table(&mut given, service.name)?;
        let mut read = service::read(service, own, &folder, port_offset, database.as_ref())?;
        read.database = read.database.in_schema(&format!("{}_{}", model.name, service.name));
        services.insert(service.name.to_owned(), read);
    }
    if let Some(key) = given.keys().next() {
        return Err(ConfigError::UnknownKey(key.clone()));
    }
    set_open_addresses(&mut gateway, &mut services);
    let zone = zone()?;
    Ok(Config {
        port_offset,
        unavailable_status,
        location,
        folder,
        bus,
        database,
        retention,
        gateway,
        telemetry,
        shown,
        services,
        zone,
    })
}

/// The time zone of the process. A machine without any has UTC; a `TZ` that names none is an error.
fn zone() -> Result<TimeZone, ConfigError> {
    TimeZone::try_system().or_else(|_| match env::var_os("TZ") {
        None => Ok(TimeZone::UTC),
        Some(name) => {
            let name = name.to_string_lossy();
            let why = format!("`{name}` names no time zone that this machine knows; write one as Asia/Seoul, or UTC");
            Err(Invalid::new("TZ", why).into())
        }
    })
}

fn gateway(model: &SystemModel, mut given: Map<String, Value>, offset: u16) -> Result<GatewayConfig, ConfigError> {
    if !given.contains_key("listen") {
        given.insert("listen".into(), default_listen(GATEWAY, PORT, offset)?.to_string().into());
    }
    let config: GatewayConfig = section(GATEWAY, given)?;
    match config.upstreams.keys().find(|name| model.service(name).is_none()) {
        Some(unknown) => Err(ConfigError::UnknownKey(format!("{GATEWAY}.upstreams.{unknown}"))),
        None => Ok(config),
    }
}

/// Gives neighbours and the gateway the address where a service listens, unless another one is configured.
fn set_open_addresses(gateway: &mut GatewayConfig, services: &mut BTreeMap<String, ServiceConfig>) {
    let listen: BTreeMap<_, _> = services.iter().map(|(name, config)| (name.clone(), config.listen)).collect();
    for (name, listen) in &listen {
        gateway.upstreams.entry(name.clone()).or_insert_with(|| vec![Address::from(*listen)]);
    }
    for (callee, call) in services.values_mut().flat_map(|config| &mut config.calls) {
        if let Some(listen) = listen.get(callee) {
            call.url.get_or_insert_with(|| Address::from(*listen));
        }
    }
}

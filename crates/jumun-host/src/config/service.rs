//! The configuration of a service: the keys that every service has, the asks that it makes, its sender, its settings.

use super::tables::{below, default_listen, section, table};
use jumun::{AskTarget, ServiceModel};
use jumun_config::{ConfigError, Invalid, Section, Setting, section, units};
use jumun_control::Faults;
use jumun_database::DatabaseUrl;
use jumun_http::Shed;
use jumun_runtime::{
    asks::{CallConfig, Fallback},
    intake::AdmissionConfig,
    limits::{DELAY_DEADLINE_MAX, OUTSIDE_MARGIN},
};
use jumun_sender::SenderConfig;
use serde_json::{Map, Value};
use std::{collections::BTreeMap, net::SocketAddr, path::Path};

/// The message sender: its name as an ask target and as a configuration table.
pub const SENDER: &str = "sender";

/// The table of asks.
pub(super) const CALLS: &str = "calls";

/// The keys of a call to a neighbour that a call to an external party does not have.
pub(super) const NEIGHBOUR_KEYS: [&str; 3] = ["url", "fallback", "max_delayed"];

/// The configuration of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Its database.
    pub database: DatabaseUrl,
    /// What it refuses under overload.
    pub shed: Shed,
    /// How much it takes at once.
    pub admission: AdmissionConfig,
    /// The faults that it has from its start on, for drills.
    pub faults: Faults,
    /// Its asks, by the service that it asks.
    pub calls: BTreeMap<String, CallConfig>,
    /// The sender of its messages, if it sends any.
    pub sender: Option<SenderConfig>,
    /// The settings of its business that are not at their default.
    pub settings: Map<String, Value>,
}

section! {
    /// The keys that every service has.
    pub(super) struct ServiceKeys {
        /// Where the service listens. By default its own port on 127.0.0.1; `port_offset` moves that up.
        pub(super) listen: Option<SocketAddr> = None,
        /// The database: `sqlite://path`, or `postgres://user:password@host/database`, with the parameters `schema`,
        /// `sslmode` (`disable`, `require`, `verify-full`) and `sslrootcert`. By default
        /// `sqlite://data/<system>/<service>.db`, or the schema `<system>_<service>` of the server of the system.
        pub(super) database: Option<DatabaseUrl> = None,
        /// What the service refuses under overload: new work, or all, cancelling included.
        pub(super) shed: Shed = Shed::New,
        /// How much the service takes at once.
        pub(super) admission: AdmissionConfig = AdmissionConfig::default(),
        /// Faults from the start on, for drills. `jumun fault` sets them in a service that runs.
        pub(super) faults: Faults = Faults::default(),
    }
}

impl Section for ServiceKeys {
    fn check(&self) -> Result<(), Invalid> {
        self.admission.check().map_err(|invalid| invalid.below("admission"))?;
        self.faults.check().map_err(|invalid| invalid.below("faults"))
    }
}

/// Reads the table of a service.
pub(super) fn read(
    service: &ServiceModel,
    mut given: Map<String, Value>,
    folder: &Path,
    offset: u16,
    server: Option<&DatabaseUrl>,
) -> Result<ServiceConfig, ConfigError> {
    let name = service.name;
    let of_service = |error| below(name, error);
    let own = ServiceKeys::KEYS.iter().filter_map(|key| given.remove_entry(key.name)).collect();
    let ServiceKeys { listen, database, shed, admission, faults } = section(name, own)?;
    let sender = sender(service, &mut given).map_err(of_service)?;
    let calls = table(&mut given, CALLS)
        .and_then(|calls| calls_of(service, calls, sender.as_ref()).map_err(|error| below(CALLS, error)));
    let calls = calls.map_err(of_service)?;
    if let Some(key) = given.keys().find(|key| !service.default_settings().contains_key(*key)) {
        return Err(ConfigError::UnknownKey(format!("{name}.{key}")));
    }
    let file = || DatabaseUrl::embedded(folder.join(format!("{name}.db")));
    let database = database.or_else(|| server.cloned()).unwrap_or_else(file);
    Ok(ServiceConfig {
        listen: listen.map_or_else(|| default_listen(name, service.port, offset), Ok)?,
        database,
        shed,
        admission,
        faults,
        calls,
        sender,
        settings: given,
    })
}

/// The sender of a service that sends messages. In the table of another service, `sender` is an unknown key.
fn sender(service: &ServiceModel, given: &mut Map<String, Value>) -> Result<Option<SenderConfig>, ConfigError> {
    if !service.asks.iter().any(|ask| ask.is_external() && ask.service == SENDER) {
        return Ok(None);
    }
    section(SENDER, table(given, SENDER)?).map(Some)
}

fn calls_of(
    service: &ServiceModel,
    mut given: Map<String, Value>,
    sender: Option<&SenderConfig>,
) -> Result<BTreeMap<String, CallConfig>, ConfigError> {
    let mut calls = BTreeMap::new();
    for ask in &service.asks {
        if calls.contains_key(ask.service) {
            continue; // the service asks it more than one thing
        }
        let of_ask = table(&mut given, ask.service)?;
        let config = call(service, ask, of_ask, sender).map_err(|error| below(ask.service, error))?;
        calls.insert(ask.service.to_owned(), config);
    }
    match given.keys().next() {
        Some(unknown) => Err(ConfigError::UnknownKey(unknown.clone())),
        None => Ok(calls),
    }
}

fn call(
    service: &ServiceModel,
    ask: &AskTarget,
    mut given: Map<String, Value>,
    sender: Option<&SenderConfig>,
) -> Result<CallConfig, ConfigError> {
    let callee = ask.service;
    let is_settled = is_settled(service, callee);
    let mut set_default = |key: &str, value: String| {
        given.entry(key).or_insert_with(|| value.into());
    };
    if ask.is_external() {
        // A token that has expired is replaced in the morning.
        set_default("deadline", units::format_duration(DELAY_DEADLINE_MAX));
        if let Some(sender) = sender.filter(|_| callee == SENDER) {
            // The sender bounds its own time.
            set_default("time_limit", units::format_duration(sender.time_limit + OUTSIDE_MARGIN));
        }
        if let Some(key) = NEIGHBOUR_KEYS.iter().find(|key| given.contains_key(**key)) {
            return Err(ConfigError::UnknownKey((*key).to_owned()));
        }
    } else if is_settled {
        set_default("fallback", "accept".to_owned());
    }
    let mut call: CallConfig = jumun_config::read(given)?;
    if call.fallback == Fallback::Accept && !is_settled {
        let why = format!("{} does not know how to go on without {callee}; write reject", service.name);
        return Err(Invalid::new("fallback", why).into());
    }
    call.set_open_keys();
    Ok(call)
}

/// Whether a service knows what to do with an answer that comes later.
fn is_settled(service: &ServiceModel, callee: &str) -> bool {
    let mut settles = service.resources.iter().flat_map(|resource| &resource.settles);
    settles.any(|settle| settle.target.service == callee)
}

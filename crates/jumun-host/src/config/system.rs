//! The keys of a system, which stand above all tables.

use jumun_bus::BusUrl;
use jumun_config::{ConfigError, Invalid, Section, Setting, check, section};
use jumun_database::DatabaseUrl;
use serde_json::{Map, Value};
use std::time::Duration;

section! {
    /// The keys of a system.
    pub(super) struct SystemKeys {
        /// How far the default ports are moved up.
        pub(super) port_offset: u16 = 0,
        /// The HTTP status of answers that say *not now*: 500 to 599.
        pub(super) unavailable_status: u16 = 503,
        /// The place where the system runs, which every process shows at `/actuator/info`. The variable `LOCATION` sets it,
        /// too.
        pub(super) location: Option<String> = None,
        /// The bus: `log://path`, a folder with an append-only log for each service. By default
        /// `log://data/<system>/bus`.
        pub(super) bus: Option<BusUrl> = None,
        /// The database server of all services that name no database of their own: `postgres://user:password@host/database`.
        /// Each service has a schema there, `<system>_<service>`. By default each service has a file.
        pub(super) database: Option<DatabaseUrl> = None,
        /// How long events stay on the bus at least. By default for ever.
        pub(super) retention: Option<Duration> = None,
    }
}

impl Section for SystemKeys {
    fn check(&self) -> Result<(), Invalid> {
        check::within("unavailable_status", &self.unavailable_status, &(500..=599))?;
        if self.database.as_ref().is_some_and(|url| url.file().is_some()) {
            return Err(Invalid::new("database", "a file is the database of one service; set it there"));
        }
        self.retention.map_or(Ok(()), |retention| check::above_zero("retention", retention))
    }
}

/// Takes the keys of the system out of the configuration, and reads them.
pub(super) fn read(given: &mut Map<String, Value>) -> Result<SystemKeys, ConfigError> {
    let names = SystemKeys::KEYS.iter().map(|key| key.name);
    let table: Map<_, _> = names.filter_map(|name| given.remove_entry(name)).collect();
    Ok(jumun_config::read(table)?)
}

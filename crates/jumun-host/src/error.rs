//! Why a process cannot be put together.

use jumun::{SettingsError, SystemModel};
use jumun_bus::BusError;
use jumun_database::{OpenError, Uuid};
use jumun_runtime::{asks::guards::InvalidConfig, events::AHEAD_REMEDY};
use jumun_telemetry::TelemetryError;

/// Why a process cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The declaration of the system has problems.
    #[error("{system} has problems:\n  - {}", .problems.join("\n  - "))]
    System {
        /// The system.
        system: &'static str,
        /// What is wrong with it.
        problems: Vec<String>,
    },
    /// A setting of the business is not valid.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A guard around asks cannot be configured like this.
    #[error(transparent)]
    Guard(#[from] InvalidConfig),
    /// The sender of messages cannot be opened.
    #[error(transparent)]
    Sender(#[from] jumun_sender::InvalidConfig),
    /// Spans cannot be exported.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The database of a service is missing, and was there before.
    #[error("{path}: the database of {service} is missing or empty; it was here before")]
    Lost {
        /// The file.
        path: String,
        /// The service.
        service: String,
        /// Whether the service can fill it again from the log.
        has_views_only: bool,
    },
    /// The database of a service is missing, and there is a log of it on a bus outside the data folder.
    #[error("{path}: there is no database of {service} here, and {bus} has a log of it")]
    LogOnly {
        /// The file.
        path: String,
        /// The service.
        service: String,
        /// The address of the bus.
        bus: String,
    },
    /// The database of a service is another one than before.
    #[error("{path}: this is another database of {service}: its epoch is {found}, that of the one before {wanted}")]
    Replaced {
        /// The file.
        path: String,
        /// The service.
        service: String,
        /// The epoch of this one.
        found: Uuid,
        /// The epoch of the one that was here.
        wanted: Uuid,
        /// Whether the service can fill an empty one from the log.
        has_views_only: bool,
    },
    /// The database of a service is older than what another service has applied of its events.
    #[error("{path}: {consumer} has applied the events of {service} up to {applied}, which are not in this database")]
    Behind {
        /// The file.
        path: String,
        /// The service.
        service: String,
        /// The service that has applied its events.
        consumer: &'static str,
        /// The number of the last one.
        applied: u64,
    },
    /// The database cannot be opened.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// The database of a service that has views only is damaged.
    #[error("{0}")]
    DamagedViews(#[source] OpenError),
    /// The database was taken away since the supervisor first started the process.
    #[error("{0}")]
    TakenAway(#[source] OpenError),
    /// The bus cannot be opened.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// What to do about a database of views that is not the right one.
const FILL_THE_VIEWS_AGAIN: &str = "Move this file and those beside it (-wal, -shm) away, and start the system: this service fills its views again from the log.";

jumun_text::explained! { HostError {
    Self::System { .. } => "system-invalid", "Correct the declaration of the system; its tests find the same problems.";
    Self::Settings(_) => "configuration-invalid",
        "Correct the value in jumun.toml, the environment (JUMUN__…) or --set.";
    Self::Guard(error) => error;
    Self::Sender(error) => error;
    Self::Telemetry(error) => error;
    Self::Lost { has_views_only: true, .. } => "database-lost",
        "Start the system (jumun up <system>): this service fills its views again from the log. If that was cut (key `retention`), the service then says bus-gone, and how to fill the log again.";
    Self::Replaced { has_views_only: true, .. } => "database-replaced", FILL_THE_VIEWS_AGAIN;
    Self::DamagedViews(error) => error.code(), FILL_THE_VIEWS_AGAIN;
    Self::TakenAway(error) => error.code(),
        "Stop the system, then start it (jumun up <system>): its services make their databases.";
    Self::Lost { .. } => "database-lost",
        "Restore the newest copy of this file. If there is none, restore the whole data folder of the system from one backup, or move it away (all of it, and the bus if the key `bus` names another folder: the other databases do not fit an empty one) and start the system with nothing.";
    Self::LogOnly { .. } => "database-lost",
        "If that is the bus of another system, give this system a bus of its own with the key `bus`. If not, restore the newest copy of this file; if there is none, restore the whole data folder and the bus of the system from one backup, or move both away and start the system with nothing.";
    Self::Replaced { .. } => "database-replaced",
        "Restore the newest copy of this file. If all databases here come from one backup, move `epochs` and `bus` of this system away and start. If there is no copy, restore the whole data folder of the system from one backup, or move it away (all of it, and the bus if the key `bus` names another folder: the other databases do not fit another one) and start the system with nothing.";
    Self::Behind { .. } => "bus-ahead", AHEAD_REMEDY;
    Self::Database(error) => error;
    Self::Bus(error) => error;
} }

/// Refuses a system whose declaration has problems.
///
/// # Errors
/// [`HostError::System`] lists them.
pub fn check(system: &SystemModel) -> Result<(), HostError> {
    let problems: Vec<_> = system.problems().iter().map(ToString::to_string).collect();
    if problems.is_empty() { Ok(()) } else { Err(HostError::System { system: system.name, problems }) }
}

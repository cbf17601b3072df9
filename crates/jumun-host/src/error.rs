//! Why a process cannot be put together.

use jumun::{SettingsError, SystemModel};
use jumun_bus::BusError;
use jumun_database::OpenError;
use jumun_runtime::asks::guards::InvalidConfig;
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
    /// The database cannot be opened.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// The bus cannot be opened.
    #[error(transparent)]
    Bus(#[from] BusError),
}

impl HostError {
    /// The error code. It stays the same over releases.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::System { .. } => "system-invalid",
            Self::Settings(_) => "configuration-invalid",
            Self::Guard(error) => error.code(),
            Self::Sender(error) => error.code(),
            Self::Telemetry(error) => error.code(),
            Self::Database(error) => error.code(),
            Self::Bus(error) => error.code(),
        }
    }

    /// What the operator can do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::System { .. } => "Correct the declaration of the system; its tests find the same problems.",
            Self::Settings(_) => "Correct the value in jumun.toml, the environment (JUMUN__…) or --set.",
            Self::Guard(error) => error.remedy(),
            Self::Sender(error) => error.remedy(),
            Self::Telemetry(error) => error.remedy(),
            Self::Database(error) => error.remedy(),
            Self::Bus(error) => error.remedy(),
        }
    }
}

/// Refuses a system whose declaration has problems.
///
/// # Errors
/// [`HostError::System`] lists them.
pub fn check(system: &SystemModel) -> Result<(), HostError> {
    let problems: Vec<_> = system.problems().iter().map(ToString::to_string).collect();
    if problems.is_empty() { Ok(()) } else { Err(HostError::System { system: system.name, problems }) }
}

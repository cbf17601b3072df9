//! Why the program cannot do what it is told: a code, what happened, what to do.

use jumun::SettingsError;
use jumun_bus::BusError;
use jumun_control::ControlError;
use jumun_database::{OpenError, ReadError};
use jumun_host::config::ConfigError;
use jumun_runtime::{ServeError, asks::guards::InvalidConfig};
use jumun_supervisor::SuperviseError;
use jumun_telemetry::TelemetryError;
use std::{borrow::Cow, fmt, process::ExitCode};

/// A failure of the program.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Cow<'static, str>,
    why: String,
    remedy: String,
    exit_code: u8,
}

impl Failure {
    pub(crate) fn new(code: impl Into<Cow<'static, str>>, why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code: code.into(), why: why.into(), remedy: remedy.into(), exit_code: 1 }
    }

    /// What a service says of itself, its code with it.
    pub(crate) fn of_service(code: String, why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code: code.into(), why: why.into(), remedy: remedy.into(), exit_code: 1 }
    }

    /// The same, with an exit status of its own.
    pub(crate) fn exit_with(self, exit_code: u8) -> Self {
        Self { exit_code, ..self }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        self.exit_code.into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, why, remedy, .. } = self;
        write!(f, "error[{code}]: {why}\n  {remedy}\n  More about it: jumun explain {code}")
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(error.code(), error.to_string(), error.remedy())
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::new(error.code(), error.to_string(), error.remedy())
    }
}

impl From<BusError> for Failure {
    fn from(error: BusError) -> Self {
        Self::new(error.code(), error.to_string(), error.remedy())
    }
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        Self::new(error.code(), error.to_string(), error.remedy())
    }
}

impl From<SuperviseError> for Failure {
    fn from(error: SuperviseError) -> Self {
        Self::new(error.code(), error.to_string(), error.remedy())
    }
}

impl From<TelemetryError> for Failure {
    fn from(error: TelemetryError) -> Self {
        Self::new(error.code(), error.to_string(), error.remedy())
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        Self::new(error.code(), error.to_string(), error.remedy())
    }
}

impl From<InvalidConfig> for Failure {
    fn from(error: InvalidConfig) -> Self {
        Self::new(error.code(), error.to_string(), error.remedy())
    }
}

impl From<jumun_sender::InvalidConfig> for Failure {
    fn from(error: jumun_sender::InvalidConfig) -> Self {
        Self::new(error.code(), error.to_string(), error.remedy())
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        let remedy = "Correct the value in jumun.toml, the environment (JUMUN__…) or --set.";
        Self::new("configuration-invalid", error.to_string(), remedy)
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self::new("database-unreadable", error.to_string(), "Try again; if it stays so, look at the disk.")
    }
}

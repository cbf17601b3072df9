//! Why a command failed: a code, what happened, and what to do about it.

use jumun::SettingsError;
use jumun_bus::BusError;
use jumun_control::ControlError;
use jumun_database::{OpenError, ReadError};
use jumun_host::{HostError, config::ConfigError};
use jumun_runtime::ServeError;
use jumun_supervisor::SuperviseError;
use std::{borrow::Cow, fmt, process::ExitCode};

/// A failed command, as the program prints it on the standard error.
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

    /// A system has no service of this name, but others.
    pub(crate) fn unknown_service<'a>(system: &str, name: &str, others: impl Iterator<Item = &'a str>) -> Self {
        let names: Vec<_> = others.collect();
        let why = format!("{system} has no service `{name}`");
        Self::new("service-unknown", why, format!("Name one of: {}.", names.join(", ")))
    }

    /// A failure that a service reported, with the service's error code.
    pub(crate) fn of_service(code: String, why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code: code.into(), why: why.into(), remedy: remedy.into(), exit_code: 1 }
    }

    /// The same failure with another exit status than 1.
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

/// The errors that state their own code and remedy.
macro_rules! failure_from {
    ($($error:ty),+) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::new(error.code(), error.to_string(), error.remedy())
            }
        }
    )+};
}

failure_from!(ConfigError, OpenError, ReadError, BusError, HostError, ServeError, SuperviseError, ControlError);

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        let remedy = "Correct the value in jumun.toml, the environment (JUMUN__…) or --set.";
        Self::new("configuration-invalid", error.to_string(), remedy)
    }
}

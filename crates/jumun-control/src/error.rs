//! Why an operator gets no answer.

use serde::{Deserialize, Serialize};
use std::{fmt::Display, io};

/// Why an operator gets no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No process listens.
    #[error("{path}: the service does not run: {why}")]
    NotRunning {
        /// The socket.
        path: String,
        /// What the operating system said.
        why: io::Error,
    },
    /// The process does not answer, or its answer is not one.
    #[error("the service does not answer: {0}")]
    NoAnswer(String),
    /// The process is of another release that speaks another version.
    #[error("the process speaks version {theirs} of the operator's protocol, this program version {}", crate::VERSION)]
    Version {
        /// Its version, or `unknown`.
        theirs: String,
    },
    /// The process says no.
    #[error("the service says: {0}")]
    Refused(String),
}

impl ControlError {
    pub(crate) fn no_answer(why: impl Display) -> Self {
        Self::NoAnswer(why.to_string())
    }
}

jumun_text::explained! { ControlError {
    Self::NotRunning { .. } => "service-not-running",
        "Start it (jumun start <service>, or jumun up <system>), or check --data.";
    Self::NoAnswer(_) => "service-silent",
        "Look at its log (jumun logs <service>). If it hangs, restart it (jumun restart <service>): nothing is lost by that.";
    Self::Version { .. } => "control-version",
        "Use the program of the release that runs, or stop the system and start it with this one (jumun up <system>).";
    Self::Refused(_) => "service-refused", "Do what it says, then try again.";
} }

/// A refusal, as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Why, for a person.
    pub why: String,
}

impl Refused {
    /// A refusal in words.
    pub fn new(why: impl Into<String>) -> Self {
        Self { why: why.into() }
    }
}

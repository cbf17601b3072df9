//! The pages that every process serves besides its resources: for probes, operators and people. No resource may have their
//! paths.

use crate::{docs::OPENAPI, negotiation::Offer};

/// A page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// All that concerns the health of the process.
    Health,
    /// Whether the process lives. A supervisor replaces one that does not.
    Liveness,
    /// Whether requests may be sent to it.
    Readiness,
    /// What it is, and which values an operator has set.
    Info,
    /// Metrics.
    Metrics,
    /// Its API as OpenAPI.
    OpenApi,
}

impl Page {
    /// Every page.
    pub const ALL: [Self; 6] =
        [Self::Health, Self::Liveness, Self::Readiness, Self::Info, Self::Metrics, Self::OpenApi];

    /// The page at a path.
    pub fn at(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|page| page.path() == path)
    }

    /// Where it is.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Health => "/actuator/health",
            Self::Liveness => "/actuator/health/liveness",
            Self::Readiness => "/actuator/health/readiness",
            Self::Info => "/actuator/info",
            Self::Metrics => "/actuator/prometheus",
            Self::OpenApi => OPENAPI,
        }
    }

    /// In which media type it is.
    pub const fn offer(self) -> Offer {
        match self {
            Self::Metrics => Offer::Metrics,
            _ => Offer::Json,
        }
    }

    /// What it shows, in one sentence.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Health => "Health, with what is wrong: 503 if it is DOWN.",
            Self::Liveness => "Whether the process lives.",
            Self::Readiness => "Whether requests may be sent to the process: 503 if not.",
            Self::Info => "What the process is, and the values that an operator has set for people to see. No secrets.",
            Self::Metrics => "Metrics, in the text format of Prometheus.",
            Self::OpenApi => "The API of the process, as OpenAPI 3.1.",
        }
    }
}

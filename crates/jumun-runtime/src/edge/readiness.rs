//! Whether a service is ready for requests.

use serde_json::{Map, Value};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a service is ready, and what `/actuator/info` shows.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    is_ready: AtomicBool,
    /// The content of `/actuator/info`.
    pub(crate) info: Map<String, Value>,
}

impl Readiness {
    /// Not ready yet.
    pub(crate) fn new(info: Map<String, Value>) -> Self {
        Self { is_ready: AtomicBool::new(false), info }
    }

    /// Sets whether the service takes requests.
    pub(crate) fn set_ready(&self, is_ready: bool) {
        self.is_ready.store(is_ready, Ordering::Relaxed);
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }
}

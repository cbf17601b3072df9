//! Whether a service is ready for requests.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a service is ready. Not yet by default.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    is_ready: AtomicBool,
}

impl Readiness {
    /// Sets whether the service takes requests.
    pub(crate) fn set_ready(&self, is_ready: bool) {
        self.is_ready.store(is_ready, Ordering::Relaxed);
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }
}

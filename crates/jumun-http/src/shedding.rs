//! Load shedding: which requests an overloaded process refuses, and a log line when that begins and ends.

use jumun_config::settings_by_serde;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Which requests are shed under overload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shed {
    /// All requests except those that end something, such as a cancellation.
    #[default]
    New,
    /// All requests.
    All,
}

settings_by_serde!(Shed: "`new` or `all`");

/// Counts shed requests. Logs when shedding begins and when it ends, and nothing in between.
#[derive(Debug, Default)]
pub struct Shedding {
    is_on: AtomicBool,
    total: AtomicU64,
    at_last_look: AtomicU64,
    at_begin: AtomicU64,
}

impl Shedding {
    /// Counts a shed request.
    pub fn one_more(&self, what: &str, why: &str) {
        let before = self.total.fetch_add(1, Relaxed);
        if !self.is_on.swap(true, Relaxed) {
            self.at_begin.store(before, Relaxed);
            tracing::warn!(what, why, "load exceeds the limit; load shedding begins");
        }
    }

    /// How many requests were shed since the last call. Call it once a second.
    pub fn look(&self) -> u64 {
        let total = self.total.load(Relaxed);
        let since = total - self.at_last_look.swap(total, Relaxed);
        if since == 0 && self.is_on.swap(false, Relaxed) {
            tracing::info!(turned_away = total - self.at_begin.load(Relaxed), "load shedding ends");
        }
        since
    }

    /// Whether requests are being shed.
    pub fn is_on(&self) -> bool {
        self.is_on.load(Relaxed)
    }
}

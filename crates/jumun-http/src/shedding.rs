//! Load shedding: what is turned away when more comes in than may, and log lines when that begins and ends.

use jumun_config::settings_by_serde;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// What is turned away when there is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shed {
    /// Everything but what ends things.
    #[default]
    New,
    /// That, too.
    All,
}

settings_by_serde!(Shed: "`new` or `all`");

/// Says when turning away begins and when it has ended, and nothing in between.
#[derive(Debug, Default)]
pub struct Shedding {
    is_on: AtomicBool,
    all: AtomicU64,
    at_last_look: AtomicU64,
    at_begin: AtomicU64,
}

impl Shedding {
    /// Somebody is turned away.
    pub fn one_more(&self, what: &str, why: &str) {
        let before = self.all.fetch_add(1, Relaxed);
        if !self.is_on.swap(true, Relaxed) {
            self.at_begin.store(before, Relaxed);
            tracing::warn!(what, why, "more comes in than may; what is too much is turned away");
        }
    }

    /// How many were turned away since the last look. To be called once a second.
    pub fn look(&self) -> u64 {
        let all = self.all.load(Relaxed);
        let since = all - self.at_last_look.swap(all, Relaxed);
        if since == 0 && self.is_on.swap(false, Relaxed) {
            tracing::info!(turned_away = all - self.at_begin.load(Relaxed), "nothing is turned away any more");
        }
        since
    }

    /// Whether requests are being turned away.
    pub fn is_on(&self) -> bool {
        self.is_on.load(Relaxed)
    }
}

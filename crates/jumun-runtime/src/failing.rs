//! A database that fails when a test says so.

use jumun_database::{Database, DatabaseFailure, MemoryDatabase, ReadDatabase, RebuildDatabase, delegate};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// All clones are one database. Reads and commits go on, as they do in a file that is deleted and still open.
#[derive(Clone)]
pub(crate) struct Failing {
    inner: MemoryDatabase,
    has_failed: Arc<AtomicBool>,
}

impl Failing {
    pub(crate) fn new(inner: MemoryDatabase) -> Self {
        Self { inner, has_failed: Arc::default() }
    }

    pub(crate) fn fails(&self, has_failed: bool) {
        self.has_failed.store(has_failed, Ordering::Relaxed);
    }
}

impl Database for Failing {
    fn failure(&self) -> Option<DatabaseFailure> {
        let gone = || DatabaseFailure::Gone { path: "shop.db".into(), how: "deleted", is_file_there: false };
        self.has_failed.load(Ordering::Relaxed).then(gone)
    }

    delegate!(inner: commit next_id purge_requests stats close);
}

impl RebuildDatabase for Failing {
    delegate!(inner: rebuild);
}

impl ReadDatabase for Failing {
    delegate!(inner: read);
}

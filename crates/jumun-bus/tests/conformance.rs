//! Every adapter passes the same suite.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use jumun_bus::{EmbeddedLog, MemoryBus, conformance::Home};

#[derive(Default)]
struct Memory(MemoryBus);

impl Home for Memory {
    type Bus = MemoryBus;
    const KEPT_LONGER: u64 = 0;

    fn bus(&self) -> MemoryBus {
        self.0.clone()
    }

    fn lose_unsynced(&self) {
        self.0.lose_unsynced();
    }

    fn retain(&self, service: &str, keep_from: &[u64]) {
        self.0.retain(service, keep_from);
    }
}

struct Folder {
    folder: tempfile::TempDir,
    segment_bytes: u64,
}

impl Folder {
    fn new(segment_bytes: u64) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), segment_bytes }
    }
}

impl Home for Folder {
    type Bus = EmbeddedLog;
    /// A segment full, and more.
    const KEPT_LONGER: u64 = 200;

    fn bus(&self) -> EmbeddedLog {
        EmbeddedLog::with_segments_of(&self.folder.path().join("data/bus"), self.segment_bytes).unwrap()
    }

    fn lose_unsynced(&self) {
        self.bus().lose_unsynced().unwrap();
    }

    fn retain(&self, service: &str, keep_from: &[u64]) {
        self.bus().retain(service, keep_from).unwrap();
    }
}

mod memory {
    jumun_bus::conformance!(super::Memory::default());
}

mod embedded_log {
    jumun_bus::conformance!(super::Folder::new(20_000));
}

/// A new segment every few records.
mod embedded_log_in_tiny_segments {
    jumun_bus::conformance!(super::Folder::new(700));
}

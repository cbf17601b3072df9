//! Every adapter passes the same suite.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod homes;

use homes::Folder;
use jumun_database::{MemoryDatabase, Schema, conformance::Home};
use std::sync::OnceLock;

#[derive(Default)]
struct Memory(OnceLock<MemoryDatabase>);

impl Home for Memory {
    type Database = MemoryDatabase;

    fn open(&self, schema: Schema) -> MemoryDatabase {
        self.0.get_or_init(|| MemoryDatabase::new(schema)).clone()
    }
}

mod memory {
    jumun_database::conformance!(super::Memory::default());
}

mod sqlite {
    jumun_database::conformance!(super::Folder::new());
}

#[cfg(feature = "postgres")]
mod postgres {
    jumun_database::conformance!(super::homes::OnServer::new());
}

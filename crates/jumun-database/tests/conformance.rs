//! Every adapter passes the same suite.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use jumun_database::{MemoryDatabase, Schema, SqliteDatabase, conformance::Home};
use std::sync::OnceLock;

#[derive(Default)]
struct Memory(OnceLock<MemoryDatabase>);

impl Home for Memory {
    type Database = MemoryDatabase;

    fn open(&self, schema: Schema) -> MemoryDatabase {
        self.0.get_or_init(|| MemoryDatabase::new(schema)).clone()
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Home for Folder {
    type Database = SqliteDatabase;

    fn open(&self, schema: Schema) -> SqliteDatabase {
        SqliteDatabase::open(&self.0.path().join("data/order.db"), schema).unwrap()
    }
}

mod memory {
    jumun_database::conformance!(super::Memory::default());
}

mod sqlite {
    jumun_database::conformance!(super::Folder::new());
}

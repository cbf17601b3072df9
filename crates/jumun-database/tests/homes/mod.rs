//! Where the databases of tests live.

#![allow(dead_code, reason = "no test needs all of it")]

use jumun_database::{Schema, SqliteDatabase, conformance::Home};

/// A database in a file.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Home for Folder {
    type Database = SqliteDatabase;

    fn open(&self, schema: Schema) -> SqliteDatabase {
        SqliteDatabase::open(&self.0.path().join("data/order.db"), schema).unwrap()
    }
}

#[cfg(feature = "postgres")]
pub(crate) use on_server::OnServer;

#[cfg(feature = "postgres")]
mod on_server {
    use super::{Home, Schema};
    use jumun_database::{PostgresAddress, PostgresDatabase, Uuid};
    use std::{env, sync::Arc};

    /// A schema of its own on the server of this run of the tests.
    pub(crate) struct OnServer(pub(crate) Arc<PostgresAddress>);

    impl OnServer {
        pub(crate) fn new() -> Self {
            let url = env::var("JUMUN_TEST_POSTGRES");
            Self::at(&url.expect("`cargo xtask test` starts a server and sets JUMUN_TEST_POSTGRES"))
        }

        pub(crate) fn at(url: &str) -> Self {
            let address = PostgresAddress::parse(url.strip_prefix("postgres://").unwrap()).unwrap();
            Self(Arc::new(address.in_schema(&format!("test_{}", Uuid::new_v4().simple()))))
        }
    }

    impl Home for OnServer {
        type Database = PostgresDatabase;

        fn open(&self, schema: Schema) -> PostgresDatabase {
            PostgresDatabase::open(&self.0, schema).unwrap()
        }
    }
}

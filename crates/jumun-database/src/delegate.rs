//! Delegation, for adapters made of parts and for test doubles.

/// Implements methods of the ports by those of a field: for adapters made of parts, and for test doubles that change a
/// few methods only.
///
/// ```
/// use jumun_database::{Database, MemoryDatabase, ReadDatabase, RebuildDatabase, delegate};
///
/// struct Double {
///     inner: MemoryDatabase,
/// }
///
/// impl ReadDatabase for Double {
///     delegate!(inner: identity document documents first page scan request_by_key request requests doubts_about due waits_of journal positions);
/// }
/// impl RebuildDatabase for Double {
///     delegate!(inner: rebuild);
/// }
/// impl Database for Double {
///     delegate!(inner: commit next_id purge_requests failure stats close);
/// }
/// ```
///
/// `read`, `rebuild` and `write` mean all methods of a port.
#[macro_export]
macro_rules! delegate {
    ($field:ident: read) => {
        $crate::delegate! { $field:
            identity document documents first page scan request_by_key request requests doubts_about due waits_of journal positions
        }
    };
    ($field:ident: rebuild) => {
        $crate::delegate! { $field:
            clear_shadow write_shadow read_shadow switch_shadows write_next_base keep_bases base scan_base
        }
    };
    ($field:ident: write) => {
        $crate::delegate! { $field:
            commit next_id purge_requests failure stats close
        }
    };
    ($field:ident: $($method:ident)+) => {
        $($crate::delegate!(@ $field $method);)+
    };
    (@ $field:ident identity) => {
        fn identity(&self) -> &$crate::Identity {
            #[allow(unused_imports, reason = "usually in scope already")]
            use $crate::ReadDatabase as _;
            self.$field.identity()
        }
    };
    (@ $field:ident failure) => {
        fn failure(&self) -> Option<$crate::DatabaseFailure> {
            #[allow(unused_imports, reason = "usually in scope already")]
            use $crate::Database as _;
            self.$field.failure()
        }
    };
    (@ $field:ident stats) => {
        fn stats(&self) -> $crate::Stats {
            #[allow(unused_imports, reason = "usually in scope already")]
            use $crate::Database as _;
            self.$field.stats()
        }
    };
    (@ $field:ident document) => {
        $crate::delegate! { $field.ReadDatabase:
            document(collection: &'static str, id: i64) -> Result<Option<$crate::Document>, $crate::ReadError>
        }
    };
    (@ $field:ident documents) => {
        $crate::delegate! { $field.ReadDatabase:
            documents(keys: Vec<(&'static str, i64)>) -> Result<Vec<Option<$crate::Document>>, $crate::ReadError>
        }
    };
    (@ $field:ident first) => {
        $crate::delegate! { $field.ReadDatabase:
            first(lookup: $crate::Lookup) -> Result<Vec<i64>, $crate::ReadError>
        }
    };
    (@ $field:ident page) => {
        $crate::delegate! { $field.ReadDatabase:
            page(query: $crate::Query) -> Result<$crate::Page, $crate::ReadError>
        }
    };
    (@ $field:ident scan) => {
        $crate::delegate! { $field.ReadDatabase:
            scan(collection: &'static str, after: i64, limit: u32) -> Result<Vec<$crate::Document>, $crate::ReadError>
        }
    };
    (@ $field:ident request_by_key) => {
        $crate::delegate! { $field.ReadDatabase:
            request_by_key(key: &str) -> Result<Option<$crate::Request>, $crate::ReadError>
        }
    };
    (@ $field:ident request) => {
        $crate::delegate! { $field.ReadDatabase:
            request(id: $crate::Uuid) -> Result<Option<$crate::Request>, $crate::ReadError>
        }
    };
    (@ $field:ident requests) => {
        $crate::delegate! { $field.ReadDatabase:
            requests(filter: $crate::RequestFilter) -> Result<Vec<$crate::Request>, $crate::ReadError>
        }
    };
    (@ $field:ident doubts_about) => {
        $crate::delegate! { $field.ReadDatabase:
            doubts_about(subject: i64) -> Result<Vec<$crate::Request>, $crate::ReadError>
        }
    };
    (@ $field:ident due) => {
        $crate::delegate! { $field.ReadDatabase:
            due(until_ms: i64, limit: u32) -> Result<Vec<$crate::Waiting>, $crate::ReadError>
        }
    };
    (@ $field:ident waits_of) => {
        $crate::delegate! { $field.ReadDatabase:
            waits_of(id: i64) -> Result<Vec<$crate::Waiting>, $crate::ReadError>
        }
    };
    (@ $field:ident journal) => {
        $crate::delegate! { $field.ReadDatabase:
            journal(partition: u16, after: u64, limit: u32) -> Result<Vec<$crate::JournalRecord>, $crate::ReadError>
        }
    };
    (@ $field:ident positions) => {
        $crate::delegate! { $field.ReadDatabase:
            positions() -> Result<Vec<$crate::Position>, $crate::ReadError>
        }
    };
    (@ $field:ident clear_shadow) => {
        $crate::delegate! { $field.RebuildDatabase:
            clear_shadow(collection: &'static str) -> Result<bool, $crate::CommitError>
        }
    };
    (@ $field:ident write_shadow) => {
        $crate::delegate! { $field.RebuildDatabase:
            write_shadow(collection: &'static str, documents: Vec<$crate::Document>) -> Result<(), $crate::CommitError>
        }
    };
    (@ $field:ident read_shadow) => {
        $crate::delegate! { $field.RebuildDatabase:
            read_shadow(collection: &'static str, ids: Vec<i64>) -> Result<Vec<$crate::Document>, $crate::ReadError>
        }
    };
    (@ $field:ident switch_shadows) => {
        $crate::delegate! { $field.RebuildDatabase:
            switch_shadows(collections: Vec<&'static str>, positions: Vec<$crate::Position>) -> Result<(), $crate::CommitError>
        }
    };
    (@ $field:ident write_next_base) => {
        $crate::delegate! { $field.RebuildDatabase:
            write_next_base(collection: &'static str, documents: Vec<$crate::Document>) -> Result<(), $crate::CommitError>
        }
    };
    (@ $field:ident keep_bases) => {
        $crate::delegate! { $field.RebuildDatabase:
            keep_bases(collections: Vec<&'static str>, positions: Vec<$crate::Position>) -> Result<(), $crate::CommitError>
        }
    };
    (@ $field:ident base) => {
        $crate::delegate! { $field.RebuildDatabase:
            base(collection: &'static str) -> Result<Option<Vec<$crate::Position>>, $crate::ReadError>
        }
    };
    (@ $field:ident scan_base) => {
        $crate::delegate! { $field.RebuildDatabase:
            scan_base(collection: &'static str, after: i64, limit: u32) -> Result<Vec<$crate::Document>, $crate::ReadError>
        }
    };
    (@ $field:ident commit) => {
        $crate::delegate! { $field.Database:
            commit(changes: $crate::Changes) -> Result<$crate::Receipt, $crate::CommitError>
        }
    };
    (@ $field:ident next_id) => {
        $crate::delegate! { $field.Database:
            next_id(collection: &'static str) -> Result<i64, $crate::ReadError>
        }
    };
    (@ $field:ident purge_requests) => {
        $crate::delegate! { $field.Database:
            purge_requests(before_ms: i64, keep_at_most: u64) -> Result<u64, $crate::CommitError>
        }
    };
    (@ $field:ident close) => {
        $crate::delegate! { $field.Database:
            close() -> ()
        }
    };
    ($field:ident.$Port:ident: $method:ident($($argument:ident: $Type:ty),*) -> $Result:ty) => {
        fn $method(&self, $($argument: $Type),*) -> $crate::BoxFuture<'_, $Result> {
            #[allow(unused_imports, reason = "usually in scope already")]
            use $crate::$Port as _;
            self.$field.$method($($argument),*)
        }
    };
}

//! The address of a database: its scheme chooses the adapter, so that nothing above this crate names one.

#[cfg(feature = "postgres")]
use crate::postgres::{PostgresAddress, PostgresDatabase, PostgresReader};
use crate::{Database, OpenError, ReadDatabase, Schema, SqliteDatabase, SqliteReader};
use jumun_config::{BackendUrl, Schemes, UrlError, settings_by_text};
use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

const SCHEMES: Schemes = Schemes {
    #[cfg(feature = "postgres")]
    built: &["sqlite", "postgres", "postgresql"],
    #[cfg(not(feature = "postgres"))]
    built: &["sqlite"],
    by_feature: &[("postgres", "postgres"), ("postgresql", "postgres"), ("mysql", "mysql"), ("redb", "redb")],
    #[cfg(feature = "postgres")]
    example: "sqlite://path or postgres://user:password@host/database",
    #[cfg(not(feature = "postgres"))]
    example: "sqlite://path",
};

/// The address of a database: `sqlite://path`, `postgres://user:password@host/database`. `Display` and `Debug` never show a
/// password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DatabaseUrl(Target);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Target {
    Sqlite(PathBuf),
    #[cfg(feature = "postgres")]
    Postgres(Arc<PostgresAddress>),
}

impl DatabaseUrl {
    /// The embedded database in this file: what a service has without any configuration.
    pub fn embedded(file: impl Into<PathBuf>) -> Self {
        Self(Target::Sqlite(file.into()))
    }

    /// The file of an embedded database; None for a database that is a server.
    pub fn file(&self) -> Option<&Path> {
        match &self.0 {
            Target::Sqlite(file) => Some(file),
            #[cfg(feature = "postgres")]
            Target::Postgres(_) => None,
        }
    }

    /// The same database, in a schema of this name: services that share a server each have one of their own. An address that
    /// names a schema keeps it, and a file has none.
    #[must_use]
    pub fn in_schema(self, name: &str) -> Self {
        match self.0 {
            Target::Sqlite(_) => {
                let _ = name; // a file has no schemas
                self
            }
            #[cfg(feature = "postgres")]
            Target::Postgres(address) => {
                Self(Target::Postgres(Arc::new(Arc::unwrap_or_clone(address).in_schema(name))))
            }
        }
    }

    /// Opens the database for its service, or creates it. Blocks.
    ///
    /// # Errors
    /// Where it is of no use to this service; it is unchanged then.
    pub fn open(&self, schema: Schema) -> Result<Arc<dyn Database>, OpenError> {
        match &self.0 {
            Target::Sqlite(file) => Ok(Arc::new(SqliteDatabase::open(file, schema)?)),
            #[cfg(feature = "postgres")]
            Target::Postgres(address) => Ok(Arc::new(PostgresDatabase::open(address, schema)?)),
        }
    }

    /// Checks that there is a database. An embedded one would be created where there is none.
    ///
    /// # Errors
    /// [`OpenError::Missing`].
    pub fn require(&self) -> Result<(), OpenError> {
        match &self.0 {
            Target::Sqlite(file) if !file.exists() => Err(OpenError::Missing { path: file.display().to_string() }),
            Target::Sqlite(_) => Ok(()),
            #[cfg(feature = "postgres")]
            Target::Postgres(address) => match PostgresReader::open(address) {
                Err(missing @ OpenError::Missing { .. }) => Err(missing),
                _ => Ok(()), // whatever else is wrong is said by who opens it
            },
        }
    }

    /// Opens the database for reading, beside the service that uses it, or while that is stopped. Blocks.
    ///
    /// # Errors
    /// [`OpenError::Missing`] where its service has not created it yet, and the like.
    pub fn open_reader(&self) -> Result<Arc<dyn ReadDatabase>, OpenError> {
        match &self.0 {
            Target::Sqlite(file) => Ok(Arc::new(SqliteReader::open(file)?)),
            #[cfg(feature = "postgres")]
            Target::Postgres(address) => Ok(Arc::new(PostgresReader::open(address)?)),
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let url = BackendUrl::parse(text, &SCHEMES)?;
        match url.scheme() {
            #[cfg(feature = "postgres")]
            "postgres" | "postgresql" => match PostgresAddress::parse(url.rest()) {
                Ok(address) => Ok(Self(Target::Postgres(Arc::new(address)))),
                Err(why) => Err(UrlError::Invalid { url: url.to_string(), why }),
            },
            _ => Ok(Self(Target::Sqlite(url.rest().into()))),
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Target::Sqlite(file) => write!(f, "sqlite://{}", file.display()),
            #[cfg(feature = "postgres")]
            Target::Postgres(address) => fmt::Display::fmt(address, f),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

settings_by_text!(DatabaseUrl: "url");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Changes, Sharing};

    fn schema() -> Schema {
        Schema { service: "order".to_owned(), partitions: 1, collections: vec![] }
    }

    #[test]
    fn an_address_is_written_as_it_is_read() {
        for text in ["sqlite:///data/order.db", "sqlite://data/a:b@c.db"] {
            let url: DatabaseUrl = text.parse().expect("an address");
            assert_eq!((url.to_string(), url.file()), (text.to_owned(), text.strip_prefix("sqlite://").map(Path::new)));
        }
        assert_eq!(DatabaseUrl::embedded("a.db"), "sqlite://a.db".parse().expect("an address"));
        let error = "oracle://kim:s3cret@h".parse::<DatabaseUrl>().expect_err("no such engine").to_string();
        assert!(error.contains("sqlite://path") && !error.contains("s3cret"), "{error}");
        let server = "postgres://kim:s3cret@h/shop".parse::<DatabaseUrl>();
        let told = server.map_or_else(|error| error.to_string(), |url| url.to_string());
        let expected = if cfg!(feature = "postgres") { "kim:***@h" } else { "feature `postgres`" };
        assert!(told.contains(expected) && !told.contains("s3cret"), "{told}");
    }

    #[tokio::test]
    async fn whoever_has_the_address_opens_and_reads_the_database() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = DatabaseUrl::embedded(folder.path().join("order.db"));
        assert!(matches!(url.open_reader().err(), Some(OpenError::Missing { .. })));
        let database = url.open(schema()).expect("a database");
        database.commit(Changes::default()).await.expect("a commit");
        let reader = url.open_reader().expect("a reader");
        assert_eq!(reader.identity(), database.identity());
        assert_eq!((reader.identity().service.as_str(), reader.identity().sharing), ("order", Sharing::OneProcess));
        database.close().await;
    }
}

//! The address of a bus: its scheme chooses the adapter, so that nothing above this crate names one.

use crate::{Bus, BusError, EmbeddedLog};
use jumun_config::{BackendUrl, Schemes, UrlError, settings_by_text};
use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

const SCHEMES: Schemes = Schemes { built: &["log"], by_feature: &[("kafka", "kafka")], example: "log://path" };

/// The address of a bus: `log://path`. `Display` and `Debug` never show a password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BusUrl(Target);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Target {
    Log(PathBuf),
}

/// How a bus is opened for publishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BusOptions {
    /// A part of a log takes no event that happened this long after its first one. Retention deletes whole parts, and a
    /// small shop may need months to fill one.
    pub segment_max_age: Option<Duration>,
}

impl BusUrl {
    /// The embedded log in this folder: what a system has without any configuration.
    pub fn embedded(folder: impl Into<PathBuf>) -> Self {
        Self(Target::Log(folder.into()))
    }

    /// The folder of an embedded log; None for a bus that is a server.
    pub fn folder(&self) -> Option<&Path> {
        match &self.0 {
            Target::Log(folder) => Some(folder),
        }
    }

    /// Opens the bus for publishing and reading, or creates it. Blocks.
    ///
    /// # Errors
    /// [`BusError::Unavailable`].
    pub fn open(&self, options: BusOptions) -> Result<Arc<dyn Bus>, BusError> {
        match &self.0 {
            Target::Log(folder) => {
                let log = EmbeddedLog::open(folder)?;
                Ok(Arc::new(options.segment_max_age.map_or(log.clone(), |age| log.with_segments_for(age))))
            }
        }
    }

    /// Opens the bus for reading; it creates nothing. Blocks.
    ///
    /// # Errors
    /// [`BusError::Missing`] where no service has created it yet, and [`BusError::Unavailable`].
    pub fn open_reader(&self) -> Result<Arc<dyn Bus>, BusError> {
        match &self.0 {
            Target::Log(folder) => Ok(Arc::new(EmbeddedLog::open_existing(folder)?)),
        }
    }
}

impl FromStr for BusUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let url = BackendUrl::parse(text, &SCHEMES)?;
        Ok(Self(Target::Log(url.rest().into())))
    }
}

impl fmt::Display for BusUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Target::Log(folder) => write!(f, "log://{}", folder.display()),
        }
    }
}

impl fmt::Debug for BusUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

settings_by_text!(BusUrl: "url");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Source, Wants};
    use uuid::Uuid;

    #[test]
    fn an_address_is_written_as_it_is_read() {
        let url: BusUrl = "log://data/bus".parse().expect("an address");
        assert_eq!((url.to_string(), url.folder()), ("log://data/bus".to_owned(), Some(Path::new("data/bus"))));
        assert_eq!(BusUrl::embedded("data/bus"), url);
        for (text, named) in [("carrier-pigeon://coop", "log://path"), ("kafka://kim:s3cret@h", "feature `kafka`")] {
            let error = text.parse::<BusUrl>().expect_err(text).to_string();
            assert!(error.contains(named) && !error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn a_reader_creates_nothing() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("bus");
        let url = BusUrl::embedded(&folder);
        assert_eq!(url.open_reader().err().map(|error| error.code()), Some("bus-missing"));
        assert!(!folder.exists());
        let bus = url.open(BusOptions { segment_max_age: Some(Duration::from_secs(1)) }).expect("a bus");
        let source = Source { service: "order".to_owned(), epoch: Uuid::from_u128(7), partitions: 1 };
        drop(bus.publisher(&source).expect("a publisher"));
        let reader = url.open_reader().expect("a reader");
        assert_eq!(reader.sources().expect("sources"), [source]);
        assert!(reader.subscribe(&[], Wants::All).is_ok());
    }
}

//! What a system knows of the databases that its services have made.
//!
//! The ids of orders and the numbers of events begin with a database. If one is lost, and a service began with an empty one,
//! the others would take new orders for old ones: a payment would answer that the order was paid for already. So a service
//! notes the epoch of its database in the data folder of the system (`epochs/<service>`), and makes no second one. Where
//! there is no such note, the log of the service on the bus says so: earlier releases wrote none. And what other services have
//! applied of its events, they say in their databases: one that has not made these events is not the newest.
//!
//! A service that has views only owns nothing: it may begin again at any time, and fills its views from the log.

use crate::{config::Config, error::HostError};
use jumun::{ServiceModel, SystemModel};
use jumun_bus::{Bus, BusError, Source};
use jumun_database::{
    BoxFuture, Database, Document, Identity, JournalRecord, Lookup, OpenError, Page, Position, Query, ReadDatabase,
    ReadError, ReadFuture, Request, RequestFilter, Uuid, Waiting,
};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
};

/// The database that a service made first.
pub(crate) struct Known {
    note: PathBuf,
    epoch: Option<Uuid>,
    was_noted: bool,
    /// Its log, wherever the bus is.
    log: Result<Option<Source>, BusError>,
    /// Whether the bus is in the data folder. One elsewhere may be that of another system.
    is_own_bus: bool,
    has_views_only: bool,
}

/// What another service has applied of this one.
pub(crate) struct Applied {
    consumer: &'static str,
    position: Position,
}

impl Known {
    pub(crate) fn of(service: &ServiceModel, config: &Config) -> Self {
        let note = config.folder.join("epochs").join(service.name);
        let noted = fs::read_to_string(&note).ok();
        let is_own_bus = config.bus.folder().is_some_and(|bus| bus.starts_with(&config.folder));
        let was_noted = noted.is_some();
        let log = match config.bus.open_reader().and_then(|bus| bus.source(service.name)) {
            Err(BusError::Missing { .. }) => Ok(None),
            found => found,
        };
        let on_bus = || log.as_ref().ok()?.as_ref().filter(|_| is_own_bus).map(|source| source.epoch);
        let epoch = noted.and_then(|text| text.trim().parse().ok()).or_else(on_bus);
        let has_views_only = service.resources.iter().all(|resource| resource.is_view);
        Self { note, epoch, was_noted, log, is_own_bus, has_views_only }
    }

    /// Refuses to begin with an empty database where there was one, or where that cannot be told. A service that has views
    /// only may: then nothing is known of its database any more.
    pub(crate) fn check_is_there(
        &mut self,
        service: &str,
        config: &Config,
        applied: &[Applied],
    ) -> Result<(), HostError> {
        if !matches!(config.services[service].database.open_reader().err(), Some(OpenError::Missing { .. })) {
            return Ok(());
        }
        if self.has_views_only {
            self.epoch = None;
            return Ok(());
        }
        // The log first: a view that has begun again has applied it, too, and knows no more than it does.
        self.check_was_not(service, config)?;
        if applied.is_empty() { Ok(()) } else { Err(self.lost(service, config)) }
    }

    /// Refuses a database that has not made the events which other services have applied. The log on the bus may be as old as
    /// the database, or not there.
    pub(crate) async fn check_has_made(
        &self,
        applied: &[Applied],
        database: &dyn Database,
        config: &Config,
    ) -> Result<(), HostError> {
        let identity = database.identity();
        for Applied { consumer, position: Position { partition, epoch, sequence, .. } } in applied {
            if *epoch != identity.epoch {
                match self.epoch {
                    Some(_) => continue, // the database of the consumer is the wrong one
                    None => return Err(self.replaced(identity, *epoch, config)),
                }
            }
            let Some(before) = sequence.checked_sub(1) else { continue };
            let path = || path(&identity.service, config);
            let unusable = |error: ReadError| OpenError::Unusable { path: path(), why: error.to_string() };
            if database.journal(*partition, before, 1).await.map_err(unusable)?.is_empty() {
                let service = identity.service.clone();
                return Err(HostError::Behind { path: path(), service, consumer, applied: *sequence });
            }
        }
        Ok(())
    }

    /// Refuses a database that is missing, unless there was none.
    fn check_was_not(&self, service: &str, config: &Config) -> Result<(), HostError> {
        match &self.log {
            _ if self.was_noted => Err(self.lost(service, config)),
            Ok(None) => Ok(()),
            Ok(Some(_)) | Err(BusError::Damaged { .. }) if self.is_own_bus => Err(self.lost(service, config)),
            Ok(Some(_)) | Err(BusError::Damaged { .. }) => Err(HostError::LogOnly {
                path: path(service, config),
                service: service.to_owned(),
                bus: config.bus.to_string(),
            }),
            Err(error) => Err(error.clone().into()),
        }
    }

    fn lost(&self, service: &str, config: &Config) -> HostError {
        let path = path(service, config);
        HostError::Lost { path, service: service.to_owned(), has_views_only: self.has_views_only }
    }

    /// What an error of opening the database means for its service.
    pub(crate) fn open_error(&self, error: OpenError) -> HostError {
        match error {
            OpenError::Damaged { .. } if self.has_views_only => HostError::DamagedViews(error),
            error => error.into(),
        }
    }

    /// Refuses another database than the one that was there.
    pub(crate) fn check_is_same(&self, identity: &Identity, config: &Config) -> Result<(), HostError> {
        match self.epoch {
            Some(wanted) if wanted != identity.epoch => Err(self.replaced(identity, wanted, config)),
            _ => Ok(()),
        }
    }

    fn replaced(&self, identity: &Identity, wanted: Uuid, config: &Config) -> HostError {
        HostError::Replaced {
            path: path(&identity.service, config),
            service: identity.service.clone(),
            found: identity.epoch,
            wanted,
            has_views_only: self.has_views_only,
        }
    }

    /// Notes the database of a service, unless its relay is about to refuse it for its log on the bus. The note outlives a
    /// power cut. In a data folder that cannot be written, where database and bus are elsewhere, it is left out, as the control
    /// socket is.
    pub(crate) fn note(&self, identity: &Identity) -> Result<(), HostError> {
        let is_of_log = |log: &Option<Source>| log.as_ref().is_none_or(|source| source.epoch == identity.epoch);
        if !self.log.as_ref().is_ok_and(is_of_log) {
            return Ok(());
        }
        let text = format!("{}\n", identity.epoch);
        if fs::read_to_string(&self.note).is_ok_and(|noted| noted == text) {
            return Ok(());
        }
        let next = self.note.with_extension("next");
        let folder = self.note.parent().unwrap_or(&self.note);
        let written = fs::create_dir_all(folder).and_then(|()| {
            let mut file = File::create(&next)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&next, &self.note)?;
            File::open(folder)?.sync_all()
        });
        let unusable =
            |error: io::Error| OpenError::Unusable { path: self.note.display().to_string(), why: error.to_string() };
        match written {
            Err(error) if is_unwritable(&error) => {
                let note = self.note.display();
                tracing::warn!(%error, %note, "the database is not noted; one that is lost or replaced may go unnoticed");
                Ok(())
            }
            written => Ok(written.map_err(unusable)?),
        }
    }
}

/// Whether it is the folder that nothing can be written into, and not the disk that has failed.
fn is_unwritable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotADirectory
    )
}

/// What other services have applied of this one. A database that cannot be read now says nothing: its own service says why.
pub(crate) async fn applied(service: &str, system: &SystemModel, config: &Config) -> Vec<Applied> {
    let mut applied = Vec::new();
    let hears =
        |other: &&ServiceModel| other.name != service && other.listens.iter().any(|event| event.source == service);
    for consumer in system.services.iter().filter(hears) {
        let Ok(reader) = config.services[consumer.name].database.open_reader() else { continue };
        let positions = reader.positions().await.unwrap_or_default();
        let of_this = positions.into_iter().filter(|position| position.source == service);
        applied.extend(of_this.map(|position| Applied { consumer: consumer.name, position }));
    }
    applied
}

fn path(service: &str, config: &Config) -> String {
    let url = &config.services[service].database;
    url.file().map_or_else(|| url.to_string(), |file| file.display().to_string())
}

/// Opens the databases of all services of a system for reading. A service that has never run has none. That it has, the others
/// know who have applied its events, even if nothing else was kept.
///
/// # Errors
/// [`HostError::Lost`] and [`HostError::Replaced`] where a database is not what its service has made, [`HostError::Database`]
/// where one cannot be read, or none of them is there.
pub async fn open_readers(
    system: &SystemModel,
    config: &Config,
) -> Result<BTreeMap<String, Arc<dyn ReadDatabase>>, HostError> {
    let mut readers = BTreeMap::<_, Arc<dyn ReadDatabase>>::new();
    let (mut missing, mut unknown) = (None, BTreeMap::new());
    for service in &system.services {
        let known = Known::of(service, config);
        let file = path(service.name, config);
        match config.services[service.name].database.open_reader() {
            Ok(reader) => {
                let found = &reader.identity().service;
                if found != service.name {
                    let why = format!("it belongs to the service `{found}`, not to `{}`", service.name);
                    return Err(OpenError::Foreign { path: file, why }.into());
                }
                known.check_is_same(reader.identity(), config)?;
                readers.insert(service.name, Arc::new(NamedReader { reader, file }));
            }
            Err(error @ OpenError::Missing { .. }) => {
                known.check_was_not(service.name, config)?;
                missing = Some(error);
            }
            Err(error) => return Err(known.open_error(error)),
        }
        if known.epoch.is_none() {
            unknown.insert(service.name, known);
        }
    }
    for reader in readers.values() {
        // Where its positions cannot be read, the command says why when it reads it.
        for Position { source, epoch, .. } in reader.positions().await.unwrap_or_default() {
            let Some(known) = unknown.get(&*source) else { continue };
            match readers.get(&*source).map(|found| found.identity()) {
                None => return Err(known.lost(&source, config)),
                Some(identity) if identity.epoch != epoch => return Err(known.replaced(identity, epoch, config)),
                Some(_) => {}
            }
        }
    }
    match missing {
        Some(error) if readers.is_empty() => Err(error.into()),
        _ => Ok(readers.into_iter().map(|(service, reader)| (service.to_owned(), reader)).collect()),
    }
}

/// Opens the bus of a system for reading.
///
/// # Errors
/// [`BusError::Missing`] where there is none, or no log of a service that has run and publishes; and others where the bus
/// cannot be read.
pub fn open_bus_reader(system: &SystemModel, config: &Config) -> Result<Arc<dyn Bus>, BusError> {
    let bus = config.bus.open_reader()?;
    let sources = bus.sources()?;
    let has_log = |service: &&ServiceModel| sources.iter().any(|source| source.service == service.name);
    let mut publishers = system.services.iter().filter(|service| !service.publishes.is_empty());
    match publishers.find(|service| !has_log(service) && Known::of(service, config).was_noted) {
        None => Ok(bus),
        Some(service) => {
            let folder = config.bus.folder().map(|folder| folder.join(service.name).display().to_string());
            Err(BusError::Missing { path: folder.unwrap_or_else(|| config.bus.to_string()) })
        }
    }
}

/// A database whose errors name its file: one of several that a command reads.
struct NamedReader {
    reader: Arc<dyn ReadDatabase>,
    file: String,
}

impl NamedReader {
    fn name<'a, T: 'a>(&'a self, read: ReadFuture<'a, T>) -> BoxFuture<'a, Result<T, ReadError>> {
        let name = |error| match error {
            ReadError::Unavailable(why) => ReadError::Unavailable(format!("{}: {why}", self.file)),
            error @ (ReadError::TooLong | ReadError::Failed(_)) => error,
        };
        Box::pin(async move { read.await.map_err(name) })
    }
}

impl ReadDatabase for NamedReader {
    fn identity(&self) -> &Identity {
        self.reader.identity()
    }

    fn document(&self, collection: &'static str, id: i64) -> ReadFuture<'_, Option<Document>> {
        self.name(self.reader.document(collection, id))
    }

    fn documents(&self, keys: Vec<(&'static str, i64)>) -> ReadFuture<'_, Vec<Option<Document>>> {
        self.name(self.reader.documents(keys))
    }

    fn first(&self, lookup: Lookup) -> ReadFuture<'_, Vec<i64>> {
        self.name(self.reader.first(lookup))
    }

    fn page(&self, query: Query) -> ReadFuture<'_, Page> {
        self.name(self.reader.page(query))
    }

    fn scan(&self, collection: &'static str, after: i64, limit: u32) -> ReadFuture<'_, Vec<Document>> {
        self.name(self.reader.scan(collection, after, limit))
    }

    fn request_by_key(&self, key: &str) -> ReadFuture<'_, Option<Request>> {
        self.name(self.reader.request_by_key(key))
    }

    fn request(&self, id: Uuid) -> ReadFuture<'_, Option<Request>> {
        self.name(self.reader.request(id))
    }

    fn requests(&self, filter: RequestFilter) -> ReadFuture<'_, Vec<Request>> {
        self.name(self.reader.requests(filter))
    }

    fn doubts_about(&self, subject: i64) -> ReadFuture<'_, Vec<Request>> {
        self.name(self.reader.doubts_about(subject))
    }

    fn due(&self, until_ms: i64, limit: u32) -> ReadFuture<'_, Vec<Waiting>> {
        self.name(self.reader.due(until_ms, limit))
    }

    fn waits_of(&self, id: i64) -> ReadFuture<'_, Vec<Waiting>> {
        self.name(self.reader.waits_of(id))
    }

    fn journal(&self, partition: u16, after: u64, limit: u32) -> ReadFuture<'_, Vec<JournalRecord>> {
        self.name(self.reader.journal(partition, after, limit))
    }

    fn positions(&self) -> ReadFuture<'_, Vec<Position>> {
        self.name(self.reader.positions())
    }
}

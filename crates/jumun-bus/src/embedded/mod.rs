//! A bus of files in a folder, shared by all processes of one machine.
//!
//! Each source has a folder with its log in segments ([`mod@format`]). The process that holds the lock writes it
//! ([`publisher`]). All processes read it without a lock and without contact to the writer ([`cursor`],
//! [`subscription`]). What makes that safe:
//!
//! * A segment only grows. Bytes that a reader found valid change only by a power cut and what follows from it. Then
//!   the checksum before the reader's offset differs (see [`mod@format`]), and the reader starts again by its numbers.
//! * A record counts from the moment its checksum is right. Before that, there is none yet.
//! * The publisher syncs a segment and records that in the mark before it creates the next one. So unsynced bytes are
//!   at the end of the newest segment, and an older segment that cannot be read is damaged.
//! * The mark never says more than what is on the disk ([`mark`]).
//! * A log that is damaged is set aside as a whole, and its source writes it again ([`check`]).

mod check;
mod cursor;
mod end;
mod files;
mod format;
mod mark;
mod publisher;
mod retention;
mod subscription;

use crate::{Bus, BusError, Position, Publisher, Released, Source, Subscription, Wants, limits, rules};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

/// A bus of files in a folder.
#[derive(Debug, Clone)]
pub struct EmbeddedLog {
    folder: PathBuf,
    segment_max_bytes: u64,
    segment_max_age: Option<Duration>,
}

impl EmbeddedLog {
    /// The bus in this folder; creates the folder where it is missing.
    ///
    /// # Errors
    /// [`BusError::Unavailable`] where there can be no such folder.
    pub fn open(folder: &Path) -> Result<Self, BusError> {
        Self::with_segments_of(folder, limits::SEGMENT_MAX_BYTES)
    }

    /// The bus in this folder, for reading: it creates nothing.
    ///
    /// # Errors
    /// [`BusError::Missing`] where there is no such folder.
    pub fn open_existing(folder: &Path) -> Result<Self, BusError> {
        if !folder.is_dir() {
            return Err(BusError::Missing { path: folder.display().to_string() });
        }
        let segment_max_bytes = limits::SEGMENT_MAX_BYTES;
        Ok(Self { folder: folder.to_owned(), segment_max_bytes, segment_max_age: None })
    }

    /// The same with segments of another size, in bytes. It matters to publishers only, and may change at any time.
    ///
    /// # Errors
    /// As [`EmbeddedLog::open`].
    pub fn with_segments_of(folder: &Path, segment_max_bytes: u64) -> Result<Self, BusError> {
        fs::create_dir_all(folder).map_err(|error| files::unavailable(folder, &error))?;
        Ok(Self { folder: folder.to_owned(), segment_max_bytes, segment_max_age: None })
    }

    /// The same with segments that take no event which happened this long after their first one. Retention deletes only
    /// whole segments, and a small shop may need months to fill one. It matters to publishers only.
    #[must_use]
    pub fn with_segments_for(self, segment_max_age: Duration) -> Self {
        Self { segment_max_age: Some(segment_max_age), ..self }
    }

    /// Deletes the segments that lie wholly before these numbers, one for each partition; the newest one stays. Returns
    /// the number of segments deleted. Without this the log is kept whole. A reader further back gets
    /// [`BusError::Gone`].
    ///
    /// # Errors
    /// [`BusError::Unavailable`], and [`BusError::Damaged`] where a segment cannot be read.
    pub fn retain(&self, service: &str, keep_from: &[u64]) -> Result<usize, BusError> {
        rules::check_service(service)?;
        let folder = self.folder.join(service);
        let Some(mark) = mark::read(&folder)? else { return Ok(0) };
        let segments = files::segments(&folder)?;
        let mut deleted = 0;
        for pair in segments.windows(2) {
            let (old, next) = (files::segment(&folder, pair[0]), files::segment(&folder, pair[1]));
            let Some(file) = files::open(&next)? else { break };
            let Ok((header, ..)) = files::header(&file, &next)? else {
                // The newest one may be in the making.
                return if segments.last() == Some(&pair[1]) {
                    Ok(deleted)
                } else {
                    Err(files::damaged(&next, 0, "the header of a segment cannot be read"))
                };
            };
            let kept =
                |(partition, before): (usize, &u64)| keep_from.get(partition).copied().unwrap_or_default() <= *before;
            // The mark is where the publisher begins to look when it starts.
            if pair[0] >= mark.segment || header.before.iter().enumerate().any(kept) {
                break;
            }
            files::note_cut(&folder, pair[1])?;
            match fs::remove_file(&old) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(files::unavailable(&old, &error)),
                _ => deleted += 1,
            }
        }
        Ok(deleted)
    }

    /// The file and the offset in it, in bytes, up to which the log of a service outlives a power cut; None where there
    /// is no log. Later files may be lost as a whole.
    ///
    /// # Errors
    /// [`BusError::Unavailable`].
    pub fn synced_to(&self, service: &str) -> Result<Option<(PathBuf, u64)>, BusError> {
        rules::check_service(service)?;
        let folder = self.folder.join(service);
        Ok(mark::read(&folder)?.map(|mark| (files::segment(&folder, mark.segment), mark.end.offset)))
    }

    /// For tests and drills: takes from all logs what a power cut may take at most.
    ///
    /// # Errors
    /// [`BusError::InUse`] where a process publishes; [`BusError::Unavailable`].
    pub fn lose_unsynced(&self) -> Result<(), BusError> {
        for source in self.sources()? {
            let folder = self.folder.join(&source.service);
            let _lock = files::lock(&folder, &source.service)?;
            let Some(mark) = mark::read(&folder)? else { continue };
            for first in files::segments(&folder)? {
                let path = files::segment(&folder, first);
                let failed = |error| files::unavailable(&path, &error);
                if first < mark.segment {
                    continue;
                }
                let gone = first > mark.segment || first == mark.end.ordinal;
                let file = File::options().write(true).open(&path).map_err(failed)?;
                // Deleted files are truncated as well: a process that has one open sees the loss at once.
                file.set_len(if gone { 0 } else { mark.end.offset }).map_err(failed)?;
                if gone {
                    fs::remove_file(&path).map_err(failed)?;
                }
            }
        }
        Ok(())
    }
}

impl Bus for EmbeddedLog {
    fn publisher(&self, source: &Source) -> Result<Box<dyn Publisher>, BusError> {
        rules::check_source(source)?;
        Ok(Box::new(publisher::LogPublisher::open(&self.folder, source, self.segment_max_bytes, self.segment_max_age)?))
    }

    fn reached(&self, source: &Source) -> Result<Vec<u64>, BusError> {
        rules::check_source(source)?;
        check::reached(&self.folder.join(&source.service), source)
    }

    fn set_aside(&self, source: &Source) -> Result<String, BusError> {
        rules::check_source(source)?;
        files::set_aside(&self.folder, &source.service)
    }

    fn subscribe(&self, from: &[Position], wants: Wants) -> Result<Box<dyn Subscription>, BusError> {
        Ok(Box::new(subscription::LogSubscription::new(&self.folder, from, wants)?))
    }

    fn source(&self, service: &str) -> Result<Option<Source>, BusError> {
        rules::check_service(service)?;
        let folder = self.folder.join(service);
        match mark::read(&folder)? {
            Some(mark) => {
                Ok(Some(Source { service: service.to_owned(), epoch: mark.epoch, partitions: mark.partitions() }))
            }
            None if files::segments(&folder)?.is_empty() => Ok(None),
            None => Err(mark::missing(&folder)),
        }
    }

    fn sources(&self) -> Result<Vec<Source>, BusError> {
        let failed = |error| files::unavailable(&self.folder, &error);
        let mut sources = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(service) = entry.file_name().into_string() else { continue };
            if rules::check_service(&service).is_ok() {
                sources.extend(self.source(&service)?);
            }
        }
        sources.sort_unstable_by(|a, b| a.service.cmp(&b.service));
        Ok(sources)
    }

    fn kept_from(&self, service: &str) -> Result<Vec<u64>, BusError> {
        retention::keep_since(&self.folder, service, i64::MIN)
    }

    fn keep_since(&self, service: &str, since_ms: i64) -> Result<Vec<u64>, BusError> {
        retention::keep_since(&self.folder, service, since_ms)
    }

    fn release(&self, service: &str, consumer: &str, released: &Released) -> Result<(), BusError> {
        retention::release(&self.folder, service, consumer, released)
    }

    fn released(&self, service: &str, consumer: &str) -> Result<Option<Released>, BusError> {
        retention::released(&self.folder, service, consumer)
    }

    fn retain_since(&self, service: &str, since_ms: i64, consumers: &BTreeSet<String>) -> Result<usize, BusError> {
        rules::check_service(service)?;
        let Some(mark) = mark::read(&self.folder.join(service))? else { return Ok(0) };
        let keep_from = rules::keep_from(self, service, mark.epoch, since_ms, consumers)?;
        keep_from.map_or(Ok(0), |keep_from| self.retain(service, &keep_from))
    }
}

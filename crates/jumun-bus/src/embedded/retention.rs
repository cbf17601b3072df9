//! Which part of a log may go: what is old, and what none of those needs any more who listen to it.
//!
//! A consumer says what it needs no more in a file beside the log, `needed/<consumer>.json`, after that is durable where it
//! keeps its places. So what the file says may be less than what is true, never more, and a crash between the two costs
//! nothing but the room. Whoever has said nothing needs everything.

use super::{
    cursor::{Cursor, Opened},
    files::{self, damaged, unavailable},
    last_frame, mark,
};
use crate::{BusError, EmbeddedLog, limits, rules};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};
use uuid::Uuid;

/// What a consumer of a log needs no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Released {
    /// The epoch of the log.
    pub epoch: Uuid,
    /// By partition, the last number that it needs no more; 0, or nothing, for none.
    pub up_to: Vec<u64>,
}

impl EmbeddedLog {
    /// Writes down what a consumer of this service needs no more. Outlives a power cut.
    ///
    /// # Errors
    /// [`BusError::Unavailable`]; what was written down before stands.
    pub fn release(&self, service: &str, consumer: &str, released: &Released) -> Result<(), BusError> {
        let path = self.released_by(service, consumer)?;
        let folder = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder).map_err(|error| unavailable(folder, &error))?;
        let next = path.with_extension("next");
        let text = serde_json::to_vec(released).unwrap_or_default();
        File::create(&next)
            .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
            .map_err(|error| unavailable(&next, &error))?;
        fs::rename(&next, &path).map_err(|error| unavailable(&path, &error))?;
        files::sync_folder(folder)
    }

    /// What a consumer has written down; None where it has not.
    ///
    /// # Errors
    /// [`BusError::Unavailable`], and [`BusError::Damaged`] where it cannot be read.
    pub fn released(&self, service: &str, consumer: &str) -> Result<Option<Released>, BusError> {
        let path = self.released_by(service, consumer)?;
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(error) => return Err(unavailable(&path, &error)),
        };
        serde_json::from_slice(&text).map(Some).map_err(|error| damaged(&path, 0, &error.to_string()))
    }

    fn released_by(&self, service: &str, consumer: &str) -> Result<PathBuf, BusError> {
        rules::check_service(service)?;
        rules::check_service(consumer)?;
        Ok(self.folder.join(service).join("needed").join(format!("{consumer}.json")))
    }

    /// The first number of each partition that is still there; empty where there is no log.
    ///
    /// # Errors
    /// [`BusError::Unavailable`], and [`BusError::Damaged`] where a segment cannot be read.
    pub fn kept_from(&self, service: &str) -> Result<Vec<u64>, BusError> {
        self.keep_since(service, i64::MIN)
    }

    /// The numbers, one for each partition, from which on a log must be kept for what has happened since a time (in
    /// milliseconds since 1970 UTC). That is where a segment begins: all that is before it has happened earlier.
    ///
    /// # Errors
    /// As [`EmbeddedLog::kept_from`].
    pub fn keep_since(&self, service: &str, since_ms: i64) -> Result<Vec<u64>, BusError> {
        rules::check_service(service)?;
        let folder = self.folder.join(service);
        for _ in 0..limits::SEEKS_MAX {
            if let Some(keep_from) = keep_since(&folder, since_ms)? {
                return Ok(keep_from);
            }
        }
        Err(BusError::Unavailable(format!("{service}: its segments change while they are looked at")))
    }

    /// Deletes what has happened before a time and is needed by none of these consumers any more, as far as whole segments
    /// do; tells how many. Nothing may be deleted where one of them has said nothing, or was about another epoch.
    ///
    /// # Errors
    /// As [`EmbeddedLog::retain`], and [`BusError::Damaged`] where it cannot be read what a consumer needs.
    pub fn retain_since(&self, service: &str, since_ms: i64, consumers: &BTreeSet<String>) -> Result<usize, BusError> {
        rules::check_service(service)?;
        let Some(mark) = mark::read(&self.folder.join(service))? else { return Ok(0) };
        let mut keep_from = self.keep_since(service, since_ms)?;
        for consumer in consumers {
            let Some(released) = self.released(service, consumer)?.filter(|said| said.epoch == mark.epoch) else {
                return Ok(0);
            };
            for (partition, keep_from) in keep_from.iter_mut().enumerate() {
                let up_to = released.up_to.get(partition).copied().unwrap_or_default();
                *keep_from = up_to.saturating_add(1).min(*keep_from);
            }
        }
        self.retain(service, &keep_from)
    }
}

/// None: a segment went away meanwhile.
fn keep_since(folder: &Path, since_ms: i64) -> Result<Option<Vec<u64>>, BusError> {
    let segments = files::segments(folder)?;
    let mut found = Vec::new();
    for first in &segments {
        let cursor = match Cursor::open(folder, *first, Vec::new())? {
            Opened::Segment(cursor) => cursor,
            Opened::Missing => return Ok(None),
            Opened::Broken if segments.last() == Some(first) => break, // in the making, or the remains of a power cut
            Opened::Broken => {
                let path = files::segment(folder, *first);
                return Err(damaged(&path, 0, "the header of a segment cannot be read"));
            }
        };
        found = cursor.header.before.iter().map(|before| before + 1).collect();
        if last_frame(&cursor)?.is_none_or(|last| last.time_ms >= since_ms) {
            break;
        }
    }
    Ok(Some(found))
}

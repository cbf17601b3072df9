//! Which part of a log may go: what is old, and what no consumer needs.
//!
//! A consumer publishes what it needs no more in a file beside the log, `needed/<consumer>.json`.

use super::{
    cursor::{Cursor, Opened},
    end::last_record,
    files::{self, damaged, unavailable},
};
use crate::{BusError, Released, limits, rules};
use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

pub(super) fn release(bus: &Path, service: &str, consumer: &str, released: &Released) -> Result<(), BusError> {
    let path = released_by(bus, service, consumer)?;
    let folder = path.parent().unwrap_or(bus);
    fs::create_dir_all(folder).map_err(|error| unavailable(folder, &error))?;
    let next = path.with_extension("next");
    let text = serde_json::to_vec(released).unwrap_or_default();
    File::create(&next)
        .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
        .map_err(|error| unavailable(&next, &error))?;
    fs::rename(&next, &path).map_err(|error| unavailable(&path, &error))?;
    files::sync_folder(folder)
}

pub(super) fn released(bus: &Path, service: &str, consumer: &str) -> Result<Option<Released>, BusError> {
    let path = released_by(bus, service, consumer)?;
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(unavailable(&path, &error)),
    };
    serde_json::from_slice(&text).map(Some).map_err(|error| damaged(&path, 0, &error.to_string()))
}

fn released_by(bus: &Path, service: &str, consumer: &str) -> Result<PathBuf, BusError> {
    rules::check_service(service)?;
    rules::check_service(consumer)?;
    Ok(bus.join(service).join("needed").join(format!("{consumer}.json")))
}

/// That is where a segment begins: all events before it happened earlier.
pub(super) fn keep_since(bus: &Path, service: &str, since_ms: i64) -> Result<Vec<u64>, BusError> {
    rules::check_service(service)?;
    let folder = bus.join(service);
    for _ in 0..limits::SEEKS_MAX {
        if let Some(keep_from) = keep_since_in(&folder, since_ms)? {
            return Ok(keep_from);
        }
    }
    Err(BusError::Unavailable(format!("{service}: its segments change while they are read")))
}

/// None: a segment went away meanwhile.
fn keep_since_in(folder: &Path, since_ms: i64) -> Result<Option<Vec<u64>>, BusError> {
    let segments = files::segments(folder)?;
    files::check_first(folder, &segments)?;
    let mut found = Vec::new();
    for first in &segments {
        let mut cursor = match Cursor::open(folder, *first, Vec::new())? {
            Opened::Segment(cursor) => cursor,
            Opened::Missing => return Ok(None),
            Opened::Broken if segments.last() == Some(first) => break, // in the making, or the remains of a power cut
            Opened::Broken => {
                let path = files::segment(folder, *first);
                return Err(damaged(&path, 0, "the header of a segment cannot be read"));
            }
        };
        found = cursor.header.before.iter().map(|before| before + 1).collect();
        if last_record(&mut cursor)?.is_none_or(|last| last.time_ms >= since_ms) {
            break;
        }
    }
    Ok(Some(found))
}

//! The files of one source: their names, and what the system says about them.

use super::format::{HEADER_MAX_BYTES, Header, Unreadable};
use crate::BusError;
use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

/// The folder of logs that were set aside. Readers find no log in it: its name is not that of a service.
pub(super) const DAMAGED: &str = ".damaged";

/// What the system says, with the file that it is about.
pub(super) fn unavailable(path: &Path, error: &io::Error) -> BusError {
    BusError::Unavailable(format!("{}: {error}", path.display()))
}

pub(super) fn damaged(path: &Path, offset: u64, why: &str) -> BusError {
    BusError::Damaged { path: path.display().to_string(), offset, why: why.to_owned() }
}

pub(super) fn newer(path: &Path, version: u32) -> BusError {
    BusError::Newer { path: path.display().to_string(), version }
}

/// Why a file of a log cannot be read. What the disk does not give back will not come again, and a folder in place of a
/// file holds no events: that is damage, and the publisher is to look for it.
pub(super) fn unread(path: &Path, offset: u64, error: &io::Error) -> BusError {
    /// `errno` of an input or output error, on all Unix systems. The standard library has no name for it.
    const EIO: i32 = 5;
    if error.raw_os_error() != Some(EIO) && error.kind() != ErrorKind::IsADirectory {
        return unavailable(path, error);
    }
    path.parent().into_iter().for_each(note_doubt);
    damaged(path, offset, &error.to_string())
}

/// The segment that begins with this record.
pub(super) fn segment(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}.log"))
}

/// The segments of a log, oldest first; none without a folder. Other files are ignored.
pub(super) fn segments(folder: &Path) -> Result<Vec<u64>, BusError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Vec::new()),
        Err(error) => return Err(unavailable(folder, &error)),
    };
    let mut segments = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| unavailable(folder, &error))?.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(".log")).unwrap_or_default();
        if digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            segments.extend(digits.parse::<u64>());
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

/// Whether a file is still where it was opened. A deleted file goes on taking writes, and no reader finds it.
pub(super) fn is_in_place(file: &File, path: &Path) -> bool {
    let id = |file: fs::Metadata| (file.dev(), file.ino());
    match (file.metadata().map(id), fs::metadata(path).map(id)) {
        (Ok(opened), Ok(found)) => opened == found,
        (_, Err(error)) => !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
        (Err(_), Ok(_)) => true,
    }
}

/// Opens a file for reading; None where there is none.
pub(super) fn open(path: &Path) -> Result<Option<File>, BusError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unread(path, 0, &error)),
    }
}

/// Reads from a place on until the buffer is full or the file ends.
pub(super) fn read(file: &File, path: &Path, buffer: &mut [u8], offset: u64) -> Result<usize, BusError> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], offset + length as u64) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(unread(path, offset + length as u64, &error)),
        }
    }
    Ok(length)
}

/// Reads the header of a segment. The inner error: there is none in it that we could read.
pub(super) fn header(file: &File, path: &Path) -> Result<Result<(Header, usize, u32), Unreadable>, BusError> {
    let mut buffer = vec![0; HEADER_MAX_BYTES];
    let length = read(file, path, &mut buffer, 0)?;
    Ok(Header::decode(&buffer[..length]))
}

/// Makes the names in a folder outlive a power cut.
pub(super) fn sync_folder(folder: &Path) -> Result<(), BusError> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(|error| unavailable(folder, &error))
}

/// Notes that the segments before this one are deleted on purpose.
pub(super) fn note_cut(folder: &Path, first: u64) -> Result<(), BusError> {
    let (made, path) = (folder.join("cut.next"), folder.join("cut"));
    fs::write(&made, first.to_string()).map_err(|error| unavailable(&made, &error))?;
    fs::rename(&made, &path).map_err(|error| unavailable(&path, &error))
}

/// The first segment that must be there; None where that is not known: earlier releases did not note it.
pub(super) fn cut(folder: &Path) -> Option<u64> {
    fs::read_to_string(folder.join("cut")).ok().and_then(|text| text.trim().parse().ok())
}

/// That the first segment is there, if any is.
pub(super) fn check_first(folder: &Path, segments: &[u64]) -> Result<(), BusError> {
    match (segments.first(), cut(folder)) {
        (Some(first), Some(cut)) if *first > cut => Err(damaged(&segment(folder, cut), 0, "it is missing")),
        _ => Ok(()),
    }
}

/// Where a reader notes that it has found damage, so that the publisher looks for it. One that may not write here goes
/// without.
pub(super) fn note_doubt(folder: &Path) {
    drop(File::create(doubt(folder)));
}

/// See [`note_doubt`].
pub(super) fn doubt(folder: &Path) -> PathBuf {
    folder.join("doubt")
}

/// Moves the log of a service to [`DAMAGED`], instead of the one that is there.
pub(super) fn set_aside(bus: &Path, service: &str) -> Result<String, BusError> {
    let (folder, kept) = (bus.join(service), bus.join(DAMAGED));
    fs::create_dir_all(&kept).map_err(|error| unavailable(&kept, &error))?;
    let kept = kept.join(service);
    match fs::remove_dir_all(&kept) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(unavailable(&kept, &error)),
        _ => {}
    }
    match fs::rename(&folder, &kept) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(unavailable(&folder, &error)),
        _ => Ok(kept.display().to_string()),
    }
}

/// The lock of a log. The operating system releases it when the process ends, however that ends.
pub(super) struct Lock(pub(super) File);

impl Drop for Lock {
    /// Unlocks the file, as closing it is not enough: a child process that is being started still has it open, too.
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::debug!("the lock of a log is released when its file is closed: {error}");
        }
    }
}

/// Takes the lock of a log.
pub(super) fn lock(folder: &Path, service: &str) -> Result<Lock, BusError> {
    let path = folder.join("lock");
    let failed = |error| unavailable(&path, &error);
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(fs::TryLockError::WouldBlock) => Err(BusError::InUse { service: service.to_owned() }),
        Err(fs::TryLockError::Error(error)) => Err(failed(error)),
    }
}

//! How far a log outlives a power cut: two slots in the file `synced`, written in turn, so that a power cut in the
//! middle of one leaves the other. The one with the higher count holds.

use super::{
    end::End,
    files::{self, damaged, newer, unavailable},
    format::{self, Bytes, Unreadable},
};
use crate::BusError;
use std::{
    fs::{self, File},
    io::ErrorKind,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};
use uuid::Uuid;

const MAGIC: [u8; 8] = *b"JUMUNMRK";
/// So that no block of a disk has a part in both slots.
const BLOCK_BYTES: usize = 4096;

/// How far a log outlives a power cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// The epoch of the log's source.
    pub(super) epoch: Uuid,
    /// The segment, by the ordinal of its first record.
    pub(super) segment: u64,
    /// The end of what is synced.
    pub(super) end: End,
}

impl Mark {
    /// How many partitions the log has.
    pub(super) fn partitions(&self) -> u16 {
        u16::try_from(self.end.numbers.len()).unwrap_or(u16::MAX)
    }

    fn encode(&self, count: u64) -> Vec<u8> {
        let mut bytes = format::begin(MAGIC);
        bytes.extend(count.to_le_bytes());
        bytes.extend(self.epoch.as_bytes());
        bytes.extend(self.segment.to_le_bytes());
        bytes.extend(self.end.offset.to_le_bytes());
        bytes.extend(self.end.checksum.to_le_bytes());
        bytes.extend(self.end.ordinal.to_le_bytes());
        bytes.extend(self.partitions().to_le_bytes());
        for number in &self.end.numbers {
            bytes.extend(number.to_le_bytes());
        }
        format::seal(&mut bytes);
        bytes.resize(slot_bytes(self.end.numbers.len()), 0);
        bytes
    }

    /// The mark in a slot, with its count.
    fn decode(slot: &[u8]) -> Result<(u64, Self), Unreadable> {
        let (content, ..) = format::open(slot, MAGIC)?;
        Self::read(content).ok_or(Unreadable::Broken)
    }

    fn read(mut rest: Bytes<'_>) -> Option<(u64, Self)> {
        let (count, epoch, segment, offset) = (rest.u64()?, rest.uuid()?, rest.u64()?, rest.u64()?);
        let (checksum, ordinal, partitions) = (rest.u32()?, rest.u64()?, rest.u16()?);
        let numbers = (0..partitions).map(|_| rest.u64()).collect::<Option<Vec<_>>>()?;
        Some((count, Self { epoch, segment, end: End { offset, checksum, ordinal, numbers } }))
    }
}

fn slot_bytes(partitions: usize) -> usize {
    // The rest of a mark takes less than a hundred.
    (100 + 8 * partitions).next_multiple_of(BLOCK_BYTES)
}

fn path(folder: &Path) -> PathBuf {
    folder.join("synced")
}

/// What is said of a log that has segments and no mark.
pub(super) fn missing(folder: &Path) -> BusError {
    damaged(&path(folder), 0, "it is missing or unreadable, and the log is not")
}

/// The mark of a log, for readers; None where there is none yet.
pub(super) fn read(folder: &Path) -> Result<Option<Mark>, BusError> {
    Ok(read_counted(folder)?.map(|(_, mark)| mark))
}

fn read_counted(folder: &Path) -> Result<Option<(u64, Mark)>, BusError> {
    let path = path(folder);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(files::unread(&path, 0, &error)),
    };
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let slots = [Mark::decode(first), Mark::decode(second)];
    if let Some(version) = slots.iter().find_map(|slot| match slot {
        Err(Unreadable::Newer(version)) => Some(*version),
        _ => None,
    }) {
        return Err(newer(&path, version));
    }
    Ok(slots.into_iter().filter_map(Result::ok).max_by_key(|(count, _)| *count))
}

/// The mark, for the one that moves it.
pub(super) struct MarkFile {
    path: PathBuf,
    file: File,
    count: u64,
    mark: Mark,
}

impl MarkFile {
    /// Opens the mark of a log; None where there is none yet, or none that could be read.
    pub(super) fn open(folder: &Path) -> Result<Option<Self>, BusError> {
        let Some((count, mark)) = read_counted(folder)? else { return Ok(None) };
        let path = path(folder);
        let file = File::options().write(true).open(&path).map_err(|error| unavailable(&path, &error))?;
        let bytes = file.metadata().map_err(|error| unavailable(&path, &error))?.len();
        if bytes != 2 * slot_bytes(mark.end.numbers.len()) as u64 {
            return Err(damaged(&path, bytes, "it has another length than it was made with"));
        }
        Ok(Some(Self { path, file, count, mark }))
    }

    /// Makes it, and makes it outlive a power cut, though not yet its name.
    pub(super) fn create(folder: &Path, mark: Mark) -> Result<Self, BusError> {
        let path = path(folder);
        let failed = |error| unavailable(&path, &error);
        let file = File::options().write(true).create(true).truncate(true).open(&path).map_err(failed)?;
        let mut bytes = mark.encode(0);
        bytes.resize(2 * bytes.len(), 0);
        file.write_all_at(&bytes, 0).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        Ok(Self { path, file, count: 0, mark })
    }

    /// Its path, if the file is not there any more.
    pub(super) fn gone(&self) -> Option<&Path> {
        (!files::is_in_place(&self.file, &self.path)).then_some(&*self.path)
    }

    /// Whether its name is still that of its file, and the file says what was written, and nothing of it was cut off.
    pub(super) fn is_whole(&self, folder: &Path) -> bool {
        let bytes = 2 * slot_bytes(self.mark.end.numbers.len()) as u64;
        files::is_in_place(&self.file, &self.path)
            && self.file.metadata().is_ok_and(|file| file.len() == bytes)
            && read(folder).is_ok_and(|mark| mark.as_ref() == Some(&self.mark))
    }

    pub(super) fn get(&self) -> &Mark {
        &self.mark
    }

    /// Moves it, and makes that outlive a power cut.
    pub(super) fn set(&mut self, mark: Mark) -> Result<(), BusError> {
        let failed = |error| unavailable(&self.path, &error);
        let bytes = mark.encode(self.count + 1);
        let slot = (self.count + 1) % 2;
        self.file.write_all_at(&bytes, slot * bytes.len() as u64).map_err(failed)?;
        self.file.sync_data().map_err(failed)?;
        self.count += 1;
        self.mark = mark;
        Ok(())
    }
}

//! Where a log ends.

use super::{
    cursor::{Cursor, Next, Opened},
    files,
    format::{Bytes, CHECKSUM_BYTES, Frame, Parsed},
};
use crate::{BusError, limits};
use std::path::Path;

/// The end of a log, or of the part of it that is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    /// Bytes of the newest segment before it.
    pub(super) offset: u64,
    /// The checksum of the last record.
    pub(super) checksum: u32,
    /// The ordinal of the next record.
    pub(super) ordinal: u64,
    /// The last number of each partition.
    pub(super) numbers: Vec<u64>,
}

impl End {
    /// Steps over a record; false where it does not have the next number.
    pub(super) fn step(&mut self, frame: &Frame) -> bool {
        let Some(last) = self.numbers.get_mut(usize::from(frame.partition)) else { return false };
        let next = frame.sequence == *last + 1;
        *last = frame.sequence;
        self.offset += frame.length as u64;
        self.checksum = frame.checksum;
        self.ordinal += 1;
        next
    }
}

/// The ordinal of the next record that will be appended to a log, found from the end of its last segment.
pub(super) fn end(folder: &Path) -> Result<u64, BusError> {
    for first in files::segments(folder)?.into_iter().rev() {
        if let Opened::Segment(cursor) = Cursor::open(folder, first, Vec::new())? {
            return end_of(cursor);
        }
    }
    Ok(0)
}

/// The ordinal of the record that follows a segment.
pub(super) fn end_of(mut cursor: Cursor) -> Result<u64, BusError> {
    let first = cursor.ordinal;
    Ok(last_record(&mut cursor)?.map_or(first, |last| last.ordinal + 1))
}

/// The last whole record of a segment; None where it has none. Behind it may be a part of another one: of the newest segment
/// one in the making, of others what earlier releases left there if the disk had been full.
pub(super) fn last_record(cursor: &mut Cursor) -> Result<Option<Frame>, BusError> {
    let mut last = last_frame(cursor)?;
    if last.is_none() {
        while let Next::Record(frame, _) = cursor.next()? {
            last = Some(frame);
        }
    }
    Ok(last)
}

/// The record that the file ends with; None where it does not end with one.
pub(super) fn last_frame(cursor: &Cursor) -> Result<Option<Frame>, BusError> {
    let length = cursor.file.metadata().map_err(|error| files::unavailable(&cursor.path, &error))?.len();
    let mut back = [0; 2 * CHECKSUM_BYTES];
    let Some(from) = length.checked_sub(back.len() as u64) else { return Ok(None) };
    files::read(&cursor.file, &cursor.path, &mut back, from)?;
    let record = Bytes(&back).u32().unwrap_or_default() as usize;
    let before = length.checked_sub((record + CHECKSUM_BYTES) as u64);
    let Some(before) = before.filter(|_| record <= limits::RECORD_MAX_BYTES) else { return Ok(None) };
    let mut bytes = vec![0; CHECKSUM_BYTES + record];
    if files::read(&cursor.file, &cursor.path, &mut bytes, before)? < bytes.len() {
        return Ok(None);
    }
    let mut rest = Bytes(&bytes);
    let checksum = rest.u32().unwrap_or_default();
    Ok(match Frame::parse(rest.0, checksum) {
        Parsed::Frame(frame) if frame.length == record => Some(frame),
        _ => None,
    })
}

//! Reads one segment, record by record.

use super::{
    files,
    format::{CHECKSUM_BYTES, Frame, Header, Parsed, Unreadable},
};
use crate::{BusError, limits};
use std::{
    fs::File,
    ops::Range,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// A place in a segment, with what was read from there on in advance.
pub(super) struct Cursor {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) header: Header,
    buffer: Vec<u8>,
    /// What of the buffer was read and not yet used.
    ahead: Range<usize>,
    /// The place.
    pub(super) offset: u64,
    /// The checksum before it.
    pub(super) checksum: u32,
    /// The ordinal of the record there.
    pub(super) ordinal: u64,
}

/// What is at the place of a cursor.
pub(super) enum Next {
    /// A record; its bytes are [`Cursor::bytes`] of the range. The cursor is behind it.
    Record(Frame, Range<usize>),
    /// Nothing that could be read.
    Nothing {
        /// Whether there are any bytes at all: a record in the making, or the remains of one.
        remains: bool,
    },
    /// The file differs from the one read so far: a power cut cut it, and a publisher may have written it again.
    Replaced,
}

/// What a file is, that is named like a segment.
pub(super) enum Opened {
    /// A segment. The cursor is before its first record.
    Segment(Cursor),
    /// Not there.
    Missing,
    /// There, but its header cannot be read.
    Broken,
}

impl Cursor {
    /// Opens a segment, reusing a buffer.
    pub(super) fn open(folder: &Path, first: u64, buffer: Vec<u8>) -> Result<Opened, BusError> {
        let path = files::segment(folder, first);
        let Some(file) = files::open(&path)? else { return Ok(Opened::Missing) };
        Self::over(file, path, first, buffer)
    }

    /// Reads a file that is open.
    pub(super) fn over(file: File, path: PathBuf, first: u64, buffer: Vec<u8>) -> Result<Opened, BusError> {
        match files::header(&file, &path)? {
            Ok((header, offset, checksum)) if header.first == first => Ok(Opened::Segment(Self {
                path,
                file,
                buffer,
                ahead: 0..0,
                offset: offset as u64,
                checksum,
                ordinal: header.first,
                header,
            })),
            Ok(_) | Err(Unreadable::Broken) => Ok(Opened::Broken),
            Err(Unreadable::Newer(version)) => Err(files::newer(&path, version)),
        }
    }

    /// Moves to another record.
    pub(super) fn go_to(&mut self, offset: u64, checksum: u32, ordinal: u64) {
        self.ahead = 0..0;
        (self.offset, self.checksum, self.ordinal) = (offset, checksum, ordinal);
    }

    /// The next record.
    pub(super) fn next(&mut self) -> Result<Next, BusError> {
        // Only bytes read just now show what the file holds; bytes read ahead may have been half written.
        let mut just_read = false;
        loop {
            let parsed = Frame::parse(&self.buffer[self.ahead.clone()], self.checksum);
            match parsed {
                Parsed::Frame(frame) if frame.ordinal == self.ordinal => {
                    let bytes = self.ahead.start..self.ahead.start + frame.length;
                    self.ahead.start = bytes.end;
                    self.offset += frame.length as u64;
                    self.checksum = frame.checksum;
                    self.ordinal += 1;
                    return Ok(Next::Record(frame, bytes));
                }
                Parsed::Part(length) if CHECKSUM_BYTES + length > self.buffer.len() => {
                    // What it holds is read again; and a new one takes no memory before it is used.
                    self.buffer = vec![0; limits::READ_BYTES.max(CHECKSUM_BYTES + length)];
                }
                _ if just_read => return Ok(Next::Nothing { remains: !self.ahead.is_empty() }),
                _ => {}
            }
            if !self.read_ahead()? {
                return Ok(Next::Replaced);
            }
            just_read = true;
        }
    }

    /// Reads on, and makes sure that what is before the place is what was read before.
    fn read_ahead(&mut self) -> Result<bool, BusError> {
        let from = self.offset - CHECKSUM_BYTES as u64;
        let length = files::read(&self.file, &self.path, &mut self.buffer, from)?;
        let same = self.buffer[..length].starts_with(&self.checksum.to_le_bytes());
        self.ahead = if same { CHECKSUM_BYTES..length } else { 0..0 };
        Ok(same)
    }

    /// The bytes of a record, until the next one is asked for.
    pub(super) fn bytes(&self, range: &Range<usize>) -> &[u8] {
        &self.buffer[range.clone()]
    }

    /// Whether its file is deleted.
    pub(super) fn deleted(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }

    /// Whether its name is still that of its file.
    pub(super) fn in_place(&self) -> bool {
        files::is_in_place(&self.file, &self.path)
    }

    /// The segment after this one, if this one was read to its end and there is one.
    pub(super) fn follow(&mut self, folder: &Path) -> Result<Option<Self>, BusError> {
        if self.ordinal == self.header.first {
            return Ok(None);
        }
        let path = files::segment(folder, self.ordinal);
        let Some(file) = files::open(&path)? else { return Ok(None) };
        match Self::over(file, path, self.ordinal, std::mem::take(&mut self.buffer))? {
            Opened::Segment(next) => Ok(Some(next)),
            Opened::Missing | Opened::Broken => {
                self.ahead = 0..0;
                Ok(None)
            }
        }
    }

    /// Gives its buffer away.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }
}

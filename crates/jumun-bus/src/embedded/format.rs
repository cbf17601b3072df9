//! What is in the files, byte by byte. All numbers are little-endian.
//!
//! ```text
//! <folder>/<service>/lock                       held by whoever publishes
//!                    synced                     how far the log outlives a power cut, see `mark`
//!                    00000000000000000000.log   a segment, named by the ordinal of its first record
//!                    next                       a segment in the making
//!                    needed/<consumer>.json     what a consumer needs no more, see `retention`
//!                    cut                        the first segment that must be there, where retention has deleted some
//!                    doubt                      a reader has found damage, see `check`
//! <folder>/.damaged/<service>/…                 a log that was set aside, see `check`
//!
//! segment   magic [8], version u32, length of this head u32, epoch [16], ordinal of the first record u64,
//!           partitions u16, length of the service u16, service, the last number before this segment u64 per partition,
//!           checksum u32, records
//! record    length u32, partition u16, length of the type u16, length of the headers u32, ordinal u64, number u64,
//!           key i64, time i64, type, headers, body, length again u32, checksum u32
//! header    length of the name u16, length of the value u32, name, value
//! ```
//!
//! The ordinal counts the records of all partitions from 0 on. The length is at both ends of a record, so that a reader
//! finds the last one from the end of the file.
//!
//! A checksum is the CRC-32C of all bytes from the beginning of the segment to it, other checksums left out. So the
//! four bytes before an offset vouch for everything before it: a reader that resumes compares them, and knows whether
//! it still reads the same file or one that was cut and written again.

use crate::{Record, Source, limits};
use crc32c::crc32c_append;
use std::ops::Range;
use uuid::Uuid;

const MAGIC: [u8; 8] = *b"JUMUNLOG";
/// Of the segments and of the mark.
const VERSION: u32 = 1;

/// Of a checksum.
pub(super) const CHECKSUM_BYTES: usize = 4;
/// Of what every head begins with: magic, version, length.
const OPENING_BYTES: usize = 16;
const FRONT_BYTES: usize = 44;
const BACK_BYTES: usize = 8;

/// The largest header of a segment.
pub(super) const HEADER_MAX_BYTES: usize =
    OPENING_BYTES + 28 + limits::SERVICE_MAX_BYTES + 8 * limits::PARTITIONS_MAX as usize + CHECKSUM_BYTES;

/// Takes numbers off the front of a slice.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    pub(super) fn uuid(&mut self) -> Option<Uuid> {
        self.array().map(Uuid::from_bytes)
    }
}

/// Why the head of a file cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is not ours, or it was not written to its end.
    Broken,
    /// A newer release has written it.
    Newer(u32),
}

/// Begins a head: what [`open`] looks for.
pub(super) fn begin(magic: [u8; 8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(magic);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend([0; 4]);
    bytes
}

/// Completes a head with its length and its checksum, and returns the checksum.
pub(super) fn seal(bytes: &mut Vec<u8>) -> u32 {
    let length = short(bytes.len() + CHECKSUM_BYTES);
    bytes[OPENING_BYTES - 4..OPENING_BYTES].copy_from_slice(&length.to_le_bytes());
    let checksum = crc32c_append(0, bytes);
    bytes.extend(checksum.to_le_bytes());
    checksum
}

/// What is in the head that these bytes begin with, its length and its checksum. The checksum comes before the version,
/// so that the remains of a power cut are not taken for something newer: no version may change where it is.
pub(super) fn open(bytes: &[u8], magic: [u8; 8]) -> Result<(Bytes<'_>, usize, u32), Unreadable> {
    let (content, version, length, checksum) = open_any(bytes, magic).ok_or(Unreadable::Broken)?;
    match version {
        VERSION => Ok((content, length, checksum)),
        version if version > VERSION => Err(Unreadable::Newer(version)),
        _ => Err(Unreadable::Broken),
    }
}

fn open_any(bytes: &[u8], magic: [u8; 8]) -> Option<(Bytes<'_>, u32, usize, u32)> {
    let mut opening = Bytes(bytes);
    let (found, version, length) = (opening.take(magic.len())?, opening.u32()?, opening.u32()? as usize);
    let (covered, checksum) = bytes.get(..length)?.split_at_checked(length.checked_sub(CHECKSUM_BYTES)?)?;
    let checksum = Bytes(checksum).u32()?;
    let right = found == magic && checksum == crc32c_append(0, covered);
    right.then_some((Bytes(covered.get(OPENING_BYTES..)?), version, length, checksum))
}

/// How a segment begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) source: Source,
    /// The ordinal of its first record.
    pub(super) first: u64,
    /// The last number of each partition in the segments before it.
    pub(super) before: Vec<u64>,
}

impl Header {
    /// The bytes, and the checksum that they end with.
    pub(super) fn encode(&self) -> (Vec<u8>, u32) {
        let mut bytes = begin(MAGIC);
        bytes.extend(self.source.epoch.as_bytes());
        bytes.extend(self.first.to_le_bytes());
        bytes.extend(self.source.partitions.to_le_bytes());
        bytes.extend(shorter(self.source.service.len()).to_le_bytes());
        bytes.extend(self.source.service.as_bytes());
        for number in &self.before {
            bytes.extend(number.to_le_bytes());
        }
        let checksum = seal(&mut bytes);
        (bytes, checksum)
    }

    /// The header that these bytes begin with, its length and its checksum.
    pub(super) fn decode(bytes: &[u8]) -> Result<(Self, usize, u32), Unreadable> {
        let (content, length, checksum) = open(bytes, MAGIC)?;
        Ok((Self::read(content).ok_or(Unreadable::Broken)?, length, checksum))
    }

    fn read(mut rest: Bytes<'_>) -> Option<Self> {
        let (epoch, first, partitions) = (rest.uuid()?, rest.u64()?, rest.u16()?);
        let service = usize::from(rest.u16()?);
        let service = String::from_utf8(rest.take(service)?.to_vec()).ok()?;
        let before = (0..partitions).map(|_| rest.u64()).collect::<Option<_>>()?;
        Some(Self { source: Source { service, epoch, partitions }, first, before })
    }
}

/// A record as it lies in a file, but for its texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// Of all of it.
    pub(super) length: usize,
    pub(super) checksum: u32,
    pub(super) partition: u16,
    pub(super) ordinal: u64,
    pub(super) sequence: u64,
    key: i64,
    pub(super) time_ms: i64,
    type_bytes: usize,
    header_bytes: usize,
}

/// What a place in a file begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A record, and its checksum is right.
    Frame(Frame),
    /// The beginning of what may be a record of this many bytes.
    Part(usize),
    /// No record.
    Nonsense,
}

impl Frame {
    /// Looks for a record; `checksum` is the one before it.
    pub(super) fn parse(bytes: &[u8], checksum: u32) -> Parsed {
        let Some(length) = Bytes(bytes).u32() else { return Parsed::Part(FRONT_BYTES + BACK_BYTES) };
        let length = length as usize;
        if !(FRONT_BYTES + BACK_BYTES..=limits::RECORD_MAX_BYTES).contains(&length) {
            return Parsed::Nonsense;
        }
        let Some(bytes) = bytes.get(..length) else { return Parsed::Part(length) };
        match Self::read(bytes) {
            Some(frame) if crc32c_append(checksum, &bytes[..length - CHECKSUM_BYTES]) == frame.checksum => {
                Parsed::Frame(frame)
            }
            _ => Parsed::Nonsense,
        }
    }

    /// The record that these bytes begin with, its checksum not looked at.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut rest = Bytes(bytes);
        let length = rest.u32()? as usize;
        let frame = Self {
            length,
            partition: rest.u16()?,
            type_bytes: usize::from(rest.u16()?),
            header_bytes: rest.u32()? as usize,
            ordinal: rest.u64()?,
            sequence: rest.u64()?,
            key: rest.i64()?,
            time_ms: rest.i64()?,
            checksum: Bytes(bytes.get(length.checked_sub(CHECKSUM_BYTES)?..length)?).u32()?,
        };
        let texts = length.checked_sub(FRONT_BYTES + BACK_BYTES)?;
        (frame.type_bytes.checked_add(frame.header_bytes)? <= texts).then_some(frame)
    }

    fn type_range(&self) -> Range<usize> {
        FRONT_BYTES..FRONT_BYTES + self.type_bytes
    }

    /// The type, from the bytes of this record.
    pub(super) fn event_type<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.type_range()]
    }

    /// The event, from the bytes of this record; None where a text is none.
    pub(super) fn record(&self, bytes: &[u8]) -> Option<Record> {
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
        let types = self.type_range();
        let (headers, body) = bytes[types.end..self.length - BACK_BYTES].split_at(self.header_bytes);
        let (mut rest, mut headers) = (Bytes(headers), Vec::new());
        while !rest.0.is_empty() {
            let (name, value) = (usize::from(rest.u16()?), rest.u32()? as usize);
            headers.push((text(rest.take(name)?)?, text(rest.take(value)?)?));
        }
        Some(Record {
            partition: self.partition,
            sequence: self.sequence,
            event_type: text(&bytes[types])?,
            key: self.key,
            time_ms: self.time_ms,
            headers,
            body: text(body)?,
        })
    }
}

/// Appends a record to a buffer; `checksum` is the one before it. Returns the record's own.
pub(super) fn encode(record: &Record, ordinal: u64, checksum: u32, buffer: &mut Vec<u8>) -> u32 {
    let headers: usize = record.headers.iter().map(|(name, value)| 6 + name.len() + value.len()).sum();
    let length = FRONT_BYTES + record.event_type.len() + headers + record.body.len() + BACK_BYTES;
    let start = buffer.len();
    buffer.extend_from_slice(&short(length).to_le_bytes());
    buffer.extend_from_slice(&record.partition.to_le_bytes());
    buffer.extend_from_slice(&shorter(record.event_type.len()).to_le_bytes());
    buffer.extend_from_slice(&short(headers).to_le_bytes());
    buffer.extend_from_slice(&ordinal.to_le_bytes());
    buffer.extend_from_slice(&record.sequence.to_le_bytes());
    buffer.extend_from_slice(&record.key.to_le_bytes());
    buffer.extend_from_slice(&record.time_ms.to_le_bytes());
    buffer.extend_from_slice(record.event_type.as_bytes());
    for (name, value) in &record.headers {
        buffer.extend_from_slice(&shorter(name.len()).to_le_bytes());
        buffer.extend_from_slice(&short(value.len()).to_le_bytes());
        buffer.extend_from_slice(name.as_bytes());
        buffer.extend_from_slice(value.as_bytes());
    }
    buffer.extend_from_slice(record.body.as_bytes());
    buffer.extend_from_slice(&short(length).to_le_bytes());
    let checksum = crc32c_append(checksum, &buffer[start..]);
    buffer.extend_from_slice(&checksum.to_le_bytes());
    checksum
}

/// A length as it is stored. None is larger: `rules` and `limits` see to that.
fn short(length: usize) -> u32 {
    debug_assert!(length <= limits::RECORD_MAX_BYTES);
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn shorter(length: usize) -> u16 {
    debug_assert!(length <= limits::NAME_MAX_BYTES);
    u16::try_from(length).unwrap_or(u16::MAX)
}

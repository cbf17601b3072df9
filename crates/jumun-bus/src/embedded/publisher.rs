//! Appends to the log of one source.

use super::{
    check,
    cursor::{Cursor, Next, Opened},
    end::End,
    files::{self, damaged, unavailable},
    format::{self, CHECKSUM_BYTES, Frame, Header},
    mark::{self, Mark, MarkFile},
};
use crate::{BusError, Publisher, Record, Source, limits, rules};
use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// See [`Publisher`]. Holds the lock of its log as long as it lives.
pub(super) struct LogPublisher {
    source: Source,
    folder: PathBuf,
    segment_max_bytes: u64,
    segment_max_age: Option<Duration>,
    /// What is in the log.
    end: End,
    /// How much of it outlives a power cut.
    mark: MarkFile,
    segment: Segment,
    /// What is about to be written.
    buffer: Vec<u8>,
    /// Why nothing works any more: after an fsync that failed, what is on the disk is not known, and another one that
    /// succeeds says nothing. Or the files were taken away.
    failed: Option<BusError>,
    /// The segments whose chain was checked last.
    checked: Vec<u64>,
    lock: files::Lock,
}

/// The newest segment.
struct Segment {
    path: PathBuf,
    file: File,
    first: u64,
    /// Whether its name outlives a power cut.
    named: bool,
    /// When its first event happened, in milliseconds since 1970 UTC.
    since_ms: Option<i64>,
}

impl LogPublisher {
    /// Opens the log of this source, or makes it, and repairs what a crash has left behind the mark.
    pub(super) fn open(
        bus: &Path,
        source: &Source,
        segment_max_bytes: u64,
        segment_max_age: Option<Duration>,
    ) -> Result<Self, BusError> {
        let folder = bus.join(&source.service);
        fs::create_dir_all(&folder).map_err(|error| unavailable(&folder, &error))?;
        let lock = files::lock(&folder, &source.service)?;
        let mark = match MarkFile::open(&folder)? {
            Some(mark) => mark,
            None if files::segments(&folder)?.is_empty() => make(bus, &folder, source)?,
            None => return Err(mark::missing(&folder)),
        };
        let found =
            Source { epoch: mark.get().epoch, partitions: mark.get().partitions(), service: source.service.clone() };
        rules::check_same(&found, source)?;
        check_doubt(&folder, source)?;
        let (mut segment, end) = check::steady(&folder, |segments| {
            let (segment, end) = recover(&folder, source, mark.get(), segments)?;
            check::chain(&folder, source, segments, segment.first)?;
            Ok((segment, end))
        })?;
        if files::cut(&folder).is_none() {
            files::note_cut(&folder, files::segments(&folder)?.first().copied().unwrap_or_default())?;
        }
        segment.since_ms = first_time(&folder, segment.first)?;
        Ok(Self {
            source: source.clone(),
            folder,
            segment_max_bytes,
            segment_max_age,
            end,
            mark,
            segment,
            buffer: Vec::new(),
            failed: None,
            checked: Vec::new(),
            lock,
        })
    }

    /// That the files are where they were, and that no reader has found one damaged.
    fn check_files(&mut self) -> Result<(), BusError> {
        let lock = self.folder.join("lock");
        if !files::is_in_place(&self.lock.0, &lock) || !self.mark.is_whole(&self.folder) {
            return Err(damaged(&self.folder, 0, "its files were taken away or changed"));
        }
        if !files::is_in_place(&self.segment.file, &self.segment.path) {
            return Err(damaged(&self.segment.path, 0, "it was taken away"));
        }
        self.checked = check::steady(&self.folder, |segments| {
            if self.checked != segments {
                check::chain(&self.folder, &self.source, segments, self.segment.first)?;
            }
            Ok(segments.to_vec())
        })?;
        check_doubt(&self.folder, &self.source)
    }

    fn check_usable(&mut self) -> Result<(), BusError> {
        if self.failed.is_none() {
            let Segment { path, file, .. } = &self.segment;
            let gone = if files::is_in_place(file, path) { self.mark.gone() } else { Some(&**path) };
            self.failed = gone.map(|path| damaged(path, 0, "it was deleted or replaced"));
        }
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// Writes the buffer. After an error all records that were written to their end are in the log.
    fn write(&mut self) -> Result<(), BusError> {
        let (mut written, mut failure) = (0, None);
        while written < self.buffer.len() && failure.is_none() {
            match self.segment.file.write_at(&self.buffer[written..], self.end.offset + written as u64) {
                Ok(0) => failure = Some(io::Error::from(ErrorKind::WriteZero)),
                Ok(more) => written += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => failure = Some(error),
            }
        }
        let mut rest = &self.buffer[..written];
        while let Some(frame) = Frame::read(rest) {
            self.end.step(&frame);
            rest = &rest[frame.length..];
        }
        self.buffer.clear();
        let Some(error) = failure else { return Ok(()) };
        // A part of a record may be behind the end now: the next write goes over it, and so it does no harm if this
        // fails.
        let _ = self.segment.file.set_len(self.end.offset);
        Err(unavailable(&self.segment.path, &error))
    }

    /// Whether the newest segment is to take no event any more that happens at this time.
    fn is_old(&self, time_ms: i64) -> bool {
        let age = self.segment.since_ms.map_or(0, |since| time_ms.saturating_sub(since));
        self.segment_max_age.is_some_and(|most| u128::try_from(age).is_ok_and(|age| age >= most.as_millis()))
    }

    /// Closes the newest segment and begins another one.
    fn roll(&mut self) -> Result<(), BusError> {
        self.segment.file.set_len(self.end.offset).map_err(|error| unavailable(&self.segment.path, &error))?;
        self.sync_all()?;
        let numbers = self.end.numbers.clone();
        let header = Header { source: self.source.clone(), first: self.end.ordinal, before: numbers };
        (self.segment, self.end) = begin(&self.folder, &header)?;
        Ok(())
    }

    fn sync_all(&mut self) -> Result<(), BusError> {
        if self.mark.get().end.ordinal == self.end.ordinal {
            return Ok(());
        }
        let synced = self.try_sync();
        if let Err(error) = &synced {
            let why = format!("{error}; another publisher must open the log");
            self.failed = Some(BusError::Unavailable(why));
        }
        synced
    }

    fn try_sync(&mut self) -> Result<(), BusError> {
        self.segment.file.sync_data().map_err(|error| unavailable(&self.segment.path, &error))?;
        if !self.segment.named {
            files::sync_folder(&self.folder)?;
            self.segment.named = true;
        }
        self.mark.set(Mark { epoch: self.source.epoch, segment: self.segment.first, end: self.end.clone() })
    }
}

impl Publisher for LogPublisher {
    fn last(&self, partition: u16) -> u64 {
        self.end.numbers.get(usize::from(partition)).copied().unwrap_or_default()
    }

    fn append(&mut self, records: &[Record]) -> Result<(), BusError> {
        self.check_usable()?;
        rules::check_records(&self.source, &self.end.numbers, records)?;
        let (mut ordinal, mut checksum) = (self.end.ordinal, self.end.checksum);
        for record in records {
            let full = self.end.offset + self.buffer.len() as u64 >= self.segment_max_bytes;
            if (full || self.is_old(record.time_ms)) && ordinal > self.segment.first {
                self.write()?;
                self.roll()?;
                checksum = self.end.checksum;
            }
            if ordinal == self.segment.first {
                self.segment.since_ms = Some(record.time_ms);
            }
            checksum = format::encode(record, ordinal, checksum, &mut self.buffer);
            ordinal += 1;
            if self.buffer.len() >= limits::WRITE_MAX_BYTES {
                self.write()?;
            }
        }
        self.write()?;
        self.buffer.shrink_to(limits::WRITE_MAX_BYTES);
        Ok(())
    }

    fn sync(&mut self) -> Result<Vec<u64>, BusError> {
        self.check_usable()?;
        self.sync_all()?;
        self.check_files()?;
        Ok(self.mark.get().end.numbers.clone())
    }
}

/// Reads the whole log if a reader has noted that it is damaged. The note stays as long as it is.
fn check_doubt(folder: &Path, source: &Source) -> Result<(), BusError> {
    let doubt = files::doubt(folder);
    if !doubt.exists() {
        return Ok(());
    }
    check::records(folder, source)?;
    fs::remove_file(&doubt).map_err(|error| unavailable(&doubt, &error))
}

/// Makes a log with nothing in it, but for its first segment.
fn make(bus: &Path, folder: &Path, source: &Source) -> Result<MarkFile, BusError> {
    let numbers = vec![0; usize::from(source.partitions)];
    let (header, checksum) = Header { source: source.clone(), first: 0, before: numbers.clone() }.encode();
    let end = End { offset: header.len() as u64, checksum, ordinal: 0, numbers };
    let mark = MarkFile::create(folder, Mark { epoch: source.epoch, segment: 0, end })?;
    // With the names, up to the folder of all of this.
    for folder in [Some(folder), Some(bus), bus.parent().filter(|parent| !parent.as_os_str().is_empty())] {
        folder.map_or(Ok(()), files::sync_folder)?;
    }
    Ok(mark)
}

/// Begins a segment. It gets its name when its header is complete.
fn begin(folder: &Path, header: &Header) -> Result<(Segment, End), BusError> {
    let (made, path) = (folder.join("next"), files::segment(folder, header.first));
    let (bytes, checksum) = header.encode();
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&made)
        .and_then(|file| file.write_all_at(&bytes, 0).map(|()| file))
        .map_err(|error| unavailable(&made, &error))?;
    fs::rename(&made, &path).map_err(|error| unavailable(&path, &error))?;
    let offset = bytes.len() as u64;
    let end = End { offset, checksum, ordinal: header.first, numbers: header.before.clone() };
    Ok((Segment { path, file, first: header.first, named: false, since_ms: None }, end))
}

/// Finds the end of a log from its mark on, and cuts off what comes after it.
fn recover(folder: &Path, source: &Source, mark: &Mark, segments: &[u64]) -> Result<(Segment, End), BusError> {
    // The mark is in the newest segment, or at the end of the one before, if there is nothing synced in the newest.
    let newest = if segments.contains(&mark.end.ordinal) { mark.end.ordinal } else { mark.segment };
    if let Some(unknown) = segments.iter().find(|first| **first > mark.segment && **first != newest) {
        return Err(damaged(&files::segment(folder, *unknown), 0, "what should be before it is not"));
    }
    if mark.segment < mark.end.ordinal {
        check_mark(folder, mark)?;
    }
    let nothing_synced = newest == mark.end.ordinal;
    if nothing_synced && mark.segment < mark.end.ordinal {
        cut_behind(folder, mark)?;
    }
    let path = files::segment(folder, newest);
    let file = File::options().read(true).write(true).open(&path);
    let mut cursor = match file {
        Ok(file) => match Cursor::over(file, path.clone(), newest, Vec::new())? {
            Opened::Segment(cursor) => cursor,
            _ if nothing_synced => return begin_again(folder, source, mark),
            _ => return Err(damaged(&path, 0, "the header of a segment cannot be read")),
        },
        Err(error) if error.kind() == ErrorKind::NotFound && nothing_synced => {
            return begin_again(folder, source, mark);
        }
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(damaged(&path, 0, "it is missing")),
        Err(error) => return Err(files::unread(&path, 0, &error)),
    };
    rules::check_same(&cursor.header.source, source)?;
    if cursor.header.source.service != source.service {
        let why = format!("it belongs to the service `{}`", cursor.header.source.service);
        return Err(damaged(&path, 0, &why));
    }
    if !nothing_synced {
        cursor.go_to(mark.end.offset, mark.end.checksum, mark.end.ordinal);
    }
    let from = cursor.offset;
    let mut end =
        End { offset: from, checksum: cursor.checksum, ordinal: cursor.ordinal, numbers: mark.end.numbers.clone() };
    loop {
        match cursor.next()? {
            Next::Record(frame, _) => {
                let offset = end.offset;
                if !end.step(&frame) {
                    return Err(damaged(&path, offset, "a record has a number that is not the next one"));
                }
            }
            Next::Nothing { .. } => break,
            Next::Replaced => return Err(damaged(&path, from, "it is not what was synced")),
        }
    }
    let failed = |error| unavailable(&path, &error);
    let length = cursor.file.metadata().map_err(failed)?.len();
    if length > end.offset {
        let bytes = length - end.offset;
        tracing::info!(service = source.service, bytes, "a part of a record at the end of the log is cut off");
        cursor.file.set_len(end.offset).map_err(failed)?;
    }
    write_again(&cursor, from, end.offset)?;
    Ok((Segment { path, file: cursor.file, first: newest, named: !nothing_synced, since_ms: None }, end))
}

/// When the first event of a segment happened; None where it has none.
fn first_time(folder: &Path, first: u64) -> Result<Option<i64>, BusError> {
    let Opened::Segment(mut cursor) = Cursor::open(folder, first, Vec::new())? else { return Ok(None) };
    Ok(match cursor.next()? {
        Next::Record(frame, _) => Some(frame.time_ms),
        Next::Nothing { .. } | Next::Replaced => None,
    })
}

/// Creates the segment again in which the log continues: nothing in it was synced, so a power cut may have taken it.
fn begin_again(folder: &Path, source: &Source, mark: &Mark) -> Result<(Segment, End), BusError> {
    begin(folder, &Header { source: source.clone(), first: mark.end.ordinal, before: mark.end.numbers.clone() })
}

/// That the last record before the mark is what was synced.
fn check_mark(folder: &Path, mark: &Mark) -> Result<(), BusError> {
    let path = files::segment(folder, mark.segment);
    let wrong = |offset| damaged(&path, offset, "it is not what was synced");
    let Some(file) = files::open(&path)? else { return Err(damaged(&path, 0, "it is missing")) };
    let length = file.metadata().map_err(|error| unavailable(&path, &error))?.len();
    if length < mark.end.offset {
        return Err(damaged(&path, length, "it ends before what was synced"));
    }
    let read = |bytes: &mut [u8], back: usize| {
        let from = mark.end.offset.checked_sub(back as u64).ok_or_else(|| wrong(0))?;
        files::read(&file, &path, bytes, from)
    };
    let mut back = [0; 2 * CHECKSUM_BYTES];
    read(&mut back, 2 * CHECKSUM_BYTES)?;
    let record = format::Bytes(&back).u32().unwrap_or_default() as usize;
    if record > limits::RECORD_MAX_BYTES {
        return Err(wrong(mark.end.offset - CHECKSUM_BYTES as u64));
    }
    let mut bytes = vec![0; CHECKSUM_BYTES + record];
    read(&mut bytes, CHECKSUM_BYTES + record)?;
    let mut rest = format::Bytes(&bytes);
    let before = rest.u32().unwrap_or_default();
    match Frame::parse(rest.0, before) {
        format::Parsed::Frame(frame)
            if frame.checksum == mark.end.checksum && frame.ordinal + 1 == mark.end.ordinal =>
        {
            Ok(())
        }
        _ => Err(wrong(mark.end.offset - record as u64)),
    }
}

/// Cuts off what a power cut has left behind the mark in a segment that is complete.
fn cut_behind(folder: &Path, mark: &Mark) -> Result<(), BusError> {
    let path = files::segment(folder, mark.segment);
    let cut =
        |file: File| if file.metadata()?.len() > mark.end.offset { file.set_len(mark.end.offset) } else { Ok(()) };
    File::options().write(true).open(&path).and_then(cut).map_err(|error| unavailable(&path, &error))
}

/// Writes what is not synced once more. Were it left from an fsync that failed, the system would take it for written,
/// and the next fsync would say that it is on the disk.
fn write_again(cursor: &Cursor, from: u64, to: u64) -> Result<(), BusError> {
    let mut buffer = vec![0; limits::READ_BYTES];
    let mut offset = from;
    while offset < to {
        let length = usize::try_from(to - offset).map_or(buffer.len(), |rest| rest.min(buffer.len()));
        let length = files::read(&cursor.file, &cursor.path, &mut buffer[..length], offset)?;
        if length == 0 {
            return Err(damaged(&cursor.path, offset, "it changes while it is read"));
        }
        cursor.file.write_all_at(&buffer[..length], offset).map_err(|error| unavailable(&cursor.path, &error))?;
        offset += length as u64;
    }
    Ok(())
}

//! Reads the logs of several sources.

use super::{
    cursor::{Cursor, Next, Opened},
    end::end,
    files,
    format::Frame,
    mark,
};
use crate::{BusError, Delivery, Position, Source, Subscription, Wants, limits, rules};
use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use uuid::Uuid;

/// See [`Subscription`].
pub(super) struct LogSubscription {
    feeds: Vec<Feed>,
    wants: Wants,
    /// Which source comes first.
    turn: usize,
    failed: rules::Postponed,
    /// When there last was an event.
    busy: Instant,
}

impl LogSubscription {
    pub(super) fn new(bus: &Path, from: &[Position], wants: Wants) -> Result<Self, BusError> {
        let mut feeds: Vec<Feed> = Vec::new();
        for position in from {
            rules::check_service(&position.service)?;
            let place = feeds.iter().position(|feed| feed.service == position.service).unwrap_or(feeds.len());
            if place == feeds.len() {
                feeds.push(Feed::new(bus, &position.service));
            }
            feeds[place].from(position);
        }
        Ok(Self { feeds, wants, turn: 0, failed: rules::Postponed::default(), busy: Instant::now() })
    }

    /// What there is now, from all sources fairly: first an equal share of each, then what room is left.
    fn read(&mut self, max: usize) -> Result<Vec<Delivery>, BusError> {
        let mut batch = Batch { wants: &self.wants, deliveries: Vec::new(), bytes: 0 };
        let mut failed = None;
        let feeds = self.feeds.len().max(1);
        self.turn = (self.turn + 1) % feeds;
        let (later, first) = self.feeds.split_at_mut(self.turn);
        let mut hungry: Vec<&mut Feed> = first.iter_mut().chain(later).collect();
        for share in [max.div_ceil(feeds), max] {
            hungry.retain_mut(|feed| {
                let until = max.min(batch.deliveries.len() + share);
                feed.read(until, &mut batch).unwrap_or_else(|error| {
                    failed.get_or_insert(error);
                    false
                })
            });
        }
        let deliveries = batch.deliveries;
        self.failed.after(deliveries, failed)
    }
}

impl Subscription for LogSubscription {
    fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Delivery>, BusError> {
        self.failed.take()?;
        let begun = Instant::now();
        loop {
            let deliveries = self.read(max.min(limits::POLL_MAX_EVENTS))?;
            let now = Instant::now();
            if !deliveries.is_empty() {
                self.busy = now;
                return Ok(deliveries);
            }
            let left = wait.saturating_sub(now - begun);
            if left.is_zero() || max == 0 {
                return Ok(deliveries);
            }
            // The longer there was nothing, the less often it is looked.
            let pause = ((now - self.busy) / 16).clamp(limits::LOOK_BUSY, limits::LOOK_IDLE);
            thread::park_timeout(pause.min(left));
        }
    }

    fn behind(&self) -> Result<Vec<(String, u64)>, BusError> {
        self.feeds.iter().map(|feed| Ok((feed.service.clone(), feed.behind()?))).collect()
    }
}

/// What one poll delivers.
struct Batch<'a> {
    wants: &'a Wants,
    deliveries: Vec<Delivery>,
    /// Of wanted content.
    bytes: usize,
}

/// One source.
struct Feed {
    folder: PathBuf,
    service: String,
    /// The epochs that its positions name.
    epochs: Vec<Uuid>,
    /// The last number read of each partition.
    last: Vec<u64>,
    /// None until the reader has found its log, and while it searches again.
    reading: Option<Reading>,
    /// The buffer of the cursor before.
    buffer: Vec<u8>,
    /// An error, reported only if it is there again after a fresh start: the log may have changed during the read.
    doubt: Option<(u64, u64)>,
    /// When it last made sure that it reads the right file.
    looked: Option<Instant>,
}

struct Reading {
    source: Arc<Source>,
    cursor: Cursor,
}

impl Feed {
    fn new(bus: &Path, service: &str) -> Self {
        Self {
            folder: bus.join(service),
            service: service.to_owned(),
            epochs: Vec::new(),
            last: Vec::new(),
            reading: None,
            buffer: Vec::new(),
            doubt: None,
            looked: None,
        }
    }

    fn from(&mut self, position: &Position) {
        let partition = usize::from(position.partition);
        self.last.resize(self.last.len().max(partition + 1), 0);
        self.last[partition] = position.sequence;
        self.epochs.extend(position.epoch.filter(|epoch| !self.epochs.contains(epoch)));
    }

    /// Reads until there are this many deliveries in all; returns whether there may be more.
    fn read(&mut self, until: usize, batch: &mut Batch<'_>) -> Result<bool, BusError> {
        let mut seeks = 0;
        while batch.deliveries.len() < until && batch.bytes < limits::POLL_MAX_BYTES {
            let Some(reading) = &mut self.reading else {
                if seeks == limits::SEEKS_MAX {
                    return Ok(false);
                }
                seeks += 1;
                if !self.seek()? {
                    return Ok(false);
                }
                continue;
            };
            match reading.cursor.next() {
                Ok(Next::Record(frame, bytes)) => self.take(frame, &bytes, batch)?,
                Ok(Next::Nothing { remains }) => {
                    if !self.go_on(remains)? {
                        return Ok(false);
                    }
                }
                Ok(Next::Replaced) => self.begin_anew(),
                Err(error) => {
                    self.begin_anew(); // the log may be filled again meanwhile, in other files
                    return Err(error);
                }
            }
        }
        Ok(true)
    }

    /// Finds the last segment before which nothing is unread; false where there is no log yet, or none that can be read
    /// now.
    fn seek(&mut self) -> Result<bool, BusError> {
        let segments = files::segments(&self.folder)?;
        if segments.is_empty() && mark::read(&self.folder)?.is_some_and(|mark| mark.end.ordinal > 0) {
            let path = files::segment(&self.folder, files::cut(&self.folder).unwrap_or_default());
            return self.doubt((0, 0), files::damaged(&path, 0, "it is missing")).map(|()| true);
        }
        let (mut from, mut to) = (0, segments.len());
        let mut found = None;
        // The newest first: mostly it is that one. `from` and all before it may be it, `to` and all after it are not.
        let mut middle = to.saturating_sub(1);
        while from < to {
            let buffer = std::mem::take(&mut self.buffer);
            match Cursor::open(&self.folder, segments[middle], buffer)? {
                Opened::Segment(cursor) => {
                    self.check(&cursor)?;
                    if self.unread_before(&cursor).is_none() {
                        from = middle + 1;
                        if let Some(worse) = found.replace(cursor) {
                            self.buffer = worse.into_buffer();
                        }
                    } else if middle == 0 {
                        files::check_first(&self.folder, &segments)?;
                        return Err(self.gone(&cursor));
                    } else {
                        to = middle;
                        self.buffer = cursor.into_buffer();
                    }
                }
                // A retention deletes it right now.
                Opened::Missing => return Ok(false),
                Opened::Broken => {
                    let first = segments[middle];
                    if mark::read(&self.folder)?.is_some_and(|mark| mark.end.ordinal > first) {
                        let path = files::segment(&self.folder, first);
                        let error = files::damaged(&path, 0, "the header of a segment cannot be read");
                        return self.doubt((first, 0), error).map(|()| true);
                    }
                    // The remains of a power cut.
                    to = middle;
                }
            }
            middle = from.midpoint(to);
        }
        let Some(cursor) = found else { return Ok(false) };
        let source = Arc::new(cursor.header.source.clone());
        self.last.resize(self.last.len().max(usize::from(source.partitions)), 0);
        self.reading = Some(Reading { source, cursor });
        Ok(true)
    }

    /// That a segment belongs to the source that was read so far.
    fn check(&self, cursor: &Cursor) -> Result<(), BusError> {
        let source = &cursor.header.source;
        if source.service != self.service {
            let why = format!("it belongs to the service `{}`", source.service);
            return Err(files::damaged(&cursor.path, 0, &why));
        }
        match self.epochs.iter().find(|epoch| **epoch != source.epoch) {
            None => Ok(()),
            Some(epoch) => {
                Err(BusError::AnotherEpoch { service: self.service.clone(), found: source.epoch, wanted: *epoch })
            }
        }
    }

    /// The partition of which something that is not read yet was before a segment.
    fn unread_before(&self, cursor: &Cursor) -> Option<usize> {
        let last = |partition| self.last.get(partition).copied().unwrap_or_default();
        cursor.header.before.iter().enumerate().position(|(partition, before)| last(partition) < *before)
    }

    fn gone(&self, oldest: &Cursor) -> BusError {
        let partition = self.unread_before(oldest).unwrap_or_default();
        BusError::Gone {
            service: self.service.clone(),
            partition: u16::try_from(partition).unwrap_or(u16::MAX),
            kept_from: oldest.header.before[partition] + 1,
            wanted: self.last.get(partition).copied().unwrap_or_default() + 1,
        }
    }

    fn begin_anew(&mut self) {
        if let Some(reading) = self.reading.take() {
            self.buffer = reading.cursor.into_buffer();
        }
    }

    fn take(&mut self, frame: Frame, bytes: &Range<usize>, batch: &mut Batch<'_>) -> Result<(), BusError> {
        let Some(Reading { source, cursor }) = &self.reading else { return Ok(()) };
        let (place, bytes) = (cursor.offset - frame.length as u64, cursor.bytes(bytes));
        let Some(last) = self.last.get_mut(usize::from(frame.partition)) else {
            let error = files::damaged(&cursor.path, place, "a record has a partition that there is not");
            return self.doubt((cursor.header.first, place), error);
        };
        if frame.sequence <= *last {
            return Ok(()); // read before; or this reader stands ahead of the log
        }
        if frame.sequence > *last + 1 {
            let (after, found) = (*last, frame.sequence);
            let (service, partition) = (self.service.clone(), frame.partition);
            let place = (cursor.header.first, place);
            return self.doubt(place, BusError::Gap { service, partition, after, found });
        }
        let wanted = match batch.wants {
            Wants::All => true,
            Wants::Only(types) => {
                std::str::from_utf8(frame.event_type(bytes)).is_ok_and(|event_type| types.contains(event_type))
            }
        };
        let mut record = None;
        if wanted {
            record = frame.record(bytes);
            batch.bytes += frame.length;
            if record.is_none() {
                let error = files::damaged(&cursor.path, place, "a record has a text that is none");
                return self.doubt((cursor.header.first, place), error);
            }
        }
        *last = frame.sequence;
        let Frame { partition, sequence, .. } = frame;
        batch.deliveries.push(Delivery { source: Arc::clone(source), partition, sequence, record });
        self.doubt = None;
        if self.epochs.is_empty() {
            self.epochs.push(source.epoch);
        }
        Ok(())
    }

    /// Reports an error that was at the same offset the last time; otherwise starts again to make sure.
    fn doubt(&mut self, place: (u64, u64), error: BusError) -> Result<(), BusError> {
        let sure = self.doubt == Some(place);
        self.doubt = Some(place);
        self.begin_anew();
        if sure {
            files::note_doubt(&self.folder);
            return Err(error);
        }
        Ok(())
    }

    /// Decides what follows where a segment has no further record: false to wait for one.
    fn go_on(&mut self, remains: bool) -> Result<bool, BusError> {
        let Some(Reading { source, cursor }) = &mut self.reading else { return Ok(true) };
        if let Some(next) = cursor.follow(&self.folder)? {
            if next.header.source == **source {
                *cursor = next;
            } else {
                self.begin_anew();
            }
            return Ok(true);
        }
        // A record half written is common, and damage is not; only the mark distinguishes them.
        if !remains && !cursor.deleted() && self.looked.is_some_and(|looked| looked.elapsed() < limits::LOOK_AROUND) {
            return Ok(false);
        }
        self.looked = Some(Instant::now());
        if !cursor.in_place() {
            self.begin_anew();
            return Ok(true);
        }
        let place = (cursor.header.first, cursor.offset);
        if mark::read(&self.folder)?
            .is_some_and(|mark| (mark.segment, mark.end.offset) > place && mark.end.ordinal > cursor.ordinal)
        {
            let error = files::damaged(&cursor.path, cursor.offset, "what was synced cannot be read");
            self.doubt(place, error)?;
            return Ok(true);
        }
        self.doubt = None;
        Ok(false)
    }

    fn behind(&self) -> Result<u64, BusError> {
        // Every record has a number, and every number a record: so their sums are the ordinals.
        Ok(end(&self.folder)?.saturating_sub(self.last.iter().sum()))
    }
}

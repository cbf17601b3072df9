//! Whether a log is whole.
//!
//! A log repeats the journal of its source. So a damaged one needs no repair: it is set aside, and the source appends all
//! of it again, with the same numbers. Somebody has to find the damage:
//!
//! * [`chain`] is cheap, and done at each start: each segment begins where the one before it ends.
//! * A reader that meets damage leaves a note ([`files::note_doubt`]). The publisher then reads the whole log
//!   ([`records`]): a reader decides nothing, as it may be wrong, or in the way of a writer.

use super::{
    cursor::{Cursor, Next, Opened},
    end::last_frame,
    files::{self, damaged},
    mark,
};
use crate::{BusError, Source, rules};
use std::path::Path;

/// That each segment is there and begins where the one before it ends, up to the one that begins with this record, where
/// the publisher goes on.
pub(super) fn chain(folder: &Path, source: &Source, segments: &[u64], newest: u64) -> Result<(), BusError> {
    files::check_first(folder, segments)?;
    let mut expected = segments.first().copied().unwrap_or(newest);
    for first in segments.iter().copied().take_while(|first| *first < newest).chain([newest]) {
        let path = files::segment(folder, first);
        if first > expected {
            return Err(damaged(&files::segment(folder, expected), 0, "it is missing"));
        }
        if first < expected {
            return Err(damaged(&path, 0, "it begins before the end of the one before it"));
        }
        if first == newest {
            break; // the publisher reads this one
        }
        let cursor = open(folder, source, first)?;
        let Some(last) = last_frame(&cursor)? else {
            return Err(damaged(&path, cursor.offset, "it does not end with a record"));
        };
        expected = last.ordinal + 1;
    }
    Ok(())
}

/// That every record of a log is there and right, up to its mark.
pub(super) fn records(folder: &Path, source: &Source) -> Result<(), BusError> {
    let Some(mark) = mark::read(folder)? else { return Err(mark::missing(folder)) };
    let segments = files::segments(folder)?;
    let mut numbers: Option<Vec<u64>> = None;
    let mut ordinal = files::cut(folder);
    if segments.first().is_some_and(|first| *first <= ordinal) {
        ordinal = segments[0]; // a cut that was interrupted, or one that goes on right now
    }
    for first in segments.iter().copied().take_while(|first| *first < mark.end.ordinal) {
        let path = files::segment(folder, first);
        let mut cursor = open(folder, source, first)?;
        let before = &cursor.header.before;
        if first != ordinal || numbers.as_ref().is_some_and(|numbers| numbers != before) {
            return Err(damaged(&path, 0, "what should be before it is not"));
        }
        let mut last = before.clone();
        loop {
            let place = cursor.offset;
            match cursor.next()? {
                Next::Record(frame, bytes) => {
                    let number = last.get_mut(usize::from(frame.partition));
                    let is_next = number.is_some_and(|number| {
                        *number += 1;
                        *number == frame.sequence
                    });
                    if !is_next || frame.record(cursor.bytes(&bytes)).is_none() {
                        return Err(damaged(&path, place, "a record is not what was written"));
                    }
                }
                Next::Nothing { remains: true } if cursor.ordinal < mark.end.ordinal => {
                    return Err(damaged(&path, place, "what was synced cannot be read"));
                }
                Next::Nothing { .. } => break,
                Next::Replaced => return Err(damaged(&path, place, "it changes while it is read")),
            }
        }
        (ordinal, numbers) = (cursor.ordinal, Some(last));
    }
    if ordinal < mark.end.ordinal {
        return Err(damaged(&files::segment(folder, ordinal), 0, "what was synced is missing"));
    }
    Ok(())
}

/// See [`crate::Bus::reached`].
pub(super) fn reached(folder: &Path, source: &Source) -> Result<Vec<u64>, BusError> {
    let mut reached = Vec::new();
    let mut raise = |found: &Source, numbers: &[u64]| {
        rules::check_same(found, source)?;
        reached.resize(reached.len().max(numbers.len()), 0);
        for (reached, number) in reached.iter_mut().zip(numbers) {
            *reached = (*reached).max(*number);
        }
        Ok(())
    };
    if let Some(mark) = mark::read(folder)? {
        let found = Source { service: source.service.clone(), epoch: mark.epoch, partitions: mark.partitions() };
        raise(&found, &mark.end.numbers)?;
    }
    for first in files::segments(folder)? {
        let Opened::Segment(cursor) = Cursor::open(folder, first, Vec::new())? else { continue };
        let mut numbers = cursor.header.before.clone();
        if let Some(last) = last_frame(&cursor)?
            && let Some(number) = numbers.get_mut(usize::from(last.partition))
        {
            *number = last.sequence;
        }
        raise(&cursor.header.source, &numbers)?;
    }
    Ok(reached)
}

fn open(folder: &Path, source: &Source, first: u64) -> Result<Cursor, BusError> {
    let path = files::segment(folder, first);
    match Cursor::open(folder, first, Vec::new())? {
        Opened::Segment(cursor) => {
            if cursor.header.source.service != source.service {
                let why = format!("it belongs to the service `{}`", cursor.header.source.service);
                return Err(damaged(&path, 0, &why));
            }
            rules::check_same(&cursor.header.source, source)?;
            Ok(cursor)
        }
        Opened::Missing => Err(damaged(&path, 0, "it is missing")),
        Opened::Broken => Err(damaged(&path, 0, "the header of a segment cannot be read")),
    }
}

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
    end::{end_of, last_frame},
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
        expected = end_of(open(folder, source, first)?)?;
    }
    Ok(())
}

/// Does this with the segments of a log, and again if it fails while retention deletes one of them.
pub(super) fn steady<T>(folder: &Path, mut work: impl FnMut(&[u64]) -> Result<T, BusError>) -> Result<T, BusError> {
    let mut segments = files::segments(folder)?;
    loop {
        let done = work(&segments);
        let now = files::segments(folder)?;
        if done.is_ok() || now == segments {
            return done;
        }
        segments = now;
    }
}

/// That every record of a log is there and right, up to its mark.
pub(super) fn records(folder: &Path, source: &Source) -> Result<(), BusError> {
    steady(folder, |segments| records_of(folder, source, segments))
}

fn records_of(folder: &Path, source: &Source, segments: &[u64]) -> Result<(), BusError> {
    let Some(mark) = mark::read(folder)? else { return Err(mark::missing(folder)) };
    let mut numbers: Option<Vec<u64>> = None;
    files::check_first(folder, segments)?;
    let mut ordinal = segments.first().copied().unwrap_or_default();
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
                Next::Nothing { remains: true }
                    if cursor.ordinal < mark.end.ordinal && !segments.contains(&cursor.ordinal) =>
                {
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
    if let Some(mark) = read_if_whole(mark::read(folder))?.flatten() {
        let found = Source { service: source.service.clone(), epoch: mark.epoch, partitions: mark.partitions() };
        raise(&found, &mark.end.numbers)?;
    }
    for first in files::segments(folder)? {
        let opened = read_if_whole(Cursor::open(folder, first, Vec::new()))?;
        let Some(Opened::Segment(cursor)) = opened else { continue };
        let mut numbers = cursor.header.before.clone();
        if let Some(last) = read_if_whole(last_frame(&cursor))?.flatten()
            && let Some(number) = numbers.get_mut(usize::from(last.partition))
        {
            *number = last.sequence;
        }
        raise(&cursor.header.source, &numbers)?;
    }
    Ok(reached)
}

/// None for a part that is damaged.
fn read_if_whole<T>(read: Result<T, BusError>) -> Result<Option<T>, BusError> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(BusError::Damaged { .. }) => Ok(None),
        Err(error) => Err(error),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_fails_while_a_segment_is_deleted_is_done_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = |first| files::segment(folder.path(), first);
        fs::write(path(0), "").unwrap();
        fs::write(path(5), "").unwrap();
        let mut seen = Vec::new();
        let done = steady(folder.path(), |segments| {
            seen.push(segments.to_vec());
            drop(fs::remove_file(path(0)));
            if segments.contains(&0) { Err(damaged(&path(0), 0, "it is missing")) } else { Ok(()) }
        });
        assert_eq!((done, seen), (Ok(()), vec![vec![0, 5], vec![5]]));
        let mut tries = 0;
        let failed = steady(folder.path(), |_| {
            tries += 1;
            Err::<(), _>(damaged(&path(5), 0, "it is empty"))
        });
        assert!(failed.is_err() && tries == 1, "nothing has changed");
    }
}

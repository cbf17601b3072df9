//! What was just committed, on its way to the relay: so the relay reads the journal only after a start, after a gap, and when
//! it is behind.
//!
//! Nothing rests on it. The journal has every event, and the relay takes from here only what comes next after its last number.

use super::envelope::record;
use crate::limits::FEED_MAX_EVENTS;
use jumun_bus::Record;
use jumun_database::{JournalEntry, JournalRecord, Receipt};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Committed events that are not published yet, by partition and number.
#[derive(Debug, Default)]
pub(crate) struct Feed(Mutex<Option<BTreeMap<(u16, u64), Record>>>);

impl Feed {
    fn events(&self) -> MutexGuard<'_, Option<BTreeMap<(u16, u64), Record>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on there is a relay that takes the events.
    pub(super) fn open(&self) {
        self.events().get_or_insert_default();
    }

    /// The events of a commit that is about to be done, for [`Self::committed`]. Nothing where no relay takes them.
    pub(crate) fn copy(&self, journal: &[JournalEntry]) -> Vec<JournalEntry> {
        if journal.is_empty() || self.events().is_none() { Vec::new() } else { journal.to_vec() }
    }

    /// The commit is done. What does not fit is left to the journal.
    pub(crate) fn committed(&self, journal: Vec<JournalEntry>, receipt: &Receipt) {
        let mut events = self.events();
        let Some(events) = events.as_mut() else { return };
        for (entry, (partition, sequence)) in journal.into_iter().zip(&receipt.sequences) {
            if events.len() < FEED_MAX_EVENTS {
                let JournalEntry { event_type, key, time_ms, trace, body } = entry;
                let (partition, sequence, event_type) = (*partition, *sequence, event_type.to_owned());
                let event = JournalRecord { partition, sequence, event_type, key, time_ms, trace, body };
                events.insert((partition, sequence), record(event));
            }
        }
    }

    /// Takes the events that come right after a number, as far as there is no gap. `None`: later ones are here, and the next
    /// one is not.
    pub(super) fn take(&self, partition: u16, last: u64, most: usize) -> Option<Vec<Record>> {
        let mut events = self.events();
        let Some(events) = events.as_mut() else { return Some(Vec::new()) };
        let mut taken = Vec::new();
        let mut next = last + 1;
        while taken.len() < most
            && let Some(entry) = events.range((partition, 0)..=(partition, u64::MAX)).next()
        {
            let key = *entry.0;
            if key.1 > next {
                return if taken.is_empty() { None } else { Some(taken) };
            }
            let record = events.remove(&key);
            if key.1 == next {
                taken.extend(record);
                next += 1;
            }
        }
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(feed: &Feed, numbers: &[(u16, u64)]) {
        let entry = JournalEntry { event_type: "Ordered", key: 1, time_ms: 0, trace: None, body: "{}".to_owned() };
        let journal = feed.copy(&vec![entry; numbers.len()]);
        feed.committed(journal, &Receipt { sequences: numbers.to_vec() });
    }

    fn take(feed: &Feed, partition: u16, last: u64) -> Option<Vec<u64>> {
        feed.take(partition, last, 3).map(|taken| taken.iter().map(|record| record.sequence).collect())
    }

    #[test]
    fn it_gives_what_comes_next_and_knows_a_gap() {
        let feed = Feed::default();
        commit(&feed, &[(0, 1)]);
        feed.open();
        assert_eq!(take(&feed, 0, 0), Some(vec![]), "no relay took events before");
        commit(&feed, &[(0, 3), (0, 4), (1, 1)]);
        assert_eq!(take(&feed, 0, 1), None, "2 is not here");
        commit(&feed, &[(0, 2)]);
        assert_eq!(take(&feed, 0, 1), Some(vec![2, 3, 4]));
        assert_eq!(take(&feed, 0, 4), Some(vec![]));
        commit(&feed, &[(0, 5), (0, 6), (0, 8)]);
        assert_eq!(take(&feed, 0, 5), Some(vec![6]), "5 was published from the journal");
        assert_eq!(take(&feed, 0, 6), None);
        assert_eq!(take(&feed, 1, 0), Some(vec![1]), "each partition has its own numbers");
    }

    #[test]
    fn it_is_bounded() {
        let feed = Feed::default();
        feed.open();
        let most = FEED_MAX_EVENTS as u64;
        (1..=most + 1).for_each(|number| commit(&feed, &[(0, number)]));
        assert_eq!(feed.take(0, 0, usize::MAX).map(|taken| taken.len()), Some(FEED_MAX_EVENTS));
    }
}

//! Numbers that go up with every commit, kept in the writer's memory and written once a group.

use crate::{
    Schema,
    values::{signed, unsigned},
};

/// The counters as of one transaction. The writer works on a copy and keeps it when the transaction is committed, so
/// that what is rolled back never counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counters {
    /// The last number given out in each partition.
    journal: Vec<u64>,
    /// How many requests there are.
    requests: u64,
    collections: Vec<CollectionCounters>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct CollectionCounters {
    name: &'static str,
    /// The largest subject of any request there ever was.
    subject: i64,
    /// The largest id of any document; never stored, as the documents have it.
    document: i64,
    /// How many documents are shown.
    shown: u64,
    /// The same two of the shadow; never written, as a shadow is filled by one process.
    shadow: Shadow,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Shadow {
    document: i64,
    shown: u64,
}

impl Counters {
    /// The counters of a database. `stored` reads a counter of the database, 0 where there is none; `largest_id` the largest
    /// id of a collection's documents, 0 where there is none.
    pub(crate) fn load<E>(
        schema: &Schema,
        mut stored: impl FnMut(&str) -> Result<i64, E>,
        mut largest_id: impl FnMut(&'static str) -> Result<i64, E>,
    ) -> Result<Self, E> {
        let mut collections = Vec::with_capacity(schema.collections.len());
        for known in &schema.collections {
            let name = known.name;
            collections.push(CollectionCounters {
                name,
                subject: stored(&subjects(name))?,
                document: largest_id(name)?,
                shown: unsigned(stored(&shown(name))?),
                shadow: Shadow::default(),
            });
        }
        let journal = (0..schema.partitions.max(1)).map(|partition| stored(&last_event(partition)).map(unsigned));
        Ok(Self { journal: journal.collect::<Result<_, E>>()?, requests: unsigned(stored(REQUESTS)?), collections })
    }

    pub(crate) fn partitions(&self) -> u16 {
        u16::try_from(self.journal.len()).unwrap_or(u16::MAX)
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests
    }

    pub(crate) fn next_sequence(&mut self, partition: u16) -> u64 {
        let last = &mut self.journal[usize::from(partition)];
        *last += 1;
        *last
    }

    pub(crate) fn request_added(&mut self, collection: &str, subject: i64) {
        self.requests += 1;
        if let Some(counters) = self.of(collection) {
            counters.subject = counters.subject.max(subject);
        }
    }

    pub(crate) fn requests_purged(&mut self, count: u64) {
        self.requests = self.requests.saturating_sub(count);
    }

    pub(crate) fn document_written(&mut self, position: usize, id: i64, was_shown: bool, shown: bool) {
        let counters = &mut self.collections[position];
        counters.document = counters.document.max(id);
        counters.shown = (counters.shown + u64::from(shown)).saturating_sub(u64::from(was_shown));
    }

    pub(crate) fn shadow_written(&mut self, collection: &str, id: i64, was_shown: bool, shown: bool) {
        if let Some(CollectionCounters { shadow, .. }) = self.of(collection) {
            shadow.document = shadow.document.max(id);
            shadow.shown = (shadow.shown + u64::from(shown)).saturating_sub(u64::from(was_shown));
        }
    }

    pub(crate) fn shadow_cleared(&mut self, collection: &str) {
        if let Some(counters) = self.of(collection) {
            counters.shadow = Shadow::default();
        }
    }

    pub(crate) fn switched(&mut self, collection: &str) {
        if let Some(counters) = self.of(collection) {
            let Shadow { document, shown } = std::mem::take(&mut counters.shadow);
            counters.shown = shown;
            counters.document = counters.document.max(document); // an id that was given out once is never given out again
        }
    }

    fn of(&mut self, collection: &str) -> Option<&mut CollectionCounters> {
        self.collections.iter_mut().find(|known| known.name == collection)
    }

    /// Calls `write` with each counter that differs from `before`.
    pub(crate) fn changed_since<E>(
        &self,
        before: &Self,
        mut write: impl FnMut(&str, i64) -> Result<(), E>,
    ) -> Result<(), E> {
        for ((last, before), partition) in self.journal.iter().zip(&before.journal).zip(0..) {
            if last != before {
                write(&last_event(partition), signed(*last))?;
            }
        }
        if self.requests != before.requests {
            write(REQUESTS, signed(self.requests))?;
        }
        for (now, before) in self.collections.iter().zip(&before.collections) {
            if now.subject != before.subject {
                write(&subjects(now.name), now.subject)?;
            }
            if now.shown != before.shown {
                write(&shown(now.name), signed(now.shown))?;
            }
        }
        Ok(())
    }

    /// The largest id of each collection that is known to the database.
    pub(crate) fn last_ids(&self) -> impl Iterator<Item = (&'static str, i64)> {
        self.collections.iter().map(|counters| (counters.name, counters.subject.max(counters.document)))
    }
}

const REQUESTS: &str = "requests";

fn last_event(partition: u16) -> String {
    format!("journal/{partition}")
}

fn subjects(collection: &str) -> String {
    format!("ids/{collection}")
}

/// The counter of the documents that are shown.
pub(crate) fn shown(collection: &str) -> String {
    format!("shown/{collection}")
}

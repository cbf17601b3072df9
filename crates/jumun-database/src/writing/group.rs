//! A group of commits in memory, for adapters whose database is asked once a group and not once a fact.
//!
//! 1. [`Group::of`] names all that the commits of the group depend on. The adapter reads that, all at once, and tells the
//!    group what it has found.
//! 2. Each commit is judged by [`rules::first_conflict`](crate::rules::first_conflict) on what the database holds and the
//!    commits before it in the group have made of it. One that is wrong about something is refused, and leaves nothing.
//! 3. What all of them make together is written, all at once: of each row its last state.

use super::counters::Counters;
use crate::{
    Changes, DocumentChange, JournalEntry, PositionChange, Receipt, Request, RequestChange, RequestState, StoredAnswer,
    WaitChange, partition_of,
    rules::{Facts, RequestFacts},
};
use std::{collections::HashMap, convert::Infallible};
use uuid::Uuid;

/// A group of commits.
#[derive(Default)]
pub(crate) struct Group<'j> {
    pub(crate) documents: HashMap<(&'static str, i64), DocumentInGroup<'j>>,
    pub(crate) requests: HashMap<Uuid, RequestInGroup<'j>>,
    pub(crate) keys: HashMap<&'j str, Option<Uuid>>,
    /// A few: one for each source that the service listens to.
    pub(crate) positions: Vec<PositionInGroup<'j>>,
    /// By id and collection.
    pub(crate) waits: HashMap<(i64, &'static str), &'j WaitChange>,
    pub(crate) events: Vec<(u16, u64, &'j JournalEntry)>,
}

/// A document that commits of the group name.
#[derive(Default)]
pub(crate) struct DocumentInGroup<'j> {
    /// Whether a commit has read its content from another one that was not done yet.
    pub(crate) is_content_wanted: bool,
    /// Its version in the database; 0 for none.
    stored: u64,
    version: u64,
    shown: bool,
    /// Its content in the database, where that is wanted.
    content: Option<String>,
    change: Option<&'j DocumentChange>,
}

/// A request that commits of the group name.
#[derive(Default)]
pub(crate) struct RequestInGroup<'j> {
    facts: Option<RequestFacts>,
    inserted: Option<&'j Request>,
    change: Option<RequestAfter<'j>>,
}

/// What the group makes of a request.
#[derive(Clone, Copy)]
pub(crate) struct RequestAfter<'j> {
    pub(crate) state: RequestState,
    pub(crate) has_key: bool,
    /// None: as it was.
    pub(crate) until_ms: Option<i64>,
    /// The answer and the last event of its commit. None: as it was.
    pub(crate) answer: Option<(&'j StoredAnswer, Option<(u16, u64)>)>,
}

/// A position that commits of the group name.
pub(crate) struct PositionInGroup<'j> {
    pub(crate) source: &'j str,
    pub(crate) partition: u16,
    found: Option<(Uuid, u64)>,
    pub(crate) change: Option<&'j PositionChange>,
}

impl<'j> Group<'j> {
    /// Names what these commits depend on. Nothing of it is known yet.
    pub(crate) fn of(commits: impl Iterator<Item = &'j Changes>) -> Self {
        let mut group = Self::default();
        for changes in commits {
            for change in &changes.requests {
                group.requests.entry(change.id()).or_default();
                if let RequestChange::Insert(request) = change
                    && let Some(key) = &request.key
                {
                    group.keys.entry(key).or_default();
                }
            }
            for change in &changes.documents {
                group.documents.entry((change.collection, change.id)).or_default();
            }
            for read in &changes.unchanged {
                let document = group.documents.entry((read.collection, read.id)).or_default();
                document.is_content_wanted |= read.body.is_some();
            }
            for change in &changes.positions {
                let (source, partition) = (&*change.position.source, change.position.partition);
                if group.position_of(source, partition).is_none() {
                    group.positions.push(PositionInGroup { source, partition, found: None, change: None });
                }
            }
        }
        group
    }

    /// Says of a document that it is in the database.
    pub(crate) fn found_document(
        &mut self,
        key: (&'static str, i64),
        version: u64,
        shown: bool,
        content: Option<String>,
    ) {
        if let Some(document) = self.documents.get_mut(&key) {
            (document.stored, document.version, document.shown, document.content) = (version, version, shown, content);
        }
    }

    /// Says of a request that it is in the database.
    pub(crate) fn found_request(&mut self, id: Uuid, facts: RequestFacts) {
        if let Some(request) = self.requests.get_mut(&id) {
            request.facts = Some(facts);
        }
    }

    /// Says of a key which request has it in the database.
    pub(crate) fn found_key(&mut self, key: &str, owner: Uuid) {
        if let Some(known) = self.keys.get_mut(key) {
            *known = Some(owner);
        }
    }

    /// Says of a position what is in the database.
    pub(crate) fn found_position(&mut self, source: &str, partition: u16, epoch: Uuid, sequence: u64) {
        if let Some(position) = self.position_of(source, partition) {
            position.found = Some((epoch, sequence));
        }
    }

    /// Takes what no conflict was found in.
    pub(crate) fn apply(
        &mut self,
        changes: &'j Changes,
        collection: impl Fn(&str) -> Option<usize>,
        counters: &mut Counters,
    ) -> Receipt {
        let mut receipt = Receipt { sequences: Vec::with_capacity(changes.journal.len()) };
        for entry in &changes.journal {
            let partition = partition_of(entry.key, counters.partitions());
            let sequence = counters.next_sequence(partition);
            self.events.push((partition, sequence, entry));
            receipt.sequences.push((partition, sequence));
        }
        for change in &changes.requests {
            self.apply_request(change, receipt.sequences.last().copied(), counters);
        }
        for change in &changes.documents {
            let document = self.documents.entry((change.collection, change.id)).or_default();
            if let Some(position) = collection(change.collection) {
                counters.document_written(position, change.id, document.shown, change.shown);
            }
            (document.version, document.shown) = (change.expected_version + 1, change.shown);
            document.change = Some(change);
            if change.wait != WaitChange::Keep {
                self.waits.insert((change.id, change.collection), &change.wait);
            }
        }
        for change in &changes.positions {
            if let Some(position) = self.position_of(&change.position.source, change.position.partition) {
                position.found = Some((change.position.epoch, change.position.sequence));
                position.change = Some(change);
            }
        }
        receipt
    }

    /// `last_event` is that of the commit: the answers that it stores name it.
    fn apply_request(&mut self, change: &'j RequestChange, last_event: Option<(u16, u64)>, counters: &mut Counters) {
        let request = self.requests.entry(change.id()).or_default();
        let before = request.facts;
        let after = request.change.get_or_insert_with(|| RequestAfter {
            state: before.map_or(RequestState::Done, |facts| facts.state),
            has_key: before.is_some_and(|facts| facts.has_key),
            until_ms: None,
            answer: None,
        });
        match change {
            RequestChange::Insert(new) => {
                request.inserted = Some(new);
                (after.state, after.has_key, after.until_ms) = (new.state, new.key.is_some(), Some(new.until_ms));
                after.answer = new.answer.as_ref().map(|answer| (answer, last_event));
                if let Some(key) = &new.key {
                    self.keys.insert(key, Some(new.id));
                }
                let subject = new.takes_its_subject().then_some(new.subject);
                counters.request_added(&new.collection, subject.unwrap_or_default());
            }
            RequestChange::Move { to, answer, .. } => {
                after.state = *to;
                after.answer = answer.as_ref().map(|answer| (answer, last_event)).or(after.answer);
            }
            RequestChange::Delay { until_ms, answer, .. } => {
                (after.state, after.until_ms) = (RequestState::Delayed, Some(*until_ms));
                after.answer = answer.as_ref().map(|answer| (answer, last_event)).or(after.answer);
            }
            RequestChange::ReleaseKey { .. } => after.has_key = false,
        }
        let was_answered = before.is_some_and(|facts| facts.answered);
        request.facts = Some(RequestFacts {
            state: after.state,
            has_key: after.has_key,
            answered: was_answered || after.answer.is_some(),
        });
    }

    fn position_of(&mut self, source: &str, partition: u16) -> Option<&mut PositionInGroup<'j>> {
        self.positions.iter_mut().find(|known| known.source == source && known.partition == partition)
    }

    /// The documents of a collection to write: those that are new, or those that were there.
    pub(crate) fn changed_documents(
        &self,
        collection: &'static str,
        is_new: bool,
    ) -> impl Iterator<Item = &'j DocumentChange> {
        let of_collection = self.documents.iter().filter(move |((name, _), _)| *name == collection);
        of_collection
            .filter(move |(_, document)| (document.stored == 0) == is_new)
            .filter_map(|(_, document)| document.change)
    }

    /// The requests to insert.
    pub(crate) fn new_requests(&self) -> impl Iterator<Item = (&'j Request, RequestAfter<'j>)> {
        self.requests.values().filter_map(|request| Some((request.inserted?, request.change?)))
    }

    /// The requests to change.
    pub(crate) fn changed_requests(&self) -> impl Iterator<Item = (Uuid, RequestAfter<'j>)> {
        let known = self.requests.iter().filter(|(_, request)| request.inserted.is_none());
        known.filter_map(|(id, request)| Some((*id, request.change?)))
    }
}

impl Facts for Group<'_> {
    type Error = Infallible;

    fn version(&mut self, collection: &'static str, id: i64) -> Result<u64, Infallible> {
        Ok(self.documents.get(&(collection, id)).map_or(0, |document| document.version))
    }

    fn has_body(&mut self, collection: &'static str, id: i64, body: &str) -> Result<bool, Infallible> {
        Ok(self.documents.get(&(collection, id)).is_some_and(|document| match document.change {
            Some(change) => change.body == body,
            None => document.content.as_deref() == Some(body),
        }))
    }

    fn request(&mut self, id: Uuid) -> Result<Option<RequestFacts>, Infallible> {
        Ok(self.requests.get(&id).and_then(|request| request.facts))
    }

    fn key_owner(&mut self, key: &str) -> Result<Option<Uuid>, Infallible> {
        let owner = self.keys.get(key).copied().flatten();
        let has_key =
            |id: &Uuid| self.requests.get(id).is_none_or(|request| request.facts.is_none_or(|facts| facts.has_key));
        Ok(owner.filter(has_key))
    }

    fn position(&mut self, source: &str, partition: u16) -> Result<Option<(Uuid, u64)>, Infallible> {
        Ok(self.position_of(source, partition).and_then(|position| position.found))
    }
}

//! What a commit may and may not do: the same for every adapter.

use crate::{Changes, CommitError, Conflict, Document, Position, RequestChange, RequestState, Schema, limits};
use std::collections::HashSet;
use uuid::Uuid;

/// Refuses what could never be committed, whatever the database holds. Runs before anything is queued, so that one
/// caller's mistake never costs the others of its group anything.
pub(crate) fn check_limits(changes: &Changes, schema: &Schema) -> Result<(), CommitError> {
    for entry in &changes.journal {
        check_size(&entry.body, limits::EVENT_MAX_BYTES, || format!("event {}", entry.event_type))?;
    }
    for document in &changes.documents {
        let name = document.collection;
        check_size(&document.body, limits::DOCUMENT_MAX_BYTES, || format!("document {} of `{name}`", document.id))?;
        check_collections(&[name], schema)?;
    }
    for read in &changes.unchanged {
        check_collections(&[read.collection], schema)?;
    }
    if repeats(changes.documents.iter().map(|document| (document.collection, document.id))) {
        return over("a document is changed twice in one commit".to_owned());
    }
    if repeats(
        changes.positions.iter().map(|change| (change.position.source.as_str(), i64::from(change.position.partition))),
    ) {
        return over("a position is changed twice in one commit".to_owned());
    }
    if changes.positions.iter().any(|change| i64::try_from(change.position.sequence).is_err()) {
        return over("a position is beyond the largest number of an event".to_owned());
    }
    Ok(())
}

fn check_size(body: &str, max_bytes: usize, what: impl FnOnce() -> String) -> Result<(), CommitError> {
    let bytes = body.len();
    if bytes > max_bytes {
        return over(format!("{} has {bytes} bytes, at most {max_bytes} are possible", what()));
    }
    Ok(())
}

/// The same for documents of a shadow.
pub(crate) fn check_shadow(name: &'static str, documents: &[Document], schema: &Schema) -> Result<(), CommitError> {
    if documents.len() > limits::SHADOW_MAX_ROWS {
        return over(format!("{} rows, at most {} are possible", documents.len(), limits::SHADOW_MAX_ROWS));
    }
    for document in documents {
        check_size(&document.body, limits::DOCUMENT_MAX_BYTES, || format!("document {} of `{name}`", document.id))?;
    }
    check_collections(&[name], schema)
}

/// That there are such collections.
pub(crate) fn check_collections(names: &[&'static str], schema: &Schema) -> Result<(), CommitError> {
    let is_known = |name: &str| schema.collections.iter().any(|collection| collection.name == name);
    match names.iter().find(|name| !is_known(name)) {
        None => Ok(()),
        Some(name) => over(format!("there is no collection `{name}`")),
    }
}

/// The first place that is not as believed, or of which nothing is believed.
pub(crate) fn place_conflict(believed: &[Position], found: &[Position]) -> Option<Conflict> {
    let unlike = |position: &&Position, others: &[Position]| !others.contains(position);
    let wrong = believed
        .iter()
        .find(|position| unlike(position, found))
        .or(found.iter().find(|position| unlike(position, believed)));
    wrong.map(|position| Conflict::Position { source: position.source.clone(), partition: position.partition })
}

fn over(what: String) -> Result<(), CommitError> {
    Err(CommitError::Limit(what))
}

/// Whether a name occurs twice. Most commits have one document, and none allocates for that.
fn repeats<'a>(mut names: impl ExactSizeIterator<Item = (&'a str, i64)>) -> bool {
    if names.len() < 2 {
        return false;
    }
    let mut seen = HashSet::with_capacity(names.len());
    !names.all(|name| seen.insert(name))
}

/// What a database knows, as far as a commit can be wrong about it.
pub(crate) trait Facts {
    /// Why a fact cannot be read.
    type Error;
    /// The version of a document; 0 where there is none.
    fn version(&mut self, collection: &'static str, id: i64) -> Result<u64, Self::Error>;
    /// Whether a document that is there has this content.
    fn has_body(&mut self, collection: &'static str, id: i64, body: &str) -> Result<bool, Self::Error>;
    /// What is known about a request.
    fn request(&mut self, id: Uuid) -> Result<Option<RequestFacts>, Self::Error>;
    /// Which request has this key.
    fn key_owner(&mut self, key: &str) -> Result<Option<Uuid>, Self::Error>;
    /// The offset of a consumer: epoch and number.
    fn position(&mut self, source: &str, partition: u16) -> Result<Option<(Uuid, u64)>, Self::Error>;
}

/// What is known about a request, as far as its next change depends on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestFacts {
    pub(crate) state: RequestState,
    pub(crate) has_key: bool,
    pub(crate) answered: bool,
}

/// The first thing that these changes believe and that is not so. Everything is looked at before anything is written:
/// that is how a conflict leaves nothing behind without a savepoint.
pub(crate) fn first_conflict<F: Facts>(changes: &Changes, facts: &mut F) -> Result<Option<Conflict>, F::Error> {
    let mut earlier = Earlier::default();
    for change in &changes.requests {
        if let Some(conflict) = request_conflict(change, facts, &mut earlier)? {
            return Ok(Some(conflict));
        }
    }
    for change in &changes.documents {
        if facts.version(change.collection, change.id)? != change.expected_version {
            return Ok(Some(Conflict::Document { collection: change.collection, id: change.id }));
        }
    }
    // After the changes: an adapter may remember what it has found out about these.
    for read in &changes.unchanged {
        let mut is_same = facts.version(read.collection, read.id)? == read.version;
        if let Some(body) = read.body.as_deref().filter(|_| is_same) {
            is_same = facts.has_body(read.collection, read.id, body)?;
        }
        if !is_same {
            return Ok(Some(Conflict::Document { collection: read.collection, id: read.id }));
        }
    }
    for change in &changes.positions {
        let position = &change.position;
        let as_believed = match facts.position(&position.source, position.partition)? {
            Some((epoch, sequence)) => epoch == position.epoch && sequence == change.expected_sequence,
            None => change.expected_sequence == 0,
        };
        if !as_believed {
            return Ok(Some(Conflict::Position { source: position.source.clone(), partition: position.partition }));
        }
    }
    Ok(None)
}

/// Requests as the earlier changes of the same commit leave them.
#[derive(Default)]
struct Earlier<'a> {
    requests: Vec<(Uuid, RequestFacts)>,
    keys: Vec<(&'a str, Uuid)>,
}

impl Earlier<'_> {
    fn get(&self, id: Uuid) -> Option<RequestFacts> {
        self.requests.iter().rev().find(|(other, _)| *other == id).map(|(_, facts)| *facts)
    }

    fn released(&self, id: Uuid) -> bool {
        self.get(id).is_some_and(|facts| !facts.has_key)
    }
}

fn request_conflict<'a, F: Facts>(
    change: &'a RequestChange,
    facts: &mut F,
    earlier: &mut Earlier<'a>,
) -> Result<Option<Conflict>, F::Error> {
    let id = change.id();
    let known = match earlier.get(id) {
        Some(facts) => Some(facts),
        None => facts.request(id)?,
    };
    let after = match (change, known) {
        (RequestChange::Insert(request), None) => {
            if let Some(key) = request.key.as_deref() {
                let taken_here = earlier.keys.iter().any(|(other, owner)| *other == key && !earlier.released(*owner));
                if taken_here || facts.key_owner(key)?.is_some_and(|owner| !earlier.released(owner)) {
                    return Ok(Some(Conflict::Key));
                }
                earlier.keys.push((key, id));
            }
            RequestFacts { state: request.state, has_key: request.key.is_some(), answered: request.answer.is_some() }
        }
        // A request never goes back: what is voided stays voided.
        (RequestChange::Move { from, to, answer, .. }, Some(known)) if known.state == *from && from <= to => {
            RequestFacts { state: *to, answered: known.answered || answer.is_some(), ..known }
        }
        (RequestChange::Delay { answer, .. }, Some(known)) if known.state == RequestState::Asking => {
            let (state, answered) = (RequestState::Delayed, known.answered || answer.is_some());
            RequestFacts { state, answered, ..known }
        }
        (RequestChange::ReleaseKey { .. }, Some(known))
            if matches!(known.state, RequestState::Voiding | RequestState::Voided)
                && known.has_key
                && !known.answered =>
        {
            RequestFacts { has_key: false, ..known }
        }
        _ => return Ok(Some(Conflict::Request { id })),
    };
    earlier.requests.push((id, after));
    Ok(None)
}

//! The documents of a step, read in turn with other steps.
//!
//! A step queues for each document that it needs before it reads it, so that steps on one document wait for each other instead
//! of losing compare-and-sets. No two steps wait for each other in a circle: a step takes its turns in the order of the
//! documents' keys. One that learns that it needs an earlier document gives up all its turns and takes them again in order.
//!
//! If others wait for the same documents, a step passes its turns on once its commit is handed to the database, together with
//! the documents as they will be: see [`turns`](crate::intake::turns). What the next step gets is a guess: that commit may fail.
//! A step that has decided on a guess is committed only if the database then has that version *with that content*, be the step a
//! change, a refusal or neither. A version alone does not say whose commit made it: after a commit that failed another one may
//! have made the same version, that of a consumer, say. So a wrong guess costs a conflict and never an effect.
//!
//! Indexes and questions in doubt are found in the database, which knows nothing of guesses. A step that looks one up waits
//! until the commits are done that its guesses rest on: what they have changed is found, as if their turns had been held.

use crate::{
    core::{Core, StepError},
    intake::turns::{Guess, QueueKey, Turn},
    limits::DOCUMENTS_AT_ONCE,
};
use futures_util::poll;
use jumun::{DocumentKey, Documents, Lookup, Outcome, Step, Stored};
use jumun_database::{Changes, CommitError, Conflict, DocumentVersion, ReadError, Receipt};
use jumun_telemetry::Origin;
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    pin::pin,
    task::Poll,
};
use tokio_util::sync::CancellationToken;

/// The documents of a step.
#[derive(Default)]
pub(crate) struct Reading {
    pub(crate) documents: Documents,
    turns: BTreeMap<DocumentKey, Turn<QueueKey>>,
    /// All documents that it has needed: after a conflict it takes their turns at once.
    wanted: BTreeSet<DocumentKey>,
    /// Documents of new ids, which do not exist. Should one exist after all, the commit is a conflict.
    new: BTreeSet<DocumentKey>,
}

impl Reading {
    /// A document of a new id.
    pub(crate) fn of_new(key: DocumentKey) -> Self {
        let new = BTreeSet::from([key]);
        Self { new, ..Self::default() }
    }

    /// Takes a step, reading the documents that it needs in turn with other steps.
    pub(crate) async fn decide(&mut self, core: &Core, step: Step<'_>) -> Result<Outcome, StepError> {
        self.take(core, vec![step.decider]).await?;
        loop {
            match core.behaviour().decide(step, &self.documents) {
                Ok(Outcome::Needs(keys)) => self.take(core, keys).await?,
                Ok(Outcome::Find(lookup)) => self.find(core, lookup).await?,
                Ok(outcome) => {
                    if matches!(&outcome, Outcome::Decided(decided) if !decided.withdrawn.is_empty()) {
                        self.settle().await;
                    }
                    return Ok(outcome);
                }
                Err(damaged) => return Err(StepError::Defect(damaged)),
            }
        }
    }

    /// Waits for the turns of these documents, and reads them.
    pub(crate) async fn take(&mut self, core: &Core, keys: Vec<DocumentKey>) -> Result<(), StepError> {
        self.wanted.extend(keys);
        let last = self.turns.last_key_value().map(|(key, _)| *key);
        let is_before = |key: &DocumentKey| !self.turns.contains_key(key) && last.is_some_and(|last| *key < last);
        if self.wanted.iter().any(is_before) {
            self.give_up();
        }
        for key in self.wanted.clone() {
            self.queue(core, key).await?;
            if self.documents.get(&key).is_none() {
                self.read(core, key).await?;
            }
        }
        Ok(())
    }

    /// Waits for the turns of these documents, and until what was passed on with them is in the database. The first thing
    /// that a reading does.
    pub(crate) async fn queue_for(&mut self, core: &Core, keys: &BTreeSet<DocumentKey>) -> Result<(), StepError> {
        for key in keys {
            self.queue(core, *key).await?;
        }
        self.settle().await;
        Ok(())
    }

    /// Waits until the commits are done that guesses rest on, or have failed.
    pub(crate) async fn settle(&self) {
        for guess in self.turns.values().filter_map(Turn::guess) {
            guess.ended.cancelled().await;
        }
    }

    async fn queue(&mut self, core: &Core, key: DocumentKey) -> Result<(), StepError> {
        if let Entry::Vacant(place) = self.turns.entry(key) {
            let turn = core.turns().take(QueueKey::Document(key)).await;
            place.insert(turn.map_err(|_| StepError::Crowded)?);
        }
        Ok(())
    }

    /// Reads a document, or takes it as another step has passed it on.
    pub(crate) async fn read(&mut self, core: &Core, key: DocumentKey) -> Result<(), ReadError> {
        let guess = self.turns.get(&key).and_then(Turn::guess);
        let stored = match guess {
            Some(guess) => Some(guess.document.clone()),
            None if self.new.contains(&key) => None,
            None => core.read(key).await?,
        };
        self.documents.insert(key, stored);
        Ok(())
    }

    /// Reads documents at once, but for those that are read or queued for already.
    pub(crate) async fn read_all(
        &mut self,
        core: &Core,
        keys: impl Iterator<Item = DocumentKey>,
    ) -> Result<(), ReadError> {
        let is_missing = |key: &DocumentKey| !self.turns.contains_key(key) && self.documents.get(key).is_none();
        let keys: Vec<_> = keys.filter(is_missing).collect::<BTreeSet<_>>().into_iter().collect();
        let resources = &core.model().resources;
        for keys in keys.chunks(DOCUMENTS_AT_ONCE) {
            let found = keys.iter().map(|(resource, id)| (resources[*resource].collection, *id)).collect();
            for (key, document) in keys.iter().zip(core.database().documents(found).await?) {
                let stored = document.map(|document| Stored { version: document.version, body: document.body });
                self.documents.insert(*key, stored);
            }
            tokio::task::yield_now().await; // requests are served on the same thread
        }
        Ok(())
    }

    /// Looks up what an index finds.
    pub(crate) async fn find(&mut self, core: &Core, lookup: Lookup) -> Result<(), ReadError> {
        self.settle().await;
        let ids = core.find(&lookup).await?;
        self.documents.insert_found(lookup, ids);
        Ok(())
    }

    /// Gives up all turns, and forgets what was read: a document of a new id is read, too, as an event may have made it.
    pub(crate) fn give_up(&mut self) {
        self.new.clear();
        std::mem::take(&mut self.turns).into_values().for_each(Turn::give_back);
        self.documents.clear();
    }

    /// Commits the step, if what it has read is still so; passes the turns on meanwhile if others wait for them.
    pub(crate) async fn commit(
        &mut self,
        core: &Core,
        origin: Option<&Origin>,
        mut changes: Changes,
    ) -> Result<Receipt, CommitError> {
        let resources = &core.model().resources;
        let collection = |(resource, id): DocumentKey| (resources[resource].collection, id);
        if let Some((key, _)) = self.turns.iter().find(|(_, turn)| turn.is_outdated()) {
            let (collection, id) = collection(*key);
            return Err(CommitError::Conflict(Conflict::Document { collection, id }));
        }
        changes.unchanged.extend(self.turns.iter().filter_map(|(key, turn)| {
            let (Guess { document: Stored { version, body }, .. }, (collection, id)) =
                (turn.guess()?, collection(*key));
            Some(DocumentVersion { collection, id, version: *version, body: Some(body.clone()) })
        }));
        let is_contended = self.turns.values().any(Turn::is_contended);
        let after = |key: &DocumentKey| {
            let mut documents = changes.documents.iter();
            let change = documents.find(|change| (change.collection, change.id) == collection(*key))?;
            Some(Stored { version: change.expected_version + 1, body: change.body.clone() })
        };
        let after: Vec<_> = if is_contended { self.turns.keys().map(after).collect() } else { Vec::new() };
        let mut committing = pin!(core.commit_of(origin, changes));
        let result = match poll!(committing.as_mut()) {
            Poll::Ready(result) => result,
            Poll::Pending if is_contended => {
                // The database has the commit: it takes those of the next steps after it.
                let ended = CancellationToken::new();
                let _ended = ended.clone().drop_guard(); // however it ends
                self.turns.values_mut().zip(after).for_each(|(turn, after)| turn.pass(after, &ended));
                committing.await
            }
            Poll::Pending => committing.await,
        };
        if result.is_err() {
            self.turns.values().for_each(Turn::fail);
        }
        result
    }
}

#[cfg(test)]
mod tests;

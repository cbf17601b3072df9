//! The documents of a step, read in turn with other steps.
//!
//! A step queues for each document that it needs before it reads it, so that steps on one document wait for each other instead
//! of losing compare-and-sets. No two steps wait for each other in a circle: a step takes its turns in the order of the
//! documents' keys. One that learns that it needs an earlier document gives up all its turns and takes them again in order.
//!
//! If others wait for the same documents, a step passes its turns on once its commit is handed to the database: see
//! [`turns`](crate::intake::turns). What a step has read before it was committed is compared in its own commit, also where
//! the step changes nothing: no answer rests on what was never committed.

use crate::{
    core::{Core, StepError},
    intake::turns::{QueueKey, Turn},
};
use futures_util::poll;
use jumun::{DocumentKey, Documents, Lookup, Outcome, ResourceModel, Step, Stored};
use jumun_database::{Changes, CommitError, DocumentVersion, ReadError, Receipt};
use jumun_telemetry::Origin;
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    pin::pin,
    task::Poll,
};

/// The documents of a step.
#[derive(Default)]
pub(crate) struct Reading {
    pub(crate) documents: Documents,
    turns: BTreeMap<DocumentKey, Turn<QueueKey>>,
    /// All documents that it has needed: after a conflict it takes their turns at once.
    wanted: BTreeSet<DocumentKey>,
    /// Documents of new ids, which do not exist.
    new: BTreeSet<DocumentKey>,
    /// Documents that another step has passed on, with their versions.
    passed: BTreeMap<DocumentKey, u64>,
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
                Ok(outcome) => return Ok(outcome),
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

    /// Waits for the turns of these documents. The first thing that a reading does.
    pub(crate) async fn queue_for(&mut self, core: &Core, keys: &BTreeSet<DocumentKey>) -> Result<(), StepError> {
        for key in keys {
            self.queue(core, *key).await?;
        }
        Ok(())
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
        let passed = self.turns.get(&key).and_then(Turn::passed);
        let stored = if let Some(stored) = passed {
            self.passed.insert(key, stored.version);
            Some(stored)
        } else if self.new.contains(&key) {
            None
        } else {
            core.read(key).await?
        };
        self.documents.insert(key, stored);
        Ok(())
    }

    /// Looks up what an index finds.
    pub(crate) async fn find(&mut self, core: &Core, lookup: Lookup) -> Result<(), ReadError> {
        let ids = core.find(&lookup).await?;
        self.documents.insert_found(lookup, ids);
        Ok(())
    }

    /// Gives up all turns, and forgets what was read.
    pub(crate) fn give_up(&mut self) {
        self.turns.clear();
        self.passed.clear();
        self.documents.clear();
    }

    /// Begins again: what others have passed on may be wrong.
    pub(crate) fn begin_again(&mut self) {
        self.forget();
        self.give_up();
    }

    /// What was passed on is no longer so.
    pub(crate) fn forget(&self) {
        self.turns.values().for_each(Turn::forget);
    }

    /// Has a commit compare what was read before it was committed.
    pub(crate) fn guard(&self, resources: &[ResourceModel], changes: &mut Changes) {
        for ((resource, id), version) in &self.passed {
            let collection = resources[*resource].collection;
            let (id, version) = (*id, *version);
            if !changes.documents.iter().any(|change| (change.collection, change.id) == (collection, id)) {
                changes.unchanged.push(DocumentVersion { collection, id, version });
            }
        }
    }

    /// Commits; passes the turns on if others wait for them.
    pub(crate) async fn commit(
        &mut self,
        core: &Core,
        origin: &Origin,
        mut changes: Changes,
    ) -> Result<Receipt, CommitError> {
        let resources = &core.model().resources;
        self.guard(resources, &mut changes);
        if !self.turns.values().any(Turn::is_contended) {
            let result = core.commit_of(origin, changes).await;
            self.forget();
            return result;
        }
        let after = |(resource, id): DocumentKey| {
            let collection = resources[resource].collection;
            let change = changes.documents.iter().find(|change| (change.collection, change.id) == (collection, id));
            change.map(|change| Stored { version: change.expected_version + 1, body: change.body.clone() })
        };
        let after: Vec<_> = self.turns.keys().map(|key| after(*key)).collect();
        let mut committing = pin!(core.commit_of(origin, changes));
        let result = match poll!(committing.as_mut()) {
            Poll::Ready(result) => {
                self.forget();
                return result;
            }
            Poll::Pending => {
                // The database has the commit: it takes those of the next steps after it.
                self.turns.values_mut().zip(after).for_each(|(turn, after)| turn.pass(after));
                committing.await
            }
        };
        if result.is_err() {
            self.forget();
        }
        result
    }
}

//! The documents of a step, read in turn with other steps.
//!
//! A step queues for each document that it needs before it reads it, so that steps on one document wait for each other instead
//! of losing compare-and-sets. No two steps wait for each other in a circle: a step takes its turns in the order of the
//! documents' keys. One that learns that it needs an earlier document gives up all its turns and takes them again in order.
//!
//! A step holds its turns until it is committed. They are not passed on before that, with the document as it will be: a commit
//! compares versions, and a version alone does not say whose commit made it. A consumer, which does not queue, may have made
//! the expected version with another content.

use crate::{
    core::{Core, StepError},
    intake::turns::{QueueKey, Turn},
};
use jumun::{DocumentKey, Documents, Lookup, Outcome, Step};
use jumun_database::ReadError;
use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

/// The documents of a step.
#[derive(Default)]
pub(crate) struct Reading {
    pub(crate) documents: Documents,
    turns: BTreeMap<DocumentKey, Turn<QueueKey>>,
    /// All documents that it has needed: after a conflict it takes their turns at once.
    wanted: BTreeSet<DocumentKey>,
    /// Documents of new ids, which do not exist.
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

    /// Reads a document.
    pub(crate) async fn read(&mut self, core: &Core, key: DocumentKey) -> Result<(), ReadError> {
        let stored = if self.new.contains(&key) { None } else { core.read(key).await? };
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
        self.documents.clear();
    }
}

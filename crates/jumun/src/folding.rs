//! Rebuilding a view: folds batches of events into rows in memory, without a document in between.

use crate::{
    aggregate::View,
    event::PublishedLanguage,
    model::{Defect, Folded, Folding},
    subscription,
};
use std::collections::{HashMap, hash_map::Entry};

/// The rows of one view, with its type erased.
pub(crate) struct Fold<V: View> {
    collection: &'static str,
    /// Events of the batch that are not folded yet, with the rows that they concern.
    events: Vec<(i64, V::Event)>,
    /// Rows that events have concerned since the last `give`. None: the row is not loaded yet.
    rows: HashMap<i64, Option<Row<V>>>,
    /// Rows that no event has concerned since the last `give`. The events of an order come close together, so most rows
    /// are given once, when the order is finished.
    resting: HashMap<i64, Row<V>>,
    missing: Vec<i64>,
}

struct Row<V> {
    view: V,
    changed: bool,
}

impl<V: View> Fold<V> {
    pub(crate) fn new(collection: &'static str) -> Self {
        let (rows, resting) = (HashMap::new(), HashMap::new());
        Self { collection, events: Vec::new(), rows, resting, missing: Vec::new() }
    }

    fn damaged(&self, id: i64, why: impl ToString) -> Defect {
        Defect { collection: self.collection, id, why: why.to_string() }
    }
}

impl<V: View> Folding for Fold<V> {
    fn take(&mut self, event_type: &str, body: &str) -> Result<bool, Defect> {
        let event = V::Event::decode(event_type, body).map_err(|error| self.damaged(0, error))?;
        let Some(event) = event else { return Ok(false) }; // a later release publishes it
        let Some(id) = subscription::concerned_row::<V>(&event) else { return Ok(false) };
        if let Entry::Vacant(unknown) = self.rows.entry(id) {
            let row = self.resting.remove(&id);
            if row.is_none() {
                self.missing.push(id);
            }
            unknown.insert(row);
        }
        self.events.push((id, event));
        Ok(true)
    }

    fn missing(&mut self) -> Vec<i64> {
        std::mem::take(&mut self.missing)
    }

    fn put(&mut self, id: i64, body: &str) -> Result<(), Defect> {
        let view = serde_json::from_str(body).map_err(|error| self.damaged(id, error))?;
        self.rows.insert(id, Some(Row { view, changed: false }));
        Ok(())
    }

    fn fold(&mut self, nth: usize) {
        let Some((id, event)) = self.events.get(nth) else { return };
        let row = self.rows.entry(*id).or_default();
        let row = row.get_or_insert_with(|| Row { view: V::row(*id), changed: false });
        row.view.fold(event);
        row.changed = true;
    }

    fn end_batch(&mut self) {
        self.events.clear();
    }

    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn give(&mut self, all: bool) -> Result<Vec<Folded>, Defect> {
        let mut given = std::mem::take(&mut self.resting);
        let rows = self.rows.drain().filter_map(|(id, row)| Some((id, row?)));
        if all {
            given.extend(rows);
        } else {
            self.resting = rows.collect();
        }
        let mut changed: Vec<_> = given.into_iter().filter(|(_, row)| row.changed).collect();
        changed.sort_unstable_by_key(|(id, _)| *id);
        let folded = changed.into_iter().map(|(id, Row { view, .. })| {
            let body = serde_json::to_string(&view).map_err(|error| self.damaged(id, error))?;
            Ok(Folded { id, shown: view.shown(), body })
        });
        folded.collect()
    }
}

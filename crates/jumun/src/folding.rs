//! Making a view anew: events folded into rows at hand, many at a time, without a document in between.

use crate::{
    aggregate::View,
    event::PublishedLanguage,
    model::{Damaged, Folded, Folding},
};
use std::collections::{HashMap, hash_map::Entry};

/// The rows of one view, with its type hidden.
pub(crate) struct Fold<V: View> {
    collection: &'static str,
    /// Taken and not yet folded, with the rows that they concern.
    events: Vec<(i64, V::Event)>,
    /// None: an event concerns it, and nothing is known of it yet.
    rows: HashMap<i64, Option<Row<V>>>,
    /// Rows as they were given the last time: what happens to an order happens within a while, mostly.
    given: HashMap<i64, V>,
    missing: Vec<i64>,
    changed: Vec<i64>,
}

struct Row<V> {
    view: V,
    changed: bool,
}

impl<V: View> Fold<V> {
    pub(crate) fn new(collection: &'static str) -> Self {
        let (rows, given) = (HashMap::new(), HashMap::new());
        Self { collection, events: Vec::new(), rows, given, missing: Vec::new(), changed: Vec::new() }
    }

    fn damaged(&self, id: i64, why: impl ToString) -> Damaged {
        Damaged { collection: self.collection, id, why: why.to_string() }
    }
}

impl<V: View> Folding for Fold<V> {
    fn take(&mut self, event_type: &str, body: &str) -> Result<bool, Damaged> {
        let event = V::Event::decode(event_type, body).map_err(|error| self.damaged(0, error))?;
        let Some(event) = event else { return Ok(false) }; // a later release's; not for us
        let Some(id) = V::concerns(&event) else { return Ok(false) };
        if let Entry::Vacant(unknown) = self.rows.entry(id) {
            let given = self.given.remove(&id).map(|view| Row { view, changed: false });
            if given.is_none() {
                self.missing.push(id);
            }
            unknown.insert(given);
        }
        self.events.push((id, event));
        Ok(true)
    }

    fn missing(&mut self) -> Vec<i64> {
        std::mem::take(&mut self.missing)
    }

    fn put(&mut self, id: i64, body: &str) -> Result<(), Damaged> {
        let view = serde_json::from_str(body).map_err(|error| self.damaged(id, error))?;
        self.rows.insert(id, Some(Row { view, changed: false }));
        Ok(())
    }

    fn fold(&mut self, nth: usize) {
        let Some((id, event)) = self.events.get(nth) else { return };
        let row = self.rows.entry(*id).or_default();
        let row = row.get_or_insert_with(|| Row { view: V::row(*id), changed: false });
        row.view.fold(event);
        if !row.changed {
            row.changed = true;
            self.changed.push(*id);
        }
    }

    fn is_folded(&mut self) {
        self.events.clear();
    }

    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn give(&mut self) -> Result<Vec<Folded>, Damaged> {
        let mut ids = std::mem::take(&mut self.changed);
        ids.sort_unstable();
        let mut folded = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(Some(row)) = self.rows.get(&id) else { continue };
            let body = serde_json::to_string(&row.view).map_err(|error| self.damaged(id, error))?;
            folded.push(Folded { id, shown: row.view.shown(), body });
        }
        let rows = self.rows.drain().filter_map(|(id, row)| Some((id, row?.view)));
        self.given = rows.collect();
        Ok(folded)
    }
}

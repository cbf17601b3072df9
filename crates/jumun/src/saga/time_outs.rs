//! Time-outs: the time that a document waits for something is over. That may happen at any moment.

use super::{
    state::{Committed, Facts, ORDER, State, TimeOut, at},
    steps::Saga,
};
use crate::{
    ask::Reply,
    model::{DocumentKey, Outcome},
};
use std::sync::Arc;

/// A time-out that may happen next.
pub(super) struct TimedOut {
    pub(super) service: usize,
    pub(super) key: DocumentKey,
    pub(super) name: &'static str,
    /// The facts after it.
    pub(super) facts: Facts,
}

impl Saga {
    /// The time is over that the document at this path with the order's id waits for something. None: it does not wait.
    #[must_use]
    pub fn time_out(&self, state: &State, path: &str) -> Option<State> {
        let (service, resource) = at(&self.model, path);
        let mut time_outs = self.time_outs(&state.facts).into_iter();
        let is_it = |out: &TimedOut| (out.service, out.key) == (service, (resource, ORDER));
        time_outs.find(is_it).map(|out| self.state(out.facts))
    }

    /// Every time-out that can happen next and changes something.
    pub(super) fn time_outs(&self, facts: &Facts) -> Vec<TimedOut> {
        let mut found = Vec::new();
        for (service, memory) in facts.services.iter().enumerate() {
            for TimeOut { key, name, decided } in self.time_outs_of(service, memory).iter() {
                let mut after = facts.clone();
                self.commit(&mut after, service, decided.clone());
                found.push(TimedOut { service, key: *key, name, facts: after });
            }
        }
        found
    }

    fn time_outs_of(&self, service: usize, memory: &Committed) -> Arc<[TimeOut]> {
        let key = (service, memory.clone());
        if let Some(known) = self.cache.time_outs.borrow().get(&key) {
            return Arc::clone(known);
        }
        let time_out = |(key, body): (&DocumentKey, &Arc<str>)| {
            let waits = self.behaviours[service].time_out(*key, body).unwrap_or_else(|defect| panic!("{defect}"))?;
            let resource = &self.model.services[service].resources[key.0];
            let is_shown = resource.time_outs.iter().any(|known| known.name == waits.name);
            assert!(
                is_shown,
                "no example shows that {} waits for {}: add the events that led here to the examples: {body}",
                resource.name, waits.name
            );
            match self.decide_on(memory, service, *key, &waits.command, Some(&Reply::OnlyLater)) {
                Outcome::Decided(decided) => Some(TimeOut { key: *key, name: waits.name, decided }),
                Outcome::Rejected(_) => None,
                other => panic!("a command that times out must decide: {other:?}"),
            }
        };
        let found: Arc<[TimeOut]> = memory.documents.iter().filter_map(time_out).collect();
        self.cache.time_outs.borrow_mut().insert(key, Arc::clone(&found));
        found
    }
}

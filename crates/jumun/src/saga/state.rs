//! The state of a whole system.

use crate::{
    ask::AskTarget,
    model::{Decided, DocumentKey},
    system::SystemModel,
};
use serde_json::Value;
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash, Hasher},
    ops::Deref,
    sync::Arc,
};

/// The id of the order.
pub(super) const ORDER: i64 = 7;

/// The whole system at one moment.
#[derive(Clone)]
pub struct State {
    pub(super) model: Arc<SystemModel>,
    pub(super) facts: Facts,
}

/// What makes two states different.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Facts {
    pub(super) services: Vec<Committed>,
    /// The asks that are not finished.
    pub(super) calls: BTreeSet<Call>,
}

/// What a service has committed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Memory {
    pub(super) documents: BTreeMap<DocumentKey, Arc<str>>,
    pub(super) journal: Vec<Published>,
    /// By source: the position in its journal after the last event that was applied.
    pub(super) offsets: BTreeMap<usize, usize>,
}

/// An event in a journal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Published {
    pub(super) event_type: &'static str,
    pub(super) body: Arc<str>,
}

/// A memory that states share, with its hash: most steps change one of many.
#[derive(Debug, Clone)]
pub(super) struct Committed(Arc<(u64, Memory)>);

impl Committed {
    pub(super) fn new(memory: Memory) -> Self {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&memory);
        Self(Arc::new((hash, memory)))
    }
}

impl Deref for Committed {
    type Target = Memory;

    fn deref(&self) -> &Memory {
        &self.0.1
    }
}

impl PartialEq for Committed {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for Committed {}

impl Hash for Committed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.0.hash(state);
    }
}

/// An ask that is not finished.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Call {
    /// The service and its document that ask.
    pub(super) asker: (usize, DocumentKey),
    pub(super) target: AskTarget,
    pub(super) question: String,
    /// Whether it is to be undone; else it is delayed.
    pub(super) is_voiding: bool,
    /// What the other service did, if it did it.
    pub(super) done: Option<Done>,
}

/// What a service did for an ask.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Done {
    pub(super) answer: Arc<str>,
    /// What it asked of others for that.
    pub(super) asks: Vec<Call>,
}

/// The time-out of a document, decided.
#[derive(Debug)]
pub(super) struct TimeOut {
    pub(super) key: DocumentKey,
    pub(super) name: &'static str,
    pub(super) decided: Decided,
}

/// The time-outs of each memory of a service, decided once: a service is a pure function.
pub(super) type TimeOuts = RefCell<HashMap<(usize, Committed), Arc<[TimeOut]>>>;

impl State {
    pub(super) fn nothing(model: &Arc<SystemModel>) -> Self {
        let services = model.services.iter().map(|_| Committed::new(Memory::default())).collect();
        Self { model: Arc::clone(model), facts: Facts { services, calls: BTreeSet::new() } }
    }

    /// The documents at a path in the order of their ids, hidden ones included.
    pub fn documents(&self, path: &str) -> Vec<Value> {
        let (service, resource) = at(&self.model, path);
        let documents = self.facts.services[service].documents.iter().filter(|((at, _), _)| *at == resource);
        documents.map(|(_, body)| json(body)).collect()
    }

    /// The document at a path that has the order's id, also if it is hidden.
    pub fn document(&self, path: &str) -> Option<Value> {
        let (service, resource) = at(&self.model, path);
        self.facts.services[service].documents.get(&(resource, ORDER)).map(|body| json(body))
    }

    /// A field of that document as a text; empty if there is no value.
    pub fn field(&self, path: &str, field: &str) -> String {
        self.document(path).as_ref().map_or_else(String::new, |document| text(document, field))
    }

    /// The events that a service has published: their types and bodies.
    pub fn published_by(&self, service: &str) -> Vec<(&'static str, Value)> {
        let at = self.model.services.iter().position(|known| known.name == service).expect("a service of the system");
        self.facts.services[at].journal.iter().map(|event| (event.event_type, json(&event.body))).collect()
    }

    /// The events that all services have published.
    pub fn published(&self) -> Vec<(&'static str, Value)> {
        self.model.services.iter().flat_map(|service| self.published_by(service.name)).collect()
    }

    /// Whether an ask is delayed.
    pub fn is_delayed(&self) -> bool {
        self.facts.calls.iter().any(|call| !call.is_voiding)
    }

    /// Whether an ask is to be undone.
    pub fn is_undoing(&self) -> bool {
        self.facts.calls.iter().any(|call| call.is_voiding)
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.facts == other.facts
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (service, memory) in self.model.services.iter().zip(&self.facts.services) {
            for ((resource, id), body) in &memory.documents {
                writeln!(f, "{}/{id} {body}", service.resources[*resource].path)?;
            }
            for event in &memory.journal {
                writeln!(f, "{} published {}", service.name, event.body)?;
            }
        }
        for call in &self.facts.calls {
            let status = if call.is_voiding { "to be undone" } else { "delayed" };
            let done = if call.done.is_some() { "done" } else { "not done" };
            writeln!(f, "ask {}{} {status}, {done}", call.target.service, call.target.path)?;
        }
        Ok(())
    }
}

/// The service and the resource that serve a path.
pub(super) fn at(model: &SystemModel, path: &str) -> (usize, usize) {
    let mut services = model.services.iter().enumerate();
    let found = services.find_map(|(at, service)| Some((at, service.resource_at(path)?)));
    found.unwrap_or_else(|| panic!("{} has no {path}", model.name))
}

pub(super) fn json(body: &str) -> Value {
    serde_json::from_str(body).expect("documents and events are JSON")
}

pub(super) fn text(document: &Value, field: &str) -> String {
    match &document[field] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

//! Systems: services that share a published language.

use crate::{
    audit::{Case, Findings, Ledger},
    check::{self, Problem},
    describe::EventModel,
    event::PublishedLanguage,
    load::LoadLine,
    model::ServiceModel,
    service::Service,
};
use serde_json::Map;
use std::sync::Arc;

/// A system as its team declares it: services, published language, audit. Routes, ports, collections and checks derive
/// from it.
pub struct System<E: PublishedLanguage> {
    name: &'static str,
    about: &'static str,
    examples: &'static str,
    services: Vec<Service<E>>,
    audit: fn(&Case<'_>) -> Findings,
    ledger: Ledger,
    total: Ledger,
    load: Option<LoadLine>,
    values: Vec<&'static str>,
}

impl<E: PublishedLanguage> System<E> {
    /// A system, and examples of every event that it has ever published, one a line. Each release must be able to read
    /// them: a line stays for good. They are a fixture: the running system does not use them, but the model of the system is
    /// read off them, too (which event sets off which policy).
    pub fn new(name: &'static str, examples: &'static str) -> Self {
        Self {
            name,
            about: "",
            examples,
            services: Vec::new(),
            audit: |_| Findings::default(),
            ledger: Ledger::default(),
            total: Ledger::default(),
            load: None,
            values: Vec::new(),
        }
    }

    /// Says in one sentence what the system is for. `jumun list` shows it.
    #[must_use]
    pub fn about(mut self, about: &'static str) -> Self {
        self.about = about;
        self
    }

    /// Adds a service.
    #[must_use]
    pub fn service(mut self, service: Service<E>) -> Self {
        self.services.push(service);
        self
    }

    /// Sets the audit: what must be true of all rows of one order, and what they add to the sums.
    #[must_use]
    pub fn audit(mut self, audit: fn(&Case<'_>) -> Findings) -> Self {
        self.audit = audit;
        self
    }

    /// Sets what must be true of the sums over all orders together, and not of each one: the stock of a book and what its
    /// rentals hold.
    #[must_use]
    pub fn total(mut self, whole: &'static str, parts: &'static [&'static str]) -> Self {
        self.total = Ledger { whole, parts };
        self
    }

    /// Sets what must be true of the sums of each order, and so of all: `whole = parts[0] + parts[1] + …`.
    #[must_use]
    pub fn ledger(mut self, whole: &'static str, parts: &'static [&'static str]) -> Self {
        self.ledger = Ledger { whole, parts };
        self
    }

    /// Sets the requests that load tests send.
    #[must_use]
    pub fn load(mut self, line: LoadLine) -> Self {
        self.load = Some(line);
        self
    }

    /// Declares a value that operators may set, such as `superuser.userId`: a text that each service shows at
    /// `/actuator/info`, under this name.
    #[must_use]
    pub fn value(mut self, name: &'static str) -> Self {
        self.values.push(name);
        self
    }

    /// Builds the system as a runtime sees it, and checks it: see [`SystemModel::problems`].
    pub fn build(self) -> SystemModel {
        let mut problems = check::system(self.examples, &self.services, self.load.as_ref());
        let examples: Vec<_> = check::examples::<E>(self.examples).filter_map(Result::ok).collect();
        let services: Vec<_> = self.services.into_iter().map(|service| service.into_model(&examples)).collect();
        let events = E::KINDS.iter().map(|kind| EventModel {
            kind: (*kind).into(),
            about: E::about(*kind),
            schema: Arc::new(|generator| E::schema(*kind, generator)),
            examples: examples.iter().filter(|(event, _)| event.kind() == *kind).map(|(_, line)| *line).collect(),
        });
        let defaults = services.iter().filter_map(|service| service.behaviour(&Map::new()).err());
        problems.extend(defaults.map(|error| Problem::DefaultSettings(error.to_string())));
        SystemModel {
            name: self.name,
            about: self.about,
            services,
            events: events.collect(),
            audit: self.audit,
            ledger: self.ledger,
            total: self.total,
            load: self.load,
            values: self.values,
            problems,
        }
    }
}

/// A system with its types erased.
#[derive(Debug, Clone)]
pub struct SystemModel {
    /// `food-delivery`; also the name of its topic.
    pub name: &'static str,
    /// What it is for, in one sentence; empty where its team did not say.
    pub about: &'static str,
    /// Its services, in the order of their declaration.
    pub services: Vec<ServiceModel>,
    /// Every kind of event, in the order of their declaration.
    pub events: Vec<EventModel>,
    /// What must be true of one order.
    pub audit: fn(&Case<'_>) -> Findings,
    /// What must be true of the sums over all orders.
    pub ledger: Ledger,
    /// What must be true of the sums over all orders together.
    pub total: Ledger,
    /// The requests that load tests send, if it declares them.
    pub load: Option<LoadLine>,
    /// The values that operators may set and services show.
    pub values: Vec<&'static str>,
    problems: Vec<Problem>,
}

impl SystemModel {
    /// The service of that name.
    pub fn service(&self, name: &str) -> Option<&ServiceModel> {
        self.services.iter().find(|service| service.name == name)
    }

    /// What is wrong with the system: events that no service publishes or hears, examples that this release cannot read,
    /// asks that no service answers, that form a circle or nest too deep, names that occur twice, finders for fields that do
    /// not exist, paths that services need themselves, a load line that would be refused. Do not start a system that has problems.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

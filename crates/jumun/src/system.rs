//! Systems: services that share a language.

use crate::{
    audit::{Case, Findings, Ledger},
    check::{self, Problem},
    event::{EventType, PublishedLanguage},
    load::LoadLine,
    model::ServiceModel,
    service::Service,
};

/// A system as its team writes it down: services, language, audit. Routes, ports, tables and checks derive from it.
pub struct System<E> {
    name: &'static str,
    examples: &'static str,
    services: Vec<Service<E>>,
    audit: fn(&Case<'_>) -> Findings,
    ledger: Ledger,
    load: Option<LoadLine>,
}

impl<E: PublishedLanguage> System<E> {
    /// A system and examples of everything that it has ever published, one event a line. They are what a release must
    /// be able to read for ever, and what [`System::check`] follows through the services.
    pub fn new(name: &'static str, examples: &'static str) -> Self {
        Self {
            name,
            examples,
            services: Vec::new(),
            audit: |_| Findings::default(),
            ledger: Ledger::default(),
            load: None,
        }
    }

    /// Adds a service.
    #[must_use]
    pub fn service(mut self, service: Service<E>) -> Self {
        self.services.push(service);
        self
    }

    /// What must be true of all rows of one order, and which sums it adds to.
    #[must_use]
    pub fn audit(mut self, audit: fn(&Case<'_>) -> Findings) -> Self {
        self.audit = audit;
        self
    }

    /// What must be true of the sums over all orders: `whole = the sum of parts`.
    #[must_use]
    pub fn ledger(mut self, whole: &'static str, parts: &'static [&'static str]) -> Self {
        self.ledger = Ledger { whole, parts };
        self
    }

    /// What its customers send all day.
    #[must_use]
    pub fn load(mut self, line: LoadLine) -> Self {
        self.load = Some(line);
        self
    }

    /// What is wrong with it: events that nobody emits or nobody handles, asks that nobody answers, that go in a circle
    /// or nest too deep, paths, ports and names that are taken twice, finders for fields that are not there, a load line that would not be
    /// taken.
    pub fn check(&self) -> Vec<Problem> {
        check::system(self.examples, &self.services, self.load.as_ref())
    }

    /// The system as a runtime sees it.
    pub fn into_model(self) -> SystemModel {
        let examples: Vec<E> = check::examples(self.examples).filter_map(Result::ok).collect();
        SystemModel {
            name: self.name,
            services: self.services.into_iter().map(|service| service.into_model(&examples)).collect(),
            event_types: E::TYPES,
            audit: self.audit,
            ledger: self.ledger,
            load: self.load,
        }
    }
}

/// A system without its types.
#[derive(Debug, Clone)]
pub struct SystemModel {
    /// `food-delivery`; also the name of its topic.
    pub name: &'static str,
    /// Its services, in the order of their declaration.
    pub services: Vec<ServiceModel>,
    /// Every kind of event.
    pub event_types: &'static [EventType],
    /// What must be true of one order.
    pub audit: fn(&Case<'_>) -> Findings,
    /// What must be true of all together.
    pub ledger: Ledger,
    /// What its customers send all day, if it says.
    pub load: Option<LoadLine>,
}

impl SystemModel {
    /// The service of that name.
    pub fn service(&self, name: &str) -> Option<&ServiceModel> {
        self.services.iter().find(|service| service.name == name)
    }
}

//! What is counted of who is let in, by a service and by the gateway.

use super::{Label, label};
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// What is at work, waits and was turned away. All clones are the same.
#[derive(Debug, Clone, Default)]
pub struct AdmissionMetrics {
    at_work: Family<[Label; 1], Gauge>,
    waiting: Family<[Label; 1], Gauge>,
    shed: Family<[Label; 2], Counter>,
}

impl AdmissionMetrics {
    /// Registers what is counted.
    pub fn register(&self, registry: &mut Registry) {
        let help = "What has been let in and is at work, by what it is";
        registry.register("jumun_admitted_at_work", help, self.at_work.clone());
        registry.register("jumun_admission_waiting", "What waits to be let in, by what it is", self.waiting.clone());
        let help = "What was turned away as there was too much, by what it is and why";
        registry.register("jumun_shed", help, self.shed.clone());
    }

    /// Counts what was turned away, from nought. To be kept by whoever counts with it.
    pub fn shed(&self, what: &'static str, why: &'static str) -> Counter {
        self.shed.get_or_create_owned(&[label("what", what), label("why", why)])
    }

    /// What is so at the moment.
    pub fn set(&self, what: &'static str, at_work: u32, waiting: u32) {
        self.at_work.get_or_create(&[label("what", what)]).set(at_work.into());
        self.waiting.get_or_create(&[label("what", what)]).set(waiting.into());
    }
}

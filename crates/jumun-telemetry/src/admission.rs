//! Metrics of admission, for a service and for the gateway.

use crate::metrics::{Label, label};
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Work in progress, work in the queue, and work that was shed. Clones share their values.
#[derive(Debug, Clone, Default)]
pub struct AdmissionMetrics {
    at_work: Family<[Label; 1], Gauge>,
    waiting: Family<[Label; 1], Gauge>,
    shed: Family<[Label; 2], Counter>,
}

impl AdmissionMetrics {
    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("jumun_admitted_at_work", "Admitted work in progress, by kind", self.at_work.clone());
        registry.register("jumun_admission_waiting", "Work that waits for admission, by kind", self.waiting.clone());
        registry.register("jumun_shed", "Work shed under overload, by kind and reason", self.shed.clone());
    }

    /// The counter of shed work of this kind and reason, created at 0. The caller keeps it.
    pub fn shed(&self, what: &'static str, why: &'static str) -> Counter {
        self.shed.get_or_create_owned(&[label("what", what), label("why", why)])
    }

    /// Sets the current values.
    pub fn set(&self, what: &'static str, at_work: u32, waiting: u32) {
        self.at_work.get_or_create(&[label("what", what)]).set(at_work.into());
        self.waiting.get_or_create(&[label("what", what)]).set(waiting.into());
    }
}

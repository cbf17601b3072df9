//! Metrics of the guards: circuits, bulkheads, refusals, slow calls. The outcomes of asks are in
//! [`ServiceMetrics`](crate::metrics::ServiceMetrics).

use jumun_guard::{BulkheadSnapshot, Refusal, State};
use jumun_telemetry::{Label, label};
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use std::{collections::BTreeMap, sync::Arc};

const STATES: [State; 6] =
    [State::Closed, State::Open, State::HalfOpen, State::ForcedOpen, State::ForcedClosed, State::Disabled];

/// Metrics of the guards of a service. All clones count into the same metrics.
#[derive(Debug, Clone)]
pub(super) struct CallMetrics(Arc<Families>);

#[derive(Debug, Default)]
struct Families {
    state: Family<[Label; 2], Gauge>,
    transitions: Family<[Label; 2], Counter>,
    refused: Family<[Label; 2], Counter>,
    slow: Family<[Label; 1], Counter>,
    at_work: Family<[Label; 1], Gauge>,
    waiting: Family<[Label; 1], Gauge>,
    limit: Family<[Label; 1], Gauge>,
    places: Family<[Label; 1], Gauge>,
    queue: Family<[Label; 1], Gauge>,
    by_callee: BTreeMap<&'static str, Callee>,
}

#[derive(Debug)]
struct Callee {
    /// By the index in [`STATES`], like `transitions`.
    state: [Gauge; 6],
    transitions: [Counter; 6],
    refused_open: Counter,
    refused_full: Counter,
    refused_no_time: Counter,
    slow: Counter,
    at_work: Gauge,
    waiting: Gauge,
    limit: Gauge,
    places: Gauge,
    queue: Gauge,
}

impl CallMetrics {
    /// All of them, at zero.
    pub(super) fn new(callees: impl Iterator<Item = &'static str>) -> Self {
        let mut families = Families::default();
        for callee in callees {
            let with = |name, value: &str| [label("callee", callee), label(name, value)];
            let only = [label("callee", callee)];
            let refused = |why| families.refused.get_or_create_owned(&with("why", why));
            let counted = Callee {
                state: STATES.map(|state| families.state.get_or_create_owned(&with("state", state.name()))),
                transitions: STATES.map(|to| families.transitions.get_or_create_owned(&with("to", to.name()))),
                refused_open: refused("open"),
                refused_full: refused("full"),
                refused_no_time: refused("no_time"),
                slow: families.slow.get_or_create_owned(&only),
                at_work: families.at_work.get_or_create_owned(&only),
                waiting: families.waiting.get_or_create_owned(&only),
                limit: families.limit.get_or_create_owned(&only),
                places: families.places.get_or_create_owned(&only),
                queue: families.queue.get_or_create_owned(&only),
            };
            families.by_callee.insert(callee, counted);
        }
        Self(Arc::new(families))
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let Families { state, transitions, refused, slow, at_work, waiting, limit, places, queue, by_callee: _ } =
            &*self.0;
        let help = "State of the circuit breaker, by callee: 1 for its state, 0 for all others";
        registry.register("jumun_circuit_state", help, state.clone());
        let help = "State changes of a circuit breaker, by callee and new state";
        registry.register("jumun_circuit_transitions", help, transitions.clone());
        let help = "Calls refused before they were made, by callee: circuit open, bulkhead full, or no time left";
        registry.register("jumun_calls_refused", help, refused.clone());
        let help = "Calls that took at least the duration of a slow call, whatever their outcome; by callee";
        registry.register("jumun_calls_slow", help, slow.clone());
        registry.register("jumun_calls_at_work", "Calls in progress, by callee", at_work.clone());
        registry.register("jumun_calls_waiting", "Calls that queue for a slot, by callee", waiting.clone());
        registry.register("jumun_calls_limit", "Calls that may be in progress at once, by callee", limit.clone());
        let help = "Calls that the callee works on at once, as it told last, by callee; 0 while that is unknown";
        registry.register("jumun_callee_places", help, places.clone());
        let help = "Calls that queue at the callee, as it told last, by callee";
        registry.register("jumun_callee_queue", help, queue.clone());
    }

    pub(super) fn transition(&self, callee: &str, to: State) {
        if let Some(counted) = self.0.by_callee.get(callee) {
            for (state, counter) in STATES.iter().zip(&counted.transitions) {
                counter.inc_by(u64::from(*state == to));
            }
        }
    }

    pub(super) fn refused(&self, callee: &str, why: Refusal) {
        let Some(counted) = self.0.by_callee.get(callee) else { return };
        match why {
            Refusal::Open { .. } => &counted.refused_open,
            Refusal::Full => &counted.refused_full,
            Refusal::NoTime => &counted.refused_no_time,
        }
        .inc();
    }

    pub(super) fn slow(&self, callee: &str) {
        if let Some(counted) = self.0.by_callee.get(callee) {
            counted.slow.inc();
        }
    }

    pub(super) fn set(&self, callee: &str, is_in: State, bulkhead: &BulkheadSnapshot) {
        let Some(counted) = self.0.by_callee.get(callee) else { return };
        for (state, gauge) in STATES.iter().zip(&counted.state) {
            gauge.set(i64::from(*state == is_in));
        }
        counted.at_work.set(bulkhead.at_work.into());
        counted.waiting.set(bulkhead.waiting.into());
        counted.limit.set(bulkhead.limit.into());
        counted.places.set(bulkhead.told.map_or(0, |told| told.places.into()));
        counted.queue.set(bulkhead.told.map_or(0, |told| told.queue.into()));
    }
}

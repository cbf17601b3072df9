//! The guards around the calls of a service, one for each neighbour that it asks; see [`jumun_guard`].

use super::{
    metrics::CallMetrics,
    transport::{Answered, Outcome as Reached},
};
use jumun::ServiceModel;
use jumun_control::{Breaker, Places};
pub use jumun_guard::InvalidConfig;
use jumun_guard::{Admitted, Command, Guard, GuardConfig, Parts, Refusal, Report, State, Transition, Verdict};
use jumun_http::{Code, Problem};
use prometheus_client::registry::Registry;
use std::{collections::BTreeMap, time::Duration};

/// The guards of a service.
#[derive(Debug)]
pub struct Guards {
    metrics: CallMetrics,
    guards: BTreeMap<&'static str, Guarded>,
}

#[derive(Debug)]
struct Guarded {
    guard: Guard,
    time_limit: Duration,
    /// The duration from which on a call is slow.
    slow_call: Duration,
}

impl Guards {
    /// One guard for each neighbour that the service asks, with its configuration or the default one.
    ///
    /// # Errors
    /// The first invalid value.
    pub fn new(model: &ServiceModel, configs: &BTreeMap<String, GuardConfig>) -> Result<Self, InvalidConfig> {
        let metrics = CallMetrics::new(model.asks.iter().map(|ask| ask.service));
        let mut guards = BTreeMap::new();
        for callee in model.asks.iter().map(|ask| ask.service) {
            let config = configs.get(callee).copied().unwrap_or_default();
            let counted = metrics.clone();
            let on_transition = Box::new(move |transition: Transition| {
                counted.transition(callee, transition.to);
                log(callee, &transition);
            });
            let guard = Guard::new(&config, Parts { on_transition, ..Parts::default() })?;
            let slow_call = config.breaker.slow_call.unwrap_or(config.time_limit);
            guards.insert(callee, Guarded { guard, time_limit: config.time_limit, slow_call });
        }
        Ok(Self { metrics, guards })
    }

    /// One guard with the default configuration for each neighbour that the service asks.
    pub fn usual(model: &ServiceModel) -> Self {
        Self::new(model, &BTreeMap::new()).unwrap_or_else(|invalid| unreachable!("the defaults are valid: {invalid}"))
    }

    fn of(&self, callee: &str) -> Result<&Guarded, Problem> {
        let undeclared =
            || format!("The service asks {callee}, and its model does not declare that. This is a defect.");
        self.guards.get(callee).ok_or_else(|| Problem::new(Code::Internal, undeclared()))
    }

    /// How long the service waits for an answer of a neighbour.
    pub(crate) fn time_limit(&self, callee: &str) -> Result<Duration, Problem> {
        Ok(self.of(callee)?.time_limit)
    }

    /// Admits a call to a neighbour, if need be after it queued for a slot. A refused call is surely not made.
    pub(crate) async fn admit(
        &self,
        callee: &str,
        at_most: Duration,
    ) -> Result<Result<Admitted<'_>, Refusal>, Problem> {
        let admitted = self.of(callee)?.guard.admit(at_most).await;
        if let Err(why) = &admitted {
            self.metrics.refused(callee, *why);
        }
        Ok(admitted)
    }

    /// Like [`Guards::admit`], for a delayed ask: no client waits for it, so it queues for as long as a call may take.
    pub(crate) async fn admit_delayed(&self, callee: &str) -> Result<Result<Admitted<'_>, Refusal>, Problem> {
        let Guarded { guard, time_limit, .. } = self.of(callee)?;
        let admitted = guard.admit_patiently(*time_limit).await;
        if let Err(why) = &admitted {
            self.metrics.refused(callee, *why);
        }
        Ok(admitted)
    }

    /// Admits a call if a slot is free and the circuit is closed, so that it takes nothing from a call that queues.
    pub(crate) fn admit_if_free(&self, callee: &str) -> Option<Admitted<'_>> {
        self.guards.get(callee)?.guard.try_admit()?.ok()
    }

    /// How many calls to a neighbour may be in flight at once.
    pub(crate) fn limit(&self, callee: &str) -> u32 {
        self.guards.get(callee).map_or(0, |guarded| guarded.guard.limit())
    }

    /// Notes that a call ended, and how long it took.
    pub(crate) fn ended(&self, callee: &str, took: Duration) {
        if self.guards.get(callee).is_some_and(|guarded| took >= guarded.slow_call) {
            self.metrics.slow(callee);
        }
    }

    /// The state of a circuit. `None`: the service does not ask such a neighbour.
    pub(crate) fn state(&self, callee: &str) -> Option<State> {
        Some(self.guards.get(callee)?.guard.state())
    }

    /// Commands a circuit breaker. `None`: the service does not ask such a neighbour.
    pub(crate) fn command(&self, callee: &str, command: Command) -> Option<State> {
        let Guarded { guard, .. } = self.guards.get(callee)?;
        guard.command(command);
        Some(guard.state())
    }

    /// The state of each, by neighbour.
    pub(crate) fn status(&self) -> BTreeMap<String, Breaker> {
        let status = |guarded: &Guarded| {
            let seen = guarded.guard.snapshot();
            let (breaker, bulkhead) = (seen.breaker, seen.bulkhead);
            Breaker {
                state: breaker.state,
                in_state_ms: breaker.in_state_ms,
                wait_left_ms: breaker.wait_left_ms,
                calls: breaker.tally.calls,
                failed: breaker.tally.failed,
                slow: breaker.tally.slow,
                failure_rate: breaker.failure_rate,
                slow_call_rate: breaker.slow_call_rate,
                at_work: bulkhead.at_work,
                waiting: bulkhead.waiting,
                max_concurrent: bulkhead.max_concurrent,
                places: bulkhead.told.map(|told| Places {
                    told: told.places,
                    queue: told.queue,
                    limit: bulkhead.limit,
                }),
                refused_open: breaker.rejected,
                refused_full: bulkhead.refused,
                last_change: breaker.last.map(|last| last.to_string()),
            }
        };
        self.guards.iter().map(|(callee, guarded)| ((*callee).to_owned(), status(guarded))).collect()
    }

    /// Sets the gauges to the present state.
    pub(crate) fn set_metrics(&self) {
        for (callee, Guarded { guard, .. }) in &self.guards {
            let seen = guard.snapshot();
            self.metrics.set(callee, seen.breaker.state, &seen.bulkhead);
        }
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }
}

/// What an outcome means for the guard: a refusal is an answer, so it counts as a success. *Busy* of a neighbour that tells
/// its places says nothing of its health: its callers keep to its places. Of any other one it is a failure, as only the circuit
/// can protect that.
pub(crate) fn report(Answered { outcome, capacity }: &Answered) -> Report {
    let verdict = match outcome {
        Reached::Accepted(_) | Reached::Refused(_) => Verdict::Success,
        Reached::Busy(_) if capacity.is_some() => Verdict::Ignored,
        Reached::Busy(_) | Reached::NotDone(_) | Reached::Broken(_) | Reached::Unknown(_) => Verdict::Failure,
    };
    Report { verdict, capacity: *capacity }
}

/// The problem that a client gets for a call that was refused.
pub(crate) fn not_asked(callee: &str, why: Refusal) -> Problem {
    let code = why.code();
    let again = "Nothing was done; try again later, with the same Idempotency-Key if there was one.";
    let detail = format!("{callee} is not asked now ({code}): {why}. {again}");
    Problem { wait: why.retry_after(), ..Problem::new(Code::NeighbourUnavailable, detail) }
}

fn log(callee: &str, transition: &Transition) {
    let Transition { from, to, tally, .. } = transition;
    let (failure_rate, slow_call_rate, calls) = (tally.failure_rate(), tally.slow_call_rate(), tally.calls);
    if matches!(to, State::Open | State::ForcedOpen) {
        tracing::warn!(callee, %from, %to, calls, failure_rate, slow_call_rate, "circuit {transition}");
    } else {
        tracing::info!(callee, %from, %to, calls, failure_rate, slow_call_rate, "circuit {transition}");
    }
}

#[cfg(test)]
mod tests;

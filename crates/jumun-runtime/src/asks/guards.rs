//! The guards around the calls of a service, one for each neighbour that it asks; see [`jumun_guard`].

use super::{metrics::CallMetrics, transport::Outcome as Reached};
use jumun::ServiceModel;
use jumun_control::Breaker;
pub use jumun_guard::InvalidConfig;
use jumun_guard::{Admitted, Command, Guard, GuardConfig, Parts, Refusal, State, Transition, Verdict};
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
    /// From how long on a call is slow.
    slow_call: Duration,
}

impl Guards {
    /// One for each neighbour that the service asks, as it is configured, or by default.
    ///
    /// # Errors
    /// The first value that cannot be.
    pub fn new(model: &ServiceModel, configs: &BTreeMap<String, GuardConfig>) -> Result<Self, InvalidConfig> {
        let metrics = CallMetrics::new(model.asks.iter().map(|ask| ask.service));
        let mut guards = BTreeMap::new();
        for callee in model.asks.iter().map(|ask| ask.service) {
            let config = configs.get(callee).copied().unwrap_or_default();
            let counted = metrics.clone();
            let on_transition = Box::new(move |transition: Transition| {
                counted.transition(callee, transition.to);
                tell(callee, &transition);
            });
            let guard = Guard::new(&config, Parts { on_transition, ..Parts::default() })?;
            let slow_call = config.breaker.slow_call.unwrap_or(config.time_limit);
            guards.insert(callee, Guarded { guard, time_limit: config.time_limit, slow_call });
        }
        Ok(Self { metrics, guards })
    }

    /// One for each neighbour that the service asks, by default.
    pub fn usual(model: &ServiceModel) -> Self {
        Self::new(model, &BTreeMap::new()).unwrap_or_else(|invalid| unreachable!("the defaults are valid: {invalid}"))
    }

    fn of(&self, callee: &str) -> Result<&Guarded, Problem> {
        let undeclared =
            || format!("{callee} is asked, and the service does not say that it asks it. This is a defect.");
        self.guards.get(callee).ok_or_else(|| Problem::new(Code::Internal, undeclared()))
    }

    /// How long an answer of a neighbour is waited for.
    pub(crate) fn time_limit(&self, callee: &str) -> Result<Duration, Problem> {
        Ok(self.of(callee)?.time_limit)
    }

    /// Lets a call to a neighbour in, or says why not: then it is surely not asked. It may have to wait for its turn.
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

    /// A call has come to an end after so long.
    pub(crate) fn ended(&self, callee: &str, took: Duration) {
        if self.guards.get(callee).is_some_and(|guarded| took >= guarded.slow_call) {
            self.metrics.slow(callee);
        }
    }

    /// The state of a circuit. None: nobody of this name is asked.
    pub(crate) fn state(&self, callee: &str) -> Option<State> {
        Some(self.guards.get(callee)?.guard.state())
    }

    /// Tells a circuit breaker something. None: nobody of this name is asked.
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
                refused_open: breaker.rejected,
                refused_full: bulkhead.refused,
                last_change: breaker.last.map(|last| last.to_string()),
            }
        };
        self.guards.iter().map(|(callee, guarded)| ((*callee).to_owned(), status(guarded))).collect()
    }

    /// What is so at the moment becomes metrics.
    pub(crate) fn set_metrics(&self) {
        for (callee, Guarded { guard, .. }) in &self.guards {
            let seen = guard.snapshot();
            self.metrics.set(callee, seen.breaker.state, seen.bulkhead.at_work, seen.bulkhead.waiting);
        }
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }
}

/// What an outcome says about the neighbour: its no is an answer like its yes.
pub(crate) fn verdict(reached: &Reached) -> Verdict {
    match reached {
        Reached::Accepted(_) | Reached::Refused(_) => Verdict::Success,
        Reached::NotDone(_) | Reached::Broken(_) | Reached::Unknown(_) => Verdict::Failure,
    }
}

/// What a client hears of a call that was not made.
pub(crate) fn not_asked(callee: &str, why: Refusal) -> Problem {
    let code = why.code();
    let again = "Nothing was done; try again later, with the same Idempotency-Key if there was one.";
    let detail = format!("{callee} is not asked now ({code}): {why}. {again}");
    Problem { wait: why.retry_after(), ..Problem::new(Code::NeighbourUnavailable, detail) }
}

fn tell(callee: &str, transition: &Transition) {
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

//! The circuit breaker: after too many failed or slow calls it refuses calls for a while, then lets a few through as
//! probes.
//!
//! ```text
//!              too many failed or slow
//!    Closed ─────────────────────────────▶ Open ◀─────────────┐
//!      ▲                                    │                 │ too many failed or slow,
//!      │                                    │ first call      │ or permits are lost
//!      │                                    │ after the wait, │
//!      │      enough went well              ▼ or Probe command│
//!      └──────────────────────────────── HalfOpen ────────────┘
//!
//!    any ──command──▶ ForcedOpen, ForcedClosed, Disabled, Closed (reset)
//! ```
//!
//! It is a pure state machine without a clock, a lock or effects. So the tests try every interleaving of callers. If
//! the caller's clock goes back, the breaker's time stays.
//!
//! # Differences from resilience4j
//!
//! The terms are those of resilience4j. A result of an earlier state changes nothing: a call from before the circuit
//! opened says nothing about whether the neighbour is well *now*. Half-open decides by all its calls, not by the first
//! ones. It has no time limit of its own: permits return when they are dropped, and a permit out for `permit_limit` is
//! lost, which opens the circuit again.

use crate::{
    config::{BreakerConfig, Window},
    window::{Call, SlidingWindow, Tally},
};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    time::{Duration, Instant},
};

/// The configuration of a breaker, with all defaults resolved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rules {
    window: Window,
    minimum_calls: u64,
    failure_rate: f64,
    slow_call: Duration,
    slow_call_rate: f64,
    wait_open: Duration,
    half_open_calls: u64,
    /// A permit out for this long counts as lost.
    permit_limit: Duration,
}

/// A circuit breaker.
#[derive(Debug, Clone)]
pub struct Breaker {
    rules: Rules,
    phase: Phase,
    /// Counts transitions. A ticket of an earlier epoch belongs to an earlier state.
    epoch: u64,
    /// When this epoch began.
    since: Instant,
    /// The latest time that a caller passed in.
    latest: Instant,
    /// Permits of this epoch in use.
    out: u64,
    rejected: u64,
    last: Option<Transition>,
}

#[derive(Debug, Clone)]
enum Phase {
    Closed(SlidingWindow),
    Open,
    HalfOpen { tally: Tally, last_granted: Instant },
    ForcedOpen,
    ForcedClosed(SlidingWindow),
    Disabled,
}

/// The state of a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Permits calls and counts them.
    Closed,
    /// Refuses calls until the wait is over.
    Open,
    /// Permits a few calls as probes.
    HalfOpen,
    /// Refuses calls until the next command.
    ForcedOpen,
    /// Permits calls and counts them, but never opens.
    ForcedClosed,
    /// Permits calls and counts nothing.
    Disabled,
}

/// A command of an operator, or of a component that knows more about the neighbour than the calls show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// Refuse all calls.
    ForceOpen,
    /// Permit all calls, and count them.
    ForceClosed,
    /// Permit all calls, and count nothing.
    Disable,
    /// Close with an empty window.
    Reset,
    /// End the wait of an open breaker: probe now.
    Probe,
}

/// What a result says about the neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It works. A refusal for business reasons is a success, too.
    Success,
    /// It does not work, or the outcome is unknown.
    Failure,
    /// Nothing: the call does not count.
    Ignored,
}

/// The right to make one call; the caller must settle it. [`crate::Permit`] settles itself.
#[derive(Debug)]
#[must_use = "a ticket that is never settled is missing in half-open"]
pub struct Ticket {
    epoch: u64,
    granted: Instant,
}

/// The circuit is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Open {
    /// How long the caller should wait: the rest of the wait, or of the time after which half-open decides at the
    /// latest; the whole wait where an operator forced it open.
    pub retry_after: Duration,
}

/// A change of a breaker's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Transition {
    /// 1 for the first transition of this breaker, then one more each.
    pub number: u64,
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// The cause.
    pub cause: Cause,
    /// The calls counted in the state before.
    pub tally: Tally,
}

/// The cause of a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Too many calls failed.
    FailureRate,
    /// Too many calls were slow.
    SlowCallRate,
    /// A call came after the wait.
    WaitOver,
    /// Enough calls succeeded in half-open.
    Recovered,
    /// Calls permitted in half-open did not end.
    PermitsLost,
    /// An operator's command.
    Command,
    /// The neighbour answered something else: [`Command::Probe`].
    Answered,
}

/// The state of a breaker at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BreakerSnapshot {
    /// Its state.
    pub state: State,
    /// Time in that state, in milliseconds.
    pub in_state_ms: u64,
    /// The rest of the wait, in milliseconds; 0 unless it is open.
    pub wait_left_ms: u64,
    /// The calls that count.
    pub tally: Tally,
    /// The share of failed calls.
    pub failure_rate: f64,
    /// The share of slow calls.
    pub slow_call_rate: f64,
    /// Permits of this state in use.
    pub permits_out: u64,
    /// Calls refused since the process started.
    pub rejected: u64,
    /// The last transition.
    pub last: Option<Transition>,
}

impl Ticket {
    /// Sets the start of the call to now: work of its caller before that does not make the call slow.
    pub fn begin(&mut self, now: Instant) {
        self.granted = self.granted.max(now);
    }
}

impl BreakerConfig {
    /// The rules, for calls with this time limit.
    pub(crate) fn rules(&self, time_limit: Duration) -> Rules {
        Rules {
            window: self.window,
            minimum_calls: self.minimum_calls().into(),
            failure_rate: self.failure_rate,
            slow_call: self.slow_call.unwrap_or(time_limit),
            slow_call_rate: self.slow_call_rate,
            wait_open: self.wait_open,
            half_open_calls: self.half_open_calls.into(),
            permit_limit: time_limit.saturating_mul(2), // no call is allowed to take longer than once
        }
    }
}

impl Rules {
    /// The cause to open after these calls, if there is one.
    fn cause_to_open(&self, tally: Tally) -> Option<Cause> {
        if tally.failure_rate() >= self.failure_rate {
            Some(Cause::FailureRate)
        } else if tally.slow_call_rate() >= self.slow_call_rate {
            Some(Cause::SlowCallRate)
        } else {
            None
        }
    }
}

impl Breaker {
    /// A closed breaker, for calls with this time limit.
    pub fn new(config: &BreakerConfig, time_limit: Duration, now: Instant) -> Self {
        let rules = config.rules(time_limit);
        let phase = Phase::Closed(SlidingWindow::new(rules.window, now));
        Self { rules, phase, epoch: 0, since: now, latest: now, out: 0, rejected: 0, last: None }
    }

    /// Its state. An open breaker stays open until a call comes after the wait.
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Closed(_) => State::Closed,
            Phase::Open => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
            Phase::ForcedOpen => State::ForcedOpen,
            Phase::ForcedClosed(_) => State::ForcedClosed,
            Phase::Disabled => State::Disabled,
        }
    }

    /// Permits a call or refuses it. Also returns the transition that this caused.
    pub fn acquire(&mut self, now: Instant) -> (Result<Ticket, Open>, Option<Transition>) {
        if let (Some(open), transition) = self.refuse(now) {
            return (Err(open), transition);
        }
        let now = self.at(now);
        let mut transition = None;
        if matches!(self.phase, Phase::Open) {
            let phase = Phase::HalfOpen { tally: Tally::default(), last_granted: now };
            transition = Some(self.change(phase, Cause::WaitOver, Tally::default(), now));
        }
        if let Phase::HalfOpen { last_granted, .. } = &mut self.phase {
            *last_granted = now;
        }
        self.out += 1;
        (Ok(Ticket { epoch: self.epoch, granted: now }), transition)
    }

    /// Refuses a call if [`Breaker::acquire`] would, and permits nothing otherwise: for a call that would have to queue
    /// for something else first.
    pub fn refuse(&mut self, now: Instant) -> (Option<Open>, Option<Transition>) {
        let now = self.at(now);
        let left = |wait: Duration, since| wait.saturating_sub(now.saturating_duration_since(since));
        let Rules { wait_open, half_open_calls, permit_limit, .. } = self.rules;
        let mut transition = None;
        let retry_after = match self.phase {
            Phase::Closed(_) | Phase::ForcedClosed(_) | Phase::Disabled => return (None, None),
            Phase::Open => left(wait_open, self.since),
            Phase::HalfOpen { tally, .. } if self.out + tally.calls < half_open_calls => return (None, None),
            Phase::HalfOpen { tally, last_granted } => match left(permit_limit, last_granted) {
                Duration::ZERO => {
                    transition = Some(self.change(Phase::Open, Cause::PermitsLost, tally, now));
                    wait_open
                }
                left => left,
            },
            Phase::ForcedOpen => wait_open,
        };
        if retry_after.is_zero() {
            return (None, None);
        }
        self.rejected += 1;
        (Some(Open { retry_after }), transition)
    }

    /// Reports the end of a call.
    pub fn settle(&mut self, ticket: Ticket, verdict: Verdict, now: Instant) -> Option<Transition> {
        let now = self.at(now);
        if ticket.epoch != self.epoch {
            return None;
        }
        self.out -= 1;
        let is_failed = match verdict {
            Verdict::Ignored => return None,
            Verdict::Success => false,
            Verdict::Failure => true,
        };
        let is_slow = now.saturating_duration_since(ticket.granted) >= self.rules.slow_call;
        let call = Call { is_failed, is_slow };
        match &mut self.phase {
            Phase::Closed(window) => {
                let tally = window.record(call, now);
                let cause = self.rules.cause_to_open(tally).filter(|_| tally.calls >= self.rules.minimum_calls)?;
                Some(self.change(Phase::Open, cause, tally, now))
            }
            Phase::HalfOpen { tally, .. } => {
                *tally += call.into();
                let tally = *tally;
                if tally.calls < self.rules.half_open_calls {
                    return None;
                }
                Some(match self.rules.cause_to_open(tally) {
                    Some(cause) => self.change(Phase::Open, cause, tally, now),
                    None => self.change(self.closed(now), Cause::Recovered, tally, now),
                })
            }
            Phase::ForcedClosed(window) => {
                window.record(call, now);
                None
            }
            // The first two permit nothing; the third does not count.
            Phase::Open | Phase::ForcedOpen | Phase::Disabled => None,
        }
    }

    /// Applies a command. A command for the current state changes nothing; a reset always counts as a change.
    pub fn command(&mut self, command: Command, now: Instant) -> Option<Transition> {
        let now = self.at(now);
        let phase = match (command, &self.phase) {
            (Command::ForceOpen, Phase::ForcedOpen)
            | (Command::ForceClosed, Phase::ForcedClosed(_))
            | (Command::Disable, Phase::Disabled) => return None,
            (Command::Probe, Phase::Open) => Phase::HalfOpen { tally: Tally::default(), last_granted: now },
            (Command::Probe, _) => return None,
            (Command::ForceOpen, _) => Phase::ForcedOpen,
            (Command::ForceClosed, _) => Phase::ForcedClosed(SlidingWindow::new(self.rules.window, now)),
            (Command::Disable, _) => Phase::Disabled,
            (Command::Reset, _) => self.closed(now),
        };
        let cause = if command == Command::Probe { Cause::Answered } else { Cause::Command };
        Some(self.change(phase, cause, self.tally(now), now))
    }

    /// Its state and counts.
    pub fn snapshot(&self, now: Instant) -> BreakerSnapshot {
        let now = now.max(self.latest);
        let in_state = now.saturating_duration_since(self.since);
        let wait_left = match self.phase {
            Phase::Open => self.rules.wait_open.saturating_sub(in_state),
            _ => Duration::ZERO,
        };
        let tally = self.tally(now);
        BreakerSnapshot {
            state: self.state(),
            in_state_ms: millis(in_state),
            wait_left_ms: millis(wait_left),
            tally,
            failure_rate: tally.failure_rate(),
            slow_call_rate: tally.slow_call_rate(),
            permits_out: self.out,
            rejected: self.rejected,
            last: self.last,
        }
    }

    /// The caller's time, but never before an earlier one.
    fn at(&mut self, now: Instant) -> Instant {
        self.latest = self.latest.max(now);
        self.latest
    }

    fn closed(&self, now: Instant) -> Phase {
        Phase::Closed(SlidingWindow::new(self.rules.window, now))
    }

    fn tally(&self, now: Instant) -> Tally {
        match &self.phase {
            Phase::Closed(window) | Phase::ForcedClosed(window) => window.tally(now),
            Phase::HalfOpen { tally, .. } => *tally,
            Phase::Open | Phase::ForcedOpen | Phase::Disabled => Tally::default(),
        }
    }

    fn change(&mut self, phase: Phase, cause: Cause, tally: Tally, now: Instant) -> Transition {
        let from = self.state();
        self.phase = phase;
        self.epoch += 1;
        self.since = now;
        self.out = 0;
        let transition = Transition { number: self.epoch, from, to: self.state(), cause, tally };
        self.last = Some(transition);
        transition
    }
}

impl State {
    /// Its name, as operators see it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
            Self::ForcedOpen => "forced-open",
            Self::ForcedClosed => "forced-closed",
            Self::Disabled => "disabled",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, tally, .. } = self;
        let why = match self.cause {
            Cause::FailureRate => "too many calls failed",
            Cause::SlowCallRate => "too many calls were slow",
            Cause::WaitOver => "the wait is over",
            Cause::Recovered => "the neighbour is well again",
            Cause::PermitsLost => "calls have not come to an end",
            Cause::Command => "an operator said so",
            Cause::Answered => "the neighbour has answered meanwhile",
        };
        write!(f, "{from} to {to}: {why} ({} calls, {} failed, {} slow)", tally.calls, tally.failed, tally.slow)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;

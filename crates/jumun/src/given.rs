//! Given, when, then: specifies an aggregate by example.
//!
//! ```text
//! given::<Order>([Event::Ordered(order())]).when(7, Command::Cancel).then([Event::OrderCanceled(cancelled())]);
//! given::<StoreOrder>([Event::Ordered(order())]).with(limited()).time_out(7, "accept_within")
//!     .then([Event::StoreCanceled(given_up())]);
//! given::<Order>([]).when(7, Command::Place(basket()))
//!     .then_asks(&PAY, &pay()).answered(&payment()).then([Event::Ordered(order())]);
//! ```

use crate::{
    aggregate::{Aggregate, CommandOf, Context, Decision, EventOf, Peers, SettingsOf, Stop},
    ask::{Ask, Asked, Reply},
    rejection::Rejection,
    subscription,
    time::Time,
    time_out::TimeOut,
    value::Id,
};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

/// A history of events.
#[derive(Debug)]
pub struct Given<A: Aggregate> {
    history: Vec<EventOf<A>>,
    settings: SettingsOf<A>,
    now: Time,
}

/// Starts from a history of events. It is that of the whole service: a decision that [reads](Context::read) another instance
/// sees what these events make of it.
pub fn given<A: Aggregate>(history: impl IntoIterator<Item = EventOf<A>>) -> Given<A> {
    Given { history: history.into_iter().collect(), settings: SettingsOf::<A>::default(), now: Time::EPOCH }
}

impl<A: Aggregate> Given<A> {
    /// Sets what the operator has set.
    #[must_use]
    pub fn with(mut self, settings: SettingsOf<A>) -> Self {
        self.settings = settings;
        self
    }

    /// Sets the time of the command.
    #[must_use]
    pub fn at(mut self, now: impl Into<Time>) -> Self {
        self.now = now.into();
        self
    }

    /// The instance of this id gets a command.
    pub fn when(self, id: i64, command: CommandOf<A>) -> When<A> {
        let id = Id::new(id).expect("an id is 1 or more");
        let state = subscription::folded(id, None, &self.history);
        Case { id, state, command, given: self }.run(None)
    }

    /// The time that the instance of this id waits for something is over. Its [wait](Aggregate::time_out) is to have this
    /// name.
    #[track_caller]
    pub fn time_out(self, id: i64, name: &str) -> When<A> {
        let state = self.state(id);
        let waits = state.as_ref().and_then(|state| state.time_out(&self.settings));
        let Some(TimeOut { command, .. }) = waits.filter(|waits| waits.name == name) else {
            panic!("it does not wait for {name}: {state:?}");
        };
        self.when(id, command)
    }

    /// What the instance of this id waits for, and for how long.
    pub fn waits(&self, id: i64) -> Option<(&'static str, Duration)> {
        let waits = self.state(id)?.time_out(&self.settings)?;
        Some((waits.name, waits.after))
    }

    /// The state of the instance of this id after this history.
    pub fn state(&self, id: i64) -> Option<A> {
        subscription::folded(Id::new(id).expect("an id is 1 or more"), None, &self.history)
    }
}

struct Case<A: Aggregate> {
    id: Id<A>,
    state: Option<A>,
    command: CommandOf<A>,
    given: Given<A>,
}

/// A command and its decision.
pub struct When<A: Aggregate> {
    case: Case<A>,
    decision: Decision<EventOf<A>>,
    later: Vec<Asked>,
}

impl<A: Aggregate> Case<A> {
    fn run(self, reply: Option<&Reply>) -> When<A> {
        let Given { history, settings, now } = &self.given;
        let ctx = Context::new(self.id, *now, settings, reply, Peers::History(history));
        let decision = A::decide(self.state.as_ref(), self.command.clone(), &ctx);
        let later = ctx.later.into_inner();
        When { case: self, decision, later }
    }
}

/// A decision that waits for an answer.
pub struct Asking<A: Aggregate>(Case<A>);

impl<A: Aggregate> When<A> {
    /// Asserts that the decision emits exactly these events. Returns the state after them.
    #[track_caller]
    pub fn then(self, events: impl IntoIterator<Item = EventOf<A>>) -> Option<A> {
        let expected: Vec<_> = events.into_iter().collect();
        assert_eq!(self.decision, Ok(expected.clone()));
        subscription::folded(self.case.id, self.case.state, &expected)
    }

    /// The events that the decision emits, for tests of properties.
    pub fn events(self) -> Decision<EventOf<A>> {
        self.decision
    }

    /// Asserts that the command is rejected.
    #[track_caller]
    pub fn then_rejected(self, why: Rejection) {
        assert_eq!(self.decision, Err(Stop::Reject(why)));
    }

    /// Asserts that the decision leaves exactly this delayed ask.
    #[must_use]
    #[track_caller]
    pub fn then_asks_later<Q: Serialize, T>(self, ask: &Ask<Q, T>, question: &Q) -> Self {
        assert_eq!(self.later, [ask.asked(question)]);
        self
    }

    /// Asserts that the decision asks this first.
    #[track_caller]
    pub fn then_asks<Q: Serialize, T: DeserializeOwned>(self, ask: &Ask<Q, T>, question: &Q) -> Asking<A> {
        assert_eq!(self.decision, Err(Stop::Ask(Box::new(ask.asked(question)))));
        Asking(self.case)
    }
}

impl<A: Aggregate> Asking<A> {
    /// The other service accepts.
    pub fn answered<T: Serialize>(self, answer: &T) -> When<A> {
        let body = serde_json::to_string(answer).expect("an answer is plain data");
        self.0.run(Some(&Reply::Accepted(body)))
    }

    /// The other service refuses for good.
    pub fn refused(self, why: Rejection) -> When<A> {
        self.0.run(Some(&Reply::Refused(why)))
    }

    /// The other service does not answer yet.
    pub fn delayed(self) -> When<A> {
        self.0.run(Some(&Reply::Later))
    }

    /// The other service does not answer.
    pub fn unavailable(self) -> When<A> {
        self.0.run(Some(&Reply::Unavailable))
    }
}

//! Given, when, then: the business specified by example.
//!
//! ```text
//! given::<Order>([Event::Ordered(order())]).when(7, Command::Cancel).then([Event::OrderCanceled(cancelled())]);
//! given::<Order>([]).when(7, Command::Place(basket()))
//!     .then_asks(&PAY, &pay()).answered(&payment()).then([Event::Ordered(order())]);
//! ```

use crate::{
    aggregate::{Aggregate, Context, Decision, Stop},
    ask::{Ask, Asked, Reply},
    rejection::Rejection,
    value::Id,
};
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};

/// What has happened so far.
#[derive(Debug)]
pub struct Given<A: Aggregate> {
    history: Vec<A::Event>,
    settings: A::Settings,
    now: Timestamp,
}

/// Starts from what has happened so far.
pub fn given<A: Aggregate>(history: impl IntoIterator<Item = A::Event>) -> Given<A> {
    Given { history: history.into_iter().collect(), settings: A::Settings::default(), now: Timestamp::UNIX_EPOCH }
}

impl<A: Aggregate> Given<A> {
    /// Under these settings.
    #[must_use]
    pub fn with(mut self, settings: A::Settings) -> Self {
        self.settings = settings;
        self
    }

    /// At this time.
    #[must_use]
    pub fn at(mut self, now: Timestamp) -> Self {
        self.now = now;
        self
    }

    /// A command comes in for the instance of this id.
    pub fn when(self, id: i64, command: A::Command) -> When<A> {
        let id = Id::new(id).expect("an id is 1 or more");
        let state = evolve(id, None, &self.history);
        Case { id, state, command, given: self }.run(None)
    }

    /// The state after this history, for the instance of this id.
    pub fn state(&self, id: i64) -> Option<A> {
        evolve(Id::new(id).expect("an id is 1 or more"), None, &self.history)
    }
}

fn evolve<A: Aggregate>(id: Id<A>, state: Option<A>, events: &[A::Event]) -> Option<A> {
    events.iter().filter(|event| A::concerns(event) == Some(id)).fold(state, |state, event| A::evolve(state, event))
}

struct Case<A: Aggregate> {
    id: Id<A>,
    state: Option<A>,
    command: A::Command,
    given: Given<A>,
}

/// A command and what came of it.
pub struct When<A: Aggregate> {
    case: Case<A>,
    decision: Decision<A::Event>,
    later: Vec<Asked>,
}

impl<A: Aggregate> Case<A> {
    fn run(self, reply: Option<&Reply>) -> When<A> {
        let ctx = Context::new(self.id, self.given.now, &self.given.settings, reply);
        let decision = A::decide(self.state.as_ref(), self.command.clone(), &ctx);
        let later = ctx.later.into_inner();
        When { case: self, decision, later }
    }
}

/// A question that was asked and is not answered yet.
pub struct Asking<A: Aggregate>(Case<A>);

impl<A: Aggregate> When<A> {
    /// Exactly these events follow. Gives the state after them.
    #[track_caller]
    pub fn then(self, events: impl IntoIterator<Item = A::Event>) -> Option<A> {
        let expected: Vec<_> = events.into_iter().collect();
        assert_eq!(self.decision, Ok(expected.clone()));
        evolve(self.case.id, self.case.state, &expected)
    }

    /// The answer is no.
    #[track_caller]
    pub fn then_rejected(self, why: Rejection) {
        assert_eq!(self.decision, Err(Stop::Reject(why)));
    }

    /// This is to be asked once what is decided is committed, and nothing else.
    #[must_use]
    #[track_caller]
    pub fn then_asks_later<Q: Serialize, T>(self, ask: &Ask<Q, T>, question: &Q) -> Self {
        assert_eq!(self.later, [ask.asked(question)]);
        self
    }

    /// A neighbour is asked first.
    #[track_caller]
    pub fn then_asks<Q: Serialize, T: DeserializeOwned>(self, ask: &Ask<Q, T>, question: &Q) -> Asking<A> {
        assert_eq!(self.decision, Err(Stop::Ask(Box::new(ask.asked(question)))));
        Asking(self.case)
    }
}

impl<A: Aggregate> Asking<A> {
    /// The neighbour says yes.
    pub fn answered<T: Serialize>(self, answer: &T) -> When<A> {
        let body = serde_json::to_string(answer).expect("an answer is plain data");
        self.0.run(Some(&Reply::Accepted(body)))
    }

    /// The neighbour says no, for good.
    pub fn refused(self, why: Rejection) -> When<A> {
        self.0.run(Some(&Reply::Refused(why)))
    }

    /// The neighbour does not answer, and may do so later.
    pub fn delayed(self) -> When<A> {
        self.0.run(Some(&Reply::Later))
    }

    /// The neighbour does not answer.
    pub fn unavailable(self) -> When<A> {
        self.0.run(Some(&Reply::Unavailable))
    }
}

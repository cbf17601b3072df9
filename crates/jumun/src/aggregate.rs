//! Aggregates: decide, evolve, react. Pure functions over data, so that the same code runs in production, in a property
//! test and in a simulation.
//!
//! Sources: J. Chassaing, *Functional Event Sourcing Decider* (decide and evolve); A. Brandolini, *Introducing
//! Event Storming* (command, event, policy).

use crate::{
    ask::{Answer, Ask, Asked, Reply},
    event::PublishedLanguage,
    rejection::Rejection,
    value::Id,
};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use std::{cell::RefCell, fmt::Debug};

/// One thing with a life of its own. Everything around these functions is the runtime's.
pub trait Aggregate: Clone + Debug + Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// What can be asked of it.
    type Command: Clone + Send + Sync + 'static;
    /// The language of the system it lives in.
    type Event: PublishedLanguage;
    /// What an operator may set, by default as its `Default` says.
    type Settings: Settings;

    /// Which instance an event is about: ours or a neighbour's. None: not our business, it is never even read.
    fn concerns(event: &Self::Event) -> Option<Id<Self>>;

    /// Whether a command ends something, such as a cancellation: it makes less work, not more, so it is done even where new
    /// work is turned away. What clients `DELETE` always is.
    fn is_ending(_command: &Self::Command) -> bool {
        false
    }

    /// Policy: what an event makes us do. It is decided on the state with the event already in it.
    fn react(_event: &Self::Event) -> Option<Self::Command> {
        None
    }

    /// Policy: what an event makes afresh, such as notifications of it: instances with ids of their own, each by the command
    /// that makes it.
    fn react_anew(_event: &Self::Event) -> Vec<Self::Command> {
        Vec::new()
    }

    /// What follows from a command: events, a question to a neighbour first, or a no.
    ///
    /// It runs again once the question is answered, on the state of then, with the `id` and the `now` of the first run.
    fn decide(this: Option<&Self>, command: Self::Command, ctx: &Context<'_, Self>) -> Decision<Self::Event>;

    /// The state after an event. Sees every event that concerns us, own or foreign, in any order between sources.
    fn evolve(this: Option<Self>, event: &Self::Event) -> Option<Self>;

    /// False: remembered, in no list and no total, 404 to whoever asks.
    fn shown(&self) -> bool {
        true
    }
}

/// A read model: a fold that never deletes and does not care in which order events of different sources come.
///
/// Each field belongs to one source; a status is the highest that was seen. Source: G. Young, *CQRS Documents*.
pub trait View: Clone + Debug + Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// The language of the system it lives in.
    type Event: PublishedLanguage;

    /// Which row an event is about. None: not our business, it is never even read.
    fn concerns(event: &Self::Event) -> Option<i64>;

    /// A row of which nothing has been heard yet.
    fn row(id: i64) -> Self;

    /// Takes an event in.
    fn fold(&mut self, event: &Self::Event);

    /// False: remembered, not shown. So is an order of which only the payment has been heard.
    fn shown(&self) -> bool {
        true
    }
}

/// What an operator may set. Its keys are the fields of its default.
pub trait Settings: Clone + Debug + Default + Serialize + DeserializeOwned + Send + Sync + 'static {}
impl<T: Clone + Debug + Default + Serialize + DeserializeOwned + Send + Sync + 'static> Settings for T {}

/// No settings: every key is unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct NoSettings {}

/// What a decision may know besides state and command.
#[derive(Debug)]
pub struct Context<'a, A: Aggregate> {
    /// The id of the instance that the command is for; a new one where it makes one.
    pub id: Id<A>,
    /// The time of the command, to the millisecond.
    pub now: Timestamp,
    /// What the operator has set.
    pub settings: &'a A::Settings,
    pub(crate) reply: Option<&'a Reply>,
    /// Questions that the decision leaves to be answered later.
    pub(crate) later: RefCell<Vec<Asked>>,
}

impl<'a, A: Aggregate> Context<'a, A> {
    pub(crate) fn new(id: Id<A>, now: Timestamp, settings: &'a A::Settings, reply: Option<&'a Reply>) -> Self {
        Self { id, now, settings, reply, later: RefCell::default() }
    }

    /// Asks a neighbour. The first run of the decision stops here with the question; the second one has the answer.
    pub fn try_ask<Q: Serialize, T: DeserializeOwned>(&self, ask: &Ask<Q, T>, question: Q) -> Result<Answer<T>, Stop> {
        match self.reply {
            None | Some(Reply::OnlyLater) => Err(Stop::Ask(Box::new(ask.asked(&question)))),
            Some(Reply::Accepted(body)) => Ok(serde_json::from_str(body).map_or(Answer::Unavailable, Answer::Accepted)),
            Some(Reply::Refused(why)) => Ok(Answer::Refused(why.clone())),
            Some(Reply::Unavailable | Reply::Later) => Ok(Answer::Unavailable),
        }
    }

    /// Asks a neighbour whose yes is needed: its no becomes ours, and without it there is no answer.
    pub fn ask<Q: Serialize, T: DeserializeOwned>(&self, ask: &Ask<Q, T>, question: Q) -> Result<T, Stop> {
        match self.try_ask(ask, question)? {
            Answer::Accepted(answer) => Ok(answer),
            Answer::Refused(why) => Err(why.into()),
            Answer::Unavailable => Err(Rejection::Unavailable(ask.service()).into()),
        }
    }

    /// Asks a neighbour whose yes may come later. `None`: there is no answer now, and the decision is to be taken without
    /// it; the same question is asked until there is one, however long that takes within its deadline, and what comes of it
    /// is settled by the command of [`Resource::settle`](crate::Resource::settle).
    ///
    /// Whether that may be is the operator's choice (`fallback`); where it may not, this is [`Self::ask`].
    pub fn ask_or_later<Q: Serialize, T: DeserializeOwned>(
        &self,
        ask: &Ask<Q, T>,
        question: Q,
    ) -> Result<Option<T>, Stop> {
        if matches!(self.reply, Some(Reply::Later | Reply::OnlyLater)) {
            self.later(ask, question);
            return Ok(None);
        }
        self.ask(ask, question).map(Some)
    }

    /// Has a question asked once what is decided here is committed, and not before. See [`Self::ask_or_later`].
    pub fn later<Q: Serialize, T>(&self, ask: &Ask<Q, T>, question: Q) {
        self.later.borrow_mut().push(ask.asked(&question));
    }
}

/// What was decided: events that have now happened, or why not.
pub type Decision<E> = Result<Vec<E>, Stop>;

/// Why a decision stopped.
#[derive(Debug, Clone, PartialEq)]
pub enum Stop {
    /// It needs an answer first.
    Ask(Box<Asked>),
    /// It says no.
    Reject(Rejection),
}

impl From<Rejection> for Stop {
    fn from(rejection: Rejection) -> Self {
        Stop::Reject(rejection)
    }
}

/// This has now happened.
pub fn emit<E>(event: E) -> Decision<E> {
    Ok(vec![event])
}

/// Nothing to do, and that is fine.
pub fn nothing<E>() -> Decision<E> {
    Ok(Vec::new())
}

/// Not in this state.
pub fn conflict<E>(why: &'static str) -> Decision<E> {
    Err(Rejection::Conflict(why.into()).into())
}

/// The money is refused.
pub fn declined<E>(why: &'static str) -> Decision<E> {
    Err(Rejection::Declined(why.into()).into())
}

/// The input makes no sense.
pub fn invalid<E>(field: &str, why: &'static str) -> Decision<E> {
    Err(Rejection::Invalid { field: Some(field.to_owned()), why: why.into() }.into())
}

/// There is no such thing.
pub fn not_found<E>() -> Decision<E> {
    Err(Rejection::NotFound.into())
}

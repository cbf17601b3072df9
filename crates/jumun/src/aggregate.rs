//! Aggregates and views: pure functions over data, so that the same code runs in production, in a property test and in a
//! simulation.
//!
//! Sources: J. Chassaing, *Functional Event Sourcing Decider* (decide and evolve); A. Brandolini, *Introducing
//! Event Storming* (command, event, policy).

use crate::{
    ask::{Answer, Ask, AskTarget, Asked, Reply},
    event::PublishedLanguage,
    rejection::Rejection,
    time::Time,
    value::Id,
};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use std::{cell::RefCell, fmt::Debug};

/// An entity of the business, such as an order: its state, its commands, what they lead to. See the
/// [crate documentation](crate) for a whole one.
///
/// A service keeps one document for each instance. The runtime reads it, calls these functions, commits what follows.
pub trait Aggregate: Clone + Debug + Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// What clients, policies and other services can request of it.
    type Command: Clone + Send + Sync + 'static;
    /// The published language of its system.
    type Event: PublishedLanguage;
    /// What an operator can set; the defaults are those of its `Default`.
    type Settings: Settings;

    /// The events that it subscribes to, its own and those of other services: the complete list.
    ///
    /// An event of another kind never reaches [`concerns`](Self::concerns), [`react`](Self::react),
    /// [`react_anew`](Self::react_anew) or [`evolve`](Self::evolve). List its own events, too: without them its decisions
    /// do not change its state.
    const HEARS: &'static [<Self::Event as PublishedLanguage>::Kind];

    /// The instance that an event concerns: by default the one whose id is the correlation key.
    ///
    /// Override it for an aggregate whose instances have ids of their own (see [`react_anew`](Self::react_anew)). None: the
    /// event changes no instance.
    fn concerns(event: &Self::Event) -> Option<Id<Self>> {
        Self::HEARS.contains(&event.kind()).then(|| event.key())
    }

    /// Whether a command ends something, such as a cancellation. It reduces the load, so the service takes it even when it
    /// sheds new work. A `DELETE` always is.
    fn is_ending(_command: &Self::Command) -> bool {
        false
    }

    /// Whether an instance waits for the answer to a [delayed ask](Context::ask_or_later). When a commit makes this false,
    /// as a cancellation does, the ask is withdrawn and undone.
    fn waits_for(&self, _ask: AskTarget) -> bool {
        false
    }

    /// Policy: the command that an event causes, for the instance that it concerns. `decide` then sees the state after
    /// the event.
    fn react(_event: &Self::Event) -> Option<Self::Command> {
        None
    }

    /// Policy: the commands that make new instances because of an event, such as notifications. Each instance gets an id
    /// of its own.
    fn react_anew(_event: &Self::Event) -> Vec<Self::Command> {
        Vec::new()
    }

    /// Decides a command: emits events, rejects it, or asks another service first.
    ///
    /// A decision that asks runs twice. The first run stops at the ask; the second has the answer, sees the state of then,
    /// and gets the `id` and the `now` of the first run.
    fn decide(this: Option<&Self>, command: Self::Command, ctx: &Context<'_, Self>) -> Decision<Self::Event>;

    /// The state after an event. Events of one service arrive in order, those of different services in any order: one may
    /// arrive before the event that founds the instance.
    fn evolve(this: Option<Self>, event: &Self::Event) -> Option<Self>;

    /// Whether clients see the instance. False: it is kept, but in no list and no total, and a `GET` answers 404.
    fn shown(&self) -> bool {
        true
    }
}

/// A read model: a fold over events. It never deletes a row, and the order in which events of different services arrive
/// makes no difference.
///
/// Let each field come from one service, and let a status only rise. Source: G. Young, *CQRS Documents*.
pub trait View: Clone + Debug + Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// The published language of its system.
    type Event: PublishedLanguage;

    /// The events that it subscribes to: the complete list. An event of another kind never reaches
    /// [`concerns`](Self::concerns) or [`fold`](Self::fold).
    const HEARS: &'static [<Self::Event as PublishedLanguage>::Kind];

    /// The row that an event concerns: by default the one whose id is the correlation key. None: it changes no row.
    fn concerns(event: &Self::Event) -> Option<i64> {
        Self::HEARS.contains(&event.kind()).then(|| event.correlation_key())
    }

    /// A row before its first event.
    fn row(id: i64) -> Self;

    /// Applies an event.
    fn fold(&mut self, event: &Self::Event);

    /// Whether clients see the row. False: it is kept, but not shown, as for an order of which only the payment is known.
    fn shown(&self) -> bool {
        true
    }
}

/// What an operator can set. Its keys are the fields of its default.
pub trait Settings: Clone + Debug + Default + Serialize + DeserializeOwned + Send + Sync + 'static {}
impl<T: Clone + Debug + Default + Serialize + DeserializeOwned + Send + Sync + 'static> Settings for T {}

/// No settings: every key is unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct NoSettings {}

/// What a decision knows besides state and command, and how it asks.
#[derive(Debug)]
pub struct Context<'a, A: Aggregate> {
    /// The id of the instance that decides; a new id if the command makes one.
    pub id: Id<A>,
    /// The time of the command, to the millisecond.
    pub now: Time,
    /// What the operator has set.
    pub settings: &'a A::Settings,
    pub(crate) reply: Option<&'a Reply>,
    /// The delayed asks of this decision.
    pub(crate) later: RefCell<Vec<Asked>>,
}

impl<'a, A: Aggregate> Context<'a, A> {
    pub(crate) fn new(id: Id<A>, now: Time, settings: &'a A::Settings, reply: Option<&'a Reply>) -> Self {
        Self { id, now, settings, reply, later: RefCell::default() }
    }

    /// Asks another service and returns its answer, for a decision that has a fallback. The first run of the decision stops
    /// here; the second gets the answer.
    pub fn try_ask<Q: Serialize, T: DeserializeOwned>(&self, ask: &Ask<Q, T>, question: Q) -> Result<Answer<T>, Stop> {
        match self.reply {
            None | Some(Reply::OnlyLater) => Err(Stop::Ask(Box::new(ask.asked(&question)))),
            Some(Reply::Accepted(body)) => Ok(serde_json::from_str(body).map_or(Answer::Unavailable, Answer::Accepted)),
            Some(Reply::Refused(why)) => Ok(Answer::Refused(why.clone())),
            Some(Reply::Unavailable | Reply::Later) => Ok(Answer::Unavailable),
        }
    }

    /// Asks another service and requires it to accept. If it refuses, the decision is rejected for the same reason; without
    /// an answer it is rejected as [`Rejection::Unavailable`].
    pub fn ask<Q: Serialize, T: DeserializeOwned>(&self, ask: &Ask<Q, T>, question: Q) -> Result<T, Stop> {
        match self.try_ask(ask, question)? {
            Answer::Accepted(answer) => Ok(answer),
            Answer::Refused(why) => Err(why.into()),
            Answer::Unavailable => Err(Rejection::Unavailable(ask.service()).into()),
        }
    }

    /// Asks another service whose answer may come later. `None`: there is no answer yet, and the decision goes on without
    /// it. The runtime then repeats the ask until it is answered or its deadline passes, and the command of
    /// [`Resource::settle`](crate::Resource::settle) decides on the result.
    ///
    /// The operator chooses whether that is allowed (`fallback`). Where it is not, this is [`Self::ask`].
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

    /// Asks once this decision is committed, and not before. See [`Self::ask_or_later`].
    pub fn later<Q: Serialize, T>(&self, ask: &Ask<Q, T>, question: Q) {
        self.later.borrow_mut().push(ask.asked(&question));
    }
}

/// The result of a decision: the events that it emits, or why it stopped.
pub type Decision<E> = Result<Vec<E>, Stop>;

/// Why a decision stopped.
#[derive(Debug, Clone, PartialEq)]
pub enum Stop {
    /// It needs the answer to an ask first.
    Ask(Box<Asked>),
    /// It is rejected.
    Reject(Rejection),
}

impl From<Rejection> for Stop {
    fn from(rejection: Rejection) -> Self {
        Stop::Reject(rejection)
    }
}

/// Emits an event.
pub fn emit<E>(event: E) -> Decision<E> {
    Ok(vec![event])
}

/// Accepts the command without an event.
pub fn nothing<E>() -> Decision<E> {
    Ok(Vec::new())
}

/// Rejects: the state of the instance does not allow it.
pub fn conflict<E>(why: &'static str) -> Decision<E> {
    Err(Rejection::Conflict(why.into()).into())
}

/// Rejects: the payment is declined.
pub fn declined<E>(why: &'static str) -> Decision<E> {
    Err(Rejection::Declined(why.into()).into())
}

/// Rejects: a field of the input is invalid.
pub fn invalid<E>(field: &str, why: &'static str) -> Decision<E> {
    Err(Rejection::Invalid { field: Some(field.to_owned()), why: why.into() }.into())
}

/// Rejects: the instance does not exist.
pub fn not_found<E>() -> Decision<E> {
    Err(Rejection::NotFound.into())
}

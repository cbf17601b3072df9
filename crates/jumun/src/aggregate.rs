//! Aggregates and views: pure functions over data, so that the same code runs in production, in a property test and in a
//! simulation.
//!
//! Sources: J. Chassaing, *Functional Event Sourcing Decider* (decide and evolve); A. Brandolini, *Introducing
//! Event Storming* (command, event, policy).

use crate::{
    ask::{Answer, Ask, AskTarget, Asked, Reply},
    event::PublishedLanguage,
    first::First,
    model::DocumentKey,
    rejection::Rejection,
    time::Time,
    time_out::TimeOut,
    value::Id,
};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use std::{any::TypeId, cell::RefCell, fmt::Debug};

/// An entity of the business, such as an order: its state, its commands, what they lead to. See the
/// [crate documentation](crate) for a whole one.
///
/// A service keeps one document for each instance. The runtime reads it, calls these functions, commits what follows.
pub trait Aggregate: Clone + Debug + Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// Its commands, the events of its system and, if an operator can set something, its settings: `(Command, Event)` or
    /// `(Command, Event, Settings)`.
    type Terms: Terms;

    /// The events that it subscribes to, its own and those of other services: the complete list.
    ///
    /// An event of another kind never reaches [`concerns`](Self::concerns), [`react`](Self::react),
    /// [`react_first`](Self::react_first), [`react_anew`](Self::react_anew) or [`evolve`](Self::evolve). List its own events, too: without them its decisions
    /// do not change its state.
    const HEARS: &'static [<EventOf<Self> as PublishedLanguage>::Kind];

    /// The instance that an event concerns: by default the one whose id is the correlation key.
    ///
    /// Override it for an aggregate whose instances have ids of their own (see [`react_anew`](Self::react_anew)). None: the
    /// event changes no instance.
    fn concerns(event: &EventOf<Self>) -> Option<Id<Self>> {
        Self::HEARS.contains(&event.kind()).then(|| event.key())
    }

    /// Whether a command ends something, such as a cancellation. It reduces the load, so the service takes it even when it
    /// sheds new work. A `DELETE` always is.
    fn is_ending(_command: &CommandOf<Self>) -> bool {
        false
    }

    /// Whether an instance waits for the answer to a [delayed ask](Context::ask_or_later). When a commit makes this false,
    /// as a cancellation does, the ask is withdrawn and undone.
    fn waits_for(&self, _ask: AskTarget) -> bool {
        false
    }

    /// The wait of an instance in this state that ends by itself: how long it lasts, and the command that decides then.
    ///
    /// The wait begins with the commit in which an instance starts to wait, or to wait under another name. It goes on while
    /// the name stays the same, and ends when the state waits no longer: a shop that has accepted is not waited for. What is
    /// due is decided once, also if no process ran when the time was up. A command that emits nothing ends the wait.
    ///
    /// If the instance is changed in the same moment, exactly one is first; the other is decided on the state after it.
    fn time_out(&self, _settings: &SettingsOf<Self>) -> Option<TimeOut<CommandOf<Self>>> {
        None
    }

    /// Policy: the command that an event causes, for the instance that it concerns. `decide` then sees the state after
    /// the event. An event of the service itself causes its command in the same commit.
    fn react(_event: &EventOf<Self>) -> Option<CommandOf<Self>> {
        None
    }

    /// Policy: the command that an event causes for the [first] instances that an index finds, such as the customer who
    /// has waited longest. `decide` then sees the state after the event, as with [`react`](Self::react).
    ///
    /// [first]: First
    fn react_first(_event: &EventOf<Self>) -> Option<First<CommandOf<Self>>> {
        None
    }

    /// Policy: the commands that make new instances because of an event of another service, such as notifications. Each
    /// instance gets an id of its own.
    fn react_anew(_event: &EventOf<Self>) -> Vec<CommandOf<Self>> {
        Vec::new()
    }

    /// Decides a command: emits events, rejects it, or asks another service first.
    ///
    /// A decision that asks runs twice. The first run stops at the ask; the second has the answer, sees the state of then,
    /// and gets the `id` and the `now` of the first run.
    fn decide(this: Option<&Self>, command: CommandOf<Self>, ctx: &Context<'_, Self>) -> Decision<EventOf<Self>>;

    /// The state after an event: by default the instance that the event [carries](PublishedLanguage::carried), or the state
    /// before it. Events of one service arrive in order, those of different services in any order: one may arrive before the
    /// event that founds the instance.
    fn evolve(this: Option<Self>, event: &EventOf<Self>) -> Option<Self> {
        event.carried_or(this)
    }

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

/// What an aggregate is written in: `(Command, Event)` or `(Command, Event, Settings)`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not `(Command, Event)` or `(Command, Event, Settings)` of an aggregate",
    note = "a command is `Clone + Debug`, an event is made by `published_language!`, and settings have a `Default`"
)]
pub trait Terms {
    /// What clients, policies and other services can request.
    type Command: Clone + Debug + Send + Sync + 'static;
    /// The published language of the system.
    type Event: PublishedLanguage;
    /// What an operator can set; the defaults are those of its `Default`.
    type Settings: Settings;
}

impl<C: Clone + Debug + Send + Sync + 'static, E: PublishedLanguage> Terms for (C, E) {
    type Command = C;
    type Event = E;
    type Settings = NoSettings;
}

impl<C: Clone + Debug + Send + Sync + 'static, E: PublishedLanguage, S: Settings> Terms for (C, E, S) {
    type Command = C;
    type Event = E;
    type Settings = S;
}

/// The commands of an aggregate.
pub type CommandOf<A> = <<A as Aggregate>::Terms as Terms>::Command;
/// The events of the system of an aggregate.
pub type EventOf<A> = <<A as Aggregate>::Terms as Terms>::Event;
/// The settings of an aggregate.
pub type SettingsOf<A> = <<A as Aggregate>::Terms as Terms>::Settings;

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
    pub settings: &'a SettingsOf<A>,
    pub(crate) reply: Option<&'a Reply>,
    pub(crate) peers: Peers<'a, EventOf<A>>,
    /// The delayed asks of this decision.
    pub(crate) later: RefCell<Vec<Asked>>,
}

/// Where a decision reads other instances of its service.
pub(crate) enum Peers<'a, E> {
    /// The documents of the service.
    Documents(&'a dyn Documents),
    /// All that happened: each instance is what these events make of it.
    History(&'a [E]),
}

/// The documents of a service, as a decision reads them.
pub(crate) trait Documents {
    /// The body of a document, by its type and id; None if it does not exist.
    fn body(&self, kind: TypeId, id: i64) -> Result<Option<&str>, Unread>;
}

impl<E> Debug for Peers<'_, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Peers")
    }
}

impl<'a, A: Aggregate> Context<'a, A> {
    pub(crate) fn new(
        id: Id<A>,
        now: Time,
        settings: &'a SettingsOf<A>,
        reply: Option<&'a Reply>,
        peers: Peers<'a, EventOf<A>>,
    ) -> Self {
        Self { id, now, settings, reply, peers, later: RefCell::default() }
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
    /// It needs another document of its service first. See [`Context::read`].
    Read(Unread),
    /// It is rejected.
    Reject(Rejection),
}

/// A document that a decision cannot read yet, or why it never can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread(pub(crate) Result<DocumentKey, String>);

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

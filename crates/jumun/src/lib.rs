//! The kernel of Jumun: a business as event storming describes it, in plain Rust.
//!
//! A [`System`] is made of [`Service`]s that share a published language of events. A service keeps [`Aggregate`]s and
//! [`View`]s. An aggregate decides commands and evolves with events; if it needs the agreement of another service first, it
//! [asks](Ask). All of it is pure functions over data: no I/O, no async, no clock. The runtime turns a system into
//! microservices (HTTP, databases, retries, recovery) and is not visible here.
//!
//! # The idea
//!
//! People who describe an ordering business say what happens: *an order was placed, it was paid, it was cancelled*. These are
//! its **events**. Each is the outcome of a wish, a **command**: *place this order, cancel it*. What decides whether a wish
//! is granted is an **aggregate**: the order. So a business is written as three kinds of data and two functions:
//!
//! * `decide(state, command)` returns the events that follow, or why there are none. It changes nothing.
//! * `evolve(state, event)` returns the next state. It refuses nothing: the event has happened.
//!
//! Everything else follows from these two. The runtime reads the state, decides, evolves, and commits events and state at
//! once, before it answers. It can decide again after a crash, because a decision has no effect of its own. A test needs no
//! server. And a machine can try every order in which the events of several services arrive.
//!
//! `jumun new` writes a project with three services, and the tutorial (`docs/tutorial.md`) goes through it. This page begins
//! with one service, and then names what there is besides.
//!
//! # A complete system
//!
//! One service with one aggregate: a customer places an order and can cancel it. From top to bottom: the state, what a client
//! sends, the commands, the events, the decision, and the system that gives them a path and a port. It needs no `evolve` of its
//! own: each event carries the order as it is after it, and that is the default.
//!
//! ```
//! use jumun::prelude::*;
//! use jumun::{Resource, Service, System, SystemModel};
//!
//! jumun::documents! {
//!     /// The state of an order: a document that clients see.
//!     struct Order {
//!         id: Id<Order>,
//!         item: Name,
//!         canceled: bool,
//!     }
//!
//!     /// What a client posts.
//!     struct Basket {
//!         item: Name,
//!     }
//! }
//!
//! #[derive(Debug, Clone)]
//! enum Command {
//!     Place(Basket),
//!     Cancel,
//! }
//!
//! jumun::published_language! {
//!     /// An event, and which service publishes it.
//!     enum Event, EventKind {
//!         order(by id): Ordered(Order), OrderCanceled(Order);
//!     }
//! }
//!
//! impl Aggregate for Order {
//!     type Terms = (Command, Event);
//!
//!     const HEARS: &'static [EventKind] = &[EventKind::Ordered, EventKind::OrderCanceled];
//!
//!     fn decide(order: Option<&Order>, command: Command, ctx: &Context<'_, Order>) -> Decision<Event> {
//!         match (command, order) {
//!             (Command::Place(basket), None) => {
//!                 emit(Event::Ordered(Order { id: ctx.id, item: basket.item, canceled: false }))
//!             }
//!             (Command::Place(_), Some(_)) => conflict("this order was placed already"),
//!             (Command::Cancel, Some(order)) if order.canceled => conflict("this order is cancelled already"),
//!             (Command::Cancel, Some(order)) => {
//!                 emit(Event::OrderCanceled(Order { canceled: true, ..order.clone() }))
//!             }
//!             (Command::Cancel, None) => not_found(),
//!         }
//!     }
//! }
//!
//! fn system() -> SystemModel {
//!     let orders = Resource::<Order>::at("/orders").on_post(Command::Place).on_delete(Command::Cancel);
//!     let examples = r#"{"eventType":"Ordered","timestamp":0,"id":1,"item":"tea","canceled":false}
//! {"eventType":"OrderCanceled","timestamp":0,"id":1,"item":"tea","canceled":true}"#;
//!     System::new("cafe", examples).service(Service::new("order", 8081).aggregate(orders)).build()
//! }
//!
//! assert_eq!(system().problems(), []);
//!
//! // An example specifies the business …
//! let tea = || Order { id: Id::new(7).expect("1 or more"), item: Name::new("tea").expect("a name"), canceled: false };
//! let canceled = Order { canceled: true, ..tea() };
//! jumun::given::given::<Order>([Event::Ordered(tea())])
//!     .when(7, Command::Cancel)
//!     .then([Event::OrderCanceled(canceled)]);
//!
//! // … and an exploration tries everything that can happen to an order.
//! use jumun::saga::{Action, Saga};
//! let saga = Saga::new(system(), Action::post("/orders", r#"{"item":"tea"}"#)).actions([Action::delete("/orders")]);
//! assert_eq!(saga.explore().states, 3); // nothing, placed, cancelled
//! ```
//!
//! # Several services
//!
//! Services share nothing but events. One publishes what has happened; the others hear it, and follow.
//!
//! * **Subscriptions.** [`Aggregate::HEARS`] lists the events that an aggregate hears, its own and those of other services.
//!   No other event reaches it. A service subscribes to what its aggregates and views hear.
//! * **One commit.** One aggregate decides. All aggregates and views of the service that hear the emitted events evolve in the
//!   same commit. Other services get the events later, each service's in order.
//! * **Policies.** An event causes a command: [`Aggregate::react`] for the instance that it concerns,
//!   [`Aggregate::react_first`] for the first instances that an index finds, [`Aggregate::react_anew`] for new instances.
//!   A policy command that the state does not allow is dropped. Events of the service itself cause commands, too: in the
//!   same commit, and never in a circle.
//! * **Ids are shared.** All that belongs to an order has the order's id, the correlation key: payment 7 and delivery 7 belong
//!   to order 7. So there is nothing to look up. [`PublishedLanguage::key`] is that id, read from an event.
//! * **An event may come before its order.** Events of different services arrive in any order. The cancellation of order 7 may
//!   reach the delivery before `CookCompleted` of the shop does. Then `evolve` gets `None`, remembers what it needs and
//!   [does not show](Aggregate::shown) it until the founding event arrives.
//! * **Views.** A [`View`] only reads: its rows are made of the events of any services, in any order.
//!
//! # Inside a service
//!
//! * **Reading.** A decision may read other instances of its service with [`Context::read`]. Nothing that it has read has
//!   changed when it is committed.
//! * **Seeds.** [`Service::seed`] lists the events that a new database begins with.
//! * **Settings.** What an operator may set is [`Terms::Settings`]: `decide` reads it from the [`Context`], as it reads the
//!   time. Neither comes from anywhere else.
//!
//! # Asking, and waiting
//!
//! Where a service needs the yes of another one before it can say yes, following is too late.
//!
//! * **Asks.** An [`Ask`] is a request to another service that must be answered before an event is emitted: no order without
//!   its payment. **A decision that asks runs twice**: the first run stops at [`Context::ask`], the runtime sends the question,
//!   the second run gets the answer. So decide from state, command and context alone. If the answer is lost, the runtime
//!   undoes the ask: the service that answers declares how, with [`Resource::on_ask`].
//! * **Delayed asks.** With [`Context::ask_or_later`] a decision can go on without the answer. The runtime repeats the ask, and
//!   [`Resource::settle`] names the command that decides on the result.
//! * **Time-outs.** [`Aggregate::time_out`] says of a state that it waits, for how long, and which command decides if it still
//!   waits then: a shop that has to accept within ten minutes. It is read off the state, so nobody sets or cancels a timer.
//!   How long is a setting, a [`TimeLimit`].
//!
//! # What keeps it right
//!
//! * **Examples.** [`given`] specifies an aggregate: given these events, when this command comes, then these events follow.
//! * **The audit.** [`System::audit`] says what must be true of every order, whatever has happened; [`System::ledger`] says
//!   which sums balance. `jumun audit` checks both over all databases.
//! * **Sagas.** [`saga`] tries everything that can happen to one order: events in every order, lost answers, people who act at
//!   any moment. Whenever nothing is left to happen, the audit must be clean.
//! * **Released events.** The examples that [`System::new`] takes are one line for each form in which a release has published an
//!   event. Every release must read them all, and a new form needs a new line.
//! * **Problems.** [`System::build`] checks the system. One with [problems](SystemModel::problems) must not start.
//!
//! # Where to start
//!
//! Read [`Aggregate`], then [`documents!`], [`published_language!`], [`Context`] and [`Resource`]; test with [`given`] and
//! [`saga`]. The [`prelude`] is what the file of an aggregate or a view imports. What is behind [`SystemModel`] is for runtimes.

mod aggregate;
mod ask;
mod audit;
mod behaviour;
mod check;
mod decimal;
mod describe;
mod document;
mod event;
mod first;
mod folding;
pub mod given;
mod input;
pub mod limits;
mod load;
mod model;
pub mod prelude;
mod reading;
mod rejection;
pub mod saga;
mod service;
mod subscription;
mod system;
mod time;
mod time_out;
mod value;

pub use aggregate::{
    Aggregate, CommandOf, Context, Decision, EventOf, NoSettings, Settings, SettingsOf, Stop, Terms, Unread, View,
    conflict, declined, emit, invalid, not_found, nothing,
};
pub use ask::{Answer, Answers, Ask, AskTarget, Asked, Reply};
pub use audit::{Case, Findings, Ledger, payments};
pub use check::Problem;
pub use describe::{EventModel, Instances, PolicyModel, SchemaOf, TimeOutModel};
pub use event::{EventType, PublishedLanguage};
#[doc(hidden)]
pub use event::{encode as encode_event, payload_schema};
pub use first::{First, Index};
pub use input::BadInput;
pub use load::{FieldValue, LoadLine};
pub use model::{
    AliasModel, AskModel, Behaviour, CommandModel, Decided, Defect, DocumentAfter, DocumentKey, Documents,
    EncodedEvent, ErasedCommand, FieldModel, Folded, Folding, Ids, Lookup, NEW_ID, Outcome, ReceivedEvent,
    ResourceModel, ServiceModel, SettingsError, SettleModel, Step, Stored, Text, TimedOut, Verb, WaitAfter,
};
pub use rejection::Rejection;
pub use service::{Input, ReadModel, Resource, Service};
pub use system::{System, SystemModel};
pub use time::Time;
pub use time_out::{TimeLimit, TimeOut};
pub use value::{Confirm, Count, DeclineOver, Id, Name, Quantity, Reference, TextOrNumber, VISIBLE_LINE, Won};

#[doc(hidden)]
pub use {jiff, schemars, serde_json};

//! The kernel of Jumun: a business as event storming describes it, in plain Rust.
//!
//! A [`System`] is made of [`Service`]s, a service of [`Aggregate`]s. An aggregate decides what follows from a command
//! and evolves with events; where it needs a neighbour's yes first, it [asks](Ask). Everything here is a pure function
//! over data: no I/O, no async, no clock. What turns it into microservices (HTTP, databases, retries, recovery) is the
//! runtime's and is not visible from here.
//!
//! Start reading at [`Aggregate`].

mod aggregate;
mod ask;
mod audit;
mod behaviour;
mod check;
mod event;
mod folding;
pub mod given;
mod input;
pub mod limits;
mod load;
mod model;
mod rejection;
pub mod saga;
mod service;
mod subscription;
mod system;
mod value;

pub use aggregate::{
    Aggregate, Context, Decision, NoSettings, Settings, Stop, View, conflict, declined, emit, invalid, not_found,
    nothing,
};
pub use ask::{Answer, Answers, Ask, AskTarget, Asked, Reply};
pub use audit::{Case, Findings, Ledger};
pub use check::Problem;
#[doc(hidden)]
pub use event::encode as encode_event;
pub use event::{EventType, PublishedLanguage};
pub use input::BadInput;
pub use load::{FieldValue, LoadLine};
pub use model::{
    AnyCommand, AskModel, Behaviour, CommandModel, Damaged, Decided, DocumentAfter, DocumentKey, Documents,
    EncodedEvent, FieldModel, Folded, Folding, Heard, NEW_ID, Outcome, ResourceModel, ServiceModel, SettingsError,
    SettleModel, Step, Stored, Text, Verb,
};
pub use rejection::Rejection;
pub use service::{ReadModel, Resource, Service};
pub use system::{System, SystemModel};
pub use value::{Id, Name, Quantity, Won};

#[doc(hidden)]
pub use {jiff, serde_json};

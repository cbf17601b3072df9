//! What the file of an aggregate or a view needs: `use jumun::prelude::*`.
//!
//! The traits of aggregates and views, what a decision is given and what it returns, asks, policies and time-outs, the values,
//! and the derives of documents. What describes a whole system ([`System`](crate::System), [`Service`](crate::Service)) and its
//! audit ([`Case`](crate::Case), [`Findings`](crate::Findings)) is imported by name.

pub use crate::{
    aggregate::{Aggregate, Context, Decision, Stop, View, conflict, declined, emit, invalid, not_found, nothing},
    ask::{Answer, Answers, Ask, AskTarget},
    event::PublishedLanguage,
    first::{First, Index},
    rejection::Rejection,
    time::Time,
    time_out::{TimeLimit, TimeOut},
    value::{Confirm, Count, DeclineOver, Id, Name, Quantity, Reference, TextOrNumber, Won},
};
pub use schemars::JsonSchema;
pub use serde::{Deserialize, Serialize};

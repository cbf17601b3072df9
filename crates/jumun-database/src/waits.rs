//! Waits: documents in which something is to be done in time, and until when.

use crate::Trace;
use std::borrow::Cow;

/// A wait of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// What it waits for: `accept_within`.
    pub name: Cow<'static, str>,
    /// Until when, in milliseconds since 1970 UTC.
    pub due_ms: i64,
    /// In which trace it began.
    pub trace: Option<Trace>,
}

/// What a commit does to the wait of a document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum WaitChange {
    /// Nothing: it waits as before, or does not wait as before.
    #[default]
    Keep,
    /// It begins to wait. An earlier wait ends.
    Begin(Wait),
    /// It no longer waits.
    End,
}

/// A document that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its collection.
    pub collection: Cow<'static, str>,
    /// Its id.
    pub id: i64,
    /// For what, and until when.
    pub wait: Wait,
}

//! Rejections: final refusals, in business terms.

use std::borrow::Cow;

/// Why a command or an ask is refused. Each variant maps to one HTTP status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// The instance does not exist. 404.
    NotFound,
    /// The state of the instance does not allow it. 409.
    Conflict(Cow<'static, str>),
    /// The payment is declined. 402.
    Declined(Cow<'static, str>),
    /// The input is invalid. 422.
    Invalid {
        /// The field that is wrong, if one is.
        field: Option<String>,
        /// What is wrong.
        why: Cow<'static, str>,
    },
    /// The named service does not answer, and the command had no effect. 503.
    Unavailable(&'static str),
}

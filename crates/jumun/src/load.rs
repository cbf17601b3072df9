//! Load lines: what a system's customers send all day, so that load, drills and benchmarks send it, too.

/// The request that founds an order, and what becomes of it by itself. Each word is checked by
/// [`System::check`](crate::System::check).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadLine {
    /// Where it is posted: `/orders`.
    pub path: &'static str,
    /// What is posted, JSON.
    pub body: &'static str,
    /// What a document at that path says once a `DELETE` of it was answered, if it can be given up.
    pub canceled: Option<FieldValue>,
    /// What a view shows once all that follows without a person has followed: its path, and the field that says so.
    pub finished: Option<(&'static str, FieldValue)>,
}

/// A field with a text in it: `("status", "ORDER_CONFIRMED")`.
pub type FieldValue = (&'static str, &'static str);

//! Load lines: the requests that load tests, drills and benchmarks send.

/// The request that founds an order, and how to see its outcome. [`System::build`](crate::System::build) checks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadLine {
    /// The path that it is posted to: `/orders`.
    pub path: &'static str,
    /// The body, JSON.
    pub body: &'static str,
    /// The field of a document at that path after a `DELETE`, if orders can be cancelled.
    pub canceled: Option<FieldValue>,
    /// The path of a view, and its field when everything that needs no person is done.
    pub finished: Option<(&'static str, FieldValue)>,
}

/// A field and its value: `("status", "ORDER_CONFIRMED")`.
pub type FieldValue = (&'static str, &'static str);

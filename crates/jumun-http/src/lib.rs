//! HTTP for services and the gateway: problems (RFC 9457), replies, connections that drain, checks of heads, load shedding.
//!
//! # Boundary
//!
//! This crate depends neither on the engine of a service nor on the upstreams of the gateway.

mod address;
mod allow;
mod closing;
mod connections;
mod docs;
mod fields;
mod head;
mod headers;
pub mod limits;
mod link;
mod negotiation;
mod pages;
mod problem;
mod reply;
mod shedding;

pub use address::Address;
pub use allow::{ALL_METHODS, READ_ONLY, allowed};
pub use connections::{Terms, serve_until};
pub use docs::{DOCS, DOCS_FILES, DocsFile};
pub use head::{Precondition, check_head, check_json};
pub use headers::{ASKS, CAPACITY, EXPIRES, IDEMPOTENCY_KEY, SEEN};
pub use link::RequestBody;
pub use negotiation::Offer;
pub use pages::Page;
pub use problem::{Code, Problem, TYPE_PREFIX};
pub use reply::{Reply, ask_only, info, no_event, refuse, respond, status, status_of, word, wrong_method};
pub use shedding::{Shed, Shedding};

/// The text of an error followed by its causes. The text of hyper's errors omits them.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

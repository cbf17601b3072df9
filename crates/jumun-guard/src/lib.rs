//! What stands around one outgoing call, so that a neighbour that is down, slow or overloaded does not take us with it: a
//! time limit, a circuit breaker, retries, a bulkhead.
//!
//! ```
//! # async fn call(guard: &jumun_guard::Guard) {
//! use jumun_guard::{Outcome, Verdict};
//!
//! let judge = |answer: &Result<u16, std::io::Error>| match answer {
//!     Ok(200..500) => Verdict::Success,                                  // a refusal is an answer, too
//!     Ok(_) => Verdict::Failure,
//!     Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Verdict::NotDone, // may be repeated
//!     Err(_) => Verdict::Failure,
//! };
//! match guard.call(judge, |_time_limit| async { Ok(201) }).await {
//!     Outcome::Done(_answer) => {}              // what the call gave
//!     Outcome::Refused(_why) => {}              // surely nothing was sent
//!     Outcome::TimedOut(_after) => {}           // nobody knows
//! }
//! # }
//! ```
//!
//! Who has something to do before the call that must not be done in vain, a commit say, is let in first ([`Guard::admit`])
//! and makes the call then ([`Admitted::run`]).
//!
//! What then, that is the business's to say: this crate says which outcome it is, and nothing more.
//!
//! In the order in which a call meets them:
//!
//! 1. The *time limit* holds over everything: waiting, attempts, pauses ([`Guard`]).
//! 2. The [`Bulkhead`]: if a place is free, it is taken; if not, an open circuit is told first, without any waiting.
//! 3. The circuit [`Breaker`]. It comes after the bulkhead, so that nobody waits with a permit in hand, and what
//!    happened while waiting counts.
//! 4. The attempt; every attempt counts in the breaker.
//! 5. A *retry*, if surely nothing was done, a budget allows it and time is left. It begins again with 2.
//!
//! The breaker is a pure state machine with an explicit time; the guard takes its clock and its randomness from outside. So
//! all of it runs in virtual time, and the same seed gives the same pauses.

mod breaker;
mod bulkhead;
mod circuit;
mod config;
mod guard;
pub mod limits;
mod retry;
mod window;

pub use breaker::{Breaker, BreakerSnapshot, Cause, Command, Open, State, Ticket, Transition, Verdict};
pub use bulkhead::{Bulkhead, BulkheadSnapshot, Full, Slot};
pub use circuit::{Circuit, Permit};
pub use config::{BreakerConfig, BulkheadConfig, GuardConfig, InvalidConfig, RetryConfig, Window};
pub use guard::{Admitted, Guard, GuardSnapshot, Outcome, Parts, Refusal};
pub use window::Tally;

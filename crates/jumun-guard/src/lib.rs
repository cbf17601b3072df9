//! The guard around outgoing calls to one neighbour. It keeps a neighbour that is down, slow or overloaded from taking
//! its callers down, too: a time limit, a circuit breaker, a bulkhead.
//!
//! ```
//! # async fn call(guard: &jumun_guard::Guard) {
//! use jumun_guard::Verdict;
//! use std::time::Duration;
//!
//! let judge = |answer: &Result<u16, std::io::Error>| match answer {
//!     Ok(200..500) => Verdict::Success, // a refusal for business reasons is an answer, too
//!     _ => Verdict::Failure,
//! };
//! match guard.admit(Duration::from_secs(1)).await {
//!     Err(_refusal) => {} // the neighbour surely got nothing
//!     Ok(admitted) => match admitted.run(Duration::from_secs(1), judge, async { Ok(201) }).await {
//!         Some(_answer) => {} // the result of the call
//!         None => {}          // timed out: the neighbour may have done the work, or may still do it
//!     },
//! }
//! # }
//! ```
//!
//! # Why two steps
//!
//! If work before the call would be wasted by a refusal (a commit, say), the caller does it between [`Guard::admit`]
//! and [`Admitted::run`]. The guard reports outcomes; what follows from them is the caller's decision.
//!
//! # Why no retries
//!
//! A second copy of a request that arrives after its caller gave up would take effect, and nobody would undo it. So
//! nothing between services repeats a request by itself. The runtime repeats asks under their own id, durably.
//!
//! # Order of the checks
//!
//! 1. The *time limit* bounds everything: the wait in the bulkhead and the call ([`Guard`]).
//! 2. The [`Bulkhead`]: take a free slot. If there is none, an open circuit refuses the call before it queues. It has as
//!    many slots as the neighbour has places, where the neighbour tells that in its answers ([`Pace`]).
//! 3. The circuit [`Breaker`]. It comes after the bulkhead, so no call queues with a permit in hand, and the breaker
//!    decides on the state at the end of the wait.
//! 4. The call. Its verdict counts in the breaker.
//!
//! # Busy is not broken
//!
//! The bulkhead is for a neighbour that has too little capacity, the breaker for one that does not answer. So neither an
//! answer *busy* counts in the breaker, nor a call that ran out of time because it queued in the bulkhead, as long as the
//! neighbour answers others: an open circuit would leave idle what is too small already.
//!
//! Breaker and pace are pure state machines with explicit time; the guard takes its clock from outside. So all of it runs
//! in virtual time.

mod breaker;
mod bulkhead;
mod call_times;
mod config;
mod guard;
pub mod limits;
mod pace;
mod shared_breaker;
mod window;

pub use breaker::{Breaker, BreakerSnapshot, Cause, Command, Open, State, Ticket, Transition, Verdict};
pub use bulkhead::{Bulkhead, BulkheadSnapshot, Full, Slot};
pub use config::{BreakerConfig, BulkheadConfig, GuardConfig, InvalidConfig, Window};
pub use guard::{Admitted, Guard, GuardSnapshot, Parts, Refusal, Report};
pub use pace::{Capacity, Pace};
pub use shared_breaker::{Permit, SharedBreaker};
pub use window::Tally;

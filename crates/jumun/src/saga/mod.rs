//! Sagas: explores everything that can happen to one order of a system.
//!
//! ```text
//! let saga = Saga::new(food_delivery::system(), Action::post("/orders", BASKET))
//!     .set("store", "confirm", "manual")
//!     .actions([Action::delete("/orders"), Action::put("/stores", "accept"), Action::put("/stores", "reject")]);
//! let explored = saga.explore();
//! assert!(explored.states > 1_000);
//! ```
//!
//! [`Saga::explore`] starts from nothing and takes every step that is possible, in every order: a service applies the next
//! event of another, a person [acts](Action), an ask meets each of its [outcomes](ReplyOutcome), the time that something
//! [waits](crate::Aggregate::time_out) is over. Whenever nothing but a time-out is left to happen by itself, the state is quiet: then the audit must be clean, the ledger must balance, no event may have been
//! published twice, and every [`check`](Saga::check) must pass. If not, the [`Counterexample`] has the shortest way there.
//!
//! [`Saga::each_step_fails`], [`Saga::each_step_repeats`] and [`Saga::each_undo_repeats`] are the standard saga tests. For
//! tests of one course of events there are [`Saga::begin`], [`Saga::act`], [`Saga::reply`], [`Saga::time_out`] and [`Saga::deliver`].
//!
//! Asks to [external](crate::Ask::external) parties stay unanswered here.

mod explore;
mod state;
mod steps;
mod time_outs;

pub use explore::{Counterexample, Explored};
pub use state::State;
pub use steps::{Action, ReplyOutcome, Saga};

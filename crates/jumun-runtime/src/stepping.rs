//! A clock that a test sets: virtual time since the test began, and what it was set forward or back by.

use jiff::{SignedDuration, Timestamp};
use std::cell::Cell;
use tokio::time::Instant;

thread_local! {
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
    static SET_BY: Cell<SignedDuration> = const { Cell::new(SignedDuration::ZERO) };
}

/// The time of this test's clock. It begins at 1970.
pub(crate) fn clock() -> Timestamp {
    let began = BEGAN.get().unwrap_or_else(Instant::now);
    BEGAN.set(Some(began));
    Timestamp::UNIX_EPOCH + began.elapsed() + SET_BY.get()
}

/// Sets the clock forward, or back.
pub(crate) fn set_by(step: SignedDuration) {
    clock();
    SET_BY.set(SET_BY.get() + step);
}

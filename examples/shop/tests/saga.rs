//! Everything that can happen to one order: events in every order, lost answers, a cancel at any
//! moment. Whenever nothing is left to happen, the audit must be clean.

use jumun::saga::{Action, Saga};

const CANCEL: Action = Action::delete("/orders");

fn saga() -> Saga {
    let place = Action::post("/orders", r#"{"item":"tea","price":3000}"#);
    Saga::new(shop::system(), place).actions([CANCEL])
}

#[test]
fn every_interleaving_ends_well() {
    assert!(saga().explore().states > 10);
}

#[test]
fn each_step_may_fail() {
    saga().each_step_fails();
}

#[test]
fn each_step_may_come_twice() {
    let saga = saga();
    let ordered = saga.deliver(&saga.begin());
    saga.each_step_repeats(&ordered);
    let canceled = saga.act(&ordered, &CANCEL).expect("it can be cancelled");
    saga.each_step_repeats(&saga.deliver(&canceled));
}

#[test]
fn each_undo_may_come_twice() {
    saga().each_undo_repeats();
}

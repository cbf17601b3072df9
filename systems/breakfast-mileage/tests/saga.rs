//! The saga of one order and of one direct payment: everything that can happen to it, in every order. Asks are two deep.

use jumun::{
    Rejection,
    saga::{Action, ReplyOutcome, Saga},
};

const ORDER: Action = Action::post("/orders", r#"{"qty":2,"amount":8000,"customerId":"kim"}"#);
/// It names the number of the order, and is still not the payment of it.
const PAY: Action = Action::post("/pays", r#"{"amount":500,"orderId":7}"#).on(8);
const CANCEL: Action = Action::delete("/orders");
const CANCEL_PAYMENT: Action = Action::delete("/pays");

fn saga() -> Saga {
    Saga::new(breakfast_mileage::system(), ORDER).set("mileage", "rate", 3).actions([CANCEL, CANCEL_PAYMENT])
}

fn direct() -> Saga {
    Saga::new(breakfast_mileage::system(), PAY).actions([CANCEL_PAYMENT.on(8)])
}

#[test]
fn every_interleaving_of_an_order_ends_well() {
    saga().explore_at_least(48);
}

#[test]
fn every_interleaving_of_an_order_and_a_direct_payment_ends_well() {
    saga().actions([PAY, CANCEL_PAYMENT.on(8)]).explore_at_least(848);
}

#[test]
fn every_interleaving_of_a_direct_payment_ends_well() {
    direct().explore_at_least(8);
}

#[test]
fn each_step_fails_and_repeats() {
    for (saga, cancel) in [(saga(), CANCEL), (saga(), CANCEL_PAYMENT), (direct(), CANCEL_PAYMENT.on(8))] {
        saga.each_step_fails();
        saga.each_undo_repeats();
        let begun = saga.deliver(&saga.begin());
        saga.each_step_repeats(&begun);
        saga.each_step_repeats(&saga.deliver(&saga.act(&begun, &cancel).expect("it is allowed")));
    }
}

#[test]
fn an_order_that_is_cancelled_loses_its_payment_and_its_mileage() {
    let saga = saga();
    let begun = saga.begin();
    assert_eq!((begun.field("/orders", "status"), begun.field("/pays", "status")), ("Ordered".into(), "Paid".into()));
    assert_eq!(begun.field("/mileageViews", "cnt"), "24000", "8000 won at a rate of 3");
    for (cancel, events) in [(CANCEL, 1), (CANCEL_PAYMENT, 1)] {
        let state = saga.deliver(&saga.act(&begun, &cancel).expect("it is allowed"));
        for (path, status) in
            [("/orders", "Cancelled"), ("/pays", "Cancelled"), ("/mileages", "Removed"), ("/mileageViews", "Removed")]
        {
            assert_eq!(state.field(path, "status"), status, "{path} after {cancel}");
        }
        assert_eq!(state.field("/mileageViews", "cnt"), "0");
        let cancelled = state.published().iter().filter(|(name, _)| *name == "OrderCancelled").count();
        assert_eq!(cancelled, events, "after {cancel}");
    }
}

#[test]
fn an_unknown_outcome_is_undone_from_the_inside_out() {
    let saga = saga();
    let (state, result) = saga.begin_with(ReplyOutcome::Lost);
    assert_eq!(result, Err(Rejection::Unavailable("payment")));
    assert!(state.is_undoing());
    let undone = saga.reply(&state, ReplyOutcome::Voided).expect("the payment is undone");
    let statuses = |state: &jumun::saga::State| (state.field("/pays", "status"), state.field("/mileages", "status"));
    assert_eq!(statuses(&undone), ("Cancelled".into(), "Earned".into()));
    assert!(undone.is_undoing(), "the payment undoes what it asked for");
    let undone = saga.reply(&undone, ReplyOutcome::Voided).expect("the mileage is undone");
    assert_eq!(statuses(&undone), ("Cancelled".into(), "Removed".into()));
    assert_eq!(undone.field("/orders", "status"), "", "the order was never placed");
    assert_eq!(saga.violations(&saga.deliver(&undone)), Vec::<String>::new());
}

#[test]
fn what_is_refused_or_not_done_leaves_nothing() {
    for saga in [saga(), direct()] {
        for outcome in [ReplyOutcome::Refused, ReplyOutcome::NotDone] {
            assert_eq!(saga.begin_with(outcome).0, saga.nothing());
        }
    }
    assert_eq!(saga().act(&saga().nothing(), &CANCEL_PAYMENT), Err(Rejection::NotFound));
}

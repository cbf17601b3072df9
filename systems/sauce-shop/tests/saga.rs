//! The saga of one order: everything that can happen to it, in every order.

use jumun::saga::{Action, ReplyOutcome, Saga, State};

const BASKET: &str = r#"{"branchId":"1","sauceId":"1","qty":10,"price":10000}"#;
const CANCEL: Action = Action::delete("/orders");
const COMPLETE: Action = Action::patch("/deliveries", r#"{"state":"Complete"}"#);

fn saga() -> Saga {
    Saga::new(sauce_shop::system(), Action::post("/orders", BASKET)).actions([CANCEL, COMPLETE])
}

/// Order, payment, delivery, and the three of them in the view.
fn words(state: &State) -> [String; 6] {
    [
        ("/orders", "state"),
        ("/payments", "status"),
        ("/deliveries", "state"),
        ("/orderDashboards", "state"),
        ("/orderDashboards", "paymentState"),
        ("/orderDashboards", "deliveryState"),
    ]
    .map(|(path, field)| state.field(path, field))
}

#[track_caller]
fn act(saga: &Saga, state: &State, action: &Action) -> State {
    saga.act(state, action).expect("it is allowed")
}

#[test]
fn every_interleaving_ends_well() {
    saga().explore_at_least(342);
}

#[test]
fn each_step_fails_and_repeats() {
    let saga = saga();
    saga.each_step_fails();
    saga.each_undo_repeats();
    let standing = saga.deliver(&saga.begin());
    saga.each_step_repeats(&standing);
    saga.each_step_repeats(&saga.deliver(&act(&saga, &standing, &CANCEL)));
    saga.each_step_repeats(&saga.deliver(&act(&saga, &standing, &COMPLETE)));
}

#[test]
fn an_order_that_is_not_disturbed_is_delivered_and_then_cannot_be_cancelled() {
    let saga = saga();
    let state = saga.deliver(&saga.begin());
    assert_eq!(words(&state), ["Registered", "Paid", "Preparing", "Preparing", "Paid", "Preparing"]);
    let state = saga.deliver(&act(&saga, &state, &COMPLETE));
    assert_eq!(words(&state), ["Registered", "Paid", "Complete", "Complete", "Paid", "Complete"]);
    assert!(saga.act(&state, &CANCEL).is_err(), "the order has heard that it is delivered");
}

#[test]
fn a_cancelled_order_is_undone_everywhere_also_where_it_is_delivered_already() {
    let saga = saga();
    let standing = saga.deliver(&saga.begin());
    // The order has not heard of the delivery yet: its cancel is accepted, and never taken back.
    let delivered = act(&saga, &standing, &COMPLETE);
    for state in [saga.begin(), standing, delivered] {
        let state = saga.deliver(&act(&saga, &state, &CANCEL));
        assert_eq!(words(&state), ["Canceled"; 6]);
        assert!(saga.act(&state, &COMPLETE).is_err(), "nothing is delivered any more");
    }
}

#[test]
fn a_payment_whose_answer_is_lost_is_given_back() {
    let saga = saga();
    let (state, result) = saga.begin_with(ReplyOutcome::Lost);
    assert!(result.is_err(), "there is no order");
    let state = saga.deliver(&saga.reply(&state, ReplyOutcome::Voided).expect("it is undone"));
    // The view has a row of the payment, and does not show it.
    assert_eq!(words(&state), ["", "VOIDED", "", "Paid", "VOIDED", ""]);
    assert_eq!(saga.violations(&state), Vec::<String>::new());
}

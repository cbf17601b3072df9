//! The saga of one order: everything that can happen to it, in every order.

use jumun::saga::{Action, Saga, State};

const BASKET: &str = r#"{"storeName":"s","itemName":"i","itemQty":1,"price":22000}"#;
const REJECT: Action = Action::put("/stores", "reject");
const COOK: Action = Action::put("/stores", "cook-complete");
const PICK_UP: Action = Action::put("/deliveries", "pickup");
const COMPLETE: Action = Action::put("/deliveries", "complete");

fn saga(confirm: &str) -> Saga {
    Saga::new(food_delivery::system(), Action::post("/orders", BASKET)).set("store", "confirm", confirm).actions([
        Action::delete("/orders"),
        Action::put("/stores", "accept"),
        REJECT,
        COOK,
        PICK_UP,
        COMPLETE,
    ])
}

#[track_caller]
fn act(saga: &Saga, state: &State, action: &Action) -> State {
    saga.deliver(&saga.act(state, action).expect("it is allowed"))
}

#[test]
fn every_interleaving_ends_well_when_orders_are_confirmed_at_once() {
    saga("automatic").explore_at_least(25_145);
}

#[test]
fn every_interleaving_ends_well_when_the_owner_confirms() {
    saga("manual").explore_at_least(25_667);
}

/// A shop that does not accept in time, a rider that does not pick up in time.
fn impatient() -> Saga {
    saga("manual").set("store", "accept_within", "10m").set("delivery", "pickup_within", "30m")
}

#[test]
fn every_interleaving_ends_well_when_shop_and_rider_may_be_late() {
    impatient().explore_at_least(25_667);
}

#[test]
fn an_order_that_shop_or_rider_are_late_for_is_cancelled_and_refunded() {
    let saga = impatient();
    let begun = saga.deliver(&saga.begin());
    assert_eq!(saga.time_out(&begun, "/deliveries"), None, "no rider is waited for yet");
    let accepted = act(&saga, &begun, &Action::put("/stores", "accept"));
    assert_eq!(saga.time_out(&accepted, "/stores"), None, "the shop has accepted");
    let cooked = act(&saga, &accepted, &COOK);
    for (state, path, reason) in
        [(&begun, "/stores", "NOT_ACCEPTED_IN_TIME"), (&cooked, "/deliveries", "NOT_PICKED_UP_IN_TIME")]
    {
        let state = saga.deliver(&saga.time_out(state, path).expect("it waits"));
        assert_eq!(saga.violations(&state), Vec::<String>::new(), "{path}");
        assert_eq!(state.field("/orders", "orderStatus"), "CANCELED");
        assert_eq!((state.field("/orders", "reason"), state.field(path, "reason")), (reason.into(), reason.into()));
        assert_eq!(state.field("/payinfos", "status"), "ORDER_CANCELED");
        assert_eq!(state.field("/dashboards", "status"), "ORDER_CANCELED");
    }
}

#[test]
fn each_step_fails_and_repeats() {
    for confirm in ["automatic", "manual"] {
        let saga = saga(confirm);
        saga.each_step_fails();
        saga.each_undo_repeats();
        saga.each_step_repeats(&saga.deliver(&saga.begin()));
    }
}

#[test]
fn an_order_that_is_not_disturbed_is_delivered() {
    let saga = saga("automatic");
    let mut state = saga.deliver(&saga.begin());
    for (action, status) in [(COOK, "DELIVERY_STARTED"), (PICK_UP, "PICKED_UP"), (COMPLETE, "DELIVERY_COMPLETED")] {
        state = act(&saga, &state, &action);
        for (path, field) in [("/orders", "orderStatus"), ("/deliveries", "status"), ("/dashboards", "status")] {
            assert_eq!(state.field(path, field), status, "{path} after {action}");
        }
    }
    saga.each_step_repeats(&state);
}

#[test]
fn a_shop_that_rejects_cancels_the_order() {
    let saga = saga("manual");
    let state = act(&saga, &saga.deliver(&saga.begin()), &REJECT);
    assert_eq!(state.field("/orders", "orderStatus"), "CANCELED");
    assert_eq!(state.field("/stores", "orderStatus"), "CANCELED");
    assert_eq!(state.field("/payinfos", "status"), "ORDER_CANCELED");
    assert_eq!(state.field("/dashboards", "status"), "ORDER_CANCELED");
}

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
    let explored = saga("automatic").explore();
    assert!(explored.states >= 25_145, "{explored:?}");
}

#[test]
fn every_interleaving_ends_well_when_the_owner_confirms() {
    let explored = saga("manual").explore();
    assert!(explored.states >= 25_667, "{explored:?}");
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

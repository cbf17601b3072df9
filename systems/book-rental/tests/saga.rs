//! The saga of one rental: everything that can happen to it, in every order, beside customers who wait for the same book.

use jumun::saga::{Action, Saga, State};

const RENT: Action = Action::post("/rentals", r#"{"bookId":"5","qty":2,"customerId":"kim"}"#);
const CANCEL: Action = Action::delete("/rentals");
const RETURN: Action = Action::put("/rentals", "return");
const KIM_WAITS: Action = Action::post("/reserves", r#"{"bookId":"5","customerId":"kim"}"#);
const LEE_WAITS: Action = Action::post("/reserves", r#"{"bookId":"5","customerId":"lee"}"#).on(8);
const PARK_WAITS: Action = Action::post("/reserves", r#"{"bookId":"5","customerId":"park"}"#);
const CHOI_WAITS: Action = Action::post("/reserves", r#"{"bookId":"5","customerId":"choi"}"#);
const KIM_LEAVES: Action = Action::delete("/reserves");

fn saga(actions: impl IntoIterator<Item = Action>) -> Saga {
    Saga::new(book_rental::system(), RENT)
        .name_events(|event_type, event| {
            let of = ["rentalId", "id"].map(|field| event[field].to_string());
            Some(format!("{event_type} of {}/{}", of[0], of[1]))
        })
        .actions(actions)
}

/// Each copy that came back is offered once at most, and once more for each offer that its customer gave up.
fn offers(state: &State) -> Vec<String> {
    let returned = state
        .published_by("book")
        .into_iter()
        .filter(|(name, event)| *name == "StockReturned" && event["status"] == "RETURNED");
    let copies: i64 = returned.filter_map(|(_, event)| event["qty"].as_i64()).sum();
    let (mut offered, mut given_up) = (0, 0);
    for (name, event) in state.published_by("reserve") {
        offered += i64::from(name == "ReserveReady");
        given_up += i64::from(name == "ReserveCanceled" && !event["readyDt"].is_null());
    }
    if offered > copies + given_up {
        return vec![format!("{offered} offers of {copies} copies, {given_up} of them given up")];
    }
    Vec::new()
}

#[track_caller]
fn act(saga: &Saga, state: &State, action: &Action) -> State {
    saga.deliver(&saga.act(state, action).expect("it is allowed"))
}

fn stock(state: &State) -> i64 {
    state.documents("/books")[4]["stock"].as_i64().expect("a number")
}

#[test]
fn every_interleaving_of_a_rental_ends_well() {
    saga([CANCEL, RETURN]).explore_at_least(50);
}

#[test]
fn every_interleaving_with_customers_who_wait_ends_well() {
    saga([CANCEL, RETURN, KIM_WAITS, LEE_WAITS, KIM_LEAVES]).check(offers).explore_at_least(1_000);
}

#[test]
fn every_interleaving_with_an_offer_that_ends_by_itself_ends_well() {
    let saga = saga([RETURN, KIM_WAITS, LEE_WAITS]).set("reserve", "hold_for", "1h").check(offers);
    saga.explore_at_least(500);
}

#[test]
fn each_step_fails_and_repeats() {
    let saga = saga([CANCEL, RETURN]);
    saga.each_step_fails();
    saga.each_undo_repeats();
    let rented = saga.deliver(&saga.begin());
    saga.each_step_repeats(&rented);
    saga.each_step_repeats(&act(&saga, &rented, &CANCEL));
    saga.each_step_repeats(&act(&saga, &rented, &RETURN));
}

#[test]
fn a_rental_takes_copies_is_delivered_and_gives_them_back_once() {
    let saga = saga([]);
    assert_eq!(stock(&saga.nothing()), 50, "a new database has the five books");
    let rented = saga.deliver(&saga.begin());
    assert_eq!(stock(&rented), 48);
    assert_eq!(rented.field("/rentals", "status"), "DELIVERY_CREATED");
    assert_eq!(rented.field("/rentals", "price"), "100000");
    assert_eq!(rented.field("/rentalViews", "deliveryStatus"), "CREATED");
    let returned = act(&saga, &rented, &RETURN);
    assert_eq!((stock(&returned), returned.field("/deliveries", "status")), (50, "CREATED".to_owned()));
    let canceled = act(&saga, &rented, &CANCEL);
    assert_eq!((stock(&canceled), canceled.field("/deliveries", "status")), (50, "CANCELED".to_owned()));
    assert!(saga.act(&returned, &CANCEL).is_err() && saga.act(&canceled, &RETURN).is_err());
}

/// The status of each reservation.
fn statuses(state: &State) -> Vec<String> {
    state.documents("/reserves").iter().map(|it| it["status"].as_str().unwrap_or_default().to_owned()).collect()
}

/// A rental of two copies that stands, and customers who wait for the book, the first one since the longest time.
fn with_a_queue(saga: &Saga, customers: impl IntoIterator<Item = Action>) -> State {
    let rented = saga.deliver(&saga.begin());
    (8..).zip(customers).fold(rented, |state, (id, waits)| act(saga, &state, &waits.on(id)))
}

#[test]
fn a_returned_copy_is_offered_to_the_customer_who_has_waited_longest() {
    let saga = saga([]);
    let state = with_a_queue(&saga, [LEE_WAITS, KIM_WAITS, PARK_WAITS, CHOI_WAITS]);
    assert_eq!(statuses(&state), ["WAITING", "WAITING", "WAITING", "WAITING"]);
    let returned = act(&saga, &state, &RETURN);
    assert_eq!(statuses(&returned), ["READY", "READY", "WAITING", "WAITING"], "two copies, two offers");
    let left = act(&saga, &returned, &Action::delete("/reserves").on(8));
    assert_eq!(
        statuses(&left),
        ["CANCELED", "READY", "READY", "WAITING"],
        "an offer that is given up passes on, to one"
    );
    let rented = act(&saga, &left, &RENT.on(12));
    assert_eq!(statuses(&rented), ["CANCELED", "FULFILLED", "READY", "WAITING"], "a rental fulfils it");
    // Who waits first depends on the moment: that a copy is offered once rests on the positions of consumers, and not on the
    // aggregate. With nobody left in the queue all of it may repeat.
    saga.each_step_repeats(&act(&saga, &rented, &Action::delete("/reserves").on(11)));
}

#[test]
fn a_rental_fulfils_the_offer_of_its_customer_or_else_the_place_in_the_queue() {
    let saga = saga([]);
    let state = with_a_queue(&saga, [LEE_WAITS, KIM_WAITS, KIM_WAITS]);
    let rented = act(&saga, &state, &RENT.on(12));
    assert_eq!(statuses(&rented), ["WAITING", "FULFILLED", "WAITING"], "the older place of the customer, and no other");
    let rented = act(&saga, &act(&saga, &state, &RETURN), &RENT.on(12));
    assert_eq!(statuses(&rented), ["READY", "FULFILLED", "WAITING"], "the offer");
}

#[test]
fn a_place_in_the_queue_that_is_given_up_passes_nothing_on() {
    let saga = saga([]);
    let state = with_a_queue(&saga, [LEE_WAITS, KIM_WAITS, PARK_WAITS]);
    let left = act(&saga, &state, &Action::delete("/reserves").on(9));
    assert_eq!(statuses(&left), ["WAITING", "CANCELED", "WAITING"]);
}

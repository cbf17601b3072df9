//! The saga of one order: everything that can happen to it, in every order. The customer gets one message about each
//! event.

use jumun::{
    Rejection,
    saga::{Action, ReplyOutcome, Saga, State},
};
use serde_json::Value;

const ORDER: &str = r#"{"orderId":2,"customerId":"kim","eduNo":102,"cardNo":"4111-1111-1111-1111"}"#;
const CANCEL: Action = Action::delete("/orders");
const CONFIRM: Action = Action::put("/reservations", "confirm");
const REJECT: Action = Action::put("/reservations", "reject");
const START: Action = Action::put("/reservations", "start");

const STANDING: [&str; 3] = ["Ordered", "Paid", "Reservation Confirmed"];
const CANCELED: [&str; 3] = ["Order Canceled", "Payment Canceled", "Reservation Canceled"];

fn saga(confirm: &str) -> Saga {
    Saga::new(course_enrollment::system(), Action::post("/orders", ORDER))
        .set("reservation", "confirm", confirm)
        .actions([CANCEL, CONFIRM, REJECT, START])
        .name_events(name)
        .check(|state| {
            let (sent, due) = (sent(state), due(state));
            if sent == due { Vec::new() } else { vec![format!("messages {sent:?} instead of {due:?}")] }
        })
}

/// A manager who may be late.
fn impatient() -> Saga {
    saga("manual").set("reservation", "confirm_within", "3d")
}

/// An event, by its status where it may have two. A message may be sent more than once.
fn name(event_type: &str, event: &Value) -> Option<String> {
    let name = match (event_type, event["status"].as_str()) {
        ("Ordered", Some("Payment Delayed")) => "PaymentDelayed",
        ("Reserved", Some("Reservation Confirmed")) => "ReservationConfirmed",
        ("PaymentCanceled", _) if event["voided"] == true => "PaymentVoided",
        (message, _) if message.starts_with("Notification") => return None,
        (other, _) => other,
    };
    Some(name.to_owned())
}

/// The messages that are due, sorted. One about a payment is due once its order is placed.
fn due(state: &State) -> Vec<String> {
    let published: Vec<_> =
        state.published().iter().filter_map(|(event_type, event)| name(event_type, event)).collect();
    let events = published.iter().filter(|event| !["Paid", "PaymentVoided"].contains(&event.as_str())).cloned();
    let paid = published.iter().filter(|event| ["Ordered", "PaymentSettled"].contains(&event.as_str()));
    let mut due: Vec<_> = events.chain(paid.map(|_| "Paid".to_owned())).collect();
    due.sort();
    due
}

/// The messages that were sent or are to be sent, sorted.
fn sent(state: &State) -> Vec<String> {
    let kind = |message: &Value| message["kind"].as_str().expect("a kind").to_owned();
    let mut kinds: Vec<_> = state.documents("/notifications").iter().map(kind).collect();
    kinds.sort();
    kinds
}

/// What the customer sees: the status of order, payment and reservation. None: nothing.
fn seen(state: &State) -> Option<[String; 3]> {
    let field = |field| state.field("/infomations", field);
    (!field("orderId").is_empty()).then(|| ["orderStatus", "payStatus", "reservationStatus"].map(field))
}

#[track_caller]
fn act(saga: &Saga, state: &State, action: Action) -> State {
    saga.act(state, &action).expect("it is allowed")
}

#[track_caller]
fn reply(saga: &Saga, state: &State, outcome: ReplyOutcome) -> State {
    saga.reply(state, outcome).unwrap_or_else(|| panic!("no ask can be {outcome:?}"))
}

#[track_caller]
fn ends_with(saga: &Saga, state: &State, status: [&str; 3]) -> State {
    let state = saga.deliver(state);
    assert_eq!(saga.violations(&state), Vec::<String>::new(), "{state:?}");
    assert_eq!(seen(&state), Some(status.map(str::to_owned)));
    state
}

fn delayed(saga: &Saga) -> State {
    let (state, result) = saga.begin_with(ReplyOutcome::Delayed);
    assert_eq!(result, Ok(()), "it is placed");
    state
}

mod every_interleaving_ends_well {
    use super::*;

    #[test]
    fn when_reservations_are_confirmed_at_once() {
        saga("automatic").explore_at_least(723 + 1_370);
    }

    #[test]
    fn when_the_manager_confirms() {
        saga("manual").explore_at_least(1_359 + 2_224);
    }

    #[test]
    fn when_the_manager_may_be_late() {
        impatient().explore_at_least(1_359 + 2_224);
    }
}

mod an_order {
    use super::*;

    #[test]
    fn that_its_manager_does_not_confirm_in_time_is_undone() {
        let saga = impatient();
        let begun = ends_with(&saga, &saga.begin(), ["Ordered", "Paid", "Reservation Requested"]);
        let state = ends_with(&saga, &saga.time_out(&begun, "/reservations").expect("it waits"), CANCELED);
        for path in ["/reservations", "/orders"] {
            assert_eq!(state.field(path, "reason"), "Not Confirmed In Time", "{path}");
        }
        saga.each_step_repeats(&state);
        let confirmed = act(&saga, &begun, CONFIRM);
        assert_eq!(saga.time_out(&confirmed, "/reservations"), None);
    }

    #[test]
    fn that_is_not_disturbed_is_reserved_and_its_course_starts() {
        let saga = saga("automatic");
        let state = ends_with(&saga, &saga.begin(), STANDING);
        let state = ends_with(&saga, &act(&saga, &state, START), ["Ordered", "Paid", "Course Started"]);
        assert!(saga.act(&state, &CANCEL).is_err(), "it is too late to cancel");
    }

    #[test]
    fn waits_for_its_manager_if_it_has_to() {
        let saga = saga("manual");
        let state = ends_with(&saga, &saga.begin(), ["Ordered", "Paid", "Reservation Requested"]);
        ends_with(&saga, &act(&saga, &state, CONFIRM), STANDING);
        ends_with(&saga, &act(&saga, &state, REJECT), CANCELED);
    }

    #[test]
    fn that_is_cancelled_before_any_service_knows_of_it_is_undone_everywhere() {
        let saga = saga("automatic");
        ends_with(&saga, &act(&saga, &saga.begin(), CANCEL), CANCELED);
    }

    /// A reservation ends the same, in whatever order its events arrive, and however often.
    #[test]
    fn is_undone_in_whatever_order_its_events_arrive() {
        let saga = saga("automatic");
        let paid = act(&saga, &saga.begin(), CANCEL);
        let settled = act(&saga, &reply(&saga, &delayed(&saga), ReplyOutcome::Accepted), CANCEL);
        for (begun, orders) in [
            (paid, [[0, 1, 1], [1, 0, 0], [0, 0, 1], [1, 1, 0], [0, 1, 0], [1, 0, 1]]),
            (settled, [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]),
        ] {
            for order in orders {
                let deliver = |state, nth| saga.deliver_nth(&state, "reservation", "order", nth);
                let state = order.into_iter().fold(begun.clone(), deliver);
                assert_eq!(state.field("/reservations", "status"), "Reservation Canceled", "{order:?}");
                let published = state.published_by("reservation").into_iter();
                let canceled = published.filter(|(event_type, _)| *event_type == "ReservationCanceled");
                assert_eq!(canceled.count(), 1, "{order:?}");
            }
        }
    }
}

mod each_step_fails {
    use super::*;

    #[test]
    fn and_leaves_nothing_that_is_not_undone() {
        saga("automatic").each_step_fails();
        saga("manual").each_step_fails();
    }

    #[test]
    fn a_declined_payment_leaves_nothing() {
        let saga = saga("automatic");
        for (outcome, why) in [
            (ReplyOutcome::Refused, Rejection::Declined("refused".into())),
            (ReplyOutcome::NotDone, Rejection::Unavailable("pay")),
        ] {
            assert_eq!(saga.begin_with(outcome), (saga.nothing(), Err(why)));
        }
    }

    #[test]
    fn a_payment_whose_answer_is_lost_is_given_back() {
        let saga = saga("automatic");
        let (state, result) = saga.begin_with(ReplyOutcome::Lost);
        assert_eq!(result, Err(Rejection::Unavailable("pay")));
        assert_eq!(saga.violations(&saga.deliver(&state)), ["there is no order, its payment is Paid"]);
        let state = saga.deliver(&reply(&saga, &state, ReplyOutcome::Voided));
        assert_eq!(saga.violations(&state), Vec::<String>::new());
        assert_eq!(seen(&state), None, "there never was an order");
    }

    #[test]
    fn a_seat_that_is_refused_undoes_what_was_done_before() {
        let saga = saga("automatic");
        ends_with(&saga, &act(&saga, &saga.deliver(&saga.begin()), REJECT), CANCELED);
    }
}

mod each_step_repeats {
    use super::*;

    #[test]
    fn and_changes_nothing() {
        for confirm in ["automatic", "manual"] {
            let saga = saga(confirm);
            saga.each_step_repeats(&saga.deliver(&saga.begin()));
            let settled = reply(&saga, &delayed(&saga), ReplyOutcome::Accepted);
            saga.each_step_repeats(&saga.deliver(&settled));
        }
    }

    #[test]
    fn nor_does_an_undo_that_repeats() {
        let saga = saga("automatic");
        saga.each_undo_repeats();
        let canceled = saga.deliver(&act(&saga, &saga.begin(), CANCEL));
        saga.each_step_repeats(&canceled);
        assert_eq!(saga.undo(&canceled, "/pays"), canceled, "it was given back already");
    }
}

mod a_delayed_payment {
    use super::*;

    #[test]
    fn is_in_doubt_and_nothing_is_reserved() {
        let saga = saga("automatic");
        let state = saga.deliver(&delayed(&saga));
        assert_eq!(seen(&state), Some(["Payment Delayed", "", ""].map(str::to_owned)));
        assert_eq!(saga.violations(&state), ["its payment is delayed, but no longer asked for"]);
        let paid = saga.deliver(&reply(&saga, &state, ReplyOutcome::Lost));
        assert_eq!(seen(&paid), Some(["Payment Delayed", "Paid", ""].map(str::to_owned)));
        assert_eq!(saga.violations(&paid).len(), 1, "the order does not know of its payment yet");
    }

    #[test]
    fn settles_the_order() {
        let saga = saga("automatic");
        let state = saga.deliver(&delayed(&saga));
        ends_with(&saga, &reply(&saga, &state, ReplyOutcome::Accepted), STANDING);
    }

    #[test]
    fn that_was_made_when_its_answer_got_lost_settles_the_order() {
        let saga = saga("automatic");
        let state = saga.deliver(&reply(&saga, &delayed(&saga), ReplyOutcome::Lost));
        ends_with(&saga, &reply(&saga, &state, ReplyOutcome::Accepted), STANDING);
    }

    #[test]
    fn that_is_refused_cancels_the_order() {
        let saga = saga("automatic");
        let state = saga.deliver(&delayed(&saga));
        ends_with(&saga, &reply(&saga, &state, ReplyOutcome::Refused), ["Order Canceled", "", ""]);
    }

    #[test]
    fn that_does_not_come_before_the_deadline_cancels_the_order_and_is_undone() {
        let saga = saga("automatic");
        let begun = saga.deliver(&delayed(&saga));
        let paid = reply(&saga, &begun, ReplyOutcome::Lost);
        for (begun, pay_status) in [(begun, ""), (paid, "Payment Canceled")] {
            let state = reply(&saga, &begun, ReplyOutcome::Expired);
            assert!(state.is_undoing());
            let state = reply(&saga, &state, ReplyOutcome::Voided);
            ends_with(&saga, &state, ["Order Canceled", pay_status, ""]);
        }
    }

    #[test]
    fn of_an_order_that_was_cancelled_meanwhile_is_undone() {
        let saga = saga("automatic");
        let canceled = act(&saga, &saga.deliver(&delayed(&saga)), CANCEL);
        assert!(canceled.is_undoing(), "the cancel withdraws it");
        let late = reply(&saga, &canceled, ReplyOutcome::Lost);
        for (state, pay_status) in [(canceled, ""), (late, "Payment Canceled")] {
            let state = reply(&saga, &saga.deliver(&state), ReplyOutcome::Voided);
            ends_with(&saga, &state, ["Order Canceled", pay_status, ""]);
        }
    }
}

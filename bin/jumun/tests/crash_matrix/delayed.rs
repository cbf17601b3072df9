//! The same where an order may stand before it is paid: every step at which a process can die while an application is
//! taken, its payment asked later, settled, given up or taken back, and while all that is told and heard.

use super::lab::{Attempt, Course, LONG, NEVER_PAID, REFUNDED, STANDS, TAKEN_BACK, Trap, wait_until};
use serde_json::json;
use std::collections::BTreeSet;

const KEY: Option<&str> = Some("a-key-of-the-customer");

/// What ends the wait for a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The money comes.
    Paid,
    /// The card is declined.
    Declined,
    /// The deadline is over before there is an answer. True: the money was taken, and nobody heard of it.
    Over(bool),
    /// The customer gives up. True: the money was taken, and nobody heard of it.
    Canceled(bool),
}

impl End {
    const fn leads_to(self) -> [&'static str; 3] {
        match self {
            Self::Paid => STANDS,
            Self::Over(true) | Self::Canceled(true) => TAKEN_BACK,
            Self::Declined | Self::Over(false) | Self::Canceled(false) => NEVER_PAID,
        }
    }
}

/// What becomes of an attempt that was hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    /// No trace is left of it.
    Vanished,
    /// It never was an order. True: it was paid for.
    Undone(bool),
    /// It is an order.
    Stands,
}

/// Something that happens to an order whose payment may come later.
#[derive(Debug, Clone, Copy)]
pub(super) enum Plot {
    /// A service dies while a customer applies and everything runs.
    Applying(&'static str, &'static str, First),
    /// The order service dies while it takes an application that cannot be paid now. True: since its circuit is open, so
    /// that pay is not even asked.
    Accepting(bool, &'static str, First),
    /// A service dies while a delayed payment is asked for again.
    Asking(&'static str, &'static str, End),
    /// The order service dies while a delayed payment is given up, by its deadline or by its customer.
    GivingUp(&'static str, End),
    /// A payment is given up, and a service dies while it is taken back.
    TakingBack(&'static str, &'static str, End),
    /// A service dies while it tells or hears what happens.
    Telling(&'static str, &'static str, Deed),
}

/// What happens when everybody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// An order is placed.
    Apply,
    /// A payment comes late.
    Settle,
    /// A course starts.
    Start,
    /// The manager turns an order down.
    Reject,
    /// An order that stood is cancelled.
    Cancel,
}

use Deed::{Apply, Cancel, Reject, Settle, Start};
use End::{Canceled, Declined, Over, Paid};
use First::{Stands, Undone, Vanished};
use Plot::{Accepting, Applying, Asking, GivingUp, TakingBack, Telling};

macro_rules! cells {
    ($($name:ident: $plot:expr;)*) => {
        const CELLS: &[Plot] = &[$($plot),*];
        $(
            #[tokio::test]
            async fn $name() {
                play($plot).await;
            }
        )*
    };
}

cells! {
    order_dies_before_it_has_noted_the_question: Applying("order", "asking.before-commit", Vanished);
    order_dies_before_it_has_asked: Applying("order", "asking.after-commit", Undone(false));
    order_dies_with_the_answer_in_hand: Applying("order", "call.after-answer", Undone(true));
    order_dies_before_the_paid_order_stands: Applying("order", "outcome.before-commit", Undone(true));
    order_dies_before_it_has_said_that_the_paid_order_stands: Applying("order", "outcome.after-commit", Stands);
    pay_dies_before_it_has_looked_at_the_question: Applying("pay", "ask.received", Stands);
    pay_dies_before_the_payment_stands: Applying("pay", "decided.before-commit", Stands);
    pay_dies_before_it_has_said_that_the_payment_stands: Applying("pay", "decided.after-commit", Stands);

    order_dies_before_it_knows_that_pay_is_away: Accepting(false, "call.after-answer", Undone(false));
    order_dies_before_the_unpaid_order_stands: Accepting(false, "outcome.before-commit", Undone(false));
    order_dies_before_it_has_said_that_the_unpaid_order_stands: Accepting(false, "outcome.after-commit", Stands);
    order_dies_before_the_unasked_order_stands: Accepting(true, "decided.before-commit", Vanished);
    order_dies_before_it_has_said_that_the_unasked_order_stands: Accepting(true, "decided.after-commit", Stands);

    order_dies_before_it_asks_again: Asking("order", "delayed.before-call", Paid);
    order_dies_with_the_late_yes_in_hand: Asking("order", "delayed.after-answer", Paid);
    order_dies_before_the_late_yes_counts: Asking("order", "settle.before-commit", Paid);
    order_dies_once_the_late_yes_counts: Asking("order", "settle.after-commit", Paid);
    order_dies_with_the_late_no_in_hand: Asking("order", "delayed.after-answer", Declined);
    order_dies_before_the_late_no_counts: Asking("order", "settle.before-commit", Declined);
    order_dies_once_the_late_no_counts: Asking("order", "settle.after-commit", Declined);
    pay_dies_when_it_is_asked_again: Asking("pay", "ask.received", Paid);
    pay_dies_before_the_late_payment_stands: Asking("pay", "decided.before-commit", Paid);
    pay_dies_before_it_has_said_that_the_late_payment_stands: Asking("pay", "decided.after-commit", Paid);
    pay_dies_before_it_has_declined: Asking("pay", "decided.before-commit", Declined);
    pay_dies_once_it_has_declined: Asking("pay", "decided.after-commit", Declined);

    order_dies_before_the_deadline_counts: GivingUp("settle.before-commit", Over(false));
    order_dies_once_the_deadline_counts: GivingUp("settle.after-commit", Over(false));
    order_dies_before_the_deadline_counts_and_money_was_taken: GivingUp("settle.before-commit", Over(true));
    order_dies_before_the_unpaid_order_is_cancelled: GivingUp("decided.before-commit", Canceled(false));
    order_dies_before_it_has_said_that_the_unpaid_order_is_cancelled: GivingUp("decided.after-commit", Canceled(false));
    order_dies_before_an_order_paid_unheard_is_cancelled: GivingUp("decided.before-commit", Canceled(true));
    order_dies_before_it_has_said_that_an_order_paid_unheard_is_cancelled: GivingUp("decided.after-commit", Canceled(true));

    order_dies_before_it_takes_back_a_cancelled_payment: TakingBack("order", "void.before-call", Canceled(true));
    order_dies_once_a_cancelled_payment_is_taken_back: TakingBack("order", "void.after-answer", Canceled(true));
    order_dies_once_it_has_noted_that_a_cancelled_payment_is_taken_back: TakingBack("order", "void.after-commit", Canceled(true));
    pay_dies_when_it_is_to_give_a_cancelled_payment_back: TakingBack("pay", "undo.received", Canceled(true));
    pay_dies_before_it_remembers_to_refuse_a_cancelled_payment: TakingBack("pay", "undo.before-commit", Canceled(false));
    pay_dies_once_it_remembers_to_refuse_a_cancelled_payment: TakingBack("pay", "undo.after-commit", Canceled(false));
    order_dies_again_before_it_takes_back_what_came_too_late: TakingBack("order", "void.before-call", Over(false));
    order_dies_again_once_what_came_too_late_is_taken_back: TakingBack("order", "void.after-answer", Over(false));
    pay_dies_before_it_remembers_to_refuse_what_came_too_late: TakingBack("pay", "undo.before-commit", Over(false));
    pay_dies_once_it_remembers_to_refuse_what_came_too_late: TakingBack("pay", "undo.after-commit", Over(false));
    order_dies_again_before_it_takes_back_what_was_declined: TakingBack("order", "void.before-call", Declined);
    order_dies_again_once_what_was_declined_is_taken_back: TakingBack("order", "void.after-answer", Declined);
    pay_dies_when_it_is_to_take_back_what_it_declined: TakingBack("pay", "undo.received", Declined);

    order_dies_before_it_tells_that_an_unpaid_order_stands: Telling("order", "relay.before-append", Settle);
    order_dies_once_it_has_told_that_a_payment_has_come: Telling("order", "relay.after-append", Settle);
    order_dies_before_it_has_heard_that_a_course_starts: Telling("order", "heard.before-commit", Start);
    order_dies_once_it_has_heard_that_a_course_starts: Telling("order", "heard.after-commit", Start);
    order_dies_before_it_has_heard_that_the_manager_turns_it_down: Telling("order", "heard.before-commit", Reject);
    order_dies_once_it_has_heard_that_the_manager_turns_it_down: Telling("order", "heard.after-commit", Reject);
    pay_dies_before_it_has_heard_of_a_cancel: Telling("pay", "heard.before-commit", Cancel);
    pay_dies_once_it_has_heard_of_a_cancel: Telling("pay", "heard.after-commit", Cancel);
    pay_dies_before_it_tells_of_a_late_payment: Telling("pay", "relay.before-append", Settle);
    pay_dies_once_it_has_told_of_a_late_payment: Telling("pay", "relay.after-append", Settle);
    reservation_dies_before_it_has_heard_of_an_order: Telling("reservation", "heard.before-commit", Apply);
    reservation_dies_once_it_has_heard_of_an_order: Telling("reservation", "heard.after-commit", Apply);
    reservation_dies_before_it_has_heard_of_a_late_payment: Telling("reservation", "heard.before-commit", Settle);
    reservation_dies_once_it_has_heard_of_a_late_payment: Telling("reservation", "heard.after-commit", Settle);
    reservation_dies_before_it_has_heard_of_a_cancel: Telling("reservation", "heard.before-commit", Cancel);
    reservation_dies_once_it_has_heard_of_a_cancel: Telling("reservation", "heard.after-commit", Cancel);
    reservation_dies_before_it_tells_of_a_seat: Telling("reservation", "relay.before-append", Apply);
    notification_dies_before_it_has_heard_of_an_order: Telling("notification", "heard.before-commit", Apply);
    notification_dies_once_it_has_heard_of_an_order: Telling("notification", "heard.after-commit", Apply);
    notification_dies_before_it_has_heard_of_a_late_payment: Telling("notification", "heard.before-commit", Settle);
    notification_dies_once_it_has_heard_of_a_late_payment: Telling("notification", "heard.after-commit", Settle);
    notification_dies_before_it_has_heard_of_a_cancel: Telling("notification", "heard.before-commit", Cancel);
    notification_dies_once_it_has_heard_of_a_cancel: Telling("notification", "heard.after-commit", Cancel);
    notification_dies_before_it_hands_a_message_over: Telling("notification", "delayed.before-call", Apply);
    notification_dies_before_it_tells_of_a_message: Telling("notification", "relay.before-append", Apply);
    notification_dies_once_it_has_told_of_a_message: Telling("notification", "relay.after-append", Apply);
}

/// All points that are tested here.
pub(super) fn points() -> BTreeSet<String> {
    let point = |plot: &Plot| match plot {
        Applying(_, point, _) | Accepting(_, point, _) | Asking(_, point, _) => *point,
        GivingUp(point, _) | TakingBack(_, point, _) | Telling(_, point, _) => *point,
    };
    CELLS.iter().map(|plot| point(plot).to_owned()).collect()
}

async fn play(plot: Plot) {
    let mut course = Course::new();
    // Customers who insist would open the circuit before the one who died is back.
    course.order.set("order.calls.pay.breaker.minimum_calls=1000000");
    match plot {
        Applying(victim, point, first) => applying(course, victim, point, first).await,
        Accepting(is_open, point, first) => accepting(course, is_open, point, first).await,
        Asking(victim, point, end) => {
            let id = delayed(&mut course, end).await;
            course.service(victim).start_with(Trap::Dies(point)).await;
            let other = if victim == "order" { "pay" } else { "order" };
            course.service(other).start().await;
            course.service(victim).wait_until_dead().await;
            ends(course, id, end).await;
        }
        GivingUp(point, end) => {
            let id = delayed(&mut course, end).await;
            course.order.start_with(Trap::Dies(point)).await;
            if matches!(end, Canceled(_)) {
                let quitter = course.quitter(id, Some("another-key"));
                let quitting = tokio::spawn(async move { quitter.insist().await });
                course.order.wait_until_dead().await;
                course.order.start().await;
                let told = quitting.await.expect("a customer");
                assert_eq!(told.answer.status, 204, "{told:?}");
            } else {
                course.order.wait_until_dead().await;
            }
            ends(course, id, end).await;
        }
        TakingBack(victim, point, end) => taking_back(course, victim, point, end).await,
        Telling(victim, point, deed) => telling(course, victim, point, deed).await,
    }
}

/// An application of a customer who insists, with a key, while somebody dies. What comes of it.
async fn applying(mut course: Course, victim: &'static str, point: &'static str, first: First) {
    course.service(victim).start_with(Trap::Dies(point)).await;
    course.start_all().await;
    let customer = course.applicant(KEY);
    let applying = tokio::spawn(async move { customer.insist().await });
    course.service(victim).wait_until_dead().await;
    if victim == "pay" {
        // Else the question, asked again over a new connection, would find the next process.
        wait_until(LONG, "the payment is delayed", async || {
            course.doubts().iter().any(|ask| ask["state"] == "delayed")
        })
        .await;
    }
    course.start_all().await;
    let told = applying.await.expect("a customer");
    let status = if victim == "pay" { "Payment Delayed" } else { "Ordered" };
    assert_eq!((told.answer.status, &told.answer.json()["status"]), (201, &json!(status)), "{told:?}");
    one_order(course, told.answer.id(), first).await;
}

/// The same while pay is away, or is not to be asked.
async fn accepting(mut course: Course, is_open: bool, point: &'static str, first: First) {
    course.order.start_with(Trap::Dies(point)).await;
    if is_open {
        let (exit_code, said) = course.jumun(&["breakers"], &["force-open", "order", "pay"]);
        assert_eq!(exit_code, 0, "{said}");
    }
    let customer = course.applicant(KEY);
    let applying = tokio::spawn(async move { customer.insist().await });
    course.order.wait_until_dead().await;
    course.order.start().await;
    let told = applying.await.expect("a customer");
    assert_eq!((told.answer.status, &told.answer.json()["status"]), (201, &json!("Payment Delayed")), "{told:?}");
    one_order(course, told.answer.id(), first).await;
}

/// The customer has one order, which comes to stand; the attempt that was hit is what it is to be; and the same key gives
/// the same answer.
async fn one_order(mut course: Course, id: i64, first: First) {
    course.start_all().await;
    course.wait_until_at(id, STANDS).await;
    course.assert_the_promise().await;
    let again = course.applicant(KEY).ask_once().await.expect("an answer");
    assert_eq!((again.status, again.id()), (201, id), "{again:?}");
    let attempts = course.attempts("order");
    let hit: Vec<&Attempt> = attempts.iter().filter(|attempt| attempt.subject != id).collect();
    assert_eq!(course.order.client().all("/orders").await.len(), 1, "one key, one order: {attempts:?}");
    match first {
        Vanished | Stands => assert!(hit.is_empty(), "{attempts:?}"),
        Undone(is_paid) => {
            assert_eq!((hit.len(), &*hit[0].state, hit[0].key.as_deref()), (1, "voided", None), "{attempts:?}");
            let payment = course.pay.client().get(&format!("/pays/{}", hit[0].subject)).await;
            assert_eq!(payment.status, if is_paid { 200 } else { 404 }, "{payment:?}");
        }
    }
}

/// An order whose payment is delayed, and everything as it is before that ends. Nothing runs but what is needed for the
/// end. The order.
async fn delayed(course: &mut Course, end: End) -> i64 {
    match end {
        Declined => course.pay.set("pay.decline_card=4242"),
        // Long enough that it is not over before the money is taken.
        Over(is_taken) => {
            course.order.set(format!("order.calls.pay.deadline={}ms", if is_taken { 5_000 } else { 1_000 }));
        }
        Paid | Canceled(_) => {}
    }
    course.order.start().await;
    let id = course.apply("Payment Delayed").await.id();
    course.order.kill();
    if let Over(true) | Canceled(true) = end {
        course.pay.start().await;
        course.order.start_with(Trap::Dies("delayed.after-answer")).await;
        course.order.wait_until_dead().await;
        assert_eq!(course.pay.client().get(&format!("/pays/{id}")).await.json()["status"], "Paid");
        course.pay.kill();
    }
    if let Over(_) = end {
        let until_ms = course.attempts("order")[0].until_ms;
        let is_over = async || jiff::Timestamp::now().as_millisecond() > until_ms;
        wait_until(LONG, "the deadline is over", is_over).await;
    }
    id
}

/// It ends as it must, and so it is told.
async fn ends(mut course: Course, id: i64, end: End) {
    course.start_all().await;
    course.wait_until_at(id, end.leads_to()).await;
    course.assert_the_promise().await;
    assert_eq!(course.attempts("order").len(), 1, "one question, however often it was asked");
}

async fn taking_back(mut course: Course, victim: &'static str, point: &'static str, end: End) {
    let id = delayed(&mut course, end).await;
    if let Canceled(_) = end {
        course.order.start().await;
        let told = course.quitter(id, KEY).insist().await;
        assert_eq!(told.answer.status, 204, "{told:?}");
        course.order.kill();
    } else {
        course.order.start_with(Trap::Dies("settle.after-commit")).await;
        if end == Declined {
            course.pay.start().await;
        }
        course.order.wait_until_dead().await;
    }
    assert_eq!(course.attempts("order")[0].state, "voiding");
    if victim == "pay" && course.pay.is_alive() {
        course.pay.kill();
    }
    course.service(victim).start_with(Trap::Dies(point)).await;
    let other = if victim == "order" { &mut course.pay } else { &mut course.order };
    if !other.is_alive() {
        other.start().await;
    }
    course.service(victim).wait_until_dead().await;
    ends(course, id, end).await;
}

async fn telling(mut course: Course, victim: &'static str, point: &'static str, deed: Deed) {
    let is_late = deed == Settle;
    if is_late {
        // Everything runs but pay, and whoever is to die has heard nothing yet.
        course.order.start().await;
        course.reservation.start().await;
        course.notification.start().await;
    } else {
        course.start_all().await;
    }
    let mut id = 0;
    if !matches!(deed, Apply | Settle) {
        id = course.apply("Ordered").await.id();
        course.wait_until_at(id, STANDS).await;
    }
    if course.service(victim).is_alive() {
        course.service(victim).kill();
    }
    if is_late && victim == "pay" {
        id = course.apply("Payment Delayed").await.id();
    }
    course.service(victim).start_with(Trap::Dies(point)).await;
    let (place, quitter, seat) = (course.applicant(KEY), course.quitter(id, KEY), course.reservation.client());
    let doing = tokio::spawn(async move {
        match deed {
            Apply | Settle if id == 0 => place.insist().await.answer.id(),
            Apply | Settle => id,
            Start => seat.put(&format!("/reservations/{id}/start")).await.id(),
            Reject => seat.put(&format!("/reservations/{id}/reject")).await.id(),
            Cancel => {
                assert_eq!(quitter.insist().await.answer.status, 204);
                id
            }
        }
    });
    if is_late && victim != "pay" {
        // The order is told first, then that it is paid; whoever dies, dies over one of them.
        course.pay.start().await;
    }
    course.service(victim).wait_until_dead().await;
    course.start_all().await;
    let id = doing.await.expect("somebody");
    let words = match deed {
        Apply | Settle => STANDS,
        Start => ["Ordered", "Paid", "Course Started"],
        Reject | Cancel => REFUNDED,
    };
    course.wait_until_at(id, words).await;
    course.assert_the_promise().await;
    if deed == Start {
        let path = format!("/orders/{id}");
        course.order.client().until(&path, "courseStarted", true).await;
        assert_eq!(course.order.client().delete(&path).await.problem(), "conflict", "its course has started");
    }
}

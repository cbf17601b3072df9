//! Breakfast mileage, whose asks are two deep: every step at which one of its services can die while an order is placed, and
//! while what it left behind is undone, from the inside out.

use crate::lab::{Breakfast, LONG, Trap, wait_until};
use http::Method;
use uuid::Uuid;

const STANDS: [&str; 4] = ["Ordered", "Paid", "Earned", "Earned"];
const CANCELLED: [&str; 4] = ["Cancelled", "Cancelled", "Removed", "Removed"];
const NOTHING: [&str; 4] = ["-", "-", "-", "-"];
/// Mileage was earned, and removed. There was no payment.
const EARNED: [&str; 4] = ["-", "-", "Removed", "Removed"];
/// It was paid, and the money was given back. There was no order.
const PAID: [&str; 4] = ["-", "Cancelled", "Removed", "Removed"];

fn lab() -> Breakfast {
    let mut lab = Breakfast::new();
    // Customers who insist would open the circuits before the one who died is back.
    lab.order.set("order.calls.payment.breaker.minimum_calls=1000000");
    lab.payment.set("payment.calls.mileage.breaker.minimum_calls=1000000");
    lab
}

/// A service dies at a point while an order is placed. The customer has one order in the end, and the attempt that was hit
/// left this. None: no trace of it.
async fn placing(victim: &str, point: &'static str, left: Option<[&str; 4]>) {
    let mut lab = lab();
    lab.service(victim).start_with(Trap::Dies(point)).await;
    lab.start_all().await;
    let customer = lab.customer("a-key");
    let insisting = tokio::spawn({
        let customer = customer.clone();
        async move { customer.insist().await }
    });
    lab.service(victim).wait_until_dead().await;
    let asker = match victim {
        "mileage" => Some("payment"),
        "payment" => Some("order"),
        _ => None,
    };
    if let Some(asker) = asker {
        // Else the question, asked again over a new connection, would find the next process.
        let given_up = async || lab.attempts(asker).iter().any(|attempt| attempt.state.starts_with("void"));
        wait_until(LONG, "it is given up", given_up).await;
    }
    lab.start_all().await;
    let told = insisting.await.expect("a customer");
    assert_eq!(told.answer.status, 201, "{told:?}");
    assert!(!told.before.is_empty(), "nothing has happened to this customer");
    lab.assert_the_promise().await;
    lab.wait_until_at(told.answer.id(), STANDS).await;
    let attempts = lab.attempts("order");
    let hit = attempts[0].subject;
    if let Some(left) = left {
        lab.wait_until_at(hit, left).await;
        assert_eq!(hit == told.answer.id(), left == STANDS, "{attempts:?}");
    } else {
        assert_eq!(hit, told.answer.id(), "{attempts:?}");
    }
    let standing = attempts.iter().filter(|attempt| attempt.stands()).count();
    assert_eq!((standing, lab.order.client().all("/orders").await.len()), (1, 1), "one key, one order: {attempts:?}");
    let again = customer.ask_once().await.expect("an answer");
    assert_eq!((again.status, again.body), (201, told.answer.body), "the same key, the same answer, byte by byte");
}

/// Payment dies at a point, and the next process gets the same question again, as a caller that waits in its socket sends it.
/// It answers this, and never refuses for good what only a crash has prevented.
async fn asked_again(point: &'static str, status: u16) {
    let mut lab = lab();
    lab.mileage.start().await;
    lab.payment.start_with(Trap::Dies(point)).await;
    let (id, client) = (Uuid::now_v7().to_string(), lab.payment.client());
    let head = [("content-type", "application/json"), ("idempotency-key", &*id), ("jumun-expires", "99999999999999")];
    let ask = async |path| client.send(Method::POST, path, &head, r#"{"orderId":7,"amount":500}"#).await;
    assert!(ask("/pays").await.is_err(), "it dies over it");
    lab.payment.wait_until_dead().await;
    lab.payment.start().await;
    for _ in 0..2 {
        let answer = ask("/pays").await.expect("an answer");
        assert_eq!(answer.status, status, "{answer:?}");
    }
    assert_eq!(ask("/pays/void").await.expect("an answer").status, 204, "there is no such order");
    lab.assert_the_promise().await;
    assert_eq!(lab.payment.client().get("/pays/7").await.status, if status == 201 { 200 } else { 404 });
}

/// The order service has died with its payment made; then a service dies at a point while that is undone.
async fn undoing(victim: &str, point: &'static str) {
    let mut lab = lab();
    lab.order.start_with(Trap::Dies("call.after-answer")).await;
    lab.start_all().await;
    assert!(lab.customer("a-key").ask_once().await.is_err(), "the order service dies over it");
    lab.order.wait_until_dead().await;
    let id = lab.attempts("order")[0].subject;
    if victim != "order" {
        lab.service(victim).kill();
    }
    lab.service(victim).start_with(Trap::Dies(point)).await;
    if victim != "order" {
        lab.order.start().await;
    }
    lab.service(victim).wait_until_dead().await;
    lab.assert_the_promise().await;
    lab.wait_until_at(id, PAID).await;
}

/// An order is cancelled, and a service dies over it, time and again.
async fn cancelling(victim: &str, deaths: &[&'static str], with_its_payment: bool) {
    let mut lab = lab().all_started().await;
    let id = lab.customer("a-key").insist().await.answer.id();
    let quitter = if with_its_payment {
        Breakfast::quitter(&lab.payment, format!("/pays/{id}"))
    } else {
        Breakfast::quitter(&lab.order, format!("/orders/{id}"))
    };
    let told = lab.service(victim).die_over(deaths, async move { quitter.insist().await }).await;
    assert_eq!(told.answer.status, 204, "{told:?}");
    lab.wait_until_at(id, CANCELLED).await;
    lab.assert_the_promise().await;
}

macro_rules! cells {
    ($($name:ident: $cell:expr;)*) => { $(
        #[tokio::test]
        async fn $name() {
            $cell.await;
        }
    )* };
}

const HEARING: [&str; 3] = ["heard.before-commit", "heard.before-commit", "heard.after-commit"];
const HEARING_AND_TELLING: [&str; 3] = ["heard.before-commit", "relay.before-append", "relay.after-append"];

cells! {
    order_dies_before_it_has_noted_the_question: placing("order", "asking.before-commit", None);
    order_dies_before_it_has_asked: placing("order", "asking.after-commit", Some(NOTHING));
    order_dies_with_the_answer_in_hand: placing("order", "call.after-answer", Some(PAID));
    order_dies_before_the_order_stands: placing("order", "outcome.before-commit", Some(PAID));
    order_dies_before_it_has_said_so: placing("order", "outcome.after-commit", Some(STANDS));

    payment_dies_before_it_has_looked_at_the_question: placing("payment", "ask.received", Some(NOTHING));
    payment_dies_before_it_has_noted_its_own_question: placing("payment", "asking.before-commit", Some(NOTHING));
    payment_dies_before_it_has_asked: placing("payment", "asking.after-commit", Some(NOTHING));
    payment_dies_with_the_answer_in_hand: placing("payment", "call.after-answer", Some(EARNED));
    payment_dies_before_the_payment_stands: placing("payment", "outcome.before-commit", Some(EARNED));
    payment_dies_before_it_has_said_that_the_payment_stands: placing("payment", "outcome.after-commit", Some(PAID));

    payment_is_asked_again_after_it_has_asked: asked_again("asking.after-commit", 201);
    payment_is_asked_again_after_it_has_its_answer: asked_again("call.after-answer", 503);
    payment_is_asked_again_after_the_payment_stands: asked_again("outcome.after-commit", 201);

    mileage_dies_before_it_has_looked_at_the_question: placing("mileage", "ask.received", Some(NOTHING));
    mileage_dies_before_it_is_earned: placing("mileage", "decided.before-commit", Some(NOTHING));
    mileage_dies_before_it_has_said_that_it_is_earned: placing("mileage", "decided.after-commit", Some(EARNED));

    order_dies_again_before_it_has_recovered: undoing("order", "recovery.before-commit");
    order_dies_again_once_it_has_recovered: undoing("order", "recovery.after-commit");
    order_dies_again_before_it_takes_the_payment_back: undoing("order", "void.before-call");
    order_dies_again_once_the_payment_is_taken_back: undoing("order", "void.after-answer");
    order_dies_again_once_it_has_noted_that: undoing("order", "void.after-commit");
    payment_dies_when_it_is_to_give_money_back: undoing("payment", "undo.received");
    payment_dies_before_it_has_given_money_back: undoing("payment", "undo.before-commit");
    payment_dies_once_it_has_given_money_back: undoing("payment", "undo.after-commit");
    payment_dies_before_it_takes_the_mileage_back: undoing("payment", "void.before-call");
    payment_dies_once_the_mileage_is_taken_back: undoing("payment", "void.after-answer");
    payment_dies_once_it_has_noted_that: undoing("payment", "void.after-commit");
    mileage_dies_when_it_is_to_be_taken_back: undoing("mileage", "undo.received");
    mileage_dies_before_it_is_taken_back: undoing("mileage", "undo.before-commit");
    mileage_dies_once_it_is_taken_back: undoing("mileage", "undo.after-commit");

    payment_dies_over_a_cancelled_order: cancelling("payment", &HEARING, false);
    payment_dies_over_a_cancelled_order_and_over_telling_of_it: cancelling("payment", &HEARING_AND_TELLING, false);
    mileage_dies_over_a_cancelled_payment: cancelling("mileage", &HEARING, false);
    mileage_dies_over_a_cancelled_payment_and_over_telling_of_it: cancelling("mileage", &HEARING_AND_TELLING, true);
    order_dies_over_a_cancelled_payment: cancelling("order", &HEARING, true);
    order_dies_over_a_cancelled_payment_and_over_telling_of_it: cancelling("order", &HEARING_AND_TELLING, true);
}

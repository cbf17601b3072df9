//! The three questions to every saga, put to real processes: what if a step fails, what if a step is repeated, what if
//! an undo is repeated?

mod lab;

use http::Method;
use lab::{Any, BOOK_RENTAL, Course, LONG, NEVER_PAID, Plan, STANDS, Step, Trap, of_each_system, wait_until};
use std::collections::BTreeSet;

/// Dies twice over an event before it counts, and once after.
const HEARING: [&str; 3] = ["heard.before-commit", "heard.before-commit", "heard.after-commit"];

/// Dies over an event, and then over what follows from it: in the journal and not on the bus, twice, then on the bus.
const HEARING_AND_TELLING: [&str; 4] =
    ["heard.before-commit", "relay.before-append", "relay.before-append", "relay.after-append"];

/// Dies over a command, before and after it is decided.
const DECIDING: [&str; 2] = ["decided.before-commit", "decided.after-commit"];

/// Dies over what it tells.
const TELLING: [&str; 3] = ["relay.before-append", "relay.before-append", "relay.after-append"];

/// Each service is down while a step is taken, and comes back. A step that needs it fails; everything else goes on.
async fn every_step_may_fail_and_goes_on_later(plan: &Plan) {
    let mut any = Any::running(plan).await;
    let asked = any.chain();
    let services: Vec<_> = any.model.services.iter().map(|service| service.name).collect();
    for way in plan.ways() {
        for victim in &services {
            let mut id = 0;
            for step in &way {
                any.service(victim).kill();
                let somebody = any.somebody(step, id);
                if step.service == *victim {
                    assert!(somebody.ask_once().await.is_err(), "nobody is there to do it");
                } else if step.is_founding() && asked.contains(victim) {
                    let answer = somebody.ask_once().await.expect("an answer");
                    let expected = if any.takes_orders_unanswered() { 201 } else { 503 };
                    assert_eq!(answer.status, expected, "{victim} is down: {answer:?}");
                } else {
                    let answer = somebody.insist().await.answer;
                    assert!(answer.status < 300, "{victim} is down, and {step:?} goes on: {answer:?}");
                }
                any.service(victim).start().await;
                let told = somebody.insist().await; // what was done before answers the same
                id = any.done(step, id, told);
            }
        }
    }
    any.assert_the_promise().await;
}

/// Each service dies over each step that it tells or hears of, again and again, and so tells and hears it again and again.
/// Cancelling an order is a step, too.
async fn every_step_and_every_undo_may_be_repeated_and_counts_once(plan: &Plan) {
    let mut any = Any::running(plan).await;
    for way in plan.ways() {
        let mut id = 0;
        for nth in 0..way.len() {
            let before = any.journals();
            id = any.have_done(&way[nth], id).await;
            let (tell, hear) = any.roles(&before);
            assert!(!tell.is_empty(), "{:?} is told", way[nth]);
            for (victim, deaths) in deaths(&way[nth], &tell, &hear) {
                let mut id = 0;
                for step in &way[..nth] {
                    id = any.have_done(step, id).await;
                }
                let somebody = any.somebody(&way[nth], id);
                let told = any.service(victim).die_over(deaths, async move { somebody.insist().await }).await;
                any.done(&way[nth], id, told);
            }
        }
    }
    any.assert_the_promise().await;
}

/// Who dies over a step, and how: over what it hears; over what it tells; over both, if it tells because it has heard; and
/// over the step itself. What founds an order asks, and has a matrix of its own.
fn deaths(
    step: &Step,
    tell: &BTreeSet<&'static str>,
    hear: &BTreeSet<&'static str>,
) -> Vec<(&'static str, &'static [&'static str])> {
    // What follows a cancel is no news to the service that cancelled: it commits no effect over which it could die.
    let has_effect = |service: &&&str| !(step.is_cancel() && **service == step.service);
    let hearing = hear.iter().filter(has_effect).map(|service| (*service, &HEARING[..]));
    let telling = tell.iter().map(|service| {
        let tells_what_follows = hear.contains(service) && step.service != *service;
        (*service, if tells_what_follows { &HEARING_AND_TELLING[..] } else { &TELLING })
    });
    let deciding = (!step.is_founding()).then_some((step.service, &DECIDING[..]));
    hearing.chain(telling).chain(deciding).collect()
}

of_each_system! {
    every_step_may_fail_and_goes_on_later
    every_step_and_every_undo_may_be_repeated_and_counts_once
}

// ---- book rental: the queue for a book

/// A copy comes back for two who wait; the first gives the offer up, the second rents. Reserve dies over all of it.
#[tokio::test]
async fn a_copy_that_comes_back_is_offered_to_each_in_turn_and_once_however_often_reserve_dies() {
    let plan = &BOOK_RENTAL;
    let mut any = Any::running(plan).await;
    let step = |method: Method, path, customer| {
        plan.step(&method, path, &format!(r#"{{"bookId":"5","qty":1,"customerId":"{customer}"}}"#))
    };
    let rental = any.have_done(&step(Method::POST, "/rental", "kim"), 0).await;
    let mut waits = [0; 2];
    for (id, customer) in waits.iter_mut().zip(["lee", "park"]) {
        *id = any.have_done(&step(Method::POST, "/reserves", customer), 0).await;
    }
    let [lee, park] = waits;
    for (does, id, deaths, now) in [
        (step(Method::PUT, "/rentals/{id}/return", ""), rental, &HEARING_AND_TELLING[..], ["READY", "WAITING"]),
        (step(Method::DELETE, "/reserves/{id}", ""), lee, &DECIDING, ["CANCELED", "READY"]),
        (step(Method::POST, "/rental", "park"), 0, &HEARING_AND_TELLING, ["CANCELED", "FULFILLED"]),
    ] {
        let somebody = any.somebody(&does, id);
        let told = any.service("reserve").die_over(deaths, async move { somebody.insist().await }).await;
        any.done(&does, id, told);
        for (id, status) in waits.into_iter().zip(now) {
            any.until(&format!("/reserves/{id}"), "status", status).await;
        }
    }
    let mut told: Vec<_> = any.journal("reserve").into_iter().map(|event| (event.key, event.event_type)).collect();
    told.sort();
    let of = |id: i64, last: &str| ["Reserved", "ReserveReady", last].map(|event| (id, event.to_owned()));
    let mut expected = [of(lee, "ReserveCanceled"), of(park, "ReserveFulfilled")].concat();
    expected.sort();
    assert_eq!(told, expected);
    any.assert_the_promise().await;
    assert_eq!(any.client("book").get("/books/5").await.json()["stock"], 49, "park has one copy of 50");
}

// ---- course enrollment: delayed payments and messages

#[tokio::test]
async fn a_delayed_payment_may_be_asked_for_again_and_counts_once() {
    let mut course = Course::all_running().await;
    // A payment is asked for again and again: by an order that dies with it, and of a pay that does.
    course.pay.kill();
    let id = course.apply("Payment Delayed").await.id();
    course.order.kill();
    course.pay.start().await;
    for death in ["delayed.before-call", "delayed.after-answer", "settle.before-commit", "settle.after-commit"] {
        course.order.start_with(Trap::Dies(death)).await;
        course.order.wait_until_dead().await;
    }
    course.order.start().await;
    course.wait_until_at(id, STANDS).await;
    let somebody = course.applicant(Some("pay-again"));
    let deaths = ["ask.received", "decided.before-commit", "decided.before-commit", "decided.after-commit"];
    let told = course.pay.die_over(&deaths, async move { somebody.insist().await }).await;
    course.wait_until_at(told.answer.id(), STANDS).await;
    course.assert_the_promise().await;
}

#[tokio::test]
async fn the_undo_of_a_delayed_payment_may_be_repeated_and_counts_once() {
    let mut course = Course::all_running().await;
    // One that was never paid is taken back by calls.
    course.pay.kill();
    let id = course.apply("Payment Delayed").await.id();
    assert_eq!(course.quitter(id, None).insist().await.answer.status, 204);
    for point in ["undo.received", "undo.before-commit", "undo.before-commit", "undo.after-commit"] {
        course.pay.start_with(Trap::Dies(point)).await;
        course.pay.wait_until_dead().await;
    }
    course.pay.start().await;
    wait_until(LONG, "nothing is in doubt", async || course.doubts().is_empty()).await;
    course.wait_until_at(id, NEVER_PAID).await;
    course.assert_the_promise().await;
}

//! The three questions to every saga, put to real processes: what if a step fails, what if a step is repeated, what if
//! an undo is repeated?

mod lab;

use lab::{Course, Deed, LONG, Lab, NEVER_PAID, REFUNDED, STANDS, Trap, basket, wait_until};

/// Dies twice over an event before it counts, and once after.
const HEARING: [&str; 3] = ["heard.before-commit", "heard.before-commit", "heard.after-commit"];

/// Dies over an event, and then over what follows from it: in the journal and not on the bus, twice, then on the bus.
const HEARING_AND_TELLING: [&str; 4] =
    ["heard.before-commit", "relay.before-append", "relay.before-append", "relay.after-append"];

/// Dies over what it tells.
const TELLING: [&str; 3] = ["relay.before-append", "relay.before-append", "relay.after-append"];

/// A step fails because somebody is down, who comes back.
#[tokio::test]
async fn every_step_may_fail_and_goes_on_later() {
    let mut lab = Lab::all_running().await;
    for victim in ["store", "delivery", "dashboard", "order"] {
        let mut id = 0;
        for deed in Deed::WAY {
            if deed.done_by() == victim && deed != Deed::Place {
                lab.service(victim).kill();
                let somebody = deed.somebody(&lab, id);
                assert!(somebody.ask_once().await.is_err(), "nobody is there to do it");
                lab.service(victim).start().await;
                lab.have_done(deed, id).await;
                continue;
            }
            if deed.done_by() == victim {
                lab.store.kill(); // placing needs the order service: it is down when the shop confirms
                id = lab.order.client().place("삼겹살", 15_000).await;
                lab.order.stop().await; // who is killed may not have told of it yet
                lab.store.start().await;
                lab.store.client().until(&format!("/stores/{id}"), "orderStatus", "ORDER_CONFIRMED").await;
            } else {
                lab.service(victim).kill();
                let somebody = deed.somebody(&lab, id);
                let told = somebody.insist().await;
                assert!(told.answer.status < 300, "{victim} is down, {deed:?} goes on: {told:?}");
                id = if deed == Deed::Place { told.answer.id() } else { id };
            }
            lab.service(victim).start().await;
            lab.wait_until_at(id, deed.leads_to()).await;
        }
    }
    // The one step that must not go on later, but not at all.
    lab.payment.kill();
    assert_eq!(lab.order.client().post("/orders", &basket("삼겹살", 15_000)).await.status, 503);
    lab.payment.start().await;
    lab.have_done(Deed::Place, 0).await;
    lab.assert_the_promise().await;
}

/// Everybody dies over everything, again and again, and so hears and tells it again and again.
#[tokio::test]
async fn every_step_may_be_repeated_and_counts_once() {
    let mut lab = Lab::all_running().await;
    for (repeated, victim, deaths) in [
        (Deed::Place, "order", &TELLING[..]),
        (Deed::Place, "order", &HEARING),
        (Deed::Place, "payment", &TELLING),
        (Deed::Place, "store", &HEARING),
        (Deed::Place, "store", &HEARING_AND_TELLING),
        (Deed::Place, "dashboard", &HEARING),
        (Deed::Cook, "store", &TELLING),
        (Deed::Cook, "order", &HEARING),
        (Deed::Cook, "delivery", &HEARING),
        (Deed::Cook, "delivery", &HEARING_AND_TELLING),
        (Deed::Cook, "dashboard", &HEARING),
        (Deed::PickUp, "delivery", &TELLING),
        (Deed::PickUp, "order", &HEARING),
        (Deed::HandOver, "delivery", &TELLING),
        (Deed::HandOver, "dashboard", &HEARING),
    ] {
        let mut id = 0;
        for deed in Deed::WAY {
            id = if deed == repeated {
                lab.die_over(deed, id, victim, deaths).await
            } else {
                lab.have_done(deed, id).await
            };
        }
    }
    lab.assert_the_promise().await;
}

/// The same when all of it is taken back.
#[tokio::test]
async fn every_undo_may_be_repeated_and_counts_once() {
    let mut lab = Lab::all_running().await;
    for (victim, deaths) in [
        ("order", &TELLING[..]),
        ("payment", &HEARING),
        ("payment", &HEARING_AND_TELLING),
        ("store", &HEARING),
        ("store", &HEARING_AND_TELLING),
        ("delivery", &HEARING),
        ("dashboard", &HEARING),
    ] {
        let id = lab.have_done(Deed::Place, 0).await;
        lab.die_over(Deed::Cancel, id, victim, deaths).await;
    }
    lab.assert_the_promise().await;
}

// ---- course enrollment

/// A payment, a seat, a message: each step fails because somebody is down, and goes on later.
#[tokio::test]
async fn every_step_of_an_enrollment_may_fail_and_goes_on_later() {
    let mut course = Course::running().await;
    for victim in ["pay", "reservation", "notification"] {
        course.service(victim).kill();
        let id = course.apply(if victim == "pay" { "Payment Delayed" } else { "Ordered" }).await.id();
        course.service(victim).start().await;
        course.wait_until_at(id, STANDS).await;
        course.service(victim).kill();
        let told = course.quitter(id, None).insist().await;
        assert_eq!(told.answer.status, 204, "{victim} is down, and the order is cancelled: {told:?}");
        course.service(victim).start().await;
        course.wait_until_at(id, REFUNDED).await;
    }
    // The order service itself is down when the course starts.
    let id = course.apply("Ordered").await.id();
    course.wait_until_at(id, STANDS).await;
    course.order.kill();
    assert_eq!(course.reservation.client().put(&format!("/reservations/{id}/start")).await.status, 200);
    course.order.start().await;
    course.order.client().until(&format!("/orders/{id}"), "courseStarted", true).await;
    course.assert_the_promise().await;
}

#[tokio::test]
async fn every_step_of_an_enrollment_may_be_repeated_and_counts_once() {
    let mut course = Course::running().await;
    for (victim, deaths) in [
        ("order", &TELLING[..]),
        ("pay", &TELLING),
        ("reservation", &HEARING),
        ("reservation", &HEARING_AND_TELLING),
        ("notification", &HEARING),
        ("notification", &HEARING_AND_TELLING),
    ] {
        let somebody = course.applicant(Some(&format!("{victim}-{}", deaths.len())));
        let told = course.service(victim).die_over(deaths, async move { somebody.insist().await }).await;
        course.wait_until_at(told.answer.id(), STANDS).await;
    }
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
async fn every_undo_of_an_enrollment_may_be_repeated_and_counts_once() {
    let mut course = Course::running().await;
    for (victim, deaths) in [
        ("order", &TELLING[..]),
        ("pay", &HEARING),
        ("pay", &HEARING_AND_TELLING),
        ("reservation", &HEARING),
        ("reservation", &HEARING_AND_TELLING),
        ("notification", &HEARING),
    ] {
        let id = course.apply("Ordered").await.id();
        course.wait_until_at(id, STANDS).await;
        let somebody = course.quitter(id, Some(&format!("no-{id}")));
        let told = course.service(victim).die_over(deaths, async move { somebody.insist().await }).await;
        assert_eq!(told.answer.status, 204, "{told:?}");
        course.wait_until_at(id, REFUNDED).await;
    }
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

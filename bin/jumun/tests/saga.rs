//! The three questions to every saga, put to real processes: what if a step fails, what if a step is repeated, what if
//! an undo is repeated?

mod lab;

use lab::{Deed, Lab, basket};

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

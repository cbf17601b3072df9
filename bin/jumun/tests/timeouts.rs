//! What people do not do in time is cancelled, whatever dies when: what shop and rider do not do, what the manager of a course
//! does not confirm, what a reader does not fetch.

mod lab;

use http::Method;
use lab::{Any, BOOK_RENTAL, Course, Lab, REFUNDED, Trap};

/// Where a process dies over a time-out.
const DEATHS: [&str; 2] = ["time-out.before-commit", "time-out.after-commit"];

/// A system whose shop and rider have so long.
fn with_limits(limit: &str) -> Lab {
    Lab::with(&[
        "store.confirm=manual",
        &format!("store.accept_within={limit}"),
        &format!("delivery.pickup_within={limit}"),
    ])
}

/// The events of a type that a service has in its journal.
fn told(lab: &Lab, service: &str, event_type: &str) -> usize {
    lab.journal(service).iter().filter(|entry| entry.event_type == event_type).count()
}

/// The order is cancelled for this reason and refunded, everybody knows it, and it has happened once.
async fn assert_canceled(lab: &Lab, id: i64, reason: &str) {
    let order = lab.order.client().until(&format!("/orders/{id}"), "orderStatus", "CANCELED").await;
    assert_eq!(order["reason"], reason, "{order}");
    lab.payment.client().until(&format!("/payinfos/{id}"), "status", "ORDER_CANCELED").await;
    lab.store.client().until(&format!("/stores/{id}"), "orderStatus", "CANCELED").await;
    lab.dashboard.client().until(&format!("/dashboards/{id}"), "status", "ORDER_CANCELED").await;
    for (service, event_type) in
        [("order", "OrderCanceled"), ("payment", "PaymentCanceled"), ("store", "StoreCanceled")]
    {
        assert_eq!(told(lab, service, event_type), 1, "{event_type}");
    }
    lab.audit("30s").clean();
}

#[tokio::test]
async fn a_shop_that_does_not_accept_in_time_is_as_if_it_had_rejected_over_kills_at_every_step() {
    for point in DEATHS {
        let mut lab = with_limits("300ms");
        lab.store.spawn(Trap::Dies(point));
        lab.start_all().await;
        let id = lab.order.client().place("치킨", 22_000).await;
        lab.store.wait_until_dead().await;
        lab.store.start().await;
        assert_canceled(&lab, id, "NOT_ACCEPTED_IN_TIME").await;
    }
}

#[tokio::test]
async fn a_rider_that_does_not_pick_up_in_time_ends_the_order() {
    let mut lab = Lab::with(&["delivery.pickup_within=300ms"]).all_started().await;
    let id = lab.order.client().place("치킨", 22_000).await;
    lab.store.client().until(&format!("/stores/{id}"), "orderStatus", "ORDER_CONFIRMED").await;
    assert_eq!(lab.store.client().put(&format!("/stores/{id}/cook-complete")).await.status, 200);
    assert_canceled(&lab, id, "NOT_PICKED_UP_IN_TIME").await;
    assert_eq!(told(&lab, "delivery", "DeliveryCanceled"), 1);
    let late = lab.delivery.client().put(&format!("/deliveries/{id}/pickup")).await;
    assert_eq!(late.status, 409, "{late:?}");
    lab.stop_all().await;
}

#[tokio::test]
async fn what_becomes_due_while_the_shop_stands_still_is_decided_when_it_runs_again() {
    let mut lab = with_limits("2s").all_started().await;
    let id = lab.order.client().place("치킨", 22_000).await;
    let order = lab.store.client().until(&format!("/stores/{id}"), "orderStatus", "ORDERED").await;
    assert_eq!(order.get("reason"), None);
    lab.store.kill();
    lab::wait_for(std::time::Duration::from_millis(2_100)).await;
    assert_eq!(told(&lab, "store", "StoreCanceled"), 0);
    lab.store.start().await;
    assert_canceled(&lab, id, "NOT_ACCEPTED_IN_TIME").await;
}

#[tokio::test]
async fn an_order_that_is_accepted_in_time_is_not_cancelled_and_operators_see_what_is_waited_for() {
    let lab = with_limits("2s").all_started().await;
    let (id, other) = (lab.order.client().place("치킨", 22_000).await, lab.order.client().place("피자", 9_000).await);
    for id in [id, other] {
        lab.store.client().until(&format!("/stores/{id}"), "orderStatus", "ORDERED").await;
    }
    let (status, why) = lab.jumun(&["why"], &[&id.to_string()]);
    assert!(status == 0 && why.contains(&format!("stores/{id} waits until")) && why.contains("accept_within"), "{why}");
    assert_eq!(lab.store.client().put(&format!("/stores/{id}/accept")).await.status, 200);
    // The other one waits from then on at the latest, so this one's time is over, too.
    lab.order.client().until(&format!("/orders/{other}"), "orderStatus", "CANCELED").await;
    assert_eq!(lab.store.client().get(&format!("/stores/{id}")).await.json()["orderStatus"], "ORDER_CONFIRMED");
    assert_eq!(told(&lab, "store", "StoreCanceled"), 1);
    let metrics = lab.store.client().get("/actuator/prometheus").await.body;
    let metrics = String::from_utf8_lossy(&metrics).into_owned();
    assert!(metrics.contains(r#"jumun_time_outs_total{service="store",name="accept_within"} 1"#), "{metrics}");
}

#[tokio::test]
async fn a_seat_that_its_manager_does_not_confirm_in_time_is_given_up_and_refunded_over_kills_at_every_step() {
    let mut course = Course::with(&["reservation.confirm=manual", "reservation.confirm_within=300ms"]);
    for point in DEATHS {
        course.reservation.spawn(Trap::Dies(point));
        course.start_all().await;
        let id = course.apply("Ordered").await.id();
        course.reservation.wait_until_dead().await;
        course.reservation.start().await;
        course.wait_until_at(id, REFUNDED).await;
        for (service, path) in [(&course.order, "orders"), (&course.reservation, "reservations")] {
            let ended = service.client().get(&format!("/{path}/{id}")).await.json();
            assert_eq!(ended["reason"], "Not Confirmed In Time", "{ended}");
        }
        let late = course.reservation.client().put(&format!("/reservations/{id}/confirm")).await;
        assert_eq!(late.problem(), "conflict");
        course.assert_the_promise().await; // each of it happened once, and its customer is told of it once
        course.reservation.kill();
    }
}

#[tokio::test]
async fn an_offer_that_is_not_taken_in_time_passes_on_over_kills_at_every_step_and_stock_stays_exact() {
    let mut any = Any::new(&BOOK_RENTAL);
    any.service("reserve").set("reserve.hold_for=300ms");
    any.start_all().await;
    let [way, _] = BOOK_RENTAL.ways();
    let rental = any.have_done(&way[0], 0).await;
    let mut waits = [0; 2];
    for (id, customer) in waits.iter_mut().zip(["lee", "park"]) {
        let body = format!(r#"{{"bookId":"5","customerId":"{customer}"}}"#);
        *id = any.have_done(&BOOK_RENTAL.step(&Method::POST, "/reserves", &body), 0).await;
    }
    let somebody = any.somebody(&way[1], rental);
    let told = any.service("reserve").die_over(&DEATHS, async move { somebody.insist().await }).await;
    any.done(&way[1], rental, told);
    for id in waits {
        let gone = any.until(&format!("/reserves/{id}"), "status", "CANCELED").await;
        assert_eq!(gone["reason"], "NOT_FETCHED_IN_TIME", "{gone}");
    }
    any.assert_the_promise().await;
    let told: Vec<_> = any.journal("reserve").into_iter().skip(2).map(|event| (event.key, event.event_type)).collect();
    let of = |id: i64| ["ReserveReady", "ReserveCanceled"].map(|event| (id, event.to_owned()));
    assert_eq!(told, waits.map(of).concat(), "the one who waited longest is offered it first, and each once");
    assert_eq!(any.client("book").get("/books/5").await.json()["stock"], 50, "an offer holds no copy");
}

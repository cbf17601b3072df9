//! What shop and rider do not do in time is cancelled and refunded, whatever dies when.

mod lab;

use lab::{Lab, Trap};

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
    let audit = lab.audit("30s");
    assert_eq!(audit.exit_code, 0, "{:?}", audit.report);
}

#[tokio::test]
async fn a_shop_that_does_not_accept_in_time_is_as_if_it_had_rejected_over_kills_at_every_step() {
    for point in ["time-out.before-commit", "time-out.after-commit"] {
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

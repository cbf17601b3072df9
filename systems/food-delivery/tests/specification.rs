//! Food delivery, specified by example.

mod support;

use food_delivery::{
    dashboard::{Dashboard, Status},
    delivery::{self, Delivery, DeliveryStatus},
    events::Event,
    order::{self, Basket, Order, OrderStatus, Reason},
    payment::{self, PAY, Pay, Payinfo, PaymentStatus},
    store::{self, StoreOrder},
};
use jiff::Timestamp;
use jumun::given::{Asking, given};
use jumun::{Aggregate, Confirm, DeclineOver, Name, Quantity, Rejection, Time, TimeLimit, Won};
use std::time::Duration;
use support::{conflict, id};

fn basket() -> Basket {
    Basket {
        store_name: Name::new("스토어99").expect("a name"),
        item_name: Name::new("치킨"),
        item_qty: Quantity::new(2).expect("a quantity"),
        price: won(22_000),
    }
}

fn won(amount: i64) -> Won {
    Won::new(amount).expect("an amount")
}

fn order_at(order_status: OrderStatus) -> Order {
    Order { id: id(7), basket: basket(), order_status, order_date: Time::EPOCH, reason: None }
}

fn pay() -> Pay {
    Pay { order_id: id(7), price: won(22_000) }
}

fn payment_at(status: PaymentStatus) -> Payinfo {
    Payinfo { id: id(7), order_id: id(7), price: won(22_000), status }
}

fn canceled(status: PaymentStatus) -> Event {
    Event::PaymentCanceled(payment_at(status))
}

fn store_at(order_status: OrderStatus) -> StoreOrder {
    let Basket { store_name, item_name, item_qty, price } = basket();
    StoreOrder {
        id: id(7),
        order_id: id(7),
        store_name: Some(store_name),
        item_name,
        item_qty: Some(item_qty),
        item_price: Some(price),
        order_status,
        order_date: Some(Time::EPOCH),
        completed_date: (order_status == OrderStatus::CookCompleted).then_some(Time::EPOCH),
        reason: None,
    }
}

fn delivery_at(status: DeliveryStatus) -> Delivery {
    let (picked_up, completed) = match status {
        DeliveryStatus::DeliveryStarted | DeliveryStatus::Canceled => (false, false),
        DeliveryStatus::PickedUp => (true, false),
        DeliveryStatus::DeliveryCompleted => (true, true),
    };
    Delivery {
        id: id(7),
        order_id: id(7),
        status,
        start_dt: Some(Time::EPOCH),
        picked_up_dt: picked_up.then_some(Time::EPOCH),
        comp_dt: completed.then_some(Time::EPOCH),
        reason: None,
    }
}

support::events! {
    order_at(OrderStatus): ordered = Ordered(Ordered), order_canceled = OrderCanceled(Canceled);
    payment_at(PaymentStatus): approved = PaymentApproved(Approved);
    store_at(OrderStatus):
        confirmed = StoreConfirmed(OrderConfirmed), cooked = CookCompleted(CookCompleted),
        turned_down = StoreCanceled(Canceled);
    delivery_at(DeliveryStatus):
        started = DeliveryStarted(DeliveryStarted), picked_up = PickedUp(PickedUp),
        delivered = DeliveryCompleted(DeliveryCompleted);
}

mod an_order {
    use super::*;
    use order::Command::{Cancel, Place, TurnDown};

    fn asking() -> Asking<Order> {
        given::<Order>([]).when(7, Place(basket())).then_asks(&PAY, &pay())
    }

    #[test]
    fn is_placed_once_it_is_paid() {
        let order = asking().answered(&payment_at(PaymentStatus::Approved)).then([ordered()]);
        assert_eq!(order, Some(order_at(OrderStatus::Ordered)));
    }

    #[test]
    fn does_not_stand_when_its_payment_is_declined() {
        let declined = Rejection::Declined("the price is over the limit".into());
        asking().refused(declined.clone()).then_rejected(declined);
    }

    #[test]
    fn does_not_stand_when_payment_does_not_answer() {
        asking().unavailable().then_rejected(Rejection::Unavailable("payment"));
    }

    #[test]
    fn can_be_cancelled() {
        let order = given::<Order>([ordered()]).when(7, Cancel).then([order_canceled()]);
        assert_eq!(order, Some(order_at(OrderStatus::Canceled)), "it stays readable as cancelled");
    }

    #[test]
    fn is_cancelled_once() {
        given::<Order>([ordered(), order_canceled()])
            .when(7, Cancel)
            .then_rejected(conflict("this order is cancelled already"));
    }

    #[test]
    fn can_be_cancelled_until_its_delivery_has_started() {
        given::<Order>([ordered(), confirmed(), cooked()])
            .when(7, Cancel)
            .then([Event::OrderCanceled(order_at(OrderStatus::Canceled))]);
        for history in [vec![started()], vec![started(), picked_up()], vec![started(), picked_up(), delivered()]] {
            given::<Order>([ordered()].into_iter().chain(history))
                .when(7, Cancel)
                .then_rejected(conflict("its delivery has started"));
        }
    }

    #[test]
    fn is_cancelled_when_its_shop_turns_it_down_but_only_once() {
        let order = || [ordered(), turned_down()];
        given::<Order>(order()).when(7, TurnDown(None)).then([order_canceled()]);
        given::<Order>(order().into_iter().chain([order_canceled()])).when(7, TurnDown(None)).then([]);
    }

    #[test]
    fn follows_what_shop_and_rider_do_and_never_goes_back() {
        let status = |events: Vec<Event>| given::<Order>(events).state(7).expect("an order").order_status;
        assert_eq!(status(vec![ordered(), confirmed(), cooked(), started()]), OrderStatus::DeliveryStarted);
        assert_eq!(status(vec![ordered(), started(), confirmed()]), OrderStatus::DeliveryStarted);
        assert_eq!(status(vec![ordered(), order_canceled(), delivered()]), OrderStatus::Canceled);
    }

    #[test]
    fn that_is_not_there_cannot_be_cancelled() {
        given::<Order>([]).when(7, Cancel).then_rejected(Rejection::NotFound);
    }
}

mod a_payment {
    use super::*;

    #[test]
    fn is_taken_for_an_order() {
        given::<Payinfo>([]).when(7, payment::Command::Pay(pay())).then([approved()]);
    }

    #[test]
    fn is_taken_once() {
        given::<Payinfo>([approved()])
            .when(7, payment::Command::Pay(pay()))
            .then_rejected(conflict("this order was paid for already"));
    }

    #[test]
    fn over_the_limit_is_declined() {
        let declined = Rejection::Declined("the price is over the limit".into());
        given::<Payinfo>([])
            .with(DeclineOver { decline_over: won(21_999) })
            .when(7, payment::Command::Pay(pay()))
            .then_rejected(declined);
    }

    #[test]
    fn at_the_limit_is_taken() {
        given::<Payinfo>([])
            .with(DeclineOver { decline_over: won(22_000) })
            .when(7, payment::Command::Pay(pay()))
            .then([approved()]);
    }

    #[test]
    fn of_an_order_that_never_stood_is_given_back() {
        let event = canceled(PaymentStatus::Voided);
        given::<Payinfo>([approved()]).when(7, payment::Command::GiveBack(PaymentStatus::Voided)).then([event]);
    }

    #[test]
    fn of_a_cancelled_order_is_given_back() {
        let event = canceled(PaymentStatus::OrderCanceled);
        let give_back = payment::Command::GiveBack(PaymentStatus::OrderCanceled);
        given::<Payinfo>([approved(), order_canceled()]).when(7, give_back).then([event]);
    }

    #[test]
    fn is_given_back_once_by_a_void_or_a_refund() {
        for status in [PaymentStatus::Voided, PaymentStatus::OrderCanceled] {
            for again in [PaymentStatus::Voided, PaymentStatus::OrderCanceled] {
                let again = payment::Command::GiveBack(again);
                given::<Payinfo>([approved(), canceled(status)]).when(7, again).then([]);
            }
        }
    }

    #[test]
    fn that_was_never_taken_has_nothing_to_give_back() {
        for status in [PaymentStatus::Voided, PaymentStatus::OrderCanceled] {
            given::<Payinfo>([]).when(7, payment::Command::GiveBack(status)).then([]);
        }
    }
}

mod a_shop {
    use super::*;

    #[test]
    fn confirms_at_once() {
        given::<StoreOrder>([ordered()]).when(7, store::Command::Open).then([confirmed()]);
    }

    #[test]
    fn waits_for_its_owner_if_so_configured() {
        let manual = || store::Settings { confirm: Confirm::Manual, accept_within: TimeLimit::OFF };
        given::<StoreOrder>([ordered()]).with(manual()).when(7, store::Command::Open).then([]);
        given::<StoreOrder>([ordered()]).with(manual()).when(7, store::Command::Accept).then([confirmed()]);
        given::<StoreOrder>([ordered()]).with(manual()).when(7, store::Command::Reject).then([turned_down()]);
    }

    #[test]
    fn has_the_stores_name_and_item_from_the_order() {
        let order = given::<StoreOrder>([ordered()]).state(7).expect("a store order");
        assert_eq!((order.store_name, order.item_name), (Some(basket().store_name), basket().item_name));
    }

    #[test]
    fn completes_cooking_once_and_says_when() {
        let cooked =
            given::<StoreOrder>([ordered(), confirmed()]).when(7, store::Command::CompleteCooking).then([cooked()]);
        assert_eq!(cooked.and_then(|order| order.completed_date), Some(Time::EPOCH));
        given::<StoreOrder>([ordered(), confirmed(), super::cooked()])
            .when(7, store::Command::CompleteCooking)
            .then_rejected(conflict("this order is cooked already"));
        given::<StoreOrder>([ordered()])
            .when(7, store::Command::CompleteCooking)
            .then_rejected(conflict("this order is not confirmed yet"));
    }

    #[test]
    fn follows_a_cancel_from_any_state_but_once() {
        for history in [vec![ordered()], vec![ordered(), confirmed()], vec![ordered(), confirmed(), cooked()]] {
            let completed = history.len() == 3;
            let canceled =
                StoreOrder { completed_date: completed.then_some(Time::EPOCH), ..store_at(OrderStatus::Canceled) };
            given::<StoreOrder>(history).when(7, store::Command::Cancel).then([Event::StoreCanceled(canceled)]);
        }
        given::<StoreOrder>([ordered(), turned_down()]).when(7, store::Command::Cancel).then([]);
    }

    #[test]
    fn remembers_a_cancel_that_was_here_before_the_order() {
        support::hidden::<StoreOrder>([order_canceled()]).when(7, store::Command::Cancel).then([]);
        given::<StoreOrder>([order_canceled(), ordered()]).when(7, store::Command::Open).then([turned_down()]);
    }

    #[test]
    fn refuses_what_comes_too_late() {
        let cancelled = || [ordered(), turned_down()];
        for command in [store::Command::Accept, store::Command::Reject, store::Command::CompleteCooking] {
            given::<StoreOrder>(cancelled()).when(7, command).then_rejected(conflict("this order is cancelled"));
        }
        given::<StoreOrder>([]).when(7, store::Command::Accept).then_rejected(Rejection::NotFound);
    }
}

mod a_delivery {
    use super::*;

    #[test]
    fn starts_once() {
        given::<Delivery>([]).when(7, delivery::Command::Start).then([started()]);
        given::<Delivery>([started()]).when(7, delivery::Command::Start).then([]);
    }

    #[test]
    fn is_picked_up_then_completed() {
        given::<Delivery>([started()]).when(7, delivery::Command::PickUp).then([picked_up()]);
        given::<Delivery>([started(), picked_up()]).when(7, delivery::Command::Complete).then([delivered()]);
        given::<Delivery>([started()])
            .when(7, delivery::Command::Complete)
            .then_rejected(conflict("the rider does not have it"));
        given::<Delivery>([started(), picked_up()])
            .when(7, delivery::Command::PickUp)
            .then_rejected(conflict("the rider has it already"));
    }

    #[test]
    fn is_stopped_by_a_cancel_whenever_it_comes() {
        for history in [vec![started()], vec![started(), picked_up()], vec![started(), picked_up(), delivered()]] {
            let stopped = given::<Delivery>(history.into_iter().chain([order_canceled()])).state(7);
            assert_eq!(stopped.expect("a delivery").status, DeliveryStatus::Canceled);
        }
        support::hidden::<Delivery>([order_canceled()]).when(7, delivery::Command::Start).then([]);
        given::<Delivery>([started(), order_canceled()])
            .when(7, delivery::Command::PickUp)
            .then_rejected(conflict("this delivery is cancelled"));
    }
}

mod what_is_not_done_in_time {
    use super::*;

    const TEN_MINUTES: Duration = Duration::from_mins(10);

    fn limit() -> TimeLimit {
        TimeLimit::new(TEN_MINUTES).expect("a limit")
    }

    fn not_accepted() -> Event {
        let reason = Some(Reason::NotAcceptedInTime);
        Event::StoreCanceled(StoreOrder { reason, ..store_at(OrderStatus::Canceled) })
    }

    fn not_picked_up() -> Event {
        let reason = Some(Reason::NotPickedUpInTime);
        Event::DeliveryCanceled(Delivery { reason, ..delivery_at(DeliveryStatus::Canceled) })
    }

    #[test]
    fn is_not_waited_for_unless_a_limit_is_set() {
        assert_eq!(given::<StoreOrder>([ordered()]).waits(7), None);
        assert_eq!(given::<Delivery>([started()]).waits(7), None);
    }

    #[test]
    fn by_the_shop_is_turned_down_unless_it_has_accepted_or_the_order_is_cancelled() {
        let shop = |history: &[Event]| {
            let settings = store::Settings { confirm: Confirm::Manual, accept_within: limit() };
            given::<StoreOrder>(history.to_vec()).with(settings)
        };
        assert_eq!(shop(&[ordered()]).waits(7), Some(("accept_within", TEN_MINUTES)));
        shop(&[ordered()]).time_out(7, "accept_within").then([not_accepted()]);
        let over = [vec![confirmed()], vec![turned_down()], vec![confirmed(), cooked()], vec![not_accepted()]];
        for after in over {
            let history = [vec![ordered()], after].concat();
            assert_eq!(shop(&history).waits(7), None);
            assert!(shop(&history).when(7, store::Command::GiveUp).events().is_err(), "it is too late for that");
        }
        assert_eq!(shop(&[order_canceled()]).waits(7), None, "there is nothing to accept yet");
        assert_eq!(shop(&[order_canceled(), ordered()]).waits(7), None);
    }

    #[test]
    fn by_the_rider_ends_the_delivery_unless_it_is_picked_up_or_the_order_is_cancelled() {
        let rider =
            |history: &[Event]| given::<Delivery>(history.to_vec()).with(delivery::Settings { pickup_within: limit() });
        assert_eq!(rider(&[started()]).waits(7), Some(("pickup_within", TEN_MINUTES)));
        rider(&[started()]).time_out(7, "pickup_within").then([not_picked_up()]);
        for after in [vec![picked_up()], vec![order_canceled()], vec![not_picked_up()], vec![picked_up(), delivered()]]
        {
            let history = [vec![started()], after].concat();
            assert_eq!(rider(&history).waits(7), None);
            assert!(rider(&history).when(7, delivery::Command::GiveUp).events().is_err(), "it is too late for that");
        }
        assert_eq!(rider(&[order_canceled()]).waits(7), None);
    }

    #[test]
    fn cancels_the_order_which_says_why_but_only_once() {
        for (event, reason) in
            [(not_accepted(), Reason::NotAcceptedInTime), (not_picked_up(), Reason::NotPickedUpInTime)]
        {
            let canceled = Order { reason: Some(reason), ..order_at(OrderStatus::Canceled) };
            let command = || Order::react(&event).expect("a command");
            let state = given::<Order>([ordered(), event.clone()])
                .when(7, command())
                .then([Event::OrderCanceled(canceled.clone())]);
            assert_eq!(state, Some(canceled));
            given::<Order>([ordered(), order_canceled(), event.clone()]).when(7, command()).then([]);
        }
    }
}

mod the_dashboard {
    use super::*;
    use proptest::prelude::*;

    fn folded<'a>(events: impl IntoIterator<Item = &'a Event>) -> Dashboard {
        support::folded(events)
    }

    #[test]
    fn shows_an_order_once_ordered_has_arrived() {
        let row: Dashboard = support::shown_once(&[approved(), confirmed()], &ordered());
        assert_eq!((row.status, row.payment_status), (Status::OrderConfirmed, Some(PaymentStatus::Approved)));
    }

    /// Every source's events in its own order; None of them gets lost, whatever the order between sources.
    fn by_source() -> impl Strategy<Value = Vec<Vec<Event>>> {
        let order = prop_oneof![Just(vec![ordered()]), Just(vec![ordered(), order_canceled()])];
        let payment =
            prop_oneof![Just(vec![approved()]), Just(vec![approved(), canceled(PaymentStatus::OrderCanceled)])];
        let store = prop_oneof![
            Just(vec![]),
            Just(vec![confirmed()]),
            Just(vec![confirmed(), cooked()]),
            Just(vec![confirmed(), turned_down()]),
        ];
        let delivery = prop_oneof![
            Just(vec![]),
            Just(vec![started()]),
            Just(vec![started(), picked_up()]),
            Just(vec![started(), picked_up(), delivered()]),
            Just(vec![started(), Event::DeliveryCanceled(delivery_at(DeliveryStatus::Canceled))]),
        ];
        (order, payment, store, delivery)
            .prop_map(|(order, payment, store, delivery)| vec![order, payment, store, delivery])
    }

    /// Merges sources as the picks say, and repeats as they say.
    fn merged(mut sources: Vec<Vec<Event>>, picks: &[(usize, bool)]) -> Vec<Event> {
        let mut merged: Vec<Event> = Vec::new();
        for (pick, repeats) in picks.iter().cycle().take(200) {
            sources.retain(|source| !source.is_empty());
            if sources.is_empty() {
                break;
            }
            let source = pick % sources.len();
            merged.push(sources[source].remove(0));
            if *repeats {
                merged.extend(merged.get(pick % merged.len()).cloned());
            }
        }
        merged
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn does_not_care_in_which_order_sources_come_or_what_is_repeated(
            sources in by_source(),
            picks in proptest::collection::vec((0_usize..8, any::<bool>()), 1..40),
        ) {
            let plain = folded(sources.concat().iter());
            prop_assert_eq!(folded(merged(sources, &picks).iter()), plain);
        }

        /// Aggregates do not even care about the order within a source.
        #[test]
        fn nor_do_aggregates_where_a_cancel_comes_from_elsewhere(cancel_first in any::<bool>()) {
            let history = |events: [Event; 2]| if cancel_first { let [a, b] = events; vec![b, a] } else { events.to_vec() };
            let store = given::<StoreOrder>(history([ordered(), order_canceled()]));
            let open = if cancel_first { store::Command::Open } else { store::Command::Cancel };
            let after = store.when(7, open).then([turned_down()]).expect("a store order");
            prop_assert_eq!(after.order_status, OrderStatus::Canceled);
            prop_assert!(after.shown());
        }
    }
}

mod the_system {
    use super::*;
    use jumun::{PublishedLanguage, View};

    /// The zone that an order date is written in does not matter.
    fn in_utc(line: &str) -> String {
        let published: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let Some(date) = published.get("orderDate").and_then(serde_json::Value::as_str) else { return line.to_owned() };
        let utc = serde_json::to_string(&Time::from(date.parse::<Timestamp>().expect("a date"))).expect("JSON");
        line.replace(date, utc.trim_matches('"'))
    }

    #[test]
    fn is_sound_and_reads_everything_it_has_ever_published() {
        let published: Vec<_> = include_str!("../src/examples.jsonl").lines().map(in_utc).collect();
        support::assert_is_sound::<Event>(&food_delivery::system(), &published.join("\n"));
    }

    #[test]
    fn ignores_events_of_later_releases() {
        assert_eq!(Event::decode("DroneDispatched", "{}").expect("no error"), None);
        assert!(Event::decode("Ordered", "{}").is_err());
    }

    #[test]
    fn says_who_listens_to_what() {
        let model = food_delivery::system();
        let listens = |service| support::listens(&model, service);
        assert_eq!(listens("payment"), ["OrderCanceled"]);
        assert_eq!(listens("store"), ["OrderCanceled", "Ordered"]);
        assert_eq!(listens("delivery"), ["CookCompleted", "OrderCanceled"]);
        assert!(!listens("order").contains(&"PaymentApproved"), "it asks for that");
        assert_eq!(listens("dashboard").len(), Event::TYPES.len());
    }

    /// The rows of one case, as they are when nothing is under way.
    #[derive(Clone, Default)]
    struct Rows(std::collections::BTreeMap<&'static str, String>);

    impl Rows {
        fn of(order: Option<OrderStatus>, payment: Option<PaymentStatus>) -> Self {
            let mut rows = Self::default();
            rows.put("order", order.map(order_at));
            rows.put("payment", payment.map(payment_at));
            rows.put("store", order.map(store_at));
            let shown = |status, payment_status| {
                let mut row = Dashboard { status, payment_status: Some(payment_status), ..Dashboard::row(7) };
                row.store_name = Some(basket().store_name);
                row
            };
            rows.put(
                "dashboard",
                order.map(|order| match order {
                    OrderStatus::Canceled => shown(Status::OrderCanceled, PaymentStatus::OrderCanceled),
                    _ => shown(Status::Paid, PaymentStatus::Approved),
                }),
            );
            rows
        }

        fn put<T: serde::Serialize>(&mut self, service: &'static str, row: Option<T>) {
            match row {
                Some(row) => drop(self.0.insert(service, serde_json::to_string(&row).expect("JSON"))),
                None => drop(self.0.remove(service)),
            }
        }

        /// What the audit says of them: violations, and whether the ledger balances.
        fn audited(&self) -> (Vec<String>, bool) {
            let rows = self.0.iter().map(|(service, row)| (*service, 0, row.as_str()));
            support::audited(&food_delivery::system(), rows)
        }
    }

    /// Every combination of an order and a payment, and whether it may stand.
    #[test]
    fn is_audited() {
        use OrderStatus::{Canceled, Ordered};
        use PaymentStatus::{Approved, OrderCanceled, Voided};
        let fair = [
            (None, None),
            (None, Some(Voided)),
            (Some(Ordered), Some(Approved)),
            (Some(Canceled), Some(OrderCanceled)),
        ];
        for order in [None, Some(Ordered), Some(Canceled)] {
            for payment in [None, Some(Approved), Some(OrderCanceled), Some(Voided)] {
                let (violations, balances) = Rows::of(order, payment).audited();
                assert_eq!(
                    violations.is_empty(),
                    fair.contains(&(order, payment)),
                    "{order:?} {payment:?} {violations:?}"
                );
                assert!(!violations.is_empty() || balances, "{order:?} {payment:?}");
            }
        }
    }

    #[test]
    fn is_audited_for_the_price() {
        let mut rows = Rows::of(Some(OrderStatus::Ordered), Some(PaymentStatus::Approved));
        rows.put("payment", Some(Payinfo { price: won(1), ..payment_at(PaymentStatus::Approved) }));
        let (violations, balances) = rows.audited();
        assert_eq!(violations, ["the payment has another price than the order"]);
        assert!(!balances);
    }

    #[test]
    fn is_audited_for_shop_rider_and_view() {
        let standing = || Rows::of(Some(OrderStatus::Ordered), Some(PaymentStatus::Approved));
        let cancelled = || Rows::of(Some(OrderStatus::Canceled), Some(PaymentStatus::OrderCanceled));
        let with = |mut rows: Rows, spoil: fn(&mut Rows)| {
            spoil(&mut rows);
            rows.audited().0
        };
        assert_eq!(with(standing(), |rows| rows.put("store", None::<StoreOrder>)).len(), 1, "the shop knows nothing");
        assert_eq!(with(standing(), |rows| rows.put("store", Some(store_at(OrderStatus::OrderConfirmed)))).len(), 1);
        assert_eq!(
            with(standing(), |rows| rows.put("dashboard", None::<Dashboard>)).len(),
            1,
            "the view shows nothing"
        );
        assert_eq!(with(cancelled(), |rows| rows.put("store", Some(store_at(OrderStatus::Ordered)))).len(), 1);
        assert_eq!(
            with(cancelled(), |rows| rows.put("delivery", Some(delivery_at(DeliveryStatus::PickedUp)))).len(),
            1
        );
        assert!(with(cancelled(), |rows| rows.put("delivery", Some(delivery_at(DeliveryStatus::Canceled)))).is_empty());
        assert_eq!(with(Rows::default(), |rows| rows.put("store", Some(store_at(OrderStatus::Ordered)))).len(), 1);
    }
}

mod any_history {
    use super::*;
    use proptest::prelude::*;

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(ordered()),
            Just(order_canceled()),
            Just(approved()),
            Just(canceled(PaymentStatus::Voided)),
            Just(canceled(PaymentStatus::OrderCanceled)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        /// Repeated events change nothing, and no history gives money back twice.
        #[test]
        fn repeats_change_nothing(history in proptest::collection::vec(event(), 0..8)) {
            let doubled: Vec<_> = history.iter().flat_map(|event| [event.clone(), event.clone()]).collect();
            prop_assert_eq!(given::<Order>(history.clone()).state(7), given::<Order>(doubled.clone()).state(7));
            prop_assert_eq!(given::<Payinfo>(history.clone()).state(7), given::<Payinfo>(doubled).state(7));
        }

        #[test]
        fn what_does_not_concern_us_changes_nothing(history in proptest::collection::vec(event(), 0..8)) {
            let ours = |event: &Event| Payinfo::concerns(event).is_some();
            let filtered: Vec<_> = history.iter().filter(|event| ours(event)).cloned().collect();
            prop_assert_eq!(given::<Payinfo>(history).state(7), given::<Payinfo>(filtered).state(7));
        }
    }
}

mod a_basket {
    use super::support;
    use jumun::Verb;

    /// The field that is wrong, and why. None: the basket is taken.
    fn refused(body: &str) -> Option<(String, String)> {
        support::refused(&food_delivery::system(), "order", Verb::Post, body)
    }

    #[test]
    fn names_what_people_can_see() {
        // What is no name, and what is one, is specified where names are: in the kernel.
        for name in ["", "\u{2800}", "a\nb", "a\u{9b}31m"] {
            for field in ["storeName", "itemName"] {
                let mut basket = serde_json::json!({ "storeName": "s", "itemQty": 1, "price": 1 });
                basket[field] = name.into();
                assert_eq!(refused(&basket.to_string()).map(|it| it.0).as_deref(), Some(field), "{name:?}");
            }
        }
        for name in ["스토어99", "ㅋㅋ", "카페 👨\u{200d}👩\u{200d}👧", "می\u{200c}خواهم", "❤\u{fe0f}", "."]
        {
            let basket = serde_json::json!({ "storeName": name, "itemQty": 1, "price": 1 });
            assert_eq!(refused(&basket.to_string()), None, "{name:?}");
        }
    }

    #[test]
    fn counts_money_exactly() {
        let price = |number: &str| refused(&format!(r#"{{"storeName":"s","itemQty":1,"price":{number}}}"#));
        for number in ["1", "1.0", "1e0", "100e-2", "\"1\"", "0", "-0", "0e-401", "1000000000000", "1e12"] {
            assert_eq!(price(number), None, "{number}");
        }
        for number in [
            "0.99999999999999999999",
            "1.00000000000000000001",
            "1e-401",
            "-1e-401",
            "1e999999999",
            "1000000000001",
            "\"1e-401\"",
            "-1",
        ] {
            let why = "must be a whole number from 0 to 1000000000000".to_owned();
            assert_eq!(price(number), Some(("price".to_owned(), why)), "{number}");
        }
    }
}

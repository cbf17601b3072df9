//! Food delivery, specified by example.

use food_delivery::{
    events::Event,
    order::{self, Basket, Order, OrderStatus},
    payment::{self, PAY, Pay, Payinfo, PaymentStatus, Settings},
};
use jiff::Timestamp;
use jumun::{Id, Name, Quantity, Rejection, Won, given::given};

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

fn id<T>(id: i64) -> Id<T> {
    Id::new(id).expect("an id")
}

fn order_at(order_status: OrderStatus) -> Order {
    Order { id: id(7), basket: basket(), order_status, order_date: Timestamp::UNIX_EPOCH }
}

fn pay() -> Pay {
    Pay { order_id: id(7), price: won(22_000) }
}

fn payment_at(status: PaymentStatus) -> Payinfo {
    Payinfo { id: id(7), order_id: id(7), price: won(22_000), status }
}

fn ordered() -> Event {
    Event::Ordered(order_at(OrderStatus::Ordered))
}

fn order_canceled() -> Event {
    Event::OrderCanceled(order_at(OrderStatus::Canceled))
}

fn approved() -> Event {
    Event::PaymentApproved(payment_at(PaymentStatus::Approved))
}

fn canceled(status: PaymentStatus) -> Event {
    Event::PaymentCanceled(payment_at(status))
}

mod an_order {
    use super::*;

    #[test]
    fn stands_once_it_is_paid() {
        let order = given::<Order>([])
            .when(7, order::Command::Place(basket()))
            .then_asks(&PAY, &pay())
            .answered(&payment_at(PaymentStatus::Approved))
            .then([ordered()]);
        assert_eq!(order, Some(order_at(OrderStatus::Ordered)));
    }

    #[test]
    fn does_not_stand_when_its_payment_is_declined() {
        let declined = Rejection::Declined("the price is over the limit".into());
        given::<Order>([])
            .when(7, order::Command::Place(basket()))
            .then_asks(&PAY, &pay())
            .refused(declined.clone())
            .then_rejected(declined);
    }

    #[test]
    fn does_not_stand_when_payment_does_not_answer() {
        given::<Order>([])
            .when(7, order::Command::Place(basket()))
            .then_asks(&PAY, &pay())
            .unavailable()
            .then_rejected(Rejection::Unavailable("payment"));
    }

    #[test]
    fn can_be_cancelled() {
        let order = given::<Order>([ordered()]).when(7, order::Command::Cancel).then([order_canceled()]);
        assert_eq!(order, Some(order_at(OrderStatus::Canceled)), "it stays readable as cancelled");
    }

    #[test]
    fn is_cancelled_once() {
        let conflict = Rejection::Conflict("this order is cancelled already".into());
        given::<Order>([ordered(), order_canceled()]).when(7, order::Command::Cancel).then_rejected(conflict);
    }

    #[test]
    fn that_is_not_there_cannot_be_cancelled() {
        given::<Order>([]).when(7, order::Command::Cancel).then_rejected(Rejection::NotFound);
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
        let conflict = Rejection::Conflict("this order was paid for already".into());
        given::<Payinfo>([approved()]).when(7, payment::Command::Pay(pay())).then_rejected(conflict);
    }

    #[test]
    fn over_the_limit_is_declined() {
        let declined = Rejection::Declined("the price is over the limit".into());
        given::<Payinfo>([])
            .with(Settings { decline_over: won(21_999) })
            .when(7, payment::Command::Pay(pay()))
            .then_rejected(declined);
    }

    #[test]
    fn at_the_limit_is_taken() {
        given::<Payinfo>([])
            .with(Settings { decline_over: won(22_000) })
            .when(7, payment::Command::Pay(pay()))
            .then([approved()]);
    }

    #[test]
    fn of_an_order_that_never_stood_is_given_back() {
        let event = canceled(PaymentStatus::Voided);
        given::<Payinfo>([approved()]).when(7, payment::Command::Void).then([event]);
    }

    #[test]
    fn of_a_cancelled_order_is_given_back() {
        let event = canceled(PaymentStatus::OrderCanceled);
        given::<Payinfo>([approved(), order_canceled()]).when(7, payment::Command::Refund).then([event]);
    }

    #[test]
    fn is_given_back_once_whoever_asks_for_it() {
        for status in [PaymentStatus::Voided, PaymentStatus::OrderCanceled] {
            for again in [payment::Command::Void, payment::Command::Refund] {
                given::<Payinfo>([approved(), canceled(status)]).when(7, again).then([]);
            }
        }
    }

    #[test]
    fn that_was_never_taken_has_nothing_to_give_back() {
        given::<Payinfo>([]).when(7, payment::Command::Void).then([]);
        given::<Payinfo>([]).when(7, payment::Command::Refund).then([]);
    }
}

mod the_system {
    use super::*;
    use jumun::{Case, PublishedLanguage};

    #[test]
    fn has_nothing_wrong_with_it() {
        assert_eq!(food_delivery::system().check(), []);
    }

    #[test]
    fn reads_everything_it_has_ever_published_and_writes_it_the_same() {
        for line in include_str!("../src/examples.jsonl").lines() {
            let mut published: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let event = Event::decode(published["eventType"].as_str().expect("a type"), line);
            let event = event.expect("readable").expect("known");
            let time = Timestamp::from_millisecond(published["timestamp"].as_i64().expect("a time")).expect("a time");
            let mut written: serde_json::Value = serde_json::from_str(&event.encode(time)).expect("JSON");
            for dated in [&mut published, &mut written] {
                if let Some(date) = dated.get_mut("orderDate") {
                    let time: Timestamp = date.as_str().expect("a date").parse().expect("a date");
                    *date = time.as_millisecond().into(); // the zone it is written in does not matter
                }
            }
            assert_eq!(written, published);
        }
    }

    #[test]
    fn ignores_events_of_later_releases() {
        assert_eq!(Event::decode("DroneDispatched", "{}").expect("no error"), None);
        assert!(Event::decode("Ordered", "{}").is_err());
    }

    #[test]
    fn says_who_listens_to_what() {
        let model = food_delivery::system().into_model();
        let heard = |service: &str| {
            let listens = &model.service(service).expect("a service").listens;
            listens.iter().map(|event| event.name).collect::<Vec<_>>()
        };
        assert_eq!(heard("payment"), ["OrderCanceled"]);
        assert!(heard("order").is_empty());
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
        let model = food_delivery::system().into_model();
        let resource = |service: &str| &model.service(service).expect("a service").resources[0];
        for order in [None, Some(Ordered), Some(Canceled)] {
            for payment in [None, Some(Approved), Some(OrderCanceled), Some(Voided)] {
                let json = |value| serde_json::to_string(&value).expect("JSON");
                let order_row = order.map(|status| json(serde_json::to_value(order_at(status)).expect("JSON")));
                let payment_row = payment.map(|status| json(serde_json::to_value(payment_at(status)).expect("JSON")));
                let mut case = Case::new(7);
                if let Some(row) = &order_row {
                    case = case.with(resource("order"), row);
                }
                if let Some(row) = &payment_row {
                    case = case.with(resource("payment"), row);
                }
                let findings = (model.audit)(&case);
                let is_clean = findings.violations().is_empty();
                assert_eq!(is_clean, fair.contains(&(order, payment)), "{order:?} {payment:?} {findings:?}");
                assert!(!is_clean || model.ledger.difference(findings.sums()) == 0, "{order:?} {payment:?}");
            }
        }
    }

    #[test]
    fn is_audited_for_the_price() {
        let model = food_delivery::system().into_model();
        let order = serde_json::to_string(&order_at(OrderStatus::Ordered)).expect("JSON");
        let payment = Payinfo { price: won(1), ..payment_at(PaymentStatus::Approved) };
        let payment = serde_json::to_string(&payment).expect("JSON");
        let case =
            Case::new(7).with(&model.services[0].resources[0], &order).with(&model.services[1].resources[0], &payment);
        let findings = (model.audit)(&case);
        assert_eq!(findings.violations(), ["the payment has another price than the order"]);
        assert_ne!(model.ledger.difference(findings.sums()), 0);
    }
}

mod any_history {
    use super::*;
    use jumun::Aggregate;
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

        /// Repeats of what was just heard change nothing, and no history makes the business give money back twice.
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

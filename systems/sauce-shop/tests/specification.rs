//! The sauce shop, specified by example.

#[path = "../../food-delivery/tests/support/mod.rs"]
mod support;

use jumun::{DeclineOver, Name, Quantity, Rejection, Won, given::given};
use sauce_shop::{
    dashboard::{OrderDashboard, State},
    delivery::{self, Change, Delivery, DeliveryState, Reached},
    events::Event,
    order::{self, Basket, BranchId, Order, OrderState},
    payment::{self, PAY, Pay, Payment, PaymentStatus},
};
use support::{conflict, id};

const COMPLETE: delivery::Command = delivery::Command::Change(Change { state: Reached::Complete });

fn won(amount: i64) -> Won {
    Won::new(amount).expect("an amount")
}

fn basket() -> Basket {
    Basket {
        branch_id: BranchId(Quantity::new(1).expect("a branch")),
        sauce_id: Name::new("고추장").expect("a name"),
        qty: Quantity::new(10).expect("a quantity"),
        price: won(10_000),
    }
}

fn order_at(state: OrderState) -> Order {
    Order { id: id(7), basket: basket(), state, delivered: false }
}

fn pay() -> Pay {
    Pay { order_id: id(7), price: won(10_000) }
}

fn payment_at(status: PaymentStatus) -> Payment {
    Payment { id: id(7), order_id: id(7), price: won(10_000), status }
}

fn delivery_at(state: DeliveryState) -> Delivery {
    let Basket { branch_id, sauce_id, qty, .. } = basket();
    Delivery { id: id(7), order_id: id(7), branch_id, sauce_id, qty, state }
}

fn given_back(status: PaymentStatus) -> Event {
    Event::PaymentCanceled(payment_at(status))
}

support::events! {
    order_at(OrderState): ordered = Ordered(Registered), order_canceled = OrderCanceled(Canceled);
    payment_at(PaymentStatus): paid = Paid(Paid);
    delivery_at(DeliveryState):
        started = DeliveryStarted(Preparing), delivered = Delivered(Complete), delivery_canceled = DeliveryCanceled(Canceled);
}

mod an_order {
    use super::*;

    #[test]
    fn is_placed_once_it_is_paid() {
        given::<Order>([])
            .when(7, order::Command::Place(basket()))
            .then_asks(&PAY, &pay())
            .answered(&payment_at(PaymentStatus::Paid))
            .then([ordered()]);
    }

    #[test]
    fn does_not_stand_without_its_payment() {
        let place = || given::<Order>([]).when(7, order::Command::Place(basket())).then_asks(&PAY, &pay());
        let declined = Rejection::Declined("the price is over the limit".into());
        place().refused(declined.clone()).then_rejected(declined);
        place().unavailable().then_rejected(Rejection::Unavailable("payment"));
    }

    #[test]
    fn is_cancelled_once() {
        let order = given::<Order>([ordered()]).when(7, order::Command::Cancel).then([order_canceled()]);
        assert_eq!(order, Some(order_at(OrderState::Canceled)), "it stays readable as cancelled");
        given::<Order>([ordered(), order_canceled()])
            .when(7, order::Command::Cancel)
            .then_rejected(conflict("this order is cancelled already"));
        given::<Order>([]).when(7, order::Command::Cancel).then_rejected(Rejection::NotFound);
    }

    #[test]
    fn cannot_be_cancelled_once_it_has_heard_of_its_delivery() {
        given::<Order>([ordered(), delivered()])
            .when(7, order::Command::Cancel)
            .then_rejected(conflict("it is delivered already"));
        // A cancel that was accepted before stays accepted.
        let late = given::<Order>([ordered(), order_canceled(), delivered()]).state(7).expect("an order");
        assert_eq!(late.state, OrderState::Canceled);
    }
}

mod a_payment {
    use super::*;

    #[test]
    fn is_taken_once_for_an_order() {
        given::<Payment>([]).when(7, payment::Command::Pay(pay())).then([paid()]);
        given::<Payment>([paid()])
            .when(7, payment::Command::Pay(pay()))
            .then_rejected(conflict("this order was paid for already"));
    }

    #[test]
    fn over_the_limit_is_declined_and_at_the_limit_taken() {
        let limited = |most| given::<Payment>([]).with(DeclineOver { decline_over: won(most) });
        limited(9_999)
            .when(7, payment::Command::Pay(pay()))
            .then_rejected(Rejection::Declined("the price is over the limit".into()));
        limited(10_000).when(7, payment::Command::Pay(pay())).then([paid()]);
    }

    #[test]
    fn is_given_back_once_by_a_void_or_a_refund() {
        use PaymentStatus::{Canceled, Voided};
        for first in [Canceled, Voided] {
            let again = given::<Payment>([paid()]).when(7, payment::Command::GiveBack(first));
            assert_eq!(again.then([given_back(first)]), Some(payment_at(first)));
            for second in [Canceled, Voided] {
                given::<Payment>([paid(), given_back(first)]).when(7, payment::Command::GiveBack(second)).then([]);
            }
        }
        given::<Payment>([]).when(7, payment::Command::GiveBack(Voided)).then([]);
    }
}

mod a_delivery {
    use super::*;

    #[test]
    fn starts_once() {
        let start = || delivery::Command::Start(order_at(OrderState::Registered));
        given::<Delivery>([ordered()]).when(7, start()).then([started()]);
        given::<Delivery>([ordered(), started()]).when(7, start()).then([]);
    }

    #[test]
    fn is_completed_once() {
        given::<Delivery>([started()]).when(7, COMPLETE).then([delivered()]);
        given::<Delivery>([started(), delivered()])
            .when(7, COMPLETE)
            .then_rejected(conflict("this delivery is complete already"));
        given::<Delivery>([started(), delivery_canceled()])
            .when(7, COMPLETE)
            .then_rejected(conflict("this delivery is cancelled"));
        given::<Delivery>([]).when(7, COMPLETE).then_rejected(Rejection::NotFound);
    }

    #[test]
    fn follows_a_cancel_from_any_state_but_once() {
        for history in [vec![started()], vec![started(), delivered()]] {
            let canceled = history.into_iter().chain([order_canceled()]);
            given::<Delivery>(canceled).when(7, delivery::Command::Cancel).then([delivery_canceled()]);
        }
        given::<Delivery>([started(), delivery_canceled()]).when(7, delivery::Command::Cancel).then([]);
    }

    #[test]
    fn remembers_a_cancel_that_was_here_before_the_order() {
        support::hidden::<Delivery>([order_canceled()]).when(7, delivery::Command::Cancel).then([]);
        given::<Delivery>([order_canceled()]).when(7, COMPLETE).then_rejected(Rejection::NotFound);
        let start = delivery::Command::Start(order_at(OrderState::Registered));
        given::<Delivery>([order_canceled(), ordered()]).when(7, start).then([delivery_canceled()]);
    }
}

mod the_dashboard {
    use super::*;
    use proptest::{prelude::*, sample::select};

    #[test]
    fn shows_an_order_once_ordered_has_arrived() {
        let row: OrderDashboard = support::shown_once(&[paid(), started()], &ordered());
        let shown = (row.state, row.payment_state, row.delivery_state);
        assert_eq!(shown, (State::Preparing, Some(PaymentStatus::Paid), Some(DeliveryState::Preparing)));
        assert_eq!((row.branch_id, row.price), (Some(basket().branch_id), Some(won(10_000))));
    }

    proptest! {
        /// What happened is folded in any order and repeated: the row is the same.
        #[test]
        fn does_not_care_in_which_order_events_come_or_what_is_repeated(
            happened in select(vec![
                vec![ordered(), paid()],
                vec![ordered(), paid(), started(), delivered()],
                vec![ordered(), paid(), order_canceled(), given_back(PaymentStatus::Canceled)],
                vec![
                    ordered(), paid(), started(), delivered(), order_canceled(), given_back(PaymentStatus::Canceled),
                    delivery_canceled(),
                ],
            ]),
            picks in proptest::collection::vec(0_usize..8, 0..30),
        ) {
            let plain: OrderDashboard = support::folded(&happened);
            let picked = picks.iter().map(|pick| &happened[pick % happened.len()]);
            prop_assert_eq!(support::folded::<OrderDashboard>(picked.chain(&happened)), plain);
        }
    }
}

mod the_system {
    use super::*;
    use jumun::{PublishedLanguage, Verb};

    #[test]
    fn is_sound_and_reads_everything_it_has_ever_published() {
        support::assert_is_sound::<Event>(&sauce_shop::system(), include_str!("../src/examples.jsonl"));
    }

    #[test]
    fn says_who_listens_to_what() {
        let model = sauce_shop::system();
        let listens = |service| support::listens(&model, service);
        assert_eq!(listens("order"), ["Delivered"], "it asks for its payment");
        assert_eq!(listens("payment"), ["OrderCanceled"]);
        assert_eq!(listens("delivery"), ["OrderCanceled", "Ordered"]);
        assert_eq!(listens("orderdashboard").len(), Event::TYPES.len());
    }

    /// The field of a body that is wrong. None: the body is taken.
    fn refused(service: &str, verb: Verb, body: &str) -> Option<String> {
        support::refused(&sauce_shop::system(), service, verb, body).map(|(field, _)| field)
    }

    #[test]
    fn takes_numbers_as_texts_and_names_the_field_that_is_wrong() {
        let good = serde_json::json!({ "branchId": "1", "sauceId": "1", "qty": "10", "price": 10000.0, "state": "?" });
        assert_eq!(refused("order", Verb::Post, &good.to_string()), None);
        for (field, wrong) in [("branchId", "0"), ("sauceId", " "), ("qty", "0"), ("price", "-1"), ("branchId", "x")] {
            let mut bad = good.clone();
            bad[field] = wrong.into();
            assert_eq!(refused("order", Verb::Post, &bad.to_string()).as_deref(), Some(field), "{wrong:?}");
            bad.as_object_mut().expect("an object").remove(field);
            assert_eq!(refused("order", Verb::Post, &bad.to_string()).as_deref(), Some(field), "it is missing");
        }
    }

    #[test]
    fn takes_a_delivery_to_complete_and_to_no_other_state() {
        let refused = |body| refused("delivery", Verb::Patch, body);
        assert_eq!(refused(r#"{"state":"Complete","qty":3}"#), None);
        for body in [r#"{"state":"Preparing"}"#, r#"{"state":"Canceled"}"#, r#"{"state":null}"#, r#"{"qty":3}"#] {
            assert_eq!(refused(body).as_deref(), Some("state"), "{body}");
        }
    }
}

mod the_audit {
    use super::*;

    /// What each service shows of an order when nothing is under way.
    #[derive(Clone)]
    struct Rows {
        order: Option<Order>,
        payment: Option<Payment>,
        delivery: Option<Delivery>,
        view: Option<OrderDashboard>,
    }

    impl Rows {
        fn at(state: OrderState, status: PaymentStatus, delivery: DeliveryState, seen: State) -> Self {
            let is_delivered = delivery == DeliveryState::Complete;
            let mut view: OrderDashboard = support::folded(&[ordered()]);
            (view.state, view.payment_state, view.delivery_state) = (seen, Some(status), Some(delivery));
            Self {
                order: Some(Order { delivered: is_delivered, ..order_at(state) }),
                payment: Some(payment_at(status)),
                delivery: Some(delivery_at(delivery)),
                view: Some(view),
            }
        }

        /// How many violations there are, and whether the ledger balances.
        fn audited(&self) -> (usize, bool) {
            fn json<T: serde::Serialize>(row: Option<&T>) -> Option<String> {
                row.map(|row| serde_json::to_string(row).expect("JSON"))
            }
            let rows = [
                ("order", json(self.order.as_ref())),
                ("payment", json(self.payment.as_ref())),
                ("delivery", json(self.delivery.as_ref())),
                ("orderdashboard", json(self.view.as_ref())),
            ];
            let rows = rows.iter().filter_map(|(service, row)| Some((*service, 0, row.as_deref()?)));
            let (violations, balances) = support::audited(&sauce_shop::system(), rows);
            (violations.len(), balances)
        }
    }

    fn good() -> [Rows; 3] {
        [
            Rows::at(OrderState::Registered, PaymentStatus::Paid, DeliveryState::Preparing, State::Preparing),
            Rows::at(OrderState::Registered, PaymentStatus::Paid, DeliveryState::Complete, State::Complete),
            Rows::at(OrderState::Canceled, PaymentStatus::Canceled, DeliveryState::Canceled, State::Canceled),
        ]
    }

    #[test]
    fn finds_nothing_where_all_agree() {
        for rows in good() {
            assert_eq!(rows.audited(), (0, true));
        }
        let voided = Rows { order: None, payment: Some(payment_at(PaymentStatus::Voided)), delivery: None, view: None };
        assert_eq!(voided.audited(), (0, true));
        assert_eq!(Rows { payment: None, ..voided }.audited(), (0, true));
    }

    #[test]
    fn finds_every_row_that_is_missing_or_disagrees() {
        for rows in good() {
            assert_eq!(Rows { payment: None, ..rows.clone() }.audited().0, 1, "it is not paid");
            assert_eq!(Rows { delivery: None, ..rows.clone() }.audited().0, 1, "it is not delivered");
            assert_eq!(Rows { view: None, ..rows.clone() }.audited().0, 1, "it is not seen");
            assert_eq!(Rows { order: None, ..rows.clone() }.audited().0, 2, "its payment and the rest are of no order");
            let price = Payment { price: won(1), ..rows.payment.clone().expect("a payment") };
            assert_eq!(Rows { payment: Some(price), ..rows.clone() }.audited(), (1, false), "it paid another price");
            let other = Quantity::new(3).expect("a quantity");
            let delivery = Delivery { qty: other, ..rows.delivery.clone().expect("a delivery") };
            assert_eq!(Rows { delivery: Some(delivery), ..rows.clone() }.audited().0, 1, "it delivers something else");
        }
    }

    #[test]
    fn finds_every_status_that_does_not_follow_the_order() {
        use PaymentStatus::{Canceled, Paid, Voided};
        for rows in good() {
            let due = rows.payment.as_ref().expect("a payment").status;
            for status in [Paid, Canceled, Voided].into_iter().filter(|status| *status != due) {
                assert_eq!(Rows { payment: Some(payment_at(status)), ..rows.clone() }.audited().0, 1, "{status:?}");
            }
            let due = rows.delivery.as_ref().expect("a delivery").state;
            for state in [DeliveryState::Preparing, DeliveryState::Complete, DeliveryState::Canceled] {
                let found = Rows { delivery: Some(delivery_at(state)), ..rows.clone() }.audited().0;
                assert_eq!(found, usize::from(state != due), "{state:?}");
            }
        }
    }
}

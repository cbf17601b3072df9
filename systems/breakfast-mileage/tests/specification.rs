//! Breakfast mileage, specified by example.

#[path = "../../food-delivery/tests/support/mod.rs"]
mod support;

use breakfast_mileage::{
    events::Event,
    mileage::{self, EARN, Earn, Mileage, MileageStatus, MileageView},
    order::{self, Breakfast, Order, OrderStatus},
    payment::{self, DirectPayment, PAY, Pay, PayForOrder, PayStatus},
};
use jumun::{Aggregate, DeclineOver, Quantity, Reference, Rejection, Verb, Won, given::given};
use support::{conflict, id};

fn won(amount: i64) -> Won {
    Won::new(amount).expect("an amount")
}

fn breakfast() -> Breakfast {
    let (qty, customer_id) = (Quantity::new(2).expect("a quantity"), Some(Reference::Text("kim".to_owned())));
    Breakfast { qty, amount: won(8_000), customer_id }
}

fn order_at(status: OrderStatus) -> Order {
    Order { id: id(7), breakfast: Some(breakfast()), status }
}

fn pay_at(status: PayStatus) -> Pay {
    Pay { id: id(7), amount: won(8_000), status, order_id: Some(id(7)), direct: false }
}

/// A direct payment whose customer names the number of the order.
fn direct_at(status: PayStatus) -> Pay {
    Pay { id: id(8), amount: won(500), direct: true, ..pay_at(status) }
}

fn mileage_at(status: MileageStatus) -> Mileage {
    Mileage { id: id(7), pay_id: id(7), order_id: Some(id(7)), cnt: 8_000, rate: 1, status }
}

fn ask() -> PayForOrder {
    PayForOrder { order_id: id(7), amount: won(8_000) }
}

fn earn() -> Earn {
    Earn { pay_id: id(7), order_id: Some(id(7)), cnt: won(8_000) }
}

support::events! {
    order_at(OrderStatus): ordered = Ordered(Ordered), order_cancelled = OrderCancelled(Cancelled);
    pay_at(PayStatus): paid = Paid(Paid), pay_cancelled = PayCancelled(Cancelled);
    mileage_at(MileageStatus): added = MileageAdded(Earned), removed = MileageRemoved(Removed);
}

mod an_order {
    use super::*;
    use order::Command::{Cancel, Place, TurnDown};

    #[test]
    fn is_placed_once_it_is_paid() {
        let order = given::<Order>([]).when(7, Place(breakfast()));
        let order = order.then_asks(&PAY, &ask()).answered(&pay_at(PayStatus::Paid)).then([ordered()]);
        assert_eq!(order, Some(order_at(OrderStatus::Ordered)));
    }

    #[test]
    fn does_not_stand_without_its_payment() {
        let asking = || given::<Order>([]).when(7, Place(breakfast())).then_asks(&PAY, &ask());
        asking().unavailable().then_rejected(Rejection::Unavailable("payment"));
        asking().refused(Rejection::Declined("no".into())).then_rejected(Rejection::Declined("no".into()));
        asking().refused(Rejection::Unavailable("mileage")).then_rejected(Rejection::Unavailable("mileage"));
    }

    #[test]
    fn is_cancelled_once() {
        given::<Order>([ordered()]).when(7, Cancel).then([order_cancelled()]);
        let cancelled = || given::<Order>([ordered(), order_cancelled()]);
        cancelled().when(7, Cancel).then_rejected(conflict("this order is cancelled already"));
        cancelled().when(7, TurnDown).then([]);
        given::<Order>([]).when(7, Cancel).then_rejected(Rejection::NotFound);
    }

    #[test]
    fn is_cancelled_with_its_payment() {
        assert!(matches!(Order::react(&pay_cancelled()), Some(TurnDown)));
        given::<Order>([ordered(), pay_cancelled()]).when(7, TurnDown).then([order_cancelled()]);
    }

    #[test]
    fn is_not_placed_any_more_when_its_payment_was_cancelled_meanwhile() {
        let known = given::<Order>([pay_cancelled()]).state(7).expect("it is remembered");
        assert!(!known.shown(), "it was never an order");
        let cancelled = || given::<Order>([pay_cancelled()]);
        cancelled().when(7, Place(breakfast())).then_rejected(conflict("its payment was cancelled"));
        cancelled().when(7, Cancel).then_rejected(Rejection::NotFound);
        cancelled().when(7, TurnDown).then([]);
    }

    #[test]
    fn is_none_of_the_business_of_a_direct_payment() {
        let cancelled = Event::PayCancelled(direct_at(PayStatus::Cancelled));
        assert_eq!((Order::concerns(&cancelled), Order::concerns(&pay_cancelled())), (None, Some(id(7))));
        assert_eq!(given::<Order>([cancelled]).state(8), None);
    }
}

mod a_payment {
    use super::*;
    use payment::Command::{Cancel, GiveBack, PayDirectly, PayForOrder as ForOrder};

    #[test]
    fn of_an_order_is_taken_once_its_mileage_is_earned() {
        let pay = given::<Pay>([]).when(7, ForOrder(ask()));
        pay.then_asks(&EARN, &earn()).answered(&mileage_at(MileageStatus::Earned)).then([paid()]);
        given::<Pay>([paid()]).when(7, ForOrder(ask())).then_rejected(conflict("this was paid already"));
    }

    #[test]
    fn is_made_directly_too_and_the_order_that_it_names_is_not_its() {
        let sent = DirectPayment { amount: won(500), order_id: Some(id(7)) };
        let question = Earn { pay_id: id(8), order_id: Some(id(7)), cnt: won(500) };
        let earned = Mileage { id: id(8), pay_id: id(8), cnt: 500, ..mileage_at(MileageStatus::Earned) };
        let pay = given::<Pay>([]).when(8, PayDirectly(sent)).then_asks(&EARN, &question);
        pay.answered(&earned).then([Event::Paid(direct_at(PayStatus::Paid))]);
        assert!(!jumun::Answers::answers(&direct_at(PayStatus::Paid), &ask()));
    }

    #[test]
    fn is_not_taken_without_mileage() {
        let asking = || given::<Pay>([]).when(7, ForOrder(ask())).then_asks(&EARN, &earn());
        asking().unavailable().then_rejected(Rejection::Unavailable("mileage"));
        asking().refused(Rejection::Declined("no".into())).then_rejected(Rejection::Declined("no".into()));
        // An earlier attempt earned it, and that is being undone.
        asking().refused(conflict("earned already")).then_rejected(Rejection::Unavailable("mileage"));
    }

    #[test]
    fn over_the_limit_is_declined_before_anything_is_earned() {
        let declined = || Rejection::Declined("the amount is over the limit".into());
        let given = || given::<Pay>([]).with(DeclineOver { decline_over: won(7_999) });
        given().when(7, ForOrder(ask())).then_rejected(declined());
        let sent = DirectPayment { amount: won(8_000), order_id: None };
        given().when(8, PayDirectly(sent)).then_rejected(declined());
    }

    #[test]
    fn is_given_back_once() {
        let (directly_paid, cancelled) = (direct_at(PayStatus::Paid), direct_at(PayStatus::Cancelled));
        let of_an_order = (7, paid(), pay_cancelled());
        let direct = (8, Event::Paid(directly_paid), Event::PayCancelled(cancelled));
        for (id, paid, cancelled) in [of_an_order, direct] {
            for back in [Cancel, GiveBack] {
                given::<Pay>([paid.clone()]).when(id, back).then([cancelled.clone()]);
            }
            let given_back = || given::<Pay>([paid.clone(), cancelled.clone()]);
            given_back().when(id, Cancel).then_rejected(conflict("this payment is cancelled already"));
            given_back().when(id, GiveBack).then([]);
            given::<Pay>([]).when(id, GiveBack).then([]);
        }
        given::<Pay>([]).when(7, Cancel).then_rejected(Rejection::NotFound);
    }

    #[test]
    fn follows_the_cancel_of_its_order() {
        assert!(matches!(Pay::react(&order_cancelled()), Some(GiveBack)));
        assert!(Pay::react(&paid()).is_none());
    }
}

mod mileage_of_a_payment {
    use super::*;
    use mileage::Command::{Earn as EarnIt, Remove};

    #[test]
    fn is_amount_times_rate() {
        given::<Mileage>([]).when(7, EarnIt(earn())).then([added()]);
        let rate = mileage::Settings { rate: 3 };
        let tripled = Mileage { cnt: 24_000, rate: 3, ..mileage_at(MileageStatus::Earned) };
        given::<Mileage>([]).with(rate.clone()).when(7, EarnIt(earn())).then([Event::MileageAdded(tripled.clone())]);
        assert!(jumun::Answers::answers(&tripled, &earn()));
        assert!(!jumun::Answers::answers(&Mileage { cnt: 8_000, ..tripled }, &earn()));
        // A rate that has changed since changes nothing that is earned.
        given::<Mileage>([added()]).with(rate).when(7, Remove).then([removed()]);
    }

    #[test]
    fn of_nothing_is_nothing_and_of_the_largest_amount_is_exact() {
        let most = mileage::Settings { rate: u8::MAX };
        for (amount, points) in [(0, 0), (1_000_000_000_000, 255_000_000_000_000)] {
            let earn = Earn { cnt: won(amount), ..earn() };
            let earned = Mileage { cnt: points, rate: 255, ..mileage_at(MileageStatus::Earned) };
            given::<Mileage>([]).with(most.clone()).when(7, EarnIt(earn)).then([Event::MileageAdded(earned)]);
        }
    }

    #[test]
    fn is_earned_once_and_removed_once() {
        given::<Mileage>([added()])
            .when(7, EarnIt(earn()))
            .then_rejected(conflict("this payment has earned its mileage already"));
        given::<Mileage>([added()]).when(7, Remove).then([removed()]);
        given::<Mileage>([added(), removed()]).when(7, Remove).then([]);
        given::<Mileage>([]).when(7, Remove).then([]);
        assert!(matches!(Mileage::react(&pay_cancelled()), Some(Remove)));
    }

    #[test]
    fn is_seen_and_counts_nothing_once_it_is_removed() {
        let view = |events: &[Event]| support::folded::<MileageView>(events);
        let earned = view(&[added()]);
        assert_eq!((earned.pay_id, earned.order_id, earned.cnt), (7, Some(id(7)), 8_000));
        let gone = MileageView { cnt: 0, status: MileageStatus::Removed, ..earned };
        for events in [vec![added(), removed()], vec![removed(), added()], vec![added(), removed(), removed()]] {
            assert_eq!(view(&events), gone);
        }
    }
}

mod the_system {
    use super::*;

    #[test]
    fn is_sound_and_reads_everything_it_has_ever_published() {
        support::assert_is_sound::<Event>(&breakfast_mileage::system(), include_str!("../src/examples.jsonl"));
        // The first implementation knew no rate.
        let old = r#"{"id":7,"payId":7,"orderId":null,"cnt":5,"status":"Earned"}"#;
        assert_eq!(serde_json::from_str::<Mileage>(old).expect("mileage").rate, 1);
    }

    #[test]
    fn says_who_listens_to_what() {
        let model = breakfast_mileage::system();
        assert_eq!(support::listens(&model, "order"), ["PayCancelled"]);
        assert_eq!(support::listens(&model, "payment"), ["OrderCancelled"]);
        assert_eq!(support::listens(&model, "mileage"), ["PayCancelled"]);
    }

    #[test]
    fn gives_orders_and_direct_payments_different_ids() {
        let model = breakfast_mileage::system();
        let ids = |service| model.service(service).expect("a service").resources[0].ids;
        let (orders, pays) = (ids("order"), ids("payment"));
        assert!((1..100).all(|id| orders.has(id) != pays.has(id)));
    }

    #[test]
    fn turns_all_away_under_overload() {
        for service in breakfast_mileage::system().services {
            assert_eq!(service.defaults, [("shed", "all")], "{}", service.name);
        }
    }
}

mod what_is_sent {
    use super::*;

    /// The field that is wrong; None: it is taken.
    fn refused(service: &str, body: &str) -> Option<String> {
        support::refused(&breakfast_mileage::system(), service, Verb::Post, body).map(|(field, _)| field)
    }

    #[test]
    fn may_have_the_names_of_the_first_implementation() {
        for body in [
            r#"{"payId":1}"#,
            r#"{"amount":500,"orderId":7}"#,
            r#"{"amout":"500","orderid":"7"}"#,
            r#"{"id":9,"status":"Cancelled","amount":0,"orderId":null}"#,
        ] {
            assert_eq!(refused("payment", body), None, "{body}");
        }
        let sent = |body| serde_json::from_str::<DirectPayment>(body).expect(body);
        assert_eq!(sent(r#"{"payId":1}"#), DirectPayment { amount: won(0), order_id: None });
        assert_eq!(sent(r#"{"amout":"500","orderid":"7"}"#), DirectPayment { amount: won(500), order_id: Some(id(7)) });
        assert_eq!(refused("order", r#"{"qty":1,"amout":4000,"customerId":7}"#), None);
    }

    #[test]
    fn must_be_possible() {
        for (service, body, field) in [
            ("payment", r#"{"amount":-1}"#, "amount"),
            ("payment", r#"{"amout":1e13}"#, "amout"),
            ("payment", r#"{"amount":1,"amout":1}"#, "amount"),
            ("payment", r#"{"orderId":0}"#, "orderId"),
            ("order", r#"{"amount":4000}"#, "qty"),
            ("order", r#"{"qty":0,"amount":4000}"#, "qty"),
            ("order", r#"{"qty":1}"#, "amount"),
            ("order", r#"{"qty":1,"amount":1,"customerId":""}"#, "customerId"),
        ] {
            assert_eq!(refused(service, body).as_deref(), Some(field), "{body}");
        }
    }
}

mod the_audit {
    use super::*;
    use PayStatus::Paid;

    /// The rows of a case.
    #[derive(Clone, Default)]
    struct Rows {
        order: Option<Order>,
        pay: Option<Pay>,
        mileage: Option<Mileage>,
        view: Option<MileageView>,
    }

    impl Rows {
        fn new(order: Option<OrderStatus>, pay: Option<Pay>) -> Self {
            let status = |pay: &Pay| if pay.status == Paid { MileageStatus::Earned } else { MileageStatus::Removed };
            let mileage = pay.as_ref().map(|pay| Mileage { cnt: pay.amount.get(), ..mileage_at(status(pay)) });
            Self { order: order.map(order_at), pay, ..Self::default() }.with(mileage)
        }

        /// With this mileage, as the view shows it.
        fn with(self, mileage: Option<Mileage>) -> Self {
            let event = mileage.clone().map(Event::MileageRemoved);
            let view = event.as_ref().map(|event| support::folded([event]));
            Self { mileage, view, ..self }
        }

        fn audited(&self) -> (Vec<String>, bool) {
            let text = |row: Option<String>| row.unwrap_or_default();
            let rows = [
                ("order", 0, text(self.order.as_ref().map(json))),
                ("payment", 0, text(self.pay.as_ref().map(json))),
                ("mileage", 0, text(self.mileage.as_ref().map(json))),
                ("mileage", 1, text(self.view.as_ref().map(json))),
            ];
            let rows = rows.iter().filter(|(.., body)| !body.is_empty());
            support::audited(&breakfast_mileage::system(), rows.map(|(service, at, body)| (*service, *at, &**body)))
        }

        #[track_caller]
        fn is_clean(&self, expected: bool) {
            let (violations, balances) = self.audited();
            assert_eq!(violations.is_empty() && balances, expected, "{violations:?}, balances: {balances}");
        }
    }

    fn json<T: serde::Serialize>(row: &T) -> String {
        serde_json::to_string(row).expect("a row")
    }

    #[test]
    fn knows_every_combination_of_order_and_payment() {
        let orders = [None, Some(OrderStatus::Ordered), Some(OrderStatus::Cancelled)];
        let pays = [None, Some(Paid), Some(PayStatus::Cancelled)];
        for (order, pay, direct) in orders
            .into_iter()
            .flat_map(|order| pays.map(|pay| (order, pay)))
            .flat_map(|(order, pay)| [false, true].map(|direct| (order, pay, direct)))
        {
            let payment = pay.map(|status| Pay { direct, ..pay_at(status) });
            let is_right = matches!(
                (order, pay, direct),
                (None, None, _)
                    | (None, Some(_), true)
                    | (Some(OrderStatus::Cancelled) | None, Some(PayStatus::Cancelled), false)
                    | (Some(OrderStatus::Ordered), Some(Paid), false)
            );
            Rows::new(order, payment).is_clean(is_right);
        }
    }

    #[test]
    fn takes_no_remembered_cancel_for_an_order() {
        let remembered = given::<Order>([pay_cancelled()]).state(7);
        Rows { order: remembered, ..Rows::new(None, Some(pay_at(PayStatus::Cancelled))) }.is_clean(true);
    }

    #[test]
    fn sees_mileage_that_is_missing_left_over_or_wrong() {
        let standing = || Rows::new(Some(OrderStatus::Ordered), Some(pay_at(Paid)));
        let cancelled = || Rows::new(Some(OrderStatus::Cancelled), Some(pay_at(PayStatus::Cancelled)));
        standing().is_clean(true);
        standing().with(None).is_clean(false);
        standing().with(Some(mileage_at(MileageStatus::Removed))).is_clean(false);
        standing().with(Some(Mileage { cnt: 8_001, ..mileage_at(MileageStatus::Earned) })).is_clean(false);
        standing().with(Some(Mileage { cnt: 24_000, rate: 3, ..mileage_at(MileageStatus::Earned) })).is_clean(true);
        cancelled().is_clean(true);
        cancelled().with(Some(mileage_at(MileageStatus::Earned))).is_clean(false);
        // Without a payment there was one that was never made.
        Rows::default().with(Some(mileage_at(MileageStatus::Earned))).is_clean(false);
        Rows::default().with(Some(mileage_at(MileageStatus::Removed))).is_clean(true);
    }

    #[test]
    fn sees_a_wrong_amount_and_a_wrong_view() {
        let standing = || Rows::new(Some(OrderStatus::Ordered), Some(pay_at(Paid)));
        Rows::new(Some(OrderStatus::Ordered), Some(Pay { amount: won(1), ..pay_at(Paid) })).is_clean(false);
        Rows { view: None, ..standing() }.is_clean(false);
        let mut wrong = standing();
        wrong.view = wrong.view.map(|view| MileageView { cnt: 0, ..view });
        wrong.is_clean(false);
    }
}

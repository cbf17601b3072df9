//! Course enrollment, specified by example.

#[path = "../../food-delivery/tests/support/mod.rs"]
mod support;

use course_enrollment::{
    events::Event,
    infomation::Infomation,
    notification::{self, Fields, Kind, Message, News, Notification, NotificationStatus, SEND, Told},
    order::{self, Application, Change, Order, OrderStatus},
    pay::{self, PAY, Pay, Payment, PaymentStatus},
    reservation::{self, Reservation, ReservationStatus},
    values::{CardNumber, EduNo, Enrollment, Reason},
};
use jiff::Timestamp;
use jumun::given::{Asking, given};
use jumun::{Aggregate, Confirm, Quantity, Reference, Rejection, Time, TimeLimit};
use std::time::Duration;
use support::{conflict, id};

fn edu_no() -> EduNo {
    EduNo(Quantity::new(102).expect("a number"))
}

fn text(text: &str) -> Reference {
    Reference::Text(text.to_owned())
}

fn card(number: &str) -> CardNumber {
    serde_json::from_value(number.into()).expect("a card number")
}

fn application() -> Application {
    Application {
        order_id: Some(Reference::Number(2)),
        customer_id: Some(text("kim")),
        edu_no: edu_no(),
        card_no: Some(card("4111-1111-1111-1234")),
        guest: None,
    }
}

fn enrollment() -> Enrollment {
    Enrollment { order_id: Reference::Number(2), customer_id: Some(text("kim")), edu_no: edu_no() }
}

fn order_at(status: OrderStatus) -> Order {
    let Application { card_no, guest, .. } = application();
    Order { id: id(7), enrollment: enrollment(), card_no, guest, status, course_started: false, reason: None }
}

fn question() -> Pay {
    let Enrollment { order_id, customer_id, edu_no } = enrollment();
    let Order { id, card_no, .. } = order_at(OrderStatus::Ordered);
    Pay { id, order_id, customer_id, card_no, edu_no, status: PaymentStatus::Requested }
}

fn payment_at(status: PaymentStatus) -> Payment {
    Payment { id: id(7), enrollment: enrollment(), card_no: question().card_no, status, voided: false }
}

fn reservation_at(status: ReservationStatus) -> Reservation {
    Reservation { id: id(7), enrollment: enrollment(), status, reason: None }
}

support::events! {
    order_at(OrderStatus):
        ordered = Ordered(Ordered), delayed = Ordered(PaymentDelayed),
        settled = PaymentSettled(Ordered), order_canceled = OrderCanceled(Canceled);
    payment_at(PaymentStatus): paid = Paid(Paid), payment_canceled = PaymentCanceled(Canceled);
    reservation_at(ReservationStatus):
        requested = Reserved(Requested), confirmed = Reserved(Confirmed),
        started = CourseStarted(CourseStarted), reservation_canceled = ReservationCanceled(Canceled);
}

/// Statuses as they are written.
fn words<T: serde::Serialize, const N: usize>(statuses: [T; N]) -> [serde_json::Value; N] {
    statuses.map(|status| serde_json::to_value(status).expect("JSON"))
}

fn declined() -> Rejection {
    Rejection::Declined("the card is declined".into())
}

mod what_clients_send {
    use super::*;
    use jumun::Verb;

    /// The field that is wrong, and why. None: it is taken.
    fn refused(verb: Verb, body: &str) -> Option<(String, String)> {
        support::refused(&course_enrollment::system(), "order", verb, body)
    }

    #[track_caller]
    fn refused_for(verb: Verb, body: &str) -> (String, String) {
        refused(verb, body).unwrap_or_else(|| panic!("{body} is taken"))
    }

    fn applied(body: &str) -> Application {
        serde_json::from_str(body).expect(body)
    }

    #[test]
    fn may_be_as_little_as_a_course() {
        let application = applied(r#"{"eduNo":102}"#);
        assert_eq!(
            application,
            Application { order_id: None, customer_id: None, card_no: None, ..application.clone() }
        );
        assert_eq!(applied(r#"{"EduNo":"102","status":"Paid","id":9}"#), application, "also in the old spelling");
    }

    #[test]
    fn must_name_a_course() {
        for body in ["{}", r#"{"eduNo":0}"#, r#"{"eduNo":-1}"#, r#"{"eduNo":1.5}"#, r#"{"eduNo":1000000000001}"#] {
            assert_eq!(refused_for(Verb::Post, body).0, "eduNo", "{body}");
        }
    }

    #[test]
    fn is_a_reference_of_their_own_that_comes_back_as_it_was() {
        for json in ["2", "-5", r#""2""#, r#""주문 2""#, "9223372036854775807"] {
            let sent: Reference = serde_json::from_str(json).expect(json);
            assert_eq!(serde_json::to_string(&sent).expect("JSON"), json);
        }
        let (longest, too_long) = ("가".repeat(64), "가".repeat(65));
        assert_eq!(refused(Verb::Post, &format!(r#"{{"orderId":"{longest}","eduNo":1}}"#)), None);
        for json in [r#""""#, r#"" ""#, &format!("\"{too_long}\""), "2.5", "1e30", "true", "[]", "{}"] {
            for field in ["orderId", "customerId", "guest"] {
                let body = format!(r#"{{"{field}":{json},"eduNo":1}}"#);
                assert_eq!(refused_for(Verb::Post, &body).0, field, "{body}");
            }
        }
    }

    /// A customer id is the recipient of messages: what no sender can use is refused here, and not once they are sent.
    #[test]
    fn has_no_reference_that_no_sender_could_use() {
        for text in [
            "kim\nlee",
            "kim\r\n",
            "kim\u{0}",
            "\u{1b}[2J",
            "kim\u{2028}lee",
            "\u{202e}kim",
            "\u{3164}",
            "\u{200b}",
            "\u{301}",
        ] {
            for field in ["orderId", "customerId", "guest"] {
                let body = serde_json::json!({ "eduNo": 1, field: text }).to_string();
                assert_eq!(refused_for(Verb::Post, &body).0, field, "{body}");
            }
        }
        // The longest one fits where a sender's recipient does: 320 bytes.
        let longest = "👩".repeat(64);
        assert!(longest.len() <= 320);
        assert_eq!(refused(Verb::Post, &format!(r#"{{"customerId":"{longest}","eduNo":1}}"#)), None);
    }

    #[test]
    fn says_what_it_must_be_in_the_words_of_a_customer() {
        assert_eq!(refused_for(Verb::Post, "null"), (String::new(), "the body must be a JSON object".to_owned()));
        assert_eq!(
            refused_for(Verb::Post, r#"{"eduNo":1,"orderId":2.5}"#),
            ("orderId".to_owned(), "must be a text or a whole number of at most 18 digits".to_owned())
        );
        assert_eq!(
            refused_for(Verb::Patch, r#"{"status":"order canceled"}"#),
            ("status".to_owned(), "must be one of `Payment Delayed`, `Ordered`, `Order Canceled`".to_owned())
        );
        assert_eq!(
            refused_for(Verb::Post, r#"{"eduNo":1,"EduNo":2}"#),
            ("eduNo".to_owned(), "the field `eduNo` occurs twice".to_owned())
        );
        assert_eq!(
            refused_for(Verb::Post, r#"{"eduNo":1,"orderId":1,"orderId":2}"#).1,
            "the field `orderId` occurs twice"
        );
    }

    /// Whatever is sent, no more than four digits stay.
    #[test]
    fn of_a_card_only_the_last_four_digits_are_kept() {
        for json in ["4111222233331234", r#""4111-2222-3333-1234""#, r#""4111 2222 3333 1234""#, r#""1234""#, "1234"] {
            let card: CardNumber = serde_json::from_str(json).expect(json);
            assert_eq!(serde_json::to_string(&card).expect("JSON"), r#""1234""#, "{json}");
            assert_eq!(format!("{card:?}"), "…1234");
        }
        let application = applied(r#"{"eduNo":102,"cardNo":"4111-2222-3333-1234"}"#);
        assert!(!format!("{:?}", order::Command::Place(application)).contains("3333"));
    }

    #[test]
    fn is_no_card_number_and_the_answer_does_not_repeat_it() {
        let long = format!("\"{}\"", "4".repeat(33));
        for json in [
            r#""""#,
            r#""123""#,
            "123",
            "-41112222",
            r#""4111x2222""#,
            r#""---- ----""#,
            &long,
            "4111222233331234.5",
            "41112222333344445555",
            "true",
            "[4111222233331234]",
            r#"{"no":4111222233331234}"#,
        ] {
            let (field, why) = refused_for(Verb::Post, &format!(r#"{{"eduNo":1,"cardNo":{json}}}"#));
            assert_eq!(field, "cardNo", "{json}");
            assert!(!why.contains("4111") && !why.contains("44444"), "{why}");
        }
    }

    #[test]
    fn as_a_change_must_be_a_status() {
        assert_eq!(refused(Verb::Patch, r#"{"status":"Order Canceled"}"#), None);
        assert_eq!(refused_for(Verb::Patch, "{}"), ("status".to_owned(), "is required".to_owned()));
        for word in [r#""Lost""#, r#""order canceled""#, r#""""#, "null", "7"] {
            assert_eq!(refused_for(Verb::Patch, &format!(r#"{{"status":{word}}}"#)).0, "status", "{word}");
        }
    }
}

mod an_order {
    use super::*;
    use order::Command::{Cancel, Place, Settle, TurnDown};

    fn change(status: OrderStatus) -> order::Command {
        order::Command::Change(Change { status })
    }

    fn asking() -> Asking<Order> {
        given::<Order>([]).when(7, Place(application())).then_asks(&PAY, &question())
    }

    #[test]
    fn is_placed_once_it_is_paid() {
        let order = asking().answered(&payment_at(PaymentStatus::Paid)).then([ordered()]);
        assert_eq!(order, Some(order_at(OrderStatus::Ordered)));
    }

    #[test]
    fn asks_for_its_payment_in_the_words_of_the_contract() {
        let json = serde_json::to_string(&question()).expect("JSON");
        let expected = r#"{"id":7,"orderId":2,"customerId":"kim","cardNo":"1234","eduNo":102,"status":"Pay Request"}"#;
        assert_eq!(json, expected);
    }

    #[test]
    fn without_a_reference_has_its_id_as_one() {
        let application = Application { order_id: None, ..application() };
        let enrollment = Enrollment { order_id: Reference::Number(7), ..enrollment() };
        let order = Order { enrollment: enrollment.clone(), ..order_at(OrderStatus::Ordered) };
        given::<Order>([])
            .when(7, Place(application))
            .then_asks(&PAY, &Pay { order_id: Reference::Number(7), ..question() })
            .answered(&Payment { enrollment, ..payment_at(PaymentStatus::Paid) })
            .then([Event::Ordered(order)]);
    }

    #[test]
    fn is_placed_with_its_payment_delayed_if_that_is_allowed() {
        let order = asking().delayed().then_asks_later(&PAY, &question()).then([delayed()]);
        assert_eq!(order, Some(order_at(OrderStatus::PaymentDelayed)));
    }

    #[test]
    fn does_not_stand_when_its_payment_is_declined() {
        asking().refused(declined()).then_rejected(declined());
    }

    #[test]
    fn does_not_stand_when_payment_does_not_answer_and_may_not_come_later() {
        asking().unavailable().then_rejected(Rejection::Unavailable("pay"));
    }

    #[test]
    fn is_settled_by_its_delayed_payment() {
        let order = given::<Order>([delayed()])
            .when(7, Settle)
            .then_asks(&PAY, &question())
            .answered(&payment_at(PaymentStatus::Paid))
            .then([settled()]);
        assert_eq!(order, Some(order_at(OrderStatus::Ordered)));
    }

    #[test]
    fn is_cancelled_when_its_delayed_payment_is_refused_or_does_not_come_in_time() {
        let asking = || given::<Order>([delayed()]).when(7, Settle).then_asks(&PAY, &question());
        asking().refused(declined()).then([order_canceled()]);
        asking().unavailable().then([order_canceled()]);
    }

    #[test]
    fn is_settled_once() {
        for history in [vec![ordered()], vec![delayed(), settled()], vec![delayed(), order_canceled()]] {
            given::<Order>(history).when(7, Settle).then([]);
        }
    }

    #[test]
    fn can_be_cancelled_in_two_ways() {
        for history in [vec![ordered()], vec![delayed()], vec![delayed(), settled()]] {
            for command in [Cancel, change(OrderStatus::Canceled)] {
                let order = given::<Order>(history.clone()).when(7, command).then([order_canceled()]);
                assert_eq!(order, Some(order_at(OrderStatus::Canceled)), "it stays readable as cancelled");
            }
        }
    }

    #[test]
    fn is_cancelled_once() {
        given::<Order>([ordered(), order_canceled()])
            .when(7, Cancel)
            .then_rejected(conflict("this order is cancelled already"));
    }

    #[test]
    fn cannot_be_cancelled_once_its_course_has_started() {
        for command in [Cancel, change(OrderStatus::Canceled)] {
            given::<Order>([ordered(), started()]).when(7, command).then_rejected(conflict("its course has started"));
        }
    }

    #[test]
    fn keeps_its_status_on_request_and_takes_no_other() {
        use OrderStatus::{Canceled, Ordered, PaymentDelayed};
        for (history, status) in [
            (vec![ordered()], Ordered),
            (vec![delayed()], PaymentDelayed),
            (vec![ordered(), order_canceled()], Canceled),
        ] {
            given::<Order>(history.clone()).when(7, change(status)).then([]);
            for other in [Ordered, PaymentDelayed].into_iter().filter(|other| *other != status) {
                given::<Order>(history.clone())
                    .when(7, change(other))
                    .then_rejected(conflict("status words follow what happens; ask for `Order Canceled` only"));
            }
        }
    }

    #[test]
    fn is_cancelled_when_its_manager_turns_it_down_but_only_once() {
        assert!(matches!(Order::react(&reservation_canceled()), Some(TurnDown(None))));
        given::<Order>([ordered(), reservation_canceled()]).when(7, TurnDown(None)).then([order_canceled()]);
        given::<Order>([ordered(), order_canceled(), reservation_canceled()]).when(7, TurnDown(None)).then([]);
    }

    #[test]
    fn that_is_not_there_cannot_be_changed() {
        for command in [Cancel, change(OrderStatus::Canceled), Settle] {
            given::<Order>([]).when(7, command).then_rejected(Rejection::NotFound);
        }
    }

    #[test]
    fn speaks_the_words_of_the_contract() {
        let words = words([OrderStatus::Ordered, OrderStatus::PaymentDelayed, OrderStatus::Canceled]);
        assert_eq!(words, ["Ordered", "Payment Delayed", "Order Canceled"]);
    }
}

mod a_payment {
    use super::*;
    use jumun::Answers;

    #[test]
    fn is_taken_for_an_order_and_only_once() {
        given::<Payment>([]).when(7, pay::Command::Pay(question())).then([paid()]);
        for history in [vec![paid()], vec![paid(), payment_canceled()]] {
            given::<Payment>(history)
                .when(7, pay::Command::Pay(question()))
                .then_rejected(conflict("this order was paid for already"));
        }
    }

    #[test]
    fn answers_the_question_it_was_taken_for_and_no_other() {
        let payment = payment_at(PaymentStatus::Paid);
        assert!(payment.answers(&question()));
        assert!(!payment_at(PaymentStatus::Canceled).answers(&question()));
        assert!(!payment.answers(&Pay { id: id(8), ..question() }));
        assert!(!payment.answers(&Pay { order_id: text("2"), ..question() }));
        assert!(!payment.answers(&Pay { customer_id: None, ..question() }));
        assert!(!payment.answers(&Pay { card_no: Some(card("9999")), ..question() }));
    }

    #[test]
    fn is_declined_by_the_card_if_the_operator_says_so() {
        let declining = |card_no: &str| pay::Settings { decline_card: Some(card(card_no)) };
        given::<Payment>([]).with(declining("1234")).when(7, pay::Command::Pay(question())).then_rejected(declined());
        given::<Payment>([]).with(declining("1235")).when(7, pay::Command::Pay(question())).then([paid()]);
        let cash = Pay { card_no: None, ..question() };
        let event = Event::Paid(Payment { card_no: None, ..payment_at(PaymentStatus::Paid) });
        given::<Payment>([]).when(7, pay::Command::Pay(cash)).then([event]);
    }

    #[test]
    fn is_given_back_once_by_a_void_or_a_refund() {
        assert!(matches!(Payment::react(&order_canceled()), Some(pay::Command::GiveBack { voided: false })));
        let voided = Event::PaymentCanceled(Payment { voided: true, ..payment_at(PaymentStatus::Canceled) });
        for (is_void, given_back) in [(true, voided), (false, payment_canceled())] {
            let command = pay::Command::GiveBack { voided: is_void };
            given::<Payment>([paid(), order_canceled()]).when(7, command.clone()).then([given_back]);
            given::<Payment>([paid(), payment_canceled()]).when(7, command.clone()).then([]);
            given::<Payment>([]).when(7, command).then([]);
        }
    }

    #[test]
    fn speaks_the_words_of_the_contract() {
        let words = words([PaymentStatus::Requested, PaymentStatus::Paid, PaymentStatus::Canceled]);
        assert_eq!(words, ["Pay Request", "Paid", "Payment Canceled"]);
    }
}

mod a_reservation {
    use super::*;
    use reservation::Command;

    fn reserve() -> Command {
        Command::Reserve(order_at(OrderStatus::Ordered))
    }

    #[test]
    fn is_made_once_its_order_is_paid_and_not_before() {
        assert!(matches!(Reservation::react(&ordered()), Some(Command::Reserve(_))));
        assert!(matches!(Reservation::react(&settled()), Some(Command::Reserve(_))));
        assert!(Reservation::react(&delayed()).is_none());
        assert_eq!(given::<Reservation>([delayed()]).state(7), None);
    }

    #[test]
    fn is_confirmed_at_once() {
        given::<Reservation>([ordered()]).when(7, reserve()).then([confirmed()]);
        given::<Reservation>([delayed(), settled()]).when(7, reserve()).then([confirmed()]);
    }

    #[test]
    fn waits_for_its_manager_if_so_configured() {
        let manual = || reservation::Settings { confirm: Confirm::Manual, confirm_within: TimeLimit::OFF };
        given::<Reservation>([ordered()]).with(manual()).when(7, reserve()).then([requested()]);
        given::<Reservation>([requested()]).with(manual()).when(7, Command::Confirm).then([confirmed()]);
        given::<Reservation>([requested()]).with(manual()).when(7, Command::Reject).then([reservation_canceled()]);
        given::<Reservation>([requested()])
            .when(7, Command::Start)
            .then_rejected(conflict("this reservation is not confirmed yet"));
    }

    #[test]
    fn that_its_manager_does_not_confirm_in_time_ends_and_cancels_its_order_and_says_why() {
        let ten_minutes = Duration::from_mins(10);
        let confirm_within = TimeLimit::new(ten_minutes).expect("a limit");
        let seat = |history: &[Event]| {
            let settings = reservation::Settings { confirm: Confirm::Manual, confirm_within };
            given::<Reservation>(history.to_vec()).with(settings)
        };
        assert_eq!(given::<Reservation>([requested()]).waits(7), None, "no limit is set");
        assert_eq!(seat(&[requested()]).waits(7), Some(("confirm_within", ten_minutes)));
        let reason = Some(Reason::NotConfirmedInTime);
        let late = Event::ReservationCanceled(Reservation { reason, ..reservation_at(ReservationStatus::Canceled) });
        seat(&[requested()]).time_out(7, "confirm_within").then([late.clone()]);
        let over = [vec![confirmed()], vec![reservation_canceled()], vec![confirmed(), started()], vec![late.clone()]];
        for after in over {
            let history = [vec![requested()], after].concat();
            assert_eq!(seat(&history).waits(7), None);
            assert!(seat(&history).when(7, Command::GiveUp).events().is_err(), "it is too late for that");
        }
        assert_eq!(seat(&[order_canceled()]).waits(7), None);

        let canceled = Event::OrderCanceled(Order { reason, ..order_at(OrderStatus::Canceled) });
        let turn_down = || Order::react(&late).expect("a command");
        given::<Order>([ordered(), late.clone()]).when(7, turn_down()).then([canceled.clone()]);
        given::<Order>([ordered(), order_canceled(), late.clone()]).when(7, turn_down()).then([]);
        for event in [&late, &canceled] {
            let told = Notification::react_anew(event);
            let says_why = |command: &notification::Command| matches!(command, notification::Command::Tell(_, News { reason: said, .. }) if *said == reason);
            assert!(told.len() == 1 && told.iter().all(says_why), "{told:?}");
        }
    }

    #[test]
    fn is_made_once() {
        for history in
            [vec![requested()], vec![confirmed()], vec![confirmed(), started()], vec![reservation_canceled()]]
        {
            given::<Reservation>(history).when(7, reserve()).then([]);
        }
    }

    #[test]
    fn starts_once_confirmed() {
        given::<Reservation>([confirmed()]).when(7, Command::Start).then([started()]);
        for command in [Command::Confirm, Command::Reject, Command::Start] {
            given::<Reservation>([confirmed(), started()])
                .when(7, command)
                .then_rejected(conflict("its course has started already"));
        }
        given::<Reservation>([confirmed()])
            .when(7, Command::Confirm)
            .then_rejected(conflict("this reservation is confirmed already"));
    }

    #[test]
    fn can_be_turned_down_until_its_course_starts() {
        for event in [requested(), confirmed()] {
            given::<Reservation>([event]).when(7, Command::Reject).then([reservation_canceled()]);
        }
    }

    #[test]
    fn follows_a_cancel_from_any_state_but_once() {
        assert!(matches!(Reservation::react(&order_canceled()), Some(Command::Cancel)));
        for event in [requested(), confirmed(), started()] {
            given::<Reservation>([event, order_canceled()]).when(7, Command::Cancel).then([reservation_canceled()]);
        }
        given::<Reservation>([reservation_canceled()]).when(7, Command::Cancel).then([]);
    }

    #[test]
    fn remembers_a_cancel_that_was_here_before_the_order() {
        support::hidden::<Reservation>([order_canceled()]).when(7, Command::Cancel).then([]);
        given::<Reservation>([order_canceled(), ordered()]).when(7, reserve()).then([reservation_canceled()]);
        for command in [Command::Confirm, Command::Reject, Command::Start] {
            given::<Reservation>([order_canceled()]).when(7, command).then_rejected(Rejection::NotFound);
        }
    }

    #[test]
    fn refuses_what_comes_too_late() {
        for command in [Command::Confirm, Command::Reject, Command::Start] {
            given::<Reservation>([confirmed(), reservation_canceled()])
                .when(7, command.clone())
                .then_rejected(conflict("this reservation is cancelled"));
            given::<Reservation>([]).when(7, command).then_rejected(Rejection::NotFound);
        }
    }

    #[test]
    fn speaks_the_words_of_the_contract() {
        use ReservationStatus::{Canceled, Confirmed, CourseStarted, Requested};
        let words = words([Requested, Confirmed, CourseStarted, Canceled]);
        assert_eq!(words, ["Reservation Requested", "Reservation Confirmed", "Course Started", "Reservation Canceled"]);
    }
}

mod a_notification {
    use super::*;
    use notification::Command;

    fn news() -> News {
        let told = Told::Order(OrderStatus::Ordered);
        News { enrollment: enrollment(), kind: Kind::Ordered, told, reason: None }
    }

    fn notification_at(status: NotificationStatus) -> Notification {
        let requested_dt = Timestamp::from_millisecond(1_663_830_408_990).expect("a time").into();
        Notification { id: id(31), enrollment_id: id(7), news: news(), status, requested_dt }
    }

    fn message() -> Message {
        Message {
            id: "7-Ordered-31-1663830408990".to_owned(),
            recipient: "kim".to_owned(),
            template: Kind::Ordered,
            fields: Fields { enrollment: enrollment(), status: Told::Order(OrderStatus::Ordered), reason: None },
            time_ms: 1_663_830_408_990,
        }
    }

    fn requested() -> Event {
        Event::NotificationRequested(notification_at(NotificationStatus::Requested))
    }

    fn sent() -> Event {
        Event::NotificationSent(notification_at(NotificationStatus::Sent))
    }

    fn parked() -> Event {
        Event::NotificationParked(notification_at(NotificationStatus::Parked))
    }

    fn receipt() -> serde_json::Value {
        serde_json::json!({ "receivedBy": "a phone" })
    }

    #[test]
    fn is_made_of_everything_that_happens_to_an_order() {
        for (event, due) in [
            (ordered(), &[("Ordered", "Ordered"), ("Paid", "Paid")][..]),
            (delayed(), &[("PaymentDelayed", "Payment Delayed")]),
            (settled(), &[("PaymentSettled", "Ordered"), ("Paid", "Paid")]),
            (order_canceled(), &[("OrderCanceled", "Order Canceled")]),
            (payment_canceled(), &[("PaymentCanceled", "Payment Canceled")]),
            (super::requested(), &[("Reserved", "Reservation Requested")]),
            (confirmed(), &[("ReservationConfirmed", "Reservation Confirmed")]),
            (reservation_canceled(), &[("ReservationCanceled", "Reservation Canceled")]),
            (started(), &[("CourseStarted", "Course Started")]),
        ] {
            assert_eq!(messages(&event), due.iter().map(|(kind, word)| owned(kind, word)).collect::<Vec<_>>());
        }
        assert!([requested(), sent(), parked()].iter().all(|event| messages(event).is_empty()), "not of itself");
    }

    #[test]
    fn no_message_about_a_payment_before_its_order_is_placed() {
        let voided = Payment { voided: true, ..payment_at(PaymentStatus::Canceled) };
        for event in [paid(), Event::PaymentCanceled(voided)] {
            assert_eq!(messages(&event), []);
        }
    }

    fn owned(kind: &str, word: &str) -> (String, String) {
        (kind.to_owned(), word.to_owned())
    }

    /// The messages about an event: kind and status.
    fn messages(event: &Event) -> Vec<(String, String)> {
        let word = |value: serde_json::Value| value.as_str().expect("a word").to_owned();
        let message = |command| match command {
            Command::Tell(order, news) => {
                assert_eq!((order, &news.enrollment), (id(7), &enrollment()));
                (word(serde_json::json!(news.kind)), word(serde_json::json!(news.told)))
            }
            other => panic!("{other:?}"),
        };
        Notification::react_anew(event).into_iter().map(message).collect()
    }

    #[test]
    fn is_sent_once_it_is_committed() {
        given::<Notification>([])
            .at(notification_at(NotificationStatus::Requested).requested_dt)
            .when(31, Command::Tell(id(7), news()))
            .then_asks_later(&SEND, &message())
            .then([requested()]);
    }

    #[test]
    fn says_who_gets_which_message() {
        let json = serde_json::to_value(message()).expect("JSON");
        let fields = serde_json::json!({ "orderId": 2, "customerId": "kim", "eduNo": 102, "status": "Ordered" });
        let (id, time_ms) = ("7-Ordered-31-1663830408990", 1_663_830_408_990_i64);
        let expected = serde_json::json!({
            "id": id, "recipient": "kim", "template": "Ordered", "fields": fields, "timeMs": time_ms
        });
        assert_eq!(json, expected);
        let recipient = |customer_id| {
            let news = News { enrollment: Enrollment { customer_id, ..enrollment() }, ..news() };
            Notification { news, ..notification_at(NotificationStatus::Requested) }.message().recipient
        };
        assert_eq!((recipient(None), recipient(Some(Reference::Number(77)))), (String::new(), "77".to_owned()));
    }

    #[test]
    fn is_sent_or_parked() {
        let asking = || given::<Notification>([requested()]).when(31, Command::Settle).then_asks(&SEND, &message());
        asking().answered(&receipt()).then([sent()]);
        asking().refused(conflict("no such phone")).then([parked()]);
        asking().unavailable().then([parked()]);
        for event in [sent(), parked()] {
            given::<Notification>([event]).when(31, Command::Settle).then([]);
        }
    }

    #[test]
    fn that_is_parked_is_sent_again_as_the_same_message() {
        given::<Notification>([requested(), parked()])
            .at(Timestamp::MAX)
            .when(31, Command::Retry)
            .then_asks_later(&SEND, &message())
            .then([requested()]);
    }

    #[test]
    fn that_is_not_parked_is_not_sent_again() {
        for (event, why) in [(requested(), "this notification is on its way"), (sent(), "this notification was sent")] {
            given::<Notification>([event]).when(31, Command::Retry).then_rejected(conflict(why));
        }
        given::<Notification>([]).when(31, Command::Retry).then_rejected(Rejection::NotFound);
    }
}

mod the_infomation {
    use super::*;
    use proptest::prelude::*;

    fn folded<'a>(events: impl IntoIterator<Item = &'a Event>) -> Infomation {
        support::folded(events)
    }

    #[test]
    fn shows_an_order_once_ordered_has_arrived() {
        let row: Infomation = support::shown_once(&[paid(), confirmed()], &ordered());
        let json = r#"{"id":7,"orderId":2,"orderStatus":"Ordered","payStatus":"Paid","reservationStatus":"Reservation Confirmed"}"#;
        assert_eq!(serde_json::to_string(&row).expect("JSON"), json);
    }

    #[test]
    fn shows_a_delayed_payment_and_that_it_was_settled() {
        let row = folded(&[delayed()]);
        assert_eq!((row.order_status, row.pay_status), (Some(OrderStatus::PaymentDelayed), None));
        assert_eq!(folded(&[delayed(), settled()]).order_status, Some(OrderStatus::Ordered));
    }

    #[test]
    fn shows_a_request_and_then_that_it_was_confirmed() {
        assert_eq!(folded(&[requested()]).reservation_status, Some(ReservationStatus::Requested));
        assert_eq!(folded(&[requested(), confirmed()]).reservation_status, Some(ReservationStatus::Confirmed));
    }

    /// Every source's events in its own order.
    fn by_source() -> impl Strategy<Value = Vec<Vec<Event>>> {
        let order = prop_oneof![
            Just(vec![ordered()]),
            Just(vec![ordered(), order_canceled()]),
            Just(vec![delayed()]),
            Just(vec![delayed(), settled()]),
            Just(vec![delayed(), order_canceled()]),
            Just(vec![delayed(), settled(), order_canceled()]),
        ];
        let pay = prop_oneof![Just(vec![]), Just(vec![paid()]), Just(vec![paid(), payment_canceled()])];
        let reservation = prop_oneof![
            Just(vec![]),
            Just(vec![confirmed()]),
            Just(vec![requested(), confirmed(), started()]),
            Just(vec![requested(), reservation_canceled()]),
            Just(vec![confirmed(), started(), reservation_canceled()]),
        ];
        (order, pay, reservation).prop_map(|(order, pay, reservation)| vec![order, pay, reservation])
    }

    /// The same, each once or twice, in any order at all.
    fn shuffled() -> impl Strategy<Value = (Vec<Event>, Vec<Event>)> {
        by_source().prop_flat_map(|sources| {
            let plain = sources.concat();
            let doubled = [plain.clone(), plain.clone()].concat();
            let twice = (Just(doubled).prop_shuffle(), plain.len()..=2 * plain.len());
            let any = twice.prop_map({
                let plain = plain.clone();
                move |(mut some, least)| {
                    some.truncate(least);
                    some.extend(plain.iter().filter(|event| !some.contains(event)).cloned().collect::<Vec<_>>());
                    some
                }
            });
            (Just(plain), any)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn does_not_care_in_which_order_events_come_or_what_is_repeated((plain, any) in shuffled()) {
            prop_assert_eq!(folded(any.iter()), folded(plain.iter()));
        }

        #[test]
        fn nor_do_payments_and_reservations((plain, any) in shuffled()) {
            prop_assert_eq!(given::<Payment>(any.clone()).state(7), given::<Payment>(plain.clone()).state(7));
            prop_assert_eq!(given::<Reservation>(any).state(7), given::<Reservation>(plain).state(7));
        }

        /// An order was there before anybody could hear of it.
        #[test]
        fn nor_do_orders_once_they_stand((plain, any) in shuffled()) {
            let any = plain.iter().take(1).chain(&any).cloned().collect::<Vec<_>>();
            prop_assert_eq!(given::<Order>(any).state(7), given::<Order>(plain).state(7));
        }
    }
}

mod the_system {
    use super::*;
    use jumun::{PublishedLanguage, View};

    #[test]
    fn is_sound_and_reads_everything_it_has_ever_published() {
        support::assert_is_sound::<Event>(&course_enrollment::system(), include_str!("../src/examples.jsonl"));
    }

    #[test]
    fn ignores_events_of_later_releases() {
        assert_eq!(Event::decode("CourseMoved", "{}").expect("no error"), None);
        assert!(Event::decode("Ordered", "{}").is_err());
    }

    #[test]
    fn says_who_listens_to_what() {
        let model = course_enrollment::system();
        let listens = |service| support::listens(&model, service);
        assert_eq!(listens("pay"), ["OrderCanceled"]);
        assert_eq!(listens("order"), ["CourseStarted", "ReservationCanceled"]);
        assert_eq!(listens("reservation"), ["OrderCanceled", "Ordered", "PaymentSettled"]);
        assert_eq!(listens("notification").len(), Event::TYPES.len() - 3, "everything but its own");
    }

    /// What the audit says of these rows: how much is wrong, and whether the ledger balances.
    fn audited(
        order: Option<Order>,
        payment: Option<Payment>,
        reservation: Option<Reservation>,
        view: Option<Infomation>,
        told: &[Kind],
    ) -> (Vec<String>, bool) {
        let json = |row: Option<serde_json::Value>| row.map(|row| row.to_string());
        let rows = [
            ("order", 0, json(order.map(|row| serde_json::to_value(row).expect("JSON")))),
            ("pay", 0, json(payment.map(|row| serde_json::to_value(row).expect("JSON")))),
            ("reservation", 0, json(reservation.map(|row| serde_json::to_value(row).expect("JSON")))),
            ("notification", 1, json(view.map(|row| serde_json::to_value(row).expect("JSON")))),
        ];
        let messages: Vec<_> =
            told.iter().map(|kind| serde_json::to_string(&message_of(*kind)).expect("JSON")).collect();
        let rows = rows.iter().filter_map(|(service, at, row)| Some((*service, *at, row.as_deref()?)));
        let messages = messages.iter().map(|message| ("notification", 0, message.as_str()));
        support::audited(&course_enrollment::system(), rows.chain(messages))
    }

    fn message_of(kind: Kind) -> Notification {
        let news = News { enrollment: enrollment(), kind, told: Told::Order(OrderStatus::Ordered), reason: None };
        let requested_dt = Time::EPOCH;
        Notification { id: id(31), enrollment_id: id(7), news, status: NotificationStatus::Sent, requested_dt }
    }

    /// The messages that are due at these statuses.
    fn due(
        order: Option<OrderStatus>,
        payment: Option<PaymentStatus>,
        reservation: Option<ReservationStatus>,
    ) -> Vec<Kind> {
        let Some(order) = order else { return Vec::new() };
        let is_canceled = order == OrderStatus::Canceled;
        let is_unpaid = order == OrderStatus::PaymentDelayed || (is_canceled && payment.is_none());
        let mut due = if is_unpaid { vec![Kind::PaymentDelayed] } else { vec![Kind::Ordered, Kind::Paid] };
        due.extend(is_canceled.then_some(Kind::OrderCanceled));
        due.extend((payment == Some(PaymentStatus::Canceled)).then_some(Kind::PaymentCanceled));
        due.extend(match reservation {
            None | Some(ReservationStatus::Withheld) => &[][..],
            Some(ReservationStatus::Requested) => &[Kind::Reserved],
            Some(ReservationStatus::Confirmed) => &[Kind::ReservationConfirmed],
            Some(ReservationStatus::CourseStarted) => &[Kind::ReservationConfirmed, Kind::CourseStarted],
            Some(ReservationStatus::Canceled) => &[Kind::ReservationConfirmed, Kind::ReservationCanceled],
        });
        due
    }

    /// Every combination of an order, its payment and its reservation, and whether it may stay so.
    #[test]
    fn is_audited() {
        use {OrderStatus as O, PaymentStatus as P, ReservationStatus as R};
        let fair = [
            (None, None, None),
            (None, Some(P::Canceled), None),
            (Some(O::Ordered), Some(P::Paid), Some(R::Requested)),
            (Some(O::Ordered), Some(P::Paid), Some(R::Confirmed)),
            (Some(O::Canceled), None, None),
            (Some(O::Canceled), None, Some(R::Withheld)),
            (Some(O::Canceled), Some(P::Canceled), None),
            (Some(O::Canceled), Some(P::Canceled), Some(R::Withheld)),
            (Some(O::Canceled), Some(P::Canceled), Some(R::Canceled)),
        ];
        for order in [None, Some(O::Ordered), Some(O::PaymentDelayed), Some(O::Canceled)] {
            for payment in [None, Some(P::Paid), Some(P::Canceled)] {
                let reservations = [R::Withheld, R::Requested, R::Confirmed, R::CourseStarted, R::Canceled];
                for reservation in [None].into_iter().chain(reservations.map(Some)) {
                    let view = order.map(|order| Infomation {
                        order_id: Some(Reference::Number(2)),
                        order_status: Some(order),
                        pay_status: payment,
                        reservation_status: reservation.filter(|status| *status != R::Withheld),
                        ..Infomation::row(7)
                    });
                    let now = (order, payment, reservation);
                    let told = due(order, payment, reservation);
                    let rows = (order.map(order_at), payment.map(payment_at), reservation.map(reservation_at));
                    let (violations, balances) = audited(rows.0, rows.1, rows.2, view, &told);
                    let remembered =
                        now == (None, None, Some(R::Withheld)) || now == (None, Some(P::Canceled), Some(R::Withheld));
                    assert_eq!(violations.is_empty(), fair.contains(&now) || remembered, "{now:?} {violations:?}");
                    assert!(!violations.is_empty() || balances, "{now:?}");
                }
            }
        }
    }

    #[test]
    fn is_audited_for_whose_it_is_and_what_is_seen() {
        let order = || Some(order_at(OrderStatus::Ordered));
        let payment = || payment_at(PaymentStatus::Paid);
        let reservation = || reservation_at(ReservationStatus::Confirmed);
        let view = || Infomation {
            order_id: Some(Reference::Number(2)),
            order_status: Some(OrderStatus::Ordered),
            pay_status: Some(PaymentStatus::Paid),
            reservation_status: Some(ReservationStatus::Confirmed),
            ..Infomation::row(7)
        };
        let told = [Kind::Ordered, Kind::Paid, Kind::ReservationConfirmed];
        let wrong = |payment, reservation, view| audited(order(), Some(payment), Some(reservation), view, &told).0;
        assert_eq!(wrong(payment(), reservation(), Some(view())), [""; 0]);
        assert_eq!(wrong(payment(), reservation(), None).len(), 1, "the view shows nothing");
        let late = Infomation { reservation_status: None, ..view() };
        assert_eq!(wrong(payment(), reservation(), Some(late)).len(), 1, "the view is behind");
        let others = Payment { enrollment: Enrollment { customer_id: None, ..enrollment() }, ..payment() };
        assert_eq!(wrong(others, reservation(), Some(view())), ["the payment is for another order"]);
        let others = Enrollment { order_id: text("2"), ..enrollment() };
        let others = Reservation { enrollment: others, ..reservation() };
        assert_eq!(wrong(payment(), others, Some(view())), ["the reservation is for another order"]);
        let started = Some(Order { course_started: true, ..order_at(OrderStatus::Ordered) });
        let (violations, _) = audited(started, Some(payment()), Some(reservation()), Some(view()), &told);
        assert_eq!(violations, ["order and reservation disagree on whether the course has started"]);
        let wrong_messages =
            |told: &[Kind]| audited(order(), Some(payment()), Some(reservation()), Some(view()), told).0.len();
        assert_eq!(wrong_messages(&told), 0);
        for left_out in 0..told.len() {
            let some: Vec<_> = told.iter().copied().filter(|kind| *kind != told[left_out]).collect();
            assert_ne!(wrong_messages(&some), 0, "{:?} is missing", told[left_out]);
        }
        for again in told.into_iter().chain([Kind::OrderCanceled, Kind::PaymentDelayed, Kind::PaymentCanceled]) {
            assert_ne!(wrong_messages(&[&told[..], &[again]].concat()), 0, "{again:?} is sent twice, or not due");
        }
    }
}

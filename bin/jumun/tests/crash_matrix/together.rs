//! The cells of questions that go to a neighbour in one request: many order at once, and a service dies while it has questions
//! of several of them in hand.

use super::{Lab, Trap};
use crate::lab::{Insistent, basket};
use std::collections::BTreeSet;

/// Enough that questions of those who order at once become ready at once.
const CUSTOMERS: usize = 12;

/// Customers order one thing after another until a service dies at this point, and insist on all of it: each has one order and
/// one payment for each.
async fn dies(service: &str, point: &'static str) {
    let mut lab = Lab::new();
    // Customers who insist would open the circuit before the one who died is back: each would wait for that.
    lab.order.set("order.calls.payment.breaker.minimum_calls=1000000");
    lab.service(service).start_with(Trap::Dies(point)).await;
    lab.start().await;
    let crowd = Insistent::ordering(CUSTOMERS, &lab.order.client(), &basket("떡볶이", 4_000));
    lab.service(service).wait_until_dead().await;
    crowd.stop();
    lab.start().await;
    let orders = crowd.orders().await;
    let mut ids = BTreeSet::new();
    for (told, customer) in &orders {
        assert_eq!(told.answer.status, 201, "{told:?}");
        assert!(ids.insert(told.answer.id()), "two customers have one order: {told:?}");
        let again = customer.ask_once().await.expect("an answer");
        assert_eq!((again.status, again.body), (201, told.answer.body.clone()), "the same key, the same answer");
    }
    lab.assert_the_promise().await;
    let standing = lab.attempts("order").iter().filter(|attempt| attempt.stands()).count();
    assert_eq!(standing, ids.len(), "one key, one order");
}

macro_rules! cells {
    ($($name:ident: $service:literal, $point:literal;)*) => {
        /// All points that are tested here.
        pub(super) fn points() -> impl Iterator<Item = String> {
            [$($point),*].into_iter().map(|point| point.split(':').next().unwrap_or_default().to_owned())
        }

        $(
            #[tokio::test]
            async fn $name() {
                dies($service, $point).await;
            }
        )*
    };
}

cells! {
    order_dies_before_any_question_is_noted: "order", "asking.before-commit:30";
    order_dies_with_some_questions_on_their_way: "order", "asking.after-commit:30";
    order_dies_once_it_has_asked_for_several: "order", "together.sent";
    order_dies_with_the_first_of_several_answers: "order", "together.answered";
    order_dies_between_the_outcomes_of_several: "order", "outcome.after-commit:30";
    payment_dies_before_it_has_looked_at_all_questions: "payment", "ask.received:31";
    payment_dies_before_several_payments_stand: "payment", "decided.before-commit:31";
    payment_dies_before_it_has_answered_all: "payment", "decided.after-commit:31";
}

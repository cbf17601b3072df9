//! The business, specified by example: given these events, when this is wanted, then that happens.

use jumun::given::given;
use jumun::{Id, Name, Rejection, Won};

use shop::events::Event;
use shop::order::{self, Basket, Order, Stage};
use shop::payment::{self, PAY, Pay, Payment};

fn price() -> Won {
    Won::new(3_000).expect("an amount")
}

fn basket() -> Basket {
    Basket {
        item: Name::new("tea").expect("a name"),
        price: price(),
    }
}

fn order(stage: Stage) -> Order {
    let Basket { item, price } = basket();
    Order {
        id: Id::new(7).expect("an id"),
        item,
        price,
        stage,
    }
}

fn pay() -> Pay {
    Pay {
        order: Id::new(7).expect("an id"),
        amount: price(),
    }
}

fn payment(returned: bool) -> Payment {
    Payment {
        id: pay().order.cast(),
        amount: price(),
        returned,
    }
}

#[test]
fn an_order_stands_once_it_is_paid() {
    given::<Order>([])
        .when(7, order::Command::Place(basket()))
        .then_asks(&PAY, &pay())
        .answered(&payment(false))
        .then([Event::Ordered(order(Stage::Ordered))]);
}

#[test]
fn there_is_no_order_without_its_payment() {
    given::<Order>([])
        .when(7, order::Command::Place(basket()))
        .then_asks(&PAY, &pay())
        .unavailable()
        .then_rejected(Rejection::Unavailable("payment"));
}

#[test]
fn an_order_is_cancelled_once() {
    let (ordered, canceled) = (
        Event::Ordered(order(Stage::Ordered)),
        Event::OrderCanceled(order(Stage::Canceled)),
    );
    given::<Order>([ordered.clone()])
        .when(7, order::Command::Cancel)
        .then([canceled.clone()]);
    given::<Order>([ordered, canceled])
        .when(7, order::Command::Cancel)
        .then_rejected(Rejection::Conflict(
            "this order is cancelled already".into(),
        ));
}

#[test]
fn a_payment_is_taken_once_and_returned_once() {
    let (paid, returned) = (
        Event::Paid(payment(false)),
        Event::PaymentReturned(payment(true)),
    );
    given::<Payment>([])
        .when(7, payment::Command::Take(pay()))
        .then([paid.clone()]);
    given::<Payment>([paid.clone()])
        .when(7, payment::Command::Take(pay()))
        .then_rejected(Rejection::Conflict("this order is paid already".into()));
    given::<Payment>([paid.clone()])
        .when(7, payment::Command::Return)
        .then([returned.clone()]);
    given::<Payment>([paid, returned])
        .when(7, payment::Command::Return)
        .then([]);
}

//! Book rental, specified by example.

use book_rental::{
    book::{self, Book, Change, LOOK, Look, NewBook, StockAdded},
    delivery::{self, Delivery, DeliveryStatus},
    events::Event,
    hold::{self, Hold, HoldStatus, StockReturned, StockTaken, TAKE, Take},
    rental::{self, Rental, RentalStatus, Wish},
    reserve::{self, Reserve, ReserveStatus},
};
use jumun::{Count, Id, Name, Quantity, Reference, Rejection, Time, TimeLimit, Won, given::given};
use proptest::prelude::*;
use std::time::Duration;

fn id<T>(id: i64) -> Id<T> {
    Id::new(id).expect("an id")
}

fn qty(number: i64) -> Quantity {
    Quantity::new(number).expect("a quantity")
}

fn conflict(why: &'static str) -> Rejection {
    Rejection::Conflict(why.into())
}

fn invalid(field: &str, why: &'static str) -> Rejection {
    Rejection::Invalid { field: Some(field.to_owned()), why: why.into() }
}

fn new_book(stock: i64) -> NewBook {
    NewBook {
        name: Name::new("CLOCK").expect("a name"),
        price: Won::new(50_000).expect("an amount"),
        stock: Count::new(stock).expect("a count"),
        image_url: None,
    }
}

fn added(stock: i64) -> Event {
    Book::added(id(5), new_book(stock))
}

fn take(number: i64) -> Take {
    Take { rental_id: id(7), book_id: id(5), qty: qty(number) }
}

fn taken(rental: i64, number: i64) -> Event {
    let (book_name, price) = (new_book(0).name, Won::new(50_000 * number).expect("an amount"));
    Event::StockTaken(StockTaken { rental_id: id(rental), book_id: id(5), book_name, qty: qty(number), price })
}

fn returned(number: i64, status: HoldStatus) -> Event {
    Event::StockReturned(StockReturned { rental_id: id(7), book_id: id(5), qty: qty(number), status })
}

fn stock(events: impl IntoIterator<Item = Event>) -> (i64, i64) {
    let book = given::<Book>(events).state(5).expect("a book");
    (book.stock.get(), book.owned.get())
}

fn rental_at(status: RentalStatus) -> Rental {
    Rental {
        id: id(7),
        wish: Wish {
            book_id: id(5),
            qty: qty(2),
            customer_id: Some(Reference::Text("kim".to_owned())),
            customer_name: None,
        },
        book_name: new_book(0).name,
        price: Won::new(100_000).expect("an amount"),
        status,
    }
}

fn held() -> Hold {
    given::<Hold>([taken(7, 2)]).state(7).expect("a hold")
}

fn delivery_at(status: DeliveryStatus) -> Delivery {
    let Wish { customer_id, customer_name, qty, .. } = rental_at(RentalStatus::Rented).wish;
    Delivery { id: id(7), rental_id: id(7), customer_id, customer_name, qty, status }
}

fn reserve_at(status: ReserveStatus) -> Reserve {
    let wish = reserve::Wish { book_id: id(5), qty: qty(1), customer_id: None };
    let ready_dt = (status != ReserveStatus::Waiting).then_some(Time::EPOCH);
    Reserve { id: id(3), wish, status, ready_dt, reason: None }
}

#[test]
fn the_system_has_no_problems_and_five_books() {
    assert_eq!(book_rental::system().problems(), []);
    let books: Vec<_> = (1..=5).map(|nth| given::<Book>(Book::seed()).state(nth).expect("a book")).collect();
    let shown: Vec<_> = books.iter().map(|it| (it.name.as_str(), it.price.get(), it.stock.get())).collect();
    assert_eq!(shown[0], ("TV", 10_000, 10));
    assert_eq!(shown[4], ("CLOCK", 50_000, 50));
}

mod a_book {
    use super::*;

    #[test]
    fn is_bought_in_and_written_off() {
        given::<Book>([]).when(5, book::Command::Add(new_book(3))).then([added(3)]);
        let change = |stock| book::Command::Change(Change { stock: Count::new(stock), ..Change::default() });
        for (stock, qty) in [(10, 7), (0, -3)] {
            let count = Count::new(stock).expect("a count");
            let book = Book { stock: count, owned: count, ..given::<Book>([added(3)]).state(5).expect("a book") };
            given::<Book>([added(3)]).when(5, change(stock)).then([Event::StockAdded(StockAdded {
                book_id: id(5),
                qty,
                book,
            })]);
        }
        given::<Book>([added(3)]).when(5, change(3)).then([]);
        given::<Book>([]).when(5, change(3)).then_rejected(Rejection::NotFound);
    }

    #[test]
    fn keeps_what_rentals_hold_when_its_stock_changes() {
        let change = Change { stock: Count::new(0), ..Change::default() };
        let after = given::<Book>([added(3), taken(7, 2)]).when(5, book::Command::Change(change));
        let book = Book {
            stock: Count::new(0).expect("a count"),
            owned: Count::new(2).expect("a count"),
            ..{ given::<Book>([added(3), taken(7, 2)]).state(5).expect("a book") }
        };
        after.then([Event::StockAdded(StockAdded { book_id: id(5), qty: -1, book })]);
    }

    #[test]
    fn changes_its_price_without_a_change_of_stock() {
        let change = Change { price: Won::new(1), ..Change::default() };
        let book =
            Book { price: Won::new(1).expect("an amount"), ..{ given::<Book>([added(3)]).state(5).expect("a book") } };
        given::<Book>([added(3)]).when(5, book::Command::Change(change)).then([Event::BookChanged(book)]);
    }

    #[test]
    fn that_a_reader_looks_for_is_there_or_not() {
        given::<Book>([added(3)]).when(5, book::Command::Look).then([]);
        given::<Book>([]).when(5, book::Command::Look).then_rejected(invalid("bookId", "there is no such book"));
        given::<Book>([]).when(5, book::Command::Forget).then([]);
    }
}

mod a_hold {
    use super::*;

    #[test]
    fn takes_copies_from_stock_once() {
        given::<Hold>([added(3)]).when(7, hold::Command::Take(take(2))).then([taken(7, 2)]);
        assert_eq!(stock([added(3), taken(7, 2)]), (1, 3));
        given::<Hold>([added(3), taken(7, 2)])
            .when(7, hold::Command::Take(take(2)))
            .then_rejected(conflict("copies were taken for this rental already"));
    }

    #[test]
    fn takes_the_last_copies_and_no_more() {
        given::<Hold>([added(3)]).when(7, hold::Command::Take(take(3))).then([taken(7, 3)]);
        given::<Hold>([added(3)])
            .when(7, hold::Command::Take(take(4)))
            .then_rejected(conflict("there are not enough copies in stock"));
        given::<Hold>([added(3), taken(6, 2)])
            .when(7, hold::Command::Take(take(2)))
            .then_rejected(conflict("there are not enough copies in stock"));
    }

    #[test]
    fn of_an_unknown_book_is_refused_by_its_field() {
        given::<Hold>([])
            .when(7, hold::Command::Take(take(1)))
            .then_rejected(invalid("bookId", "there is no such book"));
    }

    #[test]
    fn is_put_back_once_by_a_void_a_cancel_or_a_return() {
        let history = || [added(3), taken(7, 2)];
        given::<Hold>(history()).when(7, hold::Command::Void).then([returned(2, HoldStatus::Voided)]);
        given::<Hold>(history()).when(7, hold::Command::PutBack).then([returned(2, HoldStatus::Returned)]);
        for status in [HoldStatus::Voided, HoldStatus::Returned] {
            for again in [hold::Command::Void, hold::Command::PutBack] {
                let [first, second] = history();
                given::<Hold>([first, second, returned(2, status)]).when(7, again).then([]);
            }
        }
        given::<Hold>([]).when(7, hold::Command::Void).then([]);
        assert_eq!(stock([added(3), taken(7, 2), returned(2, HoldStatus::Voided)]), (3, 3));
    }
}

mod a_rental {
    use super::*;

    #[test]
    fn takes_copies_first_and_has_name_and_price_from_the_book() {
        let wish = rental_at(RentalStatus::Rented).wish;
        given::<Rental>([])
            .when(7, rental::Command::Rent(wish))
            .then_asks(&TAKE, &take(2))
            .answered(&held())
            .then([Event::Rented(rental_at(RentalStatus::Rented))]);
    }

    #[test]
    fn does_not_stand_without_its_copies() {
        let rent = || {
            given::<Rental>([])
                .when(7, rental::Command::Rent(rental_at(RentalStatus::Rented).wish))
                .then_asks(&TAKE, &take(2))
        };
        let why = conflict("there are not enough copies in stock");
        rent().refused(why.clone()).then_rejected(why);
        rent().unavailable().then_rejected(Rejection::Unavailable("book"));
    }

    #[test]
    fn is_cancelled_or_returned_once() {
        let rented = || Event::Rented(rental_at(RentalStatus::Rented));
        let canceled = || Event::RentalCanceled(rental_at(RentalStatus::Canceled));
        let brought_back = || Event::BookReturned(rental_at(RentalStatus::Returned));
        given::<Rental>([rented()]).when(7, rental::Command::Cancel).then([canceled()]);
        given::<Rental>([rented()]).when(7, rental::Command::Return).then([brought_back()]);
        for command in [rental::Command::Cancel, rental::Command::Return] {
            for (history, why) in [
                (vec![rented(), canceled()], conflict("this rental is cancelled")),
                (vec![rented(), brought_back()], conflict("the books are returned already")),
                (vec![], Rejection::NotFound),
            ] {
                given::<Rental>(history).when(7, command.clone()).then_rejected(why);
            }
        }
    }

    #[test]
    fn follows_its_delivery_and_never_goes_back() {
        let rented = || Event::Rented(rental_at(RentalStatus::Rented));
        let sent = || Event::DeliveryCreated(delivery_at(DeliveryStatus::Created));
        let status = |events: Vec<Event>| given::<Rental>(events).state(7).expect("a rental").status;
        assert_eq!(status(vec![rented(), sent()]), RentalStatus::DeliveryCreated);
        let canceled = Event::RentalCanceled(rental_at(RentalStatus::Canceled));
        assert_eq!(status(vec![rented(), canceled, sent()]), RentalStatus::Canceled);
    }
}

mod a_delivery {
    use super::*;

    #[test]
    fn is_created_once_and_cancelled_once() {
        let create = || delivery::Command::Create(rental_at(RentalStatus::Rented));
        let created = || Event::DeliveryCreated(delivery_at(DeliveryStatus::Created));
        let canceled = || Event::DeliveryCanceled(delivery_at(DeliveryStatus::Canceled));
        given::<Delivery>([]).when(7, create()).then([created()]);
        given::<Delivery>([created()]).when(7, create()).then([]);
        given::<Delivery>([created()]).when(7, delivery::Command::Cancel).then([canceled()]);
        given::<Delivery>([created(), canceled()]).when(7, delivery::Command::Cancel).then([]);
        given::<Delivery>([]).when(7, delivery::Command::Cancel).then([]);
    }
}

mod a_reservation {
    use super::*;

    fn reserved() -> Event {
        Event::Reserved(reserve_at(ReserveStatus::Waiting))
    }

    fn ready() -> Event {
        Event::ReserveReady(reserve_at(ReserveStatus::Ready))
    }

    #[test]
    fn is_made_for_a_book_that_is_there() {
        let reserve = || {
            given::<Reserve>([])
                .when(3, reserve::Command::Reserve(reserve_at(ReserveStatus::Waiting).wish))
                .then_asks(&LOOK, &Look { book_id: id(5) })
        };
        let book = given::<Book>([added(3)]).state(5).expect("a book");
        reserve().answered(&book).then([reserved()]);
        let why = invalid("bookId", "there is no such book");
        reserve().refused(why.clone()).then_rejected(why);
        reserve().unavailable().then_rejected(Rejection::Unavailable("book"));
    }

    #[test]
    fn is_offered_a_copy_once() {
        given::<Reserve>([reserved()]).when(3, reserve::Command::Offer).then([ready()]);
        given::<Reserve>([reserved(), ready()]).when(3, reserve::Command::Offer).then([]);
    }

    #[test]
    fn that_is_not_fetched_in_time_is_cancelled_with_the_reason() {
        let reason = Some(reserve::Reason::NotFetchedInTime);
        let expired = Event::ReserveCanceled(Reserve { reason, ..reserve_at(ReserveStatus::Canceled) });
        given::<Reserve>([reserved(), ready()]).when(3, reserve::Command::Expire).then([expired.clone()]);
        let hold_for = TimeLimit::new(Duration::from_hours(1)).expect("a limit");
        let limited = |history: Vec<Event>| given::<Reserve>(history).with(reserve::Settings { hold_for });
        let offered = vec![reserved(), ready()];
        assert_eq!(given::<Reserve>(offered.clone()).waits(3), None, "no limit is set");
        assert_eq!(limited(offered.clone()).waits(3), Some(("hold_for", Duration::from_hours(1))));
        limited(offered).time_out(3, "hold_for").then([expired.clone()]);
        for history in [vec![reserved()], vec![reserved(), ready(), expired]] {
            assert_eq!(limited(history.clone()).waits(3), None, "nothing is offered");
            limited(history).when(3, reserve::Command::Expire).then([]);
        }
    }

    #[test]
    fn is_fulfilled_by_a_rental_or_cancelled() {
        let fulfilled = Event::ReserveFulfilled(reserve_at(ReserveStatus::Fulfilled));
        given::<Reserve>([reserved(), ready()]).when(3, reserve::Command::Fulfil).then([fulfilled.clone()]);
        given::<Reserve>([reserved(), ready(), fulfilled])
            .when(3, reserve::Command::Cancel)
            .then_rejected(conflict("the customer has rented the book"));
        let canceled = Event::ReserveCanceled(reserve_at(ReserveStatus::Canceled));
        given::<Reserve>([reserved(), ready()]).when(3, reserve::Command::Cancel).then([canceled.clone()]);
        given::<Reserve>([reserved(), ready(), canceled])
            .when(3, reserve::Command::Cancel)
            .then_rejected(conflict("this reservation is cancelled already"));
    }
}

/// What people do to book 5.
#[derive(Debug, Clone)]
enum Deed {
    Take(i64, i64),
    PutBack(i64),
    SetStock(i64),
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        (1..8_i64, 1..6_i64).prop_map(|(rental, qty)| Deed::Take(rental, qty)),
        (1..8_i64).prop_map(Deed::PutBack),
        (0..6_i64).prop_map(Deed::SetStock),
    ];
    proptest::collection::vec(deed, 0..30)
}

proptest! {
    #[test]
    fn stock_is_never_below_zero_and_no_copy_is_lost(deeds in deeds()) {
        let mut history = vec![added(3)];
        for deed in deeds {
            let events = match deed {
                Deed::Take(rental, number) => {
                    let take = Take { rental_id: id(rental), book_id: id(5), qty: qty(number) };
                    given::<Hold>(history.clone()).when(rental, hold::Command::Take(take)).events()
                }
                Deed::PutBack(rental) => {
                    given::<Hold>(history.clone()).when(rental, hold::Command::PutBack).events()
                }
                Deed::SetStock(stock) => {
                    let change = Change { stock: Count::new(stock), ..Change::default() };
                    given::<Book>(history.clone()).when(5, book::Command::Change(change)).events()
                }
            };
            history.extend(events.unwrap_or_default());
            let (stock, owned) = stock(history.clone());
            let held: i64 = (1..8)
                .filter_map(|rental| given::<Hold>(history.clone()).state(rental))
                .filter(|hold| hold.status == HoldStatus::Held)
                .map(|hold| hold.taken.qty.get())
                .sum();
            prop_assert!(stock >= 0);
            prop_assert_eq!(stock + held, owned);
        }
    }
}

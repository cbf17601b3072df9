//! Every step at which a process can die, and what customers and books look like afterwards.
//!
//! A cell is a step and a customer: one who repeats the request with its `Idempotency-Key` until the answer is final, or
//! one without a key, who simply sends a new one. What must hold afterwards is section 3 of the design: an order stands
//! if and only if its payment does.
//!
//! Then every step of telling and hearing events: a cell is a service that dies there, and what has happened. What must
//! hold: everybody hears of it, once.

#[path = "crash_matrix/delayed.rs"]
mod delayed;
#[path = "crash_matrix/each.rs"]
mod each;
mod lab;
#[path = "crash_matrix/nested.rs"]
mod nested;
#[path = "crash_matrix/together.rs"]
mod together;

use http::Method;
use lab::{Attempt, Client, Customer, Deed, LONG, Lab, Told, Trap, basket, wait_until};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};
use tokio::task::JoinHandle;

/// Something that happens to a customer's request.
#[derive(Debug, Clone, Copy)]
enum Plot {
    /// A service dies at this point while an order is placed; this is what becomes of the first attempt.
    Placing(&'static str, &'static str, First),
    /// The order service dies at this point while an order is cancelled. True: the cancellation stands already.
    Cancelling(&'static str, bool),
    /// The order service has died and left this; then a service dies at this point while it is undone.
    Undoing(&'static str, &'static str, Left),
}

/// What becomes of the attempt that was hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    /// No trace is left of it.
    Vanished,
    /// It never was an order, and nobody paid for it.
    NeverPaid,
    /// It never was an order. It was paid for, and the money was given back.
    PaidAndUndone,
    /// It is an order.
    Stands,
}

/// What a service leaves behind when it dies.
#[derive(Debug, Clone, Copy)]
enum Left {
    /// A question that was never sent.
    Unasked,
    /// A payment for an order that does not stand.
    Paid,
}

impl Left {
    const fn by_dying_at(self) -> &'static str {
        match self {
            Self::Unasked => "asking.after-commit",
            Self::Paid => "call.after-answer",
        }
    }

    const fn becomes(self) -> First {
        match self {
            Self::Unasked => NeverPaid,
            Self::Paid => PaidAndUndone,
        }
    }
}

const WITH_A_KEY: Option<&str> = Some("a-key-of-the-customer");
const WITHOUT_A_KEY: Option<&str> = None;

macro_rules! cells {
    ($($name:ident: $plot:expr;)*) => {
        const CELLS: &[Plot] = &[$($plot),*];
        $(
            mod $name {
                use super::*;

                #[tokio::test]
                async fn with_a_key_there_is_one_order_and_one_answer() {
                    play($plot, WITH_A_KEY).await;
                }

                #[tokio::test]
                async fn without_a_key_every_yes_has_its_order() {
                    play($plot, WITHOUT_A_KEY).await;
                }
            }
        )*
    };
}

use First::{NeverPaid, PaidAndUndone, Stands, Vanished};
use Left::{Paid, Unasked};
use Plot::{Cancelling, Placing, Undoing};

cells! {
    order_dies_before_it_has_noted_the_question: Placing("order", "asking.before-commit", Vanished);
    order_dies_before_it_has_asked: Placing("order", "asking.after-commit", NeverPaid);
    order_dies_with_the_answer_in_hand: Placing("order", "call.after-answer", PaidAndUndone);
    order_dies_before_the_order_stands: Placing("order", "outcome.before-commit", PaidAndUndone);
    order_dies_before_it_has_said_that_the_order_stands: Placing("order", "outcome.after-commit", Stands);

    payment_dies_before_it_has_looked_at_the_question: Placing("payment", "ask.received", NeverPaid);
    payment_dies_before_the_payment_stands: Placing("payment", "decided.before-commit", NeverPaid);
    payment_dies_before_it_has_said_that_the_payment_stands: Placing("payment", "decided.after-commit", PaidAndUndone);

    order_dies_before_the_cancellation_stands: Cancelling("decided.before-commit", false);
    order_dies_before_it_has_said_that_the_cancellation_stands: Cancelling("decided.after-commit", true);

    order_dies_again_before_it_has_recovered: Undoing("order", "recovery.before-commit", Paid);
    order_dies_again_once_it_has_recovered: Undoing("order", "recovery.after-commit", Paid);
    order_dies_again_before_it_takes_a_payment_back: Undoing("order", "void.before-call", Paid);
    order_dies_again_once_a_payment_is_taken_back: Undoing("order", "void.after-answer", Paid);
    order_dies_again_once_it_has_noted_that_a_payment_is_taken_back: Undoing("order", "void.after-commit", Paid);
    payment_dies_when_it_is_to_give_money_back: Undoing("payment", "undo.received", Paid);
    payment_dies_before_it_has_given_money_back: Undoing("payment", "undo.before-commit", Paid);
    payment_dies_once_it_has_given_money_back: Undoing("payment", "undo.after-commit", Paid);

    order_dies_again_before_it_has_recovered_an_unsent_question: Undoing("order", "recovery.before-commit", Unasked);
    order_dies_again_once_it_has_recovered_an_unsent_question: Undoing("order", "recovery.after-commit", Unasked);
    order_dies_again_before_it_takes_an_unsent_question_back: Undoing("order", "void.before-call", Unasked);
    order_dies_again_once_an_unsent_question_is_taken_back: Undoing("order", "void.after-answer", Unasked);
    order_dies_again_once_it_has_noted_that_an_unsent_question_is_taken_back: Undoing("order", "void.after-commit", Unasked);
    payment_dies_when_a_question_it_never_got_is_taken_back: Undoing("payment", "undo.received", Unasked);
    payment_dies_before_it_remembers_to_refuse_a_question: Undoing("payment", "undo.before-commit", Unasked);
    payment_dies_once_it_remembers_to_refuse_a_question: Undoing("payment", "undo.after-commit", Unasked);
}

/// Somebody who dies while an event is told or heard, and what was done.
type Death = (&'static str, &'static str, Deed);

macro_rules! deaths {
    ($($name:ident: $victim:literal, [$($point:ident: $at:literal),*], $deed:expr;)*) => {
        const DEATHS: &[Death] = &[$($(($victim, $at, $deed)),*),*];
        $(
            mod $name {
                use super::*;
                $(
                    #[tokio::test]
                    async fn $point() {
                        die(($victim, $at, $deed)).await;
                    }
                )*
            }
        )*
    };
}

use Deed::{Cancel, Cook, PickUp, Place};

deaths! {
    order_tells_that_an_order_is_placed: "order", [before: "relay.before-append", after: "relay.after-append"], Place;
    order_tells_that_an_order_is_cancelled: "order", [before: "relay.before-append", after: "relay.after-append"], Cancel;
    order_hears_that_the_shop_confirms: "order", [before: "heard.before-commit", after: "heard.after-commit"], Place;
    order_hears_that_it_is_cooked: "order", [before: "heard.before-commit", after: "heard.after-commit"], Cook;
    order_hears_that_a_rider_has_it: "order", [before: "heard.before-commit", after: "heard.after-commit"], PickUp;

    payment_tells_that_an_order_is_paid: "payment", [before: "relay.before-append", after: "relay.after-append"], Place;
    payment_tells_that_money_is_given_back: "payment", [before: "relay.before-append", after: "relay.after-append"], Cancel;
    payment_hears_that_an_order_is_cancelled: "payment", [before: "heard.before-commit", after: "heard.after-commit"], Cancel;

    store_tells_that_it_confirms: "store", [before: "relay.before-append", after: "relay.after-append"], Place;
    store_tells_that_it_is_cooked: "store", [before: "relay.before-append", after: "relay.after-append"], Cook;
    store_tells_that_it_stops: "store", [before: "relay.before-append", after: "relay.after-append"], Cancel;
    store_hears_that_an_order_is_placed: "store", [before: "heard.before-commit", after: "heard.after-commit"], Place;
    store_hears_that_an_order_is_cancelled: "store", [before: "heard.before-commit", after: "heard.after-commit"], Cancel;

    delivery_tells_that_a_rider_is_called: "delivery", [before: "relay.before-append", after: "relay.after-append"], Cook;
    delivery_tells_that_a_rider_has_it: "delivery", [before: "relay.before-append", after: "relay.after-append"], PickUp;
    delivery_hears_that_it_is_cooked: "delivery", [before: "heard.before-commit", after: "heard.after-commit"], Cook;
    delivery_hears_that_an_order_is_cancelled: "delivery", [before: "heard.before-commit", after: "heard.after-commit"], Cancel;

    dashboard_hears_that_an_order_is_placed: "dashboard", [before: "heard.before-commit", after: "heard.after-commit"], Place;
    dashboard_hears_that_it_is_cooked: "dashboard", [before: "heard.before-commit", after: "heard.after-commit"], Cook;
    dashboard_hears_that_an_order_is_cancelled: "dashboard", [before: "heard.before-commit", after: "heard.after-commit"], Cancel;
}

async fn die((victim, point, deed): Death) {
    let mut lab = Lab::all_running().await;
    let mut id = 0;
    for before in Deed::WAY.into_iter().take_while(|before| *before != deed) {
        if before == Place || deed != Cancel {
            id = lab.have_done(before, id).await;
        }
    }
    lab.die_over(deed, id, victim, &[point]).await;
    lab.assert_the_promise().await;
}

async fn play(plot: Plot, key: Option<&'static str>) {
    let mut lab = Lab::new();
    // Customers who insist would open the circuit before the one who died is back: each would wait for that.
    lab.order.set("order.calls.payment.breaker.minimum_calls=1000000");
    match plot {
        Placing(service, point, first) => {
            lab.service(service).start_with(Trap::Dies(point)).await;
            lab.start().await;
            let customer = order(&lab, key);
            lab.service(service).wait_until_dead().await;
            if service == "payment" {
                // Else the question, asked again over a new connection, would find the next process.
                let given_up = async || lab.attempts("order").iter().any(|attempt| attempt.state.starts_with("void"));
                wait_until(LONG, "the order is given up", given_up).await;
            }
            lab.start().await;
            assert_one_order(&mut lab, customer, first).await;
        }
        Undoing(service, point, left) => {
            lab.payment.start().await;
            lab.order.start_with(Trap::Dies(left.by_dying_at())).await;
            let customer = order(&lab, key);
            lab.order.wait_until_dead().await;
            if service == "payment" {
                lab.payment.kill();
            }
            lab.service(service).start_with(Trap::Dies(point)).await;
            if service == "payment" {
                lab.order.start().await;
            }
            lab.service(service).wait_until_dead().await;
            lab.start().await;
            assert_one_order(&mut lab, customer, left.becomes()).await;
        }
        Cancelling(point, stands_already) => cancel(lab, point, stands_already, key).await,
    }
}

/// A customer who orders, beside what happens to the services.
fn order(lab: &Lab, key: Option<&str>) -> JoinHandle<(Customer, Told)> {
    let customer = Customer::ordering(lab.order.client(), key, basket("김치찌개", 22_000));
    tokio::spawn(async move {
        let told = customer.insist().await;
        (customer, told)
    })
}

/// The customer has an order, the attempt that was hit is what it is to be, and the promise holds.
async fn assert_one_order(lab: &mut Lab, customer: JoinHandle<(Customer, Told)>, first: First) {
    let (customer, told) = customer.await.expect("a customer");
    let orders = lab.order.client();
    assert!(!told.before.is_empty(), "nothing has happened to this customer");
    let answer = told.answer;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.header("location"), Some(&*format!("/orders/{}", answer.id())));
    let shown = orders.get(&format!("/orders/{}", answer.id())).await;
    assert_eq!((shown.status, &shown.body), (200, &answer.body), "a yes and its order");

    lab.assert_the_promise().await;
    let attempts = lab.attempts("order");
    let standing: Vec<&Attempt> = attempts.iter().filter(|attempt| attempt.stands()).collect();
    let hit = &attempts[0];
    match first {
        Vanished => assert!(attempts.iter().all(Attempt::stands), "{attempts:?}"),
        Stands => assert!(hit.stands(), "{hit:?}"),
        NeverPaid | PaidAndUndone => {
            assert_eq!(hit.state, "voided", "{hit:?}");
            assert_eq!(hit.key, None, "the key went on to the attempt that succeeded");
            assert_ne!(hit.subject, answer.id());
            assert_eq!(orders.get(&format!("/orders/{}", hit.subject)).await.problem(), "not-found");
        }
    }
    let payment = lab.payment.client().get(&format!("/payinfos/{}", hit.subject)).await;
    match first {
        NeverPaid => assert_eq!(payment.problem(), "not-found"),
        PaidAndUndone => assert_eq!(payment.json()["status"], "VOIDED"),
        Vanished | Stands => assert_eq!(payment.json()["status"], "APPROVED"),
    }

    if customer.key.is_some() {
        assert_eq!(standing.len(), 1, "one key, one order: {attempts:?}");
        assert_eq!(standing[0].subject, answer.id());
        if first == Stands {
            assert_eq!(attempts.len(), 1, "the answer was given again, nothing was done again: {attempts:?}");
        }
        let again = customer.ask_once().await.expect("an answer");
        assert_eq!((again.status, again.header("location")), (201, answer.header("location")));
        assert_eq!(again.body, answer.body, "the same key, the same answer, byte by byte");
        assert_eq!(lab.attempts("order").len(), attempts.len(), "a repeat is no new attempt");
    } else {
        // Whoever has no key and hears nothing orders again: what they did not hear of stands, too, and is paid.
        assert!(standing.iter().any(|attempt| attempt.subject == answer.id()), "{attempts:?}");
        assert!(standing.len() <= told.before.len() + 1, "more orders than were sent: {attempts:?}");
    }
}

async fn cancel(mut lab: Lab, point: &'static str, stands_already: bool, key: Option<&str>) {
    lab.start().await;
    let orders = lab.order.client();
    let order = orders.post("/orders", &basket("비빔밥", 9_000)).await;
    assert_eq!(order.status, 201, "{order:?}");
    lab.order.kill();
    lab.order.start_with(Trap::Dies(point)).await;

    let path = format!("/orders/{}", order.id());
    let key = key.map(str::to_owned);
    let customer = Customer::new(orders.clone(), key, Method::DELETE, path.clone());
    let cancelling = tokio::spawn({
        let customer = customer.clone();
        async move { customer.insist().await }
    });
    lab.order.wait_until_dead().await;
    lab.start().await;
    let told = cancelling.await.expect("a customer");

    assert!(!told.before.is_empty(), "nothing has happened to this customer");
    if customer.key.is_some() || !stands_already {
        assert_eq!((told.answer.status, told.answer.body.len()), (204, 0), "{told:?}");
    } else {
        assert_eq!(told.answer.problem(), "conflict", "it was cancelled already, by the same customer");
    }
    if customer.key.is_some() {
        let again = customer.ask_once().await.expect("an answer");
        assert_eq!((again.status, again.body.len()), (204, 0), "{again:?}");
    }
    assert_eq!(orders.get(&path).await.json()["orderStatus"], "CANCELED");
    let events: Vec<_> = lab.journal("order").into_iter().map(|event| event.event_type).collect();
    assert_eq!(events, ["Ordered", "OrderCanceled"]);
    assert_eq!(lab.asks(), Vec::<Value>::new());
    lab.assert_the_promise().await;
    let expected = ["ORDER_CANCELED", "CANCELED", "CANCELED", "-", "ORDER_CANCELED"];
    assert_eq!(lab.stations(order.id()).await.words(), expected, "all of it is given back");
}

// ---- neighbours that outlive their askers

/// Long enough that a question is not too old when a stalled service goes on.
const PATIENT: &str = "order.calls.payment.time_limit=20s";

async fn wait_until_paid(payments: &Client, id: i64) {
    wait_until(LONG, "the payment stands", async || {
        let payment = payments.get(&format!("/payinfos/{id}")).await;
        payment.status == 200 && payment.json()["status"] == "APPROVED"
    })
    .await;
}

/// The order service dies while payment is at this point; payment goes on while nobody waits for it any more.
async fn payment_outlives_its_asker(point: &'static str, key: Option<&str>) {
    let mut lab = Lab::new();
    lab.order.set(PATIENT);
    lab.payment.start_with(Trap::Stalls(point)).await;
    lab.order.start().await;
    let customer = order(&lab, key);
    lab.payment.wait_until_stalled().await;
    lab.order.kill();
    lab.payment.go_on();
    wait_until_paid(&lab.payment.client(), 1).await;
    lab.order.start().await;
    assert_one_order(&mut lab, customer, PaidAndUndone).await;
}

/// The same, but the order service is back, and takes the question back, before payment goes on.
async fn payment_goes_on_while_it_is_told_to_undo(key: Option<&str>) {
    let mut lab = Lab::new();
    lab.order.set(PATIENT);
    lab.payment.start_with(Trap::Stalls("ask.received")).await;
    lab.order.start().await;
    let customer = order(&lab, key);
    lab.payment.wait_until_stalled().await;
    lab.order.kill();
    lab.order.start().await;
    wait_until(LONG, "the question is being taken back", async || {
        lab.asks().iter().any(|ask| ask["state"] == "voiding")
    })
    .await;
    lab.payment.go_on();
    let (_, told) = customer.await.expect("a customer");
    assert_eq!(told.answer.status, 201, "{told:?}");
    lab.assert_the_promise().await;
    assert!(!lab.attempts("order")[0].stands());
}

/// The order service stands still, with the answer in hand, until its question is given up; then it goes on.
async fn order_sleeps_through_its_own_time_limit(point: &'static str, key: Option<&str>) {
    let mut lab = Lab::with(&["order.calls.payment.time_limit=100ms"]);
    lab.payment.start().await;
    lab.order.start_with(Trap::Stalls(point)).await;
    let customer = order(&lab, key);
    lab.order.wait_until_stalled().await;
    let until_ms = lab.attempts("order")[0].until_ms;
    wait_until(LONG, "its time is up", async || jiff::Timestamp::now().as_millisecond() > until_ms + 100).await;
    lab.order.go_on();
    let (_, told) = customer.await.expect("a customer");
    assert_eq!(told.answer.status, 201, "{told:?}");
    lab.assert_the_promise().await;
    let standing = lab.attempts("order").iter().filter(|attempt| attempt.stands()).count();
    assert_eq!(standing, 1, "the late answer counts or is undone, never both");
}

macro_rules! with_and_without_a_key {
    ($($name:ident($($argument:expr),*): $play:ident;)*) => {
        $(
            mod $name {
                use super::*;

                #[tokio::test]
                async fn with_a_key() {
                    $play($($argument,)* WITH_A_KEY).await;
                }

                #[tokio::test]
                async fn without_a_key() {
                    $play($($argument,)* WITHOUT_A_KEY).await;
                }
            }
        )*
    };
}

with_and_without_a_key! {
    a_payment_that_finishes_after_its_asker_died_is_found_and_undone("ask.received"): payment_outlives_its_asker;
    an_answer_to_an_asker_that_died_is_found_and_undone("decided.after-commit"): payment_outlives_its_asker;
    a_question_and_its_undo_that_arrive_together_end_in_nothing(): payment_goes_on_while_it_is_told_to_undo;
    a_process_that_slept_with_the_answer_in_hand_decides_once("call.after-answer"): order_sleeps_through_its_own_time_limit;
    a_process_that_slept_before_its_commit_decides_once("outcome.before-commit"): order_sleeps_through_its_own_time_limit;
}

/// A process that dies many times in a row at the same place: nobody is undone twice, nothing is given up.
#[tokio::test]
async fn a_payment_is_undone_once_however_often_both_die_over_it() {
    let mut lab = Lab::new();
    lab.payment.start().await;
    lab.order.start_with(Trap::Dies("call.after-answer")).await;
    let customer = order(&lab, WITH_A_KEY);
    lab.order.wait_until_dead().await;
    for (service, point) in [
        ("order", "recovery.before-commit"),
        ("order", "recovery.after-commit"),
        ("order", "void.before-call"),
        ("payment", "undo.received"),
        ("payment", "undo.before-commit"),
        ("payment", "undo.after-commit"),
        ("order", "void.after-answer"),
    ] {
        if lab.service(service).is_alive() {
            lab.service(service).kill();
        }
        lab.service(service).start_with(Trap::Dies(point)).await;
        let other = if service == "order" { "payment" } else { "order" };
        if !lab.service(other).is_alive() {
            lab.service(other).start().await;
        }
        lab.service(service).wait_until_dead().await;
        if service == "payment" {
            lab.order.kill(); // or it would have it undone before it can die over it once more
        }
    }
    lab.start().await;
    assert_one_order(&mut lab, customer, PaidAndUndone).await;
}

// ---- nothing is left out

/// Every point in the product, by the text of its sources.
fn points_in_the_product() -> BTreeSet<String> {
    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = Vec::new();
    for part in ["crates", "systems", "bin"] {
        for member in fs::read_dir(root.join(part)).expect("a folder") {
            let source = member.expect("an entry").path().join("src");
            if source.is_dir() {
                sources(&source, &mut found);
            }
        }
    }
    let mut points = BTreeSet::new();
    for path in found {
        let text = fs::read_to_string(&path).expect("a source");
        for rest in text.split("crash::point(").skip(1) {
            let name = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
            points.insert(
                name.unwrap_or_else(|| panic!("a point without a plain name in {}", path.display())).to_owned(),
            );
        }
    }
    points
}

#[test]
fn the_matrix_has_every_point_of_the_product_and_no_other() {
    let tested: BTreeSet<String> = CELLS
        .iter()
        .map(|plot| match plot {
            Placing(_, point, _) | Cancelling(point, _) | Undoing(_, point, _) => (*point).to_owned(),
        })
        .chain(DEATHS.iter().map(|(_, point, _)| (*point).to_owned()))
        .chain(delayed::points())
        .chain(together::points())
        .collect();
    let mut points = points_in_the_product();
    // Where these die is told in `views.rs` and `timeouts.rs`.
    let elsewhere = ["rebuild.", "base.", "retention.", "time-out."];
    points.retain(|point| !elsewhere.iter().any(|of| point.starts_with(of)));
    assert_eq!(tested, points);
}

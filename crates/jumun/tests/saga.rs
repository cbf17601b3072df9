//! The saga kit, on a system whose asks nest (order → payment → mileage) and that can be made wrong in many ways: the kit
//! must find each of them.

use jumun::{
    Aggregate, Answers, Ask, Case, Context, Decision, Findings, Id, NoSettings, Rejection, Resource, Service, System,
    SystemModel, Won, conflict, emit, not_found, nothing,
    saga::{Action, Explored, ReplyOutcome, Saga},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const PAY: Ask<Pay, Payment> = Ask::post("payment", "/pays");
const EARN: Ask<Pay, Mileage> = Ask::post("mileage", "/mileages");

jumun::published_language! {
    enum Event, On {
        order(by id): Ordered(Order), OrderCanceled(Order);
        payment(by id): Paid(Payment), PaymentCanceled(Payment);
        mileage(by id): MileageAdded(Mileage), MileageRemoved(Mileage);
    }
}

const EXAMPLES: &str = r#"{"eventType":"Ordered","id":1,"price":1,"active":true}
{"eventType":"OrderCanceled","id":1,"price":1,"active":false}
{"eventType":"Paid","id":1,"price":1,"active":true}
{"eventType":"PaymentCanceled","id":1,"price":1,"active":false}
{"eventType":"MileageAdded","id":1,"price":1,"active":true}
{"eventType":"MileageRemoved","id":1,"price":1,"active":false}"#;

/// What the payment does wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Defect {
    #[default]
    None,
    KeepsTheMoney,
    DoesNotUndo,
    GivesBackTwice,
    TakesTooMuch,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Settings {
    defect: Defect,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Pay {
    id: Id<Order>,
    price: Won,
}

#[derive(Debug, Clone, Deserialize)]
struct Basket {
    price: Won,
}

#[derive(Debug, Clone)]
enum Command {
    Place(Basket),
    Do(Pay),
    Undo,
    Cancel,
}

macro_rules! row {
    ($($name:ident)*) => { $(
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        struct $name {
            id: Id<$name>,
            price: Won,
            active: bool,
        }

        impl Answers<Pay> for $name {
            fn answers(&self, pay: &Pay) -> bool {
                self.id == pay.id.cast() && self.active
            }
        }
    )* };
}
row!(Order Payment Mileage);

impl Aggregate for Order {
    type Command = Command;
    type Event = Event;
    type Settings = NoSettings;

    const HEARS: &'static [On] = &[On::Ordered, On::OrderCanceled];

    fn decide(order: Option<&Order>, command: Command, ctx: &Context<'_, Order>) -> Decision<Event> {
        match (command, order) {
            (Command::Place(Basket { price }), None) => {
                ctx.ask(&PAY, Pay { id: ctx.id, price })?;
                emit(Event::Ordered(Order { id: ctx.id, price, active: true }))
            }
            (Command::Cancel, Some(order)) if order.active => {
                emit(Event::OrderCanceled(Order { active: false, ..order.clone() }))
            }
            (_, Some(_)) => conflict("not now"),
            (_, None) => not_found(),
        }
    }

    fn evolve(_: Option<Order>, event: &Event) -> Option<Order> {
        let (Event::Ordered(order) | Event::OrderCanceled(order)) = event else { unreachable!() };
        Some(order.clone())
    }
}

impl Aggregate for Payment {
    type Command = Command;
    type Event = Event;
    type Settings = Settings;

    const HEARS: &'static [On] = &[On::Paid, On::PaymentCanceled, On::OrderCanceled];

    fn react(event: &Event) -> Option<Command> {
        matches!(event, Event::OrderCanceled(_)).then_some(Command::Cancel)
    }

    fn decide(payment: Option<&Payment>, command: Command, ctx: &Context<'_, Payment>) -> Decision<Event> {
        let defect = ctx.settings.defect;
        match (command, payment) {
            (Command::Do(pay), None) => {
                ctx.ask(&EARN, pay.clone())?;
                let price = Won::new(pay.price.get() + i64::from(defect == Defect::TakesTooMuch)).expect("an amount");
                emit(Event::Paid(Payment { id: ctx.id, price, active: true }))
            }
            (Command::Cancel, _) if defect == Defect::KeepsTheMoney => nothing(),
            (Command::Undo, _) if defect == Defect::DoesNotUndo => nothing(),
            (Command::Cancel | Command::Undo, Some(payment)) if payment.active || defect == Defect::GivesBackTwice => {
                emit(Event::PaymentCanceled(Payment { active: false, ..payment.clone() }))
            }
            (Command::Cancel | Command::Undo, _) => nothing(),
            (_, _) => conflict("paid before"),
        }
    }

    fn evolve(payment: Option<Payment>, event: &Event) -> Option<Payment> {
        match event {
            Event::Paid(payment) | Event::PaymentCanceled(payment) => Some(payment.clone()),
            _ => payment,
        }
    }
}

impl Aggregate for Mileage {
    type Command = Command;
    type Event = Event;
    type Settings = NoSettings;

    const HEARS: &'static [On] = &[On::MileageAdded, On::MileageRemoved, On::PaymentCanceled];

    fn react(event: &Event) -> Option<Command> {
        matches!(event, Event::PaymentCanceled(_)).then_some(Command::Undo)
    }

    fn decide(mileage: Option<&Mileage>, command: Command, ctx: &Context<'_, Mileage>) -> Decision<Event> {
        match (command, mileage) {
            (Command::Do(pay), None) => {
                emit(Event::MileageAdded(Mileage { id: ctx.id, price: pay.price, active: true }))
            }
            (Command::Undo, Some(mileage)) if mileage.active => {
                emit(Event::MileageRemoved(Mileage { active: false, ..mileage.clone() }))
            }
            (Command::Undo, _) => nothing(),
            (_, _) => conflict("earned before"),
        }
    }

    fn evolve(mileage: Option<Mileage>, event: &Event) -> Option<Mileage> {
        match event {
            Event::MileageAdded(mileage) | Event::MileageRemoved(mileage) => Some(mileage.clone()),
            _ => mileage,
        }
    }
}

fn audit(case: &Case<'_>) -> Findings {
    let mut findings = Findings::default();
    let (order, payment) = (case.row::<Order>(), case.row::<Payment>());
    let active = order.as_ref().is_some_and(|order| order.active);
    if payment.as_ref().is_some_and(|payment| payment.active) != active {
        findings.violation("payment and order differ");
    }
    if case.row::<Mileage>().is_some_and(|mileage| mileage.active) != active {
        findings.violation("mileage and order differ");
    }
    findings.add("money", payment.filter(|payment| payment.active).map_or(0, |payment| payment.price.get()));
    findings.add("prices", order.filter(|order| order.active).map_or(0, |order| order.price.get()));
    findings
}

fn system() -> SystemModel {
    let order = Resource::<Order>::at("/orders").on_post(Command::Place).on_delete(Command::Cancel);
    let payment = Resource::<Payment>::at("/pays").on_ask(&PAY, |pay| pay.id.cast(), Command::Do, Command::Undo);
    let mileage = Resource::<Mileage>::at("/mileages").on_ask(&EARN, |pay| pay.id.cast(), Command::Do, Command::Undo);
    System::new("breakfast", EXAMPLES)
        .service(Service::new("order", 1).aggregate(order).asks(&PAY))
        .service(Service::new("payment", 2).aggregate(payment).asks(&EARN))
        .service(Service::new("mileage", 3).aggregate(mileage))
        .audit(audit)
        .ledger("money", &["prices"])
        .build()
}

const CANCEL: Action = Action::delete("/orders");

fn saga(defect: &str) -> Saga {
    Saga::new(system(), Action::post("/orders", r#"{"price":100}"#)).set("payment", "defect", defect).actions([CANCEL])
}

/// What an exploration finds, and how it got there.
fn found(defect: &str) -> (Vec<String>, Vec<String>) {
    let found = saga(defect).try_explore().expect_err("it is wrong");
    (found.violations, found.steps)
}

mod a_correct_system {
    use super::*;

    #[test]
    fn is_explored_and_clean() {
        let saga = saga("none");
        let explored = saga.explore();
        assert_eq!(explored, Explored { states: 16, quiet: 6 });
        saga.each_step_fails();
        saga.each_undo_repeats();
        let canceled = saga.deliver(&saga.act(&saga.begin(), &CANCEL).expect("it is allowed"));
        saga.each_step_repeats(&canceled);
        assert_eq!(canceled.field("/mileages", "active"), "false");
    }

    #[test]
    fn undoes_nested_asks_too() {
        let saga = saga("none");
        let (state, result) = saga.begin_with(ReplyOutcome::Lost);
        assert_eq!(result, Err(Rejection::Unavailable("payment")));
        assert!(state.is_undoing());
        let undone = saga.reply(&state, ReplyOutcome::Voided).expect("the payment is undone");
        assert_eq!(
            (undone.field("/pays", "active"), undone.field("/mileages", "active")),
            ("false".into(), "true".into())
        );
        assert!(undone.is_undoing(), "the payment undoes what it asked for");
        let undone = saga.reply(&undone, ReplyOutcome::Voided).expect("the mileage is undone");
        assert_eq!(undone.field("/mileages", "active"), "false");
        assert_eq!(saga.violations(&undone), Vec::<String>::new());
    }

    #[test]
    fn is_left_as_it_was_by_what_is_refused() {
        let saga = saga("none");
        for outcome in [ReplyOutcome::Refused, ReplyOutcome::NotDone] {
            assert_eq!(saga.begin_with(outcome).0, saga.nothing());
        }
        assert_eq!(saga.act(&saga.nothing(), &CANCEL), Err(Rejection::NotFound));
        assert_eq!(saga.reply(&saga.begin(), ReplyOutcome::Voided), None, "no ask is pending");
    }
}

mod a_defect_is_found {
    use super::*;

    #[test]
    fn when_a_policy_does_not_compensate_with_the_shortest_way_there() {
        let (violations, steps) = found("keeps_the_money");
        assert_eq!(violations, ["payment and order differ", "mileage and order differ"]);
        assert_eq!(steps.len(), 3, "{steps:?}");
        assert_eq!(steps[0], "POST /orders, asks: [Accepted, Accepted]");
        assert!(steps.contains(&"DELETE /orders/7".to_owned()), "{steps:?}");
        assert!(steps.contains(&"payment applies OrderCanceled".to_owned()), "{steps:?}");
    }

    #[test]
    fn when_an_undo_does_nothing() {
        let (violations, steps) = found("does_not_undo");
        assert!(violations.contains(&"payment and order differ".to_owned()));
        assert!(steps[0].starts_with("POST /orders, asks: [Lost"), "{steps:?}");
    }

    #[test]
    fn when_the_ledger_does_not_balance() {
        let (violations, _) = found("takes_too_much");
        assert!(violations[0].starts_with("the ledger does not balance"), "{violations:?}");
    }

    #[test]
    fn when_an_event_is_published_twice() {
        let saga = saga("gives_back_twice");
        let canceled = saga.deliver(&saga.act(&saga.begin(), &CANCEL).expect("it is allowed"));
        assert_eq!(saga.violations(&canceled), Vec::<String>::new());
        assert_eq!(saga.violations(&saga.undo(&canceled, "/pays")), ["PaymentCanceled of 7 was published twice"]);
    }

    #[test]
    fn by_a_check_of_the_team() {
        let saga = saga("none").check(|state| {
            let is_paid = !state.field("/pays", "active").is_empty();
            if is_paid { vec!["it is paid".into()] } else { Vec::new() }
        });
        assert_eq!(saga.try_explore().expect_err("a finding").violations, ["it is paid"]);
    }
}

mod the_standard_tests_fail {
    use super::*;

    #[test]
    #[should_panic(expected = "payment and order differ")]
    fn on_an_undo_that_does_nothing() {
        saga("does_not_undo").each_step_fails();
    }

    #[test]
    #[should_panic(expected = "undoes twice")]
    fn on_an_undo_that_does_not_repeat() {
        saga("gives_back_twice").each_undo_repeats();
    }

    #[test]
    #[should_panic(expected = "PaymentCanceled")]
    fn on_a_step_that_does_not_repeat() {
        let saga = saga("gives_back_twice");
        let canceled = saga.act(&saga.begin(), &CANCEL).expect("it is allowed");
        saga.each_step_repeats(&saga.deliver(&canceled));
    }

    #[test]
    #[should_panic(expected = "DELETE /orders/7")]
    fn with_the_way_to_what_is_wrong() {
        saga("keeps_the_money").explore();
    }

    #[test]
    #[should_panic(expected = "NotAnswered")]
    fn on_a_system_with_problems() {
        let order = Resource::<Order>::at("/orders").on_post(Command::Place);
        let order = Service::new("order", 1).aggregate(order).asks(&PAY);
        Saga::new(System::new("half", EXAMPLES).service(order).build(), Action::post("/orders", "{}"));
    }
}

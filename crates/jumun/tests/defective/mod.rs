//! A system that can be made wrong in many ways: an order needs its payment.

use jumun::{
    Aggregate, Answers, Ask, Case, Context, Decision, Findings, Id, Name, Resource, Service, System, SystemModel, Won,
    conflict, emit, not_found, nothing,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) const PAY: Ask<Pay, Payment> = Ask::post("payment", "/pays", |pay| pay.id.cast());

jumun::published_language! {
    pub(crate) enum Event, On {
        order(by id): Ordered(Order), OrderCanceled(Order);
        payment(by id): Paid(Payment), PaymentCanceled(Payment);
    }
}

pub(crate) const EXAMPLES: &str = r#"{"eventType":"Ordered","timestamp":0,"id":1,"customer":"kim","price":1,"active":true}
{"eventType":"OrderCanceled","timestamp":0,"id":1,"customer":"kim","price":1,"active":false}
{"eventType":"Paid","timestamp":0,"id":1,"price":1,"active":true}
{"eventType":"PaymentCanceled","timestamp":0,"id":1,"price":1,"active":false}"#;

/// What the payment does wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Defect {
    #[default]
    None,
    KeepsTheMoney,
    DoesNotUndo,
    GivesBackTwice,
    TakesTooMuch,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Settings {
    defect: Defect,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Pay {
    id: Id<Order>,
    price: Won,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(crate) struct Basket {
    customer: Name,
    price: Won,
}

#[derive(Debug, Clone)]
pub(crate) enum Command {
    Place(Basket),
    Do(Pay),
    Undo,
    Cancel,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Order {
    id: Id<Order>,
    customer: Name,
    price: Won,
    active: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Payment {
    id: Id<Payment>,
    price: Won,
    active: bool,
}

impl Answers<Pay> for Payment {
    fn answers(&self, pay: &Pay) -> bool {
        self.id == pay.id.cast() && self.active
    }
}

impl Aggregate for Order {
    type Terms = (Command, Event);

    const HEARS: &'static [On] = &[On::Ordered, On::OrderCanceled];

    fn decide(order: Option<&Order>, command: Command, ctx: &Context<'_, Order>) -> Decision<Event> {
        match (command, order) {
            (Command::Place(Basket { customer, price }), None) => {
                ctx.ask(&PAY, Pay { id: ctx.id, price })?;
                emit(Event::Ordered(Order { id: ctx.id, customer, price, active: true }))
            }
            (Command::Cancel, Some(order)) if order.active => {
                emit(Event::OrderCanceled(Order { active: false, ..order.clone() }))
            }
            (_, Some(_)) => conflict("not now"),
            (_, None) => not_found(),
        }
    }
}

impl Aggregate for Payment {
    type Terms = (Command, Event, Settings);

    const HEARS: &'static [On] = &[On::Paid, On::PaymentCanceled, On::OrderCanceled];

    fn react(event: &Event) -> Option<Command> {
        matches!(event, Event::OrderCanceled(_)).then_some(Command::Cancel)
    }

    fn decide(payment: Option<&Payment>, command: Command, ctx: &Context<'_, Payment>) -> Decision<Event> {
        let defect = ctx.settings.defect;
        match (command, payment) {
            (Command::Do(pay), None) => {
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
}

fn audit(case: &Case<'_>) -> Findings {
    let mut findings = Findings::default();
    let (order, payment) = (case.row::<Order>(), case.row::<Payment>());
    let active = order.as_ref().is_some_and(|order| order.active);
    if payment.as_ref().is_some_and(|payment| payment.active) != active {
        findings.violation("payment and order differ");
    }
    findings.add("money", payment.filter(|payment| payment.active).map_or(0, |payment| payment.price.get()));
    findings.add("prices", order.filter(|order| order.active).map_or(0, |order| order.price.get()));
    findings
}

pub(crate) fn system() -> SystemModel {
    let order = Resource::<Order>::at("/orders").on_post(Command::Place).on_delete(Command::Cancel);
    let payment = Resource::<Payment>::at("/pays").on_ask(&PAY, Command::Do, Command::Undo);
    System::new("defective", EXAMPLES)
        .service(Service::new("order", 1).aggregate(order).asks(&PAY))
        .service(Service::new("payment", 2).aggregate(payment))
        .audit(audit)
        .ledger("money", &["prices"])
        .build()
}

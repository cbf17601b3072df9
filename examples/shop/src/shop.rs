//! A shop: an order stands if and only if it is paid. A cancelled order gets its money back.

use jumun::{
    Aggregate, Answers, Ask, Case, Context, Decision, Findings, Id, LoadLine, Name, NoSettings, ReadModel, Resource,
    Service, System, SystemModel, View, Won, conflict, emit, not_found, nothing,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

jumun::published_language! {
    /// The events of the shop, and which service publishes each.
    pub enum Event, EventKind {
        order(by id): Ordered(Order), OrderCanceled(Order);
        payment(by id): Paid(Payment), PaymentReturned(Payment);
    }
}

/// What a customer ordered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Order {
    id: Id<Order>,
    item: Name,
    price: Won,
    stage: Stage,
}

/// How far an order is. It only rises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Stage {
    Ordered,
    Canceled,
}

/// What a customer sends.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Basket {
    item: Name,
    price: Won,
}

/// The commands of an order.
#[derive(Debug, Clone)]
pub enum OrderCommand {
    Place(Basket),
    Cancel,
}

impl Aggregate for Order {
    type Command = OrderCommand;
    type Event = Event;
    type Settings = NoSettings;

    const HEARS: &'static [EventKind] = &[EventKind::Ordered, EventKind::OrderCanceled];

    fn decide(order: Option<&Order>, command: OrderCommand, ctx: &Context<'_, Order>) -> Decision<Event> {
        match (command, order) {
            (OrderCommand::Place(Basket { item, price }), None) => {
                ctx.ask(&PAY, Pay { order: ctx.id, amount: price })?;
                emit(Event::Ordered(Order { id: ctx.id, item, price, stage: Stage::Ordered }))
            }
            (OrderCommand::Place(_), Some(_)) => conflict("this order was placed already"),
            (OrderCommand::Cancel, Some(order)) if order.stage == Stage::Canceled => {
                conflict("this order is cancelled already")
            }
            (OrderCommand::Cancel, Some(order)) => {
                emit(Event::OrderCanceled(Order { stage: Stage::Canceled, ..order.clone() }))
            }
            (OrderCommand::Cancel, None) => not_found(),
        }
    }

    fn evolve(known: Option<Order>, event: &Event) -> Option<Order> {
        match event {
            Event::Ordered(order) | Event::OrderCanceled(order) => Some(order.clone()),
            _ => known,
        }
    }
}

/// The question of an order to the payment service.
const PAY: Ask<Pay, Payment> = Ask::post("payment", "/payments");

/// Take this amount for this order.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Pay {
    order: Id<Order>,
    amount: Won,
}

/// The money of one order. It has the order's id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Payment {
    id: Id<Payment>,
    amount: Won,
    returned: bool,
}

impl Answers<Pay> for Payment {
    fn answers(&self, pay: &Pay) -> bool {
        (self.id, self.amount, self.returned) == (pay.order.cast(), pay.amount, false)
    }
}

/// The commands of a payment.
#[derive(Debug, Clone)]
pub enum PaymentCommand {
    Take(Pay),
    Return,
}

impl Aggregate for Payment {
    type Command = PaymentCommand;
    type Event = Event;
    type Settings = NoSettings;

    const HEARS: &'static [EventKind] = &[EventKind::Paid, EventKind::PaymentReturned, EventKind::OrderCanceled];

    fn react(event: &Event) -> Option<PaymentCommand> {
        matches!(event, Event::OrderCanceled(_)).then_some(PaymentCommand::Return)
    }

    fn decide(payment: Option<&Payment>, command: PaymentCommand, ctx: &Context<'_, Payment>) -> Decision<Event> {
        match (command, payment) {
            (PaymentCommand::Take(Pay { amount, .. }), None) => {
                emit(Event::Paid(Payment { id: ctx.id, amount, returned: false }))
            }
            (PaymentCommand::Take(_), Some(_)) => conflict("this order is paid already"),
            (PaymentCommand::Return, Some(payment)) if !payment.returned => {
                emit(Event::PaymentReturned(Payment { returned: true, ..payment.clone() }))
            }
            (PaymentCommand::Return, _) => nothing(),
        }
    }

    fn evolve(known: Option<Payment>, event: &Event) -> Option<Payment> {
        match event {
            Event::Paid(payment) | Event::PaymentReturned(payment) => Some(payment.clone()),
            _ => known,
        }
    }
}

/// An order and its payment in one row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Receipt {
    id: i64,
    item: Option<Name>,
    stage: Option<Stage>,
    paid: Option<Won>,
}

impl View for Receipt {
    type Event = Event;

    const HEARS: &'static [EventKind] = &[EventKind::Ordered, EventKind::OrderCanceled, EventKind::Paid];

    fn row(id: i64) -> Self {
        Self { id, item: None, stage: None, paid: None }
    }

    fn fold(&mut self, event: &Event) {
        match event {
            Event::Ordered(order) => {
                self.item = Some(order.item.clone());
                self.stage = self.stage.max(Some(Stage::Ordered));
            }
            Event::OrderCanceled(_) => self.stage = Some(Stage::Canceled),
            Event::Paid(payment) => self.paid = Some(payment.amount),
            Event::PaymentReturned(_) => {}
        }
    }

    fn shown(&self) -> bool {
        self.item.is_some()
    }
}

/// What must be true of every order: there is money if and only if there is an order that is not cancelled.
fn audit(case: &Case<'_>) -> Findings {
    let mut findings = Findings::default();
    let (order, payment) = (case.row::<Order>(), case.row::<Payment>());
    let due = order.as_ref().filter(|order| order.stage == Stage::Ordered).map(|order| order.price);
    let held = payment.as_ref().filter(|payment| !payment.returned).map(|payment| payment.amount);
    if due != held {
        findings.violation(format_args!("due is {due:?}, held is {held:?}"));
    }
    let shown = case.row::<Receipt>().filter(View::shown).and_then(|receipt| receipt.stage);
    if shown != order.map(|order| order.stage) {
        findings.violation(format_args!("the receipt shows {shown:?}"));
    }
    if let Some(payment) = payment {
        findings.add("taken", payment.amount.get());
        findings.add(if payment.returned { "returned" } else { "held" }, payment.amount.get());
    }
    findings
}

/// The system: three services. Routes, tables, subscriptions and checks derive from the types.
pub fn system() -> SystemModel {
    let orders = Resource::<Order>::at("/orders").on_post(OrderCommand::Place).on_delete(OrderCommand::Cancel);
    let pay = PaymentCommand::Take;
    let payments =
        Resource::<Payment>::at("/payments").on_ask(&PAY, |pay| pay.order.cast(), pay, PaymentCommand::Return);
    System::new("shop", include_str!("examples.jsonl"))
        .about("A customer orders and pays; a cancelled order gets its money back.")
        .service(Service::new("order", 8081).aggregate(orders).asks(&PAY))
        .service(Service::new("payment", 8082).aggregate(payments))
        .service(Service::new("receipt", 8083).view(ReadModel::<Receipt>::at("/receipts")))
        .audit(audit)
        .ledger("taken", &["held", "returned"])
        .load(LoadLine {
            path: "/orders",
            body: r#"{"item":"tea","price":3000}"#,
            canceled: Some(("stage", "Canceled")),
            finished: Some(("/receipts", ("stage", "Ordered"))),
        })
        .build()
}

#[cfg(test)]
mod tests {
    use super::system;
    use jumun::saga::{Action, Saga};

    #[test]
    fn whatever_happens_to_an_order_the_audit_is_clean() {
        let place = Action::post("/orders", r#"{"item":"tea","price":3000}"#);
        let saga = Saga::new(system(), place).actions([Action::delete("/orders")]);
        assert!(saga.explore().states > 10);
        saga.each_step_fails();
        saga.each_undo_repeats();
    }
}

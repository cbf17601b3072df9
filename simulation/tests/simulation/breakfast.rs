//! A system whose asks nest: an order needs its payment, a payment its mileage.

use jumun::{
    Aggregate, Answers, Ask, Case, Context, Decision, Findings, Id, Name, NoSettings, Resource, Service, System,
    SystemModel, Won, conflict, declined, emit, nothing,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const PAY: Ask<Pay, Payment> = Ask::post("payment", "/pays");
const EARN: Ask<Pay, Mileage> = Ask::post("mileage", "/mileages");

jumun::published_language! {
    pub(super) enum Event, On {
        order(by id): Ordered(Order);
        payment(by id): Paid(Payment), PayCancelled(Payment);
        mileage(by id): MileageAdded(Mileage), MileageRemoved(Mileage);
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Order {
    id: Id<Order>,
    customer_id: Name,
    amount: Won,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Payment {
    id: Id<Payment>,
    amount: Won,
    stands: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Mileage {
    id: Id<Mileage>,
    points: Won,
    stands: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Basket {
    customer_id: Name,
    amount: Won,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Pay {
    id: Id<Order>,
    amount: Won,
}

impl Answers<Pay> for Payment {
    fn answers(&self, pay: &Pay) -> bool {
        (self.id.get(), self.amount, self.stands) == (pay.id.get(), pay.amount, true)
    }
}

impl Answers<Pay> for Mileage {
    fn answers(&self, pay: &Pay) -> bool {
        self.id.get() == pay.id.get() && self.stands
    }
}

#[derive(Debug, Clone)]
pub(super) enum Command {
    Do(Pay),
    Undo,
}

impl Aggregate for Order {
    type Command = Basket;
    type Event = Event;
    type Settings = NoSettings;

    const HEARS: &'static [On] = &[On::Ordered];

    fn decide(order: Option<&Order>, basket: Basket, ctx: &Context<'_, Order>) -> Decision<Event> {
        if order.is_some() {
            return conflict("ordered before");
        }
        ctx.ask(&PAY, Pay { id: ctx.id, amount: basket.amount })?;
        emit(Event::Ordered(Order { id: ctx.id, customer_id: basket.customer_id, amount: basket.amount }))
    }

    fn evolve(_: Option<Order>, event: &Event) -> Option<Order> {
        if let Event::Ordered(order) = event { Some(order.clone()) } else { None }
    }
}

impl Aggregate for Payment {
    type Command = Command;
    type Event = Event;
    type Settings = NoSettings;

    const HEARS: &'static [On] = &[On::Paid, On::PayCancelled];

    fn decide(payment: Option<&Payment>, command: Command, ctx: &Context<'_, Payment>) -> Decision<Event> {
        match (command, payment) {
            (Command::Do(pay), None) => {
                ctx.ask(&EARN, pay.clone())?;
                emit(Event::Paid(Payment { id: ctx.id, amount: pay.amount, stands: true }))
            }
            (Command::Do(_), Some(_)) => conflict("paid before"),
            (Command::Undo, Some(payment)) if payment.stands => {
                emit(Event::PayCancelled(Payment { stands: false, ..payment.clone() }))
            }
            (Command::Undo, _) => nothing(),
        }
    }

    fn evolve(payment: Option<Payment>, event: &Event) -> Option<Payment> {
        match event {
            Event::Paid(payment) | Event::PayCancelled(payment) => Some(payment.clone()),
            _ => payment,
        }
    }
}

impl Aggregate for Mileage {
    type Command = Command;
    type Event = Event;
    type Settings = NoSettings;

    const HEARS: &'static [On] = &[On::MileageAdded, On::MileageRemoved];

    fn decide(mileage: Option<&Mileage>, command: Command, ctx: &Context<'_, Mileage>) -> Decision<Event> {
        match (command, mileage) {
            (Command::Do(pay), None) if pay.amount.get() == 0 => declined("nothing to earn"),
            (Command::Do(pay), None) => {
                emit(Event::MileageAdded(Mileage { id: ctx.id, points: pay.amount, stands: true }))
            }
            (Command::Do(_), Some(_)) => conflict("earned before"),
            (Command::Undo, Some(mileage)) if mileage.stands => {
                emit(Event::MileageRemoved(Mileage { stands: false, ..mileage.clone() }))
            }
            (Command::Undo, _) => nothing(),
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
    let stands = case.row::<Order>().is_some();
    let mut findings = Findings::default();
    if case.row::<Payment>().is_some_and(|payment| payment.stands) != stands {
        findings.violation("the payment does not exist exactly if its order does");
    }
    if case.row::<Mileage>().is_some_and(|mileage| mileage.stands) != stands {
        findings.violation("the mileage does not exist exactly if its order does");
    }
    findings
}

pub(super) fn model() -> SystemModel {
    let payment = Resource::<Payment>::at("/pays").on_ask(&PAY, |pay| pay.id.cast(), Command::Do, Command::Undo);
    let mileage = Resource::<Mileage>::at("/mileages").on_ask(&EARN, |pay| pay.id.cast(), Command::Do, Command::Undo);
    System::new("breakfast", "")
        .service(
            Service::new("order", 1).aggregate(Resource::<Order>::at("/orders").on_post(|basket| basket)).asks(&PAY),
        )
        .service(Service::new("payment", 2).aggregate(payment).asks(&EARN))
        .service(Service::new("mileage", 3).aggregate(mileage))
        .audit(audit)
        .build()
}

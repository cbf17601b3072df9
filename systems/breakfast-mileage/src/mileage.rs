//! The mileage of one payment: earned when the payment asks for it, removed when the payment is cancelled or was never made.

use crate::events::{Event, EventKind as On};
use crate::order::Order;
use crate::payment::Pay;
use jumun::prelude::*;

/// Earn mileage before a payment is taken.
pub const EARN: Ask<Earn, Mileage> = Ask::post("mileage", "/mileages", |earn| earn.pay_id.cast());

jumun::documents! {
    /// The payment, and what it counts.
    pub struct Earn {
        /// The payment.
        pub pay_id: Id<Pay>,
        /// The order that the payment names, if any.
        pub order_id: Option<Id<Order>>,
        /// The amount: the points at a rate of 1.
        pub cnt: Won,
    }

    /// The mileage of one payment.
    pub struct Mileage {
        /// The payment's id.
        pub id: Id<Mileage>,
        /// The payment.
        pub pay_id: Id<Pay>,
        /// The order that the payment names, if any.
        pub order_id: Option<Id<Order>>,
        /// The points that it earned.
        pub cnt: i64,
        /// The points for each won when it was earned.
        #[serde(default = "one")]
        pub rate: u8,
        /// Its status.
        pub status: MileageStatus,
    }
}

impl Answers<Earn> for Mileage {
    fn answers(&self, asked: &Earn) -> bool {
        let due = asked.cnt.get() * i64::from(self.rate);
        (self.pay_id, self.cnt, self.status) == (asked.pay_id, due, MileageStatus::Earned)
    }
}

/// The status of mileage. It only rises, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum MileageStatus {
    /// Earned.
    Earned,
    /// Taken away.
    Removed,
}

/// The commands of mileage.
#[derive(Debug, Clone)]
pub enum Command {
    /// A payment earns it.
    Earn(Earn),
    /// The payment was cancelled, or was never made.
    Remove,
}

/// What an operator can set.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    /// The points for each won, 0 to 255. Mileage that is earned already keeps its rate.
    pub rate: u8,
}

impl Default for Settings {
    fn default() -> Self {
        Self { rate: one() }
    }
}

const fn one() -> u8 {
    1
}

impl Aggregate for Mileage {
    type Terms = (Command, Event, Settings);

    const HEARS: &'static [On] = &[On::MileageAdded, On::MileageRemoved, On::PayCancelled];

    fn react(event: &Event) -> Option<Command> {
        matches!(event, Event::PayCancelled(_)).then_some(Command::Remove)
    }

    fn decide(mileage: Option<&Mileage>, command: Command, ctx: &Context<'_, Mileage>) -> Decision<Event> {
        match (command, mileage) {
            (Command::Earn(Earn { pay_id, order_id, cnt }), None) => {
                let rate = ctx.settings.rate;
                let (cnt, status) = (cnt.get() * i64::from(rate), MileageStatus::Earned);
                emit(Event::MileageAdded(Mileage { id: ctx.id, pay_id, order_id, cnt, rate, status }))
            }
            (Command::Earn(_), Some(_)) => conflict("this payment has earned its mileage already"),
            (Command::Remove, Some(mileage)) if mileage.status == MileageStatus::Earned => {
                emit(Event::MileageRemoved(Mileage { status: MileageStatus::Removed, ..mileage.clone() }))
            }
            (Command::Remove, _) => nothing(),
        }
    }
}

jumun::documents! {
    /// What a customer sees of the mileage of a payment.
    pub struct MileageView {
        /// The payment's id.
        pub id: i64,
        /// The payment.
        pub pay_id: i64,
        /// The order that the payment names, if any.
        pub order_id: Option<Id<Order>>,
        /// The points that count: 0 once they are removed.
        pub cnt: i64,
        /// The status of the mileage.
        pub status: MileageStatus,
    }
}

impl View for MileageView {
    type Event = Event;

    const HEARS: &'static [On] = &[On::MileageAdded, On::MileageRemoved];

    fn row(id: i64) -> Self {
        Self { id, pay_id: id, order_id: None, cnt: 0, status: MileageStatus::Earned }
    }

    fn fold(&mut self, event: &Event) {
        if let Event::MileageAdded(mileage) | Event::MileageRemoved(mileage) = event {
            self.order_id = mileage.order_id;
            self.status = self.status.max(mileage.status);
            self.cnt = if self.status == MileageStatus::Removed { 0 } else { mileage.cnt };
        }
    }
}

//! An order at its shop: the shop confirms, cooks or rejects it.

use crate::events::{Event, EventKind as On};
use crate::order::{Order, OrderStatus, Reason};
use jumun::prelude::*;

jumun::documents! {
    /// An order at its shop.
    pub struct StoreOrder {
        /// The order's id.
        pub id: Id<StoreOrder>,
        /// The order.
        pub order_id: Id<Order>,
        /// The shop. None: `OrderCanceled` arrived before `Ordered`.
        pub store_name: Option<Name>,
        /// The dish.
        pub item_name: Option<Name>,
        /// The number of portions.
        pub item_qty: Option<Quantity>,
        /// The price of all portions.
        pub item_price: Option<Won>,
        /// Its status at the shop.
        pub order_status: OrderStatus,
        /// When the order was placed.
        pub order_date: Option<Time>,
        /// When it was cooked.
        pub completed_date: Option<Time>,
        /// Why it was cancelled, if nobody cancelled it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub reason: Option<Reason>,
    }
}

/// The commands of a store order.
#[derive(Debug, Clone)]
pub enum Command {
    /// An order was placed.
    Open,
    /// The owner confirms it.
    Accept,
    /// The owner rejects it.
    Reject,
    /// The owner has not accepted it in time.
    GiveUp,
    /// It is cooked.
    CompleteCooking,
    /// The order is cancelled.
    Cancel,
}

/// What an operator can set.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Settings {
    /// Who confirms orders: the service, or the owner with `accept`.
    pub confirm: Confirm,
    /// How long the owner has to accept an order. An order that the service confirms does not wait.
    pub accept_within: TimeLimit,
}

impl StoreOrder {
    /// A store order before `Ordered` has arrived.
    fn without_order(id: Id<Order>, order_status: OrderStatus) -> Self {
        let (store_name, item_name, item_qty, item_price) = (None, None, None, None);
        let (order_date, completed_date, reason) = (None, None, None);
        let (id, order_id) = (id.cast(), id);
        Self {
            id,
            order_id,
            store_name,
            item_name,
            item_qty,
            item_price,
            order_status,
            order_date,
            completed_date,
            reason,
        }
    }

    /// Adds what was ordered. An earlier cancellation stays.
    fn with(self, order: &Order) -> Self {
        let basket = order.basket.clone();
        Self {
            store_name: Some(basket.store_name),
            item_name: basket.item_name,
            item_qty: Some(basket.item_qty),
            item_price: Some(basket.price),
            order_date: Some(order.order_date),
            ..self
        }
    }

    fn at(&self, order_status: OrderStatus) -> Self {
        Self { order_status, ..self.clone() }
    }

    /// Whether `Ordered` has arrived.
    fn is_founded(&self) -> bool {
        self.store_name.is_some()
    }
}

impl Aggregate for StoreOrder {
    type Terms = (Command, Event, Settings);

    const HEARS: &'static [On] =
        &[On::Ordered, On::OrderCanceled, On::StoreConfirmed, On::StoreCanceled, On::CookCompleted];

    fn is_ending(command: &Command) -> bool {
        matches!(command, Command::Reject)
    }

    fn time_out(&self, settings: &Settings) -> Option<TimeOut<Command>> {
        settings.accept_within.time_out(self.order_status == OrderStatus::Ordered, "accept_within", Command::GiveUp)
    }

    fn react(event: &Event) -> Option<Command> {
        match event {
            Event::Ordered(_) => Some(Command::Open),
            Event::OrderCanceled(_) => Some(Command::Cancel),
            _ => None,
        }
    }

    fn decide(order: Option<&StoreOrder>, command: Command, ctx: &Context<'_, StoreOrder>) -> Decision<Event> {
        use OrderStatus::{Canceled, CookCompleted, OrderConfirmed, Ordered};
        let Some(order) = order.filter(|order| order.is_founded()) else {
            return if matches!(command, Command::Cancel) { nothing() } else { not_found() };
        };
        match (command, order.order_status) {
            (Command::Open, Ordered) if ctx.settings.confirm == Confirm::Manual => nothing(),
            (Command::Open | Command::Accept, Ordered) => emit(Event::StoreConfirmed(order.at(OrderConfirmed))),
            (Command::Open, Canceled) => emit(Event::StoreCanceled(order.clone())), // the cancellation arrived first
            (Command::Open, _) => nothing(),
            (Command::Reject, Ordered | OrderConfirmed) => emit(Event::StoreCanceled(order.at(Canceled))),
            (Command::GiveUp, Ordered) => {
                let reason = Some(Reason::NotAcceptedInTime);
                emit(Event::StoreCanceled(StoreOrder { reason, ..order.at(Canceled) }))
            }
            (Command::CompleteCooking, OrderConfirmed) => {
                let cooked = order.at(CookCompleted);
                emit(Event::CookCompleted(StoreOrder { completed_date: Some(ctx.now), ..cooked }))
            }
            (Command::Cancel, Canceled) => nothing(),
            (Command::Cancel, _) => emit(Event::StoreCanceled(order.at(Canceled))),
            (_, Canceled) => conflict("this order is cancelled"),
            (Command::Accept | Command::GiveUp, _) => conflict("this order is confirmed already"),
            (Command::Reject, _) => conflict("this order is cooked already"),
            (Command::CompleteCooking, Ordered) => conflict("this order is not confirmed yet"),
            (Command::CompleteCooking, _) => conflict("this order is cooked already"),
        }
    }

    fn evolve(known: Option<StoreOrder>, event: &Event) -> Option<StoreOrder> {
        match event {
            Event::Ordered(order) => {
                Some(known.unwrap_or_else(|| StoreOrder::without_order(order.id, OrderStatus::Ordered)).with(order))
            }
            Event::OrderCanceled(order) => {
                Some(known.unwrap_or_else(|| StoreOrder::without_order(order.id, OrderStatus::Canceled)))
            }
            _ => event.carried_or(known),
        }
    }

    fn shown(&self) -> bool {
        self.is_founded()
    }
}

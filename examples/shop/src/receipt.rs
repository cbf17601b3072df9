//! The receipt: an order and its payment in one row, as the customer sees them.

use crate::events::{Event, EventKind as On};
use crate::order::Stage;
use jumun::prelude::*;

jumun::documents! {
    /// A row of the view.
    #[derive(Default)]
    pub struct Receipt {
        pub id: i64,
        pub item: Option<Name>,
        pub stage: Option<Stage>,
        pub paid: Option<Won>,
    }
}

impl View for Receipt {
    type Event = Event;

    const HEARS: &'static [On] = &[On::Ordered, On::OrderCanceled, On::Paid];

    fn row(id: i64) -> Self {
        Self {
            id,
            ..Self::default()
        }
    }

    fn fold(&mut self, event: &Event) {
        match event {
            Event::Ordered(order) | Event::OrderCanceled(order) => {
                self.item = Some(order.item.clone());
                self.stage = self.stage.max(Some(order.stage));
            }
            Event::Paid(payment) => self.paid = Some(payment.amount),
            _ => {}
        }
    }

    fn shown(&self) -> bool {
        self.item.is_some() // a payment alone is no order
    }
}

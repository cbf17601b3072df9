//! A message to the customer about one event of an order. An external sender delivers it after the event is committed, and
//! recognizes repeated requests by the message id.

use crate::events::{Event, EventKind as On};
use crate::order::{Order, OrderStatus};
use crate::pay::PaymentStatus;
use crate::reservation::{Reservation, ReservationStatus};
use crate::values::{Enrollment, Reason};
use jumun::prelude::*;

/// Send a message.
pub const SEND: Ask<Message, Receipt> = Ask::external("sender");

/// A message as the sender gets it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// The message id: unique, and the same in each attempt.
    pub id: String,
    /// The customer's id; empty if it is unknown.
    pub recipient: String,
    /// The name of the template.
    pub template: Kind,
    /// The values of its fields.
    pub fields: Fields,
    /// When it was first requested, in milliseconds since 1970.
    pub time_ms: i64,
}

/// The fields of a template.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fields {
    /// Who enrolls for which course.
    #[serde(flatten)]
    pub enrollment: Enrollment,
    /// The status.
    pub status: Told,
    /// Why it was cancelled, if nobody cancelled it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

/// The sender has accepted a message. Other fields of its answer are ignored.
#[derive(Debug, Deserialize)]
pub struct Receipt {}

jumun::documents! {
    /// A message and whether it was sent.
    pub struct Notification {
        /// Its own id.
        pub id: Id<Notification>,
        /// The id that order, payment and reservation share.
        pub enrollment_id: Id<Order>,
        /// Its content.
        #[serde(flatten)]
        pub news: News,
        /// Whether it was sent.
        pub status: NotificationStatus,
        /// When it was first requested.
        pub requested_dt: Time,
    }

    /// A change of an order.
    pub struct News {
        /// Who enrolls for which course.
        #[serde(flatten)]
        pub enrollment: Enrollment,
        /// The kind of change.
        pub kind: Kind,
        /// The status after it.
        pub told: Told,
        /// Why it was cancelled, if nobody cancelled it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub reason: Option<Reason>,
    }
}

/// The kind of change, which is the name of the template: the event, or its status if it can have two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// The order is placed and paid.
    Ordered,
    /// The order is placed, its payment is delayed.
    PaymentDelayed,
    /// The delayed payment is taken.
    PaymentSettled,
    /// The order is cancelled.
    OrderCanceled,
    /// The payment is taken.
    Paid,
    /// The payment is refunded.
    PaymentCanceled,
    /// The reservation waits for the course's manager.
    Reserved,
    /// The reservation is confirmed.
    ReservationConfirmed,
    /// The reservation has ended.
    ReservationCanceled,
    /// The course has started.
    CourseStarted,
}

/// The status of an order, a payment or a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Told {
    /// Of an order.
    Order(OrderStatus),
    /// Of a payment.
    Payment(PaymentStatus),
    /// Of a reservation.
    Reservation(ReservationStatus),
}

/// Whether a message was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NotificationStatus {
    /// It is to be sent.
    Requested,
    /// The sender has accepted it.
    Sent,
    /// The sender has refused it, or was unavailable until the deadline.
    Parked,
}

/// The commands of a notification.
#[derive(Debug, Clone)]
pub enum Command {
    /// Send the customer of that order this.
    Tell(Id<Order>, News),
    /// The sender has answered, or the deadline has passed.
    Settle,
    /// An operator sends it again.
    Retry,
}

impl News {
    /// The messages about an event. A payment is announced once its order is placed: the customer gets no message about a
    /// payment for an order that never was.
    fn of(event: &Event) -> Vec<News> {
        let paid = (Kind::Paid, Told::Payment(PaymentStatus::Paid));
        match event {
            Event::Ordered(order) if order.status == OrderStatus::PaymentDelayed => {
                Self::of_order(order, &[(Kind::PaymentDelayed, Told::Order(order.status))])
            }
            Event::Ordered(order) => Self::of_order(order, &[(Kind::Ordered, Told::Order(order.status)), paid]),
            Event::PaymentSettled(order) => {
                Self::of_order(order, &[(Kind::PaymentSettled, Told::Order(order.status)), paid])
            }
            Event::OrderCanceled(order) => Self::of_order(order, &[(Kind::OrderCanceled, Told::Order(order.status))]),
            Event::PaymentCanceled(payment) if !payment.voided => {
                let (enrollment, told) = (payment.enrollment.clone(), Told::Payment(payment.status));
                vec![News { enrollment, kind: Kind::PaymentCanceled, told, reason: None }]
            }
            Event::Reserved(seat) if seat.status == ReservationStatus::Requested => Self::of_seat(seat, Kind::Reserved),
            Event::Reserved(seat) => Self::of_seat(seat, Kind::ReservationConfirmed),
            Event::ReservationCanceled(seat) => Self::of_seat(seat, Kind::ReservationCanceled),
            Event::CourseStarted(seat) => Self::of_seat(seat, Kind::CourseStarted),
            _ => Vec::new(),
        }
    }

    fn of_order(order: &Order, told: &[(Kind, Told)]) -> Vec<News> {
        let news = |(kind, told): &(Kind, Told)| News {
            enrollment: order.enrollment.clone(),
            kind: *kind,
            told: *told,
            reason: order.reason,
        };
        told.iter().map(news).collect()
    }

    fn of_seat(seat: &Reservation, kind: Kind) -> Vec<News> {
        let Reservation { enrollment, status, reason, .. } = seat.clone();
        vec![News { enrollment, kind, told: Told::Reservation(status), reason }]
    }
}

impl Notification {
    fn at(&self, status: NotificationStatus) -> Notification {
        Notification { status, ..self.clone() }
    }

    /// The message: the same in each attempt.
    pub fn message(&self) -> Message {
        let News { enrollment, kind, told, reason } = self.news.clone();
        let time_ms = self.requested_dt.as_millisecond();
        Message {
            // Ids start at 1 in every database. The time makes the message id unique across databases.
            id: format!("{}-{kind:?}-{}-{time_ms}", self.enrollment_id, self.id),
            recipient: enrollment.customer_id.as_ref().map_or_else(String::new, Reference::to_string),
            template: kind,
            fields: Fields { enrollment, status: told, reason },
            time_ms,
        }
    }
}

impl Aggregate for Notification {
    type Terms = (Command, Event);

    const HEARS: &'static [On] = &[
        On::Ordered,
        On::PaymentSettled,
        On::OrderCanceled,
        On::PaymentCanceled,
        On::Reserved,
        On::CourseStarted,
        On::ReservationCanceled,
        On::NotificationRequested,
        On::NotificationSent,
        On::NotificationParked,
    ];

    fn concerns(event: &Event) -> Option<Id<Notification>> {
        match event {
            Event::NotificationRequested(own) | Event::NotificationSent(own) | Event::NotificationParked(own) => {
                Some(own.id)
            }
            _ => None, // it makes new ones
        }
    }

    fn waits_for(&self, ask: AskTarget) -> bool {
        ask == SEND && self.status == NotificationStatus::Requested
    }

    fn react_anew(event: &Event) -> Vec<Command> {
        News::of(event).into_iter().map(|news| Command::Tell(event.key(), news)).collect()
    }

    fn decide(known: Option<&Notification>, command: Command, ctx: &Context<'_, Notification>) -> Decision<Event> {
        use NotificationStatus::{Parked, Requested, Sent};
        match (command, known) {
            (Command::Tell(enrollment_id, news), None) => {
                let (id, status, requested_dt) = (ctx.id, Requested, ctx.now);
                let notification = Notification { id, enrollment_id, news, status, requested_dt };
                ctx.later(&SEND, notification.message());
                emit(Event::NotificationRequested(notification))
            }
            (Command::Tell(..), Some(_)) => conflict("the customer is told already"),
            (Command::Settle, Some(known)) if known.status == Requested => match ctx.try_ask(&SEND, known.message())? {
                Answer::Accepted(Receipt {}) => emit(Event::NotificationSent(known.at(Sent))),
                Answer::Refused(_) | Answer::Unavailable => emit(Event::NotificationParked(known.at(Parked))),
            },
            (Command::Settle, Some(_)) => nothing(),
            (Command::Retry, Some(known)) => match known.status {
                Parked => {
                    ctx.later(&SEND, known.message());
                    emit(Event::NotificationRequested(known.at(Requested)))
                }
                Requested => conflict("this notification is on its way"),
                Sent => conflict("this notification was sent"),
            },
            (Command::Settle | Command::Retry, None) => not_found(),
        }
    }
}

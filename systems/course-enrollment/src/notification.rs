//! A message to the customer: one for each thing that happens to an order. It is sent once what it tells of is committed,
//! by somebody outside the system, who knows it by the same message id however often it is handed over.

use crate::{
    events::{Event, EventKind as On},
    order::{Order, OrderStatus},
    pay::{Payment, PaymentStatus},
    reservation::{Reservation, ReservationStatus},
    values::{EduNo, Reference},
};
use jiff::Timestamp;
use jumun::{
    Aggregate, Answer, Ask, AskTarget, Context, Decision, Id, NoSettings, PublishedLanguage, conflict, emit, not_found,
    nothing,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Send a message.
pub const SEND: Ask<Message, Receipt> = Ask::external("sender");

/// A message as it is handed over.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// The same whenever this message is handed over, and no other's.
    pub id: String,
    /// The customer's id; empty where nobody said it.
    pub recipient: String,
    /// What happened.
    pub template: Kind,
    /// What the template is filled with.
    pub fields: Fields,
    /// When it happened, in milliseconds since 1970.
    pub time_ms: i64,
}

/// What a template is filled with.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fields {
    /// The order's reference.
    pub order_id: Reference,
    /// Who applied.
    pub customer_id: Option<Reference>,
    /// For which course.
    pub edu_no: EduNo,
    /// What is told.
    pub status: Told,
}

/// That a message was taken. What else a sender says about it is its own business.
#[derive(Debug, Deserialize)]
pub struct Receipt {}

/// A message to the customer and whether it was sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// Its own id.
    pub id: Id<Notification>,
    /// The id that order, payment and reservation share.
    pub enrollment_id: Id<Order>,
    /// What it tells.
    #[serde(flatten)]
    pub news: News,
    /// Whether it was sent.
    pub status: NotificationStatus,
    /// When it was first requested.
    pub requested_dt: Timestamp,
}

/// Something that happened to an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct News {
    /// The order's reference.
    pub order_id: Reference,
    /// Who applied.
    pub customer_id: Option<Reference>,
    /// For which course.
    pub edu_no: EduNo,
    /// What happened.
    pub kind: Kind,
    /// The status word that is told.
    pub told: Told,
}

/// What happened, as templates are named: the event, or what it says where it may say two things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// The order stands and is paid.
    Ordered,
    /// The order stands, and its payment is still to come.
    PaymentDelayed,
    /// The delayed payment has come.
    PaymentSettled,
    /// The order is given up.
    OrderCanceled,
    /// Money was taken.
    Paid,
    /// Money was given back.
    PaymentCanceled,
    /// The course's manager is asked for a seat.
    Reserved,
    /// The customer has a seat.
    ReservationConfirmed,
    /// There is no seat any more.
    ReservationCanceled,
    /// The course has started.
    CourseStarted,
}

/// The status word of what happened.
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
    /// It is on its way.
    Requested,
    /// The sender has it.
    Sent,
    /// The sender does not take it, or was away for too long.
    Parked,
}

/// What can be asked of a notification.
#[derive(Debug, Clone)]
pub enum Command {
    /// Tell the customer this of that order.
    Tell(Id<Order>, News),
    /// What the sender makes of it is known.
    Settle,
    /// Somebody has looked at it: send it again.
    Retry,
}

impl News {
    /// What there is to tell of an event. That a payment was made is told once its order stands: it is the order that says
    /// so, and nobody hears of a payment for an order that never came to stand.
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
                let Payment { order_id, customer_id, edu_no, .. } = payment.clone();
                vec![News {
                    order_id,
                    customer_id,
                    edu_no,
                    kind: Kind::PaymentCanceled,
                    told: Told::Payment(payment.status),
                }]
            }
            Event::Reserved(seat) if seat.status == ReservationStatus::Requested => Self::of_seat(seat, Kind::Reserved),
            Event::Reserved(seat) => Self::of_seat(seat, Kind::ReservationConfirmed),
            Event::ReservationCanceled(seat) => Self::of_seat(seat, Kind::ReservationCanceled),
            Event::CourseStarted(seat) => Self::of_seat(seat, Kind::CourseStarted),
            _ => Vec::new(),
        }
    }

    fn of_order(order: &Order, told: &[(Kind, Told)]) -> Vec<News> {
        let Order { order_id, customer_id, edu_no, .. } = order;
        let news = |(kind, told): &(Kind, Told)| News {
            order_id: order_id.clone(),
            customer_id: customer_id.clone(),
            edu_no: *edu_no,
            kind: *kind,
            told: *told,
        };
        told.iter().map(news).collect()
    }

    fn of_seat(seat: &Reservation, kind: Kind) -> Vec<News> {
        let Reservation { order_id, customer_id, edu_no, status, .. } = seat.clone();
        vec![News { order_id, customer_id, edu_no, kind, told: Told::Reservation(status) }]
    }
}

impl Notification {
    fn at(&self, status: NotificationStatus) -> Notification {
        Notification { status, ..self.clone() }
    }

    /// The message: the same whenever it is handed over.
    pub fn message(&self) -> Message {
        let News { order_id, customer_id, edu_no, kind, told } = self.news.clone();
        let time_ms = self.requested_dt.as_millisecond();
        Message {
            // Other databases count from 1, too: with the time it is nobody else's there either.
            id: format!("{}-{kind:?}-{}-{time_ms}", self.enrollment_id, self.id),
            recipient: customer_id.as_ref().map_or_else(String::new, Reference::to_string),
            template: kind,
            fields: Fields { order_id, customer_id, edu_no, status: told },
            time_ms,
        }
    }
}

impl Aggregate for Notification {
    type Command = Command;
    type Event = Event;
    type Settings = NoSettings;

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
            Event::NotificationRequested(told) | Event::NotificationSent(told) | Event::NotificationParked(told) => {
                Some(told.id)
            }
            _ => None,
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

    fn evolve(known: Option<Notification>, event: &Event) -> Option<Notification> {
        match event {
            Event::NotificationRequested(told) | Event::NotificationSent(told) | Event::NotificationParked(told) => {
                Some(told.clone())
            }
            _ => known,
        }
    }
}

//! A seat in a course for one paid order: the course's manager confirms or rejects it, and starts the course.
//!
//! It hears from the order that the payment is taken, not from the payment: before that there is nothing to reserve. If the
//! cancellation arrives first, it is remembered.

use crate::events::{Event, EventKind as On};
use crate::order::{Order, OrderStatus};
use crate::values::{Enrollment, Reason};
use jumun::prelude::*;

jumun::documents! {
    /// The reservation of one order.
    pub struct Reservation {
        /// The order's id.
        pub id: Id<Reservation>,
        /// Who enrolls for which course.
        #[serde(flatten)]
        pub enrollment: Enrollment,
        /// Its status.
        pub status: ReservationStatus,
        /// Why it ended, if nobody ended it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub reason: Option<Reason>,
    }
}

/// The status of a reservation. It only rises, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ReservationStatus {
    /// The order was cancelled before a seat was reserved. Never shown, never published.
    #[schemars(skip)]
    Withheld,
    /// It waits for the manager.
    #[serde(rename = "Reservation Requested")]
    Requested,
    /// The customer has the seat.
    #[serde(rename = "Reservation Confirmed")]
    Confirmed,
    /// The course has started.
    #[serde(rename = "Course Started")]
    CourseStarted,
    /// The reservation has ended.
    #[serde(rename = "Reservation Canceled")]
    Canceled,
}

/// The commands of a reservation.
#[derive(Debug, Clone)]
pub enum Command {
    /// Reserve a seat for this order, which is paid.
    Reserve(Order),
    /// The manager confirms it.
    Confirm,
    /// The manager rejects it.
    Reject,
    /// The manager has not confirmed it in time.
    GiveUp,
    /// The manager starts the course.
    Start,
    /// The order is cancelled.
    Cancel,
}

/// What an operator can set.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Settings {
    /// Who confirms reservations: the service, or the manager of the course with `confirm`.
    pub confirm: Confirm,
    /// How long the manager has to confirm a reservation. One that the service confirms does not wait.
    pub confirm_within: TimeLimit,
}

impl Reservation {
    fn new(order: &Order, status: ReservationStatus) -> Self {
        Self { id: order.id.cast(), enrollment: order.enrollment.clone(), status, reason: None }
    }

    fn at(&self, status: ReservationStatus) -> Self {
        Self { status, ..self.clone() }
    }
}

impl Aggregate for Reservation {
    type Terms = (Command, Event, Settings);

    const HEARS: &'static [On] =
        &[On::Ordered, On::PaymentSettled, On::OrderCanceled, On::Reserved, On::CourseStarted, On::ReservationCanceled];

    fn is_ending(command: &Command) -> bool {
        matches!(command, Command::Reject)
    }

    fn time_out(&self, settings: &Settings) -> Option<TimeOut<Command>> {
        settings.confirm_within.time_out(self.status == ReservationStatus::Requested, "confirm_within", Command::GiveUp)
    }

    fn react(event: &Event) -> Option<Command> {
        match event {
            Event::Ordered(order) if order.status == OrderStatus::PaymentDelayed => None,
            Event::Ordered(order) | Event::PaymentSettled(order) => Some(Command::Reserve(order.clone())),
            Event::OrderCanceled(_) => Some(Command::Cancel),
            _ => None,
        }
    }

    fn decide(known: Option<&Reservation>, command: Command, ctx: &Context<'_, Reservation>) -> Decision<Event> {
        use ReservationStatus::{Canceled, Confirmed, CourseStarted, Requested, Withheld};
        if let Command::Reserve(order) = command {
            let status = if ctx.settings.confirm == Confirm::Manual { Requested } else { Confirmed };
            return match known {
                None => emit(Event::Reserved(Reservation::new(&order, status))),
                Some(known) if known.status == Withheld => emit(Event::ReservationCanceled(known.at(Canceled))),
                Some(_) => nothing(),
            };
        }
        let Some(reservation) = known.filter(|known| known.shown()) else {
            return if matches!(command, Command::Cancel) { nothing() } else { not_found() };
        };
        match (command, reservation.status) {
            (Command::Confirm, Requested) => emit(Event::Reserved(reservation.at(Confirmed))),
            (Command::Reject, Requested | Confirmed) => emit(Event::ReservationCanceled(reservation.at(Canceled))),
            (Command::GiveUp, Requested) => {
                let reason = Some(Reason::NotConfirmedInTime);
                emit(Event::ReservationCanceled(Reservation { reason, ..reservation.at(Canceled) }))
            }
            (Command::Start, Confirmed) => emit(Event::CourseStarted(reservation.at(CourseStarted))),
            (Command::Cancel, Canceled) => nothing(),
            (Command::Cancel, _) => emit(Event::ReservationCanceled(reservation.at(Canceled))),
            (_, Canceled) => conflict("this reservation is cancelled"),
            (Command::Start, Requested) => conflict("this reservation is not confirmed yet"),
            (_, CourseStarted) => conflict("its course has started already"),
            (_, _) => conflict("this reservation is confirmed already"),
        }
    }

    fn evolve(known: Option<Reservation>, event: &Event) -> Option<Reservation> {
        match event {
            Event::Reserved(seat) | Event::CourseStarted(seat) | Event::ReservationCanceled(seat) => {
                let status = known.map_or(seat.status, |known| known.status.max(seat.status));
                Some(seat.at(status))
            }
            Event::OrderCanceled(order) => {
                Some(known.unwrap_or_else(|| Reservation::new(order, ReservationStatus::Withheld)))
            }
            _ => known,
        }
    }

    fn shown(&self) -> bool {
        self.status != ReservationStatus::Withheld
    }
}

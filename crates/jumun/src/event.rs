//! Events: the published language of a system (Evans, *Domain-Driven Design*, chapter 14).

use jiff::Timestamp;
use serde::Serialize;
use std::fmt::Debug;

/// A kind of event: its name on the wire and the service that it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventType {
    /// `Ordered`
    pub name: &'static str,
    /// The service that publishes it, and no other.
    pub source: &'static str,
}

/// All events of one system. Made by [`published_language!`](crate::published_language).
pub trait PublishedLanguage: Clone + Debug + PartialEq + Send + Sync + 'static {
    /// All kinds, in the order of their declaration.
    const TYPES: &'static [EventType];

    /// Its kind.
    fn event_type(&self) -> EventType;

    /// The id of the order that it all began with.
    fn correlation_key(&self) -> i64;

    /// As it is published: `eventType`, `timestamp` (milliseconds since 1970), then its fields.
    fn encode(&self, time: Timestamp) -> String;

    /// Reads a published event. None: a type that this release does not know; it is to be ignored.
    fn decode(event_type: &str, body: &str) -> Result<Option<Self>, serde_json::Error>;
}

/// An event with what goes before its own fields.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a, P> {
    event_type: &'static str,
    timestamp: i64,
    #[serde(flatten)]
    payload: &'a P,
}

/// Used by [`published_language!`](crate::published_language).
#[doc(hidden)]
pub fn encode<P: Serialize>(event_type: &'static str, time: Timestamp, payload: &P) -> String {
    let envelope = Envelope { event_type, timestamp: time.as_millisecond(), payload };
    serde_json::to_string(&envelope).expect("an aggregate is a struct with named fields")
}

/// Declares the events of a system: which service publishes them, by which field they belong to an order, what they
/// carry. `Ordered(Order) hides card_no` keeps a field (an `Option`) to the service that publishes the event: others read
/// `null`.
///
/// ```
/// # use serde::{Serialize, Deserialize};
/// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)] pub struct Order { id: i64 }
/// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)] pub struct Payinfo { order_id: i64 }
/// jumun::published_language! {
///     /// What happens in food delivery.
///     pub enum Event {
///         order(by id): Ordered(Order), OrderCanceled(Order);
///         payment(by order_id): PaymentApproved(Payinfo);
///     }
/// }
/// # use jumun::PublishedLanguage;
/// assert_eq!(Event::TYPES[2].source, "payment");
/// ```
#[macro_export]
macro_rules! published_language {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $( $source:ident (by $key:ident): $( $(#[$doc:meta])* $event:ident ($payload:ty) $(hides $hidden:ident)? ),+ $(,)? ; )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        $vis enum $name { $($(
            $(#[$doc])*
            #[doc = concat!("Published by `", stringify!($source), "`.")]
            $event($payload),
        )+)+ }

        impl $crate::PublishedLanguage for $name {
            const TYPES: &'static [$crate::EventType] = &[ $($(
                $crate::EventType { name: stringify!($event), source: stringify!($source) },
            )+)+ ];

            fn event_type(&self) -> $crate::EventType {
                match self { $($(
                    Self::$event(_) => $crate::EventType { name: stringify!($event), source: stringify!($source) },
                )+)+ }
            }

            fn correlation_key(&self) -> i64 {
                match self { $($( Self::$event(payload) => i64::from(payload.$key), )+)+ }
            }

            fn encode(&self, time: $crate::jiff::Timestamp) -> String {
                match self { $($( Self::$event(payload) => {
                    $(
                        let mut payload = payload.clone();
                        payload.$hidden = None;
                        let payload = &payload;
                    )?
                    $crate::encode_event(stringify!($event), time, payload)
                } )+)+ }
            }

            fn decode(event_type: &str, body: &str) -> Result<Option<Self>, $crate::serde_json::Error> {
                Ok(Some(match event_type {
                    $($( stringify!($event) => Self::$event($crate::serde_json::from_str(body)?), )+)+
                    _ => return Ok(None),
                }))
            }
        }
    };
}

//! Events: the published language of a system (Evans, *Domain-Driven Design*, chapter 14).

use crate::value::Id;
use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::Value;
use std::fmt::Debug;

/// The name of a kind of event on the wire and the service that publishes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventType {
    /// `Ordered`
    pub name: &'static str,
    /// The only service that publishes it.
    pub source: &'static str,
}

/// All events of one system. Implemented by [`published_language!`](crate::published_language).
pub trait PublishedLanguage: Clone + Debug + PartialEq + Send + Sync + 'static {
    /// The event without its payload: what [`HEARS`](crate::Aggregate::HEARS) lists.
    type Kind: Copy + Debug + Eq + Into<EventType> + Send + Sync + 'static;

    /// All kinds, in the order of their declaration.
    const KINDS: &'static [Self::Kind];

    /// The names and sources of all kinds, in the same order.
    const TYPES: &'static [EventType];

    /// What an event of a kind says, as its declaration documents it.
    fn about(kind: Self::Kind) -> &'static str;

    /// The schema of the fields of an event of a kind: all but `eventType` and `timestamp`.
    fn schema(kind: Self::Kind, generator: &mut SchemaGenerator) -> Schema;

    /// The kind of this event.
    fn kind(&self) -> Self::Kind;

    /// The name and the source of this event.
    fn event_type(&self) -> EventType {
        self.kind().into()
    }

    /// The correlation key: the id of the order that the event belongs to, as the id of what is made for that order.
    /// Payment 7 and delivery 7 belong to order 7.
    fn key<T>(&self) -> Id<T>;

    /// What the event carries, if it is a `T`: `Ordered(Order)` carries an `Order`.
    fn carried<T: 'static>(&self) -> Option<&T>;

    /// The `T` after this event: the one that it carries, or else the one that is `known`.
    fn carried_or<T: Clone + 'static>(&self, known: Option<T>) -> Option<T> {
        self.carried().cloned().or(known)
    }

    /// The correlation key as a number.
    fn correlation_key(&self) -> i64 {
        self.key::<()>().get()
    }

    /// Encodes the event as it is published: `eventType`, `timestamp` (milliseconds since 1970), then its fields.
    fn encode(&self, time: Timestamp) -> String;

    /// Decodes a published event. None: this release does not know the type and ignores the event.
    fn decode(event_type: &str, body: &str) -> Result<Option<Self>, serde_json::Error>;
}

/// An event as it is published: its type and time before its own fields.
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

/// The schema of a payload whose field `hidden` is published as `null`. Used by
/// [`published_language!`](crate::published_language).
#[doc(hidden)]
pub fn payload_schema<P: JsonSchema>(generator: &mut SchemaGenerator, hidden: Option<&str>) -> Schema {
    let payload = generator.subschema_for::<P>();
    let Some(hidden) = hidden else { return payload };
    let plain = |name: &str| name.replace('_', "").to_ascii_lowercase(); // the field may be renamed: card_no, cardNo
    let properties = P::json_schema(generator).get("properties").and_then(Value::as_object).cloned();
    let name =
        properties.unwrap_or_default().into_iter().map(|(name, _)| name).find(|name| plain(name) == plain(hidden));
    let name = name.unwrap_or_else(|| hidden.to_owned());
    json_schema!({ "allOf": [payload, { "type": "object", "properties": { name: { "type": "null" } } }] })
}

/// Declares the events of a system: which service publishes them, which field of their payload is the correlation key,
/// and what they carry.
///
/// Two enums come of it: the events and, without payloads, their kinds. The field after `by` is an [`Id`]. `Ordered(Order)
/// hides card_no` publishes `null` in place of a field (an `Option`) that only the service itself may know.
///
/// ```
/// # use schemars::JsonSchema;
/// # use serde::{Serialize, Deserialize};
/// use jumun::{Id, PublishedLanguage};
///
/// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)] pub struct Order { id: Id<Order> }
/// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)] pub struct Payinfo { order_id: Id<Order> }
/// jumun::published_language! {
///     /// An event of food delivery.
///     pub enum Event, EventKind {
///         order(by id): Ordered(Order), OrderCanceled(Order);
///         payment(by order_id): PaymentApproved(Payinfo);
///     }
/// }
///
/// let event = Event::PaymentApproved(Payinfo { order_id: Id::new(7).expect("1 or more") });
/// assert_eq!(event.kind(), EventKind::PaymentApproved);
/// assert_eq!(event.event_type().source, "payment");
/// assert_eq!(event.key::<Order>().get(), 7);
/// assert!(event.carried::<Payinfo>().is_some() && event.carried::<Order>().is_none());
/// ```
#[macro_export]
macro_rules! published_language {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident, $kind:ident {
            $( $source:ident (by $key:ident): $( $(#[doc = $doc:literal])* $event:ident ($payload:ty) $(hides $hidden:ident)? ),+ $(,)? ; )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        $vis enum $name { $($(
            $(#[doc = $doc])*
            #[doc = concat!("Published by `", stringify!($source), "`.")]
            $event($payload),
        )+)+ }

        #[doc = concat!("The kind of an [`", stringify!($name), "`]: the event without its payload.")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $kind { $($(
            $(#[doc = $doc])*
            #[doc = concat!("Published by `", stringify!($source), "`.")]
            $event,
        )+)+ }

        impl From<$kind> for $crate::EventType {
            fn from(kind: $kind) -> Self {
                match kind { $($(
                    $kind::$event => Self { name: stringify!($event), source: stringify!($source) },
                )+)+ }
            }
        }

        impl $crate::PublishedLanguage for $name {
            type Kind = $kind;

            const KINDS: &'static [$kind] = &[ $($( $kind::$event, )+)+ ];

            const TYPES: &'static [$crate::EventType] = &[ $($(
                $crate::EventType { name: stringify!($event), source: stringify!($source) },
            )+)+ ];

            fn about(kind: $kind) -> &'static str {
                match kind { $($( $kind::$event => concat!("", $($doc,)* "").trim(), )+)+ }
            }

            fn schema(kind: $kind, generator: &mut $crate::schemars::SchemaGenerator) -> $crate::schemars::Schema {
                match kind { $($( $kind::$event => {
                    let hidden: Option<&str> = None $( .or(Some(stringify!($hidden))) )?;
                    $crate::payload_schema::<$payload>(generator, hidden)
                } )+)+ }
            }

            fn kind(&self) -> $kind {
                match self { $($( Self::$event(_) => $kind::$event, )+)+ }
            }

            fn key<T>(&self) -> $crate::Id<T> {
                match self { $($( Self::$event(payload) => payload.$key.cast(), )+)+ }
            }

            fn carried<T: 'static>(&self) -> Option<&T> {
                match self { $($( Self::$event(payload) => (payload as &dyn ::core::any::Any).downcast_ref(), )+)+ }
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

//! Runs one service that is written on the kernel [`jumun`].
//!
//! # Map
//!
//! | Where | What it does |
//! |---|---|
//! | `core` | [`Core`] reads, decides, commits and wakes the relay. It asks no neighbour. |
//! | `engine` | [`Engine`] adds commands on top: idempotency keys, asks, undoing. Its module documents the protocol. |
//! | [`asks`] | Everything around an ask: [guards](asks::guards), [transport](asks::transport), [delayed asks](asks::delayed), [recovery](asks::recovery), [messages](asks::messages) to customers. |
//! | [`events`] | [Relay](events::relay) from the journal onto the bus, [consumer](events::consumer) from the bus into effects, [parked](events::parked) events, [rebuilds](events::rebuild) of views, retention of the log. |
//! | [`intake`] | What a command passes before it is decided: [admission](intake::admission), [faults](intake::faults) on demand, its turn. |
//! | `edge` | [`serve`]: HTTP derived from the model, health, metrics, the control socket, drain. |
//! | [`limits`] | Every bound and every pause, by folder. |
//! | `reading` | The documents of a step, read in turn with other steps. |
//! | [`metrics`] | What the service counts. |
//! | `crash` | Named steps at which a test kills the process. |
//!
//! Dependencies point down: `edge` knows all others, `engine` knows `intake`, `asks` and `core`, and `events` needs only
//! `core`. The workers of [delayed asks](asks::delayed) are the one part of `asks` that needs the engine.
//!
//! # Invariants
//!
//! * **One commit a step.** Documents, events, requests and positions of one step are in one commit. [`Core`] is the only
//!   place that commits; only the purge of old answers and the shadow rows of a rebuild go past it.
//! * **Nothing is held during a call.** While the engine asks a neighbour it holds no turn of a document and no transaction,
//!   only its permit and its slot, which count calls. Only repeats of the same request wait for it, by their key.
//! * **An admitted command outlives its client.** It runs to its end in a task of its own; a client that hangs up loses the
//!   answer, and gets it under the same idempotency key.
//! * **Recovery comes before the first command.** [`serve`] gives up what an earlier process left in doubt, then announces.
//! * **Workers are level-triggered.** Each looks at what is stored. A missed notice costs a pause, nothing else, so it does
//!   not matter which process dies when.
//! * **One process per database.** Recovery gives up the asks of every other process of the same database.
//!
//! # Workers
//!
//! | Worker | Takes |
//! |---|---|
//! | relay | [`Core`], the bus |
//! | consumer | [`Core`], the bus |
//! | rebuild | [`Core`], the bus, the consumer (to keep parked events parked) |
//! | retention | [`Core`], the bus, the rebuilds (to make bases) |
//! | recovery: sweep, undo, purge | [`Core`]; the undo worker also the transport |
//! | time-outs | [`Engine`]: turns |
//! | delayed asks: one to ask and one to expire for each neighbour | [`Engine`]: guards, turns, calls |
//!
//! A worker that panics ends the process. The next process recovers.

mod alarm;
pub mod asks;
mod core;
mod crash;
mod edge;
mod engine;
pub mod events;
#[cfg(test)]
mod failing;
pub mod intake;
pub mod limits;
pub mod metrics;
mod reading;
#[cfg(test)]
mod stepping;
pub mod time_outs;

pub use self::core::{Core, SharedDatabase};
pub use ::http::StatusCode;
pub use edge::{ServeError, Serving, Socket, serve};
pub use engine::{Answer, Engine, Incoming, Key, Parts, Success};

use jumun::ServiceModel;
use jumun_database::{Collection, Field, Schema};

/// What a service's database must be set up for: its resources, and its parked events if it consumes any.
pub fn schema(service: &ServiceModel) -> Schema {
    let collections = service.resources.iter().map(|resource| Collection {
        name: resource.collection,
        fields: resource
            .fields
            .iter()
            .map(|field| Field { name: field.name.clone().into(), indexed: field.is_finder, is_date: field.is_date })
            .collect(),
        indexes: resource.indexes.clone(),
    });
    let fields = ["key", "source", "eventType", "cause"];
    let fields = fields.map(|name| Field { name: name.into(), indexed: name == "key", is_date: false }).to_vec();
    let parked = (!service.listens.is_empty()).then_some(Collection {
        name: events::parked::PARKED,
        fields,
        indexes: Vec::new(),
    });
    let collections = collections.chain(parked).collect();
    Schema { service: service.name.to_owned(), partitions: PARTITIONS, collections }
}

pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("?")
}

/// Partitions in which a service numbers its events.
const PARTITIONS: u16 = 1;

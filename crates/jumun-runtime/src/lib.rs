//! Runs the services that are written on the kernel [`jumun`].
//!
//! [`Engine`] is the heart: it takes commands, asks neighbours, commits and answers, so that what was answered stands
//! whatever dies when. Around it: [`asks`] of neighbours and their recovery, [`events`] out and in, what a command passes before
//! it is decided ([`intake`]), and HTTP, derived from the model ([`serve`]).

pub mod asks;
mod core;
mod crash;
mod edge;
mod engine;
pub mod events;
pub mod intake;
pub mod limits;
pub mod metrics;

pub use self::core::{Core, SharedDatabase};
pub use ::http::StatusCode;
pub use edge::{ServeError, Serving, serve};
pub use engine::{Answer, Engine, Incoming, Key, Parts, Success};

use jumun::ServiceModel;
use jumun_database::{Collection, Field, Schema};

/// What a service's database must be set up for.
pub fn schema(service: &ServiceModel) -> Schema {
    let collections = service.resources.iter().map(|resource| Collection {
        name: resource.collection,
        fields: resource
            .fields
            .iter()
            .map(|field| Field { name: field.name.clone().into(), indexed: field.is_finder })
            .collect(),
    });
    let fields = ["key", "source", "eventType", "cause"];
    let fields = fields.map(|name| Field { name: name.into(), indexed: name == "key" }).to_vec();
    let parked = (!service.listens.is_empty()).then_some(Collection { name: events::parked::PARKED, fields });
    let collections = collections.chain(parked).collect();
    Schema { service: service.name.to_owned(), partitions: PARTITIONS, collections }
}

pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("?")
}

/// Into how many partitions a service numbers its events.
const PARTITIONS: u16 = 1;

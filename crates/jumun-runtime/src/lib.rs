//! Runs the services that are written on the kernel [`jumun`].
//!
//! [`Engine`] is the heart: it takes commands, asks neighbours, commits and answers, so that what was answered stands
//! whatever dies when. Around it: [`recovery`], which sees through what nobody works on any more; HTTP, derived from the
//! model ([`serve`]); the [`gateway`] in front of all services; the way to the neighbours ([`transport`]); [`config`]; and the [`audit`] over all databases.

pub mod admission;
pub mod audit;
pub mod config;
pub mod consumer;
pub mod control;
mod crash;
pub mod delayed;
mod engine;
pub mod envelope;
pub mod faults;
pub mod gateway;
pub mod guards;
mod health;
mod http;
pub mod limits;
pub mod messages;
mod problem;
pub mod rebuild;
pub mod recovery;
pub mod relay;
mod retention;
mod server;
#[cfg(test)]
mod simulation;
pub mod supervisor;
pub mod telemetry;
mod token;
pub mod transport;
mod turns;

pub use ::http::StatusCode;
pub use delayed::{DelayConfig, Delays};
pub use engine::{Answer, Engine, Incoming, Key, Parts, Success};
pub use problem::{Code, Problem, TYPE_PREFIX};
pub use retention::Retention;
pub use server::{ServeError, Serving, serve};
pub use token::Token;

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
    let parked = (!service.listens.is_empty()).then_some(Collection { name: consumer::PARKED, fields });
    let collections = collections.chain(parked).collect();
    Schema { service: service.name.to_owned(), partitions: PARTITIONS, collections }
}

/// Into how many partitions a service numbers its events.
const PARTITIONS: u16 = 1;

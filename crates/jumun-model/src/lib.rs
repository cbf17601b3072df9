//! The model of a system as documents, read off the code: nothing of it is written by hand, and nothing is listed per system.
//!
//! * [`describe()`]: JSON, for tools.
//! * [`board()`]: Mermaid, the event-storming board.
//! * [`asyncapi()`]: AsyncAPI 3, the events.
//! * [`openapi`]: OpenAPI 3.1, the API of a service and of the gateway.
//!
//! All are pure functions of a [`SystemModel`].

mod asyncapi;
mod board;
mod describe;
pub mod openapi;
mod schemas;

pub use asyncapi::asyncapi;
pub use board::board;
pub use describe::describe;

use jumun::{EventType, ResourceModel, ServiceModel, SystemModel};

/// Where a service serves its events.
const EVENTS: &str = "/events";

/// The events that an aggregate emits: those of its service that it hears. An aggregate hears its own events, as its state
/// changes with nothing else.
fn emits<'a>(
    system: &'a SystemModel,
    service: &'a ServiceModel,
    aggregate: &'a ResourceModel,
) -> impl Iterator<Item = EventType> + 'a {
    let own = system.events.iter().map(|event| event.kind).filter(|kind| kind.source == service.name);
    own.filter(|kind| !aggregate.is_view && aggregate.hears.contains(kind))
}

/// The resource that answers an ask, and its service.
fn answering(
    system: &SystemModel,
    target: jumun::AskTarget,
) -> Option<(&ServiceModel, &ResourceModel, &jumun::AskModel)> {
    let mut resources =
        system.services.iter().flat_map(|service| service.resources.iter().map(move |resource| (service, resource)));
    resources.find_map(|(service, resource)| {
        let ask = resource.ask.as_ref().filter(|ask| ask.target == target)?;
        Some((service, resource, ask))
    })
}

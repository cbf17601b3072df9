//! The HTTP API as OpenAPI 3.1: of one service, or of the gateway, which joins all services.

mod components;
mod operations;
mod pages;

use crate::schemas::{collected, written};
use jumun::{ServiceModel, SystemModel};
use operations::{Place, paths};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// The API of one service. `unavailable_status` is the status of answers that mean *not now*.
pub fn of_service(system: &SystemModel, service: &ServiceModel, unavailable_status: u16) -> Value {
    let title = format!("{}: {}", system.name, service.name);
    let about = "The API of one service. Clients call the gateway, which joins all services.";
    document(system, &[service], Place::Service, unavailable_status, &title, about)
}

/// The API of the gateway: what clients may send to any service.
pub fn of_gateway(system: &SystemModel, unavailable_status: u16) -> Value {
    let services: Vec<_> = system.services.iter().collect();
    let about = "The API of all services, at one address. Every command gets an idempotency key here, if its client sends none.";
    document(system, &services, Place::Gateway, unavailable_status, system.name, about)
}

fn document(
    system: &SystemModel,
    services: &[&ServiceModel],
    place: Place,
    unavailable_status: u16,
    title: &str,
    about: &str,
) -> Value {
    let mut generator = written(SchemaSettings::draft2020_12());
    let mut all = Map::new();
    let mut resources = Map::new();
    for service in services {
        for resource in &service.resources {
            let document = (resource.schema)(&mut generator).to_value();
            resources.extend(components::resource(resource, document));
            for path in resource.paths() {
                all.extend(paths(system, service, resource, path, place, unavailable_status));
            }
        }
        all.extend(pages::events(service, unavailable_status).filter(|_| place == Place::Service));
    }
    all.extend(pages::pages(unavailable_status));
    let mut schemas = collected(generator);
    schemas.extend(resources);
    schemas.extend(pages::schemas());
    schemas.extend(components::schemas());
    let mut tags: Vec<_> = services.iter().map(|service| json!({ "name": service.name })).collect();
    tags.push(json!({ "name": pages::TAG, "description": "For probes, operators and programs that follow." }));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": env!("CARGO_PKG_VERSION"),
            "description": format!("{about} Errors are problems (RFC 9457). Unknown fields of a body are ignored."),
        },
        "servers": [{ "url": "/" }],
        "tags": tags,
        "paths": all,
        "components": {
            "schemas": schemas,
            "parameters": components::parameters(),
            "headers": components::headers(),
            "responses": components::responses(place == Place::Gateway, unavailable_status),
        },
    })
}

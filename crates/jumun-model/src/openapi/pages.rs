//! What a process answers besides its resources: pages for probes, operators and people, and the events of a service.

use super::{
    components::{component, object, schema},
    operations::{not_modified, parameter, problems},
};
use crate::EVENTS;
use jumun::ServiceModel;
use jumun_http::{DOCS, Page};
use serde_json::{Map, Value, json};

/// The tag of these operations.
pub(super) const TAG: &str = "operations";

/// The pages of every process.
pub(super) fn pages(unavailable_status: u16) -> Map<String, Value> {
    let readable = |content: Value| {
        let mut responses = problems(&[], unavailable_status);
        responses.extend([("200".to_owned(), content), ("304".to_owned(), not_modified())]);
        responses
    };
    let page = |page: Page| {
        let (media_type, body) = match page {
            Page::Metrics => ("text/plain", json!({ "type": "string" })),
            Page::Health | Page::Liveness | Page::Readiness => ("application/json", schema("Health")),
            Page::Info => ("application/json", schema("Info")),
            Page::OpenApi => ("application/json", json!({ "type": "object", "required": ["openapi"] })),
        };
        let mut responses = readable(answer(page.about(), media_type, &body));
        if matches!(page, Page::Health | Page::Readiness) {
            let mut down = answer("It is DOWN; or the process takes no requests now.", media_type, &body);
            down["content"]["application/problem+json"] = json!({ "schema": schema("Problem") });
            responses.insert("503".to_owned(), down);
        }
        (page.path().to_owned(), get(page.path(), page.about(), json!([parameter("IfNoneMatch")]), responses))
    };
    let mut paths: Map<_, _> = Page::ALL.into_iter().map(page).collect();
    let about = "This document as a page for browsers. It needs no network.";
    let responses = readable(answer(about, "text/html", &json!({ "type": "string" })));
    paths.insert(DOCS.to_owned(), get(DOCS, about, json!([parameter("IfNoneMatch")]), responses));
    paths
}

/// The stream of a service's events.
pub(super) fn events(service: &ServiceModel, unavailable_status: u16) -> Option<(String, Value)> {
    let types: Vec<_> = service.publishes.iter().map(|event| event.name).collect();
    if types.is_empty() {
        return None;
    }
    let about = "Streams the events of this service as server-sent events, without an end. The gateway does not route it. \
        What the events are: the AsyncAPI document of the system.";
    let parameters = json!([
        { "name": "type", "in": "query", "description": "Only events of these types.", "style": "form", "explode": false,
          "schema": { "type": "array", "items": { "type": "string", "enum": types } } },
        { "name": "from", "in": "query",
          "description": "`start` (the default): all events. `end`: new ones only. The id of an event: those behind it.",
          "schema": { "type": "string", "examples": ["end"] } },
        { "name": "Last-Event-ID", "in": "header", "description": "As `from` with an id, and wins over it.",
          "schema": { "type": "string" } },
    ]);
    let mut responses = problems(&[400, 409, 422], unavailable_status);
    let stream = answer("The events from there on.", "text/event-stream", &json!({ "type": "string" }));
    responses.insert("200".to_owned(), stream);
    Some((EVENTS.to_owned(), get(EVENTS, about, parameters, responses)))
}

fn get(path: &str, about: &str, parameters: Value, responses: Map<String, Value>) -> Value {
    let words = path.split(['/', '.']).filter(|word| !word.is_empty());
    json!({ "get": {
        "operationId": words.collect::<Vec<_>>().join("_"),
        "summary": about.split_once(". ").map_or(about, |(first, _)| first),
        "description": about,
        "tags": [TAG],
        "parameters": parameters,
        "responses": responses,
    } })
}

fn answer(description: &str, media_type: &str, body: &Value) -> Value {
    json!({
        "description": description,
        "headers": { "X-Request-Id": component("headers", "RequestId") },
        "content": { media_type: { "schema": body } },
    })
}

/// The schemas of the pages.
pub(super) fn schemas() -> [(String, Value); 2] {
    let word = || json!({ "type": "string", "enum": ["UP", "DOWN"] });
    let mut part = object(json!({ "status": word() }));
    part["properties"]["details"] = json!({ "type": "object" });
    let mut health = object(json!({ "status": word() }));
    health["properties"]["components"] = json!({
        "type": "object", "description": "The parts of the process, or the services behind the gateway.",
        "additionalProperties": part,
    });
    let text = || json!({ "type": "string" });
    let values = json!({ "type": "object", "description": "What an operator has set for people to see." });
    let info = object(json!({ "service": text(), "system": text(), "version": text(), "values": values }));
    [("Health".to_owned(), health), ("Info".to_owned(), info)]
}

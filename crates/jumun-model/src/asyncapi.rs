//! The events as AsyncAPI 3: one channel, the topic of the system; a message for each kind of event; what each service sends
//! and receives.

use crate::schemas::{collected, written};
use jumun::{EventModel, SystemModel};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// The AsyncAPI document of a system.
pub fn asyncapi(system: &SystemModel) -> Value {
    // AsyncAPI's own dialect is a superset of draft 7.
    let mut generator = written(SchemaSettings::draft07());
    let mut messages = Map::new();
    for event in &system.events {
        let payload = (event.schema)(&mut generator).to_value();
        messages.insert(event.kind.name.to_owned(), message(event, payload));
    }
    let refer =
        |(name, _): (&String, &Value)| (name.clone(), json!({ "$ref": format!("#/components/messages/{name}") }));
    let channel_messages: Map<_, _> = messages.iter().map(refer).collect();
    let mut schemas = collected(generator);
    schemas.insert("EventHeaders".to_owned(), headers(system.name));
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": system.name,
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The events of the system. Readers ignore types and fields that they do not know.",
        },
        "defaultContentType": "application/json",
        "channels": {
            system.name: {
                "address": system.name,
                "description": "The topic of the system. Each service reads it as a group of its own; events of one order arrive \
                    in the order in which their service published them.",
                "messages": channel_messages,
            },
        },
        "operations": operations(system),
        "components": { "messages": messages, "schemas": schemas },
    })
}

fn operations(system: &SystemModel) -> Map<String, Value> {
    let channel = || json!({ "$ref": format!("#/channels/{}", system.name) });
    let refer = |name: &str| json!({ "$ref": format!("#/channels/{}/messages/{name}", system.name) });
    let mut operations = Map::new();
    for service in &system.services {
        let sent: Vec<_> = system
            .events
            .iter()
            .filter(|event| event.kind.source == service.name)
            .map(|it| refer(it.kind.name))
            .collect();
        if !sent.is_empty() {
            let summary = format!("What {} publishes, once it is committed.", service.name);
            operations.insert(
                format!("{}-sends", service.name),
                json!({ "action": "send", "channel": channel(), "summary": summary, "messages": sent }),
            );
        }
        if !service.listens.is_empty() {
            let heard: Vec<_> = service.listens.iter().map(|event| refer(event.name)).collect();
            let summary = format!("What {} consumes, as the group {}.{}.", service.name, system.name, service.name);
            operations.insert(
                format!("{}-receives", service.name),
                json!({ "action": "receive", "channel": channel(), "summary": summary, "messages": heard }),
            );
        }
    }
    operations
}

fn message(event: &EventModel, payload: Value) -> Value {
    let examples: Vec<_> = event
        .examples
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .map(|payload| json!({ "payload": payload }))
        .collect();
    json!({
        "name": event.kind.name,
        "title": event.kind.name,
        "summary": event.about,
        "contentType": "application/json",
        "headers": { "$ref": "#/components/schemas/EventHeaders" },
        "payload": {
            "allOf": [
                {
                    "type": "object",
                    "required": ["eventType", "timestamp"],
                    "properties": {
                        "eventType": { "type": "string", "const": event.kind.name },
                        "timestamp": {
                            "type": "integer",
                            "format": "int64",
                            "description": "When it happened, in milliseconds since 1970 UTC.",
                        },
                    },
                },
                payload,
            ],
        },
        "examples": examples,
    })
}

/// The headers of every event: CloudEvents 1.0 in binary mode, and the trace.
fn headers(system: &str) -> Value {
    let text = |about: &str| json!({ "type": "string", "description": about });
    json!({
        "type": "object",
        "required": [
            "type", "contentType", "ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "ce_partitionkey",
        ],
        "properties": {
            "type": text("The type of the event, as in eventType."),
            "contentType": { "type": "string", "const": "application/json" },
            "ce_specversion": { "type": "string", "const": "1.0" },
            "ce_id": text("Unique for its source: epoch, partition and number of the event."),
            "ce_source": text(&format!("The service that published it: /{system}/<service>.")),
            "ce_type": text("The type of the event, as in eventType."),
            "ce_time": { "type": "string", "format": "date-time" },
            "ce_partitionkey": text("The correlation key: the id of the order. It is the key of the message, too."),
            "traceparent": text("The trace in which it happened (W3C Trace Context), if there is one."),
        },
    })
}

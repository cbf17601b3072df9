//! The events as AsyncAPI 3: a channel for the topic of the system, and one for what each service streams at `GET /events`; a
//! message for each kind of event; what each service sends and receives.

use crate::{
    EVENTS,
    schemas::{collected, written},
};
use jumun::{EventModel, EventType, ServiceModel, SystemModel};
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
    let mut channels = Map::from_iter([(
        system.name.to_owned(),
        json!({
            "address": system.name,
            "description": "The topic of the system. Each service reads it as a group of its own; events of one order arrive \
                in the order in which their service published them.",
            "servers": [{ "$ref": format!("#/servers/{BUS}") }],
            "messages": channel_messages,
        }),
    )]);
    channels.extend(publishers(system).map(|service| (stream_name(service), stream(system, service))));
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
        "servers": servers(system),
        "channels": channels,
        "operations": operations(system),
        "components": { "messages": messages, "schemas": schemas },
    })
}

/// The name of the server that stands for the bus.
const BUS: &str = "bus";

/// The services that publish events.
fn publishers(system: &SystemModel) -> impl Iterator<Item = &ServiceModel> {
    system.services.iter().filter(|service| !service.publishes.is_empty())
}

/// What a service publishes, in the order of declaration.
fn published_by<'a>(system: &'a SystemModel, service: &'a ServiceModel) -> impl Iterator<Item = EventType> + 'a {
    system.events.iter().map(|event| event.kind).filter(|kind| service.publishes.contains(kind))
}

/// The bus, and the addresses of the services that stream their events.
fn servers(system: &SystemModel) -> Map<String, Value> {
    let mut servers = Map::from_iter([(
        BUS.to_owned(),
        json!({
            "host": format!("data/{}/bus", system.name),
            "protocol": "log",
            "description": "The logs that the services of the system read and write; the key `bus` names another place.",
        }),
    )]);
    servers.extend(publishers(system).map(|service| {
        let server = json!({
            "host": format!("localhost:{}", service.port),
            "protocol": "http",
            "description": format!("The service {}. Programs in any language follow its events here.", service.name),
        });
        (service.name.to_owned(), server)
    }));
    servers
}

fn stream_name(service: &ServiceModel) -> String {
    format!("{}-events", service.name)
}

/// What a service streams: its events without the headers that they have on the topic.
fn stream(system: &SystemModel, service: &ServiceModel) -> Value {
    let message = |event: EventType| {
        let message = json!({
            "name": event.name,
            "title": event.name,
            "summary": "The event as a server-sent event: `event` is its type, `id` the position behind it, `data` this payload.",
            "contentType": "application/json",
            "payload": { "$ref": format!("#/components/messages/{}/payload", event.name) },
        });
        (event.name.to_owned(), message)
    };
    json!({
        "address": EVENTS,
        "description": "The events of this service as server-sent events (WHATWG HTML, section 9.2), in the order in which they \
            were committed, each once on a connection. A reader that reconnects sends the last id as the header Last-Event-ID \
            and continues behind it.",
        "servers": [{ "$ref": format!("#/servers/{}", service.name) }],
        "messages": published_by(system, service).map(message).collect::<Map<_, _>>(),
    })
}

/// The operation of a stream: how it is requested.
fn streams(system: &SystemModel, service: &ServiceModel) -> Value {
    let channel = format!("#/channels/{}", stream_name(service));
    let types: Vec<_> = published_by(system, service).map(|event| event.name).collect();
    let messages: Vec<_> = types.iter().map(|name| json!({ "$ref": format!("{channel}/messages/{name}") })).collect();
    json!({
        "action": "send",
        "channel": { "$ref": channel },
        "summary": format!("What {} streams to those that follow it.", service.name),
        "messages": messages,
        "bindings": {
            "http": {
                "method": "GET",
                "query": {
                    "type": "object",
                    "properties": {
                        "type": {
                            "type": "array", "items": { "type": "string", "enum": types },
                            "description": "Only events of these types, with commas between them. All without it.",
                        },
                        "from": {
                            "type": "string", "default": "start",
                            "description": "`start`: all events. `end`: new ones only. An id: those behind it. \
                                The header Last-Event-ID wins.",
                        },
                    },
                },
                "bindingVersion": "0.3.0",
            },
        },
    })
}

fn operations(system: &SystemModel) -> Map<String, Value> {
    let channel = || json!({ "$ref": format!("#/channels/{}", system.name) });
    let refer = |name: &str| json!({ "$ref": format!("#/channels/{}/messages/{name}", system.name) });
    let mut operations = Map::new();
    for service in &system.services {
        let sent: Vec<_> = published_by(system, service).map(|event| refer(event.name)).collect();
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
        .extend(publishers(system).map(|service| (format!("{}-streams", service.name), streams(system, service))));
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

//! The model as JSON. Its format is documented in `docs/model.md`; `format` changes when a reader must change.

use crate::{EVENTS, answering, emits, schemas};
use jumun::{AskTarget, EventModel, EventType, FieldModel, ResourceModel, ServiceModel, SystemModel, Verb};
use jumun_http::{DOCS, Page};
use serde_json::{Value, json};

/// The format of the document.
const FORMAT: u32 = 1;

/// The model of a system: services with their aggregates, commands, policies, views, asks and settings; events with schema and
/// examples.
pub fn describe(system: &SystemModel) -> Value {
    let services: Vec<_> = system.services.iter().map(|service| describe_service(system, service)).collect();
    let events: Vec<_> = system.events.iter().map(|event| describe_event(system, event)).collect();
    json!({
        "format": FORMAT,
        "system": system.name,
        "about": system.about,
        "topic": system.name,
        "values": system.values,
        "services": services,
        "events": events,
    })
}

fn describe_service(system: &SystemModel, service: &ServiceModel) -> Value {
    let (views, aggregates): (Vec<_>, Vec<_>) = service.resources.iter().partition(|resource| resource.is_view);
    let aggregates: Vec<_> = aggregates.into_iter().map(|it| describe_aggregate(system, service, it)).collect();
    let views: Vec<_> = views.into_iter().map(describe_view).collect();
    let asks: Vec<_> = service.asks.iter().map(|ask| describe_ask(system, service, *ask)).collect();
    json!({
        "name": service.name,
        "port": service.port,
        "group": format!("{}.{}", system.name, service.name),
        "listens": names(service.listens.iter().copied()),
        "publishes": names(service.publishes.iter().copied()),
        "pages": pages(service),
        "settings": service.default_settings(),
        "otherNames": service.aliases.iter().map(|alias| json!({
            "name": alias.name, "variable": alias.variable, "key": alias.key,
        })).collect::<Vec<_>>(),
        "asks": asks,
        "aggregates": aggregates,
        "views": views,
    })
}

/// What the process of a service answers besides its resources.
fn pages(service: &ServiceModel) -> Vec<&'static str> {
    let events = (!service.publishes.is_empty()).then_some(EVENTS);
    Page::ALL.into_iter().map(Page::path).chain([DOCS]).chain(events).collect()
}

fn describe_aggregate(system: &SystemModel, service: &ServiceModel, aggregate: &ResourceModel) -> Value {
    json!({
        "name": aggregate.name,
        "about": about(aggregate),
        "path": aggregate.path,
        "aliases": aggregate.aliases,
        "ids": { "first": aggregate.ids.first, "every": aggregate.ids.every },
        "commands": commands(system, aggregate),
        "hears": names(aggregate.hears.iter().copied()),
        "emits": names(emits(system, service, aggregate)),
        "policies": aggregate.policies.iter().map(|policy| json!({
            "event": policy.event.name,
            "command": policy.command,
            "instances": policy.instances.as_str(),
        })).collect::<Vec<_>>(),
        "timeOuts": aggregate.time_outs.iter().map(|it| json!({ "name": it.name, "command": it.command })).collect::<Vec<_>>(),
        "belongsBy": aggregate.belongs_by.unwrap_or("id"),
        "reads": reads(aggregate),
        "finders": finders(aggregate),
        "fields": fields(aggregate),
        "schema": schemas::alone(&aggregate.schema),
    })
}

/// All commands of an aggregate, each with who gives it.
fn commands(system: &SystemModel, aggregate: &ResourceModel) -> Vec<Value> {
    let path = aggregate.path;
    let mut commands: Vec<_> = aggregate
        .commands
        .iter()
        .map(|command| {
            let (method, path) = request(command.verb, path);
            let input = command.input.as_ref().map(schemas::read);
            json!({ "name": command.name, "actor": "client", "method": method, "path": path, "input": input })
        })
        .collect();
    if let Some(ask) = &aggregate.ask {
        let askers = system.services.iter().filter(|service| service.asks.contains(&ask.target));
        let askers: Vec<_> = askers.map(|service| service.name).collect();
        commands.push(json!({
            "name": ask.name, "actor": "service", "services": askers, "method": "POST", "path": path,
            "input": schemas::read(&ask.question),
        }));
        commands.push(json!({
            "name": ask.void_name, "actor": "undo", "services": askers, "method": "POST", "path": format!("{path}/void"),
        }));
    }
    commands.extend(aggregate.settles.iter().map(|settle| {
        json!({ "name": settle.name, "actor": "answer", "ask": format!("{}{}", settle.target.service, settle.target.path) })
    }));
    let mut by_policy: Vec<_> = aggregate.policies.iter().map(|policy| policy.command.as_str()).collect();
    by_policy.sort_unstable();
    by_policy.dedup();
    commands.extend(by_policy.into_iter().map(|name| json!({ "name": name, "actor": "policy" })));
    let by_time_out = aggregate.time_outs.iter();
    commands.extend(by_time_out.map(|it| json!({ "name": it.command, "actor": "timeOut", "timeOut": it.name })));
    commands
}

/// The method and the path of a command of clients.
pub(crate) fn request(verb: Verb, path: &str) -> (&'static str, String) {
    match verb {
        Verb::Post => ("POST", path.to_owned()),
        Verb::Delete => ("DELETE", format!("{path}/{{id}}")),
        Verb::Patch => ("PATCH", format!("{path}/{{id}}")),
        Verb::Put(action) => ("PUT", format!("{path}/{{id}}/{action}")),
    }
}

fn describe_view(view: &ResourceModel) -> Value {
    json!({
        "name": view.name,
        "about": about(view),
        "path": view.path,
        "aliases": view.aliases,
        "folds": names(view.hears.iter().copied()),
        "reads": reads(view),
        "finders": finders(view),
        "fields": fields(view),
        "schema": schemas::alone(&view.schema),
    })
}

fn describe_ask(system: &SystemModel, service: &ServiceModel, target: AskTarget) -> Value {
    let mut settles = service.resources.iter().flat_map(|resource| &resource.settles);
    let is_delayed = settles.any(|settle| settle.target == target);
    let Some((_, _, ask)) = answering(system, target) else {
        return json!({ "external": target.service, "delayed": is_delayed, "undo": null });
    };
    json!({
        "service": target.service, "path": target.path, "command": ask.name,
        "delayed": is_delayed, "undo": ask.void_name,
    })
}

fn describe_event(system: &SystemModel, event: &EventModel) -> Value {
    let hearing = system.services.iter().flat_map(|service| &service.resources);
    let heard_by: Vec<_> =
        hearing.filter(|resource| resource.hears.contains(&event.kind)).map(|resource| &resource.name).collect();
    let examples: Vec<Value> = event.examples.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    json!({
        "name": event.kind.name,
        "about": event.about,
        "publishedBy": event.kind.source,
        "heardBy": heard_by,
        "schema": schemas::alone(&event.schema),
        "examples": examples,
    })
}

/// What the type of a resource says about itself.
pub(crate) fn about(resource: &ResourceModel) -> String {
    let schema = schemas::alone(&resource.schema);
    schema["description"].as_str().unwrap_or_default().to_owned()
}

/// What clients can read of a resource, and what each path answers.
fn reads(resource: &ResourceModel) -> Vec<Value> {
    let path = resource.path;
    let mut reads = vec![
        json!({ "path": path, "answers": "page" }),
        json!({ "path": format!("{path}/{{id}}"), "answers": "resource" }),
        json!({ "path": format!("{path}/search"), "answers": "finders" }),
    ];
    let finders = resource.fields.iter().filter(|field| field.is_finder);
    reads.extend(
        finders.map(
            |field| json!({ "path": finder_path(resource.path, field), "parameter": field.name, "answers": "page" }),
        ),
    );
    reads
}

fn finders(resource: &ResourceModel) -> Vec<Value> {
    let finders = resource.fields.iter().filter(|field| field.is_finder);
    finders
        .map(|field| json!({ "name": field.finder_name(), "field": field.name, "path": finder_path(resource.path, field) }))
        .collect()
}

pub(crate) fn finder_path(path: &str, field: &FieldModel) -> String {
    format!("{path}/search/{}", field.finder_name())
}

fn fields(resource: &ResourceModel) -> Vec<&str> {
    resource.fields.iter().map(|field| field.name.as_str()).collect()
}

fn names(events: impl IntoIterator<Item = EventType>) -> Vec<&'static str> {
    events.into_iter().map(|event| event.name).collect()
}

//! The operations of a resource: what may be sent to each of its paths, and what is answered.

use super::components::{component, page_name, resource_name, response_name, schema};
use crate::{
    describe::{about, finder_path, request},
    schemas,
};
use jumun::{AskModel, CommandModel, FieldModel, ResourceModel, ServiceModel, SystemModel, Verb};
use serde_json::{Map, Value, json};

/// Whose API it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// That of a service, which other services call, too.
    Service,
    /// That of the gateway: no asks.
    Gateway,
}

/// Builds the operations of one resource.
struct Operations<'a> {
    system: &'a SystemModel,
    service: &'a ServiceModel,
    resource: &'a ResourceModel,
    /// The path of the resource, or an alias.
    path: &'a str,
    place: Place,
    unavailable_status: u16,
    paths: Map<String, Value>,
}

/// What is below one of the paths of a resource, with the operations.
pub(super) fn paths(
    system: &SystemModel,
    service: &ServiceModel,
    resource: &ResourceModel,
    path: &str,
    place: Place,
    unavailable_status: u16,
) -> Map<String, Value> {
    let mut operations = Operations { system, service, resource, path, place, unavailable_status, paths: Map::new() };
    operations.reads();
    for command in &resource.commands {
        operations.command(command);
    }
    if let (Place::Service, Some(ask)) = (place, &resource.ask) {
        operations.ask(ask);
    }
    operations.paths
}

impl Operations<'_> {
    fn add(&mut self, path: String, method: &str, mut operation: Value) {
        operation["tags"] = json!([self.service.name]);
        let item = self.paths.entry(path).or_insert_with(|| json!({}));
        item[method.to_ascii_lowercase()] = operation;
    }

    fn id(&self, name: &str) -> String {
        format!("{}_{name}", self.path.trim_start_matches('/'))
    }

    fn reads(&mut self) {
        let (resource, path) = (self.resource, self.path);
        let mut documents = about(resource);
        if path != resource.path {
            documents = format!("Another path of {}. {documents}", resource.path);
        }
        let page = schema(&page_name(resource));
        let list_parameters = || vec![parameter("Page"), parameter("Size"), self.sort()];
        let list = json!({
            "operationId": self.id("list"),
            "summary": format!("Lists {}", resource.collection),
            "description": documents,
            "parameters": self.read_parameters(list_parameters()),
            "responses": self.read_responses("A page", &page, &[400, 422]),
        });
        let show = json!({
            "operationId": self.id("show"),
            "summary": format!("Shows one of {}", resource.collection),
            "description": documents,
            "parameters": self.read_parameters(vec![parameter("Id")]),
            "responses": self.read_responses("The resource", &schema(&resource_name(resource)), &[400, 404]),
        });
        let search = json!({
            "operationId": self.id("search"),
            "summary": format!("Lists the finders of {}", resource.collection),
            "parameters": [parameter("IfNoneMatch")],
            "responses": self.read_responses("The finders", &schema("Finders"), &[400]),
        });
        let finders: Vec<_> = resource
            .fields
            .iter()
            .filter(|field| field.is_finder)
            .map(|field| {
                let mut parameters = vec![Self::finder_parameter(field)];
                parameters.extend(list_parameters());
                let operation = json!({
                    "operationId": self.id(&field.finder_name()),
                    "summary": format!("Finds {} by {}", resource.collection, field.name),
                    "parameters": self.read_parameters(parameters),
                    "responses": self.read_responses("A page", &page, &[400, 422]),
                });
                (finder_path(path, field), operation)
            })
            .collect();
        self.add(path.to_owned(), "get", list);
        self.add(format!("{path}/{{id}}"), "get", show);
        self.add(format!("{path}/search"), "get", search);
        for (path, operation) in finders {
            self.add(path, "get", operation);
        }
    }

    fn read_parameters(&self, mut parameters: Vec<Value>) -> Vec<Value> {
        parameters.push(parameter("IfNoneMatch"));
        if self.resource.is_view {
            parameters.push(parameter("Seen"));
        }
        parameters
    }

    fn sort(&self) -> Value {
        let fields: Vec<_> = self.resource.fields.iter().map(|field| field.name.as_str()).collect();
        json!({
            "name": "sort", "in": "query",
            "description": "A field and a direction: `id,desc`. It may come more than once; then the first one counts most.",
            "schema": { "type": "string", "pattern": format!("^({})(,(asc|desc))?$", fields.join("|")) },
        })
    }

    fn finder_parameter(field: &FieldModel) -> Value {
        json!({
            "name": field.name, "in": "query", "required": true,
            "description": "The value, as a text.",
            "schema": { "type": "string" },
        })
    }

    fn read_responses(&self, what: &str, body: &Value, problems: &[u16]) -> Value {
        let mut responses = self.problems(problems);
        responses.insert("200".to_owned(), hal(what, body));
        responses.insert("304".to_owned(), not_modified());
        responses.into()
    }

    fn problems(&self, statuses: &[u16]) -> Map<String, Value> {
        let of_gateway: &[u16] = if self.place == Place::Gateway { &[429, 502, 504] } else { &[] };
        problems(&[statuses, of_gateway].concat(), self.unavailable_status)
    }

    fn command(&mut self, command: &CommandModel) {
        let (method, path) = request(command.verb, self.path);
        let body = schema(&resource_name(self.resource));
        // What needs no other service cannot be declined; but only the decision knows, so the services that pay may answer it.
        let may_decline = !self.service.asks.is_empty() || self.resource.ask.is_some();
        let declined: &[u16] = if may_decline { &[402] } else { &[] };
        let (problems, success): (&[u16], _) = match command.verb {
            Verb::Post => (&[400, 409, 413, 415, 422], ("201", self.created(&body))),
            Verb::Patch => (&[400, 404, 409, 413, 415, 422], ("200", with_seen(hal("The resource", &body)))),
            Verb::Put(_) => (&[400, 404, 409, 422], ("200", with_seen(hal("The resource", &body)))),
            Verb::Delete => (&[400, 404, 409, 422], ("204", with_seen(json!({ "description": "Done." })))),
        };
        let mut responses = self.problems(&[problems, declined].concat());
        responses.insert(success.0.to_owned(), success.1);
        let mut parameters = vec![parameter("IdempotencyKey")];
        if command.verb != Verb::Post {
            parameters.insert(0, parameter("Id"));
        }
        let mut operation = json!({
            "operationId": self.id(&command.name),
            "summary": command.name,
            "parameters": parameters,
            "responses": responses,
        });
        if let Some(input) = &command.input {
            operation["requestBody"] = self.body(schemas::read(input), command.verb == Verb::Post);
        }
        self.add(path, method, operation);
    }

    fn created(&self, body: &Value) -> Value {
        let mut response = with_seen(hal("It is made", body));
        response["headers"]["Location"] = component("headers", "Location");
        let mut links = json!({ "show": self.link("show") });
        for command in self.resource.commands.iter().filter(|command| command.verb != Verb::Post) {
            links[&command.name] = self.link(&command.name);
        }
        response["links"] = links;
        response
    }

    fn link(&self, name: &str) -> Value {
        json!({ "operationId": self.id(name), "parameters": { "id": "$response.body#/id" } })
    }

    fn body(&self, schema: Value, founds: bool) -> Value {
        let load = self.system.load.filter(|line| founds && self.resource.paths().any(|path| line.path == path));
        let mut media = json!({ "schema": schema });
        if let Some(example) = load.and_then(|line| serde_json::from_str::<Value>(line.body).ok()) {
            media["example"] = example;
        }
        json!({ "required": true, "content": { "application/json": media } })
    }

    /// What only other services may send. For a path that takes commands of clients, too, these are documented already.
    fn ask(&mut self, ask: &AskModel) {
        let resource = self.resource;
        let headers = json!([
            { "name": "Idempotency-Key", "in": "header", "required": true, "description": "The id of the ask.",
              "schema": { "type": "string", "format": "uuid" } },
            { "name": "Jumun-Expires", "in": "header", "required": true,
              "description": "Until when the asker waits, in milliseconds since 1970 UTC.",
              "schema": { "type": "integer", "format": "int64", "minimum": 0 } },
        ]);
        let note = "Only services of this system send this, as part of a command to them; everyone else gets 403. The gateway \
            does not route it.";
        if !resource.commands.iter().any(|command| command.verb == Verb::Post) {
            let mut responses = self.problems(&[400, 402, 403, 409, 413, 415, 422]);
            let body = schema(&resource_name(resource));
            responses.insert("201".to_owned(), with_seen(hal("It is done", &body)));
            let asked = json!({
                "operationId": self.id(&ask.name), "summary": format!("{} (ask)", ask.name), "description": note,
                "x-jumun-ask": true, "parameters": headers, "responses": responses,
                "requestBody": self.body(schemas::read(&ask.question), false),
            });
            self.add(self.path.to_owned(), "post", asked);
        }
        let mut responses = self.problems(&[400, 403]);
        responses.insert("204".to_owned(), json!({ "description": "It is undone." }));
        let undone = json!({
            "operationId": self.id(&ask.void_name), "summary": format!("{} (undoes an ask)", ask.void_name),
            "description": note, "x-jumun-ask": true, "parameters": headers, "responses": responses,
        });
        self.add(format!("{}/void", self.path), "post", undone);
    }
}

pub(super) fn parameter(name: &str) -> Value {
    component("parameters", name)
}

/// The problems of an operation besides those that any has.
pub(super) fn problems(statuses: &[u16], unavailable_status: u16) -> Map<String, Value> {
    let common = [406, 412, unavailable_status];
    let statuses = statuses.iter().chain(&common);
    let mut responses: Map<_, _> =
        statuses.map(|status| (status.to_string(), component("responses", &response_name(*status)))).collect();
    responses.insert("default".to_owned(), component("responses", "Problem"));
    responses
}

pub(super) fn not_modified() -> Value {
    let headers = json!({ "X-Request-Id": component("headers", "RequestId") });
    json!({ "description": "It is there (If-None-Match).", "headers": headers })
}

/// A response with a body, which clients get as HAL or as plain JSON.
fn hal(description: &str, schema: &Value) -> Value {
    json!({
        "description": description,
        "headers": { "X-Request-Id": component("headers", "RequestId") },
        "content": { "application/hal+json": { "schema": schema }, "application/json": { "schema": schema } },
    })
}

fn with_seen(mut response: Value) -> Value {
    response["headers"]["X-Request-Id"] = component("headers", "RequestId");
    response["headers"]["Jumun-Seen"] = component("headers", "Seen");
    response
}

//! What operations refer to: schemas, parameters, headers, problems.

use jumun::ResourceModel;
use jumun_http::{
    Code, TYPE_PREFIX,
    limits::{BODY_MAX_BYTES, KEY_MAX_BYTES, PAGE_SIZE, PAGE_SIZE_MAX},
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A reference to a component.
pub(super) fn component(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

pub(super) fn schema(name: &str) -> Value {
    component("schemas", name)
}

/// The name of the schema of a resource as clients see it.
pub(super) fn resource_name(resource: &ResourceModel) -> String {
    format!("{}Resource", resource.name)
}

/// The name of the schema of a page of resources.
pub(super) fn page_name(resource: &ResourceModel) -> String {
    format!("{}Page", resource.name)
}

/// A resource and a page of them, in HAL.
pub(super) fn resource(resource: &ResourceModel, document: Value) -> [(String, Value); 2] {
    let link_to_itself = object(json!({ "_links": object(json!({ "self": schema("Link") })) }));
    let embedded = json!({ resource.collection: { "type": "array", "items": schema(&resource_name(resource)) } });
    [
        (resource_name(resource), json!({ "allOf": [document, link_to_itself] })),
        (
            page_name(resource),
            object(json!({
                "_embedded": object(embedded),
                "_links": schema("PageLinks"),
                "page": schema("PageInfo"),
            })),
        ),
    ]
}

/// An object all of whose properties are there.
pub(super) fn object(properties: Value) -> Value {
    let required: Vec<_> = properties.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    json!({ "type": "object", "required": required, "properties": properties })
}

/// The schemas that all resources share.
pub(super) fn schemas() -> [(String, Value); 6] {
    let count = || json!({ "type": "integer", "format": "int64", "minimum": 0 });
    let types: Vec<_> = Code::ALL.iter().map(|code| format!("{TYPE_PREFIX}{}", code.as_str())).collect();
    let mut page_links = object(json!({ "self": schema("Link"), "first": schema("Link"), "last": schema("Link") }));
    page_links["properties"]["prev"] = schema("Link");
    page_links["properties"]["next"] = schema("Link");
    let mut problem = object(json!({
        "type": { "type": "string", "enum": types, "description": "The kind of problem; it stays the same over releases." },
        "title": { "type": "string" },
        "status": { "type": "integer", "minimum": 400, "maximum": 599 },
        "detail": { "type": "string", "description": "What happened, and what the caller can do." },
        "instance": { "type": "string", "description": "The path of the request." },
        "requestId": { "type": "string", "description": "By this id logs name the request." },
    }));
    problem["properties"]["field"] = json!({ "type": "string", "description": "The field that is invalid." });
    problem["description"] = json!("An error (RFC 9457).");
    let mut link = object(json!({ "href": { "type": "string" } }));
    link["properties"]["templated"] = json!({ "type": "boolean" });
    let finders = json!({ "type": "object", "required": ["self"], "additionalProperties": schema("Link") });
    [
        ("Link", link),
        ("PageLinks", page_links),
        (
            "PageInfo",
            object(json!({ "size": count(), "totalElements": count(), "totalPages": count(), "number": count() })),
        ),
        ("Finders", object(json!({ "_links": finders }))),
        ("Problem", problem),
        ("Seen", json!({ "type": "string", "pattern": "^[^/]+/[0-9]+/[0-9]+$", "examples": ["order/0/7"] })),
    ]
    .map(|(name, schema)| (name.to_owned(), schema))
}

/// The parameters that several operations have.
pub(super) fn parameters() -> Value {
    json!({
        "Id": {
            "name": "id", "in": "path", "required": true,
            "schema": { "type": "integer", "format": "int64", "minimum": 1 },
        },
        "Page": {
            "name": "page", "in": "query", "description": "The number of the page, from 0.",
            "schema": { "type": "integer", "minimum": 0, "maximum": u32::MAX },
        },
        "Size": {
            "name": "size", "in": "query",
            "description": format!("Resources on a page: {PAGE_SIZE} by default. More than {PAGE_SIZE_MAX} are {PAGE_SIZE_MAX}."),
            "schema": { "type": "integer", "minimum": 1 },
        },
        "IdempotencyKey": {
            "name": "Idempotency-Key", "in": "header",
            "description": "Makes it safe to send the request again: the same key gets the same answer, and there is one effect. \
                A key belongs to one request: with another one it is 422.",
            "schema": { "type": "string", "minLength": 1, "maxLength": KEY_MAX_BYTES, "pattern": "^[!-~]+$" },
        },
        "IfNoneMatch": {
            "name": "If-None-Match", "in": "header",
            "description": "`*`: the resource is wanted only if it is not there, so the answer is 304. Resources have no entity \
                tags, so other values change nothing, and every If-Match but `*` is 412.",
            "schema": { "type": "string", "examples": ["*"] },
        },
        "Seen": {
            "name": "Jumun-Seen", "in": "header",
            "description": "Read your own writes: the Jumun-Seen of the answer to a command. The view answers once it has \
                applied that event.",
            "schema": schema("Seen"),
        },
    })
}

/// The headers of answers.
pub(super) fn headers() -> Value {
    json!({
        "RequestId": { "description": "By this id logs name the request.", "required": true, "schema": { "type": "string" } },
        "Location": { "description": "The path of the new resource.", "required": true, "schema": { "type": "string" } },
        "Seen": { "description": "The last event of the command: a view takes it as Jumun-Seen.", "schema": schema("Seen") },
        "RetryAfter": {
            "description": "Seconds to wait before the next attempt.", "required": true,
            "schema": { "type": "integer", "minimum": 1 },
        },
    })
}

/// The name of the response for a status, among the components.
pub(super) fn response_name(status: u16) -> String {
    format!("Problem{status}")
}

/// A response for each status that a problem can have, and one for all that concerns any request.
pub(super) fn responses(is_gateway: bool, unavailable_status: u16) -> Value {
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in Code::ALL {
        let of_gateway =
            matches!(code, Code::TooManyRequests | Code::BadGateway | Code::GatewayTimeout | Code::OutcomeUnknown);
        let status = if code.is_unavailable() { unavailable_status } else { code.status() };
        if is_gateway || !of_gateway {
            by_status.entry(status).or_default().push(code);
        }
    }
    let mut responses = Map::new();
    for (status, codes) in by_status {
        let meaning = |code: &Code| format!("{}: {}", code.as_str(), code.title());
        let description = codes.iter().map(meaning).collect::<Vec<_>>().join("; ");
        let may_retry = codes.iter().all(|code| code.is_unavailable() || *code == Code::TooManyRequests);
        let mut response = problem(&description);
        if may_retry {
            response["headers"]["Retry-After"] = component("headers", "RetryAfter");
        }
        responses.insert(response_name(status), response);
    }
    let any = format!(
        "What concerns any request, whatever its path: a head that cannot be read or is too large, a body that comes too \
         slowly or is over {BODY_MAX_BYTES} bytes, a defect of the service."
    );
    responses.insert("Problem".to_owned(), problem(&any));
    responses.into()
}

fn problem(description: &str) -> Value {
    json!({
        "description": description,
        "headers": { "X-Request-Id": component("headers", "RequestId") },
        "content": { "application/problem+json": { "schema": schema("Problem") } },
    })
}

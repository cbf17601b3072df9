//! A request as a handler sees it.

use super::shared::Shared;
use axum::{
    RequestExt,
    extract::{RawPathParams, Request},
    http::{HeaderMap, HeaderValue},
};
use jumun::ResourceModel;
use jumun_http::{Code, Problem, Reply};
use jumun_telemetry::Origin;
use std::borrow::Cow;

/// The outcome of a handler.
pub(super) type Handled = Result<Reply, Problem>;

/// The target of a request, and its origin.
pub(super) struct At {
    pub(super) shared: Shared,
    /// The resource, by its index in the model.
    pub(super) resource: usize,
    /// The command, by its index in the resource, where the route is that of a command.
    pub(super) command: usize,
    pub(super) origin: Origin,
}

impl At {
    pub(super) fn model(&self) -> &ResourceModel {
        &self.shared.engine.core().model().resources[self.resource]
    }
}

/// The parameter of the path: the id, or the name of a finder.
pub(super) async fn parameter(request: &mut Request) -> String {
    let parameters = request.extract_parts::<RawPathParams>().await;
    parameters.ok().and_then(|all| all.iter().next().map(|(_, value)| value.to_owned())).unwrap_or_default()
}

/// The id in the path: 1 or more. `+1` and `01` are numbers too, but no document has such a path.
pub(super) async fn id(request: &mut Request) -> Result<i64, Problem> {
    let segment = parameter(request).await;
    segment.parse().ok().filter(|id: &i64| *id >= 1 && id.to_string() == segment).ok_or_else(not_there)
}

/// A header that has one value. Which of several counts is not ours to choose.
pub(super) fn single<'h>(head: &'h HeaderMap, name: &'static str) -> Result<Option<&'h HeaderValue>, Problem> {
    let mut values = head.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Problem::new(Code::Malformed, format!("The header {name} comes more than once."))),
        (value, None) => Ok(value),
    }
}

/// A value that is missing or impossible, such as a parameter of the query.
pub(super) fn invalid(field: &str, why: impl Into<Cow<'static, str>>) -> Problem {
    Problem { field: Some(field.to_owned()), ..Problem::new(Code::Invalid, why) }
}

pub(super) fn not_there() -> Problem {
    Problem::new(Code::NotFound, "There is nothing of this id.")
}

//! What all handlers of a service share.

use super::readiness::Readiness;
use crate::{engine::Engine, events::Consumer};
use axum::http::StatusCode;
use std::{collections::BTreeSet, sync::Arc};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// What all handlers share.
#[derive(Clone)]
pub(crate) struct Shared(Arc<SharedParts>);

pub(crate) struct SharedParts {
    pub(crate) engine: Engine,
    pub(crate) readiness: Readiness,
    /// The services of the system.
    pub(crate) services: BTreeSet<&'static str>,
    /// The status of answers that mean *not now*.
    pub(crate) unavailable_status: StatusCode,
    /// Places of clients that follow the events.
    pub(crate) followers: Arc<Semaphore>,
    /// Ends what has no end of its own.
    pub(crate) stop: CancellationToken,
    /// The OpenAPI document of the service.
    pub(crate) openapi: String,
    /// What `/actuator/info` shows, JSON.
    pub(crate) info: String,
    /// The consumer, if the service listens to any source.
    pub(crate) consumer: Option<Consumer>,
}

impl Shared {
    pub(crate) fn new(parts: SharedParts) -> Self {
        Self(Arc::new(parts))
    }
}

impl std::ops::Deref for Shared {
    type Target = SharedParts;
    fn deref(&self) -> &SharedParts {
        &self.0
    }
}

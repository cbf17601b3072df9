//! What all handlers of a service share.

use super::readiness::Readiness;
use crate::{engine::Engine, events::Consumer};
use axum::http::StatusCode;
use std::sync::Arc;

/// What all handlers share.
#[derive(Clone)]
pub(crate) struct Shared(Arc<SharedParts>);

pub(crate) struct SharedParts {
    pub(crate) engine: Engine,
    pub(crate) readiness: Readiness,
    /// The status of answers that mean *not now*.
    pub(crate) unavailable_status: StatusCode,
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

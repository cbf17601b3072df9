//! The systems that the program can run.

use crate::Failure;
use jumun::SystemModel;

/// The systems passed to [`main`](crate::main).
#[derive(Clone, Copy)]
pub(crate) struct Systems<'a>(pub(crate) &'a [fn() -> SystemModel]);

impl Systems<'_> {
    /// The models of all systems.
    pub(crate) fn models(self) -> impl Iterator<Item = SystemModel> {
        self.0.iter().map(|system| system())
    }

    pub(crate) fn find(self, name: &str) -> Result<SystemModel, Failure> {
        self.models().find(|system| system.name == name).ok_or_else(|| {
            let names: Vec<_> = self.models().map(|system| system.name).collect();
            let why = format!("there is no system `{name}`");
            Failure::new("system-unknown", why, format!("Name one of: {}.", names.join(", ")))
        })
    }
}

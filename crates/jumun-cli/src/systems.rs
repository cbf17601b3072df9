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
        self.models()
            .find(|system| system.name == name)
            .ok_or_else(|| Failure::new("system-unknown", format!("there is no system `{name}`"), self.offer()))
    }

    /// The named system; without a name the only one.
    pub(crate) fn named(self, name: Option<&str>) -> Result<SystemModel, Failure> {
        match (name, self.0) {
            (Some(name), _) => self.find(name),
            (None, [only]) => Ok(only()),
            (None, _) => Err(Failure::new("system-unclear", "this program has several systems", self.offer())),
        }
    }

    fn offer(self) -> String {
        let names: Vec<_> = self.models().map(|system| system.name).collect();
        format!("Name one of: {}.", names.join(", "))
    }
}

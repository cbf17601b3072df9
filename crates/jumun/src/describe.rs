//! What a system tells about itself besides what its services need to run: names of commands, policies, schemas. Read off the
//! types, and off the examples of events where only running the code can show it.

use crate::event::EventType;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use std::{
    any::type_name,
    fmt::{self, Debug},
    sync::Arc,
};

/// The schema of a type, made with a generator that collects the definitions which it refers to.
pub type SchemaOf = Arc<dyn Fn(&mut SchemaGenerator) -> Schema + Send + Sync>;

/// The policies of a service that an event sets off: the position of the aggregate, and the policy. None: the event cannot be
/// decoded.
pub(crate) type PoliciesOf = Arc<dyn Fn(&str, &str) -> Option<Vec<(usize, PolicyModel)>> + Send + Sync>;

/// A kind of event, as the system documents it.
#[derive(Clone)]
pub struct EventModel {
    /// Its name and source.
    pub kind: EventType,
    /// What it says.
    pub about: &'static str,
    /// The schema of its fields: all but `eventType` and `timestamp`.
    pub schema: SchemaOf,
    /// Events of this kind as releases have published them, JSON.
    pub examples: Vec<&'static str>,
}

impl Debug for EventModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventModel").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// A policy: an event causes a command. The examples of the system show it; an exploration ([`saga`](crate::saga)) fails on
/// one that they do not show.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyModel {
    /// The event.
    pub event: EventType,
    /// The name of the command.
    pub command: String,
    /// The instances that decide the command.
    pub instances: Instances,
}

/// The instances that a policy commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Instances {
    /// The one that the event concerns: [`react`](crate::Aggregate::react).
    Concerned,
    /// The first ones that an index finds: [`react_first`](crate::Aggregate::react_first).
    First,
    /// New ones: [`react_anew`](crate::Aggregate::react_anew).
    New,
}

impl Instances {
    /// The word for it in the model of a system.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Concerned => "concerned",
            Self::First => "first",
            Self::New => "new",
        }
    }
}

/// A time-out of an aggregate. The examples of the system show it, with every limit on; an exploration ([`saga`](crate::saga))
/// fails on one that they do not show.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOutModel {
    /// What an instance waits for: usually the key of the setting that says how long, such as `accept_within`.
    pub name: &'static str,
    /// The name of the command that decides then.
    pub command: String,
}

pub(crate) fn schema_of<T: JsonSchema + 'static>() -> SchemaOf {
    Arc::new(SchemaGenerator::subschema_for::<T>)
}

/// The name of a command: that of its variant. Its content is dropped, as it may hold a card number.
pub(crate) fn name_of(command: &impl Debug) -> String {
    let text = format!("{command:?}");
    text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

/// The name of the commands that a function makes of an input: that of the variant, if the function is its constructor;
/// otherwise that of the input.
pub(crate) fn name_of_function<F, I>() -> String {
    let last = |path: &'static str| path.rsplit("::").next().unwrap_or_default().trim_end_matches('>').to_owned();
    match type_name::<F>().strip_suffix("::{{constructor}}") {
        Some(variant) => last(variant),
        None => last(type_name::<I>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Card;

    #[derive(Debug)]
    enum Command {
        Cancel,
        Pay(#[allow(dead_code, reason = "shown by Debug")] Card),
        Change { _to: i32 },
    }

    fn named<F: Fn(I) -> Command, I>(_: F) -> String {
        name_of_function::<F, I>()
    }

    #[test]
    fn a_command_is_called_as_its_variant() {
        assert_eq!(name_of(&Command::Cancel), "Cancel");
        assert_eq!(name_of(&Command::Pay(Card)), "Pay");
        assert_eq!(name_of(&Command::Change { _to: 7 }), "Change");
        assert_eq!(named(Command::Pay), "Pay");
        assert_eq!(named(|card: Card| Command::Pay(card)), "Card");
    }
}

//! The first instances that an index finds: for policies that serve those who wait, in order.

use crate::limits::CHOSEN_MAX;
use serde::Serialize;
use serde_json::Value;

/// Fields of a document that together have an index: `&["bookId", "status"]`. See [`Resource::index`](crate::Resource::index).
pub type Index = &'static [&'static str];

/// What a policy does with the first instances, by id, whose indexed fields have certain values.
///
/// ```text
/// // The customer who has waited longest for this book gets the offer.
/// First::by(WAITING, (book_id, Status::Waiting), Command::Offer)
/// ```
///
/// Ids rise in the order in which instances are made, so the smallest id has waited longest. Hidden instances are not
/// found. Where no instance is found, nothing happens.
#[derive(Debug, Clone)]
pub struct First<C> {
    pub(crate) index: Index,
    pub(crate) choices: Vec<Value>,
    pub(crate) at_most: usize,
    pub(crate) command: C,
}

impl<C> First<C> {
    /// The first instance whose fields have these values (a tuple, in the order of the index).
    pub fn by(index: Index, values: impl Serialize, command: C) -> Self {
        Self::among(index, [values], command)
    }

    /// The same, where several values will do: those of the first ones first.
    pub fn among<V: Serialize>(index: Index, values: impl IntoIterator<Item = V>, command: C) -> Self {
        values.into_iter().fold(Self { index, choices: Vec::new(), at_most: 1, command }, Self::or)
    }

    /// Where too few instances have the values before, one that has these.
    #[must_use]
    pub fn or(mut self, values: impl Serialize) -> Self {
        self.choices.push(serde_json::to_value(values).unwrap_or_default()); // values that are no data find nothing
        self
    }

    /// The first `count` instances instead of one; at most [`CHOSEN_MAX`].
    #[must_use]
    pub fn at_most(self, count: i64) -> Self {
        Self { at_most: usize::try_from(count).unwrap_or_default().min(CHOSEN_MAX), ..self }
    }
}

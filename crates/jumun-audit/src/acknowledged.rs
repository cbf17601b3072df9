//! The check of acknowledged commands: what a client remembers must be in the database.

use crate::keys::Keys;
use jumun::{FieldValue, ResourceModel};
use jumun_database::Document;
use serde_json::Value;

/// The commands that a system has acknowledged to a client.
#[derive(Debug, Clone, Default)]
pub struct Acknowledged {
    /// The collection of the documents.
    pub collection: &'static str,
    /// Documents whose creation was acknowledged with 201.
    pub made: Keys,
    /// Documents whose cancellation was acknowledged: a subset of those that were created.
    pub ended: Keys,
    /// The field and the value that a cancelled document must have.
    pub ended_says: Option<FieldValue>,
}

impl Acknowledged {
    /// What acknowledged command about this key is lost, if any. The system acknowledges after its commit is on disk, so
    /// there is no reason to read again.
    pub(crate) fn lost(&self, key: i64, rows: &[(&ResourceModel, Document)]) -> Option<String> {
        let mut documents = rows.iter().filter(|(resource, _)| resource.collection == self.collection);
        let Some((_, document)) = documents.find(|(_, document)| document.shown) else {
            return Some("it was acknowledged, but it does not exist: acknowledged and lost".to_owned());
        };
        let (field, expected) = self.ended_says.filter(|_| self.ended.contains(key))?;
        let body: Value = serde_json::from_str(&document.body).unwrap_or_default();
        let is_kept = body[field] == expected;
        (!is_kept).then(|| format!("its cancel was acknowledged, and its {field} is {}", body[field]))
    }
}

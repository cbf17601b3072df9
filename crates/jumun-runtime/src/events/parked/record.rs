//! A parked event as it is stored.

use jumun_database::{Document, Query, ReadDatabase, ReadError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The collection of parked events.
pub const PARKED: &str = "parked";

/// An event that waits for a retry, or for an operator to discard it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Parked {
    /// Where it comes from.
    pub source: String,
    /// The partition.
    pub partition: u16,
    /// Its number there.
    pub sequence: u64,
    /// Its type.
    pub event_type: String,
    /// The order that it belongs to.
    pub key: i64,
    /// When it happened, in milliseconds since 1970 UTC.
    pub time_ms: i64,
    /// The trace in which it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// As published.
    pub body: String,
    /// Why it is parked.
    pub cause: String,
    /// Whether an operator has discarded it: it has no effect, and lists leave it out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_discarded: bool,
}

/// The orders with parked events.
pub(crate) async fn parked_keys(database: &dyn ReadDatabase) -> Result<BTreeSet<i64>, ReadError> {
    let parked = parked(database, None).await?;
    Ok(parked.into_iter().map(|(_, parked)| parked.key).collect())
}

/// Parked events of one order, or all, in the order in which they were parked.
pub async fn parked(database: &dyn ReadDatabase, key: Option<i64>) -> Result<Vec<(Document, Parked)>, ReadError> {
    let mut all = Vec::new();
    let mut offset = 0;
    loop {
        let filter = key.map(|key| ("key".into(), key.to_string()));
        let size = jumun_database::limits::PAGE_MAX_ROWS;
        let page = database.page(Query { collection: PARKED, filter, sort: Vec::new(), offset, size }).await?;
        offset += page.documents.len() as u64;
        let is_last = page.documents.len() < size as usize;
        all.extend(page.documents.into_iter().filter_map(|document| {
            let parked = serde_json::from_str(&document.body).ok()?;
            Some((document, parked))
        }));
        if is_last {
            return Ok(all);
        }
    }
}

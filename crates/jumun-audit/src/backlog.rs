//! The backlog: events that some consumer has not processed yet.

use crate::table::Databases;
use jumun::SystemModel;
use jumun_database::{ReadError, limits::PAGE_MAX_ROWS};
use std::collections::BTreeSet;

/// The keys of events that some consumer has not processed yet.
pub(crate) async fn keys_in_backlog(model: &SystemModel, databases: &Databases) -> Result<BTreeSet<i64>, ReadError> {
    let mut keys = BTreeSet::new();
    for listener in model.services.iter().filter(|service| !service.listens.is_empty()) {
        // A service that has never run has no offsets.
        let offsets = match databases.get(listener.name) {
            Some(database) => database.positions().await?,
            None => Vec::new(),
        };
        for (source, journal) in databases.iter().filter(|(source, _)| *source != listener.name) {
            if !listener.listens.iter().any(|event| event.source == source) {
                continue;
            }
            for partition in 0..journal.identity().partitions {
                let offset = offsets.iter().find(|offset| offset.source == *source && offset.partition == partition);
                let mut after = offset.map_or(0, |offset| offset.sequence);
                loop {
                    let events = journal.journal(partition, after, PAGE_MAX_ROWS).await?;
                    let Some(last) = events.last() else { break };
                    after = last.sequence;
                    let is_consumed = |event_type: &str| listener.listens.iter().any(|event| event.name == event_type);
                    keys.extend(events.iter().filter(|event| is_consumed(&event.event_type)).map(|event| event.key));
                }
            }
        }
    }
    Ok(keys)
}

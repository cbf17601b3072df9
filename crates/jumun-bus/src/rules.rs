//! What every adapter refuses.

use crate::{Bus, BusError, Delivery, Record, Source, limits};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Whether there can be such a source: its name is that of a folder, too.
pub(crate) fn check_source(source: &Source) -> Result<(), BusError> {
    check_service(&source.service)?;
    if source.partitions == 0 || source.partitions > limits::PARTITIONS_MAX {
        let (service, partitions, most) = (&source.service, source.partitions, limits::PARTITIONS_MAX);
        return Err(BusError::Unavailable(format!("{service}: {partitions} partitions; it must be 1 to {most}")));
    }
    Ok(())
}

/// The error of one source while others had events: a subscription returns these first.
#[derive(Debug, Default)]
pub(crate) struct Postponed(Option<BusError>);

impl Postponed {
    /// Returns the error that the last poll postponed.
    pub(crate) fn take(&mut self) -> Result<(), BusError> {
        self.0.take().map_or(Ok(()), Err)
    }

    /// The result of a poll. An error waits for the next poll if there are events.
    pub(crate) fn after(&mut self, found: Vec<Delivery>, failed: Option<BusError>) -> Result<Vec<Delivery>, BusError> {
        match failed {
            Some(error) if found.is_empty() => Err(error),
            failed => {
                self.0 = failed;
                Ok(found)
            }
        }
    }
}

/// See [`check_source`].
pub(crate) fn check_service(service: &str) -> Result<(), BusError> {
    let usable = !service.is_empty()
        && service.len() <= limits::SERVICE_MAX_BYTES
        && !service.starts_with('.')
        && !service.contains(['/', '\\', '\0']);
    if usable { Ok(()) } else { Err(BusError::Unavailable(format!("{service:?} cannot be the name of a service"))) }
}

/// That what is there belongs to the source that wants to publish.
pub(crate) fn check_same(found: &Source, wanted: &Source) -> Result<(), BusError> {
    let service = wanted.service.clone();
    if found.epoch != wanted.epoch {
        return Err(BusError::AnotherEpoch { service, found: found.epoch, wanted: wanted.epoch });
    }
    if found.partitions != wanted.partitions {
        let (found, wanted) = (found.partitions, wanted.partitions);
        return Err(BusError::AnotherPartitions { service, found, wanted });
    }
    Ok(())
}

/// Checks that each record has the next number of its partition, and none is too large.
pub(crate) fn check_records(source: &Source, last: &[u64], records: &[Record]) -> Result<(), BusError> {
    let mut last = last.to_vec();
    for record in records {
        let Record { partition, sequence, .. } = *record;
        let Some(after) = last.get_mut(usize::from(partition)) else {
            let (service, partitions) = (&source.service, source.partitions);
            return Err(BusError::Unavailable(format!("{service}: partition {partition} of {partitions}")));
        };
        if sequence != *after + 1 {
            let service = source.service.clone();
            return Err(BusError::Gap { service, partition, after: *after, found: sequence });
        }
        *after = sequence;
        let headers: usize = record.headers.iter().map(|(name, value)| 8 + name.len() + value.len()).sum();
        let bytes = 64 + record.event_type.len() + headers + record.body.len();
        let name = record.headers.iter().map(|(name, _)| name.len()).fold(record.event_type.len(), usize::max);
        if bytes > limits::RECORD_MAX_BYTES || name > limits::NAME_MAX_BYTES {
            let service = &source.service;
            return Err(BusError::Unavailable(format!(
                "{service}/{partition}: event {sequence} is over a limit: {bytes} bytes, the longest name {name}"
            )));
        }
    }
    Ok(())
}

/// The numbers from which on a log must be kept, for a time and for consumers; None where nothing may be deleted.
pub(crate) fn keep_from(
    bus: &impl Bus,
    service: &str,
    epoch: Uuid,
    since_ms: i64,
    consumers: &BTreeSet<String>,
) -> Result<Option<Vec<u64>>, BusError> {
    let mut keep_from = bus.keep_since(service, since_ms)?;
    for consumer in consumers {
        let Some(released) = bus.released(service, consumer)?.filter(|released| released.epoch == epoch) else {
            return Ok(None);
        };
        for (partition, keep_from) in keep_from.iter_mut().enumerate() {
            let up_to = released.up_to.get(partition).copied().unwrap_or_default();
            *keep_from = up_to.saturating_add(1).min(*keep_from);
        }
    }
    Ok(Some(keep_from))
}

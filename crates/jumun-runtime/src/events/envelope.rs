//! The headers of an event: CloudEvents 1.0 in binary mode, and the trace in which it happened.
//!
//! The embedded bus stores only the header that does not follow from the record, which is the trace. The others are derived
//! from a record where a command shows them, or where a bus carries them (CloudEvents, *Kafka Protocol Binding*).

use jiff::Timestamp;
use jumun_bus::{Record, Source};
use jumun_database::JournalRecord;
use jumun_telemetry::{TRACEPARENT, TraceContext};

/// All headers of an event of this system.
pub fn headers(system: &str, source: &Source, event: &Record) -> Vec<(String, String)> {
    let Record { partition, sequence, event_type, key, time_ms, headers, .. } = event;
    let time = Timestamp::from_millisecond(*time_ms).map_or_else(|_| String::new(), |time| format!("{time:.3}"));
    let own = |(name, value): (&str, String)| (name.to_owned(), value);
    let derived = [
        ("type", event_type.clone()),
        ("contentType", "application/json".to_owned()),
        ("ce_specversion", "1.0".to_owned()),
        // The same number in two epochs names two events.
        ("ce_id", format!("{}/{partition}/{sequence}", source.epoch)),
        ("ce_source", format!("/{system}/{}", source.service)),
        ("ce_type", event_type.clone()),
        ("ce_time", time),
        ("ce_partitionkey", key.to_string()),
    ];
    derived.map(own).into_iter().chain(headers.iter().cloned()).collect()
}

/// An event of the journal, as it goes onto the bus.
pub(crate) fn record(event: JournalRecord) -> Record {
    let JournalRecord { partition, sequence, event_type, key, time_ms, trace, body } = event;
    // The other headers of the contract follow from the record, see above.
    let trace = trace.map(|trace| (TRACEPARENT.to_owned(), TraceContext::from_stored(&trace).to_string()));
    Record { partition, sequence, event_type, key, time_ms, headers: Vec::from_iter(trace), body }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_headers_of_the_contract() {
        let source = Source { service: "order".into(), epoch: uuid::Uuid::from_u128(1), partitions: 1 };
        let trace = ("traceparent".to_owned(), "00-…".to_owned());
        let event = Record {
            partition: 0,
            sequence: 7,
            event_type: "Ordered".into(),
            key: 3,
            time_ms: 1_663_830_408_970,
            headers: vec![trace.clone()],
            body: "{}".into(),
        };
        let headers = headers("food-delivery", &source, &event);
        let of = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| &**value);
        assert_eq!((of("type"), of("contentType")), (Some("Ordered"), Some("application/json")));
        assert_eq!((of("ce_specversion"), of("ce_type")), (Some("1.0"), Some("Ordered")));
        assert_eq!(of("ce_id"), Some("00000000-0000-0000-0000-000000000001/0/7"));
        assert_eq!((of("ce_source"), of("ce_partitionkey")), (Some("/food-delivery/order"), Some("3")));
        assert_eq!(of("ce_time"), Some("2022-09-22T07:06:48.970Z"));
        assert_eq!(headers.last(), Some(&trace));
    }
}

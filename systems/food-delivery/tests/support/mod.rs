//! What the specifications of all systems have in common.

use jumun::{Case, Id, PublishedLanguage, Rejection, SystemModel, View};

pub(crate) fn id<T>(id: i64) -> Id<T> {
    Id::new(id).expect("an id")
}

pub(crate) fn conflict(why: &'static str) -> Rejection {
    Rejection::Conflict(why.into())
}

/// Events by their names: a function for each.
macro_rules! events {
    ($($name:ident = $event:ident($carried:expr);)+) => { $(
        fn $name() -> Event {
            Event::$event($carried)
        }
    )+ };
}
pub(crate) use events;

/// Row 7 of a view that is not shown after these events, and is once its founding event has arrived, too.
#[track_caller]
#[allow(dead_code, reason = "a view that shows every row has no founding event")]
pub(crate) fn shown_once<V: View>(before: &[V::Event], founding: &V::Event) -> V {
    assert!(!folded::<V>(before).shown());
    let row: V = folded(before.iter().chain([founding]));
    assert!(row.shown());
    row
}

/// Row 7 of a view, after these events.
pub(crate) fn folded<'a, V: View>(events: impl IntoIterator<Item = &'a V::Event>) -> V {
    events.into_iter().fold(V::row(7), |mut row, event| {
        row.fold(event);
        row
    })
}

/// The system has no problems, and reads everything that it has ever published and writes it the same.
pub(crate) fn assert_is_sound<E: PublishedLanguage>(system: &SystemModel, published: &str) {
    assert_eq!(system.problems(), []);
    for line in published.lines() {
        assert_eq!(written_again::<E>(line), line);
    }
}

/// A published event, read and written again at the same time.
pub(crate) fn written_again<E: PublishedLanguage>(line: &str) -> String {
    let published: serde_json::Value = serde_json::from_str(line).expect("JSON");
    let event = E::decode(published["eventType"].as_str().expect("a type"), line);
    let event = event.expect("readable").expect("known");
    let time = jiff::Timestamp::from_millisecond(published["timestamp"].as_i64().expect("a time"));
    event.encode(time.expect("a time"))
}

/// The events that a service listens to.
pub(crate) fn listens(model: &SystemModel, service: &str) -> Vec<&'static str> {
    model.service(service).expect("a service").listens.iter().map(|event| event.name).collect()
}

/// What the audit says of the rows of case 7, each with its service and the number of its resource: violations, and
/// whether the ledger balances.
pub(crate) fn audited<'a>(
    model: &SystemModel,
    rows: impl IntoIterator<Item = (&'a str, usize, &'a str)>,
) -> (Vec<String>, bool) {
    let case = rows.into_iter().fold(Case::new(7), |case, (service, resource, row)| {
        case.with(&model.service(service).expect("a service").resources[resource], row)
    });
    let findings = (model.audit)(&case);
    (findings.violations().to_vec(), model.ledger.difference(findings.sums()) == 0)
}

//! What the specifications of all systems have in common.

use jumun::given::{Given, given};
use jumun::{Aggregate, BadInput, Case, EventOf, Id, PublishedLanguage, Rejection, SystemModel, Verb, View};

pub(crate) fn id<T>(id: i64) -> Id<T> {
    Id::new(id).expect("an id")
}

pub(crate) fn conflict(why: &'static str) -> Rejection {
    Rejection::Conflict(why.into())
}

/// Events by their names: a function for each. `order_at(OrderStatus): ordered = Ordered(Paid);` is the event `Ordered` with
/// `order_at(OrderStatus::Paid)`.
macro_rules! events {
    ($($at:ident($Status:ident): $($name:ident = $event:ident($status:ident)),+;)+) => { $($(
        fn $name() -> Event {
            Event::$event($at($Status::$status))
        }
    )+)+ };
}
pub(crate) use events;

/// What these events make of instance 7: it is remembered, and no client sees it.
#[track_caller]
#[allow(dead_code, reason = "not in every system an event may come before its order")]
pub(crate) fn hidden<A: Aggregate>(history: impl IntoIterator<Item = EventOf<A>>) -> Given<A> {
    let early = given::<A>(history);
    assert!(!early.state(7).expect("it is remembered").shown(), "and not shown");
    early
}

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

/// The field for which a command refuses a body, and why. None: it takes the body.
#[track_caller]
#[allow(dead_code, reason = "not every system has fields worth it")]
pub(crate) fn refused(model: &SystemModel, service: &str, verb: Verb, body: &str) -> Option<(String, String)> {
    let commands = &model.service(service).expect("a service").resources[0].commands;
    let command = commands.iter().find(|command| command.verb == verb).expect("a command");
    match command.read(body.as_bytes()) {
        Ok(_) => None,
        Err(BadInput::Rejected(Rejection::Invalid { field, why })) => {
            Some((field.unwrap_or_default(), why.into_owned()))
        }
        Err(other) => panic!("{body}: {other:?}"),
    }
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

//! Policies on events of their own service, the first instances of an index, and decisions that read other instances.

use jumun::{
    Aggregate, Behaviour, Context, Decided, Decision, Defect, Documents, First, Id, Index, Outcome, PublishedLanguage,
    ReceivedEvent, Resource, Service, Step, Stored, System, SystemModel, conflict, emit, not_found,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// Someone in the queue of a counter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Ticket {
    id: Id<Ticket>,
    counter: i64,
    is_called: bool,
}

/// A counter that calls one ticket after the other, or is out of order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Counter {
    id: Id<Counter>,
    is_open: bool,
}

jumun::published_language! {
    enum Event, EventKind {
        hall(by id): Opened(Counter), Freed(Counter), Drawn(Ticket), Called(Ticket);
        street(by id): Passed(Counter);
    }
}

const QUEUE: Index = &["counter", "is_called"];
/// The counter that calls the next ticket at once, and so on.
const HASTY: i64 = 9;

#[derive(Debug, Clone, Deserialize, JsonSchema)]
struct At {
    counter: i64,
}

#[derive(Debug, Clone)]
enum Command {
    Draw(At),
    Call,
}

impl Aggregate for Ticket {
    type Terms = (Command, Event);

    const HEARS: &'static [EventKind] = &[EventKind::Drawn, EventKind::Called, EventKind::Freed];

    fn concerns(event: &Event) -> Option<Id<Ticket>> {
        match event {
            Event::Drawn(ticket) | Event::Called(ticket) => Some(ticket.id),
            _ => None,
        }
    }

    fn react_first(event: &Event) -> Option<First<Command>> {
        match event {
            Event::Freed(counter) => Some(First::by(QUEUE, (counter.id, false), Command::Call).at_most(2)),
            Event::Called(ticket) if ticket.counter == HASTY => {
                Some(First::by(QUEUE, (ticket.counter, false), Command::Call))
            }
            _ => None,
        }
    }

    fn decide(ticket: Option<&Ticket>, command: Command, ctx: &Context<'_, Ticket>) -> Decision<Event> {
        match (command, ticket) {
            (Command::Draw(At { counter }), None) => {
                let Some(open) = ctx.read::<Counter>(Id::new(counter).ok_or(jumun::Rejection::NotFound)?)? else {
                    return not_found();
                };
                if !open.is_open {
                    return conflict("the counter is closed");
                }
                emit(Event::Drawn(Ticket { id: ctx.id, counter, is_called: false }))
            }
            (Command::Call, Some(ticket)) => emit(Event::Called(Ticket { is_called: true, ..ticket.clone() })),
            _ => not_found(),
        }
    }
}

#[derive(Debug, Clone)]
struct Open;

impl Aggregate for Counter {
    type Terms = (Open, Event);

    const HEARS: &'static [EventKind] = &[EventKind::Opened, EventKind::Freed, EventKind::Passed];

    fn react(event: &Event) -> Option<Open> {
        match event {
            Event::Passed(_) => Some(Open),
            Event::Opened(counter) if counter.id.get() == HASTY => Some(Open), // a circle
            _ => None,
        }
    }

    fn decide(counter: Option<&Counter>, _: Open, ctx: &Context<'_, Counter>) -> Decision<Event> {
        let counter = counter.cloned().unwrap_or(Counter { id: ctx.id, is_open: true });
        emit(if ctx.id.get() == HASTY { Event::Opened(counter) } else { Event::Freed(counter) })
    }

    fn evolve(_: Option<Counter>, event: &Event) -> Option<Counter> {
        match event {
            Event::Opened(counter) | Event::Freed(counter) => Some(counter.clone()),
            _ => None,
        }
    }
}

fn hall() -> SystemModel {
    let tickets = Resource::<Ticket>::at("/tickets").on_post(Command::Draw).index(QUEUE);
    let counters = Resource::<Counter>::at("/counters");
    System::new("hall", "").service(Service::new("hall", 8081).aggregate(tickets).aggregate(counters)).build()
}

/// The documents of a service, as its database has them.
struct Memory {
    behaviour: Arc<dyn Behaviour>,
    rows: BTreeMap<(usize, i64), serde_json::Value>,
}

impl Memory {
    fn new(counters: &[(i64, bool)], tickets: &[(i64, i64, bool)]) -> Self {
        let model = hall();
        let behaviour = model.services[0].behaviour(&serde_json::Map::new()).expect("no settings");
        let counters =
            counters.iter().map(|(id, is_open)| ((1, *id), serde_json::json!({ "id": id, "is_open": is_open })));
        let tickets = tickets.iter().map(|(id, counter, is_called)| {
            ((0, *id), serde_json::json!({ "id": id, "counter": counter, "is_called": is_called }))
        });
        Self { behaviour, rows: counters.chain(tickets).collect() }
    }

    /// Takes a step, reading what it needs.
    fn take(&self, step: impl Fn(&Documents) -> Result<Outcome, Defect>) -> Result<Outcome, Defect> {
        let mut documents = Documents::new();
        loop {
            match step(&documents)? {
                Outcome::Needs(keys) => {
                    for key in keys {
                        let row = self.rows.get(&key).map(ToString::to_string);
                        documents.insert(key, row.map(|body| Stored { version: 3, body }));
                    }
                }
                Outcome::Find(lookup) => {
                    let is_it = |row: &serde_json::Value| {
                        lookup.fields.iter().zip(&lookup.values).all(|(field, value)| row[*field] == *value)
                    };
                    let rows = self.rows.iter().filter(|((at, id), row)| *at == 0 && *id > lookup.after && is_it(row));
                    let ids = rows.map(|((_, id), _)| *id).take(lookup.limit as usize).collect();
                    documents.insert_found(lookup, ids);
                }
                outcome => return Ok(outcome),
            }
        }
    }

    fn pass(&self, counter: i64) -> Result<Outcome, Defect> {
        let event = Event::Passed(Counter { id: Id::new(counter).expect("an id"), is_open: true });
        let body = event.encode(jiff::Timestamp::UNIX_EPOCH);
        let (now, new_ids) = (jiff::Timestamp::UNIX_EPOCH, BTreeMap::new());
        let heard = ReceivedEvent { event_type: "Passed", body: &body, now, new_ids: &new_ids };
        self.take(|documents| self.behaviour.handle(heard, documents))
    }

    fn draw(&self, counter: i64) -> Result<Outcome, Defect> {
        let model = hall();
        let body = format!(r#"{{"counter":{counter}}}"#);
        let command = model.services[0].resources[0].commands[0].read(body.as_bytes()).expect("a command");
        let step = Step { decider: (0, 70), command: &command, now: jiff::Timestamp::UNIX_EPOCH, reply: None };
        self.take(|documents| self.behaviour.decide(step, documents))
    }
}

#[track_caller]
fn decided(outcome: Result<Outcome, Defect>) -> Decided {
    match outcome {
        Ok(Outcome::Decided(decided)) => decided,
        other => panic!("{other:?}"),
    }
}

fn called(decided: &Decided) -> Vec<i64> {
    decided.events.iter().filter(|event| event.event_type == "Called").map(|event| event.key).collect()
}

#[test]
fn an_event_of_the_service_itself_calls_the_first_two_who_wait() {
    let tickets: Vec<_> = (1..=100).map(|id| (id, 1 + id % 2, id < 50)).collect();
    let decided = decided(Memory::new(&[(1, true)], &tickets).pass(1));
    assert_eq!(decided.events[0].event_type, "Freed");
    assert_eq!(called(&decided), [50, 52], "the longest waiting of counter 1 who are not called yet");
    assert_eq!(decided.documents.len(), 2, "two tickets in one commit; the counter is as it was");
}

#[test]
fn who_is_called_in_a_step_is_not_called_again_by_it() {
    let waiting: Vec<_> = (1..=3).map(|id| (id, HASTY, false)).collect();
    let memory = Memory { rows: Memory::new(&[], &waiting).rows, ..Memory::new(&[], &[]) };
    let event = Event::Freed(Counter { id: Id::new(HASTY).expect("an id"), is_open: true });
    let body = event.encode(jiff::Timestamp::UNIX_EPOCH);
    let (now, new_ids) = (jiff::Timestamp::UNIX_EPOCH, BTreeMap::new());
    let heard = ReceivedEvent { event_type: "Freed", body: &body, now, new_ids: &new_ids };
    let decided = decided(memory.take(|documents| memory.behaviour.handle(heard, documents)));
    let mut all = called(&decided);
    all.sort_unstable();
    all.dedup();
    assert_eq!(all, [1, 2, 3], "{:?}", decided.events);
}

#[test]
fn policies_that_cause_each_other_for_ever_are_a_defect() {
    let defect = Memory::new(&[], &[]).pass(HASTY).expect_err("a circle");
    assert!(defect.why.contains("policies cause each other"), "{defect}");
}

#[test]
fn what_a_decision_has_read_is_compared_by_the_commit() {
    let decided = decided(Memory::new(&[(1, true)], &[]).draw(1));
    assert_eq!(decided.read, [((1, 1), 3)], "the counter, at the version that was read");
    let refused = |counters: &[(i64, bool)]| Memory::new(counters, &[]).draw(1).expect("no defect");
    assert!(matches!(refused(&[(1, false)]), Outcome::Rejected(jumun::Rejection::Conflict(_))));
    assert!(matches!(refused(&[]), Outcome::Rejected(jumun::Rejection::NotFound)));
}

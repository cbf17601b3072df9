//! What an aggregate and a view hear: what they declare, and nothing else.

use jumun::{
    Aggregate, Context, Decision, Documents, Id, Outcome, PublishedLanguage, ReadModel, ReceivedEvent, Resource,
    Service, ServiceModel, System, View, given::given, nothing,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

jumun::published_language! {
    enum Event, Kind {
        shop(by id): Opened(Door), Closed(Door);
        other(by id): Moved(Door), Painted(Door);
    }
}

/// An aggregate and a view that fail on every event which they do not declare.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Door {
    id: Id<Door>,
}

const HEARS: &[Kind] = &[Kind::Opened, Kind::Moved];

impl Aggregate for Door {
    type Terms = ((), Event);

    const HEARS: &'static [Kind] = HEARS;

    fn concerns(event: &Event) -> Option<Id<Self>> {
        declared(event);
        Some(event.key())
    }

    fn react(event: &Event) -> Option<()> {
        declared(event);
        None
    }

    fn react_anew(event: &Event) -> Vec<()> {
        declared(event);
        Vec::new()
    }

    fn decide(_: Option<&Self>, (): (), _: &Context<'_, Self>) -> Decision<Event> {
        nothing()
    }

    fn evolve(_: Option<Self>, event: &Event) -> Option<Self> {
        declared(event);
        Some(Self { id: event.key() })
    }
}

impl View for Door {
    type Event = Event;

    const HEARS: &'static [Kind] = &[Kind::Moved];

    fn row(id: i64) -> Self {
        Self { id: Id::new(id).expect("an id") }
    }

    fn fold(&mut self, event: &Event) {
        assert_eq!(event.kind(), Kind::Moved);
    }
}

fn declared(event: &Event) {
    assert!(HEARS.contains(&event.kind()), "{event:?} is not declared");
}

fn door() -> Door {
    Door { id: Id::new(7).expect("an id") }
}

fn shop(examples: &'static str) -> ServiceModel {
    let shop = Service::new("shop", 1).aggregate(Resource::<Door>::at("/doors")).view(ReadModel::<Door>::at("/board"));
    System::new("shops", examples).service(shop).build().services.remove(0)
}

/// How many documents an event changes.
fn changed(event: &Event) -> usize {
    let behaviour = shop("").behaviour(&serde_json::Map::new()).expect("no settings");
    let body = event.encode(jiff::Timestamp::UNIX_EPOCH);
    let (event_type, new_ids) = (event.event_type().name, BTreeMap::new());
    let heard = ReceivedEvent { event_type, body: &body, now: jiff::Timestamp::UNIX_EPOCH, new_ids: &new_ids };
    let mut documents = Documents::new();
    loop {
        match behaviour.handle(heard, &documents).expect("no defect") {
            Outcome::Needs(keys) => keys.into_iter().for_each(|key| documents.insert(key, None)),
            Outcome::Decided(decided) => return decided.documents.len(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn are_declared_and_do_not_depend_on_examples() {
    for examples in ["", "nonsense", r#"{"eventType":"Painted","timestamp":1,"id":1}"#] {
        let shop = shop(examples);
        assert_eq!(shop.listens.iter().map(|event| event.name).collect::<Vec<_>>(), ["Moved"]);
        assert_eq!(shop.resources[0].folds(), None);
        assert_eq!(shop.resources[1].folds().expect("a view").len(), 1);
    }
}

#[test]
fn deliver_what_is_declared() {
    assert_eq!(changed(&Event::Moved(door())), 2, "the aggregate and the view");
    assert_eq!(changed(&Event::Opened(door())), 1, "the aggregate");
    assert_eq!(given::<Door>([Event::Moved(door())]).state(7), Some(door()));
}

#[test]
fn deliver_nothing_else() {
    for event in [Event::Closed(door()), Event::Painted(door())] {
        assert_eq!(changed(&event), 0);
        assert_eq!(given::<Door>([event]).state(7), None);
    }
}

#[test]
fn of_a_rebuild_are_those_of_the_view() {
    let behaviour = shop("").behaviour(&serde_json::Map::new()).expect("no settings");
    let mut rows = behaviour.folding(1).expect("a view");
    assert_eq!(rows.take("Moved", r#"{"id":7}"#), Ok(true));
    for event_type in ["Opened", "Closed", "Painted", "Unknown"] {
        assert_eq!(rows.take(event_type, r#"{"id":7}"#), Ok(false), "{event_type}");
    }
}

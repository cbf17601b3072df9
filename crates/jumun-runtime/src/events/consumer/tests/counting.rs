//! A policy that is not idempotent: a doorman counts every visit and publishes it. Here an event that is applied twice, or
//! not at all, shows; the idempotent policies of the shipped systems would hide it.

use super::{
    Consumer, Duration, Instruction, NoNeighbours, retry,
    scripted::{End, Scripted},
};
use crate::{Engine, Parts, events::Token, schema};
use jumun::{Aggregate, Context, Decision, Id, PublishedLanguage, Resource, Service, ServiceModel, System, emit};
use jumun_bus::{Bus, MemoryBus, Publisher, Record, Source};
use jumun_database::{MemoryDatabase, ReadDatabase};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;

jumun::published_language! {
    pub(super) enum Happened, Kind {
        gate(by id): Entered(Visit);
        doorman(by id): Counted(Count);
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Visit {
    id: Id<Visit>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Count {
    id: Id<Count>,
    /// Visits that the policy has seen.
    seen: i64,
    /// Visits that it has counted.
    counted: i64,
}

impl Aggregate for Count {
    type Terms = ((), Happened);

    const HEARS: &'static [Kind] = Happened::KINDS;

    fn react(event: &Happened) -> Option<()> {
        matches!(event, Happened::Entered(_)).then_some(())
    }

    fn decide(count: Option<&Count>, (): (), ctx: &Context<'_, Count>) -> Decision<Happened> {
        let (seen, counted) = count.map_or((0, 0), |count| (count.seen, count.counted));
        emit(Happened::Counted(Count { id: ctx.id, seen, counted: counted + 1 }))
    }

    fn evolve(count: Option<Count>, event: &Happened) -> Option<Count> {
        let id = Self::concerns(event)?;
        let Count { seen, counted, .. } = count.unwrap_or(Count { id, seen: 0, counted: 0 });
        Some(match event {
            Happened::Entered(_) => Count { id, seen: seen + 1, counted },
            Happened::Counted(_) => Count { id, seen, counted: counted + 1 },
        })
    }
}

const EXAMPLES: &str = r#"{"eventType":"Entered","timestamp":1,"id":1}
{"eventType":"Counted","timestamp":1,"id":1,"seen":1,"counted":1}"#;

fn doorman() -> ServiceModel {
    let doorman = Service::new("doorman", 1).aggregate(Resource::<Count>::at("/counts"));
    System::new("house", EXAMPLES).service(doorman).build().service("doorman").expect("a service").clone()
}

struct House {
    database: Scripted,
    bus: MemoryBus,
    gate: Box<dyn Publisher>,
}

impl House {
    fn new() -> Self {
        let bus = MemoryBus::new();
        let source = Source { service: "gate".into(), epoch: Uuid::from_u128(1), partitions: 1 };
        let gate = bus.publisher(&source).expect("the first publisher");
        Self { database: Scripted::new(MemoryDatabase::new(schema(&doorman()))), bus, gate }
    }

    /// A process.
    async fn start(&self) -> (Engine, Consumer) {
        let model = doorman();
        let behaviour = model.behaviour(&serde_json::Map::new()).expect("default settings");
        let (database, transport) = (Arc::new(self.database.clone()), Arc::new(NoNeighbours));
        let engine = Engine::new(Parts::new(model, behaviour, database, transport));
        let consumer = Consumer::start(engine.core(), Arc::new(self.bus.clone())).await.expect("it starts");
        (engine, consumer)
    }

    fn enter(&mut self, id: i64, body: String) {
        let (sequence, event_type) = (self.gate.last(0) + 1, "Entered".to_owned());
        let record = Record { partition: 0, sequence, event_type, key: id, time_ms: 0, headers: Vec::new(), body };
        self.gate.append(&[record]).expect("memory has room");
    }

    fn visits(&mut self, visitors: i64, times: i64) {
        for _ in 0..times {
            for id in 1..=visitors {
                self.enter(id, format!(r#"{{"eventType":"Entered","timestamp":1,"id":{id}}}"#));
            }
        }
    }

    async fn applied_all(&self, consumer: &Consumer) {
        let token = Token { service: "gate".into(), partition: 0, sequence: self.gate.last(0) };
        assert!(consumer.has_applied(&token, Duration::from_mins(1)).await, "{:?}", consumer.consumption());
    }

    /// Every visit was seen once, counted once, and published once.
    async fn assert_exact(&self, visitors: i64, times: i64, what: &str) {
        for id in 1..=visitors {
            let row = self.database.document("counts", id).await.expect("memory can be read").expect("a count");
            let count: Count = serde_json::from_str(&row.body).expect("a count");
            assert_eq!((count.seen, count.counted), (times, times), "visitor {id}, {what}");
        }
        let published = self.database.journal(0, 0, 1_000).await.expect("memory can be read");
        assert_eq!(i64::try_from(published.len()), Ok(visitors * times), "{what}");
    }
}

/// One commit after the other fails in every possible way.
#[tokio::test(start_paused = true)]
async fn every_event_has_its_effect_once_wherever_a_commit_goes_wrong() {
    for end in [End::DeathBefore, End::DeathAfter, End::Unknown, End::NotDone, End::Conflict] {
        for nth in 0..4 {
            let what = format!("commit {nth} ends with {end:?}");
            let mut house = House::new();
            let (mut engine, mut consumer) = house.start().await;
            house.database.script([End::Well].repeat(nth));
            house.database.script([end, end]);
            let mut deaths = 0;
            for times in 1..=6 {
                house.visits(7, 1);
                loop {
                    let token = Token { service: "gate".into(), partition: 0, sequence: house.gate.last(0) };
                    if consumer.has_applied(&token, Duration::from_millis(500)).await {
                        break;
                    }
                    if house.database.deaths() > deaths {
                        deaths = house.database.deaths();
                        engine.kill();
                        (engine, consumer) = house.start().await;
                    }
                }
                house.assert_exact(7, times, &what).await;
            }
            let is_deadly = matches!(end, End::DeathBefore | End::DeathAfter);
            assert_eq!(house.database.deaths(), if is_deadly { 2 } else { 0 }, "{what}");
            // What one process has applied, the next one does not apply again.
            engine.drain(Duration::from_secs(1)).await;
            let (_engine, consumer) = house.start().await;
            house.visits(7, 1);
            house.applied_all(&consumer).await;
            house.assert_exact(7, 7, &what).await;
        }
    }
}

/// A parked event whose retry failed only because of the database is applied once the database works, exactly once.
#[tokio::test(start_paused = true)]
async fn a_retry_that_fails_because_of_the_database_is_repeated() {
    for ends in [
        vec![End::Conflict],
        vec![End::NotDone],
        vec![End::Unknown],
        vec![End::Conflict, End::NotDone, End::Unknown],
        [End::Conflict].repeat(3 * crate::limits::DECISIONS_MAX),
        [End::NotDone].repeat(5),
    ] {
        let mut house = House::new();
        let (engine, consumer) = house.start().await;
        house.enter(1, "nonsense".into());
        house.visits(1, 2); // behind it
        house.applied_all(&consumer).await;
        assert_eq!(consumer.consumption().parked_keys, 1);
        let parked = crate::events::parked::parked(&house.database, None).await.expect("memory can be read");
        assert_eq!(parked.len(), 3);
        let (done, outcome) = tokio::sync::oneshot::channel();
        // The first can never be decoded. Without it the others can be applied.
        let first = &parked[0];
        let hidden = jumun_database::DocumentChange {
            collection: super::PARKED,
            id: first.0.id,
            expected_version: first.0.version,
            shown: false,
            body: first.0.body.clone(),
            wait: jumun_database::WaitChange::Keep,
        };
        let changes = jumun_database::Changes { documents: vec![hidden], ..jumun_database::Changes::default() };
        house.database.inner_commit(changes).await;

        house.database.script(ends.clone());
        assert!(consumer.instruct(Instruction::Retry { key: None, done }).await);
        outcome.await.expect("an answer").expect("nothing is in the way");
        let mut shown = consumer.shown.clone();
        let applied = shown.wait_for(|shown| shown.parked_keys == 0);
        tokio::time::timeout(Duration::from_mins(10), applied).await.expect("by itself").expect("it runs");
        house.assert_exact(1, 2, &format!("{ends:?}")).await;
        assert_eq!(retry(&consumer, None).await, (0, 0));
        engine.kill();
    }
}

//! A board that tallies what a till rings and what is noted on the board itself. Unlike the shipped views it counts, so an
//! event that is folded twice, or not at all, shows.

use super::*;
use crate::{
    Engine, Incoming, Parts,
    asks::transport::{Answered, Outcome as Reached, Question, Transport, VoidError, VoidFuture},
    events::Relay,
    schema,
};
use futures_util::future::{BoxFuture, join_all, ready};
use jumun::{
    Aggregate, Behaviour, Context, Decision, Defect, Documents, Folded, Folding, Id, Outcome, ReadModel, ReceivedEvent,
    Resource, Service, Step, System, View, conflict, emit,
};
use jumun_bus::{MemoryBus, Publisher, Record, Source};

use jumun_database::{
    Changes, Database, Document, DocumentChange, MemoryDatabase, ReadDatabase, RebuildDatabase, WaitChange,
};
use jumun_telemetry::Origin;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

jumun::published_language! {
    pub(super) enum Happened, Kind {
        till(by id): Rung(Rung);
        board(by id): Noted(Note);
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Rung {
    id: Id<Tally>,
    amount: i64,
}

/// A note under a tally.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Note {
    id: Id<Note>,
    tally: i64,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(super) struct Write {
    tally: i64,
}

impl Aggregate for Note {
    type Terms = (Write, Happened);

    const HEARS: &'static [Kind] = &[Kind::Noted];

    fn decide(note: Option<&Note>, write: Write, ctx: &Context<'_, Note>) -> Decision<Happened> {
        if note.is_some() {
            return conflict("noted before");
        }
        emit(Happened::Noted(Note { id: ctx.id, tally: write.tally }))
    }

    fn evolve(_: Option<Note>, event: &Happened) -> Option<Note> {
        if let Happened::Noted(note) = event { Some(note.clone()) } else { None }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Tally {
    id: i64,
    sum: i64,
    notes: i64,
}

impl View for Tally {
    type Event = Happened;

    const HEARS: &'static [Kind] = &[Kind::Rung, Kind::Noted];

    fn concerns(event: &Happened) -> Option<i64> {
        match event {
            Happened::Rung(rung) => Some(rung.id.get()),
            Happened::Noted(note) => Some(note.tally),
        }
    }

    fn row(id: i64) -> Self {
        Self { id, sum: 0, notes: 0 }
    }

    fn fold(&mut self, event: &Happened) {
        match event {
            Happened::Rung(rung) => self.sum += rung.amount,
            Happened::Noted(_) => self.notes += 1,
        }
    }

    fn shown(&self) -> bool {
        self.sum > 0
    }
}

const EXAMPLES: &str = r#"{"eventType":"Rung","timestamp":1,"id":1,"amount":1}
{"eventType":"Noted","timestamp":1,"id":1,"tally":1}"#;

fn board() -> ServiceModel {
    let board = Service::new("board", 1)
        .aggregate(Resource::<Note>::at("/notes").on_post(|write: Write| write))
        .view(ReadModel::<Tally>::at("/tallies"));
    System::new("shop", EXAMPLES).service(board).build().service("board").expect("a service").clone()
}

/// A release whose code fails on amounts of 13: in the consumer, in a rebuild, or in both.
struct Superstitious {
    inner: Arc<dyn Behaviour>,
    fails_in_consumer: Arc<AtomicBool>,
    fails_in_rebuild: Arc<AtomicBool>,
}

fn is_13(body: &str) -> bool {
    body.contains("\"amount\":13}")
}

impl Behaviour for Superstitious {
    fn decide(&self, step: Step<'_>, documents: &Documents) -> Result<Outcome, Defect> {
        self.inner.decide(step, documents)
    }

    fn handle(&self, event: ReceivedEvent<'_>, documents: &Documents) -> Result<Outcome, Defect> {
        if is_13(event.body) && self.fails_in_consumer.load(Ordering::Relaxed) {
            return Err(Defect { collection: "tallies", id: 0, why: "13".into() });
        }
        self.inner.handle(event, documents)
    }

    fn folding(&self, resource: usize) -> Option<Box<dyn Folding>> {
        let inner = self.inner.folding(resource)?;
        Some(Box::new(SuperstitiousFolding { inner, fails: self.fails_in_rebuild.clone() }))
    }
}

struct SuperstitiousFolding {
    inner: Box<dyn Folding>,
    fails: Arc<AtomicBool>,
}

impl Folding for SuperstitiousFolding {
    fn take(&mut self, event_type: &str, body: &str) -> Result<bool, Defect> {
        assert!(!(is_13(body) && self.fails.load(Ordering::Relaxed)), "13");
        self.inner.take(event_type, body)
    }
    fn missing(&mut self) -> Vec<i64> {
        self.inner.missing()
    }
    fn put(&mut self, id: i64, body: &str) -> Result<(), Defect> {
        self.inner.put(id, body)
    }
    fn fold(&mut self, nth: usize) {
        self.inner.fold(nth);
    }
    fn end_batch(&mut self) {
        self.inner.end_batch();
    }
    fn rows(&self) -> usize {
        self.inner.rows()
    }
    fn give(&mut self, all: bool) -> Result<Vec<Folded>, Defect> {
        self.inner.give(all)
    }
}

/// A transport without neighbours.
pub(crate) struct NoNeighbours;

impl Transport for NoNeighbours {
    fn ask(&self, _: Question) -> BoxFuture<'_, Answered> {
        Box::pin(ready(Reached::NotDone("there is no neighbour".into()).into()))
    }
    fn void<'a>(&'a self, _: &'a str, _: &'a str, _: Uuid, _: &'a Origin) -> VoidFuture<'a> {
        Box::pin(ready(Err(VoidError::NoAnswer("there is no neighbour".into()))))
    }
}

pub(crate) struct Shop {
    pub(crate) database: MemoryDatabase,
    pub(crate) engine: Engine,
    pub(crate) consumer: Consumer,
    pub(crate) rebuilds: Rebuilds,
    pub(crate) till: Box<dyn Publisher>,
    pub(crate) fails_in_consumer: Arc<AtomicBool>,
    fails_in_rebuild: Arc<AtomicBool>,
}

impl Shop {
    async fn open() -> Self {
        Self::on(MemoryBus::new()).await
    }

    pub(crate) async fn on(bus: impl Bus) -> Self {
        let source = Source { service: "till".into(), epoch: Uuid::from_u128(1), partitions: 1 };
        let till = bus.publisher(&source).expect("the first publisher");
        let model = board();
        let database = MemoryDatabase::new(schema(&model));
        let (fails_in_consumer, fails_in_rebuild) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let inner = model.behaviour(&serde_json::Map::new()).expect("default settings");
        let behaviour = Superstitious {
            inner,
            fails_in_consumer: fails_in_consumer.clone(),
            fails_in_rebuild: fails_in_rebuild.clone(),
        };
        let transport = Arc::new(NoNeighbours);
        let engine = Engine::new(Parts::new(model, Arc::new(behaviour), Arc::new(database.clone()), transport));
        let bus: Arc<dyn Bus> = Arc::new(bus);
        Relay::open(engine.core(), bus.clone()).await.expect("a bus").start();
        let consumer = Consumer::start(engine.core(), bus.clone()).await.expect("a bus");
        let rebuilds = Rebuilds::start(engine.core(), bus, Some(consumer.clone()));
        Self { database, engine, consumer, rebuilds, till, fails_in_consumer, fails_in_rebuild }
    }

    pub(crate) fn ring(&mut self, id: i64, amount: i64) {
        let body = json!({ "eventType": "Rung", "timestamp": 1, "id": id, "amount": amount }).to_string();
        let sequence = self.till.last(0) + 1;
        let event_type = "Rung".to_owned();
        let record = Record { partition: 0, sequence, event_type, key: id, time_ms: 0, headers: Vec::new(), body };
        self.till.append(&[record]).expect("memory has room");
    }

    pub(crate) async fn applied_all(&self) {
        let token = crate::events::Token { service: "till".into(), partition: 0, sequence: self.till.last(0) };
        let is_applied = self.consumer.has_applied(&token, Duration::from_mins(2)).await;
        assert!(is_applied, "{:?}", self.consumer.consumption());
    }

    pub(crate) async fn rows(&self) -> Vec<(i64, bool, String)> {
        let rows = self.database.scan("tallies", i64::MIN, 1_000).await.expect("memory can be read");
        rows.into_iter().map(|row| (row.id, row.shown, row.body)).collect()
    }

    async fn tally(&self, id: i64) -> Tally {
        let row = self.database.document("tallies", id).await.expect("memory can be read").expect("a row");
        serde_json::from_str(&row.body).expect("a tally")
    }

    pub(crate) async fn spoil(&self, id: i64, shown: bool, body: &str) {
        let version =
            self.database.document("tallies", id).await.expect("memory can be read").map_or(0, |row| row.version);
        let change = DocumentChange {
            collection: "tallies",
            id,
            expected_version: version,
            shown,
            body: body.to_owned(),
            wait: WaitChange::Keep,
        };
        self.database.commit(Changes { documents: vec![change], ..Changes::default() }).await.expect("a commit");
    }

    pub(crate) async fn rebuild(&self) -> RebuildReport {
        end_of(self.rebuilds.begin("board").expect("nothing is in the way")).await
    }

    pub(crate) async fn rebuilt(&self) -> RebuildStats {
        match self.rebuild().await {
            RebuildReport::Done(rebuilt) => rebuilt,
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) async fn note(engine: &Engine, tally: i64) {
    let command = engine.core().model().resources[0].commands[0].read(json!({ "tally": tally }).to_string().as_bytes());
    let incoming = Incoming {
        resource: 0,
        id: None,
        command: command.expect("a command"),
        key: None,
        fingerprint: [0; 16],
        success: 201,
        origin: Origin::new(false),
    };
    engine.take(incoming).await.expect("a note");
}

async fn end_of(mut reports: mpsc::Receiver<RebuildReport>) -> RebuildReport {
    let mut last = None;
    let all = async {
        while let Some(report) = reports.recv().await {
            last = Some(report);
        }
    };
    tokio::time::timeout(Duration::from_mins(1), all).await.expect("it ends");
    last.expect("it reports its outcome")
}

const fn tally(id: i64, sum: i64, notes: i64) -> Tally {
    Tally { id, sum, notes }
}

#[tokio::test]
async fn whatever_the_rows_were_a_rebuild_makes_them_what_the_log_contains() {
    let mut shop = Shop::open().await;
    for nth in 0..3_000 {
        shop.ring(1 + nth % 100, 1 + nth % 7);
    }
    for nth in 0..200 {
        note(&shop.engine, 51 + nth % 100).await; // half of them under tallies that are not shown
    }
    shop.applied_all().await;
    let rows = shop.rows().await;
    assert_eq!(rows.len(), 150);

    shop.spoil(1, true, r#"{"id":1,"sum":1000000,"notes":0}"#).await;
    shop.spoil(2, false, r#"{"id":2,"sum":-5,"notes":0}"#).await;
    shop.spoil(3, true, r#"{"something":"else"}"#).await;
    shop.spoil(777_777, true, r#"{"id":777777,"sum":1,"notes":0}"#).await;
    // An event of a row that cannot be read is parked, and applied once the row can be read.
    shop.ring(3, 40);
    shop.ring(3, 2);
    shop.applied_all().await;
    assert_eq!(shop.consumer.consumption().parked_keys, 1);

    let rebuilt = shop.rebuilt().await;
    assert_eq!((rebuilt.events, rebuilt.left_out), (3_202, 2));
    assert_eq!((rebuilt.parked_heard, rebuilt.parked_failed), (2, 0));
    let mut after = shop.rows().await;
    let third: Tally = serde_json::from_str(&after[2].2).expect("a tally");
    let before: Tally = serde_json::from_str(&rows[2].2).expect("a tally");
    assert_eq!(third, Tally { sum: before.sum + 42, ..before });
    after[2] = rows[2].clone();
    assert_eq!(after, rows);
    let page = jumun_database::Query { collection: "tallies", filter: None, sort: Vec::new(), offset: 0, size: 1 };
    assert_eq!(shop.database.page(page).await.expect("memory can be read").total, 100, "hidden rows are not counted");

    // And it goes on from there.
    shop.ring(1, 1);
    shop.applied_all().await;
    let first: Tally = serde_json::from_str(&rows[0].2).expect("a tally");
    assert_eq!(shop.tally(1).await, Tally { sum: first.sum + 1, ..first });
}

/// No event is folded twice and none is missed, whichever events of both kinds happen while rows are rebuilt again and again.
#[tokio::test]
async fn nothing_is_lost_or_folded_twice_while_everything_goes_on() {
    let mut shop = Shop::open().await;
    let (mut sums, mut notes) = ([0; 40], [0; 40]);
    let mut rung = 0;
    for _ in 0..12 {
        let mut reports = shop.rebuilds.begin("tallies").expect("nothing is in the way");
        let rebuilt = loop {
            for _ in 0..50 {
                rung += 1;
                let id = rung % 40;
                shop.ring(id + 1, rung % 9);
                sums[usize::try_from(id).expect("small")] += rung % 9;
            }
            let noting = (0..40).filter(|id| (rung + id) % 3 == 0).collect::<Vec<_>>();
            join_all(noting.iter().map(|id| note(&shop.engine, id + 1))).await;
            for id in noting {
                notes[usize::try_from(id).expect("small")] += 1;
            }
            // In step with the consumer: a till that is always faster than the rebuild is not the point.
            shop.applied_all().await;
            match reports.try_recv() {
                Ok(RebuildReport::Done(rebuilt)) => break rebuilt,
                Ok(RebuildReport::Progress(_)) | Err(mpsc::error::TryRecvError::Empty) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((rebuilt.parked_heard, rebuilt.left_out), (0, 0));
    }
    shop.applied_all().await;
    for id in 0..40 {
        let at = usize::try_from(id).expect("small");
        assert_eq!(shop.tally(id + 1).await, tally(id + 1, sums[at], notes[at]));
    }
}

/// More rows than fit in memory, each changed again after it was stored long ago, after it was just stored, and while it is
/// still in memory.
#[tokio::test]
async fn rows_that_are_no_longer_in_memory_are_read_again() {
    let mut shop = Shop::open().await;
    let many = i64::try_from(crate::limits::FOLD_MAX_ROWS).expect("small") + 5_000;
    for amount in [1, 10] {
        for id in 1..=many {
            shop.ring(id, amount);
            if id > many / 2 {
                shop.ring(id - many / 2, 100);
            }
        }
    }
    for id in [many, 1, many, 2] {
        shop.ring(id, 1_000);
    }
    shop.applied_all().await;
    let sums = async || {
        (shop.tally(1).await.sum, shop.tally(2).await.sum, shop.tally(3).await.sum, shop.tally(many).await.sum)
    };
    assert_eq!(sums().await, (1_211, 1_211, 211, 2_011));
    let mut rows = Vec::new();
    for _ in 0..2 {
        let before = std::mem::take(&mut rows);
        for id in 1..=many {
            rows.push(shop.tally(id).await);
        }
        assert!(before.is_empty() || before == rows, "other rows than the consumer made");
        shop.rebuilt().await;
    }
    assert_eq!(sums().await, (1_211, 1_211, 211, 2_011));
}

#[tokio::test]
async fn parked_and_discarded_events_have_no_effect_on_rebuilt_rows() {
    let mut shop = Shop::open().await;
    shop.fails_in_consumer.store(true, Ordering::Relaxed);
    for id in [1, 2, 3] {
        shop.ring(id, 1);
    }
    for id in [2, 3] {
        shop.ring(id, 13); // parked
        shop.ring(id, 100); // behind it
    }
    shop.applied_all().await;
    let (done, outcome) = oneshot::channel();
    assert!(shop.consumer.instruct(Instruction::Discard { key: 3, done }).await);
    assert_eq!(outcome.await, Ok(Ok(2)));

    // The rows could be made with all of them, and must not be.
    let rebuilt = shop.rebuilt().await;
    assert_eq!((rebuilt.left_out, rebuilt.parked_heard, rebuilt.parked_failed), (4, 0, 1));
    for (id, sum) in [(1, 1), (2, 1), (3, 1)] {
        assert_eq!(shop.tally(id).await, tally(id, sum, 0));
    }
    // Once they can be applied, they are, exactly once.
    shop.fails_in_consumer.store(false, Ordering::Relaxed);
    let rebuilt = shop.rebuilt().await;
    assert_eq!((rebuilt.left_out, rebuilt.parked_heard, rebuilt.parked_failed), (4, 2, 0));
    for _ in 0..2 {
        for (id, sum) in [(1, 1), (2, 114), (3, 1)] {
            assert_eq!(shop.tally(id).await, tally(id, sum, 0));
        }
        assert_eq!(shop.rebuilt().await.left_out, 2, "only the discarded ones");
    }
}

/// Otherwise an event could be folded because it is no longer parked, and applied because it was.
#[tokio::test]
async fn no_parked_event_is_applied_or_discarded_during_a_rebuild() {
    let mut shop = Shop::open().await;
    shop.fails_in_consumer.store(true, Ordering::Relaxed);
    shop.ring(2, 13);
    shop.applied_all().await;
    let _held = shop.consumer.keep_parked().await; // as a rebuild does
    let (done, outcome) = oneshot::channel();
    assert!(shop.consumer.instruct(Instruction::Retry { key: None, done }).await);
    assert!(outcome.await.expect("an answer").is_err());
    let (done, outcome) = oneshot::channel();
    assert!(shop.consumer.instruct(Instruction::Discard { key: 2, done }).await);
    assert!(outcome.await.expect("an answer").is_err());
    assert_eq!(shop.consumer.consumption().parked_keys, 1);
}

#[tokio::test]
async fn an_event_on_which_the_code_fails_leaves_the_old_rows() {
    let mut shop = Shop::open().await;
    shop.ring(1, 1);
    shop.ring(2, 13);
    shop.ring(2, 1);
    shop.applied_all().await;
    let rows = shop.rows().await;
    shop.fails_in_rebuild.store(true, Ordering::Relaxed);
    let RebuildReport::Failed { code, why, .. } = shop.rebuild().await else { panic!("it must fail") };
    assert_eq!(code, "event-unfoldable");
    assert!(why.contains("till/0") && why.contains("event 2"), "{why}");
    assert_eq!(shop.rows().await, rows);
    assert_eq!(shop.database.read_shadow("tallies", vec![1]).await, Ok(vec![]));
    shop.fails_in_rebuild.store(false, Ordering::Relaxed);
    assert_eq!(shop.rebuilt().await.events, 3);
    assert_eq!(shop.rows().await, rows);
}

#[tokio::test]
async fn one_at_a_time_and_only_views() {
    let mut shop = Shop::open().await;
    shop.ring(1, 1);
    shop.applied_all().await;
    let why = |outcome: Result<_, RebuildError>| outcome.map(drop).expect_err("a no");
    for wanted in ["notes", "till", ""] {
        let no = why(shop.rebuilds.begin(wanted));
        assert_eq!(no.code(), "view-unknown");
        assert!(no.to_string().contains("tallies"), "{no}");
    }
    let in_the_way = shop.consumer.keep_parked().await;
    let first = shop.rebuilds.begin("board").expect("nothing is in the way");
    assert_eq!(why(shop.rebuilds.begin("tallies")).code(), "rebuild-at-work");
    drop(in_the_way);
    assert!(matches!(end_of(first).await, RebuildReport::Done(_)));
    assert_eq!(shop.rebuilt().await.events, 1);
}

#[tokio::test]
async fn a_rebuild_is_given_up_when_its_receiver_is_dropped_and_leaves_nothing() {
    let mut shop = Shop::open().await;
    for nth in 0..20_000 {
        shop.ring(1 + nth % 500, 1);
    }
    shop.applied_all().await;
    let rows = shop.rows().await;
    for _ in 0..3 {
        let mut reports = shop.rebuilds.begin("board").expect("nothing is in the way");
        drop(reports.try_recv());
        drop(reports);
        let in_progress = shop.rebuilds.in_progress.clone();
        let ended = tokio::time::timeout(Duration::from_secs(30), in_progress.lock_owned()).await;
        drop(ended.expect("it is given up"));
        assert_eq!(shop.rows().await, rows);
        assert_eq!(shop.database.read_shadow("tallies", (1..500).collect()).await, Ok(vec![]));
    }
    assert_eq!(shop.rebuilt().await.events, 20_000);
    assert_eq!(shop.rows().await, rows);
}

#[tokio::test]
async fn the_shadow_of_a_rebuild_that_did_not_end_is_cleared_at_the_start() {
    let shop = Shop::open().await;
    let left = Document { id: 5, version: 1, shown: true, body: "{}".into() };
    shop.database.write_shadow("tallies", vec![left]).await.expect("memory has room");
    let bus: Arc<dyn Bus> = Arc::new(MemoryBus::new());
    drop(Rebuilds::start(shop.engine.core(), bus, None));
    let cleared = async {
        while shop.database.read_shadow("tallies", vec![5]).await != Ok(vec![]) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), cleared).await.expect("it is cleared");
}

//! Whole systems in one thread and in virtual time: unchanged engines, on databases and a network that fail like real ones.
//!
//! # One seed, one log
//!
//! A seed decides everything: which message is lost, late or repeated, which process dies before or after which commit, which
//! client repeats its request. So the same seed gives the same log. `JUMUN_SEED=123 cargo test -p jumun-simulation` repeats
//! one case, and `JUMUN_SEED=1000..3000` runs other ones.
//!
//! # What a case checks
//!
//! A case ends once all clients have their final answer and no request is in doubt. Then the audit of the system must be
//! clean, every acknowledged order must exist, and no event may be published twice.

use futures_util::future::{BoxFuture, pending};
use jiff::Timestamp;
use jumun::{ServiceModel, SystemModel, Verb};
use jumun_audit::{self as audit, Databases, Verdict};
use jumun_bus::{BusError, MemoryBus};
use jumun_database::{
    Changes, CommitError, Database, MemoryDatabase, ReadDatabase, ReadError, RebuildDatabase, Receipt, Request,
    RequestFilter, delegate,
};
use jumun_guard::{BulkheadConfig, GuardConfig, Window};
use jumun_http::Code;
use jumun_runtime::{
    Engine, Incoming, Key, Parts, Success,
    asks::{
        DelayBudget, DelayConfig, Guards, delayed, recovery,
        transport::{Answered, Outcome, Question, Transport, VoidError, VoidFuture, of_problem},
    },
    events::{Consumer, Relay, RelayError},
    intake::AdmissionConfig,
    schema, time_outs,
};
use jumun_telemetry::Origin;
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;
use uuid::Uuid;

#[path = "simulation/course.rs"]
mod course;

thread_local! {
    static BEGAN: RefCell<Option<(Instant, Timestamp)>> = const { RefCell::new(None) };
    static IDS: Cell<u64> = const { Cell::new(0) };
}

/// Virtual time since the case began.
fn now() -> Timestamp {
    let (instant, time) = BEGAN.with_borrow(|began| began.expect("a case runs"));
    time + Instant::now().duration_since(instant)
}

/// Ids of requests, from virtual time and a counter, so that a seed repeats them.
fn new_id() -> Uuid {
    let count = IDS.replace(IDS.get() + 1).to_be_bytes();
    let mut random = [0; 10];
    random[2..].copy_from_slice(&count);
    let ms = u64::try_from(now().as_millisecond()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid()
}

/// Splitmix64 (Steele, Lea, Flood 2014): small, and good enough to choose faults.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(range.start + self.below(range.end - range.start))
    }
}

/// What all parts of a case share.
struct World {
    model: SystemModel,
    random: Mutex<Random>,
    /// Whether faults happen.
    is_stormy: AtomicBool,
    /// Whether circuits open after two failures, and each bulkhead has one slot.
    is_wary: bool,
    /// Whether services admit one command at once.
    is_narrow: bool,
    crowd: u64,
    /// How asks may be delayed, by the neighbour that is asked.
    delays: BTreeMap<String, DelayConfig>,
    settings: Settings,
    databases: BTreeMap<&'static str, MemoryDatabase>,
    bus: MemoryBus,
    /// The running engines.
    running: Mutex<BTreeMap<&'static str, Engine>>,
    faults: Mutex<BTreeMap<&'static str, u64>>,
    /// Services that cannot be reached.
    away: Mutex<BTreeSet<&'static str>>,
    outside: course::Sender,
}

/// The settings of a service, by its name: an object.
type Settings = fn(&str) -> serde_json::Value;

/// A system, and the requests of its clients.
#[derive(Clone, Copy)]
struct Scenario {
    model: fn() -> SystemModel,
    /// The body of an order, by the client's name and a dice.
    bodies: fn(&str, u64) -> String,
    /// How many clients come beside the usual ones, all at once, and as many that disturb them.
    crowd: u64,
    /// How asks may be delayed, by the neighbour that is asked.
    delays: fn(&mut Random) -> BTreeMap<String, DelayConfig>,
    settings: Settings,
}

impl World {
    fn below(&self, bound: u64) -> u64 {
        self.random.lock().expect("one thread").below(bound)
    }

    fn millis(&self, range: Range<u64>) -> Duration {
        self.random.lock().expect("one thread").millis(range)
    }

    /// Whether a fault happens now: on average once in `once_in` calls, while the storm lasts.
    fn strikes(&self, fault: &'static str, once_in: u64) -> bool {
        let strikes = self.is_stormy.load(Ordering::Relaxed) && self.below(once_in) == 0;
        if strikes {
            *self.faults.lock().expect("one thread").entry(fault).or_default() += 1;
        }
        strikes
    }

    /// The service and the path that take orders.
    fn founding(&self) -> (&'static str, &'static str) {
        let path = self.model.load.expect("a load line").path;
        let service = self.model.services.iter().find(|service| service.resource_at(path).is_some());
        (service.expect("a service").name, path)
    }

    fn engine(&self, service: &str) -> Option<Engine> {
        if self.away.lock().expect("one thread").contains(service) {
            return None;
        }
        self.running.lock().expect("one thread").get(service).cloned()
    }

    fn service(&self, name: &str) -> &ServiceModel {
        self.model.service(name).expect("a service")
    }

    /// `kill -9`, and a new process some time later.
    fn crash(self: &Arc<Self>, service: &'static str) {
        let Some(engine) = self.running.lock().expect("one thread").remove(service) else { return };
        engine.kill();
        let world = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(world.millis(1..3_000)).await;
            world.start(service).await;
        });
    }

    /// All processes die at once, and the bus loses events that were not synced.
    fn cut_power(self: &Arc<Self>) {
        for service in self.model.services.iter().map(|service| service.name) {
            self.crash(service);
        }
        self.bus.lose_unsynced();
    }

    /// The guards around calls.
    fn calls(&self, model: &ServiceModel) -> BTreeMap<String, GuardConfig> {
        // Inner limits must be shorter than outer ones; otherwise the engine shortens them.
        let mut config = GuardConfig { time_limit: Duration::from_millis(500), ..GuardConfig::default() };
        if self.is_wary {
            config.breaker.window = Window::Calls(4);
            config.breaker.minimum_calls = Some(2);
            config.breaker.wait_open = Duration::from_millis(700);
            config.breaker.half_open_calls = 1;
            config.bulkhead =
                BulkheadConfig { max_concurrent: 1, max_wait: Duration::from_millis(5), ..BulkheadConfig::default() };
        }
        model.asks.iter().map(|ask| (ask.service.to_owned(), config)).collect()
    }

    /// How many requests a service admits at once.
    fn admission(&self) -> AdmissionConfig {
        let usual = AdmissionConfig::default();
        if self.is_narrow {
            AdmissionConfig { max_concurrent: 1, max_waiting: 1, max_wait: Duration::from_millis(5), ..usual }
        } else {
            usual
        }
    }

    async fn start(self: &Arc<Self>, service: &'static str) {
        let model = self.service(service).clone();
        let database = Fragile { world: self.clone(), service, inner: self.databases[service].clone() };
        let settings = (self.settings)(service);
        let behaviour = model.behaviour(settings.as_object().expect("an object")).expect("settings");
        let engine = Engine::new(Parts {
            guards: Guards::new(&model, &self.calls(&model)).expect("a valid configuration"),
            delays: DelayBudget::new(self.delays.clone()),
            admission: self.admission(),
            clock: now,
            ids: new_id,
            ..Parts::new(model, behaviour, Arc::new(database), Arc::new(Network { world: self.clone() }))
        });
        // Harsher than a real process, which takes requests only after recovery.
        self.running.lock().expect("one thread").insert(service, engine.clone());
        engine.core().seed().await;
        recovery::start(engine.core(), engine.transport()).await;
        delayed::start(&engine).await;
        time_outs::start(&engine);
        if !engine.core().model().publishes.is_empty() {
            // The previous process may still hold the publisher.
            while let Err(error) =
                Relay::open(engine.core(), Arc::new(self.bus.clone())).await.map(|relay| relay.start())
            {
                assert!(matches!(error, RelayError::Bus(BusError::InUse { .. })), "{error}");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        if !engine.core().model().listens.is_empty() {
            Consumer::start(engine.core(), Arc::new(self.bus.clone()))
                .await
                .expect("the bus and the database can be read");
        }
    }
}

/// A database that may be slow, full or unreadable, and whose process may die before or after any commit.
struct Fragile {
    world: Arc<World>,
    service: &'static str,
    inner: MemoryDatabase,
}

impl Database for Fragile {
    fn commit(&self, changes: Changes) -> BoxFuture<'_, Result<Receipt, CommitError>> {
        Box::pin(async move {
            tokio::time::sleep(self.world.millis(0..3)).await;
            if self.world.strikes("slow disk", 40) {
                tokio::time::sleep(self.world.millis(500..6_000)).await;
            }
            if self.world.strikes("crash before commit", 25) {
                self.world.crash(self.service);
                return pending().await;
            }
            if self.world.strikes("full disk", 40) {
                return Err(CommitError::NotDone("no room".into()));
            }
            let result = self.inner.commit(changes).await;
            self.world.check_delayed(self.service, &self.inner).await;
            if self.world.strikes("crash after commit", 25) {
                self.world.crash(self.service);
                return pending().await;
            }
            if result.is_ok() && self.world.strikes("outcome of a commit unknown", 60) {
                return Err(CommitError::Unknown("the connection broke".into()));
            }
            result
        })
    }

    delegate!(inner: next_id purge_requests failure stats close);
}

impl RebuildDatabase for Fragile {
    delegate!(inner: rebuild);
}

impl ReadDatabase for Fragile {
    delegate!(inner: identity document documents first page scan request_by_key request doubts_about due waits_of journal positions);

    fn requests(&self, filter: RequestFilter) -> BoxFuture<'_, Result<Vec<Request>, ReadError>> {
        if self.world.delays.is_empty() {
            return self.inner.requests(filter);
        }
        Box::pin(async move {
            if self.world.strikes("slow read", 20) {
                tokio::time::sleep(self.world.millis(1..3_000)).await;
            }
            if self.world.strikes("unreadable", 40) {
                return Err(ReadError::Unavailable("the disk does not answer".into()));
            }
            self.inner.requests(filter).await
        })
    }
}

/// A network that loses, delays and repeats messages and answers.
struct Network {
    world: Arc<World>,
}

impl Network {
    async fn deliver(world: Arc<World>, question: Question) -> Answered {
        if question.target.is_external() {
            return world.send(&question).into();
        }
        let Some(engine) = world.engine(question.target.service) else {
            return Outcome::NotDone("connection refused".into()).into();
        };
        let resource = engine.core().model().resource_at(question.target.path).expect("a path");
        let model = engine.core().model().resources[resource].ask.clone().expect("an ask");
        let (id, command) = model.read(question.body.as_bytes()).expect("a question of the system");
        let incoming = Incoming {
            resource,
            id: Some(id),
            command,
            key: Some(Key::Ask { id: question.id, expires_ms: question.expires_ms }),
            fingerprint: [1; 16],
            success: 201,
            origin: question.origin.child(),
        };
        let outcome = match engine.take(incoming).await {
            Ok(Success { body, .. }) => Outcome::Accepted(body),
            Err(problem) => of_problem(problem),
        };
        Answered { outcome, capacity: Some(engine.capacity()) }
    }

    async fn deliver_void(world: Arc<World>, service: String, path: String, id: Uuid) -> Result<(), VoidError> {
        let refused = || VoidError::NoAnswer("connection refused".into());
        let engine = world.engine(&service).ok_or_else(refused)?;
        let resource = engine.core().model().resource_at(&path).expect("a path");
        engine.void(resource, id, Origin::new(false)).await.map_err(|problem| VoidError::NotUndone(problem.to_string()))
    }

    /// Runs a delivery with the faults of a network. `None`: the caller gets no answer.
    ///
    /// The network repeats only messages that arrived and that the neighbour did not answer with *not done*. The protocol needs
    /// this one promise of a network: a question that was surely not done does not arrive once more.
    async fn carry<T: Send + 'static>(
        &self,
        deliver: impl Fn() -> BoxFuture<'static, T>,
        is_not_done: impl Fn(&T) -> bool,
    ) -> Option<T> {
        let world = &self.world;
        tokio::time::sleep(world.millis(0..5)).await;
        if world.strikes("request lost", 12) {
            return None;
        }
        if world.strikes("request late", 12) {
            let (late, after) = (deliver(), world.millis(1..4_000));
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                drop(late.await);
            });
            return None;
        }
        // The neighbour goes on even if the caller no longer waits.
        let answer = tokio::spawn(deliver()).await.ok()?;
        if !is_not_done(&answer) && world.strikes("request repeated", 12) {
            let (again, after) = (deliver(), world.millis(0..4_000));
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                drop(again.await);
            });
        }
        tokio::time::sleep(world.millis(0..5)).await;
        if world.strikes("answer lost", 12) { None } else { Some(answer) }
    }
}

impl Transport for Network {
    fn ask(&self, question: Question) -> BoxFuture<'_, Answered> {
        Box::pin(async move {
            let time_limit = question.time_limit;
            let deliver =
                || -> BoxFuture<'static, Answered> { Box::pin(Self::deliver(self.world.clone(), question.clone())) };
            match tokio::time::timeout(
                time_limit,
                self.carry(deliver, |answered| matches!(answered.outcome, Outcome::NotDone(_) | Outcome::Busy(_))),
            )
            .await
            {
                Ok(Some(answered)) => answered,
                Ok(None) => {
                    tokio::time::sleep(time_limit / 4).await;
                    Outcome::Broken("the connection broke".into()).into()
                }
                Err(_) => Outcome::Unknown("no answer in time".into()).into(),
            }
        })
    }

    fn void<'a>(&'a self, service: &'a str, path: &'a str, id: Uuid, _: &'a Origin) -> VoidFuture<'a> {
        Box::pin(async move {
            let deliver = || -> BoxFuture<'static, Result<(), VoidError>> {
                Box::pin(Self::deliver_void(self.world.clone(), service.to_owned(), path.to_owned(), id))
            };
            self.carry(deliver, Result::is_err).await.unwrap_or_else(|| Err(VoidError::NoAnswer("no answer".into())))
        })
    }
}

/// A client, and all answers that it got.
#[derive(Debug)]
struct Client {
    name: String,
    has_key: bool,
    answers: Vec<Result<Success, Code>>,
}

/// Runs a client: it orders, and repeats the request until it has a final answer, if it has a key.
async fn client(world: Arc<World>, name: String, has_key: bool, body: String) -> Client {
    let mut client = Client { name, has_key, answers: Vec::new() };
    tokio::time::sleep(world.millis(0..2_000 / (1 + world.crowd))).await;
    loop {
        let (service, path) = world.founding();
        if let Some(engine) = world.engine(service) {
            let resource = engine.core().model().resource_at(path).expect("a path");
            let model = &engine.core().model().resources[resource];
            let post = model.commands.iter().find(|command| command.verb == Verb::Post).expect("a command");
            let incoming = Incoming {
                resource,
                id: None,
                command: post.read(body.as_bytes()).expect("a valid body"),
                key: has_key.then(|| Key::Client(client.name.clone())),
                fingerprint: [2; 16],
                success: 201,
                origin: Origin::new(false),
            };
            let answer = engine.take(incoming).await.map_err(|problem| {
                for why in ["circuit-open", "bulkhead-full", "too many commands"] {
                    if problem.detail.contains(why) {
                        *world.faults.lock().expect("one thread").entry(why).or_default() += 1;
                    }
                }
                problem.code
            });
            let answer = answer.map(|success| Success { seen: None, ..success }); // only the first answer has it
            let is_final = answer.as_ref().is_ok_and(|_| true) || answer.as_ref().is_err_and(|code| code.is_final());
            client.answers.push(answer);
            // The client asks once more for a final answer: it must be the same.
            let finals =
                client.answers.iter().filter(|answer| answer.as_ref().map_or_else(|code| code.is_final(), |_| true));
            if !has_key || (is_final && finals.count() == 2) {
                return client;
            }
        }
        tokio::time::sleep(world.millis(1..1_500)).await;
    }
}

/// What commands other than the founding one get as their body, in each system.
const CHANGES: &[u8] = br#"{"status":"Order Canceled","state":"Complete","amount":500,"name":"n","price":1,"bookId":1,
    "customerId":"client-0"}"#;

/// Other commands meanwhile: cancel, accept, reject, cook, deliver, whatever the model allows for an order; and payments that
/// are for no order, where clients may post to the path of an ask.
async fn disturb(world: Arc<World>) {
    for _ in 0..world.below(30) {
        tokio::time::sleep(world.millis(1..1_000)).await;
        if world.strikes("power cut", 20) {
            world.cut_power();
        }
        let services = &world.model.services;
        let service = &services[usize::try_from(world.below(services.len() as u64)).expect("small")];
        let Some(engine) = world.engine(service.name) else { continue };
        for (resource, model) in service.resources.iter().enumerate() {
            let is_client = |verb| verb != Verb::Post || model.paths().all(|path| path != world.founding().1);
            let commands: Vec<_> = model.commands.iter().filter(|command| is_client(command.verb)).collect();
            if commands.is_empty() {
                continue;
            }
            let command = commands[usize::try_from(world.below(commands.len() as u64)).expect("small")];
            let id = 1 + i64::try_from(world.below(8)).expect("small");
            let incoming = Incoming {
                resource,
                id: (command.verb != Verb::Post).then_some(id),
                command: command.read(CHANGES).expect("a valid body"),
                key: None,
                fingerprint: [3; 16],
                success: 200,
                origin: Origin::new(false),
            };
            drop(engine.take(incoming).await);
        }
    }
}

/// One case. Returns how often each fault struck.
async fn case(scenario: Scenario, seed: u64) -> BTreeMap<&'static str, u64> {
    let (model, mut random) = ((scenario.model)(), Random(seed));
    // Time, ids of requests and ids of traces start the same for each case, so that a seed repeats.
    BEGAN.set(Some((Instant::now(), Timestamp::UNIX_EPOCH)));
    IDS.set(0);
    fastrand::seed(seed);
    let databases = model.services.iter().map(|service| (service.name, MemoryDatabase::new(schema(service)))).collect();
    let names: Vec<_> = model.services.iter().map(|service| service.name).collect();
    let world = Arc::new(World {
        model,
        delays: (scenario.delays)(&mut random),
        settings: scenario.settings,
        random: Mutex::new(random),
        is_stormy: AtomicBool::new(true),
        is_wary: seed % 2 == 1,
        is_narrow: seed.is_multiple_of(3),
        crowd: scenario.crowd,
        databases,
        bus: MemoryBus::new(),
        running: Mutex::default(),
        faults: Mutex::default(),
        away: Mutex::default(),
        outside: course::Sender::default(),
    });
    for name in names.clone() {
        let world = world.clone();
        // Nobody waits for a start: a process that dies in its first commit never finishes it.
        tokio::spawn(async move { world.start(name).await });
    }
    let clients: Vec<_> = (0..2 + world.below(4) + world.crowd)
        .map(|nth| {
            let name = format!("client-{nth}");
            let body = (scenario.bodies)(&name, world.below(5));
            tokio::spawn(client(world.clone(), name, world.below(3) > 0, body))
        })
        .collect();
    let others: Vec<_> = (0..=world.crowd).map(|_| tokio::spawn(disturb(world.clone()))).collect();
    let absence = tokio::spawn(course::absence(world.clone()));
    let delayed = tokio::spawn(course::watch(world.clone(), seed));
    let storm = world.clone();
    tokio::spawn(async move {
        tokio::time::sleep(storm.millis(500..15_000)).await;
        storm.is_stormy.store(false, Ordering::Relaxed);
    });

    let calm = Duration::from_mins(5);
    let mut answered = Vec::new();
    for client in clients {
        let client = tokio::time::timeout(calm, client).await;
        answered
            .push(client.unwrap_or_else(|_| panic!("seed {seed}: a client got no final answer")).expect("a client"));
    }
    world.is_stormy.store(false, Ordering::Relaxed);
    for other in others {
        other.await.expect("an end");
    }
    absence.await.expect("an end");
    let readers: Databases = world
        .databases
        .iter()
        .map(|(name, database)| ((*name).to_owned(), Arc::new(database.clone()) as Arc<dyn ReadDatabase>))
        .collect();
    let settled = async {
        while !audit::in_doubt(&readers).await.expect("memory can be read").is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let settled = tokio::time::timeout(calm, settled).await;
    let doubts = audit::in_doubt(&readers).await.expect("memory can be read");
    assert!(settled.is_ok(), "seed {seed}: in doubt forever: {doubts:#?}");
    // Late questions and late undo calls arrive now.
    tokio::time::sleep(Duration::from_secs(10)).await;
    for name in &names {
        assert!(world.engine(name).is_some(), "seed {seed}: {name} does not run");
    }

    let report = audit::run(&world.model, &readers, Duration::from_mins(1)).await.expect("memory can be read");
    assert_eq!(report.verdict(), Verdict::Clean, "seed {seed}: {report:#?}\n{answered:#?}");
    promises(&world, seed, &answered).await;
    in_time(&world, seed).await;
    published_once(&world, seed).await;
    assert!(!delayed.is_finished(), "seed {seed}: {:?}", delayed.await);
    delayed.abort();
    if !world.delays.is_empty() {
        course::promises(&world, seed).await;
    }
    for engine in std::mem::take(&mut *world.running.lock().expect("one thread")).into_values() {
        engine.kill();
    }
    std::mem::take(&mut *world.faults.lock().expect("one thread"))
}

/// Every acknowledged order exists, with the acknowledged content. No key has two orders. No client got two different answers.
async fn promises(world: &World, seed: u64, clients: &[Client]) {
    let (service, path) = world.founding();
    let service = world.service(service);
    let collection = service.resources[service.resource_at(path).expect("a path")].collection;
    let orders = world.databases[service.name].scan(collection, 0, 1_000).await.expect("memory can be read");
    for Client { name, has_key, answers } in clients {
        let theirs: BTreeSet<i64> =
            orders.iter().filter(|order| order.body.contains(&format!("\"{name}\""))).map(|order| order.id).collect();
        let acknowledged: BTreeSet<&Success> = answers.iter().flatten().collect();
        for success in &acknowledged {
            let id = success.location.as_deref().and_then(|location| location.rsplit('/').next()?.parse().ok());
            assert!(id.is_some_and(|id| theirs.contains(&id)), "seed {seed}: {name} lost {success:?}");
        }
        if *has_key {
            assert!(acknowledged.len() <= 1, "seed {seed}: {name} got two answers: {answers:?}");
            assert_eq!(
                theirs.len(),
                acknowledged.len(),
                "seed {seed}: {name} has another number of orders: {answers:?}"
            );
        }
        let finals: BTreeSet<_> = answers
            .iter()
            .filter_map(|answer| answer.as_ref().err())
            .filter(|code| code.is_final())
            .map(|code| code.as_str())
            .collect();
        assert!(
            finals.is_empty() || acknowledged.is_empty(),
            "seed {seed}: {name} was accepted and refused: {answers:?}"
        );
    }
}

/// The events that begin a wait, the one that ends it if nothing else does, the time of the wait in the scenarios, and what
/// that event says then.
const WAITS: [(&str, &str, i64, &str); 4] = [
    ("Ordered", "StoreCanceled", 3_000, "NOT_ACCEPTED_IN_TIME"),
    ("DeliveryStarted", "DeliveryCanceled", 2_000, "NOT_PICKED_UP_IN_TIME"),
    ("Reserved", "ReservationCanceled", 3_000, "Not Confirmed In Time"),
    ("ReserveReady", "ReserveCanceled", 2_000, "NOT_FETCHED_IN_TIME"),
];

/// Nothing is due any more, and nothing was given up before its time.
async fn in_time(world: &World, seed: u64) {
    let mut began = BTreeMap::new();
    let mut ended = Vec::new();
    for (name, database) in &world.databases {
        let due = database.due(now().as_millisecond() - 2_000, 1_000).await.expect("memory can be read");
        assert!(due.is_empty(), "seed {seed}: {name} has not decided {due:?}");
        for event in database.journal(0, 0, 1_000).await.expect("memory can be read") {
            for (first, last, time_ms, reason) in WAITS {
                if event.event_type == first {
                    began.entry((last, event.key)).or_insert(event.time_ms + time_ms);
                } else if event.event_type == last && event.body.contains(reason) {
                    ended.push((last, event.clone()));
                }
            }
        }
    }
    for (last, event) in ended {
        let due_ms = began[&(last, event.key)];
        assert!(event.time_ms >= due_ms, "seed {seed}: {event:?} before {due_ms}");
        *world.faults.lock().expect("one thread").entry("not done in time").or_default() += 1;
    }
}

/// No event of an order is published twice, and the numbers of each service are dense.
async fn published_once(world: &World, seed: u64) {
    for (name, database) in &world.databases {
        let journal = database.journal(0, 0, 1_000).await.expect("memory can be read");
        let mut seen = BTreeSet::new();
        for (nth, event) in journal.iter().enumerate() {
            assert_eq!(event.sequence, nth as u64 + 1, "seed {seed}: the numbers of {name} are not dense");
            if *name != "notification" {
                let is_first = seen.insert((course::kind(event), event.key));
                assert!(is_first, "seed {seed}: {name} published twice: {event:?}");
            }
        }
    }
}

/// One case, in virtual time.
fn run_one(scenario: Scenario, seed: u64) -> BTreeMap<&'static str, u64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(case(scenario, seed))
}

/// Reads `7`, or `1000..3000` without its end.
fn chosen(seeds: &str) -> Option<Range<u64>> {
    match seeds.split_once("..") {
        Some((first, end)) => Some(first.parse().ok()?..end.parse().ok()?),
        None => seeds.parse().ok().map(|seed| seed..seed + 1),
    }
}

/// Runs a scenario with so many seeds. Returns how often each fault struck.
fn run(scenario: Scenario, cases: u64) -> BTreeMap<&'static str, u64> {
    let seeds = match std::env::var("JUMUN_SEED") {
        Ok(seeds) => chosen(&seeds).expect("JUMUN_SEED is a number or a range like 1000..3000"),
        Err(_) => 0..cases,
    };
    let mut struck: BTreeMap<&'static str, u64> = BTreeMap::new();
    let count = seeds.end - seeds.start;
    for seed in seeds {
        for (fault, times) in run_one(scenario, seed) {
            *struck.entry(fault).or_default() += times;
        }
    }
    eprintln!("{count} cases; faults: {struck:?}");
    if count >= cases {
        assert!(struck.len() >= 10, "every kind of fault struck: {struck:?}");
    }
    struck
}

const AS_IT_IS: Scenario = Scenario {
    model: food_delivery::system,
    bodies: |name, dice| {
        let price = if dice == 0 { 2_000_000_000 } else { 22_000 }; // over the limit, or not
        format!(r#"{{"storeName":"{name}","itemQty":1,"price":{price}}}"#)
    },
    crowd: 0,
    delays: |_| BTreeMap::new(),
    settings: |_| serde_json::json!({}),
};

const BREAKFAST: Scenario = Scenario {
    model: breakfast_mileage::system,
    bodies: |name, dice| {
        let amount = if dice == 0 { 2_000_000_000 } else { 4_000 }; // over the limit, or not
        format!(r#"{{"qty":1,"amount":{amount},"customerId":"{name}"}}"#)
    },
    ..AS_IT_IS
};

const SAUCE_SHOP: Scenario = Scenario {
    model: sauce_shop::system,
    bodies: |name, dice| {
        let price = if dice == 0 { 2_000_000_000 } else { 10_000 }; // over the limit, or not
        format!(r#"{{"branchId":1,"sauceId":"{name}","qty":1,"price":{price}}}"#)
    },
    ..AS_IT_IS
};

/// Ten copies of one book, and more customers than that who rent it, return it and cancel at once.
const BOOKS: Scenario = Scenario {
    model: book_rental::system,
    bodies: |name, dice| {
        let qty = if dice == 0 { 11 } else { 1 + dice }; // too many, or not
        format!(r#"{{"bookId":1,"qty":{qty},"customerId":"{name}"}}"#)
    },
    crowd: 6,
    ..AS_IT_IS
};

#[test]
fn a_rental_stands_if_and_only_if_it_holds_its_copies_and_no_copy_is_lost() {
    run(BOOKS, 500);
}

#[test]
fn an_order_stands_if_and_only_if_it_is_paid_and_a_cancel_undoes_all_that_followed() {
    run(AS_IT_IS, 500);
}

/// Runs a scenario whose people may be late.
fn run_in_haste(scenario: Scenario, settings: Settings) {
    let struck = run(Scenario { settings, ..scenario }, 200);
    let is_usual = std::env::var_os("JUMUN_SEED").is_none();
    assert!(!is_usual || struck.contains_key("not done in time"), "nobody was late: {struck:?}");
}

#[test]
fn an_order_that_shop_or_rider_are_late_for_is_cancelled_once_and_not_before_its_time() {
    run_in_haste(AS_IT_IS, |service| match service {
        "store" => serde_json::json!({ "confirm": "manual", "accept_within": "3s" }),
        "delivery" => serde_json::json!({ "pickup_within": "2s" }),
        _ => serde_json::json!({}),
    });
}

#[test]
fn an_offer_that_is_not_taken_in_time_passes_on_and_not_before_its_time() {
    run_in_haste(BOOKS, |service| match service {
        "reserve" => serde_json::json!({ "hold_for": "2s" }),
        _ => serde_json::json!({}),
    });
}

#[test]
fn a_seat_that_is_not_confirmed_in_time_is_given_up_and_refunded_and_not_before_its_time() {
    run_in_haste(course::SCENARIO, |service| match service {
        "reservation" => serde_json::json!({ "confirm": "manual", "confirm_within": "3s" }),
        other => (course::SCENARIO.settings)(other),
    });
}

#[test]
fn an_order_stands_if_and_only_if_it_is_paid_and_its_mileage_is_earned() {
    run(BREAKFAST, 500);
}

#[test]
fn an_order_of_sauce_stands_if_and_only_if_it_is_paid_and_is_delivered_or_cancelled() {
    run(SAUCE_SHOP, 500);
}

#[test]
fn an_order_whose_payment_comes_later_is_paid_or_cancelled_and_its_customer_gets_messages() {
    run(course::SCENARIO, 500);
}

/// The log of one case, every line with its virtual time.
fn log_of(scenario: Scenario, seed: u64) -> String {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("one thread").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    struct VirtualTime;
    impl tracing_subscriber::fmt::time::FormatTime for VirtualTime {
        fn format_time(&self, line: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
            write!(line, "{}", now())
        }
    }
    // With one subscriber only, tracing lets the first thread that reaches a log line decide whether it is ever logged. Other
    // tests run in threads without a subscriber, so a second one is always there.
    static IDLE: LazyLock<tracing::Dispatch> = LazyLock::new(|| {
        tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(std::io::sink).into()
    });
    LazyLock::force(&IDLE);
    let lines = Lines::default();
    let writer = lines.clone();
    let log = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_timer(VirtualTime)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(log, || run_one(scenario, seed));
    let bytes = std::mem::take(&mut *lines.0.lock().expect("one thread"));
    String::from_utf8(bytes).expect("text")
}

#[test]
fn a_seed_that_runs_twice_gives_one_log() {
    for (name, scenario) in
        [("food delivery", AS_IT_IS), ("sauce shop", SAUCE_SHOP), ("course enrollment", course::SCENARIO)]
    {
        let mut lines = 0;
        for seed in 0..20 {
            let (first, second) = (log_of(scenario, seed), log_of(scenario, seed));
            lines += first.lines().count();
            let differing = first.lines().zip(second.lines()).position(|(one, other)| one != other);
            if let Some(at) = differing {
                let line = |log: &str| log.lines().nth(at).map(str::to_owned);
                panic!("{name}, seed {seed}: line {at} differs:\n{:?}\n{:?}", line(&first), line(&second));
            }
            assert_eq!(first.len(), second.len(), "{name}, seed {seed}: one log is longer");
        }
        assert!(lines > 1_000, "{name}: the log has only {lines} lines");
    }
}

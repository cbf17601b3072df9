//! What a service counts.

use jumun::ServiceModel;
use jumun_database::{CommitError, Database, Receipt};
use jumun_telemetry::{HttpMetrics, Label, Tracer, label, latency, registered, seconds};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
    },
    registry::Registry,
};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

type FloatGauge = Gauge<f64, AtomicU64>;

/// How an ask of this service ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AskOutcome {
    /// The neighbour accepted it.
    Accepted,
    /// The neighbour refused it, finally.
    Refused,
    /// The neighbour surely did nothing.
    NotDone,
    /// It is unknown what the neighbour did.
    Unknown,
    /// The neighbour has undone what it did, or may have done.
    Voided,
}

impl AskOutcome {
    const ALL: [Self; 5] = [Self::Accepted, Self::Refused, Self::NotDone, Self::Unknown, Self::Voided];

    /// As a label.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::NotDone => "not_done",
            Self::Unknown => "unknown",
            Self::Voided => "voided",
        }
    }
}

/// How a commit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitOutcome {
    /// It is on disk.
    Done,
    /// Another commit was first.
    Conflict,
    /// Something in it is over a limit.
    Limit,
    /// It was not done.
    NotDone,
    /// It may have been done.
    Unknown,
}

impl CommitOutcome {
    const ALL: [Self; 5] = [Self::Done, Self::Conflict, Self::Limit, Self::NotDone, Self::Unknown];

    const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Conflict => "conflict",
            Self::Limit => "limit",
            Self::NotDone => "not_done",
            Self::Unknown => "unknown",
        }
    }

    const fn of(result: &Result<Receipt, CommitError>) -> Self {
        match result {
            Ok(_) => Self::Done,
            Err(CommitError::Conflict(_)) => Self::Conflict,
            Err(CommitError::Limit(_)) => Self::Limit,
            Err(CommitError::NotDone(_) | CommitError::Failed(_)) => Self::NotDone,
            Err(CommitError::Unknown(_)) => Self::Unknown,
        }
    }
}

/// Everything that one service counts. Counters are incremented where things happen, through the handles here. Gauges are
/// set by the handler of the metrics page, just before it renders the page.
#[derive(Debug)]
pub struct ServiceMetrics {
    registry: Registry,
    /// Of requests.
    pub http: HttpMetrics,
    accepted: Counter,
    refused: Counter,
    asks: Family<[Label; 2], Counter>,
    ask_latency: Family<[Label; 2], Histogram, fn() -> Histogram>,
    /// By callee, each with its outcomes in their order.
    asked: BTreeMap<&'static str, [(Counter, Histogram); 5]>,
    commits: [Counter; 5],
    outbox: Outbox,
    sources: BTreeMap<&'static str, Source>,
    states: States,
    time_outs: Family<[Label; 1], Counter>,
}

/// What a service publishes.
#[derive(Debug)]
struct Outbox {
    events: Counter,
    bytes: Counter,
    sync: Histogram,
    /// Events that had been appended at the last sync.
    synced_events: AtomicU64,
    /// By partition: the last known numbers of journal and bus.
    last: Vec<(AtomicU64, AtomicU64)>,
    backlog: Gauge,
}

/// What a service applies of one source.
#[derive(Debug, Clone)]
struct Source {
    events: Counter,
    delay: Histogram,
    lag_events: Gauge,
    lag_seconds: FloatGauge,
    /// When the last applied event had happened, in milliseconds since 1970 UTC; 0: none was applied yet.
    last_time_ms: Arc<AtomicU64>,
}

/// Gauges of the present state.
#[derive(Debug)]
struct States {
    in_doubt: Family<[Label; 1], Gauge>,
    parked_events: Gauge,
    parked_orders: Gauge,
    dropped: Gauge,
    time_outs_due: Gauge,
    time_outs_late_seconds: FloatGauge,
}

impl ServiceMetrics {
    /// All of them at zero, added to what the registry has already.
    pub(crate) fn new(
        model: &ServiceModel,
        database: Arc<dyn Database>,
        tracer: Tracer,
        mut registry: Registry,
    ) -> Self {
        let http = HttpMetrics::register(&mut registry);
        let commands = Family::<[Label; 1], Counter>::default();
        let help = "Commands, by outcome: accepted or refused";
        let commands = registered(&mut registry, "jumun_commands", help, commands);
        let of_commands = |outcome| commands.get_or_create_owned(&[label("outcome", outcome)]);

        let help = "Asks of neighbours, by callee and outcome";
        let asks = registered(&mut registry, "jumun_asks", help, Family::default());
        let ask_latency = Family::new_with_constructor(latency as fn() -> Histogram);
        let help = "Duration of an ask, by callee and outcome; for voided asks the duration of the undo call";
        let ask_latency = registered(&mut registry, "jumun_ask_duration_seconds", help, ask_latency);
        let asked = |callee: &'static str| {
            let of = |outcome: AskOutcome| {
                let labels = [label("callee", callee), label("outcome", outcome.word())];
                (asks.get_or_create_owned(&labels), ask_latency.get_or_create_owned(&labels))
            };
            (callee, AskOutcome::ALL.map(of))
        };

        let commits = Family::<[Label; 1], Counter>::default();
        let commits = registered(&mut registry, "jumun_commits", "Commits, by outcome", commits);
        let of_commits = |outcome: CommitOutcome| commits.get_or_create_owned(&[label("outcome", outcome.word())]);
        let help = "Time-outs that were decided, by what was not done in time";
        let time_outs = registered(&mut registry, "jumun_time_outs", help, Family::default());
        let partitions = database.identity().partitions;
        registry.register_collector(Box::new(Elsewhere { database, tracer }));

        Self {
            http,
            accepted: of_commands("accepted"),
            refused: of_commands("refused"),
            asked: model.asks.iter().map(|ask| asked(ask.service)).collect(),
            asks: asks.clone(),
            ask_latency: ask_latency.clone(),
            commits: CommitOutcome::ALL.map(of_commits),
            outbox: Outbox::register(&mut registry, partitions),
            sources: sources(model, &mut registry),
            states: States::register(&mut registry),
            time_outs,
            registry,
        }
    }

    /// The metrics page. The caller sets the gauges first.
    pub fn page(&self) -> String {
        jumun_telemetry::page(&self.registry)
    }

    pub(crate) fn command(&self, is_accepted: bool) {
        if is_accepted { &self.accepted } else { &self.refused }.inc();
    }

    pub(crate) fn ask(&self, callee: &str, outcome: AskOutcome, took: Duration) {
        if let Some(outcomes) = self.asked.get(callee) {
            let (counter, latency) = &outcomes[outcome as usize];
            counter.inc();
            latency.observe(seconds(took));
        } else {
            // An earlier release asked it; this one only undoes.
            let labels = [label("callee", callee), label("outcome", outcome.word())];
            self.asks.get_or_create(&labels).inc();
            self.ask_latency.get_or_create(&labels).observe(seconds(took));
        }
    }

    /// Asks of this service by outcome, over all callees.
    pub(crate) fn asks(&self, outcome: AskOutcome) -> u64 {
        self.asked.values().map(|outcomes| outcomes[outcome as usize].0.get()).sum()
    }

    pub(crate) fn commit(&self, result: &Result<Receipt, CommitError>) {
        self.commits[CommitOutcome::of(result) as usize].inc();
        if let Ok(receipt) = result {
            for (partition, sequence) in &receipt.sequences {
                self.in_journal(*partition, *sequence);
            }
        }
    }

    /// The journal has events up to this number.
    pub(crate) fn in_journal(&self, partition: u16, sequence: u64) {
        if let Some((journal, _)) = self.outbox.last.get(usize::from(partition)) {
            journal.fetch_max(sequence, Ordering::Relaxed);
        }
    }

    /// The bus has events up to this number.
    pub(crate) fn on_bus(&self, partition: u16, sequence: u64) {
        if let Some((_, bus)) = self.outbox.last.get(usize::from(partition)) {
            bus.fetch_max(sequence, Ordering::Relaxed);
        }
    }

    pub(crate) fn appended(&self, events: usize, bytes: usize) {
        self.outbox.events.inc_by(events as u64);
        self.outbox.bytes.inc_by(bytes as u64);
    }

    /// The bus was synced. A sync without new events is not observed: it had nothing to do.
    pub(crate) fn synced(&self, took: Duration) {
        let appended = self.outbox.events.get();
        if self.outbox.synced_events.swap(appended, Ordering::Relaxed) != appended {
            self.outbox.sync.observe(seconds(took));
        }
    }

    /// An event was applied.
    pub(crate) fn applied(&self, source: &str, time_ms: i64, now_ms: i64) {
        let Some(source) = self.sources.get(source) else { return };
        source.events.inc();
        source.delay.observe(millis(now_ms - time_ms));
        source.last_time_ms.fetch_max(u64::try_from(time_ms).unwrap_or_default(), Ordering::Relaxed);
    }

    pub(crate) fn set_in_doubt(&self, state: &str, requests: u64) {
        self.states.in_doubt.get_or_create(&[label("state", state)]).set(signed(requests));
    }

    /// How many time-outs are due, and for how many milliseconds the oldest.
    pub(crate) fn set_due(&self, time_outs: u64, late_ms: i64) {
        self.states.time_outs_due.set(signed(time_outs));
        self.states.time_outs_late_seconds.set(millis(late_ms));
    }

    /// A time-out was decided.
    pub(crate) fn timed_out(&self, name: &'static str) {
        self.time_outs.get_or_create(&[label("name", name)]).inc();
    }

    pub(crate) fn set_parked(&self, events: u64, orders: usize, dropped: u64) {
        self.states.parked_events.set(signed(events));
        self.states.parked_orders.set(signed(orders as u64));
        self.states.dropped.set(signed(dropped));
    }

    pub(crate) fn set_backlog(&self) {
        let backlog = |(journal, bus): &(AtomicU64, AtomicU64)| {
            let bus = bus.load(Ordering::Relaxed);
            journal.load(Ordering::Relaxed).saturating_sub(bus)
        };
        self.outbox.backlog.set(signed(self.outbox.last.iter().map(backlog).sum()));
    }

    pub(crate) fn set_lag(&self, source: &str, events: u64, now_ms: i64) {
        let Some(source) = self.sources.get(source) else { return };
        source.lag_events.set(signed(events));
        let last = i64::try_from(source.last_time_ms.load(Ordering::Relaxed)).unwrap_or_default();
        match (events, last) {
            (0, _) => source.lag_seconds.set(0.0),
            (_, 0) => source.lag_seconds.set(f64::NAN), // unknown: no event was applied since the start
            (_, last) => source.lag_seconds.set(millis(now_ms - last)),
        };
    }
}

impl Outbox {
    fn register(registry: &mut Registry, partitions: u16) -> Self {
        let mut counter = |name, help| registered(registry, name, help, Counter::default());
        let events = counter("jumun_bus_appended_events", "Events appended to the bus");
        let bytes = counter("jumun_bus_appended_bytes", "Bytes of types, headers and bodies appended to the bus");
        let help = "Duration of a sync of the bus, after which its events survive a power cut";
        let sync = registered(registry, "jumun_bus_sync_duration_seconds", help, latency());
        let help = "Committed events that are not on the bus yet";
        let backlog = registered(registry, "jumun_outbox_backlog_events", help, Gauge::default());
        let last = (0..partitions).map(|_| Default::default()).collect();
        Self { events, bytes, sync, synced_events: AtomicU64::default(), last, backlog }
    }
}

impl States {
    fn register(registry: &mut Registry) -> Self {
        let help = "Requests in doubt, by state; asking and voiding ones are counted up to 1000 each";
        let in_doubt = registered(registry, "jumun_requests_in_doubt", help, Family::default());
        let mut gauge = |name, help| registered(registry, name, help, Gauge::default());
        Self {
            in_doubt,
            parked_events: gauge(
                "jumun_parked_events",
                "Parked events: those that could not be applied, and later events of the same order",
            ),
            parked_orders: gauge("jumun_parked_orders", "Orders with parked events"),
            dropped: gauge("jumun_policies_dropped", "Policy commands that the aggregate's state refused, since start"),
            time_outs_due: gauge(
                "jumun_time_outs_due",
                "Time-outs that are due and not decided yet, counted up to 1000",
            ),
            time_outs_late_seconds: registered(
                registry,
                "jumun_time_outs_late_seconds",
                "For how long the oldest of them has been due; 0: none is",
                FloatGauge::default(),
            ),
        }
    }
}

fn sources(model: &ServiceModel, registry: &mut Registry) -> BTreeMap<&'static str, Source> {
    let events = Family::<[Label; 1], Counter>::default();
    let events = registered(registry, "jumun_heard_events", "Applied events, by source", events);
    let delay = Family::<[Label; 1], Histogram, _>::new_with_constructor(latency as fn() -> Histogram);
    let help = "Time from an event to its effect in this service, by source";
    let delay = registered(registry, "jumun_heard_delay_seconds", help, delay);
    let lag_events = Family::<[Label; 1], Gauge>::default();
    let help = "Events on the bus that are not applied yet, by source; measured at most 250 ms ago";
    let lag_events = registered(registry, "jumun_consumer_lag_events", help, lag_events);
    let lag_seconds = Family::<[Label; 1], FloatGauge>::default();
    let help = "Age of the last applied event while later ones wait on the bus, otherwise 0; by source";
    let lag_seconds = registered(registry, "jumun_consumer_lag_seconds", help, lag_seconds);
    let source = |name: &'static str| {
        let label = [label("source", name)];
        let source = Source {
            events: events.get_or_create_owned(&label),
            delay: delay.get_or_create_owned(&label),
            lag_events: lag_events.get_or_create_owned(&label),
            lag_seconds: lag_seconds.get_or_create_owned(&label),
            last_time_ms: Arc::default(),
        };
        (name, source)
    };
    model.listens.iter().map(|event| event.source).map(source).collect()
}

/// What is counted elsewhere: by the thread that writes the database, and by the exporter of spans.
struct Elsewhere {
    database: Arc<dyn Database>,
    tracer: Tracer,
}

impl fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elsewhere").finish_non_exhaustive()
    }
}

impl Collector for Elsewhere {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let lost = ConstCounter::<u64>::new(self.tracer.lost());
        let help = "Spans that did not fit into the queue, or that the collector refused.";
        lost.encode(encoder.encode_descriptor("jumun_spans_lost", help, None, MetricType::Counter)?)?;
        let stats = self.database.stats();
        let groups = ConstCounter::<u64>::new(stats.groups);
        let help = "Transactions, each with one fsync. One transaction does a group of commits.";
        groups.encode(encoder.encode_descriptor("jumun_commit_groups", help, None, MetricType::Counter)?)?;
        let help = "Commits in one transaction, and so in one fsync.";
        let jobs = encoder.encode_descriptor("jumun_commit_group_size", help, None, MetricType::Histogram)?;
        encode_histogram(&stats.group_jobs, 1.0, jobs)?;
        let help = "Duration of the fsync of a transaction.";
        let sync =
            encoder.encode_descriptor("jumun_commit_sync_duration_seconds", help, None, MetricType::Histogram)?;
        encode_histogram(&stats.sync_us, 1e-6, sync)?;
        let log = stats.log;
        let gauges = [
            ("jumun_database_log_bytes", "Length of the write-ahead log.", signed(log.file_bytes)),
            (
                "jumun_database_log_unfolded_bytes",
                "Bytes of the write-ahead log that are not folded back into the database.",
                signed(log.unfolded_bytes),
            ),
            (
                "jumun_database_failed",
                "1: the database is damaged, or its files are gone. An operator must act. Otherwise 0.",
                i64::from(self.database.failure().is_some()),
            ),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::<i64>::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        let held = ConstGauge::<f64>::new(millis(log.held_ms.map_or(0, signed)));
        let help =
            "For how long the same reader has kept the write-ahead log from being folded back; 0: no reader does.";
        held.encode(encoder.encode_descriptor("jumun_database_log_held_seconds", help, None, MetricType::Gauge)?)?;
        let given_up = ConstCounter::<u64>::new(log.given_up);
        let help = "Attempts to fold the write-ahead log back that a reader or another process stopped.";
        let name = "jumun_database_checkpoints_given_up";
        given_up.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
    }
}

#[expect(clippy::cast_precision_loss, reason = "it is written in decimals anyway")]
fn encode_histogram(of: &jumun_database::Histogram, unit: f64, mut encoder: MetricEncoder<'_>) -> fmt::Result {
    let bounds = of.bounds.iter().map(|bound| *bound as f64 * unit).chain([f64::MAX]);
    let buckets: Vec<_> = bounds.zip(of.counts.iter().copied().chain([0])).collect();
    let buckets = if of.counts.is_empty() { &[(f64::MAX, 0)][..] } else { &buckets };
    encoder.encode_histogram::<NoLabelSet>(of.sum as f64 * unit, of.counts.iter().sum(), buckets, None)
}

/// Milliseconds in seconds; a clock that runs ahead of ours makes nothing negative.
fn millis(ms: i64) -> f64 {
    Duration::from_millis(u64::try_from(ms).unwrap_or_default()).as_secs_f64()
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

//! The messages: what a service, or the supervisor, can be told, and what it replies.

use crate::faults::Faults;
use jumun_guard::State;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, fmt, net::SocketAddr};

/// The version of the protocol. Raised when a message changes in a way that the other end cannot read.
pub const VERSION: u16 = 1;

/// A message with its reply.
pub trait Call: Serialize + DeserializeOwned + Send + 'static {
    /// Where it is posted.
    const PATH: &'static str;
    /// What the process replies; of a call that is followed, each line.
    type Reply: Serialize + DeserializeOwned + Send + 'static;
}

macro_rules! calls {
    ($($Call:ty => $path:literal, $Reply:ty;)+) => { $(
        impl Call for $Call {
            const PATH: &'static str = $path;
            type Reply = $Reply;
        }
    )+ };
}

calls! {
    GetBreakers => "/breakers", BTreeMap<String, Breaker>;
    CommandBreaker => "/breakers/command", State;
    GetFaults => "/faults", Option<FaultsOn>;
    SetFaults => "/faults/set", Option<FaultsOn>;
    RetryParked => "/parked/retry", RetriedParked;
    DiscardParked => "/parked/discard", Discarded;
    RebuildView => "/view/rebuild", RebuildReport;
    GetStatus => "/status", Supervised;
    Kill => "/kill", ProcessStatus;
    Stop => "/stop", ProcessStatus;
    Start => "/start", ProcessStatus;
    Roll => "/roll", ProcessStatus;
}

// ---- a service: its circuit breakers

/// Asks for the circuit breakers, by the service that is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetBreakers {}

/// One circuit breaker and its bulkhead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Breaker {
    /// Its state.
    pub state: State,
    /// Since when, in milliseconds.
    pub in_state_ms: u64,
    /// After how many milliseconds an open one probes; 0 for one that is not open.
    pub wait_left_ms: u64,
    /// Calls in its window.
    pub calls: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Those of them that were slow.
    pub slow: u64,
    /// The share of failed calls, from 0 to 1.
    pub failure_rate: f64,
    /// The share of slow calls, from 0 to 1.
    pub slow_call_rate: f64,
    /// Calls in progress.
    pub at_work: u32,
    /// Calls that wait for a slot.
    pub waiting: u32,
    /// Configured bound on the calls in progress.
    pub max_concurrent: u32,
    /// What the neighbour told of its places, if it did.
    pub places: Option<Places>,
    /// Calls that the open circuit refused.
    pub refused_open: u64,
    /// Calls that the full bulkhead refused.
    pub refused_full: u64,
    /// The last change of state, for a person.
    pub last_change: Option<String>,
}

/// How many calls a neighbour can take, and how many it therefore gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Places {
    /// How many calls it works on at once.
    pub told: u32,
    /// How many calls queue there.
    pub queue: u32,
    /// How many calls may be in progress at once.
    pub limit: u32,
}

/// Commands the circuit breaker around the calls to one service. The reply is its state after that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandBreaker {
    /// The service that is called.
    pub callee: String,
    /// What the breaker does from now on.
    pub command: BreakerCommand,
}

/// What an operator may command a circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BreakerCommand {
    /// Refuse all calls until commanded otherwise.
    ForceOpen,
    /// Let all calls through and count them; never open.
    Close,
    /// Let all calls through and count nothing.
    Disable,
    /// Start over: closed, nothing counted.
    Reset,
}

// ---- a service: faults on demand

/// Asks for the faults that are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetFaults {}

/// Turns these faults on, in place of those that are on; default faults turn them off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetFaults {
    /// The faults.
    pub faults: Faults,
    /// For how many milliseconds; without it until they are turned off.
    pub lasting_ms: Option<u64>,
}

/// Faults that are on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FaultsOn {
    /// Which.
    #[serde(flatten)]
    pub faults: Faults,
    /// The same for a person.
    pub in_words: String,
    /// After how many milliseconds they end by themselves.
    pub ends_in_ms: Option<u64>,
}

// ---- a service: parked events

/// Applies parked events again: of one order, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryParked {
    /// The order.
    pub order: Option<i64>,
}

/// What came of a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetriedParked {
    /// Events that were applied.
    pub heard: u64,
    /// Orders whose events failed again.
    pub failed: u64,
}

/// Forgets the parked events of an order. Their effect is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscardParked {
    /// The order.
    pub order: i64,
}

/// How many parked events were discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discarded {
    /// Events.
    pub discarded: u64,
}

// ---- a service: rebuilding views

/// Rebuilds a view, or all views of the service. The reply is a line for each report, the last one the outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuildView {
    /// The view's collection, or the name of the service.
    pub view: String,
}

/// What a rebuild reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RebuildReport {
    /// It goes on.
    Progress(RebuildProgress),
    /// It is done; the last report.
    #[serde(rename = "rebuilt")]
    Done(RebuildStats),
    /// It was given up and the old rows are unchanged; the last report.
    Failed {
        /// The code of the error.
        code: String,
        /// What happened.
        why: String,
        /// What to do about it.
        remedy: String,
    },
}

/// How far a rebuild is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RebuildProgress {
    /// Events folded so far.
    pub events: u64,
    /// Events in all, as it looks now.
    pub of: u64,
    /// Events a second.
    pub rate: u64,
}

/// What a rebuild did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RebuildStats {
    /// The views, by their collections.
    pub views: Vec<String>,
    /// Events that were read.
    pub events: u64,
    /// Those of them that were skipped because they are parked or were discarded.
    pub left_out: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Parked events that were applied after it.
    pub parked_heard: u64,
    /// Orders whose parked events failed again.
    pub parked_failed: u64,
    /// Whether it began with the base instead of the first event. Rows of the base were made by the release that made it.
    #[serde(default)]
    pub from_base: bool,
}

// ---- the supervisor

/// Asks for the state of all processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetStatus {}

/// What the supervisor replies about a system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supervised {
    /// What it was started with.
    pub about: About,
    /// Every process, and its own health if it answers: `UP`, `DOWN`.
    pub processes: Vec<(ProcessStatus, Option<String>)>,
}

/// What a supervisor was started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// The system.
    pub system: String,
    /// The supervisor's process.
    pub pid: u32,
    /// Its release.
    pub version: String,
    /// Its data folder.
    pub data: String,
    /// The processes in the order in which a new release replaces them: consumers before their sources.
    pub roll_order: Vec<String>,
}

/// The state of one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessStatus {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it is doing.
    pub state: ProcessState,
    /// The process, if there is one.
    pub pid: Option<u32>,
    /// How often it was started again because it had ended by itself.
    pub restarts: u32,
    /// How the last process ended, unless an operator ended it.
    pub last_end: Option<String>,
    /// From the end of the last process, or the start of this one, until it was ready, in milliseconds.
    pub ready_after_ms: Option<u64>,
    /// What its health says is wrong, or worth knowing.
    #[serde(default)]
    pub trouble: Option<String>,
}

/// What a process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessState {
    /// It is being started.
    Starting,
    /// It answers.
    Ready,
    /// It finishes the requests in progress.
    Stopping,
    /// An operator stopped it.
    Stopped,
    /// It did not become ready; the supervisor starts it again after a pause.
    Waiting,
}

impl fmt::Display for ProcessState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Waiting => "waiting",
        })
    }
}

/// Kills a process (`kill -9`). The reply comes when the next one is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kill {
    /// Its name.
    pub service: String,
}

/// Stops a process: it finishes the requests in progress and closes its socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Its name.
    pub service: String,
}

/// Starts a process that was stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Its name.
    pub service: String,
}

/// Replaces a process by a new one without losing a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roll {
    /// Its name.
    pub service: String,
}

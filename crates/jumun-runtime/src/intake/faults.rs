//! Faults on demand, for drills: a service that is slow, fails, is narrow or busy because an operator says so. They strike
//! commands, asks of neighbours included, before anything of them is done. Undoing is never disturbed.
//!
//! They are off by default, and then cost a command one look at a flag.

use super::admission::FaultLimit;
use crate::limits::{FAULT_CPU_MAX, FAULT_DELAY_MAX, FAULT_START_DELAY_MAX, TIMER_LATENESS};
use jiff::SignedDuration;
use jumun_config::{Section, settings_by_serde};
use jumun_http::{Code, Problem};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Semaphore, time::Instant};

/// Which faults, the keys of `[payment.faults]`. By default none.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// How long a command is held up.
    pub delay: Delay,
    /// The share of commands that are answered 500 and not done, from 0 to 1.
    #[serde(deserialize_with = "share")]
    pub fail: f64,
    /// Commands at work at once, others queue as long as admission lets them; 0 for no such limit.
    pub concurrency: u32,
    /// Processor time that is burnt for each command.
    #[serde(deserialize_with = "cpu", serialize_with = "in_words")]
    pub cpu: Duration,
    /// How much longer the start of the service takes.
    #[serde(deserialize_with = "start_delay", serialize_with = "in_words")]
    pub start_delay: Duration,
}

settings_by_serde!(Faults: "table");

impl Section for Faults {}

/// A time between two others, drawn uniformly: `400ms..620ms`, or `500ms` for always the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delay {
    from: Duration,
    to: Duration,
}

/// Faults as they are on now.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FaultsOn {
    /// Which.
    #[serde(flatten)]
    pub faults: Faults,
    /// The same for people.
    pub in_words: String,
    /// After how long they end by themselves, in milliseconds.
    pub ends_in_ms: Option<u64>,
}

/// Where faults are turned on and off.
#[derive(Debug, Default)]
pub struct FaultSwitch {
    is_on: AtomicBool,
    active: Mutex<Option<Arc<Active>>>,
}

/// Faults that are on. Each time that they are set they are other ones.
#[derive(Debug)]
struct Active {
    faults: Faults,
    places: Option<Arc<Semaphore>>,
    until: Option<Instant>,
}

impl Faults {
    /// Whether a command meets any of them.
    fn are_any(&self) -> bool {
        let Self { delay, fail, concurrency, cpu, start_delay: _ } = self;
        *delay != Delay::default() || *fail > 0.0 || *concurrency > 0 || !cpu.is_zero()
    }

    /// As the query of a URL.
    pub fn to_query(&self) -> String {
        let Self { delay, fail, concurrency, cpu, start_delay: _ } = self;
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("delay", &delay.to_string());
        query.append_pair("fail", &fail.to_string());
        query.append_pair("concurrency", &concurrency.to_string());
        query.append_pair("cpu", &words(*cpu));
        query.finish()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { delay, fail, concurrency, cpu, start_delay: _ } = self;
        let mut parts = Vec::new();
        if *delay != Delay::default() {
            parts.push(format!("each command is held up for {delay}"));
        }
        if *fail > 0.0 {
            parts.push(format!("{} % of commands are answered 500", fail * 100.0));
        }
        if *concurrency > 0 {
            parts.push(format!("{concurrency} commands are at work at once"));
        }
        if !cpu.is_zero() {
            parts.push(format!("each command burns {} of processor time", words(*cpu)));
        }
        f.write_str(&if parts.is_empty() { "none".to_owned() } else { parts.join(", ") })
    }
}

impl Delay {
    /// One of them.
    fn draw(self) -> Duration {
        self.from + self.to.saturating_sub(self.from).mul_f64(fastrand::f64())
    }
}

impl FromStr for Delay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        let delay = Self { from: parse(from, FAULT_DELAY_MAX)?, to: parse(to, FAULT_DELAY_MAX)? };
        if delay.from <= delay.to { Ok(delay) } else { Err(format!("`{text}` goes backwards; write 400ms..620ms")) }
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&words(self.from))?;
        if self.from == self.to { Ok(()) } else { write!(f, "..{}", words(self.to)) }
    }
}

impl Serialize for Delay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Delay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl FaultSwitch {
    /// Turns these on, instead of others; for so long, or until they are turned off.
    pub fn set(&self, faults: Faults, lasting: Option<Duration>) {
        let active = faults.are_any().then(|| {
            let places = (faults.concurrency > 0).then(|| Arc::new(Semaphore::new(faults.concurrency as usize)));
            Arc::new(Active { faults, places, until: lasting.map(|lasting| Instant::now() + lasting) })
        });
        let lasting = lasting.map(words);
        match &active {
            Some(_) => tracing::warn!(%faults, lasting, "faults are on, because somebody asked for them"),
            None if self.is_on() => tracing::warn!("faults are off"),
            None => {}
        }
        self.put(self.active.lock().unwrap_or_else(PoisonError::into_inner), active);
    }

    fn put(&self, mut current: MutexGuard<'_, Option<Arc<Active>>>, active: Option<Arc<Active>>) {
        let is_on = active.is_some();
        let before = std::mem::replace(&mut *current, active);
        self.is_on.store(is_on, Ordering::Relaxed);
        drop(current);
        if let Some(places) = before.and_then(|before| before.places.clone()) {
            places.close(); // who queued for a place goes on without one
        }
    }

    /// What is on.
    pub fn on(&self) -> Option<FaultsOn> {
        self.active().map(|active| FaultsOn {
            faults: active.faults,
            in_words: active.faults.to_string(),
            ends_in_ms: active.until.map(|until| {
                let left = until.saturating_duration_since(Instant::now());
                u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
            }),
        })
    }

    /// Whether any are, or were a moment ago.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    fn active(&self) -> Option<Arc<Active>> {
        if !self.is_on() {
            return None;
        }
        let current = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |active: &Arc<Active>| active.until.is_some_and(|until| until <= Instant::now());
        if !current.as_ref().is_some_and(is_over) {
            return current.clone();
        }
        tracing::warn!("faults are off, their time is over");
        self.put(current, None);
        None
    }

    /// How few commands may be at work at once, if they may not as usual.
    pub(crate) fn limit(&self) -> Option<FaultLimit> {
        let active = self.active()?;
        Some(FaultLimit { places: active.places.clone()?, width: active.faults.concurrency })
    }

    /// What a command that was let in goes through before anything of it is done.
    pub(crate) async fn meet(&self) -> Result<(), Problem> {
        let Some(active) = self.active() else { return Ok(()) };
        let Faults { delay, fail, concurrency: _, cpu, start_delay: _ } = active.faults;
        if delay != Delay::default() {
            tokio::time::sleep(delay.draw().saturating_sub(TIMER_LATENESS)).await;
        }
        burn(cpu);
        if fastrand::f64() < fail {
            return Err(Problem::new(Code::Fault, "It fails because an operator asked for that. Nothing was done."));
        }
        Ok(())
    }
}

/// Burns processor time of this thread.
fn burn(cpu: Duration) {
    if cpu.is_zero() {
        return;
    }
    let used = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or(Duration::MAX);
    let until = used() + cpu;
    while used() < until {
        std::hint::spin_loop();
    }
}

fn parse(text: &str, most: Duration) -> Result<Duration, String> {
    let parsed = text.trim().parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    let duration = parsed.ok_or_else(|| format!("`{text}` is no duration; write 610ms, 1s or 2m"))?;
    if duration <= most { Ok(duration) } else { Err(format!("must be at most {}, not {text}", words(most))) }
}

/// As it is read: `610ms`.
fn words(duration: Duration) -> String {
    if duration.is_zero() { "0s".to_owned() } else { format!("{duration:?}") }
}

fn in_words<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&words(*duration))
}

fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let share = f64::deserialize(deserializer)?;
    if (0.0..=1.0).contains(&share) {
        return Ok(share);
    }
    Err(de::Error::custom(format!("must be a share from 0 to 1, not {share}")))
}

fn cpu<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(deserializer)?, FAULT_CPU_MAX).map_err(de::Error::custom)
}

fn start_delay<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(deserializer)?, FAULT_START_DELAY_MAX).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(keys: Value) -> Faults {
        serde_json::from_value(keys).expect("faults")
    }

    fn on(keys: Value) -> FaultSwitch {
        let switch = FaultSwitch::default();
        switch.set(read(keys), None);
        switch
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_is_drawn_between_its_bounds() {
        let switch = on(json!({ "delay": "400ms..620ms" }));
        let mut met = Vec::new();
        for _ in 0..200 {
            let began = Instant::now();
            switch.meet().await.expect("no failure");
            met.push(began.elapsed());
        }
        met.sort();
        let (least, most) = (Duration::from_millis(399), Duration::from_millis(620)); // timers are of a millisecond
        assert!(met[0] >= least && met[199] <= most, "{:?} to {:?}", met[0], met[199]);
        assert!(met[199] > met[0] + Duration::from_millis(110), "{:?} to {:?}", met[0], met[199]);
    }

    #[tokio::test]
    async fn a_share_of_commands_fails() {
        let switch = on(json!({ "fail": 0.5 }));
        let mut failed = 0;
        for _ in 0..1_000 {
            if let Err(problem) = switch.meet().await {
                assert_eq!((problem.code, problem.code.status()), (Code::Fault, 500));
                assert!(!problem.code.is_surely_not_done(), "a 500 is believed by nobody");
                failed += 1;
            }
        }
        assert!((400..600).contains(&failed), "{failed}");
    }

    #[tokio::test(start_paused = true)]
    async fn they_end_by_themselves() {
        let switch = FaultSwitch::default();
        switch.set(read(json!({ "fail": 1 })), Some(Duration::from_mins(1)));
        assert_eq!(switch.on().expect("faults").ends_in_ms, Some(60_000));
        assert!(switch.meet().await.is_err());
        tokio::time::advance(Duration::from_mins(1)).await;
        assert!(switch.meet().await.is_ok());
        assert_eq!(switch.on(), None);
    }

    #[tokio::test]
    async fn processor_time_is_burnt() {
        let used = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("a time");
        let before = used();
        on(json!({ "cpu": "5ms" })).meet().await.expect("no failure");
        assert!(used() >= before + Duration::from_millis(5));
    }

    #[test]
    fn they_are_read_as_they_are_written() {
        let keys =
            json!({ "delay": "400ms..620ms", "fail": 0.1, "concurrency": 30, "cpu": "5ms", "start_delay": "2s" });
        let faults = read(keys.clone());
        assert_eq!(serde_json::to_value(faults).expect("JSON"), keys);
        let uri = format!("http://control/?{}", faults.to_query()).parse().expect("a URI");
        let axum::extract::Query(again) = axum::extract::Query::<Faults>::try_from_uri(&uri).expect("a query");
        assert_eq!(again, Faults { start_delay: Duration::ZERO, ..faults }, "a start cannot be delayed any more");
        let text = "each command is held up for 400ms..620ms, 10 % of commands are answered 500, 30 commands are at work \
                    at once, each command burns 5ms of processor time";
        assert_eq!(faults.to_string(), text);
        assert_eq!(read(json!({ "delay": "500ms" })).delay.to_string(), "500ms");
        assert_eq!(Faults::default().to_string(), "none");
    }
}

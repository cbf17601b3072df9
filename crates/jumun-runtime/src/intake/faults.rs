//! Faults on demand, for drills: an operator makes a service slow, failing, narrow or busy. Faults apply to commands, asks of
//! neighbours included, before any of their work is done. They never apply to undoing.
//!
//! They are off by default, and then cost a command one read of a flag.

use super::admission::FaultLimit;
use crate::limits::TIMER_LATENESS;
use jumun_config::units::format_duration;
use jumun_control::{Delay, Faults, FaultsOn};
use jumun_http::{Code, Problem};
use rustix::time::{ClockId, clock_gettime};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Semaphore, time::Instant};

/// Where faults are turned on and off.
#[derive(Debug, Default)]
pub struct FaultSwitch {
    is_on: AtomicBool,
    active: Mutex<Option<Arc<Active>>>,
}

/// Faults that are on. Replaced, never changed.
#[derive(Debug)]
struct Active {
    faults: Faults,
    places: Option<Arc<Semaphore>>,
    until: Option<Instant>,
}

impl FaultSwitch {
    /// Turns these faults on, in place of those that are on; for this long, or until they are turned off.
    pub fn set(&self, faults: Faults, lasting: Option<Duration>) {
        let active = faults.are_any().then(|| {
            let places = (faults.concurrency > 0).then(|| Arc::new(Semaphore::new(faults.concurrency as usize)));
            Arc::new(Active { faults, places, until: lasting.map(|lasting| Instant::now() + lasting) })
        });
        let lasting = lasting.map(format_duration);
        match &active {
            Some(_) => tracing::warn!(%faults, lasting, "faults are on: an operator turned them on"),
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
            places.close(); // a caller that queues for a permit goes on without one
        }
    }

    /// The faults that are on.
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

    /// Whether faults are on, or were until a moment ago.
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

    /// The limit of commands in progress that the faults impose, if they do.
    pub(crate) fn limit(&self) -> Option<FaultLimit> {
        let active = self.active()?;
        Some(FaultLimit { places: active.places.clone()?, width: active.faults.concurrency })
    }

    /// Applies the faults to an admitted command, before any of its work is done.
    pub(crate) async fn apply(&self) -> Result<(), Problem> {
        let Some(active) = self.active() else { return Ok(()) };
        let Faults { delay, fail, concurrency: _, cpu, start_delay: _ } = active.faults;
        if delay != Delay::default() {
            tokio::time::sleep(draw(delay).saturating_sub(TIMER_LATENESS)).await;
        }
        burn(cpu);
        if fastrand::f64() < fail {
            return Err(Problem::new(
                Code::Fault,
                "It fails because an operator turned this fault on. Nothing was done.",
            ));
        }
        Ok(())
    }
}

/// One delay of a range.
fn draw(delay: Delay) -> Duration {
    delay.from + delay.to.saturating_sub(delay.from).mul_f64(fastrand::f64())
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
        let mut took = Vec::new();
        for _ in 0..200 {
            let began = Instant::now();
            switch.apply().await.expect("no failure");
            took.push(began.elapsed());
        }
        took.sort();
        let (least, most) = (Duration::from_millis(399), Duration::from_millis(620)); // timers are of a millisecond
        assert!(took[0] >= least && took[199] <= most, "{:?} to {:?}", took[0], took[199]);
        assert!(took[199] > took[0] + Duration::from_millis(110), "{:?} to {:?}", took[0], took[199]);
    }

    #[tokio::test]
    async fn a_share_of_commands_fails() {
        let switch = on(json!({ "fail": 0.5 }));
        let mut failed = 0;
        for _ in 0..1_000 {
            if let Err(problem) = switch.apply().await {
                assert_eq!((problem.code, problem.code.status()), (Code::Fault, 500));
                assert!(!problem.code.is_surely_not_done(), "a 500 does not prove that nothing was done");
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
        assert!(switch.apply().await.is_err());
        tokio::time::advance(Duration::from_mins(1)).await;
        assert!(switch.apply().await.is_ok());
        assert_eq!(switch.on(), None);
    }

    #[tokio::test]
    async fn processor_time_is_burnt() {
        let used = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("a time");
        let before = used();
        on(json!({ "cpu": "5ms" })).apply().await.expect("no failure");
        assert!(used() >= before + Duration::from_millis(5));
    }
}

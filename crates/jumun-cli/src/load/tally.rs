//! What was counted while the load ran.

use super::{
    limits::LATENCY_MAX_US,
    target::{Answer, Broken},
};
use hdrhistogram::Histogram;
use http::StatusCode;
use jumun_audit::{Full, Keys};
use jumun_http::Problem;
use std::{collections::BTreeMap, time::Duration};

/// Counts and times. Its size does not depend on how long the load runs, but for a bit an order (see [`Keys`]).
pub(super) struct Tally {
    /// Requests and cancels that were answered as they should be.
    pub(super) successful: u64,
    /// Requests and cancels that were not, by status and kind of problem, or by how the connection ended.
    pub(super) failed: BTreeMap<String, u64>,
    /// Requests that were due and were never sent: too many others waited for their answers.
    pub(super) not_sent: u64,
    /// Requests of which nobody knows whether they had their effect.
    pub(super) unanswered: u64,
    /// Cancels, of those that were successful.
    pub(super) canceled: u64,
    /// Bytes of answers, heads not included.
    pub(super) bytes: u64,
    /// Sending and waiting, of all requests together: for the concurrency.
    pub(super) busy: Duration,
    /// From when a request was due to the end of its answer. Successful requests, cancels not included.
    pub(super) latency: Histogram<u64>,
    /// The same since the last line of progress.
    pub(super) recent: Histogram<u64>,
    /// From when a request was due to when it was sent: the generator's own slowness.
    pub(super) late: Histogram<u64>,
    /// Orders that were acknowledged.
    pub(super) placed: Keys,
    /// Orders whose cancel was acknowledged.
    pub(super) ended: Keys,
    /// Acknowledged orders that [`Keys`] had no room for, so that nobody can look at them.
    pub(super) not_kept: u64,
    /// How long after its 201 a watched order was shown as finished.
    pub(super) lag: Histogram<u64>,
    /// Watched orders that were never shown as finished while somebody looked.
    pub(super) never_finished: u64,
    /// Orders that should have been watched while too many others were.
    pub(super) not_watched: u64,
}

impl Tally {
    pub(super) fn new() -> Self {
        // Three digits that count, up to an hour: some 200 KB each. Constants, which the library takes.
        let times = || {
            let mut times = Histogram::<u64>::new_with_bounds(1, LATENCY_MAX_US, 3).expect("bounds");
            times.auto(false);
            times
        };
        Self {
            successful: 0,
            failed: BTreeMap::new(),
            not_sent: 0,
            unanswered: 0,
            canceled: 0,
            bytes: 0,
            busy: Duration::ZERO,
            latency: times(),
            recent: times(),
            late: times(),
            placed: Keys::default(),
            ended: Keys::default(),
            not_kept: 0,
            lag: times(),
            never_finished: 0,
            not_watched: 0,
        }
    }

    /// Requests and cancels that were sent and are through.
    pub(super) fn transactions(&self) -> u64 {
        self.successful + self.failed()
    }

    /// Those that failed.
    pub(super) fn failed(&self) -> u64 {
        self.failed.values().sum()
    }

    /// The share of what was due that was answered as it should be, from 0 to 1.
    pub(super) fn availability(&self) -> f64 {
        let due = self.transactions() + self.not_sent;
        if due == 0 { 0.0 } else { share(self.successful, due) }
    }

    /// Takes in what became of a request; the order that it placed, if it did.
    pub(super) fn request(&mut self, outcome: Result<Answer, Broken>, times: Times) -> Option<i64> {
        let placed = outcome.as_ref().ok().filter(|answer| answer.status == StatusCode::CREATED);
        let placed = placed.and_then(|answer| answer.id);
        if let Some(order) = placed {
            self.keep(order, |tally| &mut tally.placed);
        }
        record(&mut self.late, times.late);
        let kind = match &outcome {
            Ok(answer) if answer.status == StatusCode::CREATED && answer.id.is_none() => {
                Some("201 that names no order".to_owned())
            }
            outcome => kind_of_failure(outcome),
        };
        if kind.is_none() {
            record(&mut self.latency, times.latency);
            record(&mut self.recent, times.latency);
        }
        self.count(outcome, kind, times);
        placed
    }

    /// Takes in what became of a cancel.
    pub(super) fn cancel(&mut self, order: i64, outcome: Result<Answer, Broken>, times: Times) {
        let kind = kind_of_failure(&outcome).map(|kind| format!("cancel: {kind}"));
        if kind.is_none() {
            self.canceled += 1;
            self.keep(order, |tally| &mut tally.ended);
        }
        self.count(outcome, kind, times);
    }

    fn count(&mut self, outcome: Result<Answer, Broken>, kind: Option<String>, times: Times) {
        self.busy += times.latency.saturating_sub(times.late);
        match &outcome {
            Ok(answer) => self.bytes += answer.body.as_ref().map_or(0, |body| body.len() as u64),
            Err(broken) => self.unanswered += u64::from(broken.may_be_done()),
        }
        match kind {
            None => self.successful += 1,
            Some(kind) => *self.failed.entry(kind).or_default() += 1,
        }
    }

    fn keep(&mut self, order: i64, keys: impl FnOnce(&mut Self) -> &mut Keys) {
        if let Err(Full) = keys(self).insert(order) {
            self.not_kept += 1;
        }
    }

    /// An order was shown as finished so long after it was acknowledged.
    pub(super) fn finished(&mut self, after: Duration) {
        record(&mut self.lag, after);
    }
}

/// The times of one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// From when it was due until it was sent.
    pub(super) late: Duration,
    /// From when it was due until its answer had ended.
    pub(super) latency: Duration,
}

fn record(times: &mut Histogram<u64>, time: Duration) {
    times.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
}

/// What kind of failure it is, if it is one. There are only so many kinds, whatever is answered.
fn kind_of_failure(outcome: &Result<Answer, Broken>) -> Option<String> {
    match outcome {
        Err(broken) | Ok(Answer { body: Err(broken), .. }) => Some(broken.to_string()),
        Ok(answer) if answer.status.is_success() => None,
        Ok(Answer { status, body: Ok(body), .. }) => {
            let problem = str::from_utf8(body).ok().and_then(Problem::parse);
            let word = problem.map_or_else(String::new, |problem| format!(" {}", problem.code.as_str()));
            Some(format!("{}{word}", status.as_u16()))
        }
    }
}

/// One number as a share of another.
#[expect(clippy::cast_precision_loss, reason = "a share is told to a few digits")]
pub(super) fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

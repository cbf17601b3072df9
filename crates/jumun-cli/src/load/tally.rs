//! The counters and histograms of a load.

use super::{
    limits::LATENCY_MAX_US,
    target::{Answer, Broken},
};
use hdrhistogram::Histogram;
use http::StatusCode;
use jumun_audit::{Acknowledged, Full, Keys};
use jumun_http::Problem;
use std::{collections::BTreeMap, time::Duration};

/// Counters and histograms. Their size is constant, except for one bit per order (see [`Keys`]).
pub(super) struct Tally {
    /// Successful requests and cancels.
    pub(super) successful: u64,
    /// Failed requests and cancels, by status and problem type, or by transport error.
    pub(super) failed: BTreeMap<String, u64>,
    /// Requests that were due but not sent, because too many others were in flight.
    pub(super) not_sent: u64,
    /// Requests without a response, which may have taken effect.
    pub(super) unanswered: u64,
    /// Successful cancels.
    pub(super) canceled: u64,
    /// Bytes of response bodies.
    pub(super) bytes: u64,
    /// Total time in flight of all requests, from which the concurrency is computed.
    pub(super) busy: Duration,
    /// From the due time of a request to the end of its response. Only successful requests, without cancels.
    pub(super) latency: Histogram<u64>,
    /// The same since the last progress report.
    pub(super) recent: Histogram<u64>,
    /// From the due time of a request to its sending: the delay of the generator itself.
    pub(super) late: Histogram<u64>,
    /// The orders.
    pub(super) orders: Orders,
    /// The orders that were watched in a view.
    pub(super) watched: Watched,
}

/// The orders of a load.
pub(super) struct Orders {
    /// The acknowledged ones, for the audit.
    pub(super) acknowledged: Acknowledged,
    /// Acknowledged orders that did not fit into [`Keys`], so that the audit does not check them.
    pub(super) not_kept: u64,
}

/// The orders that were watched in a view.
pub(super) struct Watched {
    /// From the acknowledgement of an order until the view showed it as finished, in microseconds.
    pub(super) lag: Histogram<u64>,
    /// Orders that the view did not show as finished in time.
    pub(super) never_finished: u64,
    /// Orders that were not watched, because too many others were.
    pub(super) missed: u64,
}

impl Tally {
    /// Nothing counted yet. `acknowledged` names the orders and is empty.
    pub(super) fn new(acknowledged: Acknowledged) -> Self {
        // Three significant digits up to an hour: about 200 KB each. The library accepts these constants.
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
            orders: Orders { acknowledged, not_kept: 0 },
            watched: Watched { lag: times(), never_finished: 0, missed: 0 },
        }
    }

    /// Completed requests and cancels, successful or failed.
    pub(super) fn transactions(&self) -> u64 {
        self.successful + self.failed()
    }

    /// Failed requests and cancels.
    pub(super) fn failed(&self) -> u64 {
        self.failed.values().sum()
    }

    /// The share of due requests that were successful, from 0 to 1.
    pub(super) fn availability(&self) -> f64 {
        let due = self.transactions() + self.not_sent;
        if due == 0 { 0.0 } else { share(self.successful, due) }
    }

    /// Records the outcome of a request. Returns the order that it placed, if it did.
    pub(super) fn request(&mut self, outcome: Result<Answer, Broken>, times: Times) -> Option<i64> {
        let placed = outcome.as_ref().ok().filter(|answer| answer.status == StatusCode::CREATED);
        let placed = placed.and_then(|answer| answer.id);
        if let Some(order) = placed {
            self.orders.keep(order, |acknowledged| &mut acknowledged.made);
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

    /// Records the outcome of a cancel.
    pub(super) fn cancel(&mut self, order: i64, outcome: Result<Answer, Broken>, times: Times) {
        let kind = kind_of_failure(&outcome).map(|kind| format!("cancel: {kind}"));
        if kind.is_none() {
            self.canceled += 1;
            self.orders.keep(order, |acknowledged| &mut acknowledged.ended);
        }
        self.count(outcome, kind, times);
    }

    fn count(&mut self, outcome: Result<Answer, Broken>, kind: Option<String>, times: Times) {
        self.busy += times.latency.saturating_sub(times.late);
        match &outcome {
            Ok(answer) => self.bytes += answer.body.as_ref().map_or(0, |body| body.len() as u64),
            Err(broken) => self.unanswered += u64::from(broken.may_have_effect()),
        }
        match kind {
            None => self.successful += 1,
            Some(kind) => *self.failed.entry(kind).or_default() += 1,
        }
    }
}

impl Orders {
    fn keep(&mut self, order: i64, keys: impl FnOnce(&mut Acknowledged) -> &mut Keys) {
        if let Err(Full) = keys(&mut self.acknowledged).insert(order) {
            self.not_kept += 1;
        }
    }
}

impl Watched {
    /// Records that the view showed an order as finished, this long after its acknowledgement.
    pub(super) fn finished(&mut self, after: Duration) {
        record(&mut self.lag, after);
    }

    /// How many were watched to their end.
    pub(super) fn count(&self) -> u64 {
        self.lag.len() + self.never_finished
    }
}

/// The times of one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// From its due time until it was sent.
    pub(super) late: Duration,
    /// From its due time to the end of its response.
    pub(super) latency: Duration,
}

fn record(times: &mut Histogram<u64>, time: Duration) {
    times.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
}

/// The kind of a failure; None for a success. The number of kinds is bounded, whatever a target responds.
fn kind_of_failure(outcome: &Result<Answer, Broken>) -> Option<String> {
    match outcome {
        Err(broken) | Ok(Answer { body: Err(broken), .. }) => Some(broken.to_string()),
        Ok(answer) if answer.status.is_success() => None,
        Ok(Answer { status, body: Ok(body), .. }) => {
            let problem = str::from_utf8(body).ok().and_then(Problem::parse);
            let code = problem.map_or_else(String::new, |problem| format!(" {}", problem.code.as_str()));
            Some(format!("{}{code}", status.as_u16()))
        }
    }
}

/// One number as a share of another.
#[expect(clippy::cast_precision_loss, reason = "a share is printed with a few digits")]
pub(super) fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

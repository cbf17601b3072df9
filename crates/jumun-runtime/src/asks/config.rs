//! The configuration of the asks of one neighbour: the table `[<service>.calls.<neighbour>]`.

use super::budget::DelayConfig;
use crate::limits::{DELAY_DEADLINE, DELAY_DEADLINE_MAX, DELAYED_MAX, TIME_LIMIT};
use jumun_config::{Invalid, Section, check, section, settings_by_serde};
use jumun_guard::{BreakerConfig, BulkheadConfig, GuardConfig};
use jumun_http::Address;
use serde::{Deserialize, Serialize};
use std::time::Duration;

section! {
    /// The asks of one neighbour.
    pub struct CallConfig {
        /// The address of the neighbour. By default where it listens.
        pub url: Option<Address> = None,
        /// How long the service waits for an answer, the wait for a slot included. By default 1s longer than one attempt where
        /// the neighbour is the sender of messages.
        pub time_limit: Duration = TIME_LIMIT,
        /// When the service stops asking.
        pub breaker: BreakerConfig = BreakerConfig::default(),
        /// How many asks may be in flight at once.
        pub bulkhead: BulkheadConfig = BulkheadConfig::default(),
        /// What happens to a command whose ask gets no answer: the service refuses it, or accepts it and asks later. `accept`
        /// is the default where the system knows how to go on without the answer, and is only allowed there.
        pub fallback: Fallback = Fallback::Reject,
        /// Delayed asks of the service. Commands over the limit get 503.
        pub max_delayed: u32 = DELAYED_MAX,
        /// How long the service repeats a delayed ask before it gives up; at most 12h. By default 12h for messages.
        pub deadline: Duration = DELAY_DEADLINE,
    }
}

/// What happens to a command whose ask gets no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fallback {
    /// The service refuses it.
    #[default]
    Reject,
    /// The service accepts it and asks later.
    Accept,
}

settings_by_serde!(Fallback: "`reject` or `accept`");

impl Section for CallConfig {
    fn check(&self) -> Result<(), Invalid> {
        self.guard().check()?;
        check::above_zero("deadline", self.deadline)?;
        check::within("deadline", &self.deadline, &(Duration::ZERO..=DELAY_DEADLINE_MAX))
    }
}

impl CallConfig {
    /// The guard around these asks.
    pub fn guard(&self) -> GuardConfig {
        let Self { time_limit, breaker, bulkhead, .. } = *self;
        GuardConfig { time_limit, breaker, bulkhead }
    }

    /// How these asks may be delayed.
    pub fn delay(&self) -> DelayConfig {
        let Self { fallback, max_delayed, deadline, .. } = *self;
        DelayConfig { is_accepting: fallback == Fallback::Accept, max_delayed, deadline }
    }

    /// Sets the keys without a value to the values that apply.
    pub fn set_open_keys(&mut self) {
        self.breaker.minimum_calls = Some(self.breaker.minimum_calls());
        self.breaker.slow_call.get_or_insert(self.time_limit);
    }
}

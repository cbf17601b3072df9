//! Parked events: kept aside because they cannot be decoded or the business code fails on them, with every later event of
//! their order. They are applied again when the service starts, or when an operator says so.

pub(crate) mod record;

pub use record::{PARKED, Parked, parked};

use super::consumer::{Effect, Halt, Instruction, Worker};
use crate::limits::{DECISIONS_MAX, RETRY_PAUSE};
use jumun_database::{CommitError, Document, DocumentChange};
use jumun_telemetry::TraceContext;
use std::collections::BTreeSet;
use tokio::time::Instant;

/// One look at what is parked.
struct Retried {
    heard: usize,
    /// Orders that stay parked.
    stuck: BTreeSet<i64>,
    /// Whether it was because somebody else was first: then it is to be looked at again.
    is_conflict: bool,
}

impl Worker {
    pub(super) async fn obey(&mut self, instruction: Instruction) {
        let as_parked = self.as_parked.clone();
        let free = as_parked.try_lock().map_err(|_| "a view is being rebuilt; tell it again after that");
        match instruction {
            Instruction::Retry { key, done } => drop(done.send(match free {
                Ok(_) => Ok(self.retry(key).await),
                Err(why) => Err(why),
            })),
            Instruction::Discard { key, done } => drop(done.send(match free {
                Ok(_) => Ok(self.discard(key).await),
                Err(why) => Err(why),
            })),
        }
    }

    /// What could not be heard again because of the database, and not because of itself, is not left until somebody says so.
    pub(super) async fn retry_again(&mut self) {
        if self.again.is_empty() || self.again_at.elapsed() < RETRY_PAUSE {
            return;
        }
        let as_parked = self.as_parked.clone();
        let Ok(_free) = as_parked.try_lock() else { return };
        for key in std::mem::take(&mut self.again) {
            let (heard, failed) = self.retry(key).await;
            tracing::info!(heard, failed, "parked events were heard again, once the database let them");
        }
    }

    /// Hears parked events again, each order's in their order; an order whose event fails again stays parked.
    pub(super) async fn retry(&mut self, key: Option<i64>) -> (usize, usize) {
        let mut heard = 0;
        for _ in 0..DECISIONS_MAX {
            let round = self.retry_once(key).await;
            heard += round.heard;
            if !round.is_conflict {
                self.parked_keys.retain(|known| round.stuck.contains(known) || key.is_some_and(|key| key != *known));
                return (heard, round.stuck.len());
            }
        }
        tracing::warn!("parked events were not heard again: others change the same documents all the time");
        self.retry_later(key);
        (heard, self.parked_keys.len())
    }

    fn retry_later(&mut self, key: Option<i64>) {
        self.again.insert(key);
        self.again_at = Instant::now();
    }

    async fn retry_once(&mut self, key: Option<i64>) -> Retried {
        let mut round = Retried { heard: 0, stuck: BTreeSet::new(), is_conflict: false };
        let all = match parked(self.core.database().as_ref(), key).await {
            Ok(all) => all,
            Err(error) => {
                tracing::warn!(%error, "parked events cannot be read");
                self.retry_later(key);
                round.stuck.extend(self.parked_keys.iter().filter(|known| key.is_none_or(|key| key == **known)));
                return round;
            }
        };
        for (document, event) in &all {
            if round.stuck.contains(&event.key) {
                continue;
            }
            let mut effect = Effect::default();
            let cause = event.traceparent.as_deref().and_then(TraceContext::parse);
            let trace = TraceContext::following(cause, || self.core.tracer().samples());
            let concluded = match self.consequences(&event.event_type, &event.body, &trace, &mut effect).await {
                Ok(Ok(())) => self.conclude(document, event, false, effect).await,
                Ok(Err(why)) => {
                    tracing::warn!(order = event.key, trace = %trace.id(), why, "a parked event fails again");
                    round.stuck.insert(event.key);
                    continue;
                }
                Err(halt) => Err(halt),
            };
            match concluded {
                Ok(()) => {
                    round.heard += 1;
                    continue;
                }
                Err(Halt::Conflict) => round.is_conflict = true,
                Err(Halt::Limit(why)) => tracing::warn!(key = event.key, why, "a parked event is over a limit again"),
                Err(_) => self.retry_later(Some(event.key)),
            }
            round.stuck.insert(event.key);
        }
        round
    }

    async fn discard(&mut self, key: i64) -> usize {
        let all = parked(self.core.database().as_ref(), Some(key)).await.unwrap_or_default();
        let mut discarded = 0;
        for (document, event) in &all {
            discarded += usize::from(self.conclude(document, event, true, Effect::default()).await.is_ok());
        }
        if discarded > 0 && discarded == all.len() {
            self.parked_keys.remove(&key);
        }
        discarded
    }

    /// An effect, and its event is parked no more: hiding the row is what makes it happen once.
    async fn conclude(
        &self,
        document: &Document,
        event: &Parked,
        is_discarded: bool,
        effect: Effect,
    ) -> Result<(), Halt> {
        let mut changes = self.changes(&effect).await?;
        let concluded = Parked { is_discarded, ..event.clone() };
        changes.documents.push(DocumentChange {
            collection: PARKED,
            id: document.id,
            expected_version: document.version,
            shown: false,
            body: serde_json::to_string(&concluded).unwrap_or_else(|_| document.body.clone()),
        });
        match self.core.commit(changes).await {
            Ok(_) => Ok(()),
            Err(CommitError::Conflict(_)) => Err(Halt::Conflict),
            Err(CommitError::Limit(why)) => Err(Halt::Limit(why)),
            Err(CommitError::NotDone(why)) => Err(Halt::Database(why)),
            Err(CommitError::Unknown(_)) => Err(Halt::Unknown),
        }
    }
}

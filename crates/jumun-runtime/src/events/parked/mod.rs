//! Parked events: kept aside because they cannot be decoded or the business code fails on them, with every later event of
//! their order. The consumer applies them again when the service starts, or when an operator instructs it to.

pub(crate) mod record;

pub use record::{PARKED, Parked, parked};

use super::consumer::{Effect, Halt, Instruction, Worker};
use crate::limits::{DECISIONS_MAX, RETRY_PAUSE};
use jumun_database::{CommitError, Document, DocumentChange, WaitChange};
use jumun_telemetry::TraceContext;
use std::collections::BTreeSet;
use tokio::time::Instant;

/// One round over the parked events.
struct Retried {
    applied: usize,
    /// Orders that stay parked.
    stuck: BTreeSet<i64>,
    /// Whether a commit was a conflict: then the round is repeated.
    is_conflict: bool,
}

impl Worker {
    /// Carries out an instruction, unless a rebuild holds the parked events.
    pub(super) async fn carry_out(&mut self, instruction: Instruction) {
        let parked_lock = self.parked_lock.clone();
        let held = parked_lock.try_lock().map_err(|_| "a view is being rebuilt; repeat the command after that");
        match instruction {
            Instruction::Retry { key, done } => drop(done.send(match held {
                Ok(_) => Ok(self.retry(key).await),
                Err(why) => Err(why),
            })),
            Instruction::Discard { key, done } => drop(done.send(match held {
                Ok(_) => Ok(self.discard(key).await),
                Err(why) => Err(why),
            })),
        }
    }

    /// Retries parked events whose last retry failed only because the database was unavailable.
    pub(super) async fn retry_failed(&mut self) {
        if self.to_retry.is_empty() || self.to_retry_since.elapsed() < RETRY_PAUSE {
            return;
        }
        let parked_lock = self.parked_lock.clone();
        let Ok(_held) = parked_lock.try_lock() else { return };
        for key in std::mem::take(&mut self.to_retry) {
            let (applied, failed) = self.retry(key).await;
            tracing::info!(applied, failed, "parked events were retried after a failure of the database");
        }
    }

    /// Applies parked events again, those of an order in sequence. An order whose event fails again stays parked.
    pub(super) async fn retry(&mut self, key: Option<i64>) -> (usize, usize) {
        let mut applied = 0;
        for _ in 0..DECISIONS_MAX {
            let round = self.retry_once(key).await;
            applied += round.applied;
            if !round.is_conflict {
                self.parked_keys.retain(|known| round.stuck.contains(known) || key.is_some_and(|key| key != *known));
                return (applied, round.stuck.len());
            }
        }
        tracing::warn!("parked events were not applied: other commits change the same documents all the time");
        self.retry_later(key);
        (applied, self.parked_keys.len())
    }

    fn retry_later(&mut self, key: Option<i64>) {
        self.to_retry.insert(key);
        self.to_retry_since = Instant::now();
    }

    async fn retry_once(&mut self, key: Option<i64>) -> Retried {
        let mut round = Retried { applied: 0, stuck: BTreeSet::new(), is_conflict: false };
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
                    round.applied += 1;
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

    /// Commits an effect together with the end of the parked event. Hiding the row makes it happen once.
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
            wait: WaitChange::Keep,
        });
        match self.core.commit(changes).await {
            Ok(_) => Ok(()),
            Err(CommitError::Conflict(_)) => Err(Halt::Conflict),
            Err(CommitError::Limit(why)) => Err(Halt::Limit(why)),
            Err(CommitError::NotDone(why)) => Err(Halt::Database(why)),
            Err(error @ CommitError::Failed(_)) => Err(Halt::Database(error.to_string())),
            Err(CommitError::Unknown(_)) => Err(Halt::Unknown),
        }
    }
}

//! Undoing: a neighbour takes back what it asked here.

use super::{
    Engine,
    answers::{is_older_than_answers, refuse, tombstone, too_many_conflicts, unreadable},
    incoming::ask_key,
};
use crate::{crash, limits::DECISIONS_MAX, reading::Reading};
use jumun::{Outcome, Step};
use jumun_database::{Changes, CommitError, Request, RequestChange, RequestState};
use jumun_http::{Code, Problem};
use jumun_telemetry::Origin;
use uuid::Uuid;

impl Engine {
    pub(super) async fn undo_here(&self, resource: usize, ask: Uuid, origin: &Origin) -> Result<(), Problem> {
        let key = ask_key(ask);
        for _ in 0..DECISIONS_MAX {
            crash::point("undo.received");
            let known = self.request_of(&key).await?;
            if known.is_none() && is_older_than_answers(ask, self.core.now()) {
                // It may have been done and forgotten: this service cannot say that it is undone. Better loud than lost.
                let Origin { trace, request, .. } = origin;
                tracing::error!(%request, trace = %trace.id(), %ask, "a neighbour takes an ask back that is older than answers are kept; its effect may stand");
                let why = "The ask is older than answers are kept; whether it was done cannot be told.";
                return Err(Problem::new(Code::Internal, why));
            }
            let mut reading = Reading::default();
            let Some(changes) = self.undoing(resource, known, &key, origin, &mut reading).await? else { return Ok(()) };
            crash::point("undo.before-commit");
            match reading.commit(&self.core, Some(origin), changes).await {
                Ok(_) => {
                    crash::point("undo.after-commit");
                    tracing::debug!(request = %origin.request, trace = %origin.trace.id(), %ask, "undone");
                    self.core.to_undo().notify_one(); // what this service asked of others for it is undone, too
                    return Ok(());
                }
                Err(CommitError::Conflict(_)) => {} // the ask came in meanwhile, or went on
                Err(error) => return Err(refuse(&error)),
            }
        }
        Err(too_many_conflicts())
    }

    /// What has to change so that an ask has no effect here. `None`: nothing.
    async fn undoing(
        &self,
        resource: usize,
        known: Option<Request>,
        key: &str,
        origin: &Origin,
        reading: &mut Reading,
    ) -> Result<Option<Changes>, Problem> {
        use RequestState::{Asking, Delayed, Done, Voided, Voiding};
        let voided = Some(tombstone());
        let mut changes = Changes::default();
        let Some(known) = known else {
            // It never came, or has not come yet: remember to refuse it.
            let request = Request {
                id: self.core.new_request_id(),
                key: Some(key.to_owned()),
                fingerprint: [0; 16],
                state: Voided,
                collection: self.core.model().resources[resource].collection.into(),
                subject: 0,
                ask: None,
                answer: voided,
                incarnation: self.core.incarnation(),
                until_ms: 0,
                trace: Some(origin.trace.to_stored()),
            };
            changes.requests.push(RequestChange::Insert(Box::new(request)));
            return Ok(Some(changes));
        };
        let (from, to) = match (known.state, &known.answer) {
            (_, Some(answer)) if answer.status >= 400 => return Ok(None), // refused, or undone before
            (Asking, _) => (Asking, Voiding),
            (Voiding | Voided, None) => (known.state, known.state),
            // Answered yes: its effect stands, whatever became of what it asked in turn.
            (state, _) => {
                let void = self.core.model().resources[resource].ask.as_ref().map(|ask| ask.void.clone());
                let void = void.ok_or_else(|| Problem::new(Code::NotFound, "Nothing is asked here."))?;
                let (decider, now) = ((resource, known.subject), self.core.now());
                let step = Step { decider, command: &void, now, reply: None };
                match self.decide(step, reading, origin).await? {
                    Outcome::Decided(decided) => {
                        let added = self.core.add(decided, now, &origin.trace, Some(known.id), &mut changes).await;
                        added.map_err(|error| unreadable(&error))?;
                    }
                    other => {
                        let (Origin { trace, request, .. }, order) = (origin, decider.1);
                        tracing::error!(%request, trace = %trace.id(), order, ask = key, ?other, "an effect cannot be undone; the neighbour will ask again");
                        return Err(Problem::new(Code::Internal, "The effect cannot be undone. This is a defect."));
                    }
                }
                let to = match state {
                    Delayed => Voiding,
                    Done if known.ask.is_some() => Voiding,
                    Done => Voided,
                    other => other,
                };
                (state, to)
            }
        };
        changes.requests.push(RequestChange::Move { id: known.id, from, to, answer: voided });
        Ok(Some(changes))
    }
}

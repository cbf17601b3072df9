//! The way back from the writer to its callers.

use super::job::Outcome;
use std::{
    mem,
    sync::{Mutex, PoisonError},
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};

/// Answers of one group, on their way.
///
/// Dropping them delivers them, so that none is lost wherever they are dropped: in a runtime that shuts down, too.
pub(crate) struct Answers(pub(crate) Vec<(oneshot::Sender<Outcome>, Outcome)>);

impl Drop for Answers {
    fn drop(&mut self) {
        for (caller, outcome) in mem::take(&mut self.0) {
            // A caller that hung up needs no answer; its commit remains committed.
            let _ = caller.send(outcome);
        }
    }
}

/// Delivers the answers of a group from within the runtime that its callers live in.
///
/// To wake a task from another thread costs a system call each; from within its runtime it costs none. So the writer
/// wakes one task of ours, and that one wakes the callers: two of fourteen microseconds of each commit, with 64
/// callers. It is a task of its own, and not one of the callers that wakes the others, because a caller may have its
/// reasons not to look at its answer for a while.
#[derive(Debug, Default)]
pub(crate) struct Courier(Mutex<Option<mpsc::UnboundedSender<Answers>>>);

impl Courier {
    /// Starts the courier task if the caller runs in a runtime. Called with each commit.
    pub(crate) fn hire(&self) {
        let mut sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sender.as_ref().is_some_and(|sender| !sender.is_closed()) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        // No bound of its own: what is in it is awaited, and the queue to the writer has a bound.
        let (to, mut from) = mpsc::unbounded_channel();
        runtime.spawn(async move {
            while let Some(answers) = from.recv().await {
                drop::<Answers>(answers);
            }
        });
        *sender = Some(to);
    }

    /// Lets go of the task, which ends when it has delivered what it has.
    pub(crate) fn dismiss(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    pub(crate) fn deliver(&self, answers: Answers) {
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.0.len() > 1
            && let Some(sender) = sender.as_ref()
        {
            // If the runtime is gone the answers come back, and dropping them delivers them.
            drop(sender.send(answers));
        }
    }
}

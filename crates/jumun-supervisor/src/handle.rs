//! The handle of a keeper: sends instructions to it, and reads the status of its process.

use jumun_control::ProcessStatus;
use tokio::sync::{mpsc, oneshot, watch};

/// Completes an instruction: the process is ready, or stopped; or why it is not.
pub(crate) type Done = oneshot::Sender<Result<(), String>>;

/// An instruction to a keeper.
pub(crate) enum Instruction {
    /// Kill the process (`kill -9`). Done when the next process is ready.
    Kill(Done),
    /// Let the process finish its work in progress and end; close the socket.
    Stop(Done),
    /// Start the process, unless it runs.
    Start(Done),
    /// Replace the process by a new one. Clients wait in the socket meanwhile.
    Roll(Done),
    /// End the process at once, then the keeper.
    End,
}

/// The handle of the keeper of one process.
#[derive(Clone)]
pub(crate) struct KeeperHandle {
    pub(crate) name: String,
    pub(crate) instructions: mpsc::Sender<Instruction>,
    pub(crate) status: watch::Receiver<ProcessStatus>,
}

impl KeeperHandle {
    /// Sends an instruction and waits until it is done.
    pub(crate) async fn instruct(&self, instruction: impl FnOnce(Done) -> Instruction) -> Result<(), String> {
        let (done, outcome) = oneshot::channel();
        let stopping = || "the supervisor is stopping".to_owned();
        self.instructions.send(instruction(done)).await.map_err(|_| stopping())?;
        outcome.await.map_err(|_| stopping())?
    }

    /// The current status of the process.
    pub(crate) fn current_status(&self) -> ProcessStatus {
        self.status.borrow().clone()
    }
}

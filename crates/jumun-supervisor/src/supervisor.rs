//! The supervisor of all processes of a system.

use crate::{
    error::SuperviseError,
    handle::{Instruction, KeeperHandle},
    keeper::Keeper,
    operator,
    spec::Spec,
};
use jumun_control::{About, Control, ProcessStatus, SUPERVISOR, socket_in};
use std::{net::TcpListener, path::Path};
use tokio::sync::{mpsc, oneshot};

/// Keeps the processes of a system running.
pub struct Supervisor {
    keepers: Vec<KeeperHandle>,
    /// Listens to operators; the socket is closed when this ends.
    control: Option<Control>,
}

impl Supervisor {
    /// Starts all processes but those that begin stopped, and waits until they are ready. If one fails, it stops all of them.
    pub async fn start(
        specs: Vec<Spec>,
        listeners: Vec<Option<TcpListener>>,
        changed: mpsc::UnboundedSender<ProcessStatus>,
    ) -> Result<Self, SuperviseError> {
        let mut keepers = Vec::new();
        let mut starting = Vec::new();
        for (spec, listener) in specs.into_iter().zip(listeners) {
            let (instructions, received) = mpsc::channel(8);
            let (first, outcome) = oneshot::channel();
            let name = spec.name.clone();
            let keeper = Keeper::new(spec, listener, received, changed.clone(), first);
            keepers.push(KeeperHandle { name: name.clone(), instructions, status: keeper.status() });
            tokio::spawn(keeper.run());
            starting.push((name, outcome));
        }
        let mut supervisor = Self { keepers, control: None };
        for (name, outcome) in starting {
            let outcome = outcome.await.unwrap_or_else(|_| Err("it was stopped".into()));
            if let Err(why) = outcome {
                supervisor.stop().await;
                return Err(SuperviseError::NotReady { name, why });
            }
        }
        Ok(supervisor)
    }

    /// Accepts calls of operators, over a socket in the data folder of the system.
    pub fn listen_to_operators(mut self, folder: &Path, about: About) -> Result<Self, SuperviseError> {
        let path = socket_in(folder, SUPERVISOR);
        let control = Control::listen_and_keep_folder(&path, operator::routes(self.keepers.clone(), about));
        self.control = Some(control.map_err(|why| SuperviseError::Control { path: path.display().to_string(), why })?);
        Ok(self)
    }

    /// The status of each process, in the order of the specifications.
    pub fn statuses(&self) -> Vec<ProcessStatus> {
        self.keepers.iter().map(KeeperHandle::current_status).collect()
    }

    /// Stops all processes and waits until they have ended. It begins with the last one, the gateway, so that no more
    /// requests come in.
    pub async fn stop(&mut self) {
        self.control = None; // operators can start nothing from now on
        for keeper in self.keepers.iter().rev() {
            keeper.instruct(Instruction::Stop).await.ok();
            drop(keeper.instructions.send(Instruction::End).await);
        }
    }
}

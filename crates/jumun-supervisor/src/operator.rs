//! The calls of operators to the supervisor; see [`jumun_control`].

use crate::{
    handle::{Done, Instruction, KeeperHandle},
    limits::HEALTH_TIME_LIMIT,
};
use bytes::Bytes;
use futures_util::future::join_all;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use jumun_control::{About, GetStatus, Kill, ProcessStatus, Refused, Roll, Routes, Start, Stop, Supervised};
use serde_json::Value;
use std::{net::SocketAddr, sync::Arc};
use tokio::net::TcpStream;

/// The calls that the supervisor answers.
pub(crate) fn routes(keepers: Vec<KeeperHandle>, about: About) -> Routes {
    let (all, about): (Arc<[KeeperHandle]>, _) = (keepers.into(), Arc::new(about));
    let (to_kill, to_stop, to_start, to_roll) = (all.clone(), all.clone(), all.clone(), all.clone());
    Routes::new()
        .on(move |_: GetStatus| {
            let (all, about) = (all.clone(), about.clone());
            async move { Ok(Supervised { about: About::clone(&about), processes: statuses(&all).await }) }
        })
        .on(move |call: Kill| instruct(to_kill.clone(), call.service, Instruction::Kill))
        .on(move |call: Stop| instruct(to_stop.clone(), call.service, Instruction::Stop))
        .on(move |call: Start| instruct(to_start.clone(), call.service, Instruction::Start))
        .on(move |call: Roll| instruct(to_roll.clone(), call.service, Instruction::Roll))
}

/// The status of each process, with the health that it reports.
async fn statuses(all: &[KeeperHandle]) -> Vec<(ProcessStatus, Option<String>)> {
    join_all(all.iter().map(|keeper| async {
        let mut status = keeper.current_status();
        let health = if status.pid.is_some() { health(status.address).await } else { None };
        let (health, trouble) = health.unzip();
        status.trouble = trouble.flatten().or(status.trouble);
        (status, health)
    }))
    .await
}

/// Sends an instruction to a keeper, and replies with the status of its process after that.
async fn instruct(
    all: Arc<[KeeperHandle]>,
    service: String,
    instruction: fn(Done) -> Instruction,
) -> Result<ProcessStatus, Refused> {
    let keeper = all.iter().find(|keeper| keeper.name == service);
    let keeper = keeper.ok_or_else(|| Refused::new(format!("the supervisor has no process `{service}`")))?;
    keeper.instruct(instruction).await.map_err(Refused::new)?;
    Ok(keeper.current_status())
}

/// The health that a process reports, if it answers in time: `UP` or `DOWN`; and what it says about it.
async fn health(address: SocketAddr) -> Option<(String, Option<String>)> {
    let exchange = async {
        let stream = TcpStream::connect(address).await.ok()?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        let request = Request::get("/actuator/health").header("host", address.to_string()).body(Empty::<Bytes>::new());
        let body = sender.send_request(request.ok()?).await.ok()?.into_body().collect().await.ok()?.to_bytes();
        let health: Value = serde_json::from_slice(&body).ok()?;
        Some((health["status"].as_str()?.to_owned(), trouble(&health)))
    };
    tokio::time::timeout(HEALTH_TIME_LIMIT, exchange).await.ok().flatten()
}

/// What the components of a health page say is wrong, or worth knowing.
fn trouble(health: &Value) -> Option<String> {
    let components = health["components"].as_object()?;
    let said = |(_, component): (&String, &Value)| {
        let details = &component["details"];
        ["trouble", "warning"].map(|key| details[key].as_str().map(str::to_owned))
    };
    let said: Vec<_> = components.iter().flat_map(said).flatten().collect();
    (!said.is_empty()).then(|| said.join("; "))
}

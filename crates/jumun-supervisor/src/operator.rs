//! What operators may tell the supervisor; see [`jumun_control`].

use crate::{Kept, keeper, keeper::Instruction, limits::HEALTH_TIME_LIMIT};
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
pub(super) fn routes(kept: Vec<Kept>, about: About) -> Routes {
    let (kept, about): (Arc<[Kept]>, _) = (kept.into(), Arc::new(about));
    let (all, to_kill, to_stop, to_start, to_roll) = (kept.clone(), kept.clone(), kept.clone(), kept.clone(), kept);
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

async fn statuses(all: &[Kept]) -> Vec<(ProcessStatus, Option<String>)> {
    join_all(all.iter().map(|kept| async {
        let status = kept.status.borrow().clone();
        let health = if status.pid.is_some() { health(status.address).await } else { None };
        (status, health)
    }))
    .await
}

async fn instruct(
    all: Arc<[Kept]>,
    service: String,
    instruction: fn(keeper::Done) -> Instruction,
) -> Result<ProcessStatus, Refused> {
    let kept = all.iter().find(|kept| kept.name == service);
    let kept = kept.ok_or_else(|| Refused::new(format!("there is no `{service}` here")))?;
    kept.instruct(instruction).await.map_err(Refused::new)?;
    Ok(kept.status.borrow().clone())
}

/// The health that a process reports, if it answers in time.
async fn health(address: SocketAddr) -> Option<String> {
    let exchange = async {
        let stream = TcpStream::connect(address).await.ok()?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        let request = Request::get("/actuator/health").header("host", address.to_string()).body(Empty::<Bytes>::new());
        let body = sender.send_request(request.ok()?).await.ok()?.into_body().collect().await.ok()?.to_bytes();
        let health: Value = serde_json::from_slice(&body).ok()?;
        health["status"].as_str().map(str::to_owned)
    };
    tokio::time::timeout(HEALTH_TIME_LIMIT, exchange).await.ok().flatten()
}

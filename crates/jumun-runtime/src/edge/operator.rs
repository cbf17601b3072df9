//! The operator calls that a service answers; see [`jumun_control`].

use crate::{
    engine::Engine,
    events::{
        consumer::{Consumer, Instruction},
        rebuild::Rebuilds,
    },
};
use jumun_config::Section;
use jumun_control::{
    BreakerCommand, CommandBreaker, DiscardParked, Discarded, GetBreakers, GetFaults, RebuildView, Refused,
    RetriedParked, RetryParked, Routes, SetFaults, limits::FAULTS_LAST_MAX,
};
use jumun_guard::Command;
use std::time::Duration;
use tokio::sync::oneshot;

/// The calls that a service answers.
pub(crate) fn routes(engine: &Engine, consumer: Option<Consumer>, rebuilds: Rebuilds) -> Routes {
    Routes::new()
        .on(with(engine, |engine, _: GetBreakers| async move { Ok(engine.guards().status()) }))
        .on(with(engine, |engine, call: CommandBreaker| async move {
            let state = engine.guards().command(&call.callee, command(call.command));
            state.ok_or_else(|| Refused::new(format!("this service does not call {}", call.callee)))
        }))
        .on(with(engine, |engine, _: GetFaults| async move { Ok(engine.faults().on()) }))
        .on(with(engine, |engine, call: SetFaults| async move {
            call.faults.check().map_err(|invalid| Refused::new(invalid.to_string()))?;
            let lasting = call.lasting_ms.map(Duration::from_millis);
            if lasting.is_some_and(|lasting| lasting > FAULTS_LAST_MAX) {
                return Err(Refused::new("faults last at most a day"));
            }
            engine.faults().set(call.faults, lasting);
            Ok(engine.faults().on())
        }))
        .on(with(&consumer, |consumer, call: RetryParked| async move {
            let instruct = |done| Instruction::Retry { key: call.order, done };
            let (applied, failed) = instructed(consumer, instruct).await?;
            Ok(RetriedParked { heard: applied as u64, failed: failed as u64 })
        }))
        .on(with(&consumer, |consumer, call: DiscardParked| async move {
            let instruct = |done| Instruction::Discard { key: call.order, done };
            let discarded = instructed(consumer, instruct).await?;
            Ok(Discarded { discarded: discarded as u64 })
        }))
        .on_follow(move |call: RebuildView| {
            rebuilds.begin(&call.view).unwrap_or_else(|error| {
                let (reports, receiver) = Routes::channel();
                drop(reports.try_send(error.into())); // the channel is new: there is room
                receiver
            })
        })
}

/// A handler that gets a clone of this state with each call.
fn with<S, C, F, H>(state: &S, handle: H) -> impl Fn(C) -> F + Clone + Send + Sync + 'static + use<S, C, F, H>
where
    S: Clone + Send + Sync + 'static,
    H: Fn(S, C) -> F + Clone + Send + Sync + 'static,
{
    let state = state.clone();
    move |call| handle(state.clone(), call)
}

fn command(command: BreakerCommand) -> Command {
    match command {
        BreakerCommand::ForceOpen => Command::ForceOpen,
        BreakerCommand::Close => Command::ForceClosed,
        BreakerCommand::Disable => Command::Disable,
        BreakerCommand::Reset => Command::Reset,
    }
}

/// Gives the consumer an instruction and waits until it is carried out.
async fn instructed<T>(
    consumer: Option<Consumer>,
    instruct: impl FnOnce(oneshot::Sender<Result<T, &'static str>>) -> Instruction,
) -> Result<T, Refused> {
    let consumer = consumer.ok_or_else(|| Refused::new("this service consumes no events, so none is parked"))?;
    let (done, outcome) = oneshot::channel();
    let is_taken = consumer.instruct(instruct(done)).await;
    let outcome = if is_taken { outcome.await.ok() } else { None };
    outcome.unwrap_or(Err("the service is stopping")).map_err(Refused::new)
}

//! Health: what probes, operators and load balancers read.

use super::shared::Shared;
use crate::{
    core::Core,
    events::{
        consumer::{Consumer, Consumption},
        parked::PARKED,
    },
};
use jumun_database::{Query, ReadError, RequestFilter, RequestState, limits::PAGE_MAX_ROWS};
use jumun_http::{Page, Reply, status, word};
use serde_json::{Map, json};

/// The content of a page.
pub(crate) async fn page(page: Page, shared: &Shared) -> Reply {
    match page {
        Page::Health => health(shared).await,
        // A restart heals neither a damaged file nor one that is gone: the process stays alive and answers why.
        Page::Liveness => status(true, None),
        Page::Readiness => status(is_ready(shared), None),
        Page::Info => Reply::Found(shared.info.clone()),
        Page::Metrics => prometheus(shared).await,
        Page::OpenApi => Reply::Found(shared.openapi.clone()),
    }
}

/// Whether requests may be sent here. A database that has failed takes none.
fn is_ready(shared: &Shared) -> bool {
    shared.readiness.is_ready() && shared.engine.core().database().failure().is_none()
}

async fn health(shared: &Shared) -> Reply {
    let engine = &shared.engine;
    let mut in_doubt = 0;
    let mut database = engine.core().trouble();
    for state in IN_DOUBT {
        match in_state(engine.core(), state).await {
            Ok(requests) => in_doubt += requests,
            Err(error) => database = database.or(Some(error.to_string())),
        }
    }
    let stats = engine.core().database().stats();
    let consumption = shared.consumer.as_ref().map(Consumer::consumption).unwrap_or_default();
    let trouble = consumption.trouble().or_else(|| engine.core().unpublished());
    let log = &stats.log;
    let is_up = shared.readiness.is_ready() && database.is_none() && trouble.is_none();
    let behind: Map<_, _> = consumption.lag.into_iter().map(|(source, events)| (source, json!(events))).collect();
    let mut components = json!({
        "database": {
            "status": word(database.is_none()),
            "details": {
                "commits": stats.commits,
                "groups": stats.groups,
                "conflicts": stats.conflicts,
                "log": {
                    "bytes": log.file_bytes,
                    "unfoldedBytes": log.unfolded_bytes,
                    "checkpointsGivenUp": log.given_up,
                    "heldMs": log.held_ms,
                    "heldBy": log.held_by,
                },
                // A long log costs disk, and no order: the service is up.
                "warning": log.warning,
                "trouble": database,
            },
        },
        // Requests in doubt are normal for a moment; `jumun asks` lists them.
        "asks": { "status": "UP", "details": { "inDoubt": in_doubt, "delayed": engine.core().delays().standing() } },
        "events": {
            "status": word(trouble.is_none()),
            "details": {
                "behind": behind,
                "parkedOrders": consumption.parked_keys,
                "policiesDropped": consumption.dropped,
                "trouble": trouble,
            },
        },
        // A neighbour that is down does not take this service down: commands that need it are refused at once, all others are done.
        "calls": { "status": "UP", "details": engine.guards().status() },
        // An overloaded service is up.
        "admission": { "status": "UP", "details": engine.admission().status() },
        "readiness": { "status": word(shared.readiness.is_ready()) },
    });
    if let Some(on) = engine.faults().on() {
        components["faults"] = json!({ "status": "UP", "details": on });
    }
    status(is_up, Some(components))
}

/// The metrics. Gauges are set now; one whose value cannot be read keeps its last value.
async fn prometheus(shared: &Shared) -> Reply {
    let (engine, metrics) = (&shared.engine, shared.engine.core().metrics());
    for state in IN_DOUBT {
        match in_state(engine.core(), state).await {
            Ok(requests) => metrics.set_in_doubt(state.as_str(), requests as u64),
            Err(error) => tracing::debug!(%error, "the requests in doubt cannot be counted"),
        }
    }
    metrics.set_in_doubt(RequestState::Delayed.as_str(), engine.core().delays().standing());
    let now_ms = engine.core().now().as_millisecond();
    match engine.core().database().due(now_ms, PAGE_MAX_ROWS).await {
        Ok(due) => metrics.set_due(due.len() as u64, due.first().map_or(0, |oldest| now_ms - oldest.wait.due_ms)),
        Err(error) => tracing::debug!(%error, "the time-outs that are due cannot be counted"),
    }
    metrics.set_backlog();
    engine.guards().set_metrics();
    engine.admission().set_metrics();
    if let Some(consumer) = &shared.consumer {
        let Consumption { lag, parked_keys, dropped, .. } = consumer.consumption();
        for (source, events) in lag {
            metrics.set_lag(&source, events, now_ms);
        }
        let all = Query { collection: PARKED, filter: None, sort: Vec::new(), offset: 0, size: 1 };
        match engine.core().database().page(all).await {
            Ok(page) => metrics.set_parked(page.total, parked_keys, dropped),
            Err(error) => tracing::debug!(%error, "the parked events cannot be counted"),
        }
    }
    Reply::Found(metrics.page())
}

const IN_DOUBT: [RequestState; 2] = [RequestState::Asking, RequestState::Voiding];

/// Requests in a state, counted up to a bound.
async fn in_state(core: &Core, state: RequestState) -> Result<usize, ReadError> {
    let filter = RequestFilter { state, service: None, until_before_ms: None, after: None, limit: PAGE_MAX_ROWS };
    Ok(core.database().requests(filter).await?.len())
}

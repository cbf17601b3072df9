//! Requests in doubt: their outcome is unknown to the service that sent them.

use crate::table::{Databases, REREAD_EVERY};
use jumun::SystemModel;
use jumun_database::{ReadError, Request, RequestFilter, RequestState, limits::PAGE_MAX_ROWS};
use std::collections::BTreeSet;
use tokio::time::Instant;

/// All requests in doubt, by service.
pub async fn in_doubt(databases: &Databases) -> Result<Vec<(String, Request)>, ReadError> {
    let mut found = Vec::new();
    for (service, database) in databases {
        for state in RequestState::ALL.into_iter().filter(|state| state.is_in_doubt()) {
            let mut after = None;
            loop {
                let filter = RequestFilter { state, service: None, until_before_ms: None, after, limit: PAGE_MAX_ROWS };
                let page = database.requests(filter).await?;
                let Some(last) = page.last() else { break };
                after = Some(last.id);
                found.extend(page.into_iter().map(|request| (service.clone(), request)));
            }
        }
    }
    Ok(found)
}

/// Counts the requests that are in doubt now and still are when the patience ends. Under traffic, requests are in doubt
/// for short times all the while; only those that stay indicate a problem.
pub(crate) async fn remaining_doubts(
    model: &SystemModel,
    databases: &Databases,
    until: Instant,
    is_audited: impl Fn(i64) -> bool,
) -> Result<u64, ReadError> {
    let found = async || -> Result<BTreeSet<_>, ReadError> {
        let found = in_doubt(databases).await?;
        let audited = found.iter().filter(|(service, request)| is_about_its_order(model, service, request));
        Ok(audited
            .map(|(_, request)| request)
            .filter(|request| is_audited(request.subject))
            .map(|request| request.id)
            .collect())
    };
    let mut left = found().await?;
    while !left.is_empty() && Instant::now() < until {
        tokio::time::sleep(REREAD_EVERY).await;
        left = &left & &found().await?;
    }
    Ok(left.len() as u64)
}

/// Whether a request about the case with this key is in doubt.
pub(crate) async fn is_in_doubt(model: &SystemModel, databases: &Databases, key: i64) -> Result<bool, ReadError> {
    for (service, database) in databases {
        let doubts = database.doubts_about(key).await?;
        if doubts.iter().any(|request| is_about_its_order(model, service, request)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a request in doubt concerns the order whose id is its subject. A message that waits for the sender does not: no
/// state of the order depends on it.
pub fn is_about_its_order(model: &SystemModel, service: &str, request: &Request) -> bool {
    let mut resources = model.service(service).into_iter().flat_map(|service| &service.resources);
    resources.any(|resource| resource.collection == request.collection && resource.belongs_by.is_none())
}

//! The audit of cases: reads the rows of each one, applies the rules of the system, and reads again what looks wrong.

use crate::{
    acknowledged::Acknowledged,
    backlog::keys_in_backlog,
    doubts::{is_in_doubt, remaining_doubts},
    report::{Report, Verdict},
    table::{Cursor, Databases, REREAD_EVERY, Table, tables},
};
use jumun::{Case, Findings, ResourceModel, SystemModel};
use jumun_database::{Document, ReadError};
use std::time::Duration;
use tokio::time::Instant;

/// Audits all cases.
pub async fn run(model: &SystemModel, databases: &Databases, patience: Duration) -> Result<Report, ReadError> {
    let until = Instant::now() + patience;
    loop {
        let report = audit(model, databases, None, until.saturating_duration_since(Instant::now())).await?;
        // Sums over all cases are read over a while, in which orders may have gone on.
        if model.total.difference(&report.sums) == 0 || report.verdict() == Verdict::Violated {
            return Ok(report);
        }
        if Instant::now() >= until {
            let difference = model.total.difference(&report.sums);
            return Ok(Report { difference, ..report });
        }
        tokio::time::sleep(REREAD_EVERY).await;
    }
}

/// Audits only the cases of acknowledged commands, and checks that none is lost.
pub async fn run_over(
    model: &SystemModel,
    databases: &Databases,
    acknowledged: &Acknowledged,
    patience: Duration,
) -> Result<Report, ReadError> {
    audit(model, databases, Some(acknowledged), patience).await
}

async fn audit(
    model: &SystemModel,
    databases: &Databases,
    only: Option<&Acknowledged>,
    patience: Duration,
) -> Result<Report, ReadError> {
    let (by_id, by_field): (Vec<_>, Vec<_>) =
        tables(model, databases).into_iter().partition(|table| table.resource.belongs_by.is_none());
    let mut report = Report::default();
    let mut suspects = Vec::new();
    let mut cursors: Vec<Cursor<'_>> = by_id.iter().map(Cursor::new).collect();
    let mut wanted = only.map(|only| only.made.iter());
    loop {
        let wanted = wanted.as_mut().map(Iterator::next);
        for cursor in &mut cursors {
            match wanted {
                None => cursor.fill().await?,
                Some(Some(key)) => cursor.seek(key).await?,
                Some(None) => {}
            }
        }
        let key = wanted.unwrap_or_else(|| cursors.iter().filter_map(Cursor::key).min());
        let Some(key) = key else { break };
        let mut rows = Vec::new();
        for (cursor, table) in cursors.iter_mut().zip(&by_id) {
            rows.extend(cursor.take(key).map(|document| (table.resource, document)));
        }
        for table in &by_field {
            rows.extend(table.rows(key).await?.into_iter().map(|document| (table.resource, document)));
        }
        report.cases += 1;
        if let Some(lost) = only.and_then(|only| only.lost(key, &rows)) {
            report.violations.push((key, lost));
            continue;
        }
        match findings(model, key, &rows) {
            Ok(findings) => report.add(findings),
            Err(_) => suspects.push(key),
        }
    }
    let until = Instant::now() + patience;
    let tables: Vec<_> = by_id.into_iter().chain(by_field).collect();
    recheck(model, databases, &tables, suspects, until, &mut report).await?;
    let is_audited = |key| only.is_none_or(|only| only.made.contains(key));
    report.in_doubt = remaining_doubts(model, databases, until, is_audited).await?;
    report.difference = model.ledger.difference(&report.sums);
    Ok(report)
}

/// The sums of a case that looks right, or what is wrong with it.
fn findings(model: &SystemModel, key: i64, rows: &[(&ResourceModel, Document)]) -> Result<Findings, Vec<String>> {
    let mut wrong = Vec::new();
    let mut case = Case::new(key);
    for (resource, document) in rows {
        if resource.is_readable(&document.body) {
            case = case.with(resource, &document.body);
        } else {
            wrong.push(format!("{}/{key} cannot be read by this release", resource.collection));
        }
    }
    let findings = (model.audit)(&case);
    wrong.extend_from_slice(findings.violations());
    let difference = model.ledger.difference(findings.sums());
    if wrong.is_empty() && difference != 0 {
        wrong.push(format!("{} is {difference} more than {}", model.ledger.whole, model.ledger.parts.join(" + ")));
    }
    if wrong.is_empty() { Ok(findings) } else { Err(wrong) }
}

/// Reads suspect cases again, until they look right or the patience ends.
async fn recheck(
    model: &SystemModel,
    databases: &Databases,
    tables: &[Table<'_>],
    mut suspects: Vec<i64>,
    until: Instant,
    report: &mut Report,
) -> Result<(), ReadError> {
    loop {
        let is_last = Instant::now() >= until;
        let in_backlog = keys_in_backlog(model, databases).await?;
        let mut still = Vec::new();
        for key in suspects {
            // Read before the documents: they contain the outcome of each request that is no longer in doubt.
            let in_doubt = is_in_doubt(model, databases, key).await?;
            let mut rows = Vec::new();
            for table in tables {
                rows.extend(table.rows(key).await?.into_iter().map(|document| (table.resource, document)));
            }
            match findings(model, key, &rows) {
                Ok(findings) => report.add(findings),
                Err(_) if !is_last => still.push(key),
                Err(wrong) => {
                    if in_backlog.contains(&key) || in_doubt {
                        report.open.insert(key);
                    } else {
                        report.violations.extend(wrong.into_iter().map(|why| (key, why)));
                    }
                }
            }
        }
        if still.is_empty() {
            return Ok(());
        }
        suspects = still;
        tokio::time::sleep(REREAD_EVERY).await;
    }
}

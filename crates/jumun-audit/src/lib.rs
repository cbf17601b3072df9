//! The audit over all databases of a system, running or stopped.
//!
//! Databases are read one after the other, while services go on. So what looks wrong may only be under way: such a case
//! is read again until it looks right or the patience of the reader ends. Then it is a violation, unless somebody still
//! works on it: a request in doubt, or an event that has not had its effect everywhere.

mod keys;
pub mod limits;

pub use keys::{Full, Keys};

use jumun::{Case, FieldValue, Findings, ResourceModel, SystemModel};
use jumun_database::{
    Document, Query, ReadDatabase, ReadError, Request, RequestFilter, RequestState, limits::PAGE_MAX_ROWS,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// The databases by service.
pub type Databases = BTreeMap<String, Arc<dyn ReadDatabase>>;

/// How often a case that looks wrong is read again.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// How many cases were looked at.
    pub cases: u64,
    /// What must not be, by correlation key.
    pub violations: Vec<(i64, String)>,
    /// Cases that look wrong and that somebody still works on.
    pub open: BTreeSet<i64>,
    /// Requests in doubt, whether or not a case looks wrong for them.
    pub in_doubt: u64,
    /// The sums over all cases that look right.
    pub sums: BTreeMap<&'static str, i128>,
    /// What the ledger lacks on its right side; 0 when it balances.
    pub difference: i128,
}

/// What an audit comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All is as it must be.
    Clean,
    /// Something is not.
    Violated,
    /// Something is still under way.
    Open,
}

impl Report {
    /// What it comes to.
    pub fn verdict(&self) -> Verdict {
        if !self.violations.is_empty() || self.difference != 0 {
            Verdict::Violated
        } else if !self.open.is_empty() || self.in_doubt > 0 {
            Verdict::Open
        } else {
            Verdict::Clean
        }
    }
}

/// What a system has acknowledged to somebody who remembers it.
#[derive(Debug, Clone, Default)]
pub struct Acknowledged {
    /// The collection that it is about.
    pub collection: &'static str,
    /// Documents whose making was acknowledged: a 201 each.
    pub made: Keys,
    /// Documents whose end was acknowledged, each one of those that were made.
    pub ended: Keys,
    /// What a document that has ended says.
    pub ended_says: Option<FieldValue>,
}

impl Acknowledged {
    /// How the system has broken its word about a key. What was acknowledged was on disk before: there is nothing to
    /// wait for.
    fn broken(&self, key: i64, rows: &[(&ResourceModel, Document)]) -> Option<String> {
        let mut documents = rows.iter().filter(|(resource, _)| resource.collection == self.collection);
        let Some((_, document)) = documents.find(|(_, document)| document.shown) else {
            return Some("it was acknowledged, and it is not there: acknowledged and lost".to_owned());
        };
        let (field, says) = self.ended_says.filter(|_| self.ended.contains(key))?;
        let body: Value = serde_json::from_str(&document.body).unwrap_or_default();
        let kept = body[field] == says;
        (!kept).then(|| format!("its cancel was acknowledged, and its {field} is {}", body[field]))
    }
}

/// Looks at every case.
pub async fn run(model: &SystemModel, databases: &Databases, patience: Duration) -> Result<Report, ReadError> {
    look(model, databases, None, patience).await
}

/// Looks at what was acknowledged, and at nothing else: whether it is there, and as it must be.
pub async fn run_over(
    model: &SystemModel,
    databases: &Databases,
    acknowledged: &Acknowledged,
    patience: Duration,
) -> Result<Report, ReadError> {
    look(model, databases, Some(acknowledged), patience).await
}

async fn look(
    model: &SystemModel,
    databases: &Databases,
    only: Option<&Acknowledged>,
    patience: Duration,
) -> Result<Report, ReadError> {
    let (resources, belonging): (Vec<_>, Vec<_>) =
        kept(model, databases).into_iter().partition(|kept| kept.resource.belongs_by.is_none());
    let mut report = Report::default();
    let mut doubtful = Vec::new();
    let mut cursors: Vec<Cursor<'_>> = resources.iter().map(Cursor::new).collect();
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
        for (cursor, kept) in cursors.iter_mut().zip(&resources) {
            rows.extend(cursor.take(key).map(|document| (kept.resource, document)));
        }
        for kept in &belonging {
            rows.extend(kept.of(key).await?.into_iter().map(|document| (kept.resource, document)));
        }
        report.cases += 1;
        if let Some(broken) = only.and_then(|only| only.broken(key, &rows)) {
            report.violations.push((key, broken));
            continue;
        }
        match findings(model, key, &rows) {
            Ok(findings) => report.add(findings),
            Err(_) => doubtful.push(key),
        }
    }
    let until = Instant::now() + patience;
    let resources: Vec<_> = resources.into_iter().chain(belonging).collect();
    settle(model, databases, &resources, doubtful, until, &mut report).await?;
    let is_meant = |about| only.is_none_or(|only| only.made.contains(about));
    report.in_doubt = doubts_left(model, databases, until, is_meant).await?;
    report.difference = model.ledger.difference(&report.sums);
    Ok(report)
}

/// All requests in doubt, by service.
pub async fn in_doubt(databases: &Databases) -> Result<Vec<(String, Request)>, ReadError> {
    let mut found = Vec::new();
    for (service, database) in databases {
        for state in RequestState::ALL.into_iter().filter(|state| state.is_in_doubt()) {
            let mut after = None;
            loop {
                let filter = RequestFilter { state, service: None, until_before_ms: None, after, limit: PAGE_MAX_ROWS };
                let some = database.requests(filter).await?;
                let Some(last) = some.last() else { break };
                after = Some(last.id);
                found.extend(some.into_iter().map(|request| (service.clone(), request)));
            }
        }
    }
    Ok(found)
}

impl Report {
    fn add(&mut self, findings: Findings) {
        for (name, amount) in findings.sums() {
            *self.sums.entry(name).or_default() += amount;
        }
    }
}

/// A resource and where it is kept.
struct Kept<'a> {
    resource: &'a ResourceModel,
    database: &'a Arc<dyn ReadDatabase>,
}

impl Kept<'_> {
    async fn of(&self, key: i64) -> Result<Vec<Document>, ReadError> {
        rows_of(self.database.as_ref(), self.resource, key).await
    }
}

/// The rows of a resource that belong to a correlation key.
pub async fn rows_of(
    database: &dyn ReadDatabase,
    resource: &ResourceModel,
    key: i64,
) -> Result<Vec<Document>, ReadError> {
    let collection = resource.collection;
    let Some(field) = resource.belongs_by else {
        return Ok(database.document(collection, key).await?.into_iter().collect());
    };
    let filter = Some((field.into(), key.to_string()));
    let query = Query { collection, filter, sort: None, offset: 0, size: PAGE_MAX_ROWS };
    Ok(database.page(query).await?.documents)
}

fn kept<'a>(model: &'a SystemModel, databases: &'a Databases) -> Vec<Kept<'a>> {
    let services = model.services.iter().filter_map(|service| Some((service, databases.get(service.name)?)));
    services
        .flat_map(|(service, database)| service.resources.iter().map(move |resource| Kept { resource, database }))
        .collect()
}

/// What is wrong with a case, or the sums that it adds to.
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

/// Reads the cases that looked wrong again, until they look right or patience ends.
async fn settle(
    model: &SystemModel,
    databases: &Databases,
    resources: &[Kept<'_>],
    mut doubtful: Vec<i64>,
    until: Instant,
    report: &mut Report,
) -> Result<(), ReadError> {
    loop {
        let is_last = Instant::now() >= until;
        let under_way = under_way(model, databases).await?;
        let mut still = Vec::new();
        for key in doubtful {
            // Looked at before the documents: what is in doubt no more has left its final traces in them.
            let in_doubt = is_in_doubt(model, databases, key).await?;
            let mut rows = Vec::new();
            for kept in resources {
                rows.extend(kept.of(key).await?.into_iter().map(|document| (kept.resource, document)));
            }
            match findings(model, key, &rows) {
                Ok(findings) => report.add(findings),
                Err(_) if !is_last => still.push(key),
                Err(wrong) => {
                    if under_way.contains(&key) || in_doubt {
                        report.open.insert(key);
                    } else {
                        report.violations.extend(wrong.into_iter().map(|what| (key, what)));
                    }
                }
            }
        }
        if still.is_empty() {
            return Ok(());
        }
        doubtful = still;
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// How many of the requests that are in doubt now still are when patience ends. Under traffic new ones come and go all
/// the time; it is those that stay that tell something.
async fn doubts_left(
    model: &SystemModel,
    databases: &Databases,
    until: Instant,
    is_meant: impl Fn(i64) -> bool,
) -> Result<u64, ReadError> {
    let found = async || -> Result<BTreeSet<_>, ReadError> {
        let found = in_doubt(databases).await?;
        let meant = found.iter().filter(|(service, request)| is_about_its_order(model, service, request));
        Ok(meant.map(|(_, request)| request).filter(|request| is_meant(request.subject)).map(|one| one.id).collect())
    };
    let mut left = found().await?;
    while !left.is_empty() && Instant::now() < until {
        tokio::time::sleep(AGAIN_AFTER).await;
        left = &left & &found().await?;
    }
    Ok(left.len() as u64)
}

async fn is_in_doubt(model: &SystemModel, databases: &Databases, key: i64) -> Result<bool, ReadError> {
    for (service, database) in databases {
        let doubts = database.doubts_about(key).await?;
        if doubts.iter().any(|request| is_about_its_order(model, service, request)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether what is in doubt is about the order whose id is the request's subject. A message that waits for whoever carries
/// it is not: nothing of the order depends on it.
pub fn is_about_its_order(model: &SystemModel, service: &str, request: &Request) -> bool {
    let mut resources = model.service(service).into_iter().flat_map(|service| &service.resources);
    resources.any(|resource| resource.collection == request.collection && resource.belongs_by.is_none())
}

/// Keys of events that have not had their effect everywhere yet.
async fn under_way(model: &SystemModel, databases: &Databases) -> Result<BTreeSet<i64>, ReadError> {
    let mut keys = BTreeSet::new();
    for listener in model.services.iter().filter(|service| !service.listens.is_empty()) {
        // A service that has never run has heard nothing yet.
        let positions = match databases.get(listener.name) {
            Some(database) => database.positions().await?,
            None => Vec::new(),
        };
        for (source, journal) in databases.iter().filter(|(source, _)| *source != listener.name) {
            if !listener.listens.iter().any(|event| event.source == source) {
                continue;
            }
            for partition in 0..journal.identity().partitions {
                let position =
                    positions.iter().find(|position| position.source == *source && position.partition == partition);
                let mut after = position.map_or(0, |position| position.sequence);
                loop {
                    let events = journal.journal(partition, after, PAGE_MAX_ROWS).await?;
                    let Some(last) = events.last() else { break };
                    after = last.sequence;
                    let heard = |event_type: &str| listener.listens.iter().any(|event| event.name == event_type);
                    keys.extend(events.iter().filter(|event| heard(&event.event_type)).map(|event| event.key));
                }
            }
        }
    }
    Ok(keys)
}

/// The rows of one resource in order of id, a page at a time.
struct Cursor<'a> {
    kept: &'a Kept<'a>,
    page: std::collections::VecDeque<Document>,
    after: i64,
    is_done: bool,
}

impl<'a> Cursor<'a> {
    fn new(kept: &'a Kept<'a>) -> Self {
        Self { kept, page: std::collections::VecDeque::new(), after: 0, is_done: false }
    }

    async fn fill(&mut self) -> Result<(), ReadError> {
        if self.page.is_empty() && !self.is_done {
            let page = self.kept.database.scan(self.kept.resource.collection, self.after, PAGE_MAX_ROWS).await?;
            self.is_done = page.len() < PAGE_MAX_ROWS as usize;
            self.after = page.last().map_or(self.after, |document| document.id);
            self.page = page.into();
        }
        Ok(())
    }

    /// Goes on to the first row with this key or a later one; keys rise from call to call.
    async fn seek(&mut self, key: i64) -> Result<(), ReadError> {
        if self.page.back().is_none_or(|last| last.id < key) {
            self.page.clear();
            self.after = self.after.max(key - 1);
            self.fill().await?;
        }
        while self.page.pop_front_if(|document| document.id < key).is_some() {}
        Ok(())
    }

    fn key(&self) -> Option<i64> {
        self.page.front().map(|document| document.id)
    }

    fn take(&mut self, key: i64) -> Option<Document> {
        self.page.pop_front_if(|document| document.id == key)
    }
}

//! `jumun why`: everything that happened to one order, in order, across services.

use crate::{
    Failure, SystemOptions, audit,
    events::{self, Found, Read},
};
use clap::Args;
use jumun::ResourceModel;
use jumun_bus::{Position, Wants};
use jumun_database::{Document, Query, ReadDatabase, ReadError, limits::PAGE_MAX_ROWS};
use jumun_runtime::consumer;
use serde_json::Value;
use std::{
    io::{self, Write},
    process::ExitCode,
};

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    system: SystemOptions,
    /// The order's id.
    order: i64,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let (model, config) = options.system.load()?;
    let order = options.order;
    let databases = audit::open(&model, &config)?;
    let Read { all: mut happened, from, .. } =
        events::read_all(&config, &Wants::All, |happened: &mut Vec<_>, found| {
            if found.record.key == order {
                happened.push(found);
            }
        })?;
    happened.sort_by_key(|found| found.record.time_ms);

    let mut lines = vec![format!("order {order} of {}", model.name), String::new(), "What happened".to_owned()];
    for Position { service, partition, sequence, .. } in from.iter().filter(|position| position.sequence > 0) {
        lines.push(format!("  {service}/{partition}: events before {} are not kept any more", sequence + 1));
    }
    for Found { service, record } in &happened {
        let number = format!("{service}/{}/{}", record.partition, record.sequence);
        lines.push(format!(
            "  {}  {:<18} {number:<20} {}",
            events::time(record),
            record.event_type,
            status(&record.body)
        ));
    }
    if happened.is_empty() {
        lines.push("  nothing that anybody has heard of".to_owned());
    }
    lines.extend([String::new(), "Where it stands".to_owned()]);
    let now = audit::block_on(async {
        let mut rows = Vec::new();
        for service in &model.services {
            let Some(database) = databases.get(service.name) else { continue };
            for resource in &service.resources {
                for document in documents(database.as_ref(), resource, order).await? {
                    let hidden = if document.shown { "" } else { "  (not shown)" };
                    rows.push(format!("  {:<13} {}{hidden}", service.name, document.body));
                }
            }
            let doubts = database.doubts_about(order).await?.into_iter().filter(|request| {
                let mut resources = service.resources.iter();
                resources.any(|resource| resource.collection == request.collection && resource.belongs_by.is_none())
            });
            for request in doubts {
                let asks = request.ask.map_or_else(String::new, |ask| format!("{}{}", ask.service, ask.path));
                rows.push(format!("  {:<13} a question to {asks} is in doubt: {}", service.name, request.state));
            }
            if !service.listens.is_empty() {
                for (_, parked) in consumer::parked(database.as_ref(), Some(order)).await? {
                    rows.push(format!("  {:<13} {} is parked: {}", service.name, parked.event_type, parked.cause));
                }
            }
        }
        Ok::<_, ReadError>(rows)
    })??;
    lines.extend(if now.is_empty() { vec!["  nobody knows it".to_owned()] } else { now });
    drop(writeln!(io::stdout(), "{}", lines.join("\n")));
    Ok(ExitCode::SUCCESS)
}

/// What a service keeps of an order at one path.
async fn documents(
    database: &dyn ReadDatabase,
    resource: &ResourceModel,
    order: i64,
) -> Result<Vec<Document>, ReadError> {
    let collection = resource.collection;
    let Some(field) = resource.belongs_by else {
        return Ok(database.document(collection, order).await?.into_iter().collect());
    };
    let filter = Some((field.into(), order.to_string()));
    let query = Query { collection, filter, sort: None, offset: 0, size: PAGE_MAX_ROWS };
    Ok(database.page(query).await?.documents)
}

/// What an event says about how far things have come.
fn status(body: &str) -> String {
    let event: Value = serde_json::from_str(body).unwrap_or_default();
    let status = event.get("orderStatus").or_else(|| event.get("status")).and_then(Value::as_str);
    status.unwrap_or_default().to_owned()
}

//! `jumun why`: shows the events of one order in order of time, and its current state in each service.

use crate::{
    Failure,
    events::{self, Found, Read},
    options::SubjectOptions,
    output::print_lines,
    process::block_on,
    systems::Systems,
};
use jiff::Timestamp;
use jumun_audit::{is_about_its_order, rows_of};
use jumun_bus::{Position, Wants};
use jumun_database::{ReadError, Request, RequestState, Wait, Waiting};
use jumun_host::open_readers;
use jumun_runtime::events::parked::parked;
use serde_json::Value;
use std::process::ExitCode;

pub(crate) fn run(options: &SubjectOptions, systems: Systems<'_>) -> Result<ExitCode, Failure> {
    let (model, config) = options.load(systems)?;
    let order = options.order()?;
    let databases = block_on(open_readers(&model, &config))??;
    let Read { all: mut history, from, .. } =
        events::read_all(&model, &config, &Wants::All, |history: &mut Vec<_>, found| {
            if found.record.key == order {
                history.push(found);
            }
        })?;
    history.sort_by_key(|found| found.record.time_ms);

    let mut lines = vec![format!("order {order} of {}", model.name), String::new(), "What happened".to_owned()];
    for Position { service, partition, sequence, .. } in from.iter().filter(|position| position.sequence > 0) {
        lines.push(format!("  {service}/{partition}: events before {} are not kept any more", sequence + 1));
    }
    for Found { service, record } in &history {
        let number = format!("{service}/{}/{}", record.partition, record.sequence);
        lines.push(format!(
            "  {}  {:<21} {number:<20} {}",
            events::time(record),
            record.event_type,
            status(&record.body)
        ));
    }
    if history.is_empty() {
        lines.push("  no events of this order are on the bus".to_owned());
    }
    lines.extend([String::new(), "Where it stands".to_owned()]);
    let state = block_on(async {
        let mut rows = Vec::new();
        for service in &model.services {
            let Some(database) = databases.get(service.name) else { continue };
            for resource in &service.resources {
                for document in rows_of(database.as_ref(), resource, order).await? {
                    let hidden = if document.shown { "" } else { "  (not shown)" };
                    rows.push(format!("  {:<13} {}{hidden}", service.name, document.body));
                    if resource.belongs_by.is_some() {
                        let doubts = database.doubts_about(document.id).await?.into_iter();
                        let own = doubts.filter(|request| request.collection == resource.collection);
                        rows.extend(own.map(|request| in_doubt(service.name, &request)));
                    }
                }
            }
            let waits = database.waits_of(order).await?;
            rows.extend(waits.iter().map(|waiting| waits_for(service.name, waiting)));
            let doubts = database.doubts_about(order).await?;
            let about_order = doubts.iter().filter(|request| is_about_its_order(&model, service.name, request));
            rows.extend(about_order.map(|request| in_doubt(service.name, request)));
            if !service.listens.is_empty() {
                for (_, event) in parked(database.as_ref(), Some(order)).await? {
                    rows.push(format!("  {:<13} {} is parked: {}", service.name, event.event_type, event.cause));
                }
            }
        }
        Ok::<_, ReadError>(rows)
    })??;
    lines.extend(if state.is_empty() { vec!["  no service has data of this order".to_owned()] } else { state });
    print_lines(lines)?;
    Ok(ExitCode::SUCCESS)
}

fn in_doubt(service: &str, request: &Request) -> String {
    let asks = request.ask.as_ref().map_or_else(String::new, |ask| format!("{}{}", ask.service, ask.path));
    let Request { collection, subject, until_ms, .. } = request;
    match Timestamp::from_millisecond(*until_ms) {
        Ok(until) if request.state == RequestState::Delayed => {
            format!("  {service:<13} {collection}/{subject} waits for an answer from {asks}, until {until:.3}")
        }
        _ => format!("  {service:<13} an ask to {asks} is in doubt: {}", request.state),
    }
}

/// What a document waits for, and until when.
fn waits_for(service: &str, waiting: &Waiting) -> String {
    let Waiting { collection, id, wait: Wait { name, due_ms, .. } } = waiting;
    let due = Timestamp::from_millisecond(*due_ms).map_or_else(|_| due_ms.to_string(), |due| format!("{due:.3}"));
    format!("  {service:<13} {collection}/{id} waits until {due} at most: {name}")
}

/// The status in the body of an event.
fn status(body: &str) -> String {
    let event: Value = serde_json::from_str(body).unwrap_or_default();
    let status = event.get("orderStatus").or_else(|| event.get("status")).and_then(Value::as_str).unwrap_or_default();
    match event.get("kind").and_then(Value::as_str) {
        Some(kind) => format!("{kind}: {status}"), // one order has several events of this type
        None => status.to_owned(),
    }
}

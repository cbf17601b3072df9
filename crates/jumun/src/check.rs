//! What is wrong with a system, found before it starts.

use crate::{
    ask::AskTarget,
    event::{EventType, PublishedLanguage},
    limits::ASK_DEPTH_MAX,
    load::LoadLine,
    model::{ResourceModel, Verb},
    service::Service,
};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Something wrong with a system. A system with a problem does not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// This release cannot read a line of the examples.
    #[error("example {line} cannot be read: {why}")]
    UnreadableExample {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// An event has no example, so nothing fixes its shape.
    #[error("there is no example of {0}")]
    NoExample(&'static str),
    /// No example of an event has the fields that this release publishes, so nothing fixes its shape.
    #[error("no example of {0} is as this release publishes it: keep those that are there, and add {1}")]
    NoExampleOfNow(&'static str, String),
    /// The service that publishes an event is not part of the system.
    #[error("no service of the system publishes {0}")]
    NotPublished(&'static str),
    /// No aggregate and no view subscribes to an event.
    #[error("no aggregate and no view hears {0}")]
    NotHeard(&'static str),
    /// No service answers an ask.
    #[error("{0} asks {1:?}, which no service answers")]
    NotAnswered(&'static str, AskTarget),
    /// A service settles an ask that it does not declare.
    #[error("{0} settles {1:?}, which it does not ask")]
    NotAsked(&'static str, AskTarget),
    /// A service asks an external party and settles no answer.
    #[error("{0} asks {1:?} and does not settle the answer")]
    NotSettled(&'static str, AskTarget),
    /// Services wait for each other.
    #[error("asks form a circle: {}", .0.join(" → "))]
    CircleOfAsks(Vec<&'static str>),
    /// Asks nest deeper than time limits can bound.
    #[error("asks nest too deep: {}", .0.join(" → "))]
    AsksTooDeep(Vec<&'static str>),
    /// Something that must be unique occurs twice.
    #[error("{0} occurs twice")]
    Twice(String),
    /// A path that every service serves itself.
    #[error("the path {0} belongs to the runtime")]
    ReservedPath(&'static str),
    /// A finder for a field that the documents of a collection do not have.
    #[error("{0} has no field {1}")]
    NoSuchField(&'static str, &'static str),
    /// The ids of new documents do not begin within their distance.
    #[error("the ids of {0} are not valid: the first one is 1 to their distance")]
    InvalidIds(&'static str),
    /// Two paths found instances of the same id: one for its clients, the other for what it asks of the first.
    #[error("{0} and {1}, which asks it, give the same ids: give both `ids` that they do not have in common")]
    SharedIds(&'static str, &'static str),
    /// The default settings of a service are not valid.
    #[error("the default settings are not valid: {0}")]
    DefaultSettings(String),
    /// The load line would be refused, or its outcome cannot be observed.
    #[error("the load line: {0}")]
    LoadLine(String),
}

/// The paths that every service serves itself.
const RESERVED_PATHS: [&str; 4] = ["/actuator", "/docs", "/events", "/openapi.json"];

pub(crate) fn system<E: PublishedLanguage>(
    examples: &'static str,
    services: &[Service<E>],
    load: Option<&LoadLine>,
) -> Vec<Problem> {
    let mut problems = language(examples, services);
    problems.extend(asks(services));
    problems.extend(names(services));
    problems.extend(ids(services));
    problems.extend(load.and_then(|line| load_line(line, services).err()).map(Problem::LoadLine));
    problems
}

fn load_line<E: PublishedLanguage>(line: &LoadLine, services: &[Service<E>]) -> Result<(), String> {
    let at = |path: &str| {
        let mut resources = services.iter().flat_map(|service| &service.resources);
        resources
            .find(|resource| resource.paths().any(|known| known == path))
            .ok_or_else(|| format!("there is no {path}"))
    };
    let has = |resource: &ResourceModel, field: &str| {
        let is_there = resource.fields.iter().any(|known| known.name == field);
        if is_there { Ok(()) } else { Err(format!("{} has no field {field}", resource.path)) }
    };
    let resource = at(line.path)?;
    let command = |verb| resource.commands.iter().find(|command| command.verb == verb);
    let post = command(Verb::Post).ok_or_else(|| format!("clients cannot POST {}", line.path))?;
    post.read(line.body.as_bytes()).map_err(|why| format!("POST {} refuses its body: {why:?}", line.path))?;
    if let Some((field, _)) = line.canceled {
        command(Verb::Delete).ok_or_else(|| format!("clients cannot DELETE {}", line.path))?;
        has(resource, field)?;
    }
    line.finished.map_or(Ok(()), |(path, (field, _))| has(at(path)?, field))
}

fn language<E: PublishedLanguage>(examples: &'static str, services: &[Service<E>]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut events = Vec::new();
    for example in self::examples::<E>(examples) {
        match example {
            Ok((event, line)) => events.push((event, line)),
            Err(problem) => problems.push(problem),
        }
    }
    let hears: Vec<_> = services.iter().flat_map(|service| &service.hears).collect();
    for kind in E::KINDS {
        let event: EventType = (*kind).into();
        let published: Vec<_> = events.iter().filter(|(example, _)| example.kind() == *kind).collect();
        match published.last() {
            None => problems.push(Problem::NoExample(event.name)),
            Some(last) if !published.iter().any(|example| is_same(example.1, &as_of_now(example))) => {
                problems.push(Problem::NoExampleOfNow(event.name, as_of_now(last)));
            }
            Some(_) => {}
        }
        if !hears.iter().any(|(_, kinds)| kinds.contains(kind)) {
            problems.push(Problem::NotHeard(event.name));
        }
        if !services.iter().any(|service| service.name == event.source) {
            problems.push(Problem::NotPublished(event.name));
        }
        for (path, kinds) in &hears {
            if kinds.iter().filter(|heard| *heard == kind).count() > 1 {
                problems.push(Problem::Twice(format!("{} in what {path} hears", event.name)));
            }
        }
    }
    problems
}

/// The examples of a system, one event a line, each with its line.
pub(crate) fn examples<E: PublishedLanguage>(
    lines: &'static str,
) -> impl Iterator<Item = Result<(E, &'static str), Problem>> {
    let lines = lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(at, line)| {
        let event = read_example(line).map_err(|why| Problem::UnreadableExample { line: at + 1, why })?;
        Ok((event, line))
    })
}

/// An example as this release publishes it.
fn as_of_now<E: PublishedLanguage>((event, line): &(E, &str)) -> String {
    let json: Value = serde_json::from_str(line).unwrap_or_default();
    event.encode(Timestamp::from_millisecond(json["timestamp"].as_i64().unwrap_or_default()).unwrap_or_default())
}

fn is_same(line: &str, now: &str) -> bool {
    let read = |text| serde_json::from_str::<Value>(text).ok();
    read(line) == read(now)
}

fn read_example<E: PublishedLanguage>(line: &str) -> Result<E, String> {
    let json: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let event_type = json["eventType"].as_str().ok_or("it has no eventType")?;
    let event = E::decode(event_type, line).map_err(|error| error.to_string())?;
    event.ok_or_else(|| format!("{event_type} is not an event of this system"))
}

fn asks<E: PublishedLanguage>(services: &[Service<E>]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut graph: BTreeMap<&'static str, BTreeSet<&'static str>> = BTreeMap::new();
    for service in services {
        for settle in service.resources.iter().flat_map(|resource| &resource.settles) {
            if !service.asks.contains(&settle.target) {
                problems.push(Problem::NotAsked(service.name, settle.target));
            }
        }
        for ask in &service.asks {
            if ask.is_external() {
                let mut settles = service.resources.iter().flat_map(|resource| &resource.settles);
                if !settles.any(|settle| settle.target == *ask) {
                    problems.push(Problem::NotSettled(service.name, *ask));
                }
                continue;
            }
            graph.entry(service.name).or_default().insert(ask.service);
            let mut resources = services.iter().flat_map(|service| &service.resources);
            if !resources.any(|resource| resource.ask.as_ref().is_some_and(|answered| answered.target == *ask)) {
                problems.push(Problem::NotAnswered(service.name, *ask));
            }
        }
        for resource in &service.resources {
            if let Some(ask) = &resource.ask
                && (ask.target.service, ask.target.path) != (service.name, resource.path)
            {
                problems.push(Problem::NotAnswered(service.name, ask.target));
            }
        }
    }
    for service in services {
        follow(&graph, &mut vec![service.name], &mut problems);
    }
    problems
}

/// Follows asks from the end of a chain. Reports a circle once, from its smallest name.
fn follow(
    graph: &BTreeMap<&'static str, BTreeSet<&'static str>>,
    chain: &mut Vec<&'static str>,
    problems: &mut Vec<Problem>,
) {
    let last = chain[chain.len() - 1];
    for next in graph.get(last).into_iter().flatten() {
        if *next == chain[0] {
            let is_smallest = chain.iter().all(|name| chain[0] <= *name);
            if is_smallest {
                problems.push(Problem::CircleOfAsks([chain.as_slice(), &[*next]].concat()));
            }
        } else if !chain.contains(next) {
            chain.push(next);
            if chain.len() == ASK_DEPTH_MAX + 2 {
                problems.push(Problem::AsksTooDeep(chain.clone()));
            }
            follow(graph, chain, problems);
            chain.pop();
        }
    }
}

/// A path that answers asks makes instances with the ids of those that ask. If clients post to it, too, it gives ids of its
/// own, and these must be others.
fn ids<E: PublishedLanguage>(services: &[Service<E>]) -> Vec<Problem> {
    let resources = || services.iter().flat_map(|service| &service.resources);
    let founds = |resource: &&ResourceModel| resource.commands.iter().any(|command| command.verb == Verb::Post);
    let mut problems: Vec<_> = resources()
        .filter(|resource| !resource.ids.are_valid())
        .map(|resource| Problem::InvalidIds(resource.path))
        .collect();
    if problems.is_empty() {
        for asked in resources().filter(founds) {
            let Some(ask) = asked.ask.as_ref().filter(|ask| !ask.is_inquiry) else { continue };
            let askers = services.iter().filter(|service| service.asks.contains(&ask.target));
            let askers = askers.flat_map(|service| &service.resources).filter(founds);
            let sharing = askers.filter(|asker| asker.ids.overlap(asked.ids));
            problems.extend(sharing.map(|asker| Problem::SharedIds(asked.path, asker.path)));
        }
    }
    problems
}

fn names<E: PublishedLanguage>(services: &[Service<E>]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    let mut once = |what: String| if seen.insert(what.clone()) { None } else { Some(Problem::Twice(what)) };
    for service in services {
        problems.extend(once(format!("the service {}", service.name)));
        problems.extend(once(format!("the port {}", service.port)));
        for resource in &service.resources {
            for path in resource.paths() {
                problems.extend(once(format!("the path {path}")));
                problems.extend(RESERVED_PATHS.contains(&path).then_some(Problem::ReservedPath(path)));
            }
            for command in &resource.commands {
                problems.extend(once(format!("the command {:?} {}", command.verb, resource.path)));
            }
            let no_such_field = |field: &&'static str| Problem::NoSuchField(resource.collection, field);
            problems.extend(resource.missing_fields.iter().map(no_such_field));
        }
    }
    problems
}

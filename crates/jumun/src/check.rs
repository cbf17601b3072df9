//! What can be seen to be wrong with a system before it runs.

use crate::{
    ask::AskTarget,
    event::PublishedLanguage,
    limits::ASK_DEPTH_MAX,
    load::LoadLine,
    model::{ResourceModel, Verb},
    service::Service,
};
use std::collections::{BTreeMap, BTreeSet};

/// Something wrong with a system.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A line of the examples that this release cannot read.
    #[error("example {line} cannot be read: {why}")]
    UnreadableExample {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// An event without an example cannot be followed, and its shape is pinned by nothing.
    #[error("there is no example of {0}")]
    NoExample(&'static str),
    /// An event whose service is not part of the system.
    #[error("nobody emits {0}")]
    NobodyEmits(&'static str),
    /// An event that changes nothing anywhere.
    #[error("nobody handles {0}")]
    NobodyHandles(&'static str),
    /// A question that nobody answers.
    #[error("{0} asks {1:?}, which nobody answers")]
    NobodyAnswers(&'static str, AskTarget),
    /// An answer is settled that is never asked for.
    #[error("{0} settles {1:?}, which it does not ask")]
    NotAsked(&'static str, AskTarget),
    /// Somebody outside the system is asked, and nobody takes the answer.
    #[error("{0} asks {1:?}, and nothing settles the answer")]
    NobodySettles(&'static str, AskTarget),
    /// Services that wait for each other.
    #[error("asks go in a circle: {}", .0.join(" → "))]
    CircleOfAsks(Vec<&'static str>),
    /// A chain of asks that no time limit can bound sensibly.
    #[error("asks nest too deep: {}", .0.join(" → "))]
    AsksTooDeep(Vec<&'static str>),
    /// Something that must be there once is there twice.
    #[error("{0} is there twice")]
    Twice(String),
    /// A finder for a field that its documents do not have.
    #[error("{0} has no field {1}")]
    NoSuchField(&'static str, &'static str),
    /// A load line that would not be taken, or whose outcome nobody could see.
    #[error("the load line: {0}")]
    LoadLine(String),
}

pub(crate) fn system<E: PublishedLanguage>(
    examples: &str,
    services: &[Service<E>],
    load: Option<&LoadLine>,
) -> Vec<Problem> {
    let mut problems = language(examples, services);
    problems.extend(asks(services));
    problems.extend(names(services));
    problems.extend(load.and_then(|line| load_line(line, services).err()).map(Problem::LoadLine));
    problems
}

fn load_line<E: PublishedLanguage>(line: &LoadLine, services: &[Service<E>]) -> Result<(), String> {
    let at = |path: &str| {
        let mut resources = services.iter().flat_map(|service| &service.resources);
        resources.find(|resource| resource.path == path).ok_or_else(|| format!("nothing is at {path}"))
    };
    let has = |resource: &ResourceModel, field: &str| {
        let is_there = resource.fields.iter().any(|known| known.name == field);
        if is_there { Ok(()) } else { Err(format!("{} has no field {field}", resource.path)) }
    };
    let resource = at(line.path)?;
    let command = |verb| resource.commands.iter().find(|command| command.verb == verb);
    let post = command(Verb::Post).ok_or_else(|| format!("clients cannot POST {}", line.path))?;
    post.read(line.body.as_bytes()).map_err(|why| format!("POST {} does not take its body: {why:?}", line.path))?;
    if let Some((field, _)) = line.canceled {
        command(Verb::Delete).ok_or_else(|| format!("clients cannot DELETE {}", line.path))?;
        has(resource, field)?;
    }
    line.finished.map_or(Ok(()), |(path, (field, _))| has(at(path)?, field))
}

fn language<E: PublishedLanguage>(examples: &str, services: &[Service<E>]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut events = Vec::new();
    for example in self::examples::<E>(examples) {
        match example {
            Ok(event) => events.push(event),
            Err(problem) => problems.push(problem),
        }
    }
    for kind in E::TYPES {
        let mut of_kind = events.iter().filter(|event| event.event_type() == *kind).peekable();
        if of_kind.peek().is_none() {
            problems.push(Problem::NoExample(kind.name));
        } else if !of_kind.any(|event| services.iter().any(|service| service.is_concerned_by(event))) {
            problems.push(Problem::NobodyHandles(kind.name));
        }
        if !services.iter().any(|service| service.name == kind.source) {
            problems.push(Problem::NobodyEmits(kind.name));
        }
    }
    problems
}

/// The events that a system gives as examples, one a line.
pub(crate) fn examples<E: PublishedLanguage>(lines: &str) -> impl Iterator<Item = Result<E, Problem>> {
    let lines = lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(at, line)| read_example(line).map_err(|why| Problem::UnreadableExample { line: at + 1, why }))
}

fn read_example<E: PublishedLanguage>(line: &str) -> Result<E, String> {
    let json: serde_json::Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
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
            if ask.is_outside() {
                let mut settles = service.resources.iter().flat_map(|resource| &resource.settles);
                if !settles.any(|settle| settle.target == *ask) {
                    problems.push(Problem::NobodySettles(service.name, *ask));
                }
                continue;
            }
            graph.entry(service.name).or_default().insert(ask.service);
            let mut resources = services.iter().flat_map(|service| &service.resources);
            if !resources.any(|resource| resource.ask.as_ref().is_some_and(|answered| answered.target == *ask)) {
                problems.push(Problem::NobodyAnswers(service.name, *ask));
            }
        }
        for resource in &service.resources {
            if let Some(ask) = &resource.ask
                && (ask.target.service, ask.target.path) != (service.name, resource.path)
            {
                problems.push(Problem::NobodyAnswers(service.name, ask.target));
            }
        }
    }
    for service in services {
        follow(&graph, &mut vec![service.name], &mut problems);
    }
    problems
}

/// Follows asks from the end of a chain; reports a circle once, from its smallest name.
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

fn names<E: PublishedLanguage>(services: &[Service<E>]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    let mut once = |what: String| if seen.insert(what.clone()) { None } else { Some(Problem::Twice(what)) };
    for service in services {
        problems.extend(once(format!("the service {}", service.name)));
        problems.extend(once(format!("the port {}", service.port)));
        for resource in &service.resources {
            problems.extend(once(format!("the path {}", resource.path)));
            for command in &resource.commands {
                problems.extend(once(format!("the command {:?} {}", command.verb, resource.path)));
            }
            let no_such_field = |field: &&'static str| Problem::NoSuchField(resource.collection, field);
            problems.extend(resource.missing_fields.iter().map(no_such_field));
        }
    }
    problems
}

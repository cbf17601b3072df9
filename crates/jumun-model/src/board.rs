//! The model as an event-storming board, in Mermaid. The colours are those of the notes on a wall: commands blue, aggregates
//! yellow, events orange, policies and time-outs lilac, views green, external parties pink.

use crate::{answering, describe::request, emits};
use jumun::{EventType, ResourceModel, ServiceModel, SystemModel};
use std::{collections::BTreeSet, fmt::Write};

const STYLES: &str = "  classDef actor fill:#fff9b1,stroke:#8a8000,color:#000
  classDef command fill:#a6ccf5,stroke:#2f6eb5,color:#000
  classDef aggregate fill:#f5d328,stroke:#8a7400,color:#000
  classDef event fill:#ff9d48,stroke:#a85200,color:#000
  classDef policy fill:#c6a2d2,stroke:#73428a,color:#000
  classDef view fill:#b0dfb8,stroke:#2f7a3d,color:#000
  classDef external fill:#f5b3c8,stroke:#9c3359,color:#000
";

/// The board of a system, as the text of a Mermaid flowchart.
pub fn board(system: &SystemModel) -> String {
    let mut text = format!("---\ntitle: {}\n---\nflowchart LR\n{STYLES}", system.name);
    line(&mut text, 1, "client([client]):::actor");
    for service in &system.services {
        line(&mut text, 1, &format!(r#"subgraph {}["{}"]"#, service_id(service), service.name));
        for resource in &service.resources {
            draw(&mut text, system, service, resource);
        }
        line(&mut text, 1, "end");
    }
    for service in &system.services {
        for resource in &service.resources {
            connect(&mut text, resource);
        }
        ask(&mut text, system, service);
    }
    text
}

/// The notes of a resource, and the arrows between them.
fn draw(text: &mut String, system: &SystemModel, service: &ServiceModel, resource: &ResourceModel) {
    let own = resource_id(resource);
    let kind = if resource.is_view { "view" } else { "aggregate" };
    let others = if resource.aliases.is_empty() { "" } else { "<br>also at " };
    let aliases = resource.aliases.join(", ");
    line(text, 2, &format!(r#"{own}["{}{others}{aliases}"]:::{kind}"#, resource.name));
    let mut drawn = BTreeSet::new();
    let mut command = |name: &str, label: &str| {
        let id = command_id(resource, name);
        if drawn.insert(id.clone()) {
            line(text, 2, &format!(r#"{id}["{label}"]:::command --> {own}"#));
        }
    };
    for given in &resource.commands {
        let (method, path) = request(given.verb, resource.path);
        command(&given.name, &format!("{}<br>{method} {}", given.name, path.replace("{id}", "id")));
    }
    let asked = resource.ask.iter().flat_map(|ask| [&ask.name, &ask.void_name]);
    let settled = resource.settles.iter().map(|settle| &settle.name);
    let by_policy = resource.policies.iter().map(|policy| &policy.command);
    let by_time_out = resource.time_outs.iter().map(|time_out| &time_out.command);
    for name in asked.chain(settled).chain(by_policy).chain(by_time_out) {
        command(name, name);
    }
    for event in emits(system, service, resource) {
        line(text, 2, &format!(r#"{own} --> {}["{}"]:::event"#, event_id(event), event.name));
    }
}

/// The arrows to a resource from elsewhere: clients, events, policies, time-outs.
fn connect(text: &mut String, resource: &ResourceModel) {
    for given in &resource.commands {
        line(text, 1, &format!("client --> {}", command_id(resource, &given.name)));
    }
    for policy in &resource.policies {
        let (event, command) = (event_id(policy.event), command_id(resource, &policy.command));
        let id = format!("p_{}_{}", policy.event.name, command);
        let label = format!("whenever {}", policy.event.name);
        line(text, 1, &format!(r#"{event} --> {id}{{{{"{label}"}}}}:::policy --> {command}"#));
    }
    for time_out in &resource.time_outs {
        let (own, command) = (resource_id(resource), command_id(resource, &time_out.command));
        let label = format!("{} is over", time_out.name);
        line(text, 1, &format!(r#"{own} -.-> t_{}_{command}{{{{"{label}"}}}}:::policy --> {command}"#, time_out.name));
    }
    if resource.is_view {
        for event in &resource.hears {
            line(text, 1, &format!("{} -.-> {}", event_id(*event), resource_id(resource)));
        }
    }
}

/// The asks of a service: thick arrows, and dotted ones for what undoes or settles them.
fn ask(text: &mut String, system: &SystemModel, service: &ServiceModel) {
    for target in &service.asks {
        let from = service_id(service);
        let asked = if let Some((_, resource, ask)) = answering(system, *target) {
            let [asked, undone] = [&ask.name, &ask.void_name].map(|name| command_id(resource, name));
            line(text, 1, &format!("{from} ==>|asks| {asked}"));
            line(text, 1, &format!("{from} -.->|undoes| {undone}"));
            asked
        } else {
            let external = format!("x_{}", plain(target.service));
            line(text, 1, &format!(r#"{from} ==>|asks later| {external}[/"{}"/]:::external"#, target.service));
            external
        };
        for resource in &service.resources {
            for settle in resource.settles.iter().filter(|settle| settle.target == *target) {
                line(text, 1, &format!("{asked} -.->|answers later| {}", command_id(resource, &settle.name)));
            }
        }
    }
}

fn line(text: &mut String, depth: usize, content: &str) {
    let _ = writeln!(text, "{:width$}{content}", "", width = 2 * depth);
}

/// Letters, digits and underscores: all that the name of a node may have.
fn plain(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect()
}

fn service_id(service: &ServiceModel) -> String {
    format!("s_{}", plain(service.name))
}

fn resource_id(resource: &ResourceModel) -> String {
    format!("r_{}", plain(resource.collection))
}

fn command_id(resource: &ResourceModel, name: &str) -> String {
    format!("c_{}_{}", plain(resource.collection), plain(name))
}

fn event_id(event: EventType) -> String {
    format!("e_{}", plain(event.name))
}

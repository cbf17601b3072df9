//! The methods of each path, as the header `Allow` has them (RFC 9110, section 10.2.1).

use jumun::{ResourceModel, Verb};

/// The methods of the server as a whole.
pub const ALL_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// The methods of a page that is read only.
pub const READ_ONLY: &str = "GET, HEAD, OPTIONS";

/// The methods of a path of a resource: `rest` is what follows `/orders`, such as `/7/accept`. None if there is no such path.
pub fn allowed(resource: &ResourceModel, rest: &str) -> Option<String> {
    let has = |verb: Verb| resource.commands.iter().any(|command| command.verb == verb);
    let with = |verb: Verb, method: &'static str| if has(verb) { method } else { "" };
    let segments: Vec<_> = rest.split('/').skip(1).collect();
    let methods = match segments[..] {
        [] if rest.is_empty() => {
            let post = if resource.ask.is_some() { ", POST" } else { with(Verb::Post, ", POST") };
            format!("GET, HEAD{post}")
        }
        ["search"] | ["search", _] => "GET, HEAD".to_owned(),
        ["void"] if resource.ask.is_some() => "POST".to_owned(),
        [id] if !id.is_empty() => {
            format!("GET, HEAD{}{}", with(Verb::Patch, ", PATCH"), with(Verb::Delete, ", DELETE"))
        }
        [id, action] if !id.is_empty() => {
            let is_action = |verb: Verb| verb.action() == Some(action);
            resource.commands.iter().any(|command| is_action(command.verb)).then(|| "PUT".to_owned())?
        }
        _ => return None,
    };
    Some(methods + ", OPTIONS")
}

//! The page of all keys for users, made from their declarations.

use super::{
    load::{TELEMETRY, defaults_of},
    service::{CALLS, SENDER, ServiceKeys},
    system::SystemKeys,
    tables::without_secret,
};
use jumun::{ServiceModel, SystemModel};
use jumun_config::{Section, describe};
use jumun_gateway::{GATEWAY, GatewayConfig};
use jumun_runtime::asks::CallConfig;
use jumun_sender::SenderConfig;
use jumun_telemetry::TelemetryConfig;
use serde_json::{Map, Value};
use std::fmt::Write;

const INTRODUCTION: &str = "# Configuration

Made by `cargo xtask docs` from the declarations of the keys. Do not edit it.

A key may stand in `jumun.toml`, in a folder of files that are named as their keys (`--config-dir`), in the environment and
in a flag (`--set key=value`). The later source wins. An unknown key is an error. `jumun config <system>` lists every key
with its value in effect and the source that set it.

The variable of a key is `JUMUN__` and the key in capitals, with `__` for each dot: `order.calls.payment.time_limit` is
`JUMUN__ORDER__CALLS__PAYMENT__TIME_LIMIT`.

* A *duration* is a number with a unit: `610ms`, `1s`, `2m`, `1h`, `7d`, `1d 12h`. A key that may be `0s` says so.
* A *list* is `[\"a\", \"b\"]`, or `a, b` in a file of a folder, in a variable and in a flag.
* Only the process knows the value of a *secret*. Commands, logs and errors show `***`.
";

/// Writes the page of all keys, with the settings of these systems.
pub fn reference(systems: &[SystemModel]) -> String {
    let mut page = INTRODUCTION.to_owned();
    section::<SystemKeys>(&mut page, "", "The system", "These keys stand above all tables.");
    section::<GatewayConfig>(&mut page, GATEWAY, "The gateway", "The table `[gateway]`.");
    section::<TelemetryConfig>(&mut page, TELEMETRY, "Telemetry", "The table `[telemetry]`.");
    let about = "The table of a service has its name: `[order]`. Besides these keys it has the settings of its business, which \
                 are listed by system below.";
    section::<ServiceKeys>(&mut page, "<service>", "A service", about);
    let about = "The table `[<service>.calls.<neighbour>]`, for each service that the service asks. The table \
                 `[<service>.calls.sender]` has no `url`, no `fallback` and no `max_delayed`.";
    section::<CallConfig>(&mut page, &format!("<service>.{CALLS}.<neighbour>"), "Asks of a neighbour", about);
    let about =
        "The table `[<service>.sender]` of a service that sends messages; see [notifications.md](notifications.md).";
    section::<SenderConfig>(&mut page, &format!("<service>.{SENDER}"), "The sender of messages", about);
    for model in systems {
        system(&mut page, model);
    }
    page
}

fn section<S: Section>(page: &mut String, table: &str, title: &str, about: &str) {
    let heading = "| Key, variable | Holds | Default | |\n|---|---|---|---|\n";
    let _ = write!(page, "\n## {title}\n\n{about}\n\n{heading}"); // writing to a String cannot fail
    for key in describe::<S>() {
        let name = if key.unit == "table" { format!("{}.<name>", key.key) } else { key.key };
        let full = if table.is_empty() { name.clone() } else { format!("{table}.{name}") };
        let doc = key.doc.split_whitespace().collect::<Vec<_>>().join(" ");
        let secret = if key.secret { "**Secret.** " } else { "" };
        row(page, &full, &name, key.unit, &key.default, &format!("{secret}{doc}"));
    }
}

fn system(page: &mut String, model: &SystemModel) {
    let _ = write!(page, "\n## {}\n\n| Service | Default of `listen` | Asks |\n|---|---|---|\n", model.name);
    for ServiceModel { name, port, asks, .. } in &model.services {
        let asks: Vec<_> = asks.iter().map(|ask| format!("`{}`", ask.service)).collect();
        let _ = writeln!(page, "| `{name}` | `127.0.0.1:{port}` | {} |", asks.join(", "));
    }
    let defaults: Vec<_> = defaults_of(model).map(|(key, value)| format!("`{key} = {value}`")).collect();
    if !defaults.is_empty() {
        let _ = writeln!(page, "\nDefaults of this system: {}.", defaults.join(", "));
    }
    for service in &model.services {
        for alias in &service.aliases {
            let (name, key, variable) = (alias.name, alias.key, alias.variable);
            let _ = writeln!(
                page,
                "\n`{0}.{name}`, and the variable or the file `{variable}`, are other names of `{0}.{key}`.",
                service.name
            );
        }
    }
    if !model.values.is_empty() {
        let values: Vec<_> = model.values.iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(page, "\nValues that every process shows at `/actuator/info`: {}.", values.join(", "));
    }
    let settings = model
        .services
        .iter()
        .flat_map(|service| service.default_settings().iter().map(move |(key, default)| (service, key, default)));
    let mut settings = settings.peekable();
    if settings.peek().is_none() {
        return;
    }
    page.push_str("\nSettings of the business:\n\n| Key, variable | Holds | Default | |\n|---|---|---|---|\n");
    for (service, key, default) in settings {
        let full = format!("{}.{key}", service.name);
        let doc = match is_secret(key) {
            true => "**Secret.**",
            false if is_time_limit(service, key) => "Off unless it is set, for example to `10m`.",
            false => "",
        };
        let unit = match default {
            _ if is_time_limit(service, key) => "duration",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "number",
            Value::Array(_) => "list",
            _ => "text",
        };
        row(page, &full, &full, unit, default, doc);
    }
}

fn is_secret(key: &str) -> bool {
    without_secret(key, "x".into()) != "x"
}

/// Settings have no declaration that tells their unit. A time limit takes durations and nothing else.
fn is_time_limit(service: &ServiceModel, key: &str) -> bool {
    let takes = |value: &str| service.behaviour(&Map::from_iter([(key.to_owned(), value.into())])).is_ok();
    takes("10m") && !takes("soon")
}

fn row(page: &mut String, full: &str, shown: &str, unit: &str, default: &Value, doc: &str) {
    let variable = format!("JUMUN__{}", full.to_uppercase().replace('.', "__"));
    let default = match default {
        Value::Null => "–".to_owned(),
        Value::String(text) if text.is_empty() => "–".to_owned(),
        Value::Object(table) if table.is_empty() => "–".to_owned(),
        Value::String(text) => format!("`{text}`"),
        value => format!("`{value}`"),
    };
    let cell = |text: &str| text.replace('|', "\\|");
    let _ = writeln!(page, "| `{shown}`<br>`{variable}` | {} | {} | {} |", cell(unit), cell(&default), cell(doc));
}

//! Configuration: defaults, then `jumun.toml`, then a folder of files that are named as their keys, then the environment
//! (`JUMUN__ORDER__CALLS__PAYMENT__TIME_LIMIT=610ms`), then flags. A key that nobody knows is an error. This is the one
//! place that knows all keys: [`load`] reads them, [`explain`] tells them.

use crate::limits::CONFIGURATION_VALUE_MAX_BYTES;
use config::{File, FileFormat};
use http::Uri;
use jiff::{SignedDuration, Span, SpanRelativeTo};
use jumun::{ServiceModel, SystemModel};
use jumun_config::Section;
use jumun_gateway::{
    GATEWAY, GatewayConfig, Network, RateConfig,
    limits::{GATEWAY_REQUESTS_MAX, GATEWAY_TIME_LIMIT, TRUSTED_PROXIES_MAX, UPSTREAM_REQUESTS_MAX, UPSTREAMS_MAX},
};
use jumun_guard::{BreakerConfig, BulkheadConfig, GuardConfig, Window};
use jumun_http::{
    Shed,
    limits::{BODY_TIME_LIMIT, HEAD_TIME_LIMIT},
};
use jumun_runtime::{
    asks::DelayConfig,
    intake::{AdmissionConfig, Faults},
    limits::{DELAY_DEADLINE, DELAY_DEADLINE_MAX, DELAYED_MAX, OUTSIDE_MARGIN, TIME_LIMIT},
};
use jumun_sender::SenderConfig;
use jumun_telemetry::OtlpConfig;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

/// Where configuration comes from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// A file that must be there; otherwise `jumun.toml` in the current folder, if it is there.
    pub file: Option<PathBuf>,
    /// A folder with a file for each value, named as its key: as Kubernetes mounts configuration and secrets.
    pub folder: Option<PathBuf>,
    /// The folder of all data; `./data` by default.
    pub data: Option<PathBuf>,
    /// Keys set by flags, `payment.decline_over` and its value. The last one wins.
    pub set: Vec<(String, String)>,
    /// The environment; that of the process where it is `None`.
    pub environment: Option<std::collections::HashMap<String, String>>,
}

/// The configuration of a system.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// How far all usual ports are moved up.
    pub port_offset: u16,
    /// The HTTP status of answers that say *not now*.
    pub unavailable_status: u16,
    /// The folder of all data of this system.
    pub folder: PathBuf,
    /// The folder of the bus.
    pub bus: PathBuf,
    /// For how long events stay on the bus at least; for ever, where it is `None`.
    pub retention: Option<Duration>,
    /// The gateway.
    pub gateway: GatewayConfig,
    /// Where spans go, if they go anywhere.
    pub telemetry: Option<OtlpConfig>,
    /// By service.
    pub services: BTreeMap<String, ServiceConfig>,
}

/// The configuration of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The file of its database.
    pub database: PathBuf,
    /// The guard around calls, by the service that is called.
    pub calls: BTreeMap<String, CallConfig>,
    /// Who carries its messages, if it sends any.
    pub sender: Option<SenderConfig>,
    /// How much it takes at once.
    pub admission: AdmissionConfig,
    /// What it does wrong from its start on, for drills.
    pub faults: Faults,
    /// What its business may be set to.
    pub settings: Map<String, Value>,
}

/// The guard around one call.
#[derive(Debug, Clone, PartialEq)]
pub struct CallConfig {
    /// Where the service is.
    pub url: Uri,
    /// How long an answer is waited for.
    pub time_limit: Duration,
    /// When no more calls are made for a while. What may be left out elsewhere is said here.
    pub breaker: BreakerConfig,
    /// How many calls are made at once.
    pub bulkhead: BulkheadConfig,
    /// What happens to a command whose call has no answer.
    pub delay: DelayConfig,
}

impl CallConfig {
    /// What a guard is made of.
    pub fn guard(&self) -> GuardConfig {
        let Self { url: _, time_limit, breaker, bulkhead, delay: _ } = *self;
        GuardConfig { time_limit, breaker, bulkhead }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file or a variable cannot be read.
    #[error("the configuration cannot be read: {0}")]
    Unreadable(#[from] config::ConfigError),
    /// A key that nobody knows.
    #[error("the key `{0}` is unknown")]
    UnknownKey(String),
    /// A value that cannot be.
    #[error("`{key}`: {why}")]
    Invalid {
        /// The key.
        key: String,
        /// What is wrong.
        why: String,
    },
    /// What is said of whoever carries messages.
    #[error(transparent)]
    Sender(#[from] jumun_sender::InvalidConfig),
}

impl ConfigError {
    /// A code that stays the same over releases.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "configuration-unreadable",
            Self::UnknownKey(_) => "configuration-unknown-key",
            Self::Invalid { .. } => "configuration-invalid",
            Self::Sender(error) => error.code(),
        }
    }

    /// What to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "Correct the file, or name another one with --config.",
            Self::UnknownKey(_) => {
                "Correct its spelling in jumun.toml, the environment (JUMUN__…) or --set; or delete it."
            }
            Self::Invalid { .. } => "Correct the value in jumun.toml, the environment (JUMUN__…) or --set.",
            Self::Sender(error) => error.remedy(),
        }
    }
}

/// Where the gateway of every system listens, unless it is told otherwise.
const GATEWAY_PORT: u16 = 8088;

/// The keys of the gateway.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct GatewayKeys {
    listen: Option<SocketAddr>,
    cors_origins: Option<OneOrMany>,
    upstreams: BTreeMap<String, OneOrMany>,
    #[serde(deserialize_with = "duration")]
    time_limit: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    head_time_limit: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    body_time_limit: Option<Duration>,
    max_concurrent: Option<u32>,
    max_concurrent_total: Option<u32>,
    rate: RateKeys,
    trusted_proxies: Option<OneOrMany>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RateKeys {
    per_second: u32,
    burst: u32,
}

/// A list, or as the environment and flags have it: `a, b`.
#[derive(Deserialize)]
#[serde(untagged, expecting = "must be a list of texts")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn into_list(self) -> Vec<String> {
        match self {
            Self::One(text) => text.split(',').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect(),
            Self::Many(list) => list,
        }
    }
}

/// The keys of telemetry.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct TelemetryKeys {
    otlp: Option<String>,
    sample: Option<f64>,
}

/// The share of traces that are recorded, unless it is said.
const SAMPLE: f64 = 0.01;

/// The keys of a service that are the runtime's; all others are its business's.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct ServiceKeys {
    listen: Option<SocketAddr>,
    database: Option<String>,
    calls: BTreeMap<String, CallKeys>,
    sender: Option<Value>,
    admission: AdmissionConfig,
    shed: Shed,
    faults: Faults,
}

const SERVICE_KEYS: [&str; 7] = ["listen", "database", "calls", SENDER, "admission", "shed", "faults"];

/// Whoever carries messages: by this name services ask it, and by this name their tables have its keys.
pub const SENDER: &str = "sender";

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct CallKeys {
    url: Option<String>,
    #[serde(deserialize_with = "duration")]
    time_limit: Option<Duration>,
    breaker: BreakerConfig,
    bulkhead: BulkheadConfig,
    fallback: Option<Fallback>,
    max_delayed: Option<u32>,
    #[serde(deserialize_with = "duration")]
    deadline: Option<Duration>,
}

/// What happens to a command whose call has no answer.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Fallback {
    /// It is refused.
    Reject,
    /// It is accepted, where the system knows how, and the call is made again later.
    Accept,
}

/// Reads `610ms`, `1s`, `2m`.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let parsed = text.parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    let positive = parsed.filter(|duration| !duration.is_zero());
    positive.map(Some).ok_or_else(|| de::Error::custom(format!("`{text}` is no duration; write 610ms, 1s or 2m")))
}

/// The configuration of a system.
pub fn load(model: &SystemModel, sources: &Sources) -> Result<Config, ConfigError> {
    assemble(model, sources, &layers(sources)?)
}

fn assemble(model: &SystemModel, sources: &Sources, layers: &[Layer]) -> Result<Config, ConfigError> {
    let mut given = merge(layers)?;
    let data = sources.data.clone().unwrap_or_else(|| PathBuf::from("data"));
    let offset = match given.remove("port_offset") {
        None => 0,
        Some(offset) => offset.as_u64().and_then(|offset| u16::try_from(offset).ok()).ok_or_else(|| {
            ConfigError::Invalid { key: "port_offset".into(), why: "must be a number from 0 to 65535".into() }
        })?,
    };
    let gateway = gateway_config(model, given.remove(GATEWAY), offset)?;
    let telemetry = telemetry_config(given.remove("telemetry"), |name| match &sources.environment {
        Some(environment) => environment.get(name).cloned(),
        None => std::env::var(name).ok(),
    })?;
    let folder = data.join(model.name);
    let bus = folder.join("bus");
    let services = BTreeMap::new();
    let retention = retention(given.remove("retention"))?;
    let mut config =
        Config { port_offset: offset, unavailable_status: 503, folder, bus, retention, gateway, telemetry, services };
    if let Some(status) = given.remove("unavailable_status") {
        let status =
            status.as_u64().and_then(|status| u16::try_from(status).ok()).filter(|status| (500..600).contains(status));
        let why = "must be an HTTP status from 500 to 599".to_owned();
        config.unavailable_status = status.ok_or(ConfigError::Invalid { key: "unavailable_status".into(), why })?;
    }
    if let Some(url) = given.remove("bus") {
        let path = url.as_str().and_then(|url| url.strip_prefix("log://")).filter(|path| !path.is_empty());
        let why = format!("`{url}` cannot be opened by this build; write log://path");
        config.bus = path.map(PathBuf::from).ok_or(ConfigError::Invalid { key: "bus".into(), why })?;
    }
    for service in &model.services {
        let table = match given.remove(service.name) {
            None => Map::new(),
            Some(Value::Object(table)) => table,
            Some(_) => return Err(ConfigError::Invalid { key: service.name.into(), why: "must be a table".into() }),
        };
        let read = service_config(service, table, &config.folder, offset)?;
        config.services.insert(service.name.to_owned(), read);
    }
    if let Some(key) = given.keys().next() {
        return Err(ConfigError::UnknownKey(key.clone()));
    }
    default_urls(&mut config);
    Ok(config)
}

/// What one source says.
struct Layer {
    origin: Origin,
    values: config::Config,
}

/// All sources, the later ones win.
fn layers(sources: &Sources) -> Result<Vec<Layer>, ConfigError> {
    let (path, is_required) = match &sources.file {
        Some(path) => (path.as_path(), true),
        None => (Path::new("jumun.toml"), false),
    };
    let environment: Vec<_> = if let Some(given) = &sources.environment {
        given.iter().filter_map(variable).collect()
    } else {
        // What is not Unicode is none of ours.
        let unicode = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        unicode.filter_map(|(name, value)| variable((&name, &value.to_string_lossy().into_owned()))).collect()
    };
    let file = File::from(path).format(FileFormat::Toml).required(is_required);
    let mounted = sources.folder.as_deref().map(mounted).transpose()?;
    let build = config::Config::builder;
    let layers = [
        Some((Origin::File(path.to_owned()), build().add_source(file).build()?)),
        mounted.zip(sources.folder.clone()).map(|(values, folder)| (Origin::Folder(folder), values)),
        Some((Origin::Environment, keys_and_values(&environment)?)),
        Some((Origin::Flag, keys_and_values(&sources.set)?)),
    ];
    Ok(layers.into_iter().flatten().map(|(origin, values)| Layer { origin, values }).collect())
}

/// The key and the value of a variable of the environment, if it is one of ours: `JUMUN__ORDER__LISTEN` is `order.listen`.
fn variable((name, value): (&String, &String)) -> Option<(String, String)> {
    let key = name.strip_prefix("JUMUN__")?;
    Some((key.to_lowercase().replace("__", "."), value.clone()))
}

fn keys_and_values(set: &[(String, String)]) -> Result<config::Config, ConfigError> {
    let mut builder = config::Config::builder();
    for (key, value) in set {
        // A text such as 0000 is no number: it would lose its zeros.
        let is_text = value.len() > 1 && value.starts_with('0') && !value.starts_with("0.");
        let value: config::Value = match (value.parse::<i64>(), value.parse::<f64>(), value.parse::<bool>()) {
            _ if is_text => value.as_str().into(),
            (Ok(value), ..) => value.into(),
            (_, Ok(value), _) => value.into(),
            (.., Ok(value)) => value.into(),
            _ => value.as_str().into(),
        };
        builder = builder.set_override(key, value)?;
    }
    Ok(builder.build()?)
}

/// Reads a folder of values. What begins with a dot is Kubernetes' own business.
fn mounted(folder: &Path) -> Result<config::Config, ConfigError> {
    let unreadable = |path: &Path, why: &dyn std::fmt::Display| {
        ConfigError::Unreadable(config::ConfigError::Message(format!("{}: {why}", path.display())))
    };
    let mut set = Vec::new();
    for file in fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let path = file.map_err(|error| unreadable(folder, &error))?.path();
        let key = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if key.starts_with('.') {
            continue;
        }
        let mut value = String::new();
        let file = fs::File::open(&path).map_err(|error| unreadable(&path, &error))?;
        let read = file.take(CONFIGURATION_VALUE_MAX_BYTES + 1).read_to_string(&mut value);
        let bytes = read.map_err(|error| unreadable(&path, &error))?;
        if bytes as u64 > CONFIGURATION_VALUE_MAX_BYTES {
            return Err(unreadable(&path, &format!("a value has at most {CONFIGURATION_VALUE_MAX_BYTES} bytes")));
        }
        set.push((key, value.trim().to_owned()));
    }
    keys_and_values(&set)
}

fn merge(layers: &[Layer]) -> Result<Map<String, Value>, ConfigError> {
    let mut builder = config::Config::builder();
    for layer in layers {
        builder = builder.add_source(layer.values.clone());
    }
    Ok(builder.build()?.try_deserialize()?)
}

// ---- telling it

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody has set it.
    Default,
    /// The file of configuration.
    File(PathBuf),
    /// The folder of values.
    Folder(PathBuf),
    /// A variable of the environment.
    Environment,
    /// A flag of the command.
    Flag,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) | Self::Folder(path) => path.display().fmt(f),
            Self::Environment => f.write_str("environment"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// A key with its value, as it may be written into `jumun.toml`.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// `order.calls.payment.time_limit`
    pub key: String,
    /// What holds; secrets are not told.
    pub value: Value,
    /// Who says so.
    pub origin: Origin,
}

/// Every key that may be set, with what holds and where that comes from.
pub fn explain(model: &SystemModel, sources: &Sources) -> Result<Vec<Entry>, ConfigError> {
    let layers = layers(sources)?;
    let config = assemble(model, sources, &layers)?;
    let mut said = Vec::new();
    for layer in layers {
        let mut keys = Vec::new();
        keys_of("", &Value::Object(layer.values.try_deserialize()?), &mut keys);
        said.push((layer.origin, keys));
    }
    let entries = entries(model, &config).into_iter().map(|(key, value)| {
        let below = format!("{key}.");
        let says_so = |keys: &[String]| keys.iter().any(|given| *given == key || given.starts_with(&below));
        let origin = said.iter().rev().find(|(_, keys)| says_so(keys));
        let origin = origin.map_or(Origin::Default, |(origin, _)| origin.clone());
        Entry { value: without_secret(&key, value), key, origin }
    });
    Ok(entries.collect())
}

fn keys_of(path: &str, value: &Value, keys: &mut Vec<String>) {
    match value {
        Value::Object(table) => {
            let dot = if path.is_empty() { "" } else { "." };
            table.iter().for_each(|(key, value)| keys_of(&format!("{path}{dot}{key}"), value, keys));
        }
        _ => keys.push(path.to_owned()),
    }
}

/// A field that is added to the configuration and not told here is an error of the compiler.
fn entries(model: &SystemModel, config: &Config) -> Vec<(String, Value)> {
    let Config { port_offset, unavailable_status, folder: _, bus, retention, gateway, telemetry, services } = config;
    let GatewayConfig {
        listen,
        cors_origins,
        upstreams,
        time_limit,
        head_time_limit,
        body_time_limit,
        max_concurrent,
        max_concurrent_total,
        rate,
        trusted_proxies,
    } = gateway;
    let mut entries = vec![
        ("port_offset".to_owned(), json!(port_offset)),
        ("unavailable_status".to_owned(), json!(unavailable_status)),
        ("bus".to_owned(), json!(format!("log://{}", bus.display()))),
        ("retention".to_owned(), retention.map_or(json!(""), duration_in_words)),
    ];
    let mut tell = |path: &[&str], value: Value| entries.push((path.join("."), value));
    tell(&[GATEWAY, "listen"], json!(listen));
    tell(&[GATEWAY, "cors_origins"], json!(cors_origins));
    for (service, urls) in upstreams {
        tell(&[GATEWAY, "upstreams", service], urls.iter().map(in_words).collect());
    }
    tell(&[GATEWAY, "time_limit"], duration_in_words(*time_limit));
    tell(&[GATEWAY, "head_time_limit"], duration_in_words(*head_time_limit));
    tell(&[GATEWAY, "body_time_limit"], duration_in_words(*body_time_limit));
    tell(&[GATEWAY, "max_concurrent"], json!(max_concurrent));
    tell(&[GATEWAY, "max_concurrent_total"], json!(max_concurrent_total));
    let RateConfig { per_second, burst } = rate;
    tell(&[GATEWAY, "rate", "per_second"], json!(per_second));
    tell(&[GATEWAY, "rate", "burst"], json!(burst));
    tell(&[GATEWAY, "trusted_proxies"], trusted_proxies.iter().map(ToString::to_string).collect());
    let (endpoint, sample) = match telemetry {
        Some(OtlpConfig { endpoint, sample }) => (endpoint.trim_end_matches("/v1/traces"), *sample),
        None => ("", SAMPLE),
    };
    tell(&["telemetry", "otlp"], json!(endpoint));
    tell(&["telemetry", "sample"], json!(sample));
    for service in &model.services {
        let Some(config) = services.get(service.name) else { continue };
        let ServiceConfig { listen, database, calls, sender, admission, faults, settings } = config;
        tell(&[service.name, "listen"], json!(listen));
        tell(&[service.name, "database"], json!(format!("sqlite://{}", database.display())));
        for (key, default) in service.default_settings() {
            tell(&[service.name, key], settings.get(key).unwrap_or(default).clone());
        }
        for (callee, CallConfig { url, time_limit, breaker, bulkhead, delay }) in calls {
            if !service.asks.iter().any(|ask| ask.service == callee && ask.is_external()) {
                let fallback = if delay.is_accepting { "accept" } else { "reject" };
                tell(&[service.name, "calls", callee, "url"], in_words(url));
                tell(&[service.name, "calls", callee, "fallback"], json!(fallback));
                tell(&[service.name, "calls", callee, "max_delayed"], json!(delay.max_delayed));
            }
            tell(&[service.name, "calls", callee, "deadline"], duration_in_words(delay.deadline));
            tell(&[service.name, "calls", callee, "time_limit"], duration_in_words(*time_limit));
            for (key, value) in breaker_entries(breaker, *time_limit) {
                tell(&[service.name, "calls", callee, "breaker", key], value);
            }
            let BulkheadConfig { max_concurrent, max_wait } = bulkhead;
            tell(&[service.name, "calls", callee, "bulkhead", "max_concurrent"], json!(max_concurrent));
            tell(&[service.name, "calls", callee, "bulkhead", "max_wait"], duration_in_words(*max_wait));
        }
        for (key, value) in sender.iter().flat_map(SenderConfig::entries) {
            tell(&[service.name, SENDER, &key], value);
        }
        let AdmissionConfig { max_concurrent, max_waiting, max_wait, max_reads, shed } = admission;
        tell(&[service.name, "admission", "max_concurrent"], json!(max_concurrent));
        tell(&[service.name, "admission", "max_waiting"], json!(max_waiting));
        tell(&[service.name, "admission", "max_wait"], duration_in_words(*max_wait));
        tell(&[service.name, "admission", "max_reads"], json!(max_reads));
        tell(&[service.name, "shed"], json!(shed));
        let Faults { delay, fail, concurrency, cpu, start_delay } = faults;
        tell(&[service.name, "faults", "delay"], json!(delay.to_string()));
        tell(&[service.name, "faults", "fail"], json!(fail));
        tell(&[service.name, "faults", "concurrency"], json!(concurrency));
        tell(&[service.name, "faults", "cpu"], duration_in_words(*cpu));
        tell(&[service.name, "faults", "start_delay"], duration_in_words(*start_delay));
    }
    entries
}

fn breaker_entries(breaker: &BreakerConfig, time_limit: Duration) -> [(&'static str, Value); 7] {
    let minimum = breaker.minimum_calls();
    let BreakerConfig { window, minimum_calls: _, failure_rate, slow_call, slow_call_rate, wait_open, half_open_calls } =
        breaker;
    let window = match window {
        Window::Time(time) => duration_in_words(*time),
        Window::Calls(calls) => json!(calls),
    };
    [
        ("window", window),
        ("minimum_calls", json!(minimum)),
        ("failure_rate", json!(failure_rate)),
        ("slow_call", duration_in_words(slow_call.unwrap_or(time_limit))),
        ("slow_call_rate", json!(slow_call_rate)),
        ("wait_open", duration_in_words(*wait_open)),
        ("half_open_calls", json!(half_open_calls)),
    ]
}

fn in_words(url: &Uri) -> Value {
    json!(url.to_string().trim_end_matches('/'))
}

/// As it is read: `610ms`, `1s`.
fn duration_in_words(duration: Duration) -> Value {
    json!(if duration.is_zero() { "0s".to_owned() } else { format!("{duration:?}") })
}

/// Keys of which nobody but the process may know the value. Those of whoever carries messages are told without secrets
/// already, and among them are harmless ones that are called as if they were some.
fn without_secret(key: &str, value: Value) -> Value {
    if key.split('.').nth(1) == Some(SENDER) {
        return value;
    }
    let name = key.rsplit('.').next().unwrap_or(key);
    let is_secret =
        ["password", "secret", "token", "credential", "api_key", "card"].iter().any(|word| name.contains(word));
    if is_secret && !value.is_null() { json!("***") } else { value }
}

// ---- reading it

fn gateway_config(model: &SystemModel, table: Option<Value>, offset: u16) -> Result<GatewayConfig, ConfigError> {
    let invalid = |key: &str, why: String| ConfigError::Invalid { key: format!("{GATEWAY}.{key}"), why };
    let keys: GatewayKeys = serde_path_to_error::deserialize(table.unwrap_or_else(|| Value::Object(Map::new())))
        .map_err(|error| invalid(&error.path().to_string(), error.inner().to_string()))?;

    let cors_origins = keys.cors_origins.map(OneOrMany::into_list).unwrap_or_default();
    if let Some(origin) = cors_origins.iter().find(|origin| !is_origin(origin)) {
        return Err(invalid("cors_origins", format!("`{origin}` is no origin; write https://host, or * for all")));
    }
    let mut upstreams = BTreeMap::new();
    for (service, urls) in keys.upstreams {
        if model.service(&service).is_none() {
            return Err(ConfigError::UnknownKey(format!("{GATEWAY}.upstreams.{service}")));
        }
        let of_service = |why| invalid(&format!("upstreams.{service}"), why);
        let urls = urls.into_list();
        if urls.is_empty() || urls.len() > UPSTREAMS_MAX {
            return Err(of_service(format!("name 1 to {UPSTREAMS_MAX} addresses")));
        }
        let urls = urls.iter().map(|url| address(url)).collect::<Result<Vec<_>, _>>().map_err(of_service)?;
        upstreams.insert(service, urls);
    }
    let max_concurrent = keys.max_concurrent.unwrap_or(UPSTREAM_REQUESTS_MAX);
    let max_concurrent_total = keys.max_concurrent_total.unwrap_or(GATEWAY_REQUESTS_MAX);
    for (key, value) in [("max_concurrent", max_concurrent), ("max_concurrent_total", max_concurrent_total)] {
        if value == 0 {
            return Err(invalid(key, "must be 1 or more".into()));
        }
    }
    let RateKeys { per_second, burst } = keys.rate;
    if burst > 0 && per_second == 0 {
        return Err(invalid("rate.burst", "says nothing without rate.per_second".into()));
    }
    let proxies = keys.trusted_proxies.map(OneOrMany::into_list).unwrap_or_default();
    if proxies.len() > TRUSTED_PROXIES_MAX {
        return Err(invalid("trusted_proxies", format!("name at most {TRUSTED_PROXIES_MAX}")));
    }
    let proxies = proxies.iter().map(|network| network.parse::<Network>()).collect::<Result<Vec<_>, _>>();
    let trusted_proxies = proxies.map_err(|why| invalid("trusted_proxies", why))?;
    Ok(GatewayConfig {
        listen: listen(GATEWAY, keys.listen, GATEWAY_PORT, offset)?,
        cors_origins,
        upstreams,
        time_limit: keys.time_limit.unwrap_or(GATEWAY_TIME_LIMIT),
        head_time_limit: keys.head_time_limit.unwrap_or(HEAD_TIME_LIMIT),
        body_time_limit: keys.body_time_limit.unwrap_or(BODY_TIME_LIMIT),
        max_concurrent,
        max_concurrent_total,
        rate: RateConfig { per_second, burst },
        trusted_proxies,
    })
}

/// What a browser calls an origin: a scheme, a host, perhaps a port, and nothing else.
fn is_origin(text: &str) -> bool {
    let uri = text.parse::<Uri>().ok().filter(|uri| uri.scheme().is_some() && uri.host().is_some());
    text == "*" || uri.is_some_and(|uri| uri.path() == "/" && !text.ends_with('/') && uri.query().is_none())
}

/// Reads `http://host:port`.
fn address(url: &str) -> Result<Uri, String> {
    let parsed = url.parse::<Uri>().ok();
    let parsed =
        parsed.filter(|uri| uri.scheme_str() == Some("http") && uri.authority().is_some() && uri.path() == "/");
    parsed.ok_or_else(|| format!("`{url}` is no address; write http://host:port"))
}

/// Reads `7d`, `12h`; nothing, or an empty text, is for ever.
fn retention(value: Option<Value>) -> Result<Option<Duration>, ConfigError> {
    let Some(value) = value.filter(|value| value != "") else { return Ok(None) };
    let relative = SpanRelativeTo::days_are_24_hours();
    let span = value.as_str().and_then(|text| text.parse::<Span>().ok()?.to_duration(relative).ok());
    let kept = span.and_then(|span| Duration::try_from(span).ok()).filter(|kept| !kept.is_zero());
    let why = || format!("{value} is no duration; write \"7d\" or \"12h\"");
    kept.map(Some).ok_or_else(|| ConfigError::Invalid { key: "retention".into(), why: why() })
}

/// Where spans go: what is configured, or else what the environment says by the variables of OpenTelemetry (*OpenTelemetry
/// Environment Variable Specification*).
fn telemetry_config(
    table: Option<Value>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Option<OtlpConfig>, ConfigError> {
    let invalid = |key: &str, why: String| ConfigError::Invalid { key: key.to_owned(), why };
    let mut keys: TelemetryKeys = serde_path_to_error::deserialize(table.unwrap_or_else(|| Value::Object(Map::new())))
        .map_err(|error| invalid(&format!("telemetry.{}", error.path()), error.inner().to_string()))?;
    keys.otlp = keys.otlp.filter(|base| !base.is_empty()); // nobody takes spans
    let said = |name: &str| environment(name).filter(|value| !value.is_empty());
    if keys.otlp.is_none() && said("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(None);
    }
    let (traces, all) = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT");
    let below = |base: String| format!("{}/v1/traces", base.trim_end_matches('/'));
    let endpoint = match keys.otlp {
        Some(base) => Some(("telemetry.otlp", below(base))),
        None => said(traces).map(|url| (traces, url)).or_else(|| said(all).map(|base| (all, below(base)))),
    };
    let (key, sample) = match (keys.sample, said("OTEL_TRACES_SAMPLER_ARG")) {
        (Some(sample), _) => ("telemetry.sample", sample),
        (None, Some(text)) => ("OTEL_TRACES_SAMPLER_ARG", text.parse().unwrap_or(f64::NAN)),
        (None, None) => ("telemetry.sample", SAMPLE),
    };
    if !(0.0..=1.0).contains(&sample) {
        return Err(invalid(key, "must be a share from 0 to 1".into()));
    }
    let Some((key, endpoint)) = endpoint else { return Ok(None) };
    let url = endpoint.parse::<Uri>().ok().filter(|url| url.scheme_str() == Some("http") && url.authority().is_some());
    match url {
        Some(_) => Ok(Some(OtlpConfig { endpoint, sample })),
        None => Err(invalid(key, format!("`{endpoint}` is no collector; write http://host:4318"))),
    }
}

/// Where a process listens: where it is told to, or on its usual port plus the offset, for this machine only.
fn listen(name: &str, given: Option<SocketAddr>, port: u16, offset: u16) -> Result<SocketAddr, ConfigError> {
    if let Some(given) = given {
        return Ok(given);
    }
    let port = port.checked_add(offset).ok_or_else(|| ConfigError::Invalid {
        key: "port_offset".into(),
        why: format!("{name} would listen on port {port} + {offset}, and there is none above 65535"),
    })?;
    Ok(SocketAddr::from(([127, 0, 0, 1], port)))
}

fn service_config(
    service: &ServiceModel,
    table: Map<String, Value>,
    folder: &Path,
    offset: u16,
) -> Result<ServiceConfig, ConfigError> {
    let invalid = |key: &str, why: String| ConfigError::Invalid { key: format!("{}.{key}", service.name), why };
    let (keys, settings): (Map<_, _>, Map<_, _>) =
        table.into_iter().partition(|(key, _)| SERVICE_KEYS.contains(&key.as_str()));
    if let Some(key) = settings.keys().find(|key| !service.default_settings().contains_key(*key)) {
        return Err(ConfigError::UnknownKey(format!("{}.{key}", service.name)));
    }
    let keys: ServiceKeys = serde_path_to_error::deserialize(Value::Object(keys))
        .map_err(|error| invalid(&error.path().to_string(), error.inner().to_string()))?;

    let database = match keys.database {
        None => folder.join(format!("{}.db", service.name)),
        Some(url) => match url.strip_prefix("sqlite://") {
            Some(path) if !path.is_empty() => PathBuf::from(path),
            _ => {
                return Err(invalid(
                    "database",
                    format!("`{url}` cannot be opened by this build; write sqlite://path"),
                ));
            }
        },
    };
    let sends = service.asks.iter().any(|ask| ask.is_external() && ask.service == SENDER);
    let sender = match keys.sender {
        Some(_) if !sends => return Err(ConfigError::UnknownKey(format!("{}.{SENDER}", service.name))),
        given if sends => Some(SenderConfig::read(given.unwrap_or_else(|| Value::Object(Map::new())))?),
        _ => None,
    };
    let mut calls = BTreeMap::new();
    for ask in &service.asks {
        let (breaker, bulkhead) = Default::default();
        // Where the system knows how to go on without an answer, it does.
        let is_accepting = !ask.is_external() && is_settled(service, ask.service);
        // A token that has expired is put right in the morning.
        let deadline = if ask.is_external() { DELAY_DEADLINE_MAX } else { DELAY_DEADLINE };
        let delay = DelayConfig { is_accepting, max_delayed: DELAYED_MAX, deadline };
        // Whoever carries messages bounds its own time.
        let sending = sender.as_ref().filter(|_| ask.is_external()).map(|sender| sender.time_limit + OUTSIDE_MARGIN);
        let time_limit = sending.unwrap_or(TIME_LIMIT);
        let call = CallConfig { url: Uri::default(), time_limit, breaker, bulkhead, delay };
        calls.insert(ask.service.to_owned(), call);
    }
    for (callee, given) in keys.calls {
        let Some(call) = calls.get_mut(&callee) else {
            return Err(ConfigError::UnknownKey(format!("{}.calls.{callee}", service.name)));
        };
        if callee == SENDER && sender.is_some() {
            // What is asked later in any case, and by ways of its own.
            let said = [
                ("url", given.url.is_some()),
                ("fallback", given.fallback.is_some()),
                ("max_delayed", given.max_delayed.is_some()),
            ];
            if let Some((key, _)) = said.iter().find(|(_, is_said)| *is_said) {
                return Err(ConfigError::UnknownKey(format!("{}.calls.{callee}.{key}", service.name)));
            }
        }
        if let Some(url) = given.url {
            call.url = address(&url).map_err(|why| invalid(&format!("calls.{callee}.url"), why))?;
        }
        if let Some(time_limit) = given.time_limit {
            call.time_limit = time_limit;
        }
        (call.breaker, call.bulkhead) = (given.breaker, given.bulkhead);
        let of_call = |key: &str, why: String| invalid(&format!("calls.{callee}.{key}"), why);
        if given.fallback == Some(Fallback::Accept) && !is_settled(service, &callee) {
            let why = format!("{} does not know how to go on without {callee}; write reject", service.name);
            return Err(of_call("fallback", why));
        }
        if let Some(fallback) = given.fallback {
            call.delay.is_accepting = fallback == Fallback::Accept;
        }
        call.delay.max_delayed = given.max_delayed.unwrap_or(call.delay.max_delayed);
        call.delay.deadline = given.deadline.unwrap_or(call.delay.deadline);
        if call.delay.deadline > DELAY_DEADLINE_MAX {
            return Err(of_call("deadline", format!("must be at most {DELAY_DEADLINE_MAX:?}")));
        }
    }
    for (callee, call) in &mut calls {
        let minimum = call.breaker.minimum_calls();
        call.breaker.minimum_calls = Some(minimum);
        call.breaker.slow_call.get_or_insert(call.time_limit);
        call.guard().check().map_err(|error| invalid(&format!("calls.{callee}.{}", error.key), error.why))?;
    }
    let admission = AdmissionConfig { shed: keys.shed, ..keys.admission };
    for (key, value) in [("max_concurrent", admission.max_concurrent), ("max_reads", admission.max_reads)] {
        if value == 0 {
            return Err(invalid(&format!("admission.{key}"), "must be 1 or more".into()));
        }
    }
    let listen = listen(service.name, keys.listen, service.port, offset)?;
    Ok(ServiceConfig { listen, database, calls, sender, admission, faults: keys.faults, settings })
}

/// Whether a service knows what to do with an answer that comes later.
fn is_settled(service: &ServiceModel, callee: &str) -> bool {
    let mut settles = service.resources.iter().flat_map(|resource| &resource.settles);
    settles.any(|settle| settle.target.service == callee)
}

/// A service without an address is where it listens by its own configuration, for its neighbours and for the gateway.
fn default_urls(config: &mut Config) {
    let listen: BTreeMap<String, SocketAddr> =
        config.services.iter().map(|(name, service)| (name.clone(), service.listen)).collect();
    for (name, listen) in &listen {
        let url = || vec![format!("http://{listen}").parse().unwrap_or_default()];
        config.gateway.upstreams.entry(name.clone()).or_insert_with(url);
    }
    for service in config.services.values_mut() {
        for (callee, call) in service.calls.iter_mut().filter(|(_, call)| call.url.authority().is_none()) {
            let url = listen.get(callee).and_then(|listen| format!("http://{listen}").parse().ok());
            call.url = url.unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn with(environment: &[(&str, &str)], set: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let sources = Sources {
            environment: Some(environment.iter().map(own).collect::<HashMap<_, _>>()),
            set: set.iter().map(own).collect(),
            ..Sources::default()
        };
        load(&food_delivery::system(), &sources)
    }

    #[test]
    fn only_what_is_written_as_a_number_is_one() {
        let given = [("zeros", "0000"), ("card", "0123"), ("none", "0"), ("share", "0.5"), ("many", "10")];
        let given = given.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let read: Map<String, Value> = keys_and_values(&given).expect("values").try_deserialize().expect("a table");
        let expected = json!({ "zeros": "0000", "card": "0123", "none": 0, "share": 0.5, "many": 10 });
        assert_eq!(Value::Object(read), expected);
    }

    #[test]
    fn the_defaults_are_what_the_readme_says() {
        let config = with(&[], &[]).expect("a configuration");
        let order = &config.services["order"];
        assert_eq!(order.listen.to_string(), "127.0.0.1:8081");
        assert_eq!(order.database, Path::new("data/food-delivery/order.db"));
        assert_eq!(order.calls["payment"].url.to_string(), "http://127.0.0.1:8084/");
        assert_eq!(order.calls["payment"].time_limit, Duration::from_secs(1));
        assert_eq!(config.unavailable_status, 503);
    }

    #[test]
    fn the_guard_around_a_call_is_by_default_what_the_contract_says() {
        let explained = explained(&sources(&[("order.calls.payment.time_limit", "610ms")]));
        let told = |key: &str| explained[&format!("order.calls.payment.{key}")].0.clone();
        for (key, value) in [
            ("breaker.window", json!("10s")),
            ("breaker.minimum_calls", json!(20)),
            ("breaker.failure_rate", json!(0.5)),
            ("breaker.slow_call", json!("610ms")),
            ("breaker.slow_call_rate", json!(1.0)),
            ("breaker.wait_open", json!("5s")),
            ("breaker.half_open_calls", json!(5)),
            ("bulkhead.max_concurrent", json!(256)),
            ("bulkhead.max_wait", json!("100ms")),
        ] {
            assert_eq!(told(key), value, "{key}");
        }
        let faults = ["delay", "fail", "concurrency", "cpu", "start_delay"];
        let faults = faults.map(|key| explained[&format!("payment.faults.{key}")].0.clone());
        assert_eq!(faults, [json!("0s"), json!(0.0), json!(0), json!("0s"), json!("0s")], "off");
    }

    #[test]
    fn the_guard_and_faults_are_set_from_everywhere() {
        let environment = [
            ("JUMUN__ORDER__CALLS__PAYMENT__BREAKER__WINDOW", "100"),
            ("JUMUN__ORDER__CALLS__PAYMENT__BREAKER__MINIMUM_CALLS", "10"),
            ("JUMUN__ORDER__CALLS__PAYMENT__BREAKER__FAILURE_RATE", "1"),
            ("JUMUN__ORDER__CALLS__PAYMENT__BULKHEAD__MAX_CONCURRENT", "7"),
            ("JUMUN__PAYMENT__FAULTS__DELAY", "400ms..620ms"),
            ("JUMUN__PAYMENT__FAULTS__FAIL", "0.25"),
        ];
        let set = [
            ("order.calls.payment.breaker.minimum_calls", "11"),
            ("order.calls.payment.bulkhead.max_wait", "0s"),
            ("payment.faults.concurrency", "30"),
        ];
        let config = with(&environment, &set).expect("a configuration");
        let CallConfig { breaker, bulkhead, .. } = &config.services["order"].calls["payment"];
        assert_eq!((breaker.window, breaker.minimum_calls), (Window::Calls(100), Some(11)));
        assert!((breaker.failure_rate - 1.0).abs() < f64::EPSILON);
        assert_eq!((bulkhead.max_concurrent, bulkhead.max_wait), (7, Duration::ZERO));
        let faults = &config.services["payment"].faults;
        assert_eq!((faults.delay.to_string(), faults.concurrency), ("400ms..620ms".to_owned(), 30));
        assert!((faults.fail - 0.25).abs() < f64::EPSILON);

        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("jumun.toml");
        let toml = "[order.calls.payment.breaker]\nwindow = 50\nfailure_rate = 0.1\n[payment.faults]\ncpu = \"5ms\"\n";
        fs::write(&file, toml).expect("a file");
        let sources = Sources { file: Some(file), ..sources(&[]) };
        let config = load(&food_delivery::system(), &sources).expect("a configuration");
        assert_eq!(config.services["order"].calls["payment"].breaker.window, Window::Calls(50));
        assert_eq!(config.services["payment"].faults.cpu, Duration::from_millis(5));
    }

    #[test]
    fn how_much_is_taken_at_once_is_by_default_what_a_service_can_do_in_time() {
        let config = with(&[], &[]).expect("a configuration");
        let usual = AdmissionConfig {
            max_concurrent: 1_024,
            max_waiting: 1_024,
            max_wait: Duration::from_millis(250),
            max_reads: 32,
            shed: Shed::New,
        };
        assert!(config.services.values().all(|service| service.admission == usual));
        let GatewayConfig { rate, trusted_proxies, max_concurrent_total, .. } = config.gateway;
        assert_eq!((rate, trusted_proxies, max_concurrent_total), (RateConfig::default(), vec![], 4_096));

        let environment = [("JUMUN__ORDER__SHED", "all"), ("JUMUN__GATEWAY__RATE__PER_SECOND", "5")];
        let set = [
            ("order.admission.max_wait", "1s"),
            ("order.admission.max_waiting", "0"),
            ("gateway.rate.burst", "20"),
            ("gateway.trusted_proxies", "10.0.0.0/8, ::1"),
        ];
        let config = with(&environment, &set).expect("a configuration");
        let expected = AdmissionConfig { max_waiting: 0, max_wait: Duration::from_secs(1), shed: Shed::All, ..usual };
        assert_eq!(config.services["order"].admission, expected);
        assert_eq!(config.gateway.rate, RateConfig { per_second: 5, burst: 20 });
        let proxies: Vec<_> = config.gateway.trusted_proxies.iter().map(ToString::to_string).collect();
        assert_eq!(proxies, ["10.0.0.0/8", "::1"]);
    }

    #[test]
    fn an_offset_moves_all_usual_ports_and_no_others() {
        let config = with(&[], &[("port_offset", "100"), ("store.listen", "127.0.0.1:9000")]).expect("a configuration");
        let order = &config.services["order"];
        assert_eq!(order.listen.port(), 8181);
        assert_eq!(order.calls["payment"].url.to_string(), "http://127.0.0.1:8184/");
        assert_eq!(config.gateway.listen.port(), 8188);
        assert_eq!(config.services["store"].listen.port(), 9000);
    }

    #[test]
    fn the_gateway_finds_services_where_they_listen_unless_it_is_told_otherwise() {
        let set = [
            ("payment.listen", "127.0.0.1:9000"),
            ("gateway.upstreams.order", "http://a:1, http://b:2"),
            ("gateway.cors_origins", "https://shop.example,http://localhost:3000"),
        ];
        let gateway = with(&[], &set).expect("a configuration").gateway;
        let urls = |service: &str| gateway.upstreams[service].iter().map(Uri::to_string).collect::<Vec<_>>();
        assert_eq!(urls("payment"), ["http://127.0.0.1:9000/"]);
        assert_eq!(urls("store"), ["http://127.0.0.1:8082/"]);
        assert_eq!(urls("order"), ["http://a:1/", "http://b:2/"]);
        assert_eq!(gateway.cors_origins, ["https://shop.example", "http://localhost:3000"]);
        assert_eq!(with(&[], &[]).expect("a configuration").gateway.cors_origins, Vec::<String>::new());
    }

    #[test]
    fn flags_win_over_the_environment() {
        let time_limit = |config: Config| config.services["order"].calls["payment"].time_limit;
        let environment = [("JUMUN__ORDER__CALLS__PAYMENT__TIME_LIMIT", "610ms")];
        assert_eq!(time_limit(with(&environment, &[]).expect("a configuration")), Duration::from_millis(610));
        let set = [("order.calls.payment.time_limit", "2s")];
        assert_eq!(time_limit(with(&environment, &set).expect("a configuration")), Duration::from_secs(2));
    }

    #[test]
    fn the_business_gets_its_settings() {
        let config = with(&[("JUMUN__PAYMENT__DECLINE_OVER", "5000")], &[]).expect("a configuration");
        let model = food_delivery::system();
        let payment = model.service("payment").expect("a service");
        assert!(payment.behaviour(&config.services["payment"].settings).is_ok());
    }

    #[test]
    fn spans_go_where_it_is_configured_or_where_the_environment_says() {
        let to = |environment: &[_], set: &[_]| with(environment, set).expect("a configuration").telemetry;
        let otlp = |endpoint: &str, sample| Some(OtlpConfig { endpoint: endpoint.into(), sample });
        let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4318/");
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4318/here");
        let share = ("OTEL_TRACES_SAMPLER_ARG", "0.5");
        assert_eq!(to(&[], &[]), None);
        assert_eq!(to(&[share], &[("telemetry.sample", "0.2")]), None);
        assert_eq!(to(&[all], &[]), otlp("http://all:4318/v1/traces", 0.01));
        assert_eq!(to(&[all, traces, share], &[]), otlp("http://traces:4318/here", 0.5));
        assert_eq!(to(&[all, ("OTEL_SDK_DISABLED", "true")], &[]), None);
        let set = [("telemetry.otlp", "http://mine:4318"), ("telemetry.sample", "1")];
        assert_eq!(to(&[all, traces, share], &set), otlp("http://mine:4318/v1/traces", 1.0));
        let set = [("telemetry.otlp", "http://mine:4318"), ("telemetry.sample", "0.25")];
        assert_eq!(to(&[], &set), otlp("http://mine:4318/v1/traces", 0.25));
    }

    #[test]
    fn the_log_is_kept_for_ever_or_for_a_while() {
        let kept = |set: &[_]| with(&[], set).expect("a configuration").retention;
        assert_eq!(kept(&[]), None);
        assert_eq!(kept(&[("retention", "")]), None);
        assert_eq!(kept(&[("retention", "7d")]), Some(Duration::from_hours(7 * 24)));
        assert_eq!(kept(&[("retention", "1d 12h")]), Some(Duration::from_hours(36)));
        assert_eq!(kept(&[("retention", "1500ms")]), Some(Duration::from_millis(1_500)));
        let told = explained(&sources(&[("retention", "2h")]));
        assert_eq!(told["retention"], (json!("7200s"), Origin::Flag));
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (key, value) in [
            ("nonsense", "1"),
            ("order.nonsense", "1"),
            ("order.calls.nonsense.url", "http://h:1"),
            ("order.calls.payment.nonsense", "1"),
            ("order.calls.payment.url", "ftp://h"),
            ("order.calls.payment.time_limit", "soon"),
            ("order.calls.payment.time_limit", "0s"),
            ("order.calls.payment.time_limit", "25h"),
            ("order.calls.payment.retry", "1"),
            ("order.calls.payment.breaker.nonsense", "1"),
            ("order.calls.payment.breaker.failure_rate", "0"),
            ("order.calls.payment.breaker.wait_open", "soon"),
            ("order.calls.payment.bulkhead.nonsense", "1"),
            ("order.calls.payment.bulkhead.max_concurrent", "0"),
            ("order.admission.nonsense", "1"),
            ("order.admission.max_concurrent", "0"),
            ("order.admission.max_reads", "0"),
            ("order.admission.max_wait", "soon"),
            ("order.shed", "some"),
            ("payment.faults.nonsense", "1"),
            ("payment.faults.fail", "1.5"),
            ("payment.faults.delay", "620ms..400ms"),
            ("payment.faults.cpu", "1h"),
            ("payment.faults.start_delay", "soon"),
            ("order.listen", "everywhere"),
            ("order.database", "oracle://x"),
            ("unavailable_status", "200"),
            ("bus", "carrier-pigeon://coop"),
            ("port_offset", "60000"),
            ("port_offset", "-1"),
            ("retention", "7"),
            ("retention", "0s"),
            ("retention", "-1d"),
            ("retention", "1 month"),
            ("telemetry.nonsense", "1"),
            ("telemetry.otlp", "https://host:4318"),
            ("telemetry.sample", "2"),
            ("gateway.nonsense", "1"),
            ("gateway.listen", "everywhere"),
            ("gateway.cors_origins", "shop.example"),
            ("gateway.cors_origins", "https://shop.example/"),
            ("gateway.upstreams.nonsense", "http://h:1"),
            ("gateway.upstreams.order", "h:1"),
            ("gateway.upstreams.order", ""),
            ("gateway.time_limit", "0s"),
            ("gateway.max_concurrent", "0"),
            ("gateway.max_concurrent_total", "0"),
            ("gateway.rate.nonsense", "1"),
            ("gateway.rate.per_second", "-1"),
            ("gateway.rate.burst", "5"),
            ("gateway.trusted_proxies", "proxy.example"),
        ] {
            let error = with(&[], &[(key, value)]).expect_err(key).to_string();
            let last = key.rsplit('.').next().unwrap_or(key);
            assert!(error.contains("nonsense") || error.contains(last), "{key} = {value}: {error}");
        }
    }

    fn sources(set: &[(&str, &str)]) -> Sources {
        let set = set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Sources { environment: Some(HashMap::new()), set, ..Sources::default() }
    }

    fn explained(sources: &Sources) -> BTreeMap<String, (Value, Origin)> {
        let entries = explain(&food_delivery::system(), sources).expect("a configuration");
        entries.into_iter().map(|Entry { key, value, origin }| (key, (value, origin))).collect()
    }

    #[test]
    fn every_key_is_told_with_what_holds_and_who_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("jumun.toml");
        let toml = "[order]\nlisten = \"127.0.0.1:1\"\ndatabase = \"sqlite://a\"\n[gateway]\ncors_origins = [\"*\"]\n";
        fs::write(&file, toml).expect("a file");
        let mounted = folder.path().join("mounted");
        fs::create_dir_all(mounted.join("..data")).expect("a folder");
        fs::write(mounted.join("order.database"), "sqlite://b\n").expect("a file");
        fs::write(mounted.join("order.calls.payment.time_limit"), "1s\n").expect("a file");
        fs::write(mounted.join("payment.decline_over"), "5000\n").expect("a file");
        let mut sources = sources(&[("store.confirm", "manual")]);
        let environment = ("JUMUN__ORDER__CALLS__PAYMENT__TIME_LIMIT".to_owned(), "610ms".to_owned());
        sources.environment = Some(HashMap::from([environment]));
        (sources.file, sources.folder) = (Some(file.clone()), Some(mounted.clone()));

        let explained = explained(&sources);
        for (key, value, origin) in [
            ("order.listen", json!("127.0.0.1:1"), Origin::File(file.clone())),
            ("gateway.cors_origins", json!(["*"]), Origin::File(file)),
            ("order.database", json!("sqlite://b"), Origin::Folder(mounted.clone())),
            ("payment.decline_over", json!(5000), Origin::Folder(mounted)),
            ("order.calls.payment.time_limit", json!("610ms"), Origin::Environment),
            ("store.confirm", json!("manual"), Origin::Flag),
            ("gateway.time_limit", json!("10s"), Origin::Default),
            ("gateway.upstreams.order", json!(["http://127.0.0.1:1"]), Origin::Default),
            ("delivery.listen", json!("127.0.0.1:8083"), Origin::Default),
            ("port_offset", json!(0), Origin::Default),
        ] {
            assert_eq!(explained.get(key), Some(&(value, origin)), "{key}");
        }
    }

    #[test]
    fn what_is_told_can_be_set() {
        let model = food_delivery::system();
        let plain = sources(&[]);
        let told = explain(&model, &plain).expect("a configuration");
        assert!(told.iter().all(|entry| entry.origin == Origin::Default));
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
            value => value.to_string(),
        };
        let set: Vec<_> = told.iter().map(|entry| (entry.key.clone(), text(&entry.value))).collect();
        let again = Sources { set, ..plain.clone() };
        let mut config = load(&model, &again).expect("a configuration");
        for (name, service) in &mut config.services {
            let defaults = model.service(name).expect("a service").default_settings();
            assert_eq!(&std::mem::take(&mut service.settings), defaults);
        }
        assert_eq!(config, load(&model, &plain).expect("a configuration"));
        let again = explain(&model, &again).expect("a configuration");
        assert!(again.iter().all(|entry| entry.origin == Origin::Flag), "{again:?}");
    }

    #[test]
    fn files_that_cannot_be_read_are_named() {
        let model = food_delivery::system();
        let folder = tempfile::tempdir().expect("a folder");
        let mut sources = sources(&[]);
        sources.folder = Some(folder.path().join("missing"));
        assert!(load(&model, &sources).expect_err("no folder").to_string().contains("missing"));
        sources.folder = Some(folder.path().to_owned());
        let (unknown, not_text, too_long) = (b"1".to_vec(), b"\xff".to_vec(), vec![b'1'; 70_000]);
        for (name, value) in [("order.nonsense", unknown), ("order.listen", not_text), ("order.listen", too_long)] {
            fs::write(folder.path().join(name), value).expect("a file");
            let error = load(&model, &sources).expect_err(name).to_string();
            assert!(error.contains(name), "{error}");
            fs::remove_file(folder.path().join(name)).expect("a file");
        }
        fs::create_dir(folder.path().join("order.listen")).expect("a folder");
        assert!(load(&model, &sources).is_err(), "a folder is no value");
    }

    #[test]
    fn secrets_are_not_told() {
        for key in ["order.password", "order.database_password", "api_token", "mail.api_key"] {
            assert_eq!(without_secret(key, json!("hush")), json!("***"), "{key}");
        }
        assert_eq!(without_secret("password.listen", json!("x")), json!("x"));
    }
}

//! Configuration: defaults, then `jumun.toml`, then the environment (`JUMUN__ORDER__CALLS__PAYMENT__TIME_LIMIT=610ms`),
//! then flags. A key that nobody knows is an error.

use crate::{
    limits::{BODY_TIME_LIMIT, GATEWAY_TIME_LIMIT, HEAD_TIME_LIMIT, TIME_LIMIT, UPSTREAM_REQUESTS_MAX, UPSTREAMS_MAX},
    telemetry::OtlpConfig,
};
use config::{Environment, File, FileFormat};
use http::Uri;
use jiff::SignedDuration;
use jumun::{ServiceModel, SystemModel};
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

/// Where configuration comes from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// A file that must be there; otherwise `jumun.toml` in the current folder, if it is there.
    pub file: Option<PathBuf>,
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
    /// The HTTP status of answers that say *not now*.
    pub unavailable_status: u16,
    /// The folder of all data of this system.
    pub folder: PathBuf,
    /// The folder of the bus.
    pub bus: PathBuf,
    /// The gateway.
    pub gateway: GatewayConfig,
    /// Where spans go, if they go anywhere.
    pub telemetry: Option<OtlpConfig>,
    /// By service.
    pub services: BTreeMap<String, ServiceConfig>,
}

/// The configuration of the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The web pages that may call it from a browser, `https://shop.example`, or `*` for all. None by default.
    pub cors_origins: Vec<String>,
    /// Where each service is, once or more often.
    pub upstreams: BTreeMap<String, Vec<Uri>>,
    /// How long the answer of a service is waited for, the repeat of a broken request included.
    pub time_limit: Duration,
    /// How long a client may take to send the head of a request; also how long a connection may be idle.
    pub head_time_limit: Duration,
    /// How long a client may take to send the body of a request.
    pub body_time_limit: Duration,
    /// Requests to one service at once. One more is answered 503 at once.
    pub max_concurrent: u32,
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
}

impl ConfigError {
    /// A code that stays the same over releases.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "configuration-unreadable",
            Self::UnknownKey(_) => "configuration-unknown-key",
            Self::Invalid { .. } => "configuration-invalid",
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
        }
    }
}

/// The name of the gateway among the processes of a system; no service may have it.
pub const GATEWAY: &str = "gateway";

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
}

const SERVICE_KEYS: [&str; 3] = ["listen", "database", "calls"];

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct CallKeys {
    url: Option<String>,
    #[serde(deserialize_with = "duration")]
    time_limit: Option<Duration>,
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
    let mut given = read(sources)?;
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
    let mut config = Config { unavailable_status: 503, folder, bus, gateway, telemetry, services: BTreeMap::new() };
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

fn read(sources: &Sources) -> Result<Map<String, Value>, ConfigError> {
    let (path, is_required) = match &sources.file {
        Some(path) => (path.as_path(), true),
        None => (Path::new("jumun.toml"), false),
    };
    let environment = Environment::with_prefix("JUMUN").prefix_separator("__").separator("__").try_parsing(true);
    let mut builder = config::Config::builder()
        .add_source(File::from(path).format(FileFormat::Toml).required(is_required))
        .add_source(environment.source(sources.environment.clone()));
    for (key, value) in &sources.set {
        let value: config::Value = match (value.parse::<i64>(), value.parse::<f64>(), value.parse::<bool>()) {
            (Ok(value), ..) => value.into(),
            (_, Ok(value), _) => value.into(),
            (.., Ok(value)) => value.into(),
            _ => value.as_str().into(),
        };
        builder = builder.set_override(key, value)?;
    }
    Ok(builder.build()?.try_deserialize()?)
}

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
    if max_concurrent == 0 {
        return Err(invalid("max_concurrent", "must be 1 or more".into()));
    }
    Ok(GatewayConfig {
        listen: listen(GATEWAY, keys.listen, GATEWAY_PORT, offset)?,
        cors_origins,
        upstreams,
        time_limit: keys.time_limit.unwrap_or(GATEWAY_TIME_LIMIT),
        head_time_limit: keys.head_time_limit.unwrap_or(HEAD_TIME_LIMIT),
        body_time_limit: keys.body_time_limit.unwrap_or(BODY_TIME_LIMIT),
        max_concurrent,
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

/// Where spans go: what is configured, or else what the environment says by the variables of OpenTelemetry (*OpenTelemetry
/// Environment Variable Specification*).
fn telemetry_config(
    table: Option<Value>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Option<OtlpConfig>, ConfigError> {
    let invalid = |key: &str, why: String| ConfigError::Invalid { key: key.to_owned(), why };
    let keys: TelemetryKeys = serde_path_to_error::deserialize(table.unwrap_or_else(|| Value::Object(Map::new())))
        .map_err(|error| invalid(&format!("telemetry.{}", error.path()), error.inner().to_string()))?;
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
    let mut calls = BTreeMap::new();
    for ask in &service.asks {
        calls.insert(ask.service.to_owned(), CallConfig { url: Uri::default(), time_limit: TIME_LIMIT });
    }
    for (callee, given) in keys.calls {
        let Some(call) = calls.get_mut(&callee) else {
            return Err(ConfigError::UnknownKey(format!("{}.calls.{callee}", service.name)));
        };
        if let Some(url) = given.url {
            call.url = address(&url).map_err(|why| invalid(&format!("calls.{callee}.url"), why))?;
        }
        if let Some(time_limit) = given.time_limit {
            call.time_limit = time_limit;
        }
    }
    let listen = listen(service.name, keys.listen, service.port, offset)?;
    Ok(ServiceConfig { listen, database, calls, settings })
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
        load(&food_delivery::system().into_model(), &sources)
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
        let model = food_delivery::system().into_model();
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
    fn what_cannot_be_is_named() {
        for (key, value) in [
            ("nonsense", "1"),
            ("order.nonsense", "1"),
            ("order.calls.nonsense.url", "http://h:1"),
            ("order.calls.payment.nonsense", "1"),
            ("order.calls.payment.url", "ftp://h"),
            ("order.calls.payment.time_limit", "soon"),
            ("order.calls.payment.time_limit", "0s"),
            ("order.listen", "everywhere"),
            ("order.database", "oracle://x"),
            ("unavailable_status", "200"),
            ("bus", "carrier-pigeon://coop"),
            ("port_offset", "60000"),
            ("port_offset", "-1"),
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
        ] {
            let error = with(&[], &[(key, value)]).expect_err(key).to_string();
            let last = key.rsplit('.').next().unwrap_or(key);
            assert!(error.contains("nonsense") || error.contains(last), "{key} = {value}: {error}");
        }
    }
}

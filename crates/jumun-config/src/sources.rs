//! Where values come from: defaults, those of the system among them, then `jumun.toml`, then a folder of files that are named
//! as their keys, then the environment (`JUMUN__ORDER__CALLS__PAYMENT__TIME_LIMIT=610ms`), then flags. The later source wins.

use crate::{Invalid, limits::VALUE_MAX_BYTES};
use config::{File, FileFormat};
use serde_json::{Map, Value};
use std::{
    collections::{HashMap, HashSet},
    env,
    ffi::OsString,
    fmt, fs,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

/// The file that is read where none is named.
const FILE: &str = "jumun.toml";

/// How a variable of ours begins.
const VARIABLE_PREFIX: &str = "JUMUN__";

/// The variables that begin with `JUMUN_` and set no key: the levels of the log, and those of builds with crash points.
const OTHER_VARIABLES: [&str; 5] = ["JUMUN_LOG", "JUMUN_CRASH_AT", "JUMUN_STALL_AT", "JUMUN_KILLS", "JUMUN_SEED"];

/// How the variables of tests and benchmarks begin.
const TEST_PREFIXES: [&str; 2] = ["JUMUN_TEST_", "JUMUN_BENCH_"];

/// The sources of configuration.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// A file that must be there; otherwise `jumun.toml` in the current folder, if it is there.
    pub file: Option<PathBuf>,
    /// A folder with a file for each value, named as its key: as Kubernetes mounts configuration and secrets.
    pub folder: Option<PathBuf>,
    /// The folder of all data; `./data` by default. It is a flag, and no key.
    pub data: Option<PathBuf>,
    /// Keys set by flags: `payment.decline_over` and its value. Each key is set once.
    pub set: Vec<(String, String)>,
    /// The environment; that of the process where it is `None`.
    pub environment: Option<HashMap<String, String>>,
}

/// The source that set a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// No source sets the key: its default holds.
    Default,
    /// No source sets the key, and the system has another default than most.
    System,
    /// The file of configuration.
    File(PathBuf),
    /// The folder of values.
    Folder(PathBuf),
    /// A variable of the environment.
    Environment,
    /// A flag of the command.
    Flag,
}

/// A key with its value, as it may be written into `jumun.toml`, and with the source that set it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// `order.calls.payment.time_limit`
    pub key: String,
    /// The value in effect. Secrets are redacted.
    pub value: Value,
    /// The source that set it.
    pub origin: Origin,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file or a variable cannot be read.
    #[error("the configuration cannot be read: {0}")]
    Unreadable(#[from] config::ConfigError),
    /// No component declares this key.
    #[error("the key `{0}` is unknown")]
    UnknownKey(String),
    /// A value that its key cannot have.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

jumun_text::explained! { ConfigError {
    Self::Unreadable(_) => "configuration-unreadable", "Correct the file, or name another one with --config.";
    Self::UnknownKey(_) => "configuration-unknown-key",
        "Correct its spelling in jumun.toml, the environment (JUMUN__…) or --set; or delete it.";
    Self::Invalid(_) => "configuration-invalid",
        "Correct the value in jumun.toml, the environment (JUMUN__…) or --set.";
} }

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::System => f.write_str("default of the system"),
            Self::File(path) | Self::Folder(path) => path.display().fmt(f),
            Self::Environment => f.write_str("environment"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// What the sources say, the weakest first.
#[derive(Debug, Clone)]
pub struct Layers(Vec<Layer>);

/// What one source says.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    origin: Origin,
    values: config::Config,
    /// The keys that it sets.
    keys: Vec<String>,
}

impl Sources {
    /// Reads all sources.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`] names the file or the value.
    pub fn layers(&self) -> Result<Layers, ConfigError> {
        let (path, is_required) = match &self.file {
            Some(path) => (path.as_path(), true),
            None => (Path::new(FILE), false),
        };
        let mut layers = vec![Layer::new(Origin::File(path.to_owned()), file(path, is_required)?)?];
        if let Some(folder) = &self.folder {
            layers.push(Layer::new(Origin::Folder(folder.clone()), mounted(folder)?)?);
        }
        layers.push(Layer::new(Origin::Environment, keys_and_values(&self.variables()?, "in the environment")?)?);
        layers.push(Layer::new(Origin::Flag, keys_and_values(&self.set, "by flags")?)?);
        Ok(Layers(layers))
    }

    /// A variable of the environment, by its full name; None where it is not set.
    ///
    /// # Errors
    /// If its value is not Unicode.
    pub fn variable(&self, name: &str) -> Result<Option<String>, Invalid> {
        match &self.environment {
            Some(environment) => Ok(environment.get(name).cloned()),
            None => match env::var(name) {
                Ok(value) => Ok(Some(value)),
                Err(env::VarError::NotPresent) => Ok(None),
                Err(env::VarError::NotUnicode(_)) => Err(Invalid::new(name, "its value is not Unicode")),
            },
        }
    }

    /// The keys that variables of the environment set: `JUMUN__ORDER__LISTEN` is `order.listen`.
    fn variables(&self) -> Result<Vec<(String, String)>, ConfigError> {
        let variables: Vec<(String, OsString)> = match &self.environment {
            Some(given) => given.iter().map(|(name, value)| (name.clone(), value.into())).collect(),
            // A name that is not Unicode is not one of ours.
            None => env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect(),
        };
        if let Some((name, _)) = variables.iter().find(|(name, _)| resembles_ours(name)) {
            return Err(ConfigError::UnknownKey(name.clone()));
        }
        let key = |name: &str| Some(name.strip_prefix(VARIABLE_PREFIX)?.to_lowercase().replace("__", "."));
        variables
            .into_iter()
            .filter_map(|(name, value)| Some((key(&name)?, value)))
            .map(|(key, value)| match value.into_string() {
                Ok(value) => Ok((key, value)),
                Err(_) => Err(Invalid::new(key, "its variable is not Unicode").into()),
            })
            .collect()
    }
}

impl Layers {
    /// Adds the defaults of the system, which every source overrides.
    ///
    /// # Errors
    /// [`ConfigError`] where a key occurs twice.
    pub fn over(mut self, defaults: &[(String, String)]) -> Result<Self, ConfigError> {
        self.0.insert(0, Layer::new(Origin::System, keys_and_values(defaults, "by the system")?)?);
        Ok(self)
    }

    /// Each source, the weakest first.
    pub(crate) fn layers(&mut self) -> impl Iterator<Item = &mut Layer> {
        self.0.iter_mut()
    }

    /// All values in one table.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`] where sources contradict each other in shape, as a value and a table of the same
    /// name do.
    pub fn merged(&self) -> Result<Map<String, Value>, ConfigError> {
        let mut builder = config::Config::builder();
        for layer in &self.0 {
            builder = builder.add_source(layer.values.clone());
        }
        Ok(builder.build()?.try_deserialize()?)
    }

    /// The strongest source that sets this key, or a key below it.
    pub fn origin(&self, key: &str) -> Origin {
        let below = format!("{key}.");
        let sets_it = |layer: &&Layer| layer.keys.iter().any(|given| given == key || given.starts_with(&below));
        self.0.iter().rev().find(sets_it).map_or(Origin::Default, |layer| layer.origin.clone())
    }

    /// Adds to each key and value in effect the source that set it. Secrets must be redacted already; see
    /// [`flatten`](crate::flatten).
    pub fn explain(&self, values: impl IntoIterator<Item = (String, Value)>) -> Vec<Entry> {
        let explained = |(key, value): (String, Value)| Entry { origin: self.origin(&key), key, value };
        values.into_iter().map(explained).collect()
    }
}

impl Layer {
    fn new(origin: Origin, values: config::Config) -> Result<Self, ConfigError> {
        let mut keys = Vec::new();
        keys_of("", &Value::Object(values.clone().try_deserialize()?), &mut keys);
        Ok(Self { origin, values, keys })
    }

    /// Whether it is the environment.
    pub(crate) fn is_environment(&self) -> bool {
        self.origin == Origin::Environment
    }

    /// What it says, in one table.
    pub(crate) fn table(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.values.clone().try_deserialize()?)
    }

    /// Says this instead.
    pub(crate) fn replace(&mut self, table: &Map<String, Value>) -> Result<(), ConfigError> {
        *self = Self::new(self.origin.clone(), config::Config::try_from(table)?)?;
        Ok(())
    }
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

/// Reads the file of configuration. One that need not be there may be missing, and nothing else: a file that cannot be read
/// would be ignored in silence.
fn file(path: &Path, is_required: bool) -> Result<config::Config, ConfigError> {
    let is_missing = |path: &Path| fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound);
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound && !is_required && is_missing(path) => String::new(),
        Err(error) => return Err(unreadable(path, &error)),
    };
    let read = config::Config::builder().add_source(File::from_str(&text, FileFormat::Toml)).build();
    read.map_err(|error| match error {
        // A text has no name of its own.
        config::ConfigError::FileParse { cause, .. } => {
            config::ConfigError::FileParse { uri: Some(path.display().to_string()), cause }.into()
        }
        error => error.into(),
    })
}

fn unreadable(path: &Path, why: &dyn fmt::Display) -> ConfigError {
    ConfigError::Unreadable(config::ConfigError::Message(format!("{}: {why}", path.display())))
}

/// Whether a variable looks like one of ours and is none, as `JUMUN_PORT_OFFSET` does for `JUMUN__PORT_OFFSET`. Kubernetes
/// sets variables of its own for a service that is called `jumun` or `jumun-gateway`: `JUMUN_SERVICE_HOST`, `JUMUN_PORT`,
/// `JUMUN_PORT_8088_TCP_ADDR`.
fn resembles_ours(name: &str) -> bool {
    let is_known = name.starts_with(VARIABLE_PREFIX)
        || OTHER_VARIABLES.contains(&name)
        || TEST_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    let is_of_kubernetes = ["_SERVICE_HOST", "_SERVICE_PORT"].iter().any(|word| name.contains(word))
        || name.ends_with("_PORT")
        || name.split_once("_PORT_").is_some_and(|(_, port)| port.starts_with(|first: char| first.is_ascii_digit()));
    name.starts_with("JUMUN_") && !is_known && !is_of_kubernetes
}

/// Reads texts as what they look like: a number, a truth value, or a text.
fn keys_and_values(set: &[(String, String)], place: &str) -> Result<config::Config, ConfigError> {
    let mut builder = config::Config::builder();
    let mut seen = HashSet::new();
    for (key, value) in set {
        if !seen.insert(key.to_lowercase()) {
            return Err(Invalid::new(key, format!("it is set twice {place}")).into());
        }
        // A number would lose the zeros of a text such as 0000.
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

/// Reads a folder of values. Kubernetes keeps files of its own there, which begin with a dot.
fn mounted(folder: &Path) -> Result<config::Config, ConfigError> {
    let mut set = Vec::new();
    for file in fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let path = file.map_err(|error| unreadable(folder, &error))?.path();
        let key = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if key.starts_with('.') {
            continue;
        }
        let mut value = String::new();
        let file = fs::File::open(&path).map_err(|error| unreadable(&path, &error))?;
        let read = file.take(VALUE_MAX_BYTES + 1).read_to_string(&mut value);
        let bytes = read.map_err(|error| unreadable(&path, &error))?;
        if bytes as u64 > VALUE_MAX_BYTES {
            return Err(unreadable(&path, &format!("a value has at most {VALUE_MAX_BYTES} bytes")));
        }
        set.push((key, value.trim().to_owned()));
    }
    keys_and_values(&set, "in the folder of values")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sources(environment: &[(&str, &str)], set: &[(&str, &str)]) -> Sources {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Sources {
            environment: Some(environment.iter().map(own).collect()),
            set: set.iter().map(own).collect(),
            ..Sources::default()
        }
    }

    #[test]
    fn only_what_is_written_as_a_number_is_one() {
        let given =
            [("zeros", "0000"), ("card", "0123"), ("none", "0"), ("share", "0.5"), ("many", "10"), ("on", "true")];
        let read = sources(&[], &given).layers().and_then(|layers| layers.merged()).expect("values");
        let expected = json!({ "zeros": "0000", "card": "0123", "none": 0, "share": 0.5, "many": 10, "on": true });
        assert_eq!(Value::Object(read), expected);
    }

    #[test]
    fn a_key_is_set_once_by_each_source() {
        let twice =
            sources(&[], &[("store.confirm", "manual"), ("Store.Confirm", "never")]).layers().expect_err("twice");
        assert_eq!(twice.to_string(), "`Store.Confirm`: it is set twice by flags");
        let variables = [("JUMUN__STORE__CONFIRM", "manual"), ("JUMUN__store__CONFIRM", "never")];
        let twice = sources(&variables, &[]).layers().expect_err("twice");
        assert_eq!(twice.to_string(), "`store.confirm`: it is set twice in the environment");
        assert!(sources(&variables[..1], &[("store.confirm", "never")]).layers().is_ok());
    }

    #[test]
    fn the_later_source_wins_and_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, mounted) = (folder.path().join("jumun.toml"), folder.path().join("mounted"));
        let toml = "[order]\nlisten = \"127.0.0.1:1\"\ndatabase = \"a\"\n[order.calls.payment]\ntime_limit = \"9s\"\n";
        fs::write(&file, toml).expect("a file");
        fs::create_dir_all(mounted.join("..data")).expect("a folder");
        fs::write(mounted.join("order.database"), "b\n").expect("a file");
        fs::write(mounted.join("order.calls.payment.time_limit"), "1s\n").expect("a file");
        let environment =
            [("JUMUN__ORDER__CALLS__PAYMENT__TIME_LIMIT", "610ms"), ("JUMUN__STORE__CONFIRM", "auto"), ("OTHER", "1")];
        let mut sources = sources(&environment, &[("store.confirm", "never")]);
        (sources.file, sources.folder) = (Some(file.clone()), Some(mounted.clone()));
        let layers = sources.layers().expect("layers");
        let expected = json!({
            "order": { "listen": "127.0.0.1:1", "database": "b", "calls": { "payment": { "time_limit": "610ms" } } },
            "store": { "confirm": "never" },
        });
        assert_eq!(Value::Object(layers.merged().expect("a table")), expected);
        let keys = [
            "order.listen",
            "order.database",
            "order.calls.payment.time_limit",
            "order.calls",
            "store.confirm",
            "store.x",
        ];
        let entries = layers.explain(keys.map(|key| (key.to_owned(), Value::Null)));
        let origins: Vec<_> = entries.into_iter().map(|entry| entry.origin).collect();
        let file = Origin::File(file);
        let expected =
            [file, Origin::Folder(mounted), Origin::Environment, Origin::Environment, Origin::Flag, Origin::Default];
        assert_eq!(origins, expected);
        assert_eq!(sources.variable("OTHER"), Ok(Some("1".to_owned())));
        assert_eq!(sources.variable("PATH"), Ok(None));
    }

    #[test]
    fn a_variable_that_only_resembles_ours_is_unknown() {
        for name in ["JUMUN_PORT_OFFSET", "JUMUN_ORDER__LISTEN", "JUMUN_LOGS", "JUMUN_STORE_CONFIRM", "JUMUN_REPORT"] {
            let error = sources(&[(name, "1")], &[]).layers().expect_err(name);
            assert_eq!(error.to_string(), format!("the key `{name}` is unknown"));
        }
        for name in [
            "JUMUN_LOG",
            "JUMUN_CRASH_AT",
            "JUMUN_TEST_SMALL_DISK",
            "JUMUN__ORDER__LISTEN",
            "JUMUN",
            "JUMUNX_A",
            "JUMUN_SERVICE_HOST",
            "JUMUN_SERVICE_PORT_HTTP",
            "JUMUN_PORT",
            "JUMUN_PORT_8088_TCP_ADDR",
            "JUMUN_GATEWAY_SERVICE_HOST",
            "JUMUN_GATEWAY_PORT",
            "JUMUN_GATEWAY_PORT_8088_TCP",
        ] {
            assert!(sources(&[(name, "1")], &[]).layers().is_ok(), "{name}");
        }
    }

    #[test]
    fn only_a_file_that_is_not_there_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("jumun.toml");
        let keys = |path: &Path| file(path, false)?.try_deserialize::<Map<String, Value>>().map_err(ConfigError::from);
        assert_eq!(keys(&path).expect("no key"), Map::new());
        // Neither a file of another name stands in for it.
        fs::write(folder.path().join("jumun.toml.toml"), "port_offset = 1").expect("a file");
        fs::write(folder.path().join("other.toml"), "port_offset = 1").expect("a file");
        assert_eq!(keys(&path).expect("no key"), Map::new());
        assert!(file(&folder.path().join("other"), true).is_err());

        let refused = |path: &Path| {
            let error = file(path, false).expect_err("unreadable");
            assert_eq!(error.code(), "configuration-unreadable");
            assert!(error.to_string().contains("jumun.toml"), "{error}");
        };
        std::os::unix::fs::symlink(folder.path().join("nothing"), &path).expect("a link");
        refused(&path);
        fs::remove_file(&path).expect("a link");
        fs::create_dir(&path).expect("a folder");
        refused(&path);
        fs::remove_dir(&path).expect("a folder");
        for unfit in [&b"\xff"[..], b"[payment\n"] {
            fs::write(&path, unfit).expect("a file");
            refused(&path);
        }
    }

    #[test]
    fn files_that_cannot_be_read_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut sources = sources(&[], &[]);
        sources.file = Some(folder.path().join("missing.toml"));
        let error = sources.layers().expect_err("no file");
        assert!(error.to_string().contains("missing.toml") && error.code() == "configuration-unreadable", "{error}");
        sources.file = None;
        sources.folder = Some(folder.path().join("missing"));
        assert!(sources.layers().expect_err("no folder").to_string().contains("missing"));
        sources.folder = Some(folder.path().to_owned());
        let too_long = vec![b'1'; usize::try_from(VALUE_MAX_BYTES).expect("a size") + 1];
        for value in [b"\xff".to_vec(), too_long] {
            let path = folder.path().join("order.listen");
            fs::write(&path, value).expect("a file");
            let error = sources.layers().expect_err("no value").to_string();
            assert!(error.contains("order.listen"), "{error}");
            fs::remove_file(path).expect("a file");
        }
        fs::create_dir(folder.path().join("order.listen")).expect("a folder");
        assert!(sources.layers().is_err(), "a folder is not a value");
    }

    #[test]
    fn every_error_has_a_remedy() {
        let invalid: ConfigError = Invalid::new("window", "must be more").below("breaker").into();
        assert_eq!(invalid.to_string(), "`breaker.window`: must be more");
        for (error, code) in [
            (invalid, "configuration-invalid"),
            (ConfigError::UnknownKey("x".into()), "configuration-unknown-key"),
            (config::ConfigError::Message("x".into()).into(), "configuration-unreadable"),
        ] {
            assert_eq!(error.code(), code);
            assert!(!error.remedy().is_empty());
        }
    }
}

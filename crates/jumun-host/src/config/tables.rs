//! Tables of configuration, and the full keys of what is wrong in them.

use jumun_config::{ConfigError, Invalid, Section, without_password};
use serde_json::{Map, Value};
use std::net::SocketAddr;

/// The address of a process for this machine only: its usual port, moved up by the offset.
pub(super) fn default_listen(name: &str, port: u16, offset: u16) -> Result<SocketAddr, ConfigError> {
    let too_high = || format!("{name} would listen on port {port} + {offset}, and there is none above 65535");
    let port = port.checked_add(offset).ok_or_else(|| Invalid::new("port_offset", too_high()))?;
    Ok(SocketAddr::from(([127, 0, 0, 1], port)))
}

/// Takes a table out of another one; an empty one, where it is not there.
pub(super) fn table(from: &mut Map<String, Value>, name: &str) -> Result<Map<String, Value>, ConfigError> {
    match from.remove(name) {
        None => Ok(Map::new()),
        Some(Value::Object(table)) => Ok(table),
        Some(_) => Err(Invalid::new(name, "must be a table").into()),
    }
}

/// Reads a section. Errors have its full key.
pub(super) fn section<S: Section>(name: &str, table: Map<String, Value>) -> Result<S, ConfigError> {
    Ok(jumun_config::read(table).map_err(|invalid| invalid.below(name))?)
}

/// An error of a table, seen from the table above.
pub(super) fn below(table: &str, error: ConfigError) -> ConfigError {
    match error {
        ConfigError::Invalid(invalid) => invalid.below(table).into(),
        ConfigError::UnknownKey(key) => ConfigError::UnknownKey(format!("{table}.{key}")),
        error @ ConfigError::Unreadable(_) => error,
    }
}

/// What the name of a secret contains.
const SECRET_WORDS: [&str; 10] =
    ["passw", "passphrase", "pwd", "secret", "token", "credential", "api_key", "apikey", "private", "card"];

/// Redacts a setting of the business whose name looks like that of a secret, and the password of an address: settings have
/// no declaration that says so. All other keys are redacted by their declaration.
pub(super) fn without_secret(key: &str, value: Value) -> Value {
    match value {
        Value::Null => Value::Null,
        _ if SECRET_WORDS.iter().any(|word| key.contains(word)) => "***".into(),
        Value::String(text) if text.contains("://") => without_password(&text).into(),
        value => value,
    }
}

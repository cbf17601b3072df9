//! The address of a database of `PostgreSQL`, as configuration has it.

use super::tls::Tls;
use jumun_config::without_password;
use std::{fmt, str::FromStr};
use tokio_postgres::config::{Config, Host};

/// `postgres://user:password@host:port/database`, with what the driver knows as parameters, and of our own `schema`,
/// `sslmode` and `sslrootcert`. `Display` never shows a password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PostgresAddress {
    /// Without our parameters.
    url: String,
    schema: Option<String>,
    tls: Tls,
}

impl PostgresAddress {
    /// Reads what follows `postgres://`.
    ///
    /// # Errors
    /// What is wrong with it, without the password.
    pub fn parse(rest: &str) -> Result<Self, String> {
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (mut schema, mut mode, mut root, mut others) = (None, None, None, Vec::new());
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("schema", name)) => schema = Some(checked(name)?),
                Some(("sslmode", word)) => mode = Some(word),
                Some(("sslrootcert", file)) => root = Some(file),
                _ => others.push(parameter),
            }
        }
        let mut url = format!("postgres://{place}");
        if !others.is_empty() {
            url = format!("{url}?{}", others.join("&"));
        }
        let config = Config::from_str(&url).map_err(|error| reason(&error))?;
        if config.get_hosts().is_empty() {
            return Err("it names no host".to_owned());
        }
        let tls = Tls::parse(mode, root, config.get_hosts().iter().all(is_local))?;
        Ok(Self { url, schema, tls })
    }

    /// The same address, with this schema if it names none.
    #[must_use]
    pub fn in_schema(self, name: &str) -> Self {
        let schema = self.schema.or_else(|| Some(name.chars().map(|c| if c == '-' { '_' } else { c }).collect()));
        Self { schema, ..self }
    }

    /// The schema in which all tables are.
    pub(super) fn schema(&self) -> &str {
        self.schema.as_deref().unwrap_or("public")
    }

    pub(super) fn tls(&self) -> &Tls {
        &self.tls
    }

    /// For the driver.
    pub(super) fn config(&self) -> Result<Config, String> {
        Config::from_str(&self.url).map_err(|error| reason(&error))
    }
}

/// A name that needs no escape in SQL.
fn checked(name: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.len() > 63 || name.starts_with("pg_") || !name.chars().all(is_plain) {
        return Err(format!("`{name}` cannot be the name of a schema; write letters, digits and `_`"));
    }
    Ok(name.to_owned())
}

/// Whether what is sent there stays on this machine.
fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()),
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

/// An error of the driver with what caused it.
fn reason(error: &tokio_postgres::Error) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

impl fmt::Display for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_password(&self.url))?;
        let Some(schema) = &self.schema else { return Ok(()) };
        write!(f, "{}schema={schema}", if self.url.contains('?') { '&' } else { '?' })
    }
}

impl fmt::Debug for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_where_and_never_the_password() {
        let address =
            PostgresAddress::parse("kim:s3cret@db.example:5433/shop?connect_timeout=3&sslmode=require").unwrap();
        assert_eq!(address.to_string(), "postgres://kim:***@db.example:5433/shop?connect_timeout=3");
        assert_eq!(format!("{address:?}"), address.to_string());
        let named = address.clone().in_schema("food-delivery_order");
        assert_eq!(named.schema(), "food_delivery_order");
        assert_eq!(named.to_string(), format!("{address}&schema=food_delivery_order"));
        assert_eq!(named.clone().in_schema("another"), named);
        let own = PostgresAddress::parse("kim@localhost/shop?schema=mine").unwrap().in_schema("another");
        assert_eq!((own.schema(), own.to_string().as_str()), ("mine", "postgres://kim@localhost/shop?schema=mine"));
    }

    #[test]
    fn an_address_that_cannot_be_used_says_why() {
        for (rest, why) in [
            ("kim@localhost:port/shop", "port"),
            ("kim@localhost/shop?schema=a;b", "`a;b` cannot be the name of a schema"),
            ("kim@localhost/shop?schema=pg_x", "cannot be the name of a schema"),
            ("kim@localhost/shop?sslmode=sometimes", "sslmode"),
            ("kim@localhost/shop?colour=blue", "colour"),
        ] {
            let error = PostgresAddress::parse(rest).unwrap_err();
            assert!(error.contains(why), "{rest}: {error}");
        }
    }
}

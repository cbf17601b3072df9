//! The address of a back end: `sqlite://path`, `postgres://user:password@host/name`. The scheme names the adapter.

use std::fmt;

/// The address of a back end. It may hold a password, so `Display` and `Debug` redact it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BackendUrl {
    scheme: &'static str,
    rest: String,
}

/// The schemes that a kind of back end has.
#[derive(Debug, Clone, Copy)]
pub struct Schemes {
    /// Schemes that this build opens.
    pub built: &'static [&'static str],
    /// Schemes of adapters that this build does not have, with the cargo feature that adds each.
    pub by_feature: &'static [(&'static str, &'static str)],
    /// How to write an address: `sqlite://path`.
    pub example: &'static str,
}

/// Why an address cannot be used. The message holds no password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// No adapter has this scheme, or the address is empty.
    #[error("`{url}` cannot be opened by this build; write {example}")]
    Unknown {
        /// The address, redacted.
        url: String,
        /// How to write one.
        example: &'static str,
    },
    /// The adapter of this scheme is not in this build.
    #[error("`{url}` needs the feature `{feature}`, which this build does not have; write {example}")]
    NotBuilt {
        /// The address, redacted.
        url: String,
        /// The cargo feature.
        feature: &'static str,
        /// How to write an address that this build opens.
        example: &'static str,
    },
    /// The adapter cannot make anything of the address.
    #[error("`{url}` cannot be used: {why}")]
    Invalid {
        /// The address, redacted.
        url: String,
        /// What is wrong with it.
        why: String,
    },
}

impl BackendUrl {
    /// Parses `scheme://address`.
    ///
    /// # Errors
    /// Where this build has no adapter for it; the message names the schemes and features.
    pub fn parse(text: &str, schemes: &Schemes) -> Result<Self, UrlError> {
        let Schemes { built, by_feature, example } = *schemes;
        let unknown = || UrlError::Unknown { url: without_password(text), example };
        let (given, rest) = text.split_once("://").filter(|(_, rest)| !rest.is_empty()).ok_or_else(unknown)?;
        if let Some(scheme) = built.iter().copied().find(|scheme| *scheme == given) {
            return Ok(Self { scheme, rest: rest.to_owned() });
        }
        match by_feature.iter().find(|(scheme, _)| *scheme == given) {
            Some((_, feature)) => Err(UrlError::NotBuilt { url: without_password(text), feature, example }),
            None => Err(unknown()),
        }
    }

    /// An address of parts.
    pub fn new(scheme: &'static str, rest: impl Into<String>) -> Self {
        Self { scheme, rest: rest.into() }
    }

    /// The scheme: it names the adapter.
    pub fn scheme(&self) -> &'static str {
        self.scheme
    }

    /// What follows `://`. It may hold a password.
    pub fn rest(&self) -> &str {
        &self.rest
    }
}

impl fmt::Display for BackendUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_password(&format!("{}://{}", self.scheme, self.rest)))
    }
}

impl fmt::Debug for BackendUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An address with `***` in place of its password: of `user:password@host`, and of parameters with a secret-looking
/// name. A password with `/`, `?` or `@` in it should be escaped and often is not; so the last `@` ends it. A path with
/// `:` before `@` loses a part by that, which is the lesser harm.
pub fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let (credentials, host) = rest.rsplit_once('@').map_or((None, rest), |(before, after)| (Some(before), after));
    let mut text = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
    if let Some(credentials) = credentials {
        let (user, password) =
            credentials.split_once(':').map_or((credentials, None), |(user, rest)| (user, Some(rest)));
        text.push_str(user);
        text.push_str(if password.is_some() { ":***@" } else { "@" });
    }
    let (path, query) = host.split_once('?').map_or((host, None), |(path, query)| (path, Some(query)));
    text.push_str(path);
    for (nth, parameter) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        text.push(if nth == 0 { '?' } else { '&' });
        match parameter.split_once('=') {
            Some((name, _)) if is_secret(name) => {
                text.push_str(name);
                text.push_str("=***");
            }
            _ => text.push_str(parameter),
        }
    }
    text
}

fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    ["password", "passwd", "pwd", "secret", "token", "key"].iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMES: Schemes =
        Schemes { built: &["sqlite", "x"], by_feature: &[("postgres", "postgres")], example: "sqlite://path" };

    #[test]
    fn the_scheme_names_the_adapter() {
        let url = BackendUrl::parse("sqlite:///data/order.db", &SCHEMES).expect("an address");
        assert_eq!(
            (url.scheme(), url.rest(), &*url.to_string()),
            ("sqlite", "/data/order.db", "sqlite:///data/order.db")
        );
        for (text, message) in [
            ("oracle://x", "`oracle://x` cannot be opened by this build; write sqlite://path"),
            ("sqlite://", "`sqlite://` cannot be opened by this build; write sqlite://path"),
            ("order.db", "`order.db` cannot be opened by this build; write sqlite://path"),
            (
                "postgres://kim:s3cret@h/db",
                "`postgres://kim:***@h/db` needs the feature `postgres`, which this build does not have; write sqlite://path",
            ),
        ] {
            assert_eq!(BackendUrl::parse(text, &SCHEMES).expect_err(text).to_string(), message);
        }
    }

    #[test]
    fn no_password_is_shown() {
        for (text, shown) in [
            ("x://kim:s3cret@h:5432/db", "x://kim:***@h:5432/db"),
            ("x://kim:s3/cr@et@h/db", "x://kim:***@h/db"),
            ("x://kim@h/db", "x://kim@h/db"),
            ("x://h/db?sslmode=on&password=s3cret&sslkey=s3cret", "x://h/db?sslmode=on&password=***&sslkey=***"),
            ("x://a/b.db", "x://a/b.db"),
        ] {
            let url = BackendUrl::parse(text, &SCHEMES).expect("an address");
            assert_eq!((url.to_string(), format!("{url:?}")), (shown.to_owned(), shown.to_owned()));
            let unknown = BackendUrl::parse(&text.replace("x://", "y://"), &SCHEMES).expect_err("unknown").to_string();
            assert!(!unknown.contains("s3"), "{unknown}");
        }
        assert!(!BackendUrl::parse("kim:s3cret@h", &SCHEMES).expect_err("no scheme").to_string().contains("s3cret"));
    }
}

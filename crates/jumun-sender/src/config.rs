//! The table `[notification.sender]`: which sender, and what it needs.
//!
//! ```toml
//! [notification.sender]
//! kind = "smtp"                      # console, file, kakaotalk, smtp, webhook
//! language = "ko"                    # or "en"
//! templates = "/etc/jumun/templates" # a folder with <language>/<name>.txt in the place of the system's own
//! time_limit = "5s"                  # of one attempt
//! ca_file = ""                       # certificates of authorities to trust besides the usual ones, PEM
//! [notification.sender.smtp]
//! host = "mail.example.com"
//! from = "교육 신청 <course@example.com>"
//! to = "{{ recipient }}@example.com"
//! ```
//!
//! An empty text is the same as nothing.

use crate::{
    Sender, Templated, Templates, http::Http, kakaotalk::KakaoTalk, limits, lines, secret::Secret, smtp::Smtp,
    templates::read_small, webhook::Webhook,
};
use jiff::SignedDuration;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Which sender, and what it needs. Only the table of its kind counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SenderConfig {
    /// Which one.
    pub kind: Kind,
    /// The language of the messages, `ko` or `en`: one that the system has templates in.
    pub language: String,
    /// A folder with `<language>/<name>.txt` in the place of the system's own templates.
    pub templates: PathBuf,
    /// How long one attempt takes at most.
    #[serde(serialize_with = "in_words", deserialize_with = "duration")]
    pub time_limit: Duration,
    /// Certificates of authorities to trust besides the usual ones, PEM.
    pub ca_file: PathBuf,
    /// For `kind = "file"`.
    pub file: FileConfig,
    /// For `kind = "kakaotalk"`.
    pub kakaotalk: KakaoTalkConfig,
    /// For `kind = "smtp"`.
    pub smtp: SmtpConfig,
    /// For `kind = "webhook"`.
    pub webhook: WebhookConfig,
}

/// A kind of sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Lines on the standard error, beside the log.
    #[default]
    Console,
    /// Lines of JSON in a file.
    File,
    /// KakaoTalk.
    KakaoTalk,
    /// Electronic mail.
    Smtp,
    /// Signed requests to a program.
    Webhook,
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileConfig {
    /// Where it is. It is made where it is not there; its folder is not.
    pub path: PathBuf,
}

/// The message API of KakaoTalk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KakaoTalkConfig {
    /// Where the API is.
    pub base_url: String,
    /// The access token of the account that sends.
    pub token: Secret,
    /// Instead of `token`: a file with it, read for every message.
    pub token_file: PathBuf,
    /// To friends of that account, or to itself.
    pub send_to: SendTo,
    /// The friend's UUID, a template of the message's fields.
    pub to: String,
    /// The number of a template of Kakao's message template builder; 0 to send our text as it is.
    pub template_id: u64,
    /// The page that a text message opens. Its domain must be registered for the app.
    pub link: String,
}

/// Whom KakaoTalk tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SendTo {
    /// Friends of the account that sends.
    #[default]
    Friends,
    /// The account itself: to try things out.
    Me,
}

/// The mail server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SmtpConfig {
    /// Its name, as its certificate has it.
    pub host: String,
    /// Its port; 0 for the usual one: 587, with `tls = "implicit"` 465, otherwise 25.
    pub port: u16,
    /// When the connection becomes private.
    pub tls: Tls,
    /// Who we are to it. Empty where it does not ask.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// From whom messages are: `교육 신청 <course@example.com>`.
    pub from: String,
    /// To whom: a template of the message's fields.
    pub to: String,
}

/// When a connection to a mail server becomes private.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// Before anything of importance is said (`STARTTLS`); nothing is sent to a server that cannot.
    #[default]
    Required,
    /// From its beginning.
    Implicit,
    /// If the server can.
    Opportunistic,
    /// Never.
    None,
}

/// The program that takes webhooks.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookConfig {
    /// Where it is.
    pub url: String,
    /// What requests are signed with: `whsec_` and 24 to 64 bytes in base64.
    pub secret: Secret,
}

impl Default for SenderConfig {
    fn default() -> Self {
        Self {
            kind: Kind::Console,
            language: "ko".into(),
            templates: PathBuf::new(),
            time_limit: limits::TIME_LIMIT_USUAL,
            ca_file: PathBuf::new(),
            file: FileConfig::default(),
            kakaotalk: KakaoTalkConfig::default(),
            smtp: SmtpConfig::default(),
            webhook: WebhookConfig::default(),
        }
    }
}

impl Default for KakaoTalkConfig {
    fn default() -> Self {
        Self {
            base_url: "https://kapi.kakao.com".into(),
            token: Secret::default(),
            token_file: PathBuf::new(),
            send_to: SendTo::Friends,
            to: "{{ recipient }}".into(),
            template_id: 0,
            link: String::new(),
        }
    }
}

impl Default for SmtpConfig {
    fn default() -> Self {
        Self {
            host: String::new(),
            port: 0,
            tls: Tls::Required,
            user: String::new(),
            password: Secret::default(),
            from: String::new(),
            to: "{{ recipient }}".into(),
        }
    }
}

/// Why there is no sender. Secrets are not told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfig {
    /// A value that cannot be.
    #[error("`{key}`: {why}")]
    Value {
        /// The key, below the table: `smtp.host`.
        key: String,
        /// What is wrong.
        why: String,
    },
    /// A template that cannot be.
    #[error("{file}, line {line}: {why}")]
    Template {
        /// Its file.
        file: String,
        /// The line.
        line: usize,
        /// What is wrong.
        why: String,
    },
}

impl InvalidConfig {
    pub(crate) fn value(key: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Value { key: key.into(), why: why.into() }
    }

    /// A code that stays the same over releases.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Value { .. } => "sender-configuration-invalid",
            Self::Template { .. } => "template-invalid",
        }
    }

    /// What to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Value { .. } => {
                "Correct the value under notification.sender in jumun.toml, the environment (JUMUN__…) or --set."
            }
            Self::Template { .. } => "Correct the template; docs/notifications.md says what one looks like.",
        }
    }
}

impl SenderConfig {
    /// Reads the table, and names the key where something is wrong with it. What only shows when the sender is opened (an
    /// address that is none, a template) is not looked at.
    pub fn read(table: Value) -> Result<Self, InvalidConfig> {
        let config: Self = serde_path_to_error::deserialize(table)
            .map_err(|error| InvalidConfig::value(error.path().to_string(), error.inner().to_string()))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), InvalidConfig> {
        if !limits::TIME_LIMIT.contains(&self.time_limit) {
            let (min, max) = (limits::TIME_LIMIT.start(), limits::TIME_LIMIT.end());
            return Err(InvalidConfig::value("time_limit", format!("must be from {min:?} to {max:?}")));
        }
        if self.kind == Kind::File && self.file.path.as_os_str().is_empty() {
            return Err(InvalidConfig::value("file.path", "must be set, as the kind is file"));
        }
        Ok(())
    }

    /// Every key with its value, as it may be written into `jumun.toml` below the table. Secrets are `***`.
    pub fn entries(&self) -> Vec<(String, Value)> {
        fn flatten(path: &str, table: Map<String, Value>, entries: &mut Vec<(String, Value)>) {
            for (key, value) in table {
                match value {
                    Value::Object(below) => flatten(&format!("{path}{key}."), below, entries),
                    value => entries.push((format!("{path}{key}"), value)),
                }
            }
        }
        let mut entries = Vec::new();
        if let Ok(Value::Object(table)) = serde_json::to_value(self) {
            flatten("", table, &mut entries);
        }
        entries
    }

    /// The sender. The templates of the system are given as language, name and text. No connection is made, but what can be
    /// known to be wrong is an error.
    pub fn open(&self, defaults: &[(&str, &str, &str)]) -> Result<Arc<dyn Sender>, InvalidConfig> {
        self.check()?;
        let templates = Templates::load(defaults, &self.language, said(&self.templates))?;
        let authorities = self.authorities()?;
        let time_limit = self.time_limit;
        let http =
            || Http::new(time_limit, &authorities).map_err(|error| InvalidConfig::value("ca_file", error.to_string()));
        Ok(match self.kind {
            Kind::Console => lines::console(io::stderr(), templates, time_limit)?,
            Kind::File => lines::file(&self.file.path, templates, time_limit)?,
            Kind::KakaoTalk => Arc::new(Templated { templates, channel: KakaoTalk::new(&self.kakaotalk, http()?)? }),
            Kind::Smtp => Arc::new(Templated { templates, channel: Smtp::new(&self.smtp, time_limit, &authorities)? }),
            Kind::Webhook => Arc::new(Templated { templates, channel: Webhook::new(&self.webhook, http()?)? }),
        })
    }

    fn authorities(&self) -> Result<Vec<CertificateDer<'static>>, InvalidConfig> {
        let Some(path) = said(&self.ca_file) else { return Ok(Vec::new()) };
        let invalid = |why: String| InvalidConfig::value("ca_file", format!("{}: {why}", path.display()));
        let text = read_small(path, limits::SMALL_FILE_MAX_BYTES).map_err(|error| invalid(error.to_string()))?;
        let read = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
        let authorities = read.map_err(|error| invalid(error.to_string()))?;
        if authorities.is_empty() { Err(invalid("has no certificate".into())) } else { Ok(authorities) }
    }
}

fn said(path: &Path) -> Option<&Path> {
    Some(path).filter(|path| !path.as_os_str().is_empty())
}

/// Reads `610ms`, `1s`, `2m`.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let parsed = text.parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    parsed.ok_or_else(|| de::Error::custom(format!("`{text}` is no duration; write 610ms, 1s or 2m")))
}

/// As it is read.
fn in_words<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{duration:?}"))
}

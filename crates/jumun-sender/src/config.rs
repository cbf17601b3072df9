//! The table `[notification.sender]`: which sender, and what it needs.
//!
//! ```toml
//! [notification.sender]
//! kind = "smtp"                      # console, file, kakaotalk, smtp, webhook
//! language = "ko"                    # or "en"
//! templates = "/etc/jumun/templates" # a folder with <language>/<name>.txt in place of the system's own
//! time_limit = "5s"                  # of one attempt
//! ca_file = ""                       # certificates of authorities to trust besides the usual ones, PEM
//! [notification.sender.smtp]
//! host = "mail.example.com"
//! from = "교육 신청 <course@example.com>"
//! to = "{{ recipient }}@example.com"
//! ```
//!
//! An empty text means *not configured*.

use crate::{limits, secret::Secret};
use jumun_config::{Invalid, Section, check, section, settings_by_serde};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{path::PathBuf, time::Duration};

section! {
    /// Which sender, and what it needs. Only the table of its kind counts.
    pub struct SenderConfig {
        /// The kind of sender.
        pub kind: Kind = Kind::Console,
        /// The language of the messages: one that the system has templates in.
        pub language: String = "ko".into(),
        /// A folder with `<language>/<name>.txt` in place of the system's own templates.
        pub templates: PathBuf = PathBuf::new(),
        /// How long one attempt may take.
        pub time_limit: Duration = limits::TIME_LIMIT_USUAL,
        /// A file with certificates of authorities to trust besides the usual ones, PEM.
        pub ca_file: PathBuf = PathBuf::new(),
        /// For `kind = "file"`.
        pub file: FileConfig = FileConfig::default(),
        /// For `kind = "kakaotalk"`.
        pub kakaotalk: KakaoTalkConfig = KakaoTalkConfig::default(),
        /// For `kind = "smtp"`.
        pub smtp: SmtpConfig = SmtpConfig::default(),
        /// For `kind = "webhook"`.
        pub webhook: WebhookConfig = WebhookConfig::default(),
    }
}

section! {
    /// A file of messages.
    #[derive(Eq)]
    pub struct FileConfig {
        /// The path. The sender creates the file, but not its folder.
        pub path: PathBuf = PathBuf::new(),
    }
}

section! {
    /// The message API of KakaoTalk.
    pub struct KakaoTalkConfig {
        /// The address of the API.
        pub base_url: String = "https://kapi.kakao.com".into(),
        /// The access token of the account that sends.
        pub token: Secret = Secret::default(),
        /// In place of `token`: a file with it, read for every message.
        pub token_file: PathBuf = PathBuf::new(),
        /// Whether messages go to friends of that account, or to the account itself.
        pub send_to: SendTo = SendTo::Friends,
        /// The friend's UUID: a template over the message's fields.
        pub to: String = RECIPIENT.into(),
        /// The number of a template of Kakao's message template builder; 0 sends our text as it is.
        pub template_id: u64 = 0,
        /// The page that a text message opens. Its domain must be registered for the app.
        pub link: String = String::new(),
    }
}

section! {
    /// The mail server.
    pub struct SmtpConfig {
        /// Its name, as in its certificate.
        pub host: String = String::new(),
        /// Its port; 0 for the usual one: 587, with `tls = "implicit"` 465, otherwise 25.
        pub port: u16 = 0,
        /// When the connection is encrypted.
        pub tls: Tls = Tls::Required,
        /// The user name. Empty if the server needs none.
        pub user: String = String::new(),
        /// The password.
        pub password: Secret = Secret::default(),
        /// The sender of messages: `교육 신청 <course@example.com>`.
        pub from: String = String::new(),
        /// The recipient: a template over the message's fields.
        pub to: String = RECIPIENT.into(),
    }
}

section! {
    /// The program that takes webhooks.
    pub struct WebhookConfig {
        /// Its address.
        pub url: String = String::new(),
        /// The key that requests are signed with: `whsec_` and 24 to 64 bytes in base64.
        pub secret: Secret = Secret::default(),
    }
}

/// The template of a recipient, unless another one is configured.
const RECIPIENT: &str = "{{ recipient }}";

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

/// The recipients of KakaoTalk messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SendTo {
    /// Friends of the account that sends.
    #[default]
    Friends,
    /// The account itself, for trials.
    Me,
}

/// When a connection to a mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// Before the login (`STARTTLS`). A server without it gets no message.
    #[default]
    Required,
    /// From its beginning.
    Implicit,
    /// If the server offers it.
    Opportunistic,
    /// Never.
    None,
}

settings_by_serde! {
    Kind: "`console`, `file`, `kakaotalk`, `smtp` or `webhook`",
    SendTo: "`friends` or `me`",
    Tls: "`required`, `implicit`, `opportunistic` or `none`",
}

/// Why a sender cannot be opened. The message holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfig {
    /// An invalid value.
    #[error(transparent)]
    Value(#[from] Invalid),
    /// An invalid template.
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
        Self::Value(Invalid::new(key, why))
    }
}

jumun_text::explained! { InvalidConfig {
    Self::Value(_) => "sender-configuration-invalid",
        "Correct the value under notification.sender in jumun.toml, the environment (JUMUN__…) or --set.";
    Self::Template { .. } => "template-invalid",
        "Correct the line that the message names, or delete the file: then the text of the system applies. docs/notifications.md describes the format.";
} }

impl Section for SenderConfig {
    fn check(&self) -> Result<(), Invalid> {
        check::within("time_limit", &self.time_limit, &limits::TIME_LIMIT)?;
        if self.kind == Kind::File && self.file.path.as_os_str().is_empty() {
            return Err(Invalid::new("file.path", "must be set, as the kind is file"));
        }
        Ok(())
    }
}

impl SenderConfig {
    /// Reads the table. Errors that need other files (a certificate, a template) or the form of an address appear in
    /// [`SenderConfig::open`].
    ///
    /// # Errors
    /// Names the key.
    pub fn read(table: Value) -> Result<Self, InvalidConfig> {
        Ok(jumun_config::read(table)?)
    }

    /// Every key with its value, as it may be written into `jumun.toml` below the table. Secrets are `***`.
    pub fn entries(&self) -> Vec<(String, Value)> {
        jumun_config::flatten(self)
    }
}

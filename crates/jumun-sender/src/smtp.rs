//! Electronic mail, through one server of the shop's.
//!
//! Every message has a connection of its own, and each step of the conversation is known: so it is known, too, whether
//! the message can have been taken when something breaks. That is only so once its text is on its way.

mod connection;

use self::connection::Server;
use crate::{
    InvalidConfig, Message, Receipt, Secret, SendError, SmtpConfig, Tls, channel::Channel, message::Letter,
    templates::Line, tls,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use futures_util::future::BoxFuture;
use lettre::{
    Address,
    message::{Mailbox, SinglePart, header},
    transport::smtp::{
        Error,
        authentication::{Credentials, Mechanism},
        commands::{Data, Mail, Rcpt},
        extension::{Extension, MailParameter},
        response::{Response, Severity},
    },
};
use rustls::pki_types::{CertificateDer, ServerName};
use std::{
    io,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};
use tokio_rustls::TlsConnector;

#[derive(Debug)]
pub(crate) struct Smtp {
    server: Server,
    user: String,
    password: Secret,
    from: Mailbox,
    to: Line,
    time_limit: Duration,
}

/// How far the conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Until the server knows us: connection, greeting, TLS.
    Connecting,
    /// Our name in `EHLO`.
    Authentication,
    /// From whom the message is.
    Sender,
    /// To whom it is.
    Recipient,
    /// Whether it may be sent now.
    Data,
    /// Its text is on its way.
    Text,
}

impl Smtp {
    pub(crate) fn new(
        config: &SmtpConfig,
        time_limit: Duration,
        authorities: &[CertificateDer<'static>],
    ) -> Result<Self, InvalidConfig> {
        let invalid = |key: &str, why: String| InvalidConfig::value(format!("smtp.{key}"), why);
        let SmtpConfig { host, port, tls, user, password, from, to } = config;
        let name = ServerName::try_from(host.clone());
        let name = name.map_err(|_| invalid("host", "must be the name of a mail server".into()))?;
        if user.is_empty() != password.is_empty() {
            return Err(invalid("password", "user and password go together".into()));
        }
        if !user.is_empty() && *tls == Tls::Opportunistic {
            return Err(invalid(
                "tls",
                "a password needs \"required\" or \"implicit\": else it may be read on its way".into(),
            ));
        }
        let from = from.parse().map_err(|error| invalid("from", format!("must be an address: {error}")))?;
        let trust = tls::client(authorities).map_err(|error| InvalidConfig::value("ca_file", error.to_string()))?;
        let usual_port = match tls {
            Tls::Required => 587,
            Tls::Implicit => 465,
            Tls::None | Tls::Opportunistic => 25,
        };
        let (host, port, tls) = (host.clone(), if *port == 0 { usual_port } else { *port }, *tls);
        let server = Server { host, port, tls, name, connector: TlsConnector::from(Arc::new(trust)) };
        let to = Line::parse("smtp.to", to)?;
        Ok(Self { server, user: user.clone(), password: password.clone(), from, to, time_limit })
    }

    /// The server's answer, without the password, also in the forms it has on the wire (PLAIN and LOGIN, RFC 4616).
    fn quote(&self, text: &str) -> String {
        let password = self.password.expose();
        let plain = Secret::from(BASE64_STANDARD.encode(format!("\0{}\0{password}", self.user)));
        let login = Secret::from(BASE64_STANDARD.encode(password));
        self.password.quote(&login.hide(&plain.hide(text)))
    }

    /// The mail, ready to go.
    fn mail(&self, message: &Message, letter: Letter) -> Result<lettre::Message, SendError> {
        let to = self.to.write(message).parse::<Address>();
        let to = to.map_err(|error| SendError::refused(format!("its recipient has no address: {error}")))?;
        let millis = u64::try_from(message.time_ms).unwrap_or_default(); // checked before
        let Letter { subject, text } = letter;
        let automatic = header::HeaderName::new_from_ascii_str("Auto-Submitted"); // nobody is to answer (RFC 3834)
        lettre::Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(subject)
            .date(UNIX_EPOCH + Duration::from_millis(millis))
            .message_id(Some(format!("<{}@{}>", message.id, self.from.email.domain())))
            .raw_header(header::HeaderValue::new(automatic, "auto-generated".into()))
            .singlepart(SinglePart::plain(text))
            .map_err(|error| SendError::refused(format!("it cannot be a mail: {error}")))
    }

    /// Hands a mail over.
    async fn converse(&self, mail: &lettre::Message, stage: &mut Stage) -> Result<Response, No> {
        let mut connection = self.server.connect().await?;
        if !self.user.is_empty() {
            *stage = Stage::Authentication;
            let credentials = Credentials::new(self.user.clone(), self.password.expose().to_owned());
            connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await?;
        }
        let envelope = mail.envelope();
        let mut parameters = Vec::new();
        if !envelope.to().iter().all(|to| AsRef::<str>::as_ref(to).is_ascii()) {
            if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
                *stage = Stage::Recipient;
                let why = "the server takes only addresses in ASCII".to_owned();
                return Err(No { said: Some((Severity::PermanentNegativeCompletion, 553)), why });
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        *stage = Stage::Sender;
        connection.command(Mail::new(envelope.from().cloned(), parameters)).await?;
        *stage = Stage::Recipient;
        for to in envelope.to() {
            connection.command(Rcpt::new(to.clone(), Vec::new())).await?;
        }
        *stage = Stage::Data;
        let go_on = connection.command(Data).await?;
        if !go_on.has_code(354) {
            return Err(No::confused(&go_on));
        }
        *stage = Stage::Text;
        let answer = connection.message(&mail.formatted()).await?;
        if answer.code().severity != Severity::PositiveCompletion {
            return Err(No::confused(&answer));
        }
        // The message is theirs. Good manners must not cost its receipt.
        let time_limit = self.time_limit;
        tokio::spawn(async move { drop(tokio::time::timeout(time_limit, connection.quit()).await) });
        Ok(answer)
    }

    async fn attempt(&self, message: &Message, letter: Letter) -> Result<Receipt, SendError> {
        let mail = self.mail(message, letter)?;
        let mut stage = Stage::Connecting;
        let outcome = tokio::time::timeout(self.time_limit, self.converse(&mail, &mut stage)).await;
        match outcome {
            Ok(Ok(answer)) => Ok(Receipt { reference: answer.first_line().map(|line| self.quote(line)) }),
            Ok(Err(No { said, why })) => {
                let why = match (stage, said) {
                    // The answer to a password may contain it, in any form.
                    (Stage::Authentication, Some((_, code))) => format!("user and password are not taken: {code}"),
                    _ => self.quote(&why),
                };
                Err(judge(stage, said, why))
            }
            Err(_) => Err(judge(stage, None, format!("no answer within {:?}", self.time_limit))),
        }
    }
}

/// Why a conversation ended: the server's answer, if there was one, and the whole error in words.
struct No {
    said: Option<(Severity, u16)>,
    why: String,
}

impl No {
    fn because(why: impl Into<String>) -> Self {
        Self { said: None, why: why.into() }
    }

    /// An answer that cannot be to what was asked.
    fn confused(answer: &Response) -> Self {
        Self::because(format!("the server answers something else: {}", answer.code()))
    }
}

impl From<io::Error> for No {
    fn from(error: io::Error) -> Self {
        Self::because(crate::message::chain(&error))
    }
}

impl From<Error> for No {
    fn from(error: Error) -> Self {
        Self { said: error.status().map(|code| (code.severity, code.into())), why: error.to_string() }
    }
}

impl Channel for Smtp {
    fn deliver<'a>(&'a self, message: &'a Message, letter: Letter) -> BoxFuture<'a, Result<Receipt, SendError>> {
        Box::pin(self.attempt(message, letter))
    }
}

/// The outcome of a message, from the progress of the conversation and the server's last answer, if there was one.
fn judge(stage: Stage, said: Option<(Severity, u16)>, why: String) -> SendError {
    match (stage, said) {
        // 530 and its like are about the login, not about the message (RFC 4954).
        (_, Some((_, 530 | 534 | 535 | 538))) => SendError::not_sent(why),
        (Stage::Recipient | Stage::Data | Stage::Text, Some((Severity::PermanentNegativeCompletion, _))) => {
            SendError::refused(why)
        }
        // The server has answered, and not with yes.
        (_, Some(_)) => SendError::not_sent(why),
        (Stage::Text, None) => SendError::unknown(why),
        (_, None) => SendError::not_sent(why),
    }
}

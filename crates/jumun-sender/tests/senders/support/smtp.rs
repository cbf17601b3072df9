//! A small mail server (RFC 5321) that records what it receives and answers as the test wants.

use base64::{Engine, prelude::BASE64_STANDARD};
use std::{
    io,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// A mail it took.
#[derive(Debug, Clone)]
pub(crate) struct Mail {
    pub(crate) from: String,
    pub(crate) to: String,
    /// As it came over the wire, with every dot at the beginning of a line doubled.
    pub(crate) wire: String,
    /// Whether it came over TLS.
    pub(crate) is_private: bool,
}

/// What it says instead of yes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reply {
    Say(&'static str),
    /// All that it has received, behind this code.
    Echo(u16),
    Hang,
    Close,
}

/// How it behaves.
#[derive(Default)]
pub(crate) struct Script {
    /// It can do TLS.
    pub(crate) tls: Option<TlsAcceptor>,
    /// What an attacker in between adds to its *go on*.
    pub(crate) slipped_in: &'static str,
    /// It does TLS from the beginning.
    pub(crate) is_implicit: bool,
    /// Whom it lets in, and by which password.
    pub(crate) login: Option<(&'static str, &'static str)>,
    /// Whom it does not know.
    pub(crate) unknown: Option<&'static str>,
    /// What it says at a verb, or at `GREETING` or `TEXT`.
    pub(crate) replies: Vec<(&'static str, Reply)>,
}

pub(crate) struct SmtpServer {
    pub(crate) port: u16,
    log: Arc<Mutex<Log>>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Log {
    heard: Vec<String>,
    mails: Vec<Mail>,
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}
type Connection = BufReader<Box<dyn Stream>>;

impl SmtpServer {
    pub(crate) async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let log = Arc::new(Mutex::new(Log::default()));
        let (all, script) = (Arc::clone(&log), Arc::new(script));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (all, script) = (Arc::clone(&all), Arc::clone(&script));
                tokio::spawn(async move { drop(converse(Box::new(stream), &script, &all).await) });
            }
        });
        Self { port, log, task }
    }

    pub(crate) fn mails(&self) -> Vec<Mail> {
        self.log.lock().expect("a lock").mails.clone()
    }

    /// Every line that it was sent, those of mails left out.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.log.lock().expect("a lock").heard.clone()
    }
}

async fn line(connection: &mut Connection, log: &Mutex<Log>) -> io::Result<String> {
    let mut line = String::new();
    if connection.read_line(&mut line).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let line = line.strip_suffix("\r\n").expect("a line ends with CR and LF").to_owned();
    log.lock().expect("a lock").heard.push(line.clone());
    Ok(line)
}

/// Says what the script has for this, or what is usual. `false`: the conversation has taken another turn.
async fn say(
    connection: &mut Connection,
    script: &Script,
    log: &Mutex<Log>,
    at: &str,
    usual: &str,
) -> io::Result<bool> {
    let reply = script.replies.iter().find(|(verb, _)| *verb == at).map(|(_, reply)| *reply);
    let text = match reply {
        None => usual.to_owned(),
        Some(Reply::Say(text)) => text.to_owned(),
        Some(Reply::Echo(code)) => {
            let heard =
                log.lock().expect("a lock").heard.iter().map(|line| decoded(line)).collect::<Vec<_>>().join(" ");
            format!("{code} I have heard: {heard}")
        }
        Some(Reply::Hang) => std::future::pending().await,
        Some(Reply::Close) => return Err(io::ErrorKind::ConnectionReset.into()),
    };
    connection.get_mut().write_all(format!("{text}\r\n").as_bytes()).await?;
    connection.get_mut().flush().await?;
    Ok(reply.is_none())
}

/// With what is in base64 in clear beside it.
fn decoded(line: &str) -> String {
    let last = line.split(' ').next_back().unwrap_or_default();
    let clear = BASE64_STANDARD.decode(last).map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "));
    format!("{line} {}", clear.unwrap_or_default())
}

async fn converse(stream: Box<dyn Stream>, script: &Script, log: &Mutex<Log>) -> io::Result<()> {
    let mut is_private = script.is_implicit;
    let stream = match &script.tls {
        Some(tls) if is_private => Box::new(tls.accept(stream).await?),
        _ => stream,
    };
    let mut connection: Connection = BufReader::new(stream);
    let mut is_known = script.login.is_none();
    let (mut from, mut to) = (String::new(), String::new());
    say(&mut connection, script, log, "GREETING", "220 localhost").await?;
    loop {
        let line = line(&mut connection, log).await?;
        let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" => {
                let mut usual = "250-localhost\r\n".to_owned();
                if script.tls.is_some() && !is_private {
                    usual += "250-STARTTLS\r\n";
                }
                if script.login.is_some() {
                    usual += "250-AUTH PLAIN\r\n";
                }
                say(&mut connection, script, log, "EHLO", &(usual + "250 8BITMIME")).await?;
            }
            "STARTTLS" => {
                let usual = format!("220 go on{}", script.slipped_in);
                if say(&mut connection, script, log, "STARTTLS", &usual).await? {
                    let tls = script.tls.as_ref().expect("it said that it can");
                    connection = BufReader::new(Box::new(tls.accept(connection.into_inner()).await?));
                    is_private = true;
                }
            }
            "AUTH" => {
                let said = decoded(&line);
                let (user, password) = script.login.expect("it said that it asks");
                is_known = said.contains(&format!(" {user} {password}"));
                let usual = if is_known { "235 welcome" } else { "535 5.7.8 no" };
                say(&mut connection, script, log, "AUTH", usual).await?;
            }
            "MAIL" if !is_known => {
                say(&mut connection, script, log, "", "530 5.7.0 who are you").await?;
            }
            "MAIL" => {
                from = line.trim_start_matches("MAIL FROM:").to_owned();
                say(&mut connection, script, log, "MAIL", "250 ok").await?;
            }
            "RCPT" => {
                to = line.trim_start_matches("RCPT TO:").to_owned();
                let is_unknown = script.unknown.is_some_and(|unknown| to.contains(unknown));
                let usual = if is_unknown { "550 5.1.1 nobody" } else { "250 ok" };
                say(&mut connection, script, log, "RCPT", usual).await?;
            }
            "DATA" => {
                if !say(&mut connection, script, log, "DATA", "354 go on").await? {
                    continue;
                }
                let mut wire = String::new();
                while !wire.ends_with("\r\n.\r\n") {
                    if connection.read_line(&mut wire).await? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                wire.truncate(wire.len() - ".\r\n".len());
                let is_taken = say(&mut connection, script, log, "TEXT", "250 2.0.0 Ok: queued as 4XyZ").await?;
                if is_taken {
                    let mail = Mail { from: from.clone(), to: to.clone(), wire, is_private };
                    log.lock().expect("a lock").mails.push(mail);
                }
            }
            "QUIT" => {
                say(&mut connection, script, log, "QUIT", "221 bye").await?;
                return Ok(());
            }
            _ => {
                say(&mut connection, script, log, "", "502 what").await?;
            }
        }
    }
}

impl Mail {
    /// The mail as it was before dots were doubled: headers and body.
    fn parts(&self) -> (String, String) {
        let lines = self.wire.split("\r\n").map(|line| line.strip_prefix('.').unwrap_or(line));
        let text = lines.collect::<Vec<_>>().join("\r\n");
        let (head, body) = text.split_once("\r\n\r\n").expect("an empty line after the headers");
        (head.replace("\r\n ", " "), body.to_owned())
    }

    /// A header, decoded (RFC 2047). It is there once.
    pub(crate) fn header(&self, name: &str) -> String {
        let (head, _) = self.parts();
        let begins = format!("{}:", name.to_ascii_lowercase());
        let found: Vec<_> = head.split("\r\n").filter(|line| line.to_ascii_lowercase().starts_with(&begins)).collect();
        let [line] = found[..] else { panic!("{name} is there {} times: {head}", found.len()) };
        words(line[begins.len()..].trim())
    }

    /// How many headers of this name there are.
    pub(crate) fn count(&self, name: &str) -> usize {
        let begins = format!("{}:", name.to_ascii_lowercase());
        self.parts().0.split("\r\n").filter(|line| line.to_ascii_lowercase().starts_with(&begins)).count()
    }

    /// The text, decoded.
    pub(crate) fn text(&self) -> String {
        let (_, body) = self.parts();
        match self.header("Content-Transfer-Encoding").as_str() {
            "base64" => {
                let body: String = body.split_whitespace().collect();
                String::from_utf8(BASE64_STANDARD.decode(body).expect("base64")).expect("UTF-8")
            }
            "quoted-printable" => String::from_utf8(quoted(&body.replace("=\r\n", ""))).expect("UTF-8"),
            "7bit" | "8bit" => body,
            other => panic!("an encoding {other}"),
        }
    }
}

fn words(text: &str) -> String {
    let (mut decoded, mut rest) = (String::new(), text.replace("?= =?", "?==?"));
    while let Some((before, after)) = rest.split_once("=?utf-8?b?") {
        let (word, after) = after.split_once("?=").expect("a word ends");
        decoded += before;
        decoded += &String::from_utf8(BASE64_STANDARD.decode(word).expect("base64")).expect("UTF-8 in each word");
        rest = after.to_owned();
    }
    decoded + &rest
}

fn quoted(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'=' {
            bytes.push(byte);
            continue;
        }
        let hex: String = rest.by_ref().take(2).map(char::from).collect();
        bytes.push(u8::from_str_radix(&hex, 16).expect("two digits"));
    }
    bytes
}

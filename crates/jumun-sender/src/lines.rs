//! The two senders that write lines: the console, for people, and a file, for programs.
//!
//! Neither may block its caller: a full disk, a stopped terminal or a pipe without a reader blocks only a thread of the
//! sender. Its queue is bounded.

use crate::{
    InvalidConfig, Message, Receipt, SendError, Sender, Templates,
    channel::{Channel, Templated},
    limits::LINES_WAITING_MAX,
    message::Letter,
};
use futures_util::future::BoxFuture;
use jumun_text::escape;
use serde::Serialize;
use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};
use tokio::sync::oneshot;

/// A sender for people: it writes one line a message to a writer.
pub fn console(
    writer: impl Write + Send + 'static,
    templates: Templates,
    time_limit: Duration,
) -> Result<Arc<dyn Sender>, InvalidConfig> {
    let (mut writer, mut is_torn) = (writer, false);
    let lines = Lines::start("console", time_limit, move |line| append(&mut writer, line, &mut is_torn))?;
    Ok(Arc::new(Templated { templates, channel: Console(lines) }))
}

/// A sender for programs: one line of JSON a message, at the end of a file.
///
/// A line that was taken is with the operating system: it outlives this process, and not a power cut. The file is
/// opened for every message, so that it may be moved away.
pub(crate) fn file(path: &Path, templates: Templates, time_limit: Duration) -> Result<Arc<dyn Sender>, InvalidConfig> {
    let invalid = |why: String| InvalidConfig::value("file.path", format!("{}: {why}", path.display()));
    if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        return Err(invalid("is not a file".into()));
    }
    open(path).map_err(|error| invalid(error.to_string()))?;
    let mut is_torn = is_torn(path).map_err(|error| invalid(error.to_string()))?;
    let path = PathBuf::from(path);
    let lines = Lines::start("file.path", time_limit, move |line| match open(&path) {
        Ok(mut file) => append(&mut file, line, &mut is_torn),
        Err(error) => Err(SendError::not_sent(format!("the file cannot be opened: {error}"))),
    })?;
    Ok(Arc::new(Templated { templates, channel: JsonLines(lines) }))
}

/// Opens a file to be written at its end, for its owner only: it names customers.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Whether the last line of a file has no end, as after a power cut.
fn is_torn(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// Writes a line whole. What the line before left behind where it could not be is ended first, so that no line is ever
/// glued to another.
fn append(out: &mut impl Write, line: &str, is_torn: &mut bool) -> Result<(), SendError> {
    let line = format!("{}{line}\n", if *is_torn { "\n" } else { "" });
    let mut rest = line.as_bytes();
    while !rest.is_empty() {
        let error = match out.write(rest) {
            Ok(0) => io::ErrorKind::WriteZero.into(),
            Ok(written) => {
                rest = &rest[written..];
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => error,
        };
        let why = format!("the line cannot be written: {error}");
        if rest.len() == line.len() {
            return Err(SendError::not_sent(why));
        }
        *is_torn = true;
        return Err(SendError::unknown(why));
    }
    *is_torn = false;
    out.flush().map_err(|error| SendError::unknown(format!("the line cannot be written: {error}")))
}

/// A thread that writes lines, and its queue. It ends when the queue is closed.
#[derive(Debug)]
struct Lines {
    queue: mpsc::SyncSender<Line>,
    time_limit: Duration,
}

struct Line {
    text: String,
    done: oneshot::Sender<Result<(), SendError>>,
}

impl Lines {
    fn start(
        key: &str,
        time_limit: Duration,
        mut write: impl FnMut(&str) -> Result<(), SendError> + Send + 'static,
    ) -> Result<Self, InvalidConfig> {
        let (queue, lines) = mpsc::sync_channel::<Line>(LINES_WAITING_MAX);
        let work = move || {
            for Line { text, done } in lines {
                if !done.is_closed() {
                    let _ = done.send(write(&text)); // nobody waits any more: nobody needs to know
                }
            }
        };
        let thread = thread::Builder::new().name("messages".into()).spawn(work);
        thread.map_err(|error| InvalidConfig::value(key, format!("no thread can be started: {error}")))?;
        Ok(Self { queue, time_limit })
    }

    async fn put(&self, text: String) -> Result<Receipt, SendError> {
        let (done, outcome) = oneshot::channel();
        if self.queue.try_send(Line { text, done }).is_err() {
            return Err(SendError::not_sent(format!("{LINES_WAITING_MAX} lines are waiting to be written")));
        }
        match tokio::time::timeout(self.time_limit, outcome).await {
            Ok(Ok(outcome)) => outcome.map(|()| Receipt { reference: None }),
            Ok(Err(_)) => Err(SendError::unknown("the thread that writes is gone")),
            Err(_) => Err(SendError::unknown(format!("the line was not written within {:?}", self.time_limit))),
        }
    }
}

#[derive(Debug)]
struct Console(Lines);

impl Channel for Console {
    fn deliver<'a>(&'a self, message: &'a Message, letter: Letter) -> BoxFuture<'a, Result<Receipt, SendError>> {
        let Letter { subject, text } = letter;
        let text = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" / ");
        let whom = if message.recipient.is_empty() { "the customer" } else { &message.recipient };
        let line = format!("message {} to {whom}: {subject} | {text}", message.id);
        Box::pin(self.0.put(escape(&line).into_owned())) // people read it on a terminal
    }
}

#[derive(Debug)]
struct JsonLines(Lines);

impl Channel for JsonLines {
    fn deliver<'a>(&'a self, message: &'a Message, letter: Letter) -> BoxFuture<'a, Result<Receipt, SendError>> {
        #[derive(Serialize)]
        struct Record<'a> {
            id: &'a str,
            recipient: &'a str,
            subject: &'a str,
            text: &'a str,
            time: String,
        }
        let Letter { subject, text } = &letter;
        let Message { id, recipient, time_ms, .. } = message;
        let time = jiff::Timestamp::from_millisecond(*time_ms).unwrap_or_default(); // checked before
        let time = format!("{time:.3}");
        let line = serde_json::to_string(&Record { id, recipient, subject, text, time });
        Box::pin(async move {
            match line {
                Ok(line) => self.0.put(line).await,
                Err(error) => Err(SendError::refused(format!("it cannot be written as JSON: {error}"))),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Accepts this many bytes, then none.
    struct Full(Vec<u8>, usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = (self.1 - self.0.len()).min(bytes.len());
            self.0.extend(&bytes[..room]);
            if room == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(room) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_is_cut_off_is_never_glued_to_the_next_one() {
        for room in 0..8 {
            let (mut disk, mut is_torn) = (Full(Vec::new(), room), false);
            let error = append(&mut disk, "1234567", &mut is_torn).err();
            assert_eq!(matches!(error, Some(SendError::NotSent { .. })), room == 0, "{room}: nothing was written");
            assert_eq!(matches!(error, Some(SendError::Unknown { .. })), (1..8).contains(&room), "{room}");
            disk.1 = 100;
            append(&mut disk, "abc", &mut is_torn).expect("room again");
            let text = String::from_utf8(disk.0).expect("text");
            assert_eq!(text.lines().last(), Some("abc"), "{room}: {text:?}");
            assert!(!is_torn);
        }
    }

    #[test]
    fn what_a_power_cut_left_is_seen_at_start() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("messages");
        for (text, torn) in [("", false), ("{}\n", false), ("{\"id\":", true)] {
            std::fs::write(&path, text).expect("a file");
            assert_eq!(is_torn(&path).expect("a file"), torn, "{text:?}");
        }
    }
}

//! What messages say: a template a message, in the configured language.
//!
//! A template is a text: its first line is the subject, an empty line follows, the rest is the message. Both are
//! templates of minijinja. The system brings one for each message and language; an operator's files,
//! `<folder>/<language>/<name>.txt`, replace them one by one.
//!
//! What can be wrong is found at start: each template is parsed, and rendered once with nothing in its fields.

use crate::{InvalidConfig, Message, SendError, limits, message::Letter};
use minijinja::{
    AutoEscape, Environment, ErrorKind, UndefinedBehavior, escape_formatter,
    syntax::SyntaxConfig,
    value::{Serde, Value},
};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// The templates of one language.
pub struct Templates {
    engine: Environment<'static>,
}

impl std::fmt::Debug for Templates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Templates").finish_non_exhaustive()
    }
}

impl Templates {
    /// Templates of a language: those of the system, given as language, name and text, and an operator's in their
    /// place.
    pub fn load(defaults: &[(&str, &str, &str)], language: &str, folder: Option<&Path>) -> Result<Self, InvalidConfig> {
        let mut files = BTreeMap::new();
        for (_, name, text) in defaults.iter().filter(|(of, ..)| *of == language) {
            files.insert((*name).to_owned(), (format!("{language}/{name}.txt of the system"), (*text).to_owned()));
        }
        if files.is_empty() {
            let mut known: Vec<_> = defaults.iter().map(|(language, ..)| *language).collect();
            known.sort_unstable();
            known.dedup();
            return Err(InvalidConfig::value("language", format!("`{language}` is none of {}", known.join(", "))));
        }
        if let Some(folder) = folder {
            overrides(folder, language, &mut files)?;
        }
        let mut engine = engine();
        for (name, (file, text)) in files {
            add(&mut engine, &name, &file, &text)?;
        }
        Ok(Self { engine })
    }

    /// A message in words. A field that it does not have is shown as nothing.
    pub(crate) fn write(&self, message: &Message) -> Result<Letter, SendError> {
        let name = &message.template;
        let render = |part: &str| -> Result<String, SendError> {
            let template = self.engine.get_template(&format!("{name}/{part}"));
            let template = template.map_err(|_| SendError::refused(format!("no template is called `{name}`")))?;
            let rendered = template.render(values(message));
            rendered.map_err(|error| SendError::refused(format!("the template `{name}` fails: {}", why(&error))))
        };
        let subject = one_line(&render("subject")?);
        let text = plain(&render("text")?);
        if text.len() > limits::TEXT_MAX_BYTES {
            return Err(SendError::refused(format!("its text is over {} bytes", limits::TEXT_MAX_BYTES)));
        }
        let subject = if subject.is_empty() { name.clone() } else { subject };
        Ok(Letter { subject, text })
    }
}

/// One line of configuration that is a template, such as a recipient.
#[derive(Debug)]
pub(crate) struct Line {
    engine: Environment<'static>,
}

impl Line {
    /// The template that a key holds.
    pub(crate) fn parse(key: &str, text: &str) -> Result<Self, InvalidConfig> {
        let mut engine = engine();
        engine
            .add_template_owned("line", text.to_owned())
            .map_err(|error| InvalidConfig::value(key, format!("is not a template: {}", why(&error))))?;
        let line = Self { engine };
        let tried = line.render(&nothing());
        tried.map_err(|error| InvalidConfig::value(key, format!("is not a template: {}", why(&error))))?;
        Ok(line)
    }

    /// What it says of a message; nothing, where it fails.
    pub(crate) fn write(&self, message: &Message) -> String {
        one_line(&self.render(message).unwrap_or_default())
    }

    fn render(&self, message: &Message) -> Result<String, minijinja::Error> {
        self.engine.get_template("line")?.render(values(message))
    }
}

/// The values that templates see: the fields, and the recipient.
fn values(message: &Message) -> Value {
    let fields = message.fields.iter().map(|(name, value)| (name.as_str(), Value::from(Serde(value))));
    Value::from_pairs(fields.chain([("recipient", Value::from(message.recipient.as_str()))]))
}

fn nothing() -> Message {
    let (id, recipient, template) = (String::new(), String::new(), String::new());
    Message { id, recipient, template, fields: serde_json::Map::new(), time_ms: 0 }
}

fn engine() -> Environment<'static> {
    let mut engine = Environment::new();
    engine.set_auto_escape_callback(|_| AutoEscape::None); // it is plain text, not a page
    engine.set_undefined_behavior(UndefinedBehavior::Chainable);
    engine.set_formatter(|out, state, value| {
        if value.is_undefined() || value.is_none() { Ok(()) } else { escape_formatter(out, state, value) }
    });
    engine.set_fuel(Some(limits::TEMPLATE_FUEL));
    // A line that holds nothing but `{% if … %}` leaves no line behind.
    if let Ok(syntax) = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build() {
        engine.set_syntax(syntax);
    }
    engine
}

/// Replaces the system's templates by an operator's. A file that replaces none is an error: its author means something
/// by it.
fn overrides(
    folder: &Path,
    language: &str,
    files: &mut BTreeMap<String, (String, String)>,
) -> Result<(), InvalidConfig> {
    let unreadable =
        |path: &Path, error: io::Error| InvalidConfig::value("templates", format!("{}: {error}", path.display()));
    let folder = folder.join(language);
    for entry in fs::read_dir(&folder).map_err(|error| unreadable(&folder, error))? {
        let path: PathBuf = entry.map_err(|error| unreadable(&folder, error))?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        if file.starts_with('.') {
            continue; // an editor's, or Kubernetes' own business
        }
        let Some(known) = file.strip_suffix(".txt").and_then(|name| files.get_mut(name)) else {
            let names: Vec<_> = files.keys().map(|name| format!("{name}.txt")).collect();
            let why = format!("{} is not the name of a template; these are: {}", path.display(), names.join(", "));
            return Err(InvalidConfig::value("templates", why));
        };
        let text = read_small(&path, limits::TEMPLATE_MAX_BYTES).map_err(|error| unreadable(&path, error))?;
        *known = (path.display().to_string(), text);
    }
    Ok(())
}

/// Reads a file that must be small.
pub(crate) fn read_small(path: &Path, max_bytes: u64) -> io::Result<String> {
    let mut text = String::new();
    let read = io::Read::read_to_string(&mut io::Read::take(fs::File::open(path)?, max_bytes + 1), &mut text)?;
    if read as u64 > max_bytes {
        return Err(io::Error::other(format!("it is over {max_bytes} bytes")));
    }
    Ok(text)
}

/// Takes a template apart, parses both parts and tries them.
fn add(engine: &mut Environment<'static>, name: &str, file: &str, text: &str) -> Result<(), InvalidConfig> {
    let invalid = |line: usize, why: String| InvalidConfig::Template { file: file.to_owned(), line, why };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let (subject, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let (gap, text) = rest.split_once('\n').unwrap_or((rest, ""));
    if subject.trim().is_empty() {
        return Err(invalid(1, "the first line must be the subject".into()));
    }
    if !gap.trim().is_empty() {
        return Err(invalid(2, "an empty line must follow the subject".into()));
    }
    if text.trim().is_empty() {
        return Err(invalid(3, "there is no text".into()));
    }
    for (part, source, lines_before) in [("subject", subject, 0), ("text", text, 2)] {
        let wrong = |error: &minijinja::Error| invalid(lines_before + error.line().unwrap_or(1), why(error));
        let template = format!("{name}/{part}");
        engine.add_template_owned(template.clone(), source.to_owned()).map_err(|error| wrong(&error))?;
        let tried = engine.get_template(&template).and_then(|template| template.render(values(&nothing())));
        tried.map_err(|error| wrong(&error))?;
    }
    Ok(())
}

fn why(error: &minijinja::Error) -> String {
    match (error.kind(), error.detail()) {
        (ErrorKind::SyntaxError, Some(detail)) => detail.to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    }
}

/// Whatever could end a header, or a line, is a space.
fn one_line(text: &str) -> String {
    let words = text.split(|letter: char| letter.is_whitespace() || is_unfit(letter)).filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    cut(&line, limits::SUBJECT_MAX_CHARS)
}

/// Lines end with `\n`; other control characters go.
fn plain(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let text: String = text.chars().filter(|letter| matches!(letter, '\n' | '\t') || !is_unfit(*letter)).collect();
    text.trim_end().to_owned()
}

/// Control characters, and the two separators of Unicode that some take for the end of a line.
fn is_unfit(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}')
}

/// At most this many characters; the last one shows that the text was cut.
pub(crate) fn cut(text: &str, max_chars: usize) -> String {
    if text.chars().count() <= max_chars {
        return text.to_owned();
    }
    text.chars().take(max_chars.saturating_sub(1)).chain(['…']).collect()
}

//! Text on its way to a terminal.

use crate::classes::is_unsafe_to_show;
use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    io,
};

/// A text with each character that acts on a terminal or hides in it written as its number, as JSON writes it: `\u202e`.
/// Line ends and tabs stay. In a text that is JSON the result is JSON of the same value.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe_to_show) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    push(&mut escaped, text);
    Cow::Owned(escaped)
}

fn push(out: &mut impl fmt::Write, text: &str) {
    for c in text.chars() {
        let mut units = [0; 2];
        // Writing to a String cannot fail; a formatter's error is returned by its caller's next write.
        let _ = if is_unsafe_to_show(c) {
            c.encode_utf16(&mut units).iter().try_for_each(|unit| write!(out, "\\u{unit:04x}"))
        } else {
            out.write_char(c)
        };
    }
}

/// Displays a value with [`escape()`] applied to it.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<T>(pub T);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Adapter<'a, 'f>(&'a mut fmt::Formatter<'f>);
        impl fmt::Write for Adapter<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0.write_str(&escape(text))
            }
        }
        write!(Adapter(f), "{}", self.0)
    }
}

/// A writer that applies [`escape()`] to whole texts: each `write` gets one. Colours, which programs add to their own
/// lines, may be let through.
#[derive(Debug)]
pub struct Escaping<W> {
    writer: W,
    lets_colours_through: bool,
}

impl<W> Escaping<W> {
    /// A writer that escapes everything.
    pub const fn new(writer: W) -> Self {
        Self { writer, lets_colours_through: false }
    }

    /// A writer that lets colours (`ESC [ … m`, ECMA-48, 8.3.117) through.
    pub const fn with_colours(writer: W) -> Self {
        Self { writer, lets_colours_through: true }
    }
}

impl<W: io::Write> io::Write for Escaping<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        if self.lets_colours_through {
            self.writer.write_all(escape_but_colours(&text).as_bytes())?;
        } else {
            self.writer.write_all(escape(&text).as_bytes())?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// As [`escape()`], but colours stay.
pub fn escape_but_colours(text: &str) -> Cow<'_, str> {
    if !text.contains('\u{1b}') {
        return escape(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    let mut parts = text.split("\u{1b}[");
    push(&mut escaped, parts.next().unwrap_or_default());
    for part in parts {
        let parameters = part.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b';').count();
        let is_colour = part.as_bytes().get(parameters) == Some(&b'm');
        escaped.push_str(if is_colour { "\u{1b}[" } else { "\\u001b[" });
        push(&mut escaped, part);
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use io::Write;
    use proptest::prelude::*;

    #[test]
    fn what_acts_on_a_terminal_is_shown_as_its_number() {
        assert_eq!(escape("\u{202e}abc\u{9b}31m"), r"\u202eabc\u009b31m");
        assert_eq!(escape("\u{1b}[2J\u{7}\r\0\u{7f}"), r"\u001b[2J\u0007\u000d\u0000\u007f");
        assert_eq!(escape("\u{2066}\u{200f}\u{feff}\u{2028}\u{e0001}"), r"\u2066\u200f\ufeff\u2028\udb40\udc01");
        for text in ["스토어99 👨‍👩‍👧 ❤️ می‌خواهم é", "a\n\tb"] {
            assert!(matches!(escape(text), Cow::Borrowed(same) if same == text), "{text:?}");
        }
        assert_eq!(Escaped("\u{202e}").to_string(), r"\u202e");
    }

    #[test]
    fn colours_of_the_program_pass_where_they_may() {
        let text = "\u{1b}[32m INFO\u{1b}[0m \u{1b}[2J \u{1b}]0;title\u{7} \u{1b}[1;31mred";
        let written = |mut writer: Escaping<Vec<u8>>| {
            writer.write_all(text.as_bytes()).expect("it can be written");
            String::from_utf8(writer.writer).expect("text")
        };
        let expected = "\u{1b}[32m INFO\u{1b}[0m \\u001b[2J \\u001b]0;title\\u0007 \u{1b}[1;31mred";
        assert_eq!(written(Escaping::with_colours(Vec::new())), expected);
        assert!(!written(Escaping::new(Vec::new())).contains('\u{1b}'));
    }

    proptest! {
        #[test]
        fn json_stays_the_same_json(text in any::<String>(), special in "[\u{202e}\u{9b}\u{7f}\u{feff}\u{e0001}\u{85}]*") {
            let value = serde_json::json!({ "name": format!("{text}{special}") });
            let escaped = escape(&value.to_string()).into_owned();
            prop_assert!(!escaped.chars().any(is_unsafe_to_show));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).expect("JSON"), value);
        }
    }
}

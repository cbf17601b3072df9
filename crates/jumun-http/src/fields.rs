//! The values of header fields: lists, parameters, media types, weights (RFC 9110, sections 5.6, 8.3.1 and 12.4.2).
//!
//! The crates for media types refuse what the grammar allows (`application/json ; q=0.9`), and do not divide lists.

use http::{HeaderMap, HeaderName};
use std::borrow::Cow;

/// A media type or a range of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MediaType<'a> {
    /// `application`, or `*`.
    pub(crate) kind: &'a str,
    /// `json`, or `*`.
    pub(crate) subtype: &'a str,
    parameters: &'a str,
}

impl<'a> MediaType<'a> {
    /// Parses a media type. None if it is none.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
        let (kind, subtype) = essence.trim().split_once('/')?;
        let media_type = Self { kind, subtype, parameters };
        (is_token(kind) && is_token(subtype) && media_type.parameters().all(|parameter| parameter.is_some()))
            .then_some(media_type)
    }

    /// Its parameters: names in any case, values without quotes. None in place of what is no parameter.
    pub(crate) fn parameters(self) -> impl Iterator<Item = Option<(&'a str, Cow<'a, str>)>> {
        divide(self.parameters, b';').map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            Some((is_token(name).then_some(name)?, unquoted(value)?))
        })
    }
}

/// The elements of all lines of a list, without empty ones. None in place of a line that is no ASCII text.
pub(crate) fn list<'a>(head: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = Option<&'a str>> {
    head.get_all(name).iter().flat_map(|line| {
        let text = line.to_str().ok();
        text.is_none().then_some(None).into_iter().chain(divide(text.unwrap_or_default(), b',').map(Some))
    })
}

/// The weight of an element of a list, in thousandths. `.2` is no weight by the grammar, but widespread clients send it.
pub(crate) fn weight(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let thousandths = format!("{fraction:0<3}");
    let is_number = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let thousandths = is_number.then(|| thousandths.parse::<u16>().ok()).flatten()?;
    match whole {
        "0" | "" if !text.is_empty() => Some(thousandths),
        "1" if thousandths == 0 => Some(1_000),
        _ => None,
    }
}

/// Whether a charset is UTF-8. `utf8` is not registered, but widespread clients send it.
pub(crate) fn is_utf8(charset: &str) -> bool {
    ["utf-8", "utf8"].iter().any(|name| charset.eq_ignore_ascii_case(name))
}

/// The parts between separators that stand outside quotes, trimmed, without empty ones.
fn divide(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut left = Some(text);
    std::iter::from_fn(move || {
        let text = left?;
        let (mut is_quoted, mut is_escaped) = (false, false);
        let end = text.bytes().position(|byte| {
            let is_end = byte == separator && !is_quoted;
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if is_quoted => is_escaped = true,
                b'"' => is_quoted = !is_quoted,
                _ => {}
            }
            is_end
        });
        left = end.map(|end| &text[end + 1..]);
        Some(text[..end.unwrap_or(text.len())].trim_matches([' ', '\t']))
    })
    .filter(|part| !part.is_empty())
}

fn is_token(text: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token)
}

/// The value of a token or of a quoted string.
fn unquoted(text: &str) -> Option<Cow<'_, str>> {
    let Some(rest) = text.strip_prefix('"') else { return is_token(text).then_some(Cow::Borrowed(text)) };
    let quoted = rest.strip_suffix('"')?;
    if !quoted.contains(['\\', '"']) {
        return Some(Cow::Borrowed(quoted));
    }
    let (mut value, mut letters) = (String::new(), quoted.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => value.push(letters.next()?),
            '"' => return None,
            letter => value.push(letter),
        }
    }
    Some(Cow::Owned(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_are_divided_outside_quotes() {
        let parts = |text| divide(text, b',').collect::<Vec<_>>();
        assert_eq!(parts("a, b ,\tc"), ["a", "b", "c"]);
        assert_eq!(parts(r#", a/b;x="1,\"2,";y=3 ,, c "#), [r#"a/b;x="1,\"2,";y=3"#, "c"]);
        assert_eq!(parts(" , "), Vec::<&str>::new());
    }

    #[test]
    fn media_types_are_parsed_as_the_grammar_has_them() {
        let parse = |text| {
            let parsed = MediaType::parse(text)?;
            let parameters = parsed.parameters().map(|known| known.map(|(name, value)| format!("{name}={value}")));
            Some((parsed.kind, parsed.subtype, parameters.collect::<Option<Vec<_>>>()?.join(" ")))
        };
        assert_eq!(parse("application/json"), Some(("application", "json", String::new())));
        assert_eq!(parse("a/b ; x=1 ;;\ty=\"2; \\\"3\" ;"), Some(("a", "b", "x=1 y=2; \"3".into())));
        for nonsense in
            ["", "json", "a/", "/b", "a/b c", "a/b;x", "a/b;x=", "a/b;x =1", "a/b;x=\"1", "a/b/c", "a/b, c/d"]
        {
            assert_eq!(parse(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn weights_are_thousandths() {
        for (text, expected) in
            [("1", 1_000), ("1.000", 1_000), ("0.5", 500), ("0", 0), ("0.", 0), (".2", 200), ("0.001", 1)]
        {
            assert_eq!(weight(text), Some(expected), "{text}");
        }
        for nonsense in ["", "2", "1.1", "-1", "0.1234", "nan", "1e0", "0.5x", "+1"] {
            assert_eq!(weight(nonsense), None, "{nonsense}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_comes_in_panics(text in ".{0,40}", other in "[a-z/;=\"\\\\, .0-9]{0,30}") {
            for text in [&*text, &*other] {
                for part in divide(text, b',') {
                    if let Some(parsed) = MediaType::parse(part) {
                        prop_assert!(parsed.parameters().all(|parameter| parameter.is_some()));
                    }
                    let _: Option<u16> = weight(part);
                }
            }
        }
    }
}

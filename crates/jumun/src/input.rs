//! Reads what clients send: tolerant of form, strict in content. Errors name the field.

use crate::rejection::Rejection;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use std::borrow::Cow;

/// Why a body is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadInput {
    /// It is not JSON. 400.
    Malformed(String),
    /// It is JSON, but not valid. 422.
    Rejected(Rejection),
}

impl From<Rejection> for BadInput {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

/// Reads a JSON object as a `T`; unknown fields are ignored.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, BadInput> {
    let body = str::from_utf8(body).map_err(|error| BadInput::Malformed(error.to_string()))?;
    // Derived structs also read arrays, in the order of their fields. No client intends that.
    if body.trim_ascii_start().starts_with(['[', '"']) {
        return Err(malformed(body).unwrap_or(invalid("must be a JSON object")));
    }
    let mut deserializer = serde_json::Deserializer::from_str(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        // A bad value may precede malformed JSON, which is then the error to report.
        malformed(body).unwrap_or_else(|| classify(error.path().to_string(), error.inner()))
    })?;
    deserializer.end().map_err(|error| BadInput::Malformed(error.to_string()))?;
    Ok(value)
}

/// Why a text is not JSON. None: it is.
fn malformed(body: &str) -> Option<BadInput> {
    // `IgnoredAny` does not check the inside of strings. `Value` refuses 1e999, which is JSON, but out of range.
    let shape = serde_json::from_str::<IgnoredAny>(body).err();
    let error = shape.or_else(|| serde_json::from_str::<Value>(body).err())?.to_string();
    (!error.starts_with("number out of range")).then_some(BadInput::Malformed(error))
}

fn classify(path: String, error: &serde_json::Error) -> BadInput {
    // The text is JSON: what serde_json calls a syntax error, such as a number in place of a string, is a bad value.
    let text = error.to_string();
    let why = text.split(" at line ").next().unwrap_or(&text).to_owned();
    let field = if path == "." { named_field(&why) } else { Some(path) };
    let why = if why.starts_with("missing field") { "is required".into() } else { Cow::Owned(why) };
    Rejection::Invalid { field, why }.into()
}

/// The field that is missing or occurs twice. It is in the message: the path is that of the object around it.
fn named_field(why: &str) -> Option<String> {
    let is_named = why.starts_with("missing field") || why.starts_with("duplicate field");
    is_named.then(|| why.split('`').nth(1)).flatten().map(str::to_owned)
}

fn invalid(why: &'static str) -> BadInput {
    Rejection::Invalid { field: None, why: why.into() }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{Name, Quantity};
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Basket {
        store_name: Name,
        item_name: Option<Name>,
        item_qty: Quantity,
    }

    fn field_of(body: &str) -> Option<String> {
        match read::<Basket>(body.as_bytes()) {
            Err(BadInput::Rejected(Rejection::Invalid { field, .. })) => field,
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn unknown_fields_and_read_only_ones_are_ignored() {
        let body = br#"{"id":9,"storeName":"s","itemQty":"2","orderStatus":"PAID","color":{"deep":[1]}}"#;
        assert!(read::<Basket>(body).is_ok());
    }

    #[test]
    fn an_error_names_the_field() {
        assert_eq!(field_of(r#"{"itemQty":1}"#).as_deref(), Some("storeName"));
        assert_eq!(field_of(r#"{"storeName":"","itemQty":1}"#).as_deref(), Some("storeName"));
        assert_eq!(field_of(r#"{"storeName":7,"itemQty":1}"#).as_deref(), Some("storeName"));
        assert_eq!(field_of(r#"{"storeName":"s","itemQty":0}"#).as_deref(), Some("itemQty"));
        assert_eq!(field_of(r#"{"storeName":"s","itemQty":-3}"#).as_deref(), Some("itemQty"));
        assert_eq!(field_of(r#"{"storeName":"s","itemQty":1e999}"#).as_deref(), Some("itemQty"));
        assert_eq!(field_of(r#"{"storeName":"s","itemQty":null}"#).as_deref(), Some("itemQty"));
        assert_eq!(field_of(r#"{"storeName":"s","itemQty":1,"storeName":"t"}"#).as_deref(), Some("storeName"));
        assert_eq!(field_of(r#"["s","i",1]"#), None);
        assert_eq!(field_of("7"), None);
    }

    #[test]
    fn what_is_not_json_is_malformed() {
        let texts = [
            &b""[..],
            b"{",
            b"{\"storeName\":\"s\"",
            b"{\"itemQty\":0,",
            b"nonsense",
            b"NaN",
            b"{} {}",
            b"{\"storeName\":\"\xff\"}",
            b"{\"unknown\":\"\xff\",\"storeName\":\"s\",\"itemQty\":1}",
            b"\xff",
            b"[1,",
        ];
        for body in texts {
            let result = read::<Basket>(body);
            assert!(matches!(result, Err(BadInput::Malformed(_))), "{body:?}: {result:?}");
        }
        assert!(matches!(read::<Basket>("[".repeat(1_000).as_bytes()), Err(BadInput::Malformed(_))));
    }
}

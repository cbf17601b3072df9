//! Reads what clients send: tolerant of form, strict in content. Errors name the field.

mod error;
mod json;

use crate::rejection::Rejection;
use error::Error;
use json::Json;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

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

/// What is done with the texts in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Texts {
    /// People wrote them: they get the [canonical](jumun_text::canonical()) spelling, and one that has none is refused.
    OfPeople,
    /// A service of this system has accepted them before.
    AsTheyAre,
}

/// Reads a JSON object as a `T`; unknown fields are ignored.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8], texts: Texts) -> Result<T, BadInput> {
    let body = str::from_utf8(body).map_err(|error| BadInput::Malformed(error.to_string()))?;
    let raw: &RawValue = serde_json::from_str(body).map_err(|error| BadInput::Malformed(error.to_string()))?;
    let json = Json::new(raw, texts);
    if !json.is_object() {
        return Err(Rejection::Invalid { field: None, why: "the body must be a JSON object".into() }.into());
    }
    serde_path_to_error::deserialize(json).map_err(|error| {
        let path = error.path().to_string();
        let outer = Some(path).filter(|path| path != ".");
        match error.into_inner() {
            Error::Malformed(why) => BadInput::Malformed(why),
            Error::Invalid { field, why } => {
                let field = match (outer, field) {
                    (Some(outer), Some(field)) if outer != field => Some(format!("{outer}.{field}")),
                    (outer, field) => field.or(outer),
                };
                Rejection::Invalid { field, why: why.into() }.into()
            }
        }
    })
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
        #[serde(default)]
        note: Option<Note>,
        #[serde(default)]
        notes: Vec<Note>,
        #[serde(default)]
        size: Size,
        #[serde(default)]
        weight: Option<f64>,
        #[serde(default)]
        hot: bool,
        #[serde(default)]
        either: Option<Either>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Note {
        text: Name,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    enum Size {
        #[default]
        Small,
        Large,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(i64),
        Text(String),
    }

    /// A basket with these fields besides the required ones.
    fn with(fields: &str) -> Result<Basket, BadInput> {
        read(format!(r#"{{"storeName":"s","itemQty":1,{fields}}}"#).as_bytes(), Texts::OfPeople)
    }

    fn error_of(body: &str) -> (Option<String>, String) {
        match read::<Basket>(body.as_bytes(), Texts::OfPeople) {
            Err(BadInput::Rejected(Rejection::Invalid { field, why })) => (field, why.into_owned()),
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn an_error_is_in_the_words_of_a_client() {
        let required = r#""storeName":"s","itemQty":1"#;
        for (fields, field, why) in [
            (r#""storeName":null"#, "storeName", "must be a text"),
            (r#""storeName":{}"#, "storeName", "must be a text"),
            (r#""storeName":["s"]"#, "storeName", "must be a text"),
            (r#""storeName":true"#, "storeName", "must be a text"),
            (r#""storeName":1.5"#, "storeName", "must be a text"),
            (r#""storeName":1e-5000"#, "storeName", "must be a text"),
            (r#""itemQty":1"#, "storeName", "is required"),
            (r#""storeName":"s""#, "itemQty", "is required"),
            (r#""storeName":"s","itemQty":{}"#, "itemQty", "must be a whole number from 1 to 1000000000000"),
            (r#""storeName":"s","itemQty":"""#, "itemQty", "must be a whole number from 1 to 1000000000000"),
            (r#""storeName":"s","itemQty":"\u3164""#, "itemQty", "must be a whole number from 1 to 1000000000000"),
            (&format!(r#"{required},"size":"""#), "size", "must be one of `Small`, `Large`"),
            (&format!(r#"{required},"hot":" ""#), "hot", "must be true or false"),
            (r#""storeName":"s","itemQty":0.5"#, "itemQty", "must be a whole number from 1 to 1000000000000"),
            (r#""storeName":"s","itemQty":"2","itemQty":3"#, "itemQty", "the field `itemQty` occurs twice"),
            (&format!(r#"{required},"hot":true,"h\u006ft":false"#), "hot", "the field `hot` occurs twice"),
            (&format!(r#"{required},"note":7"#), "note", "must be a JSON object"),
            (&format!(r#"{required},"note":["x"]"#), "note", "must be a JSON object"),
            (&format!(r#"{required},"note":{{}}"#), "note.text", "is required"),
            (
                &format!(r#"{required},"note":{{"text":""}}"#),
                "note.text",
                "must be a text of which something is visible",
            ),
            (&format!(r#"{required},"note":{{"text":"a","text":"b"}}"#), "note.text", "the field `text` occurs twice"),
            (&format!(r#"{required},"notes":{{}}"#), "notes", "must be a list"),
            (&format!(r#"{required},"notes":[{{"text":"a"}},{{"text":7}}]"#), "notes[1].text", "must be a text"),
            (&format!(r#"{required},"size":"Huge""#), "size", "must be one of `Small`, `Large`"),
            (&format!(r#"{required},"size":1"#), "size", "must be one of `Small`, `Large`"),
            (&format!(r#"{required},"size":{{"Small":null}}"#), "size", "must be one of `Small`, `Large`"),
            (&format!(r#"{required},"weight":"heavy""#), "weight", "must be a number"),
            (&format!(r#"{required},"weight":1e999"#), "weight", "is no number that can be held"),
            (&format!(r#"{required},"hot":1"#), "hot", "must be true or false"),
            (&format!(r#"{required},"either":[]"#), "either", "has none of the forms that it may have"),
        ] {
            let (found, said) = error_of(&format!("{{{fields}}}"));
            assert_eq!((found.as_deref(), said.as_str()), (Some(field), why), "{fields}");
        }
        for body in ["null", "7", "true", r#""s""#, r#"["s","i",1]"#, "[]", " null "] {
            assert_eq!(error_of(body), (None, "the body must be a JSON object".to_owned()), "{body}");
        }
    }

    #[test]
    fn texts_are_as_people_see_them() {
        let name = |text: &str| {
            let body = serde_json::json!({ "storeName": text, "itemQty": 1 }).to_string();
            read::<Basket>(body.as_bytes(), Texts::OfPeople).map(|basket| basket.store_name.as_str().to_owned())
        };
        assert_eq!(name(" cafe\u{301} "), Ok("café".to_owned()));
        assert_eq!(name("👨\u{200d}👩\u{200d}👧"), Ok("👨\u{200d}👩\u{200d}👧".to_owned()));
        for text in ["", " "].into_iter().chain(jumun_testing::UNFIT_NAMES) {
            assert!(matches!(name(text), Err(BadInput::Rejected(Rejection::Invalid { .. }))), "{text:?}");
        }
        // What another service of the system has accepted is taken as it is.
        let old = read::<Basket>(br#"{"storeName":"kim\nlee","itemQty":1}"#, Texts::AsTheyAre);
        assert_eq!(old.map(|basket| basket.store_name.as_str().to_owned()), Ok("kim\nlee".to_owned()));
        // What is ignored is not looked at.
        assert!(with(r#""else":{"deep":["\u0000",""]},"else":2"#).is_ok());
    }

    #[test]
    fn numbers_are_exact() {
        let quantity = |number: &str| {
            let body = format!(r#"{{"storeName":"s","itemQty":{number}}}"#);
            read::<Basket>(body.as_bytes(), Texts::OfPeople).map(|basket| basket.item_qty.get())
        };
        for number in
            ["22000", "22000.0", "\"22000\"", "\" 22000 \"", "\"22000.0\"", "2.2e4", "22000000000000000000000e-18"]
        {
            assert_eq!(quantity(number), Ok(22_000), "{number}");
        }
        for number in
            ["0.99999999999999999999", "1.00000000000000000001", "1e-401", "1e999999999", "-0", "18446744073709551616"]
        {
            assert!(matches!(quantity(number), Err(BadInput::Rejected(_))), "{number}");
        }
        assert_eq!(
            with(r#""weight":1.5,"hot":true,"size":"Large","either":7.0"#),
            Ok(Basket {
                store_name: Name::new("s").expect("a name"),
                item_name: None,
                item_qty: Quantity::new(1).expect("a quantity"),
                note: None,
                notes: Vec::new(),
                size: Size::Large,
                weight: Some(1.5),
                hot: true,
                either: Some(Either::Number(7)),
            })
        );
    }

    #[test]
    fn what_nests_deeply_costs_little() {
        let deep = |depth: usize| format!(r#""either":{}{}"#, "[".repeat(depth), "]".repeat(depth));
        assert!(matches!(with(&deep(100_000)), Err(BadInput::Rejected(_))));
        assert!(with(&deep(100_000).replace("either", "else")).is_ok());
        let many: Vec<_> = (0..100_000).map(|nth| format!(r#""f{nth}":{nth}"#)).collect();
        assert!(with(&many.join(",")).is_ok());
    }

    fn field_of(body: &str) -> Option<String> {
        match read::<Basket>(body.as_bytes(), Texts::OfPeople) {
            Err(BadInput::Rejected(Rejection::Invalid { field, .. })) => field,
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn unknown_fields_and_read_only_ones_are_ignored() {
        let body = br#"{"id":9,"storeName":"s","itemQty":"2","orderStatus":"PAID","color":{"deep":[1]}}"#;
        assert!(read::<Basket>(body, Texts::OfPeople).is_ok());
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
            br#"{"storeName":"\ud800","itemQty":1}"#,
            br#"{"storeName":"s","\ud800":1,"itemQty":1}"#,
            b"{\"storeName\":\"a\nb\",\"itemQty\":1}",
        ];
        for body in texts {
            let result = read::<Basket>(body, Texts::OfPeople);
            assert!(matches!(result, Err(BadInput::Malformed(_))), "{body:?}: {result:?}");
        }
        assert!(matches!(read::<Basket>("[".repeat(1_000).as_bytes(), Texts::OfPeople), Err(BadInput::Malformed(_))));
    }
}

//! What an operator may change, and the errors about invalid changes.

use crate::support::{DEFAULTS, config, message};
use jumun_sender::{InvalidConfig, Message, SendError};
use serde_json::{Value, json};
use std::{fs, path::Path};

/// What a message says, sent to a file.
async fn said(
    folder: &Path,
    templates: &str,
    language: &str,
    message: &Message,
) -> Result<(String, String), SendError> {
    let path = folder.join(format!("{}.jsonl", unused_name()));
    let keys = json!({ "kind": "file", "language": language, "templates": templates, "file": { "path": path } });
    config(keys).open(DEFAULTS).expect("a sender").send(message).await?;
    let line: Value = serde_json::from_str(&fs::read_to_string(path).expect("a file")).expect("JSON");
    Ok((line["subject"].as_str().expect("a subject").into(), line["text"].as_str().expect("a text").into()))
}

/// A name that no other call has.
fn unused_name() -> usize {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

fn open_error(folder: &Path) -> InvalidConfig {
    config(json!({ "templates": folder })).open(DEFAULTS).expect_err("it cannot be")
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::create_dir_all(folder.join("ko")).expect("a folder");
    fs::write(folder.join("ko").join(name), text).expect("a file");
}

#[tokio::test]
async fn a_message_is_in_the_configured_language() {
    let folder = tempfile::tempdir().expect("a folder");
    let (subject, text) = said(folder.path(), "", "en", &message("m-1")).await.expect("sent");
    assert_eq!((subject.as_str(), text.as_str()), ("Application 7", "We have your application, kim."));
    let error = config(json!({ "language": "fr" })).open(DEFAULTS).expect_err("nobody speaks it");
    assert_eq!(error.to_string(), "`language`: `fr` is none of en, ko");
}

#[tokio::test]
async fn an_operators_template_takes_the_place_of_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "\u{feff}{{ status }}안녕 {{ customerId|upper }}\r\n\r\n<b>{{ nothing.at.all }}{{ eduNo }}</b>\r\n{% if status %}\r\nx\r\n{% endif %}\r\n끝 & 끝\r\n";
    write(folder.path(), "Ordered.txt", text);
    write(folder.path(), ".Ordered.txt.swp", "\0");
    let templates = folder.path().display().to_string();
    let mut quoting = message("m-1");
    quoting.fields.insert("customerId".into(), "Kim & <Lee>".into());
    let (subject, text) = said(folder.path(), &templates, "ko", &quoting).await.expect("sent");
    assert_eq!(subject, "안녕 KIM & <LEE>");
    assert_eq!(text, "<b>101</b>\n끝 & 끝", "what is not there is shown as nothing, and nothing is escaped");
    let paid = Message { template: "Paid".into(), ..message("m-2") };
    assert_eq!(said(folder.path(), &templates, "ko", &paid).await.expect("sent").0, "결제 완료");
}

#[test]
fn a_template_that_cannot_be_is_named_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    for (text, line, why) in [
        ("", 1, "subject"),
        ("\n\ntext\n", 1, "subject"),
        ("subject {{\n\ntext\n", 1, ""),
        ("subject\ntext\n", 2, "an empty line"),
        ("subject\n\n", 3, "no text"),
        ("subject", 3, "no text"),
        ("subject\n\none\ntwo {{ three four }}\nfive\n", 4, ""),
        ("subject\n\none\n{% if x %}\ntwo\n", 5, ""),
        ("subject\n\none\n\n{{ x|nonsense }}\n", 5, "nonsense"),
        ("subject {{ nonsense() }}\n\ntext\n", 1, "nonsense"),
        ("subject\n\n{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}", 3, "fuel"),
        ("subject\n\n{% include 'secrets' %}", 3, ""),
    ] {
        write(folder.path(), "Ordered.txt", text);
        let error = open_error(folder.path());
        assert_eq!(error.code(), "template-invalid");
        let InvalidConfig::Template { file, line: at, why: because } = error else { panic!("{text:?}: {error}") };
        assert!(file.ends_with("ko/Ordered.txt"), "{file}");
        assert_eq!(at, line, "{text:?}: {because}");
        assert!(because.contains(why), "{text:?}: {because}");
    }
}

#[test]
fn a_file_that_stands_for_nothing_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(open_error(folder.path()).to_string().contains("ko"), "there is no folder of this language");
    for name in ["Orderd.txt", "Ordered.text", "README.md"] {
        write(folder.path(), name, "subject\n\ntext\n");
        let error = open_error(folder.path()).to_string();
        assert!(error.starts_with("`templates`: ") && error.contains(name) && error.contains("Ordered.txt"), "{error}");
        fs::remove_file(folder.path().join("ko").join(name)).expect("a file");
    }
    write(folder.path(), "Ordered.txt", &format!("subject\n\n{}", "x".repeat(70_000)));
    assert!(open_error(folder.path()).to_string().contains("over 65536 bytes"));
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut large = message("m-1");
    large.fields.insert("customerId".into(), "x".repeat(70_000).into());
    let error = said(folder.path(), "", "ko", &large).await.expect_err("too large");
    assert!(matches!(error, SendError::Refused { .. }), "{error:?}");
}

/// The templates that ship with the course-enrollment system.
#[tokio::test]
async fn the_templates_of_course_enrollment_read_well() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../systems/course-enrollment/templates");
    let names = [
        "Ordered",
        "PaymentDelayed",
        "PaymentSettled",
        "OrderCanceled",
        "Paid",
        "PaymentCanceled",
        "Reserved",
        "ReservationConfirmed",
        "ReservationCanceled",
        "CourseStarted",
    ];
    let (folder, mut all) = (tempfile::tempdir().expect("a folder"), Vec::new());
    for language in ["ko", "en"] {
        for name in names {
            let text = fs::read_to_string(root.join(language).join(format!("{name}.txt"))).expect("a template");
            all.push((language, name, text));
        }
    }
    let all: Vec<_> = all.iter().map(|(language, name, text)| (*language, *name, text.as_str())).collect();
    for language in ["ko", "en"] {
        let path = folder.path().join(language);
        let keys = json!({ "kind": "file", "language": language, "file": { "path": path } });
        let sender = config(keys).open(&all).expect("a sender");
        for name in names {
            for (customer, status) in [(json!("kim"), "Reservation Confirmed"), (Value::Null, "Ordered")] {
                let mut message = Message { template: name.into(), ..message("m-1") };
                message.fields.insert("customerId".into(), customer);
                message.fields.insert("orderId".into(), "ref-2022-0007".into());
                message.fields.insert("status".into(), status.into());
                sender.send(&message).await.expect("written");
            }
        }
        let text = fs::read_to_string(&path).expect("a file");
        for line in text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")) {
            let (subject, text) = (line["subject"].as_str().expect("text"), line["text"].as_str().expect("text"));
            assert!(text.contains("ref-2022-0007") && text.contains("101"), "{text}");
            assert!(!text.contains("\n\n\n") && !text.contains(" ,") && !text.contains("  "), "{text}");
            let chars = format!("{subject}\n\n{text}").chars().count();
            assert!(chars <= 200, "KakaoTalk shows 200 characters, not {chars}: {subject} {text}");
        }
    }
}

//! The table `[notification.sender]`.

use crate::support::{DEFAULTS, config};
use jumun_sender::{Kind, SenderConfig};
use serde_json::{Value, json};

#[test]
fn nothing_configured_is_the_console_in_korean() {
    let config = config(json!({}));
    assert_eq!((config.kind, config.language.as_str(), config.time_limit.as_secs()), (Kind::Console, "ko", 5));
    assert_eq!(config, SenderConfig::default());
    config.open(DEFAULTS).expect("a sender");
}

#[test]
fn an_error_names_the_key() {
    let smtp = |keys: Value| {
        let mut smtp = json!({ "host": "mail.example.com", "from": "course@example.com" });
        smtp.as_object_mut().expect("a table").extend(keys.as_object().expect("a table").clone());
        json!({ "kind": "smtp", "smtp": smtp })
    };
    let kakaotalk = |keys: Value| json!({ "kind": "kakaotalk", "kakaotalk": keys });
    let folder = tempfile::tempdir().expect("a folder");
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").expect("a file");
    for (table, key) in [
        (json!({ "kind": "pigeon" }), "kind"),
        (json!({ "knd": "smtp" }), "knd"),
        (json!({ "time_limit": "soon" }), "time_limit"),
        (json!({ "time_limit": "0s" }), "time_limit"),
        (json!({ "time_limit": "1h" }), "time_limit"),
        (json!({ "time_limit": 5 }), "time_limit"),
        (json!({ "templates": "/no/such/folder" }), "templates"),
        (json!({ "ca_file": "/no/such/file" }), "ca_file"),
        (json!({ "ca_file": empty }), "ca_file"),
        (json!({ "kind": "file" }), "file.path"),
        (json!({ "kind": "file", "file": { "pth": "x" } }), "file.pth"),
        (kakaotalk(json!({})), "kakaotalk.token"),
        (kakaotalk(json!({ "token": "t", "token_file": "f" })), "kakaotalk.token"),
        (kakaotalk(json!({ "token": "two\nlines" })), "kakaotalk.token"),
        (kakaotalk(json!({ "token": 1_234_567 })), "kakaotalk.token"),
        (kakaotalk(json!({ "token": "t", "base_url": "kapi.kakao.com" })), "kakaotalk.base_url"),
        (kakaotalk(json!({ "token": "t", "link": "edu" })), "kakaotalk.link"),
        (kakaotalk(json!({ "token": "t", "to": "{{" })), "kakaotalk.to"),
        (kakaotalk(json!({ "token": "t", "send_to": "all" })), "kakaotalk.send_to"),
        (smtp(json!({ "host": "" })), "smtp.host"),
        (smtp(json!({ "host": "a b" })), "smtp.host"),
        (smtp(json!({ "port": 70_000 })), "smtp.port"),
        (smtp(json!({ "tls": "maybe" })), "smtp.tls"),
        (smtp(json!({ "tls": "opportunistic", "user": "shop", "password": "x" })), "smtp.tls"),
        (smtp(json!({ "user": "shop" })), "smtp.password"),
        (smtp(json!({ "from": "nobody" })), "smtp.from"),
        (smtp(json!({ "to": "{{ x|nonsense }}" })), "smtp.to"),
        (
            json!({ "kind": "webhook", "webhook": { "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" } }),
            "webhook.url",
        ),
        (json!({ "kind": "webhook", "webhook": { "url": "https://x", "secret": "1234567" } }), "webhook.secret"),
    ] {
        let error = SenderConfig::read(table.clone()).and_then(|config| config.open(DEFAULTS).map(|_| ()));
        let error = error.expect_err(&table.to_string());
        assert_eq!(error.code(), "sender-configuration-invalid");
        let text = error.to_string();
        assert!(text.contains(&format!("`{key}`")), "{table}: {text}");
        assert!(!text.contains("1234567") && !text.contains("two"), "no secret is told: {text}");
        assert!(!error.remedy().is_empty());
    }
}

#[test]
fn only_the_table_of_its_kind_counts() {
    config(json!({ "smtp": { "from": "nobody" }, "webhook": { "url": "nowhere" } })).open(DEFAULTS).expect("a sender");
}

#[test]
fn every_key_is_told_and_no_secret() {
    let table = json!({ "kind": "webhook", "webhook": { "url": "https://x", "secret": "hunter2" } });
    let entries = config(table).entries();
    let find = |key: &str| entries.iter().find(|(known, _)| known == key).map(|(_, value)| value.clone());
    assert_eq!(find("kind"), Some(json!("webhook")));
    assert_eq!(find("time_limit"), Some(json!("5s")));
    assert_eq!(find("webhook.secret"), Some(json!("***")));
    assert_eq!(find("kakaotalk.token"), Some(json!("")), "there is none");
    assert_eq!(find("kakaotalk.base_url"), Some(json!("https://kapi.kakao.com")));
    assert_eq!(entries.len(), 5 + 1 + 7 + 7 + 2, "{entries:?}");
    // What is shown may be written into the file again.
    let mut table = serde_json::to_value(SenderConfig::default()).expect("a table");
    assert_eq!(config(table.clone()), SenderConfig::default());
    table["language"] = "en".into();
    assert_eq!(config(table).language, "en");
}

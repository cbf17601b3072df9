//! The console and the file.

use crate::support::{DEFAULTS, config, message};
use jumun_sender::{Message, SendError};
use serde_json::{Value, json};

#[tokio::test]
async fn a_line_of_the_file_says_it_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("messages.jsonl");
    let sender = config(json!({ "kind": "file", "file": { "path": path } })).open(DEFAULTS).expect("a sender");
    sender.send(&message("m-1")).await.expect("written");
    sender
        .send(&Message { template: "Paid".into(), recipient: String::new(), ..message("m-2") })
        .await
        .expect("written");
    let text = std::fs::read_to_string(&path).expect("a file");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let expected = json!({
        "id": "m-1", "recipient": "kim", "subject": "신청 7 접수",
        "text": "kim님의 신청이 접수되었어요.\n.\n강의: 101", "time": "2022-09-22T07:06:48.970Z",
    });
    assert_eq!((&lines[0], &lines[1]["id"], lines.len()), (&expected, &json!("m-2"), 2));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = path.metadata().expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "it names customers");
    }
}

#[tokio::test]
async fn the_file_is_only_added_to_and_may_be_moved_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("messages.jsonl");
    std::fs::write(&path, "{\"id\":\"old\"}\n{\"id\":\"cut o").expect("a file");
    let sender = config(json!({ "kind": "file", "file": { "path": path } })).open(DEFAULTS).expect("a sender");
    sender.send(&message("m-1")).await.expect("written");
    let text = std::fs::read_to_string(&path).expect("a file");
    assert!(text.starts_with("{\"id\":\"old\"}\n{\"id\":\"cut o\n{\"id\":\"m-1\""), "{text}");

    std::fs::rename(&path, folder.path().join("messages.1")).expect("moved");
    sender.send(&message("m-2")).await.expect("written");
    let text = std::fs::read_to_string(&path).expect("a file");
    assert!(text.starts_with("{\"id\":\"m-2\"") && text.lines().count() == 1, "{text}");
}

#[tokio::test]
async fn many_at_once_are_whole_lines_or_not_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("messages.jsonl");
    let sender = config(json!({ "kind": "file", "file": { "path": path } })).open(DEFAULTS).expect("a sender");
    let messages: Vec<_> = (0..3000).map(|number| message(&number.to_string())).collect();
    let outcomes = futures_util::future::join_all(messages.iter().map(|message| sender.send(message))).await;
    let mut sent: Vec<_> =
        messages.iter().zip(&outcomes).filter(|(_, came)| came.is_ok()).map(|(one, _)| one.id.clone()).collect();
    assert!(outcomes.iter().all(|came| matches!(came, Ok(_) | Err(SendError::NotSent { .. }))));
    let text = std::fs::read_to_string(&path).expect("a file");
    let id = |line| serde_json::from_str::<Value>(line).expect("JSON")["id"].as_str().expect("an id").to_owned();
    let mut written: Vec<_> = text.lines().map(id).collect();
    sent.sort_unstable();
    written.sort_unstable();
    assert_eq!(written, sent, "what was not sent is not there");
    assert!(sent.len() >= 1024, "{}", sent.len());
}

#[test]
fn what_cannot_be_a_file_is_an_error_at_start() {
    let folder = tempfile::tempdir().expect("a folder");
    for path in [folder.path().to_owned(), folder.path().join("no/such/folder")] {
        let error = config(json!({ "kind": "file", "file": { "path": path } })).open(DEFAULTS).expect_err("no file");
        assert!(error.to_string().starts_with("`file.path`: "), "{error}");
    }
}

//! What KakaoTalk receives, field by field.

use crate::support::{
    DEFAULTS, config,
    http::{HttpServer, Reply, answer},
    message,
};
use jumun_sender::{Message, Receipt, SendError, Sender};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

const FRIENDS: &str = r#"{"successful_receiver_uuids":["kim"]}"#;
const ME: &str = r#"{"result_code":0}"#;

fn sender(server: &HttpServer, mut kakaotalk: Value) -> Arc<dyn Sender> {
    kakaotalk["base_url"] = server.url().into();
    if kakaotalk.get("token_file").is_none() {
        kakaotalk["token"] = "t0ken".into();
    }
    config(json!({ "kind": "kakaotalk", "kakaotalk": kakaotalk })).open(DEFAULTS).expect("a sender")
}

fn json_of(text: Option<String>) -> Value {
    serde_json::from_str(&text.expect("a field")).expect("JSON")
}

#[tokio::test]
async fn a_friend_is_sent_our_text() {
    let server = HttpServer::start(|_| answer(200, FRIENDS)).await;
    let keys = json!({ "to": "uuid-of-{{ customerId }}", "link": "https://edu.example.com" });
    let receipt = sender(&server, keys).send(&message("m-1")).await.expect("sent");
    assert_eq!(receipt, Receipt { reference: None });
    let request = &server.received()[0];
    assert_eq!((request.method.as_str(), request.uri.path()), ("POST", "/v1/api/talk/friends/message/default/send"));
    assert_eq!(request.header("authorization"), "Bearer t0ken");
    assert_eq!(request.header("content-type"), "application/x-www-form-urlencoded;charset=utf-8");
    assert_eq!(json_of(request.form("receiver_uuids")), json!(["uuid-of-kim"]));
    let link = "https://edu.example.com";
    let expected = json!({
        "object_type": "text",
        "text": "신청 7 접수\n\nkim님의 신청이 접수되었어요.\n.\n강의: 101",
        "link": { "web_url": link, "mobile_web_url": link },
    });
    assert_eq!(json_of(request.form("template_object")), expected);
    assert_eq!(request.form("template_id"), None);
}

#[tokio::test]
async fn a_template_of_kakao_is_filled_with_the_fields() {
    let server = HttpServer::start(|_| answer(200, FRIENDS)).await;
    sender(&server, json!({ "template_id": 4711 })).send(&message("m-1")).await.expect("sent");
    let request = &server.received()[0];
    assert_eq!(request.uri.path(), "/v1/api/talk/friends/message/send");
    assert_eq!(request.form("template_id").as_deref(), Some("4711"));
    let expected = json!({
        "orderId": "7", "customerId": "kim", "eduNo": "101", "status": "",
        "subject": "신청 7 접수", "text": "kim님의 신청이 접수되었어요.\n.\n강의: 101",
    });
    assert_eq!(json_of(request.form("template_args")), expected);
    assert_eq!(request.form("template_object"), None);
}

#[tokio::test]
async fn the_account_itself_is_told_without_a_receiver() {
    let server = HttpServer::start(|_| answer(200, ME)).await;
    for (keys, path) in [
        (json!({ "send_to": "me" }), "/v2/api/talk/memo/default/send"),
        (json!({ "send_to": "me", "template_id": 1 }), "/v2/api/talk/memo/send"),
    ] {
        sender(&server, keys).send(&Message { recipient: String::new(), ..message("m-1") }).await.expect("sent");
        let request = server.received().pop().expect("a request");
        assert_eq!(request.uri.path(), path);
        assert_eq!(request.form("receiver_uuids"), None);
    }
}

#[tokio::test]
async fn whom_nobody_knows_cannot_be_told() {
    let server = HttpServer::start(|_| answer(200, FRIENDS)).await;
    let nobody = Message { recipient: String::new(), ..message("m-1") };
    let error = sender(&server, json!({})).send(&nobody).await.expect_err("nobody");
    assert!(matches!(error, SendError::Refused { .. }), "{error:?}");
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn a_text_is_cut_to_what_kakaotalk_shows() {
    let server = HttpServer::start(|_| answer(200, FRIENDS)).await;
    let mut long = message("m-1");
    long.fields.insert("customerId".into(), "가나다라".repeat(100).into());
    sender(&server, json!({})).send(&long).await.expect("sent");
    let object = json_of(server.received()[0].form("template_object"));
    let text = object["text"].as_str().expect("a text");
    assert_eq!(text.chars().count(), 200);
    assert!(text.ends_with('…'), "{text}");
}

#[tokio::test]
async fn a_token_that_is_over_keeps_messages_and_a_new_one_lets_them_go() {
    let server = HttpServer::start(|request| {
        if request.header("authorization") == "Bearer new" {
            answer(200, FRIENDS)
        } else {
            answer(401, r#"{"msg":"this access token is already expired","code":-401}"#)
        }
    });
    let server = server.await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    let sender = sender(&server, json!({ "token_file": file }));
    let not_sent = async |why: &str| match sender.send(&message("m-1")).await {
        Err(SendError::NotSent { why: said, .. }) => assert!(said.contains(why), "{said}"),
        other => panic!("{other:?}"),
    };
    not_sent("cannot be read").await;
    std::fs::write(&file, "\n").expect("a file");
    not_sent("holds no token").await;
    std::fs::write(&file, "old\n").expect("a file");
    not_sent("KakaoTalk answered -401: this access token is already expired").await;
    std::fs::write(&file, "new\n").expect("a file");
    sender.send(&message("m-1")).await.expect("sent");
}

#[tokio::test]
async fn a_quota_is_waited_for_as_long_as_it_says() {
    let wait = || vec![("retry-after", "30".to_owned())];
    let server =
        HttpServer::start(move |_| Reply::Answer(400, wait(), r#"{"msg":"API limit","code":-10}"#.into())).await;
    let error = sender(&server, json!({})).send(&message("m-1")).await.expect_err("a quota");
    let why = "KakaoTalk answered -10: API limit".to_owned();
    assert_eq!(error, SendError::NotSent { why, retry_after: Some(Duration::from_secs(30)) });
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_it_open_whether_it_was_sent() {
    let server = HttpServer::start(|_| Reply::Break).await;
    let error = sender(&server, json!({})).send(&message("m-1")).await.expect_err("broken");
    assert!(matches!(error, SendError::Unknown { .. }), "{error:?}");
    assert_eq!(server.received().len(), 1, "one attempt");
}

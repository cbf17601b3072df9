//! KakaoTalk, by the message API of Kakao Developers (`kakaotalk-message/rest-api`).
//!
//! An access token speaks for one KakaoTalk account, here the shop's. With it a message goes to friends of that
//! account, each named by its UUID, or to the account itself, for trying things out. The text is our template's; or,
//! with `template_id`, a template made in Kakao's message template builder is filled with it.
//!
//! The API has no key to detect a repeated message: where an outcome is unknown, a customer may get a message twice.

use crate::{
    InvalidConfig, KakaoTalkConfig, Message, Receipt, Secret, SendError, SendTo,
    channel::Channel,
    http::{Answer, Http, retry_after, url},
    limits::{KAKAOTALK_TEXT_MAX_CHARS, SMALL_FILE_MAX_BYTES},
    message::Letter,
    templates::{Line, cut, read_small},
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::{path::PathBuf, time::Duration};

#[derive(Debug)]
pub(crate) struct KakaoTalk {
    http: Http,
    url: Uri,
    token: Token,
    send_to: SendTo,
    to: Line,
    template_id: Option<u64>,
    link: String,
}

/// The source of the access token. A file is read for every message: tokens live for hours, and the program that renews
/// them writes it.
#[derive(Debug)]
enum Token {
    Fixed(Secret),
    File(PathBuf),
}

impl KakaoTalk {
    pub(crate) fn new(config: &KakaoTalkConfig, http: Http) -> Result<Self, InvalidConfig> {
        let invalid = |key: &str, why: &str| InvalidConfig::value(format!("kakaotalk.{key}"), why);
        let KakaoTalkConfig { base_url, token, token_file, send_to, to, template_id, link } = config;
        let token = match (token.is_empty(), token_file.as_os_str().is_empty()) {
            (false, true) => Token::Fixed(token.clone()),
            (true, false) => Token::File(token_file.clone()),
            _ => return Err(invalid("token", "set this or token_file")),
        };
        if let Token::Fixed(token) = &token {
            bearer(token).map_err(|()| invalid("token", "has characters that no token has"))?;
        }
        let template_id = Some(*template_id).filter(|id| *id != 0);
        let path = match (send_to, template_id) {
            (SendTo::Friends, None) => "/v1/api/talk/friends/message/default/send",
            (SendTo::Friends, Some(_)) => "/v1/api/talk/friends/message/send",
            (SendTo::Me, None) => "/v2/api/talk/memo/default/send",
            (SendTo::Me, Some(_)) => "/v2/api/talk/memo/send",
        };
        let base = url(base_url).ok().filter(|url| url.query().is_none());
        let base = base.ok_or_else(|| invalid("base_url", "must be an address: https://kapi.kakao.com"))?;
        let url = url(&format!("{}{path}", base.to_string().trim_end_matches('/')))
            .map_err(|why| invalid("base_url", &why))?;
        if !link.is_empty() {
            crate::http::url(link).map_err(|why| invalid("link", &why))?;
        }
        let to = Line::parse("kakaotalk.to", to)?;
        Ok(Self { http, url, token, send_to: *send_to, to, template_id, link: link.clone() })
    }

    /// The form that the API takes.
    fn form(&self, message: &Message, letter: &Letter) -> Result<String, SendError> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        if self.send_to == SendTo::Friends {
            let receiver = self.to.write(message);
            if receiver.is_empty() {
                return Err(SendError::refused("it has no recipient"));
            }
            form.append_pair("receiver_uuids", &json!([receiver]).to_string());
        }
        let Letter { subject, text } = letter;
        match self.template_id {
            None => {
                let link = match self.link.as_str() {
                    "" => json!({}),
                    link => json!({ "web_url": link, "mobile_web_url": link }),
                };
                let text = cut(&format!("{subject}\n\n{text}"), KAKAOTALK_TEXT_MAX_CHARS);
                let object = json!({ "object_type": "text", "text": text, "link": link });
                form.append_pair("template_object", &object.to_string());
            }
            Some(id) => {
                let words = |value: &Value| match value {
                    Value::Null => String::new(),
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                let mut args: Map<String, Value> =
                    message.fields.iter().map(|(name, value)| (name.clone(), words(value).into())).collect();
                args.insert("subject".into(), subject.as_str().into());
                args.insert("text".into(), text.as_str().into());
                form.append_pair("template_id", &id.to_string());
                form.append_pair("template_args", &Value::Object(args).to_string());
            }
        }
        Ok(form.finish())
    }

    async fn attempt(&self, message: &Message, letter: Letter) -> Result<Receipt, SendError> {
        let form = self.form(message, &letter)?;
        let token = match &self.token {
            Token::Fixed(token) => token.clone(),
            Token::File(path) => {
                let read = read_small(path, SMALL_FILE_MAX_BYTES);
                let token =
                    read.map_err(|error| SendError::not_sent(format!("the token file cannot be read: {error}")))?;
                Secret::from(token.trim())
            }
        };
        let no_token = |()| SendError::not_sent("the token file holds no token");
        let mut head = HeaderMap::new();
        head.insert(header::AUTHORIZATION, bearer(&token).map_err(no_token)?);
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded;charset=utf-8");
        head.insert(header::CONTENT_TYPE, form_type);
        // Kakao ignores it. A relay in between may read it, and so do readers of its log.
        head.extend(
            HeaderValue::from_str(&message.id).map(|id| (http::HeaderName::from_static("idempotency-key"), id)),
        );
        let answer = self.http.post(&self.url, head, Bytes::from(form)).await?;
        judge(&answer, self.send_to, &token)
    }
}

impl Channel for KakaoTalk {
    fn deliver<'a>(&'a self, message: &'a Message, letter: Letter) -> BoxFuture<'a, Result<Receipt, SendError>> {
        Box::pin(self.attempt(message, letter))
    }
}

fn bearer(token: &Secret) -> Result<HeaderValue, ()> {
    if token.is_empty() {
        return Err(());
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(|_| ())?;
    value.set_sensitive(true);
    Ok(value)
}

/// An error of the API. The text may change any time, as they say; the code is what counts.
#[derive(Deserialize)]
struct Problem {
    code: i64,
    #[serde(default)]
    msg: String,
}

/// The API's answer where it took the request. A friend who did not get the message is in it, too.
#[derive(Deserialize)]
struct Taken {
    result_code: Option<i64>,
    #[serde(default)]
    successful_receiver_uuids: Vec<String>,
    #[serde(default)]
    failure_info: Vec<Problem>,
}

/// The outcome of a request.
fn judge(answer: &Answer, send_to: SendTo, token: &Secret) -> Result<Receipt, SendError> {
    let Answer { status, head, body } = answer;
    let body = body.as_deref().unwrap_or_default();
    if status.is_success() {
        let unknown = || SendError::unknown(format!("it answered {status} and not what came of it"));
        let taken = serde_json::from_slice::<Taken>(body).map_err(|_| unknown())?;
        if let Some(problem) = taken.failure_info.first() {
            return Err(of_problem(problem, *status, About::Friend, None, token));
        }
        let is_done = match send_to {
            SendTo::Friends => !taken.successful_receiver_uuids.is_empty(),
            SendTo::Me => taken.result_code == Some(0),
        };
        return if is_done { Ok(Receipt { reference: None }) } else { Err(unknown()) };
    }
    let retry_after = retry_after(head);
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => Err(of_problem(&problem, *status, About::Request, retry_after, token)),
        Err(_) if is_unclear(*status) => Err(SendError::unknown(format!("it answered {status}"))),
        // Not from the API itself: a wrong base_url, a proxy. An operator can correct that.
        Err(_) => Err(SendError::NotSent { why: format!("it answered {status}"), retry_after }),
    }
}

/// A server that reports its own failure may have failed late. It answers 503 before it does anything.
fn is_unclear(status: StatusCode) -> bool {
    status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE
}

/// The subject of a problem: the whole request, and so the shop's account, or the one friend who did not get the
/// message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum About {
    Request,
    Friend,
}

/// What a code says about the message (`rest-api/error-code` of Kakao Developers).
fn of_problem(
    problem: &Problem,
    status: StatusCode,
    about: About,
    retry_after: Option<Duration>,
    token: &Secret,
) -> SendError {
    let Problem { code, msg } = problem;
    let why = format!("KakaoTalk answered {code}: {}", token.quote(msg));
    match code {
        // An internal error, a time-out between their own servers: at whichever point.
        -1 | -603 => SendError::Unknown { why },
        // An invalid argument (not a friend, a text that does not fit), or something that is not allowed.
        -2 | -6 => SendError::Refused { why },
        // A customer who takes no messages (-530), or does not use KakaoTalk (-501).
        -530 => SendError::Refused { why },
        -501 if about == About::Friend => SendError::Refused { why },
        // The app, the account or the token lacks something: -3 a setting, -4 sanctions, -5 a permission, -8 a header,
        // -9 an API that is over, -11 money, -12 sanctions, -101 to -103 and -501 the account, -401 a token that is
        // wrong or over, -402 a consent, -405 and -406 the account's age, -903 the app's developer. The message is
        // innocent.
        -3 | -4 | -5 | -8 | -9 | -11 | -12 | -101 | -102 | -103 | -401 | -402 | -405 | -406 | -501 | -903 => {
            SendError::NotSent { why, retry_after }
        }
        // Time heals: maintenance (-7, -9798), quotas (-10 of requests; -532, -533, -536 of messages a day), a
        // friendship that is not everywhere known yet (-502).
        -7 | -9798 | -10 | -532 | -533 | -536 | -502 => SendError::NotSent { why, retry_after },
        _ if is_unclear(status) => SendError::Unknown { why },
        // A code we do not know is still an error of theirs: it was not sent. It is tried for as long as others are.
        _ => SendError::NotSent { why, retry_after },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge_text(status: u16, send_to: SendTo, body: &str) -> &'static str {
        let status = StatusCode::from_u16(status).expect("a status");
        let answer = Answer { status, head: HeaderMap::new(), body: Some(Bytes::from(body.to_owned())) };
        match judge(&answer, send_to, &Secret::default()) {
            Ok(_) => "sent",
            Err(SendError::Refused { .. }) => "refused",
            Err(SendError::NotSent { .. }) => "not sent",
            Err(SendError::Unknown { .. }) => "unknown",
        }
    }

    #[test]
    fn every_documented_code_says_what_came_of_the_message() {
        let (refused, not_sent, unknown) = ("refused", "not sent", "unknown");
        for (code, status, of_request, of_friend) in [
            (-1, 400, unknown, unknown),
            (-2, 400, refused, refused),
            (-3, 403, not_sent, not_sent),
            (-4, 403, not_sent, not_sent),
            (-5, 403, not_sent, not_sent),
            (-6, 403, refused, refused),
            (-7, 400, not_sent, not_sent),
            (-8, 400, not_sent, not_sent),
            (-9, 400, not_sent, not_sent),
            (-10, 400, not_sent, not_sent),
            (-11, 400, not_sent, not_sent),
            (-12, 403, not_sent, not_sent),
            (-101, 400, not_sent, not_sent),
            (-102, 400, not_sent, not_sent),
            (-103, 400, not_sent, not_sent),
            (-401, 401, not_sent, not_sent),
            (-402, 403, not_sent, not_sent),
            (-406, 401, not_sent, not_sent),
            (-501, 400, not_sent, refused),
            (-502, 400, not_sent, not_sent),
            (-530, 400, refused, refused),
            (-532, 400, not_sent, not_sent),
            (-533, 400, not_sent, not_sent),
            (-536, 400, not_sent, not_sent),
            (-603, 400, unknown, unknown),
            (-903, 400, not_sent, not_sent),
            (-9798, 503, not_sent, not_sent),
            (-31337, 400, not_sent, not_sent),
        ] {
            let problem = format!(r#"{{"msg":"why","code":{code}}}"#);
            assert_eq!(judge_text(status, SendTo::Friends, &problem), of_request, "{code}");
            let answer = format!(
                r#"{{"failure_info":[{{"code":{code},"msg":"why","receiver_uuids":["u"]}}],"successful_receiver_uuids":[]}}"#
            );
            assert_eq!(judge_text(200, SendTo::Friends, &answer), of_friend, "{code}");
        }
        assert_eq!(
            judge_text(500, SendTo::Me, r#"{"msg":"why","code":-31337}"#),
            unknown,
            "it failed, who knows where"
        );
    }

    #[test]
    fn only_a_clear_yes_is_sent() {
        assert_eq!(judge_text(200, SendTo::Me, r#"{"result_code":0}"#), "sent");
        assert_eq!(judge_text(200, SendTo::Friends, r#"{"successful_receiver_uuids":["u"]}"#), "sent");
        for (send_to, body) in [
            (SendTo::Me, r#"{"result_code":1}"#),
            (SendTo::Me, r#"{"successful_receiver_uuids":["u"]}"#),
            (SendTo::Friends, r#"{"result_code":0}"#),
            (SendTo::Friends, r#"{"successful_receiver_uuids":[]}"#),
            (SendTo::Friends, ""),
            (SendTo::Friends, "<html>"),
            (SendTo::Friends, "null"),
        ] {
            assert_eq!(judge_text(200, send_to, body), "unknown", "{body}");
        }
    }

    #[test]
    fn what_is_not_the_api_never_refuses_a_message() {
        for (status, expected) in [
            (301, "not sent"),
            (401, "not sent"),
            (404, "not sent"),
            (429, "not sent"),
            (503, "not sent"),
            (500, "unknown"),
            (502, "unknown"),
            (504, "unknown"),
        ] {
            assert_eq!(judge_text(status, SendTo::Friends, "<html>"), expected, "{status}");
        }
    }
}

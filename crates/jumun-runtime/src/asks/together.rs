//! Several questions in one request: what is on the wire.
//!
//! One commit makes many questions durable at once, so they become ready in the same moment. To a neighbour that takes them
//! (`together=64` in [`super::capacity`]) they go out as one request: `POST <ask path>` with the media type
//! [`ASKS`](jumun_http::ASKS) and a line of JSON for each question. It has what the headers of a question alone have:
//!
//! ```json
//! {"id":"0199…","expires":1764212345678,"request":"9f2c…","parent":"00-4bf9…-01","question":{"orderId":7,"price":9000}}
//! ```
//!
//! The answer is `200` with the same media type and a line for each question, as soon as that one is answered, in any order:
//!
//! ```json
//! {"id":"0199…","status":201,"answer":{"orderId":7,"payStatus":"Approved"}}
//! ```
//!
//! Each question is its own in everything: its id, its time, its commit, its answer. A request that is refused as a whole is
//! the answer to each of them, and a connection that breaks leaves unknown what is not answered yet.

use super::transport::{Outcome, Question, classify};
use http::{HeaderValue, StatusCode};
use jumun_telemetry::Origin;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use uuid::Uuid;

/// A question, as a line.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AskLine<'l> {
    /// Its id.
    pub(crate) id: Uuid,
    /// When it is given up, in milliseconds since 1970 UTC.
    pub(crate) expires: i64,
    /// `x-request-id` of what led to it.
    #[serde(borrow)]
    request: Cow<'l, str>,
    /// `traceparent`.
    #[serde(borrow)]
    parent: Cow<'l, str>,
    /// `tracestate`.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    state: Option<Cow<'l, str>>,
    /// The question itself: exactly the body that it has when it comes alone.
    #[serde(borrow)]
    question: &'l RawValue,
}

/// An answer, as a line.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AnswerLine<'l> {
    /// The id of the question.
    pub(crate) id: Uuid,
    /// The HTTP status that the question alone would get.
    status: u16,
    /// The body that it would get.
    #[serde(borrow)]
    answer: &'l RawValue,
}

/// Adds a question to the body of a request. An error: its body is no JSON.
pub(super) fn push_question(body: &mut Vec<u8>, question: &Question) -> serde_json::Result<()> {
    let Question { id, expires_ms, body: asked, origin, .. } = question;
    let line = AskLine {
        id: *id,
        expires: *expires_ms,
        request: Cow::Borrowed(&origin.request),
        parent: Cow::Owned(origin.trace.to_string()),
        state: origin.state.as_ref().and_then(|state| state.to_str().ok()).map(Cow::Borrowed),
        question: serde_json::from_str(asked)?,
    };
    serde_json::to_writer(&mut *body, &line)?;
    body.push(b'\n');
    Ok(())
}

/// Reads the questions of a request.
pub(crate) fn questions(body: &[u8]) -> serde_json::Result<Vec<AskLine<'_>>> {
    serde_json::Deserializer::from_slice(body).into_iter().collect()
}

impl AskLine<'_> {
    /// The question, as it would be the body of a request.
    pub(crate) fn body(&self) -> &[u8] {
        self.question.get().as_bytes()
    }

    /// The cause of the question, as its headers would tell it.
    pub(crate) fn origin(&self, samples: impl FnOnce() -> bool) -> Origin {
        let state = self.state.as_ref().and_then(|state| HeaderValue::from_str(state).ok());
        Origin::of_parts(Some(&self.request), Some(&self.parent), state, samples)
    }
}

/// Adds an answer to the body of a response. What is no JSON answers nothing, and is sent as `null`.
pub(crate) fn push_answer(body: &mut Vec<u8>, id: Uuid, status: u16, answer: &str) {
    let start = body.len();
    let answer = serde_json::from_str(answer).unwrap_or(RawValue::NULL);
    if serde_json::to_writer(&mut *body, &AnswerLine { id, status, answer }).is_err() {
        return body.truncate(start); // no answer is unknown to the asker
    }
    // JSON has a line break only between its parts, where a space means the same.
    body[start..].iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
    body.push(b'\n');
}

impl<'l> AnswerLine<'l> {
    /// Reads a line; without one of our answers nobody is answered.
    pub(super) fn parse(line: &'l [u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// What it means to the question.
    pub(super) fn outcome(&self, question: &Question) -> Outcome {
        let Ok(status) = StatusCode::from_u16(self.status) else {
            return Outcome::Unknown(format!("it answered {}", self.status));
        };
        classify(status, true, self.answer.get().as_bytes(), |answer| (question.is_answer)(&question.body, answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jumun::AskTarget;
    use proptest::prelude::*;
    use std::time::Duration;

    fn question(body: &str) -> Question {
        Question {
            target: AskTarget { service: "payment", path: "/payinfos" },
            id: Uuid::now_v7(),
            body: body.into(),
            expires_ms: 1_764_212_345_678,
            time_limit: Duration::from_secs(1),
            is_answer: |question, answer| question == answer,
            origin: Origin::new(true),
        }
    }

    proptest! {
        #[test]
        fn questions_arrive_as_they_were_sent(prices in proptest::collection::vec(any::<f64>(), 1..20), text in ".*") {
            let bodies: Vec<_> = prices.iter().map(|price| serde_json::json!({ "price": price, "text": text }).to_string()).collect();
            let sent: Vec<_> = bodies.iter().map(|body| question(body)).collect();
            let mut body = Vec::new();
            for question in &sent {
                push_question(&mut body, question).expect("JSON");
            }
            let received = questions(&body).expect("lines");
            prop_assert_eq!(received.len(), sent.len());
            for (line, question) in received.iter().zip(&sent) {
                prop_assert_eq!((line.id, line.expires), (question.id, question.expires_ms));
                prop_assert_eq!(line.body(), question.body.as_bytes());
                let origin = line.origin(|| false);
                prop_assert_eq!(&origin.request, &question.origin.request);
                prop_assert_eq!(origin.parent, Some(question.origin.trace.span_id));
                prop_assert_eq!(origin.trace.trace_id, question.origin.trace.trace_id);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = questions(&bytes);
            let _ = AnswerLine::parse(&bytes);
        }
    }

    #[test]
    fn an_answer_is_one_line_and_answers_its_question() {
        let asked = question("{\"orderId\":7}");
        let outcome = |status, answer: &str| {
            let mut body = Vec::new();
            push_answer(&mut body, asked.id, status, answer);
            assert_eq!(body.iter().position(|byte| *byte == b'\n'), Some(body.len() - 1));
            let line = AnswerLine::parse(&body).expect("a line");
            assert_eq!(line.id, asked.id);
            line.outcome(&asked)
        };
        assert_eq!(outcome(201, "{\"orderId\":7}"), Outcome::Accepted("{\"orderId\":7}".to_owned()));
        for (status, answer) in
            [(201, "{\n\"orderId\":7}"), (200, "{\"orderId\":8}"), (201, ""), (99, "{}"), (500, "{}")]
        {
            assert!(matches!(outcome(status, answer), Outcome::Unknown(_)), "{status} {answer}");
        }
    }

    #[test]
    fn a_problem_in_a_line_means_what_it_means_alone() {
        use jumun_http::{Code, Problem};
        let asked = question("{}");
        for code in [Code::Declined, Code::Overloaded, Code::NotDone, Code::OutcomeUnknown, Code::Internal] {
            let problem = Problem::new(code, "why");
            let mut body = Vec::new();
            push_answer(&mut body, asked.id, code.status(), &problem.body(code.status(), "/payinfos", "r"));
            let line = AnswerLine::parse(&body).expect("a line");
            assert_eq!(line.outcome(&asked), super::super::transport::of_problem(problem), "{code:?}");
        }
    }
}

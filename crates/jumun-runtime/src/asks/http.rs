//! Neighbours over HTTP/1.1, and external ones through their adapters.
//!
//! Questions that become ready in the same moment go out together, to a neighbour that takes several in one request (see
//! `together.rs`). Nothing waits for that: a question alone goes out alone.

use super::{
    capacity,
    together::{self, AnswerLine},
    transport::{Answered, External, Outcome, Question, Transport, VoidError, VoidFuture, classify},
};
use crate::{
    crash,
    limits::{TOGETHER_MAX, VOID_TIME_LIMIT},
};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use jumun::AskTarget;
use jumun_guard::Capacity;
use jumun_http::{
    ASKS, EXPIRES, IDEMPOTENCY_KEY, chain,
    limits::{BODY_MAX_BYTES, IDLE_CONNECTION_KEPT, IDLE_CONNECTIONS_MAX},
};
use jumun_telemetry::Origin;
use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::oneshot;
use uuid::Uuid;

/// The way to the neighbours over HTTP/1.1, and to external ones through their adapters.
pub struct HttpTransport {
    neighbours: Arc<Neighbours>,
    outside: BTreeMap<&'static str, Arc<dyn External>>,
}

struct Neighbours {
    client: Client<HttpConnector, Full<Bytes>>,
    urls: BTreeMap<String, Uri>,
    lines: Mutex<HashMap<AskTarget, Line>>,
}

/// What goes to one neighbour next.
#[derive(Default)]
struct Line {
    waiting: Vec<Waiting>,
    /// How many questions the neighbour takes in one request, as it has told. `None`: one.
    together: Option<u32>,
}

/// A question that is not sent yet, or not answered.
struct Waiting {
    question: Question,
    answer: oneshot::Sender<Answered>,
}

/// Why an exchange gave no response.
enum NoResponse {
    /// Nothing was sent.
    NotSent(String),
    /// Something was sent, and the connection broke.
    Broken(String),
    /// Something was sent.
    Lost(String),
}

impl NoResponse {
    /// Classifies an error after the connection was established.
    fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut causes = std::iter::successors(Some(error), |cause| cause.source());
        let is_broken = causes.any(|cause| match cause.downcast_ref::<hyper::Error>() {
            Some(error) => error.is_incomplete_message() || error.is_closed() || error.is_canceled(),
            None => cause.is::<std::io::Error>(),
        });
        if is_broken { Self::Broken(chain(error)) } else { Self::Lost(chain(error)) }
    }

    fn why(self) -> String {
        match self {
            Self::NotSent(why) | Self::Broken(why) | Self::Lost(why) => why,
        }
    }
}

impl From<NoResponse> for Outcome {
    fn from(no_response: NoResponse) -> Self {
        match no_response {
            NoResponse::NotSent(why) => Self::NotDone(why),
            NoResponse::Broken(why) => Self::Broken(why),
            NoResponse::Lost(why) => Self::Unknown(why),
        }
    }
}

fn no_answer(time_limit: Duration) -> Outcome {
    Outcome::Unknown(format!("no answer within {time_limit:?}"))
}

impl HttpTransport {
    /// A transport to services at these addresses, `http://host:port`.
    pub fn new(urls: BTreeMap<String, Uri>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_CONNECTION_KEPT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .pool_timer(TokioTimer::new())
            .build(connector);
        let neighbours = Arc::new(Neighbours { client, urls, lines: Mutex::default() });
        Self { neighbours, outside: BTreeMap::new() }
    }

    /// Adds a neighbour outside the system.
    #[must_use]
    pub fn with_external(mut self, name: &'static str, outside: Arc<dyn External>) -> Self {
        self.outside.insert(name, outside);
        self
    }
}

impl Transport for HttpTransport {
    fn ask(&self, question: Question) -> BoxFuture<'_, Answered> {
        Box::pin(async move {
            let (target, time_limit) = (question.target, question.time_limit);
            if target.is_external() {
                let Some(outside) = self.outside.get(target.service) else {
                    return Outcome::NotDone(format!("no adapter sends to {}", target.service)).into();
                };
                let outcome = tokio::time::timeout(time_limit, outside.tell(question.id, &question.body)).await;
                return outcome.unwrap_or_else(|_| no_answer(time_limit)).into();
            }
            let (answer, answered) = oneshot::channel();
            Neighbours::enqueue(&self.neighbours, Waiting { question, answer });
            match tokio::time::timeout(time_limit, answered).await {
                Ok(Ok(answered)) => answered,
                Ok(Err(_)) => Outcome::Unknown("the exchange with it ended without an answer".to_owned()).into(),
                Err(_) => no_answer(time_limit).into(),
            }
        })
    }

    fn void<'a>(&'a self, service: &'a str, path: &'a str, id: Uuid, origin: &'a Origin) -> VoidFuture<'a> {
        Box::pin(async move {
            let post = async {
                let uri = self.neighbours.uri(service, &format!("{path}/void"))?;
                // The header marks it as an ask. Undoing never expires.
                let response = self.neighbours.post(uri, head(id, i64::MAX, origin), Bytes::from_static(b"{}")).await?;
                let status = response.status();
                read(response).await.map(|_| status)
            };
            match tokio::time::timeout(VOID_TIME_LIMIT, post).await {
                Ok(Ok(StatusCode::NO_CONTENT)) => Ok(()),
                Ok(Ok(status)) => Err(VoidError::NotUndone(format!("it answered {status}"))),
                Ok(Err(no_response)) => Err(VoidError::NoAnswer(no_response.why())),
                Err(_) => Err(VoidError::NoAnswer(format!("no answer within {VOID_TIME_LIMIT:?}"))),
            }
        })
    }
}

impl Neighbours {
    /// Puts a question into its line. The first one has the line sent as soon as all tasks that are ready have run: those
    /// whose commit was done in the same moment have put their questions beside it by then.
    fn enqueue(this: &Arc<Self>, waiting: Waiting) {
        let target = waiting.question.target;
        let mut lines = this.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.entry(target).or_default();
        line.waiting.push(waiting);
        if line.waiting.len() == 1 {
            let this = this.clone();
            tokio::spawn(async move { this.send_line(target).await });
        }
    }

    async fn send_line(self: Arc<Self>, target: AskTarget) {
        let (mut waiting, together) = {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            let line = lines.entry(target).or_default();
            (mem::take(&mut line.waiting), line.together)
        };
        waiting.retain(|waiting| !waiting.answer.is_closed()); // given up before it was sent
        let mut groups = groups(waiting, together.map_or(1, |together| together.min(TOGETHER_MAX) as usize));
        let last = groups.pop();
        for group in groups {
            let this = self.clone();
            tokio::spawn(async move { this.exchange(target, group).await });
        }
        if let Some(last) = last {
            self.exchange(target, last).await;
        }
    }

    /// Sends questions, and answers each one that gets an answer.
    async fn exchange(&self, target: AskTarget, group: Vec<Waiting>) {
        let time_limit = group.iter().map(|waiting| waiting.question.time_limit).max().unwrap_or_default();
        let mut open = Open { group, capacity: None };
        let exchange = async {
            let response = match &open.group[..] {
                [] => return Ok(()),
                [Waiting { question, .. }] => {
                    let Question { id, expires_ms, origin, .. } = question;
                    let uri = self.uri(target.service, target.path).map_err(not_sent)?;
                    self.post(uri, head(*id, *expires_ms, origin), Bytes::copy_from_slice(question.body.as_bytes()))
                        .await?
                }
                questions => self.post_together(target, questions).await?,
            };
            let told = capacity::of_head(response.headers());
            self.note_together(target, told.together);
            open.capacity = told.capacity;
            open.read_answers(response).await
        };
        let ended = tokio::time::timeout(time_limit, exchange).await;
        if matches!(ended, Ok(Err(_))) {
            self.note_together(target, None); // it may be another release that comes next
        }
        open.answer_rest(match ended {
            Ok(Ok(())) => Outcome::Unknown("it answered without a word on this question".to_owned()),
            Ok(Err(no_response)) => no_response.into(),
            Err(_) => no_answer(time_limit),
        });
    }

    async fn post_together(&self, target: AskTarget, questions: &[Waiting]) -> Result<Response<Incoming>, NoResponse> {
        let uri = self.uri(target.service, target.path).map_err(not_sent)?;
        let mut body = Vec::with_capacity(questions.iter().map(|waiting| waiting.question.body.len() + 256).sum());
        let mut expires_ms = i64::MIN;
        for Waiting { question, .. } in questions {
            let pushed = together::push_question(&mut body, question);
            pushed.map_err(|error| NoResponse::NotSent(format!("a question is no JSON: {error}")))?;
            expires_ms = expires_ms.max(question.expires_ms);
        }
        let mut head = HeaderMap::with_capacity(4);
        head.insert(header::CONTENT_TYPE, HeaderValue::from_static(ASKS));
        head.insert(EXPIRES, expires_ms.into());
        let response = self.post(uri, head, body.into()).await?;
        crash::point("together.sent");
        Ok(response)
    }

    fn note_together(&self, target: AskTarget, together: Option<u32>) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.entry(target).or_default().together = together;
    }

    fn uri(&self, service: &str, path: &str) -> Result<Uri, NoResponse> {
        let base = self
            .urls
            .get(service)
            .ok_or_else(|| NoResponse::NotSent(format!("{service} has no configured address")))?;
        let mut parts = base.clone().into_parts();
        parts.path_and_query =
            Some(path.parse().map_err(|error| NoResponse::NotSent(format!("the path {path} is invalid: {error}")))?);
        Uri::from_parts(parts).map_err(|error| NoResponse::NotSent(error.to_string()))
    }

    async fn post(&self, uri: Uri, head: HeaderMap, body: Bytes) -> Result<Response<Incoming>, NoResponse> {
        let request = Request::post(uri).body(Full::from(body));
        let mut request = request.map_err(|error| NoResponse::NotSent(error.to_string()))?;
        *request.headers_mut() = head;
        self.client.request(request).await.map_err(|error| {
            if error.is_connect() { NoResponse::NotSent(chain(&error)) } else { NoResponse::of(&error) }
        })
    }
}

/// Divides a line into requests: so many questions in one, and so many bytes that the neighbour takes the body.
fn groups(waiting: Vec<Waiting>, most: usize) -> Vec<Vec<Waiting>> {
    let mut groups: Vec<Vec<Waiting>> = Vec::with_capacity(1);
    let mut bytes = 0;
    for waiting in waiting {
        bytes += waiting.question.body.len() + LINE_ADDED_BYTES;
        if let Some(group) = groups.last_mut().filter(|group| group.len() < most && bytes <= BODY_MAX_BYTES) {
            group.push(waiting);
        } else {
            bytes = waiting.question.body.len() + LINE_ADDED_BYTES;
            groups.push(vec![waiting]);
        }
    }
    groups
}

/// What a line adds to its question at most: its id, its cause (whose parts are bounded), the names of its fields.
const LINE_ADDED_BYTES: usize = 2_048;

/// The questions of one request that are not answered yet.
struct Open {
    group: Vec<Waiting>,
    /// What the neighbour told of its places.
    capacity: Option<Capacity>,
}

impl Open {
    async fn read_answers(&mut self, response: Response<Incoming>) -> Result<(), NoResponse> {
        let (status, is_group) = (response.status(), self.group.len() > 1);
        let kind = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        if is_group && status == StatusCode::OK && kind == Some(ASKS.as_bytes()) {
            return self.read_lines(response).await;
        }
        // As a whole: the answer to one question, or no to each.
        let is_problem = kind.is_some_and(|kind| kind.starts_with(b"application/problem+json"));
        let body = read(response).await?;
        for Waiting { question, answer } in mem::take(&mut self.group) {
            let is_answer = |answer: &str| !is_group && (question.is_answer)(&question.body, answer);
            let outcome = classify(status, is_problem, &body, is_answer);
            let _ = answer.send(Answered { outcome, capacity: self.capacity }); // its asker may have given up
        }
        Ok(())
    }

    async fn read_lines(&mut self, response: Response<Incoming>) -> Result<(), NoResponse> {
        let mut body = response.into_body();
        let mut read = BytesMut::new();
        while !self.group.is_empty() {
            let Some(frame) = body.frame().await else { break };
            let Ok(data) = frame.map_err(|error| NoResponse::of(&error))?.into_data() else { continue };
            read.extend_from_slice(&data);
            while let Some(end) = read.iter().position(|byte| *byte == b'\n') {
                self.answer(&read[..end]);
                read.advance(end + 1);
            }
            if read.len() > BODY_MAX_BYTES {
                return Err(NoResponse::Lost("an answer is too large".to_owned()));
            }
        }
        // The rest of the body is its end: read, it leaves the connection to the next request.
        while let Some(Ok(_)) = body.frame().await {}
        Ok(())
    }

    fn answer(&mut self, line: &[u8]) {
        let Some(line) = AnswerLine::parse(line) else { return };
        let Some(at) = self.group.iter().position(|waiting| waiting.question.id == line.id) else { return };
        let Waiting { question, answer } = self.group.swap_remove(at);
        let _ = answer.send(Answered { outcome: line.outcome(&question), capacity: self.capacity }); // it may have given up
        crash::point("together.answered");
    }

    fn answer_rest(self, outcome: Outcome) {
        for Waiting { answer, .. } in self.group {
            let _ = answer.send(outcome.clone().into()); // its asker may have given up
        }
    }
}

/// The body of a response.
async fn read(response: Response<Incoming>) -> Result<Bytes, NoResponse> {
    let body = Limited::new(response.into_body(), BODY_MAX_BYTES).collect().await;
    Ok(body.map_err(|error| NoResponse::of(error.as_ref()))?.to_bytes())
}

/// Before anything is sent, no failure is more than that.
fn not_sent(no_response: NoResponse) -> NoResponse {
    NoResponse::NotSent(no_response.why())
}

fn head(id: Uuid, expires_ms: i64, origin: &Origin) -> HeaderMap {
    let mut head = HeaderMap::with_capacity(8);
    head.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(id) = id.to_string().parse() {
        head.insert(IDEMPOTENCY_KEY, id);
    }
    head.insert(EXPIRES, expires_ms.into());
    origin.write(&mut head);
    head
}

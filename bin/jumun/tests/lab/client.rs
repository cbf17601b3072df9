//! Those who talk to a service.

use super::{LONG, Wait};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// How long one exchange may take.
const EXCHANGE_MAX: Duration = Duration::from_secs(40);

/// Talks HTTP to one address. By default on a new connection each time, so that what breaks is what is tested.
#[derive(Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    http: HttpClient<HttpConnector, Full<Bytes>>,
}

/// What was answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.get(name).map(|value| value.to_str().expect("a header of text"))
    }

    /// The id of what was answered.
    pub(crate) fn id(&self) -> i64 {
        self.json()["id"].as_i64().unwrap_or_else(|| panic!("no id in {self:?}"))
    }

    /// The word of a problem, once it is sure that it is a whole one.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        for field in ["type", "title", "detail", "instance", "requestId"] {
            assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{field} is missing: {self:?}");
        }
        assert_eq!(problem["status"], self.status, "{self:?}");
        assert_eq!(problem["requestId"].as_str(), self.header("x-request-id"), "{self:?}");
        assert_eq!(self.head.contains_key(header::RETRY_AFTER), [429, 503].contains(&self.status), "{self:?}");
        let word = problem["type"].as_str().and_then(|kind| kind.strip_prefix("urn:jumun:problem:"));
        word.unwrap_or_else(|| panic!("{self:?}")).to_owned()
    }
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self::with_idle_connections(address, 0)
    }

    /// One that keeps connections, as a browser would.
    pub(crate) fn with_idle_connections(address: SocketAddr, idle: usize) -> Self {
        let mut builder = HttpClient::builder(TokioExecutor::new());
        builder.pool_max_idle_per_host(idle).retry_canceled_requests(false);
        Self { address, http: builder.build_http() }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a request as it is; the answer, or why there is none.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        head: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, String> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in head {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("a request");
        let exchange = async {
            let response = self.http.request(request).await.map_err(|error| format!("{error:?}"))?;
            let (head, body) = response.into_parts();
            let body = body.collect().await.map_err(|error| format!("{error:?}"))?.to_bytes();
            Ok(Answer { status: head.status.as_u16(), head: head.headers, body })
        };
        tokio::time::timeout(EXCHANGE_MAX, exchange).await.unwrap_or_else(|_| panic!("no answer in {EXCHANGE_MAX:?}"))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await.expect("an answer")
    }

    /// Posts JSON.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_text(path, &body.to_string()).await
    }

    /// Posts what may be JSON.
    pub(crate) async fn post_text(&self, path: &str, body: impl AsRef<[u8]>) -> Answer {
        let body = Bytes::copy_from_slice(body.as_ref());
        self.send(Method::POST, path, &[("content-type", "application/json")], body).await.expect("an answer")
    }

    /// Posts JSON under an `Idempotency-Key`.
    pub(crate) async fn post_with_key(&self, path: &str, key: &str, body: &Value) -> Result<Answer, String> {
        let head = [("content-type", "application/json"), ("idempotency-key", key)];
        self.send(Method::POST, path, &head, body.to_string()).await
    }

    /// Tells a shop or a rider's errand something: `PUT /stores/7/accept`.
    pub(crate) async fn put(&self, path: &str) -> Answer {
        self.send(Method::PUT, path, &[], "").await.expect("an answer")
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], "").await.expect("an answer")
    }

    /// Places an order that is taken; its id. Repeats it after a 5xx: on a busy machine a payment may come too late.
    pub(crate) async fn place(&self, item: &str, price: i64) -> i64 {
        let key = uuid::Uuid::new_v4().to_string();
        let Told { answer, .. } = Customer::ordering(self.clone(), Some(&key), basket(item, price)).insist().await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.id()
    }

    /// Waits until the dashboard shows that the shop has confirmed an order.
    pub(crate) async fn until_confirmed(&self, id: i64) {
        self.until(&format!("/dashboards/{id}"), "status", "ORDER_CONFIRMED").await;
    }

    /// Places an order, and waits until its shop has confirmed it; its id.
    pub(crate) async fn place_confirmed(&self, item: &str, price: i64) -> i64 {
        let id = self.place(item, price).await;
        self.until_confirmed(id).await;
        id
    }

    /// Cancels an order that can be cancelled.
    pub(crate) async fn cancel(&self, id: i64) {
        let answer = self.delete(&format!("/orders/{id}")).await;
        assert_eq!(answer.status, 204, "{answer:?}");
    }

    /// Waits until a document has this field with this value; the document.
    pub(crate) async fn until(&self, path: &str, field: &str, value: impl Into<Value>) -> Value {
        let (value, mut last) = (value.into(), Value::Null);
        let began = Instant::now();
        while last[field] != value {
            assert!(began.elapsed() < LONG, "{path} has not come to {field} = {value}: {last}");
            tokio::time::sleep(super::LOOK_EVERY).await;
            let answer = self.get(path).await;
            last = if answer.status == 200 { answer.json() } else { Value::Null };
        }
        last
    }

    /// Every document of a collection, page by page.
    pub(crate) async fn all(&self, path: &str) -> Vec<Value> {
        let mut found = Vec::new();
        let mut next = Some(format!("{path}?size=1000"));
        while let Some(page) = next {
            let page = self.get(&page).await;
            assert_eq!(page.status, 200, "{page:?}");
            let page = page.json();
            let name = path.trim_start_matches('/');
            found.extend(page["_embedded"][name].as_array().expect("a list").iter().cloned());
            next = page["_links"]["next"]["href"].as_str().map(str::to_owned);
        }
        found
    }
}

/// Something to order.
pub(crate) fn basket(item: &str, price: i64) -> Value {
    json!({ "storeName": "스토어99", "itemName": item, "itemQty": 2, "price": price })
}

/// Somebody who wants something done and does not give up, with a key or without one.
#[derive(Clone)]
pub(crate) struct Customer {
    client: Client,
    pub(crate) key: Option<String>,
    method: Method,
    pub(crate) path: String,
    body: Value,
}

/// Customers who order one thing after another until they are stopped, and insist on each.
pub(crate) struct Insistent {
    is_over: Arc<AtomicBool>,
    customers: JoinSet<Vec<(Told, Customer)>>,
}

impl Insistent {
    /// So many customers, each with keys of its own.
    pub(crate) fn ordering(customers: usize, client: &Client, basket: &Value) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let customers = (0..customers).map(|name| {
            let (client, basket, is_over) = (client.clone(), basket.clone(), is_over.clone());
            async move {
                let mut orders = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    let key = format!("{name}-{}", orders.len());
                    let customer = Customer::ordering(client.clone(), Some(&key), basket.clone());
                    orders.push((customer.insist().await, customer));
                }
                orders
            }
        });
        Self { customers: customers.collect(), is_over }
    }

    /// None orders anything more.
    pub(crate) fn stop(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// All that they ordered, once they are stopped and each has the answer that it waits for.
    pub(crate) async fn orders(self) -> Vec<(Told, Customer)> {
        self.customers.join_all().await.into_iter().flatten().collect()
    }
}

/// What a customer was told in the end.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) answer: Answer,
    /// What else was heard on the way: a status, or why there was no answer.
    pub(crate) before: Vec<Result<u16, String>>,
    /// From the first request to the final answer.
    pub(crate) waited: Duration,
}

impl Customer {
    /// One who sends a request without a body.
    pub(crate) fn new(client: Client, key: Option<String>, method: Method, path: String) -> Self {
        Self { client, key, method, path, body: Value::Null }
    }

    /// The same with a body, which only `POST` and `PATCH` send.
    pub(crate) fn with_body(self, body: Value) -> Self {
        Self { body, ..self }
    }

    /// One who orders.
    pub(crate) fn ordering(client: Client, key: Option<&str>, body: Value) -> Self {
        Self::new(client, key.map(str::to_owned), Method::POST, "/orders".to_owned()).with_body(body)
    }

    /// Sends it once.
    pub(crate) async fn ask_once(&self) -> Result<Answer, String> {
        let mut head = vec![("content-type", "application/json")];
        head.extend(self.key.as_deref().map(|key| ("idempotency-key", key)));
        let has_body = [Method::POST, Method::PATCH].contains(&self.method);
        let body = if has_body { self.body.to_string() } else { String::new() };
        self.client.send(self.method.clone(), &self.path, &head, body).await
    }

    /// Sends it until the answer is a final one.
    pub(crate) async fn insist(&self) -> Told {
        let (began, mut before) = (Instant::now(), Vec::new());
        let wait = Wait::new(LONG, "a customer has a final answer");
        loop {
            match self.ask_once().await {
                Ok(answer) if answer.status < 500 => return Told { answer, before, waited: began.elapsed() },
                Ok(answer) => {
                    answer.problem();
                    before.push(Ok(answer.status));
                }
                Err(why) => before.push(Err(why)),
            }
            wait.a_moment().await;
        }
    }
}

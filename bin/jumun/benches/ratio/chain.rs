//! The bare chain: what an order costs at least. A gateway forwards it to a service that asks a second one for the payment:
//! three processes, two databases, as somebody would write them by hand with the same libraries and the same durability.
//!
//! An answer is on disk, as in Jumun: the order is inserted before its payment is asked for, the payment is committed before
//! it is answered, and the order says what became of it before its customer hears of it. Commits share fsyncs, under a key
//! an order is placed once. What is left out is what Jumun is for: events and views, recovery of an order whose process
//! died, undoing of a payment whose answer was lost, guards, admission, metrics, traces, checks of input beyond its types.

use crate::support::{self, Http};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header, uri::Authority};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior, params};
use serde::{Deserialize, Serialize};
use std::{
    convert::Infallible,
    error::Error,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::{net::TcpListener, sync::oneshot};

/// Commits that share an fsync at most, and how long one waits for others if there were some before it: as in Jumun.
const GROUP_MAX: usize = 512;
const GROUP_LINGER: Duration = Duration::from_micros(300);

/// How long a service waits for another one.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Runs a process of the chain: its name, then the address of the one that it calls, if it calls one, and its folder.
pub(crate) fn run(words: &[String]) -> Result<(), Box<dyn Error>> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        match words {
            [name, order] if name == "gateway" => serve(Gateway(Neighbour::new(order)?)).await,
            [name, payment, folder] if name == "order" => {
                serve(Orders::open(Path::new(folder), Neighbour::new(payment)?)?).await
            }
            [name, folder] if name == "payment" => serve(Payments::open(Path::new(folder))?).await,
            _ => Err(format!("no process of the chain: {words:?}").into()),
        }
    })
}

/// The orders that are placed, and the payments of the same amount that they have.
pub(crate) fn placed_and_paid(folder: &Path) -> rusqlite::Result<(i64, i64)> {
    let orders = Connection::open(file(folder, "order"))?;
    orders.execute("ATTACH ?1 AS payment", [file(folder, "payment").to_string_lossy()])?;
    orders.query_row(
        "SELECT count(*), count(payments.id) FROM orders LEFT JOIN payments USING (id, price) WHERE status = 'ORDERED'",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

fn file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.db"))
}

type Answer = Response<Full<Bytes>>;

/// What a process does with a request; an error is answered 503.
trait Part: Send + Sync + 'static {
    fn answer(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Answer, Box<dyn Error + Send + Sync>>> + Send;
}

async fn serve(part: impl Part) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    let part = Arc::new(part);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let part = part.clone();
        let service = service_fn(move |request| {
            let part = part.clone();
            async move { Ok::<_, Infallible>(part.answer(request).await.unwrap_or_else(|error| unavailable(&*error))) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

fn unavailable(error: &dyn Error) -> Answer {
    reply(StatusCode::SERVICE_UNAVAILABLE, Bytes::from(error.to_string()))
}

fn reply(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// A process that this one calls.
struct Neighbour {
    http: Http,
    authority: Authority,
}

impl Neighbour {
    fn new(url: &str) -> Result<Self, http::Error> {
        let authority = url.parse::<Uri>()?.into_parts().authority.unwrap_or(Authority::from_static("localhost"));
        Ok(Self { http: support::client(), authority })
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        head: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, Box<dyn Error + Send + Sync>> {
        let uri = Uri::builder().scheme("http").authority(self.authority.clone()).path_and_query(path).build()?;
        let mut request = Request::new(Full::new(body));
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, head);
        let answer = async {
            let (head, body) = self.http.request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Response::from_parts(head, Full::new(body)))
        };
        tokio::time::timeout(TIME_LIMIT, answer).await?
    }
}

/// Forwards everything.
struct Gateway(Neighbour);

impl Part for Gateway {
    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Box<dyn Error + Send + Sync>> {
        let (mut head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        head.headers.remove(header::HOST);
        self.0.call(head.method, head.uri.path(), head.headers, body).await
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Basket {
    store_name: String,
    item_name: Option<String>,
    item_qty: i64,
    price: i64,
}

#[derive(Serialize)]
struct Order {
    id: i64,
    #[serde(flatten)]
    basket: Basket,
    #[serde(rename = "orderStatus")]
    status: &'static str,
    #[serde(rename = "orderDate")]
    date: Timestamp,
}

struct Orders {
    database: Database,
    payment: Neighbour,
    next_id: AtomicI64,
}

impl Orders {
    fn open(folder: &Path, payment: Neighbour) -> Result<Self, Box<dyn Error>> {
        let database = Database::open(
            &file(folder, "order"),
            "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, key TEXT UNIQUE, store_name TEXT NOT NULL,
             item_name TEXT, item_qty INTEGER NOT NULL, price INTEGER NOT NULL, status TEXT NOT NULL,
             order_date TEXT NOT NULL) STRICT",
        )?;
        Ok(Self { database, payment, next_id: AtomicI64::new(1) })
    }
}

impl Part for Orders {
    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Box<dyn Error + Send + Sync>> {
        let (mut head, body) = request.into_parts();
        let key = match head.headers.remove("idempotency-key") {
            Some(key) => Some(key.to_str()?.to_owned()),
            None => None,
        };
        let Ok(basket) = serde_json::from_slice::<Basket>(&body.collect().await?.to_bytes()) else {
            return Ok(reply(StatusCode::UNPROCESSABLE_ENTITY, Bytes::new()));
        };
        let (id, date) = (self.next_id.fetch_add(1, Ordering::Relaxed), Timestamp::now());
        let order = Order { id, basket, status: "ORDERED", date };
        let (store, item) = (order.basket.store_name.clone(), order.basket.item_name.clone());
        let (quantity, price, date) = (order.basket.item_qty, order.basket.price, date.to_string());
        let insert = move |tables: &Connection| {
            let insert = "INSERT OR IGNORE INTO orders VALUES (?, ?, ?, ?, ?, ?, 'PENDING', ?)";
            tables.prepare_cached(insert)?.execute(params![id, key, store, item, quantity, price, date])
        };
        if self.database.commit(insert).await? == 0 {
            return Ok(reply(StatusCode::CONFLICT, Bytes::new()));
        }
        let pay = serde_json::to_vec(&Pay { order_id: id, price })?;
        let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let paid = self.payment.call(Method::POST, "/payinfos", [json].into_iter().collect(), pay.into()).await?;
        let status = if paid.status() == StatusCode::CREATED { "ORDERED" } else { "DECLINED" };
        let conclude = move |tables: &Connection| {
            tables.prepare_cached("UPDATE orders SET status = ? WHERE id = ?")?.execute(params![status, id])
        };
        self.database.commit(conclude).await?;
        if status != "ORDERED" {
            return Ok(reply(StatusCode::PAYMENT_REQUIRED, Bytes::new()));
        }
        let mut answer = reply(StatusCode::CREATED, serde_json::to_vec(&order)?.into());
        answer.headers_mut().insert(header::LOCATION, HeaderValue::try_from(format!("/orders/{id}"))?);
        Ok(answer)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pay {
    order_id: i64,
    price: i64,
}

#[derive(Serialize)]
struct Payment {
    id: i64,
    #[serde(flatten)]
    pay: Pay,
    status: &'static str,
}

struct Payments {
    database: Database,
}

impl Payments {
    fn open(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let database = Database::open(
            &file(folder, "payment"),
            "CREATE TABLE IF NOT EXISTS payments (id INTEGER PRIMARY KEY, price INTEGER NOT NULL) STRICT",
        )?;
        Ok(Self { database })
    }
}

impl Part for Payments {
    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Box<dyn Error + Send + Sync>> {
        let Ok(pay) = serde_json::from_slice::<Pay>(&request.into_body().collect().await?.to_bytes()) else {
            return Ok(reply(StatusCode::UNPROCESSABLE_ENTITY, Bytes::new()));
        };
        let (id, price) = (pay.order_id, pay.price);
        let insert = move |tables: &Connection| {
            tables.prepare_cached("INSERT OR IGNORE INTO payments VALUES (?, ?)")?.execute(params![id, price])
        };
        let status = if self.database.commit(insert).await? == 0 { StatusCode::CONFLICT } else { StatusCode::CREATED };
        Ok(reply(status, serde_json::to_vec(&Payment { id, pay, status: "APPROVED" })?.into()))
    }
}

/// A database with a thread that writes.
struct Database {
    queue: Sender<Job>,
}

type Statement = Box<dyn FnOnce(&Connection) -> rusqlite::Result<usize> + Send>;

/// A statement, and who waits until it is on disk.
struct Job {
    statement: Statement,
    caller: oneshot::Sender<Result<usize, Arc<rusqlite::Error>>>,
}

impl Database {
    /// The settings are those of Jumun, but that `SQLite` folds its log back where it commits, as it does by itself.
    fn open(file: &Path, schema: &str) -> Result<Self, Box<dyn Error>> {
        let connection = Connection::open(file)?;
        for (pragma, value) in [
            ("journal_mode", "WAL"),
            ("synchronous", "FULL"),
            ("fullfsync", "ON"),
            ("temp_store", "MEMORY"),
            ("cache_size", "-8192"),
        ] {
            connection.pragma_update(None, pragma, value)?;
        }
        connection.execute(schema, [])?;
        let (queue, jobs) = channel();
        thread::Builder::new().name("commits".to_owned()).spawn(move || write(connection, &jobs))?;
        Ok(Self { queue })
    }

    /// How many rows a statement has changed, once it is on disk.
    async fn commit(
        &self,
        statement: impl FnOnce(&Connection) -> rusqlite::Result<usize> + Send + 'static,
    ) -> Result<usize, Box<dyn Error + Send + Sync>> {
        let (caller, done) = oneshot::channel();
        self.queue.send(Job { statement: Box::new(statement), caller }).map_err(|_| "the database is closed")?;
        Ok(done.await??)
    }
}

/// Commits what waits in groups.
fn write(mut connection: Connection, queue: &Receiver<Job>) {
    let mut last_size = 0;
    while let Some(group) = gather(queue, last_size) {
        last_size = group.len();
        let (statements, callers): (Vec<_>, Vec<_>) = group.into_iter().map(|job| (job.statement, job.caller)).unzip();
        let done = transaction(&mut connection, statements).map_err(Arc::new);
        for (at, caller) in callers.into_iter().enumerate() {
            // A caller that hung up does not matter.
            drop(caller.send(done.as_ref().map(|changed| changed[at]).map_err(Arc::clone)));
        }
    }
}

fn transaction(connection: &mut Connection, statements: Vec<Statement>) -> rusqlite::Result<Vec<usize>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let changed = statements.into_iter().map(|statement| statement(&transaction)).collect::<Result<_, _>>()?;
    transaction.commit()?;
    Ok(changed)
}

/// Waits for the first job, takes all others that are there, and waits a moment for as many as there were last time.
fn gather(queue: &Receiver<Job>, last_size: usize) -> Option<Vec<Job>> {
    let mut group = vec![queue.recv().ok()?];
    let mut until = None;
    while group.len() < GROUP_MAX {
        match queue.try_recv() {
            Ok(job) => group.push(job),
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) if group.len() >= last_size => break,
            Err(TryRecvError::Empty) => {
                let now = Instant::now();
                let until = *until.get_or_insert(now + GROUP_LINGER);
                match queue.recv_timeout(until.saturating_duration_since(now)) {
                    Ok(job) => group.push(job),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
                }
            }
        }
    }
    Some(group)
}

//! What the engine does around a guard: what it commits, what it asks, and how often a call counts.

use super::Guards;
use crate::{
    Engine, Incoming, Key, Parts, Success,
    asks::transport::{Answered, Outcome, Question, Transport, VoidError, VoidFuture},
    schema,
};
use futures_util::future::{BoxFuture, ready};
use jumun::{Aggregate, Answer, Answers, Ask, Context, Decision, Id, Rejection, Resource, Service, System, Verb, emit};
use jumun_database::{Database, MemoryDatabase, RequestFilter, RequestState};
use jumun_guard::{BreakerConfig, BulkheadConfig, Command, GuardConfig, Window};
use jumun_http::{Code, Problem};
use jumun_telemetry::Origin;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};
use uuid::Uuid;

const PAY: Ask<Pay, Paid> = Ask::post("till", "/payments", |_| Id::new(1).expect("an id"));

jumun::published_language! {
    pub(super) enum Happened, Kind {
        shop(by id): Ordered(Order);
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Order {
    id: Id<Order>,
    paid: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Basket {
    /// Whether it is an order without its payment, too.
    on_credit: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Pay {
    order: Id<Order>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Paid {}

impl Answers<Pay> for Paid {
    fn answers(&self, _: &Pay) -> bool {
        true
    }
}

impl Aggregate for Order {
    type Terms = (Basket, Happened);

    const HEARS: &'static [Kind] = &[Kind::Ordered];

    fn decide(_: Option<&Order>, basket: Basket, ctx: &Context<'_, Order>) -> Decision<Happened> {
        let paid = match ctx.try_ask(&PAY, Pay { order: ctx.id })? {
            Answer::Accepted(Paid {}) => true,
            Answer::Unavailable if basket.on_credit => false,
            Answer::Unavailable => return Err(Rejection::Unavailable(PAY.service()).into()),
            Answer::Refused(why) => return Err(why.into()),
        };
        emit(Happened::Ordered(Order { id: ctx.id, paid }))
    }

    fn evolve(_: Option<Order>, event: &Happened) -> Option<Order> {
        let Happened::Ordered(order) = event;
        Some(order.clone())
    }
}

/// A till that answers with these outcomes, one after the other.
#[derive(Clone, Default)]
struct Till {
    outcomes: Arc<Mutex<VecDeque<Outcome>>>,
}

impl Till {
    fn left(&self) -> usize {
        self.outcomes.lock().expect("one thread").len()
    }
}

impl Transport for Till {
    fn ask(&self, _: Question) -> BoxFuture<'_, Answered> {
        let outcome = self.outcomes.lock().expect("one thread").pop_front();
        Box::pin(ready(outcome.expect("one outcome for each call").into()))
    }

    fn void<'a>(&'a self, _: &'a str, _: &'a str, _: Uuid, _: &'a Origin) -> VoidFuture<'a> {
        Box::pin(ready(Err(VoidError::NoAnswer("this till undoes nothing".into()))))
    }
}

struct Shop {
    engine: Engine,
    till: Till,
    database: MemoryDatabase,
}

impl Shop {
    fn new(outcomes: impl IntoIterator<Item = Outcome>) -> Self {
        let shop = Service::new("shop", 1).aggregate(Resource::<Order>::at("/orders").on_post(|basket| basket));
        let model = System::new("shops", "").service(shop.asks(&PAY)).build();
        let model = model.service("shop").expect("a service").clone();
        let breaker = BreakerConfig { window: Window::Calls(10), ..BreakerConfig::default() };
        let bulkhead =
            BulkheadConfig { max_concurrent: 1, max_wait: Duration::from_millis(100), ..BulkheadConfig::default() };
        let config = GuardConfig { breaker, bulkhead, ..GuardConfig::default() };
        let database = MemoryDatabase::new(schema(&model));
        let till = Till { outcomes: Arc::new(Mutex::new(outcomes.into_iter().collect())) };
        let guards =
            Guards::new(&model, &BTreeMap::from([("till".to_owned(), config)])).expect("a valid configuration");
        let behaviour = model.behaviour(&serde_json::Map::new()).expect("default settings");
        let parts = Parts::new(model, behaviour, Arc::new(database.clone()), Arc::new(till.clone()));
        let engine = Engine::new(Parts { guards, ..parts });
        Self { engine, till, database }
    }

    async fn order(&self, on_credit: bool, key: Option<&str>) -> Result<Success, Problem> {
        let model = &self.engine.core().model().resources[0];
        let post = model.commands.iter().find(|command| command.verb == Verb::Post).expect("a command");
        let incoming = Incoming {
            resource: 0,
            id: None,
            command: post.read(json!({ "on_credit": on_credit }).to_string().as_bytes()).expect("a body"),
            key: key.map(|key| Key::Client(key.to_owned())),
            fingerprint: [1; 16],
            success: 201,
            origin: Origin::new(false),
        };
        self.engine.take(incoming).await
    }

    fn status(&self, what: &str) -> serde_json::Value {
        serde_json::json!(self.engine.guards().status())["till"][what].clone()
    }

    async fn requests(&self) -> Vec<RequestState> {
        let mut found = Vec::new();
        for state in [RequestState::Asking, RequestState::Done, RequestState::Voiding, RequestState::Voided] {
            let filter = RequestFilter { state, service: None, until_before_ms: None, after: None, limit: 10 };
            let requests = self.engine.core().database().requests(filter).await.expect("memory can be read");
            found.extend(requests.iter().map(|request| request.state));
        }
        found
    }
}

#[tokio::test(start_paused = true)]
async fn with_an_open_circuit_no_call_is_made_and_nothing_is_committed() {
    let shop = Shop::new([]);
    assert!(shop.engine.guards().command("till", Command::ForceOpen).is_some());
    for key in [None, Some("k"), Some("k")] {
        let problem = shop.order(false, key).await.expect_err("no order");
        assert_eq!((problem.code, problem.retry_after_s()), (Code::NeighbourUnavailable, Some(5)), "{problem}");
    }
    assert_eq!(shop.requests().await, []);
    assert_eq!(shop.database.stats().commits, 0);
    assert_eq!(shop.status("refusedOpen"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_business_with_a_fallback_decides_without_the_neighbour() {
    let shop = Shop::new([Outcome::Accepted("{}".into())]);
    shop.engine.guards().command("till", Command::ForceOpen);
    let placed = shop.order(true, Some("k")).await.expect("an order");
    assert!(placed.body.contains(r#""paid":false"#), "{}", placed.body);
    assert_eq!(shop.requests().await, [RequestState::Done], "nothing is left to be asked or undone");
    shop.engine.guards().command("till", Command::Reset);
    let again = shop.order(true, Some("k")).await.expect("the same order");
    assert_eq!((again.body, shop.till.left()), (placed.body, 1), "the key has its answer");
    assert!(shop.order(true, None).await.expect("an order").body.contains(r#""paid":true"#));
}

#[tokio::test(start_paused = true)]
async fn a_question_that_is_repeated_on_another_connection_is_one_call() {
    let shop = Shop::new([Outcome::Broken("a reset".into()), Outcome::Accepted("{}".into())]);
    assert!(shop.order(false, None).await.is_ok());
    assert_eq!((shop.till.left(), shop.status("calls"), shop.status("failed")), (0, json!(1), json!(0)));
}

#[tokio::test(start_paused = true)]
async fn failures_of_a_neighbour_count_and_refusals_of_its_business_do_not() {
    let outcomes = [
        (Outcome::Accepted("{}".into()), 0),
        (Outcome::Refused(Rejection::Declined("no money".into())), 0),
        (Outcome::NotDone("it is down".into()), 1),
        (Outcome::Unknown("no answer".into()), 2),
    ];
    let shop = Shop::new(outcomes.iter().map(|(outcome, _)| outcome.clone()));
    for (nth, (outcome, failed)) in outcomes.iter().enumerate() {
        assert_eq!(shop.order(false, None).await.is_ok(), matches!(outcome, Outcome::Accepted(_)));
        assert_eq!((shop.status("calls"), shop.status("failed")), (json!(nth + 1), json!(failed)), "{outcome:?}");
    }
    assert_eq!((shop.status("atWork"), shop.status("state")), (json!(0), json!("closed")));
}

#[tokio::test(start_paused = true)]
async fn a_key_has_its_answer_whatever_the_state_of_the_circuit() {
    let shop = Shop::new([Outcome::Accepted("{}".into())]);
    let placed = shop.order(false, Some("k")).await.expect("an order");
    assert!(shop.engine.guards().command("till", Command::ForceOpen).is_some());
    let again = shop.order(false, Some("k")).await.expect("the same order");
    assert_eq!((again.body, shop.requests().await), (placed.body, vec![RequestState::Done]));
    assert!(shop.order(false, Some("another")).await.is_err(), "a request without an answer is refused");
}

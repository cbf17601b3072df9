//! A database on disk does what the one in memory does, whatever is asked of both.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod homes;

use homes::Folder;
use jumun_database::{
    Changes, Database, DocumentChange, MemoryDatabase, Position, PositionChange, ReadDatabase, Request, RequestChange,
    RequestState, StoredAnswer, Wait, WaitChange,
    conformance::{Home, event, everything, order, request, schema},
};
use proptest::{collection::vec, prelude::*};
use uuid::Uuid;

/// A few of each kind, so that conflicts are common.
#[derive(Debug, Clone)]
enum Step {
    Document { id: i64, belief: Belief, shown: bool, name: u8 },
    Event { key: i64 },
    Position { source: u8, epoch: u8, belief: Belief },
    Insert { request: u8, key: Option<u8>, state: RequestState, subject: i64, answered: bool },
    Move { request: u8, from: Option<RequestState>, to: RequestState, answered: bool },
    Delay { request: u8, until_ms: i64, answered: bool },
    Release { request: u8 },
}

/// What a step believes: the truth, mostly.
#[derive(Debug, Clone, Copy)]
enum Belief {
    True,
    Other(u64),
}

#[derive(Debug, Clone)]
enum Action {
    /// Sent all at once, so that they share transactions.
    Commit(Vec<Vec<Step>>),
    Purge {
        before_ms: i64,
        keep_at_most: u64,
    },
    NextId,
    Reopen,
}

fn belief() -> impl Strategy<Value = Belief> {
    prop_oneof![9 => Just(Belief::True), 1 => (0..4_u64).prop_map(Belief::Other)]
}

fn state() -> impl Strategy<Value = RequestState> {
    (0..RequestState::ALL.len()).prop_map(|state| RequestState::ALL[state])
}

fn step() -> impl Strategy<Value = Step> {
    let document = (1..6_i64, belief(), any::<bool>(), 0..4_u8);
    let insert = (0..8_u8, proptest::option::of(0..4_u8), state(), 1..9_i64, any::<bool>());
    let moved = (0..8_u8, proptest::option::weighted(0.1, state()), state(), any::<bool>());
    prop_oneof![
        4 => document.prop_map(|(id, belief, shown, name)| Step::Document { id, belief, shown, name }),
        3 => (0..20_i64).prop_map(|key| Step::Event { key }),
        1 => (0..2_u8, 0..8_u8, belief()).prop_map(|(source, epoch, belief)| Step::Position { source, epoch, belief }),
        2 => insert.prop_map(|(request, key, state, subject, answered)| Step::Insert { request, key, state, subject, answered }),
        3 => moved.prop_map(|(request, from, to, answered)| Step::Move { request, from, to, answered }),
        1 => (0..8_u8, 0..9_i64, any::<bool>())
            .prop_map(|(request, until_ms, answered)| Step::Delay { request, until_ms, answered }),
        1 => (0..8_u8).prop_map(|request| Step::Release { request }),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        12 => vec(vec(step(), 0..4), 1..12).prop_map(Action::Commit),
        1 => (0..9_i64, 0..9_u64).prop_map(|(before_ms, keep_at_most)| Action::Purge { before_ms, keep_at_most }),
        2 => Just(Action::NextId),
        1 => Just(Action::Reopen),
    ]
}

fn request_id(number: u8) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis(u64::from(number), &[number; 10]).into_uuid()
}

/// What the steps mean on what the model knows now.
async fn changes(steps: &[Step], model: &MemoryDatabase) -> Changes {
    let mut changes = Changes::default();
    let answer = |number: u8| StoredAnswer {
        status: 200 + u16::from(number),
        location: None,
        body: "{}".to_owned(),
        last_event: None,
    };
    for step in steps {
        match *step {
            Step::Document { id, belief, shown, name } => {
                let version = model.document("orders", id).await.unwrap().map_or(0, |document| document.version);
                let expected = version_of(belief, version);
                let body = serde_json::json!({ "id": id, "storeName": format!("스토어{name}"), "count": name });
                let begun = Wait { name: "accept_within".into(), due_ms: 100 * i64::from(name) - id, trace: None };
                let wait = match name {
                    0 => WaitChange::Keep,
                    1 => WaitChange::End,
                    _ => WaitChange::Begin(begun),
                };
                changes.documents.push(DocumentChange { shown, wait, ..order(id, expected, &body) });
            }
            Step::Event { key } => changes.journal.push(event(key)),
            Step::Position { source, epoch, belief } => {
                let source = source.to_string();
                let known = model.positions().await.unwrap().into_iter().find(|position| position.source == source);
                let stands = known.as_ref().map_or(0, |position| position.sequence);
                let epoch = match known {
                    Some(position) if epoch > 0 => position.epoch,
                    _ => Uuid::from_u128(u128::from(epoch)),
                };
                let position = Position { source, partition: 0, epoch, sequence: stands + 1 };
                changes.positions.push(PositionChange { position, expected_sequence: version_of(belief, stands) });
            }
            Step::Insert { request: number, key, state, subject, answered } => {
                let key = key.map(|key| key.to_string());
                let inserted = Request {
                    id: request_id(number),
                    answer: answered.then(|| answer(number)),
                    ..request(key.as_deref(), state, subject)
                };
                changes.requests.push(RequestChange::Insert(Box::new(inserted)));
            }
            Step::Move { request, from, to, answered } => {
                let id = request_id(request);
                let known = model.request(id).await.unwrap().map(|request| request.state);
                let from = from.or(known).unwrap_or(RequestState::Asking);
                let answer = answered.then(|| answer(request));
                changes.requests.push(RequestChange::Move { id, from, to, answer });
            }
            Step::Delay { request, until_ms, answered } => {
                let answer = answered.then(|| answer(request));
                changes.requests.push(RequestChange::Delay { id: request_id(request), until_ms, answer });
            }
            Step::Release { request } => {
                changes.requests.push(RequestChange::ReleaseKey { id: request_id(request) });
            }
        }
    }
    changes
}

fn version_of(belief: Belief, truth: u64) -> u64 {
    match belief {
        Belief::True => truth,
        Belief::Other(other) => other,
    }
}

fn compare(home: &impl Home, actions: Vec<Action>) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(compare_in_runtime(home, actions))
}

async fn compare_in_runtime(home: &impl Home, actions: Vec<Action>) -> Result<(), TestCaseError> {
    let open = || home.open(schema(3));
    let model = MemoryDatabase::new(schema(3));
    let mut database = open();
    // Ids that were given out and never used are forgotten by a restart, and only by the database on disk.
    let mut reopened = false;
    for action in actions {
        match action {
            Action::Commit(group) => {
                let (mut expected, mut sent) = (Vec::new(), Vec::new());
                for steps in group {
                    let changes = changes(&steps, &model).await;
                    expected.push(model.commit(changes.clone()).await);
                    sent.push(changes);
                }
                let results = sent.into_iter().map(|changes| database.commit(changes));
                prop_assert_eq!(futures_util::future::join_all(results).await, expected);
            }
            Action::Purge { before_ms, keep_at_most } => {
                let expected = model.purge_requests(before_ms, keep_at_most).await;
                prop_assert_eq!(database.purge_requests(before_ms, keep_at_most).await, expected);
            }
            Action::NextId if reopened => {}
            Action::NextId => prop_assert_eq!(database.next_id("orders").await, model.next_id("orders").await),
            Action::Reopen => {
                database.close().await;
                drop(database);
                database = open();
                reopened = true;
            }
        }
        prop_assert_eq!(everything(&database).await, everything(&model).await);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn both_databases_do_the_same(actions in vec(action(), 1..25)) {
        compare(&Folder::new(), actions)?;
    }
}

#[cfg(feature = "postgres")]
proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn one_on_a_server_does_the_same(actions in vec(action(), 1..25)) {
        compare(&homes::OnServer::new(), actions)?;
    }
}

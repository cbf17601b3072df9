//! Steps on one document, whose commits are held while the next ones decide.

use super::*;
use crate::{Engine, Parts, events::rebuild::tests::NoNeighbours, failing::Failing, schema};
use futures_util::{FutureExt, future::BoxFuture, poll};
use jumun_database::{DocumentChange, MemoryDatabase, WaitChange};
use std::sync::Arc;

const KEY: DocumentKey = (0, 1);

/// A database with a document, version 1.
async fn shop() -> (Core, Failing) {
    let model = food_delivery::system().service("store").expect("a service").clone();
    let database = Failing::new(MemoryDatabase::new(schema(&model)));
    let behaviour = model.behaviour(&serde_json::Map::new()).expect("default settings");
    let parts = Parts::new(model, behaviour, Arc::new(database.clone()), Arc::new(NoNeighbours));
    database.commit_beside(change(0, "seed")).await;
    (Engine::new(parts).core().clone(), database)
}

fn change(expected_version: u64, note: &str) -> Changes {
    let (body, wait) = (body(note), WaitChange::Keep);
    let change = DocumentChange { collection: "stores", id: KEY.1, expected_version, shown: true, body, wait };
    Changes { documents: vec![change], ..Changes::default() }
}

fn body(note: &str) -> String {
    format!(r#"{{"note":"{note}"}}"#)
}

fn stored(version: u64, note: &str) -> Stored {
    Stored { version, body: body(note) }
}

async fn read(core: &Core) -> Reading {
    let mut reading = Reading::default();
    reading.take(core, vec![KEY]).await.expect("a turn");
    reading
}

fn seen(reading: &Reading) -> Option<&Stored> {
    reading.documents.get(&KEY)?.as_ref()
}

fn conflict() -> Result<Receipt, CommitError> {
    Err(CommitError::Conflict(Conflict::Document { collection: "stores", id: KEY.1 }))
}

/// A step whose commit is held, and the next one, which has got what the first passed on.
async fn one_after_the_other(
    core: &Core,
    database: &Failing,
) -> (BoxFuture<'static, Result<Receipt, CommitError>>, Reading) {
    database.holds_commits(true);
    let mut first = read(core).await;
    let mut second = pin!(read(core));
    assert!(poll!(second.as_mut()).is_pending(), "it queues");
    let other = core.clone();
    let mut first: BoxFuture<'_, _> = Box::pin(async move { first.commit(&other, None, change(1, "first")).await });
    assert!(poll!(first.as_mut()).is_pending());
    let second = second.await;
    assert_eq!(seen(&second), Some(&stored(2, "first")));
    (first, second)
}

#[tokio::test]
async fn steps_on_one_document_are_committed_together() {
    let (core, database) = shop().await;
    let (first, mut second) = one_after_the_other(&core, &database).await;
    let mut second = pin!(second.commit(&core, None, change(2, "second")));
    assert!(poll!(second.as_mut()).is_pending());
    assert_eq!(database.held_commits(), 2);
    database.holds_commits(false);
    assert_eq!((first.await, second.await), (Ok(Receipt::default()), Ok(Receipt::default())));
    assert_eq!(core.read(KEY).await, Ok(Some(stored(3, "second"))));
}

/// The same version, made by another commit: of what rests on the one that failed nothing is done, be it a change or an answer
/// that changes nothing.
#[tokio::test]
async fn what_rests_on_a_commit_that_failed_is_not_done() {
    for second_changes in [change(2, "second"), Changes::default()] {
        let (core, database) = shop().await;
        let (first, mut second) = one_after_the_other(&core, &database).await;
        let mut second = pin!(second.commit(&core, None, second_changes));
        assert!(poll!(second.as_mut()).is_pending());
        database.commit_beside(change(1, "another")).await;
        database.holds_commits(false);
        assert_eq!((first.await, second.await), (conflict(), conflict()));
        assert_eq!(core.read(KEY).await, Ok(Some(stored(2, "another"))));
    }
}

#[tokio::test]
async fn a_step_whose_guess_is_known_to_be_wrong_commits_nothing_and_the_next_one_reads() {
    let (core, database) = shop().await;
    let (first, mut second) = one_after_the_other(&core, &database).await;
    let mut third = pin!(read(&core));
    assert!(poll!(third.as_mut()).is_pending());
    database.commit_beside(change(1, "another")).await;
    database.holds_commits(false);
    assert_eq!(first.await, conflict());
    database.holds_commits(true);
    assert_eq!(second.commit(&core, None, change(2, "second")).now_or_never(), Some(conflict()));
    assert_eq!(database.held_commits(), 0);
    second.give_up();
    assert_eq!(seen(&third.await), Some(&stored(2, "another")));
}

/// An index does not know what is not committed yet.
#[tokio::test]
async fn a_lookup_waits_for_the_commits_that_a_step_rests_on() {
    let (core, database) = shop().await;
    let (first, mut second) = one_after_the_other(&core, &database).await;
    let lookup = Lookup { resource: 0, fields: &["note"], values: vec!["first".into()], after: 0, limit: 10 };
    {
        let mut find = pin!(second.find(&core, lookup.clone()));
        assert!(poll!(find.as_mut()).is_pending());
        database.holds_commits(false);
        first.await.expect("a commit");
        find.await.expect("memory can be read");
    }
    assert_eq!(second.documents.found(&lookup), Some(&[KEY.1][..]));
}

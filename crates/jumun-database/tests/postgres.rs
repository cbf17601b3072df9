//! What is particular to a database on a server of PostgreSQL: other processes, lost connections, a server that dies.

#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod homes;

use homes::OnServer;
use jumun_database::{
    Changes, CommitError, Database, OpenError, PostgresAddress, PostgresDatabase, PostgresReader, ReadDatabase,
    conformance::{Home, event, order, schema},
};
use jumun_testing::servers::{Kind, Own};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio_postgres::{Client, NoTls};

/// A server that only this test uses, to do with it what it likes.
fn own_server() -> Own {
    Own::start(Kind::Postgres, &Path::new(env!("CARGO_TARGET_TMPDIR")).join("servers")).unwrap()
}

/// A connection of another program.
async fn another(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn server() -> String {
    std::env::var("JUMUN_TEST_POSTGRES").unwrap()
}

fn name(home: &OnServer) -> String {
    let address = home.0.to_string();
    address.rsplit_once("schema=").unwrap().1.split('&').next().unwrap().to_owned()
}

fn one(id: i64) -> Changes {
    Changes {
        documents: vec![order(id, 0, &serde_json::json!({ "id": id, "storeName": "스토어99" }))],
        journal: vec![event(id)],
        ..Changes::default()
    }
}

/// The connection that holds the lock.
const WRITER: &str = "SELECT l.pid FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND a.application_name = 'jumun ' || $1";

async fn end_writer(client: &Client, schema: &str) {
    let sql =
        format!("SELECT pg_terminate_backend(pid) FROM ({}) AS writer", WRITER.replace("$1", &format!("'{schema}'")));
    client.batch_execute(&sql).await.unwrap();
}

#[tokio::test]
async fn a_second_process_is_refused_until_the_first_has_let_go() {
    let home = OnServer::new();
    let first = home.open(schema(1));
    let address = Arc::clone(&home.0);
    let second = tokio::task::spawn_blocking(move || PostgresDatabase::open(&address, schema(1)).err());
    let refused = second.await.unwrap().expect("it is in use");
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
    assert_eq!(PostgresReader::open(&home.0).unwrap().identity(), first.identity(), "to read is another matter");
    first.commit(one(1)).await.unwrap();
    first.close().await;
    home.open(schema(1)).close().await;
}

#[tokio::test]
async fn a_schema_of_another_release_service_or_program_is_refused() {
    let (home, client) = (OnServer::new(), another(&server()).await);
    let name = name(&home);
    let missing = PostgresReader::open(&home.0).err().unwrap();
    assert!(matches!(missing, OpenError::Missing { .. }), "{missing}");
    home.open(schema(1)).close().await;

    let open = |schema| PostgresDatabase::open(&home.0, schema).err().unwrap();
    let other = jumun_database::Schema { service: "payment".into(), ..schema(1) };
    assert!(matches!(open(other), OpenError::Foreign { .. }));
    assert!(matches!(open(schema(2)), OpenError::Partitions { found: 1, wanted: 2, .. }));
    client.batch_execute(&format!("UPDATE \"{name}\".meta SET value = '7' WHERE name = 'schema'")).await.unwrap();
    for newer in [open(schema(1)), PostgresReader::open(&home.0).err().unwrap()] {
        assert!(matches!(newer, OpenError::Newer { found: 7, known: 1, .. }), "{newer}");
    }
    client.batch_execute(&format!("UPDATE \"{name}\".meta SET value = '0' WHERE name = 'schema'")).await.unwrap();
    let older = PostgresReader::open(&home.0).err().unwrap();
    assert!(matches!(older, OpenError::Older { found: 0, known: 1, .. }), "{older}");
    client.batch_execute(&format!("DROP TABLE \"{name}\".meta")).await.unwrap();
    for foreign in [open(schema(1)), PostgresReader::open(&home.0).err().unwrap()] {
        assert!(matches!(foreign, OpenError::Foreign { .. }), "{foreign}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_or_does_not_let_in_is_named() {
    let url = server();
    let at = |url: &str| PostgresAddress::parse(url.strip_prefix("postgres://").unwrap()).unwrap();
    let read = |url: &str| PostgresReader::open(&Arc::new(at(url))).err().unwrap();
    let (user, place) = url.strip_prefix("postgres://").unwrap().split_once('@').unwrap();
    let (host, _) = place.split_once('/').unwrap();

    for refused in [format!("postgres://postgres:wrong@{place}"), format!("postgres://{user}@{host}/nowhere")] {
        let error = read(&refused);
        assert!(matches!(error, OpenError::Refused { .. }) && !error.to_string().contains("wrong@"), "{error}");
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = read(&format!("postgres://{user}@{free}/postgres"));
    assert!(matches!(error, OpenError::Unreachable { .. }) && !error.to_string().contains(user), "{error}");
}

#[tokio::test]
async fn connections_are_encrypted_and_the_server_is_verified() {
    let (url, client) = (server(), another(&server()).await);
    let certificate: String = client.query_one("SHOW ssl_cert_file", &[]).await.unwrap().get(0);
    let root = format!("sslmode=verify-full&sslrootcert={certificate}");
    for (parameters, is_encrypted) in [("sslmode=disable", false), ("sslmode=require", true), (&*root, true)] {
        let home = OnServer::at(&format!("{url}?{parameters}"));
        let database = home.open(schema(1));
        database.commit(one(1)).await.unwrap();
        assert!(database.document("orders", 1).await.unwrap().is_some());
        let sql = "SELECT count(*), count(*) FILTER (WHERE ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
            WHERE application_name = 'jumun ' || $1";
        let row = client.query_one(sql, &[&name(&home)]).await.unwrap();
        let (all, encrypted): (i64, i64) = (row.get(0), row.get(1));
        assert_eq!((all, encrypted), (2, if is_encrypted { 2 } else { 0 }), "{parameters}");
        database.close().await;
    }
    // No public authority knows it.
    let home = OnServer::at(&format!("{url}?sslmode=verify-full"));
    let error = PostgresReader::open(&home.0).err().unwrap();
    assert!(matches!(&error, OpenError::Unreachable { why, .. } if why.contains("certificate")), "{error}");
}

#[tokio::test]
async fn people_read_views_and_finders_use_indexes() {
    let home = OnServer::new();
    let database = home.open(schema(1));
    database.commit(one(7)).await.unwrap();
    let client = another(&server()).await;
    let name = name(&home);
    client.batch_execute(&format!("SET search_path TO \"{name}\"; SET enable_seqscan = off")).await.unwrap();
    let row = client.query_one("SELECT id, \"storeName\", note FROM orders", &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get(1), row.get(2)), (7, Some("스토어99"), None::<&str>));

    let text = "((CASE json_typeof(body->'storeName') WHEN 'number' THEN NULL WHEN 'boolean' THEN NULL ELSE body->>'storeName' END) COLLATE \"C\")";
    let plan = format!("EXPLAIN SELECT id FROM orders_documents WHERE shown AND {text} = 'a'");
    let plan = client.query(&plan, &[]).await.unwrap();
    let plan: Vec<&str> = plan.iter().map(|row| row.get(0)).collect();
    assert!(plan.concat().contains("orders_by_storeName"), "{plan:?}");
    database.close().await;
}

/// Many commits, while the connection that writes is ended again and again: each is done once and answered so.
#[tokio::test]
async fn a_connection_that_is_lost_heals_and_outcomes_are_known() {
    let home = OnServer::new();
    let (database, client, name) = (home.open(schema(1)), another(&server()).await, name(&home));
    let next = AtomicI64::new(1);
    let commit = async || {
        let mut outcomes = Vec::new();
        while let id = next.fetch_add(1, Ordering::Relaxed)
            && id <= 320
        {
            outcomes.push((id, database.commit(one(id)).await.map(drop)));
        }
        outcomes
    };
    let end = async {
        for ended in 1..=8 {
            while next.load(Ordering::Relaxed) < ended * 35 {
                drop(database.document("orders", 1).await.unwrap()); // reads go on
            }
            end_writer(&client, &name).await;
        }
    };
    let work = futures_util::future::join_all((0..8).map(|_| commit()));
    let (outcomes, ()) = futures_util::future::join(work, end).await;
    let outcomes = outcomes.into_iter().flatten().collect();
    check(&database, &outcomes).await;
    // All of them, where the server has its time.
    let known = outcomes.values().filter(|outcome| outcome.is_ok()).count();
    assert!(known > 250, "{outcomes:?}");
    database.close().await;
}

/// What was acknowledged is there, what was not done is not, and no number is missing.
async fn check(database: &PostgresDatabase, outcomes: &BTreeMap<i64, Result<(), CommitError>>) {
    let mut found = 0;
    for (id, outcome) in outcomes {
        let is_there = database.document("orders", *id).await.unwrap().is_some();
        found += u64::from(is_there);
        match outcome {
            Ok(()) => assert!(is_there, "{id} was acknowledged"),
            Err(CommitError::NotDone(why)) => assert!(!is_there, "{id} was not done, as the service was told: {why}"),
            Err(CommitError::Unknown(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let mut journal = Vec::new();
    while let batch = database.journal(0, journal.len() as u64, 1_000).await.unwrap()
        && !batch.is_empty()
    {
        journal.extend(batch);
    }
    assert_eq!(journal.len() as u64, found);
    assert!(journal.iter().zip(1..).all(|(record, number)| record.sequence == number), "there is a gap");
}

#[tokio::test]
async fn a_process_whose_database_was_taken_over_writes_no_more() {
    let home = OnServer::new();
    let (database, client, name) = (home.open(schema(1)), another(&server()).await, name(&home));
    database.commit(one(1)).await.unwrap();
    // Another process is faster.
    client.batch_execute(&format!("UPDATE \"{name}\".meta SET value = 'another' WHERE name = 'holder'")).await.unwrap();
    database.commit(one(2)).await.unwrap();
    end_writer(&client, &name).await;

    let until = Instant::now() + Duration::from_secs(30);
    let failure = loop {
        match database.commit(one(3)).await {
            Err(CommitError::Failed(failure)) => break failure,
            other => assert!(Instant::now() < until, "{other:?}"),
        }
    };
    assert_eq!(failure.code(), "database-taken-over", "{failure}");
    assert_eq!(database.failure(), Some(failure));
    assert!(database.document("orders", 3).await.unwrap().is_none());
    assert!(database.document("orders", 2).await.unwrap().is_some(), "it can still be read");
    database.close().await;
}

/// kill -9 of the whole server under load, and another start.
#[tokio::test]
async fn what_was_acknowledged_survives_the_death_of_the_server() {
    let server = own_server();
    let home = OnServer::at(&server.url);
    let database = home.open(schema(1));
    let next = AtomicI64::new(1);
    let rounds = 2;
    let mut outcomes = BTreeMap::new();
    for round in 1..=rounds {
        let is_up = AtomicBool::new(true);
        let commit = async || {
            let (mut own, mut since) = (Vec::new(), 0);
            // Until ten of each caller are done after the restart.
            while since < 10 {
                let id = next.fetch_add(1, Ordering::Relaxed);
                let outcome = database.commit(one(id)).await;
                match &outcome {
                    Ok(_) => since += i32::from(is_up.load(Ordering::Relaxed)),
                    Err(CommitError::NotDone(_) | CommitError::Unknown(_)) => since = 0,
                    Err(error) => panic!("{error}"),
                }
                own.push((id, outcome.map(drop)));
            }
            own
        };
        let kill = async {
            while database.stats().commits < 50 * round {
                tokio::task::yield_now().await;
                drop(database.document("orders", 1).await);
            }
            is_up.store(false, Ordering::Relaxed);
            let own = server.server().clone();
            let started = tokio::task::spawn_blocking(move || {
                own.kill().unwrap();
                // Processes of the server that go on for a moment keep a new one from starting.
                let until = Instant::now() + Duration::from_secs(30);
                while let Err(why) = own.start() {
                    assert!(Instant::now() < until, "{why}");
                }
            });
            started.await.unwrap();
            is_up.store(true, Ordering::Relaxed);
        };
        let work = futures_util::future::join_all((0..8).map(|_| commit()));
        let (done, ()) = futures_util::future::join(work, kill).await;
        outcomes.extend(done.into_iter().flatten());
    }

    let count =
        |wanted: fn(&Result<(), CommitError>) -> bool| outcomes.values().filter(|outcome| wanted(outcome)).count();
    let unknown = count(|outcome| matches!(outcome, Err(CommitError::Unknown(_))));
    let not_done = count(|outcome| matches!(outcome, Err(CommitError::NotDone(_))));
    println!("{} commits, {not_done} not done, {unknown} unknown", outcomes.len());
    check(&database, &outcomes).await;
    database.close().await;
}

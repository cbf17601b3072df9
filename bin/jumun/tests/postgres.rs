//! A system whose databases are on a server of PostgreSQL, started as its users start it.

mod lab;

use jumun_testing::servers::{Kind, Own};
use lab::{Crowd, LONG, SERVICES, Up, wait_until};
use std::{env, fs, path::Path};

/// A server that only this test uses, to do with it what it likes.
fn own_server() -> Own {
    Own::start(Kind::Postgres, &Path::new(env!("CARGO_TARGET_TMPDIR")).join("servers")).expect("a server")
}

/// Orders that the gateway has accepted.
async fn accepted(up: &Up) -> u64 {
    up.client("order").get("/orders?size=1").await.json()["page"]["totalElements"].as_u64().unwrap_or(0)
}

/// The server dies under load (kill -9) and starts again; then the system itself. Nothing that was acknowledged is lost or
/// half done.
#[tokio::test]
async fn food_delivery_outlives_the_death_of_its_database_server() {
    let server = own_server();
    let mut up = Up::new();
    // In the file that every command reads.
    fs::write(up.folder().join("jumun.toml"), format!("database = \"{}\"\n", server.url)).expect("a file");
    up.set("order.calls.payment.time_limit=20s");
    up.set("gateway.time_limit=40s");
    up.start().await;
    let gateway = up.client("gateway");
    let first = gateway.place_confirmed("치킨", 22_000).await;
    for service in SERVICES {
        assert!(!up.data().join(format!("{service}.db")).exists(), "{service} has a file");
    }

    let crowd = Crowd::come(&up, 4);
    wait_until(LONG, "orders are taken", async || accepted(&up).await > 20).await;
    server.server().kill().expect("a server");
    wait_until(LONG, "the server has started again", async || server.server().start().is_ok()).await;
    let mut before = None;
    wait_until(2 * LONG, "orders are taken again", async || {
        let now = accepted(&up).await;
        now > *before.get_or_insert(now) + 20
    })
    .await;
    let answers = crowd.go().await;

    up.audit("60s").clean();
    let mut ids: Vec<i64> =
        answers.iter().flatten().filter(|answer| answer.status == 201).map(lab::Answer::id).collect();
    assert!(ids.len() > 40, "{}", ids.len());
    ids.push(first);
    let listed = gateway.all("/orders").await;
    let listed: Vec<i64> = listed.iter().filter_map(|order| order["id"].as_i64()).collect();
    for id in &ids {
        assert!(listed.contains(id), "{id} was acknowledged");
    }
    // Commands that read databases.
    for words in [vec!["why", "food-delivery", &first.to_string()], vec!["asks"], vec!["parked", "list"]] {
        let (status, said) = up.jumun(&words);
        assert_eq!(status, 0, "{words:?}: {said}");
        assert!(!said.contains(&server.url), "{said}");
    }

    up.stop().await;
    up.audit("1s").clean();
    up.start().await;
    let next = up.client("gateway").place_confirmed("피자", 30_000).await;
    assert!(ids.iter().all(|id| next > *id), "no id is given twice");
    up.audit("60s").clean();
    up.stop().await;
}

/// The error names what is wrong, and never the password.
#[tokio::test]
async fn a_server_that_does_not_answer_or_does_not_let_in_is_said() {
    let url = env::var("JUMUN_TEST_POSTGRES").expect("`cargo xtask test` starts a server");
    let (user, place) = url.trim_start_matches("postgres://").split_once('@').expect("a user");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    for (database, code) in [
        (format!("postgres://{user}@{free}/postgres"), "database-unreachable"),
        (format!("postgres://postgres:wr0ng@{place}"), "database-refused"),
    ] {
        let mut up = Up::new();
        up.set(format!("database={database}"));
        let output = up.command().output().expect("a process");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(&format!("error[{code}]")), "{said}");
        let (_, password) = user.split_once(':').expect("a password");
        assert!(!said.contains(password) && !said.contains("wr0ng"), "{said}");
    }
}

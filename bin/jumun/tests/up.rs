//! `jumun up`: a whole system from one command, and what operators do to it while clients go on.

mod lab;

use lab::{Crowd, LONG, SERVICES, Up, basket, exists, run, wait_until};
use rustix::process::{Signal, kill_process};
use serde_json::Value;
use std::{fs, net::TcpListener};

const PROCESSES: [&str; 6] = ["gateway", "order", "payment", "store", "delivery", "dashboard"];

/// Runs an operator's command beside the customers.
async fn meanwhile(up: &Up, words: &[&str]) {
    let command = up.command_of(words);
    let (status, said) = tokio::task::spawn_blocking(|| run(command)).await.expect("a command");
    assert_eq!(status, 0, "{words:?}: {said}");
}

#[tokio::test]
async fn a_fresh_folder_comes_up_and_the_next_start_goes_on_with_all_data() {
    let mut up = Up::running().await;
    let gateway = up.client("gateway");
    let id = gateway.place_confirmed("치킨", 22_000).await;
    let pids: Vec<_> = PROCESSES.iter().map(|name| up.pid(name)).collect();

    up.stop().await;
    assert!(pids.iter().all(|pid| !exists(*pid)), "no process is left over");
    assert!(up.said().contains("is stopped"), "{}", up.said());

    up.start().await;
    gateway.until_confirmed(id).await;
    let next = gateway.place("피자", 30_000).await;
    assert!(next > id);
    up.audit("20s").clean();
}

#[tokio::test]
async fn what_cannot_come_up_says_why_and_changes_nothing() {
    let up = Up::running().await;
    let fails = |mut command: std::process::Command, code: &str| {
        let output = command.output().expect("a process");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(code), "{code}: {said}");
        said
    };
    fails(up.command(), "already-up");

    let mut other = Up::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    other.set(format!("store.listen={address}"));
    let said = fails(other.command(), "port-taken");
    assert!(said.contains("store") && said.contains(&address.to_string()), "{said}");
    assert!(!other.folder().join("data").exists(), "nothing was written");

    let unwritable = Up::new();
    fs::write(unwritable.folder().join("data"), "a file").expect("a file");
    fails(unwritable.command(), "data-unwritable");

    let damaged = Up::new();
    fs::create_dir_all(damaged.data()).expect("a folder");
    let file = damaged.data().join("payment.db");
    fs::write(&file, [7; 8_192]).expect("a file");
    let said = fails(damaged.command(), "database-damaged");
    assert!(said.contains("payment"), "{said}");
    assert_eq!(fs::read(&file).expect("a file"), [7; 8_192], "it is left as it was");
}

#[tokio::test]
async fn a_killed_service_costs_its_clients_a_moment() {
    let up = Up::patient().await;
    let crowd = Crowd::come(&up, 4);
    for name in SERVICES {
        let before = up.pid(name);
        meanwhile(&up, &["kill", name]).await;
        let after = up.status(name);
        assert_ne!(up.pid(name), before);
        assert_eq!(after["restarts"], 1, "{after}");
    }
    let answers = crowd.go().await;
    let refused: Vec<_> = answers.iter().filter(|answer| !answer.as_ref().is_ok_and(|it| it.status == 201)).collect();
    assert!(refused.is_empty(), "of {}: {refused:?}", answers.len());
    up.audit("20s").clean();
}

#[tokio::test]
async fn a_gateway_that_is_killed_breaks_connections_and_loses_no_order() {
    let up = Up::running().await;
    let crowd = Crowd::come(&up, 4);
    for _ in 0..3 {
        meanwhile(&up, &["kill", "gateway"]).await;
    }
    let answers = crowd.go().await;
    assert!(answers.iter().flatten().all(|answer| answer.status == 201), "an answer is a 201");
    let placed: Vec<_> = answers.into_iter().flatten().map(|answer| answer.id()).collect();
    for id in placed {
        assert_eq!(up.client("order").get(&format!("/orders/{id}")).await.status, 200);
    }
    up.audit("20s").clean();
}

/// `JUMUN_KILLS=60` makes it longer.
#[tokio::test]
async fn whoever_is_killed_when_every_acknowledged_order_stands() {
    let kills = std::env::var("JUMUN_KILLS").map_or(8, |kills| kills.parse().expect("a number"));
    let up = Up::running().await;
    let crowd = Crowd::come(&up, 8);
    let mut gateway_died = false;
    for _ in 0..kills {
        let victim = PROCESSES[usize::from(uuid::Uuid::now_v7().as_bytes()[15]) % PROCESSES.len()];
        gateway_died |= victim == "gateway";
        meanwhile(&up, &["kill", victim]).await;
    }
    let (mut placed, mut refused, mut broken) = (Vec::new(), 0, 0);
    for answer in crowd.go().await {
        match answer {
            Ok(answer) if answer.status == 201 => placed.push(answer.id()),
            Ok(answer) => {
                assert_eq!(answer.status, 503, "{answer:?}");
                refused += 1;
            }
            Err(_) => broken += 1,
        }
    }
    println!("{kills} kills: {} orders placed, {refused} refused, {broken} connections broken", placed.len());
    assert!(gateway_died || broken == 0, "{broken} connections broke, and the gateway never did");
    up.audit("20s").clean();
    let order = up.client("order");
    for id in placed {
        assert_eq!(order.get(&format!("/orders/{id}")).await.status, 200, "order {id} was acknowledged");
    }
}

#[tokio::test]
async fn rolling_everything_loses_no_request() {
    let up = Up::patient().await;
    let before: Vec<_> = PROCESSES.iter().map(|name| up.pid(name)).collect();
    let crowd = Crowd::come(&up, 8);
    for _ in 0..3 {
        meanwhile(&up, &["roll", "--all"]).await;
    }
    let answers = crowd.go().await;
    let refused: Vec<_> = answers.iter().filter(|answer| !answer.as_ref().is_ok_and(|it| it.status == 201)).collect();
    assert!(refused.is_empty(), "of {}: {refused:?}", answers.len());
    for (name, before) in PROCESSES.into_iter().zip(before) {
        assert_ne!(up.pid(name), before, "{name} is a new process");
        assert_eq!(up.status(name)["restarts"], 0, "a roll is no failure");
    }
    up.audit("20s").clean();
}

#[tokio::test]
async fn a_service_that_is_stopped_is_refused_at_once_and_catches_up() {
    let up = Up::running().await;
    let gateway = up.client("gateway");
    up.tell(&["stop", "payment"]);
    let refused = gateway.post("/orders", &basket("치킨", 22_000)).await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.head.contains_key("retry-after"));
    assert_eq!(gateway.all("/orders").await, Vec::<Value>::new());
    up.tell(&["start", "payment"]);

    for names in [&["store"][..], &["delivery", "dashboard"], &["store", "delivery", "dashboard"]] {
        for name in names {
            up.tell(&["stop", name]);
            assert_eq!(up.status(name)["state"], "stopped");
        }
        let id = gateway.place("치킨", 22_000).await;
        for name in names {
            up.tell(&["start", name]);
        }
        gateway.until_confirmed(id).await;
    }
    up.tell(&["restart", "order"]);
    gateway.place("치킨", 22_000).await;
    up.audit("20s").clean();
}

#[tokio::test]
async fn a_service_that_is_left_out_leaves_its_port_to_others_until_it_is_started() {
    let mut up = Up::new();
    let other = TcpListener::bind(up.address("dashboard")).expect("a port that nobody has");
    up.leave_out("dashboard");
    up.start().await;
    assert_eq!(up.status("dashboard")["state"], "stopped");
    let id = up.client("gateway").place("tea", 1).await;
    let (status, said) = up.jumun(&["start", "dashboard"]);
    assert!(status != 0, "another program has its port: {said}");
    drop(other);
    up.tell(&["start", "dashboard"]);
    let dashboard = up.client("gateway");
    wait_until(LONG, "it has caught up", async || dashboard.get(&format!("/dashboards/{id}")).await.status == 200)
        .await;
    up.stop().await;

    up.leave_out("kitchen");
    let (status, said) = run(up.command());
    assert!(status == 1 && said.contains("error[service-unknown]") && said.contains("dashboard"), "{status} {said}");
}

#[tokio::test]
async fn a_process_that_hangs_is_replaced() {
    let up = Up::running().await;
    let hung = up.pid("payment");
    kill_process(hung, Signal::STOP).expect("a process of ours");
    wait_until(LONG, "it is replaced", async || up.status("payment")["restarts"] == 1).await;
    assert!(!exists(hung));
    wait_until(LONG, "the next one is ready", async || up.status("payment")["state"] == "ready").await;
    up.client("gateway").place("치킨", 22_000).await;
    up.audit("20s").clean();
}

#[tokio::test]
async fn when_the_supervisor_is_killed_everything_ends_and_the_next_start_finds_all() {
    let mut up = Up::running().await;
    let id = up.client("gateway").place("치킨", 22_000).await;
    let pids: Vec<_> = PROCESSES.iter().map(|name| up.pid(name)).collect();
    up.signal(Signal::KILL);
    assert_eq!(up.wait_until_ended().await, None);
    wait_until(LONG, "all processes have ended", async || !pids.iter().any(|pid| exists(*pid))).await;
    let (status, said) = up.jumun(&["status"]);
    assert_eq!((status, said.contains("not-up")), (1, true), "{said}");
    up.start().await;
    assert_eq!(up.client("gateway").get(&format!("/orders/{id}")).await.status, 200);
    up.audit("20s").clean();
}

#[tokio::test]
async fn a_service_that_never_gets_ready_is_tried_again_ever_more_slowly() {
    let up = Up::running().await;
    up.tell(&["stop", "dashboard"]);
    let file = up.data().join("dashboard.db");
    let good = fs::read(&file).expect("a file");
    fs::write(&file, [7; 8_192]).expect("a file");
    let (status, said) = up.jumun(&["start", "dashboard"]);
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("database-damaged"), "{said}");
    wait_until(LONG, "it was tried again", async || up.status("dashboard")["restarts"].as_u64() > Some(2)).await;
    up.client("gateway").place("치킨", 22_000).await; // nobody else is disturbed
    fs::write(&file, good).expect("a file");
    wait_until(LONG, "it runs", async || up.status("dashboard")["state"] == "ready").await;
    up.audit("20s").clean();
}

/// How often the gateway has probed the order service.
async fn probes(up: &Up) -> u64 {
    let page = up.client("order").get("/actuator/prometheus").await.body;
    let page = std::str::from_utf8(&page).expect("text");
    let counted = page.lines().find(|line| line.starts_with("jumun_http_requests") && line.contains("readiness"));
    counted.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
}

#[tokio::test]
async fn an_idle_system_logs_nothing() {
    let up = Up::running().await;
    let logs = || -> Vec<String> {
        let files = fs::read_dir(up.data().join("logs")).expect("a folder of logs");
        files.map(|file| fs::read_to_string(file.expect("a file").path()).expect("a log")).collect()
    };
    let (before, first) = (logs(), probes(&up).await);
    // The gateway probes once a second. More than two windows of the summary pass, so one of them is whole. Meanwhile an
    // operator looks at everything.
    let gateway = up.client("gateway");
    wait_until(LONG, "25 more probes", async || {
        for page in ["/actuator/health", "/actuator/health/readiness", "/actuator/info", "/actuator/prometheus"] {
            assert_eq!(gateway.get(page).await.status, 200, "{page}");
        }
        assert_eq!(gateway.get("/actuator/none").await.status, 404);
        up.tell(&["status"]);
        probes(&up).await > first + 25
    })
    .await;
    assert_eq!(logs(), before);
}

#[tokio::test]
async fn a_filter_of_the_log_that_is_none_is_refused() {
    let up = Up::new();
    for filter in ["info,jumun_runtime=loud", "inof", "warn, wran"] {
        let mut command = up.command();
        command.env("JUMUN_LOG", filter);
        let (status, said) = run(command);
        assert_eq!(status, 1, "{said}");
        assert!(said.contains("error[configuration-invalid]: JUMUN_LOG is not a filter"), "{said}");
    }
    let (status, said) = up.jumun(&["logs", "--system", "space-travel"]);
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("error[not-up]"), "{said}");
}

#[tokio::test]
async fn what_the_processes_say_is_in_their_logs() {
    let up = Up::running().await;
    up.client("gateway").place("치킨", 22_000).await;
    wait_until(LONG, "it has said something", async || up.tell(&["logs", "order"]).contains("traffic of the last"))
        .await;
    let said = up.tell(&["logs", "order"]);
    assert!(said.lines().all(|line| line.starts_with("order")), "{said}");
    assert!(!said.contains('\u{1b}'), "a file has no colours: {said}");
    let (status, said) = up.jumun(&["logs", "nobody"]);
    assert_eq!(status, 1);
    assert!(said.contains("Name one of: dashboard, delivery, gateway"), "{said}");
}

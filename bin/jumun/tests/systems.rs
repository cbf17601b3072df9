//! Every system that ships, as its users start it: `jumun up`. Each test runs for each system.

mod lab;

use jumun::{FieldModel, Verb};
use lab::{LONG, Up};
use lab::{Plan, SAUCE_SHOP, of_each_system, wait_until};
use serde_json::{Value, json};
use std::process::Stdio;

/// Runs a command that must succeed; what it printed.
fn run(up: &Up, words: &[&str]) -> String {
    let (status, said) = up.jumun(words);
    assert_eq!(status, 0, "jumun {words:?}: {said}");
    said
}

async fn an_order_goes_its_way_is_cancelled_and_leaves_a_clean_audit(plan: &Plan) {
    let (model, line) = plan.model();
    let up = plan.up().await;
    let gateway = up.client("gateway");
    let order = gateway.post_text(line.path, line.body).await;
    assert_eq!(order.status, 201, "{order:?}");
    let mut resources = model.services.iter().flat_map(|service| &service.resources);
    let orders = resources.find(|it| it.paths().any(|path| path == line.path)).expect("a resource").path;
    let path = format!("{orders}/{}", order.id());
    assert_eq!(order.header("location"), Some(&*path));
    assert_eq!(gateway.get(&path).await.body, order.body, "what was answered is what is there");
    let (view, (field, value)) = line.finished.expect("a view");
    gateway.until(&format!("{view}/{}", order.id()), field, value).await;
    assert_eq!(up.audit("20s").exit_code, 0);

    for resource in model.services.iter().flat_map(|service| &service.resources) {
        for document in gateway.all(resource.path).await {
            let is_asked_for = |field: &&FieldModel| field.is_finder && document[&field.name].is_i64();
            for field in resource.fields.iter().filter(is_asked_for) {
                let name = &field.name;
                let find = async |value: i64| {
                    let path = format!("{}/search/{}?{name}={value}", resource.path, field.finder_name());
                    let found = gateway.get(&path).await.json();
                    found["_embedded"][resource.collection].as_array().cloned().unwrap_or_else(|| panic!("{found}"))
                };
                let value = document[name].as_i64().expect("a number");
                assert!(find(value).await.contains(&document), "{} by {name}: {document}", resource.path);
                assert!(find(value + 1_000).await.is_empty(), "{} by {name}", resource.path);
            }
        }
    }

    assert_eq!(gateway.delete(&path).await.status, 204);
    let (field, value) = line.canceled.expect("it can be cancelled");
    assert_eq!(gateway.get(&path).await.json()[field], value, "it stays readable as cancelled");
    let again = gateway.delete(&path).await;
    assert_eq!((again.status, &*again.problem()), (409, "conflict"));
    assert_eq!(up.audit("20s").exit_code, 0);

    // What services ask each other is nothing for clients, unless they may post there themselves.
    let of_clients = |path: &str| {
        let mut resources = model.services.iter().flat_map(|service| &service.resources);
        resources.any(|it| it.path == path && it.commands.iter().any(|command| command.verb == Verb::Post))
    };
    let asks = model.services.iter().flat_map(|service| &service.asks);
    for ask in asks.filter(|ask| !ask.is_external() && !of_clients(ask.path)) {
        for client in [&gateway, &up.client(ask.service)] {
            let own = client.post_text(ask.path, "{}").await;
            assert_eq!((own.status, &*own.problem()), (403, "ask-only"), "{ask:?}");
        }
    }
}

async fn every_command_works_for_it(plan: &Plan) {
    let (model, _) = plan.model();
    let up = plan.up().await;
    assert!(!model.about.is_empty(), "it says what it is for");
    let list = run(&up, &["list", model.name]);
    let start = format!("jumun up {}", model.name);
    for said in [model.name, model.about, &start] {
        assert!(list.contains(said), "{said} is not in: {list}");
    }
    let listed: Value = serde_json::from_str(&run(&up, &["list", model.name, "--json"])).expect("JSON");
    for (service, listed) in model.services.iter().zip(listed["services"].as_array().expect("a list")) {
        assert_eq!((listed["name"].as_str(), listed["port"].as_u64()), (Some(service.name), Some(service.port.into())));
        for resource in &service.resources {
            assert!(list.contains(resource.path), "{} is not in: {list}", resource.path);
        }
    }
    let url = format!("http://{}", up.address("gateway"));
    let load = ["load", model.name, "--url", &url, "--requests", "30", "--concurrency", "4", "--json"];
    let load = run(&up, &[&load[..], &["--cancel", "20%", "--watch", "50%"]].concat());
    let load: Value = serde_json::from_str(&load).expect("JSON");
    assert_eq!(load["orders"], 30, "{load}");

    assert!(run(&up, &["audit", model.name, "--wait", "20s"]).contains("clean"));
    assert_eq!(run(&up, &["asks", model.name]).lines().count(), 1, "nothing is in doubt");
    let events = run(&up, &["events", "tail", model.name, "-n", "100000", "--json"]);
    let founding = format!("\"type\":\"{}\"", plan.founding);
    assert_eq!(events.lines().filter(|line| line.contains(&founding)).count(), 30, "{events}");
    assert!(run(&up, &["why", model.name, "1"]).contains(plan.founding), "the story of order 1");
    let views = model.services.iter().filter(|service| service.resources.iter().any(|it| it.is_view));
    for service in views {
        run(&up, &["view", "rebuild", model.name, service.name]);
    }
    for service in &model.services {
        let is_one = |word: &[&str]| run(&up, &[word, &[service.name, "--system", model.name]].concat());
        is_one(&["fault"]);
        is_one(&["logs"]);
        for ask in service.asks.iter().filter(|ask| !ask.is_external()) {
            run(&up, &["fault", ask.service, "--system", model.name, "--delay", "1ms..2ms", "--for", "60s"]);
            assert!(run(&up, &["fault", ask.service, "--system", model.name]).contains("1ms..2ms"));
            run(&up, &["fault", ask.service, "--system", model.name, "--off"]);
            let breaker = [service.name, ask.service, "--system", model.name];
            run(&up, &[&["breakers", "force-open"], &breaker[..]].concat());
            assert!(run(&up, &["breakers", "--system", model.name]).contains("forced-open"));
            run(&up, &[&["breakers", "reset"], &breaker[..]].concat());
        }
    }
    assert_eq!(up.audit("20s").exit_code, 0);
}

async fn each_service_is_killed_under_load_and_no_order_suffers(plan: &Plan) {
    let (model, _) = plan.model();
    let up = plan.up().await;
    if let Some((method, path, body)) = &plan.stock {
        let json = [("content-type", "application/json")];
        let answer = up.client("gateway").send(method.clone(), path, &json, *body).await.expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let url = format!("http://{}", up.address("gateway"));
    let mut load = up.command_of(&["load", model.name, "--url", &url, "--for", "4s", "--concurrency", "4"]);
    load.args(["--cancel", "10%", "--availability", "50%", "--json"]);
    let load = load.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a load");
    let load = tokio::task::spawn_blocking(|| load.wait_with_output().expect("a load"));
    let is_up = |name: &str| up.status(name)["health"] == "UP";
    while !load.is_finished() {
        for service in &model.services {
            up.tell(&["kill", service.name]);
            wait_until(LONG, "it is back", async || load.is_finished() || is_up(service.name)).await;
        }
    }
    let output = load.await.expect("a load");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    assert!(output.status.success(), "{told} {}", String::from_utf8_lossy(&output.stderr));
    assert!(told["orders"].as_u64() > Some(0), "{told}");
    let audit = up.audit("30s");
    assert_eq!((audit.exit_code, audit.report["verdict"].as_str()), (0, Some("clean")), "{audit:?}");
}

of_each_system! {
    an_order_goes_its_way_is_cancelled_and_leaves_a_clean_audit
    every_command_works_for_it
    each_service_is_killed_under_load_and_no_order_suffers
}

#[tokio::test]
async fn orders_of_sauce_go_on_without_their_delivery_which_catches_up() {
    let (_, line) = SAUCE_SHOP.model();
    let up = SAUCE_SHOP.up().await;
    let gateway = up.client("gateway");
    up.tell(&["stop", "delivery"]);
    let mut ids = Vec::new();
    for _ in 0..5 {
        let order = gateway.post_text(line.path, line.body).await;
        assert_eq!(order.status, 201, "{order:?}");
        ids.push(order.id());
    }
    let away = gateway.get("/deliveries").await;
    assert_eq!(away.status, 503);
    away.problem();
    let paid = gateway.until(&format!("/orderDashboards/{}", ids[0]), "state", "Paid").await;
    assert_eq!(paid["deliveryState"], Value::Null, "nothing is delivered yet");
    assert_eq!(gateway.delete(&format!("/orders/{}", ids[4])).await.status, 204);
    up.tell(&["start", "delivery"]);
    for id in &ids[..4] {
        gateway.until(&format!("/orderDashboards/{id}"), "state", "Preparing").await;
    }
    gateway.until(&format!("/deliveries/{}", ids[4]), "state", "Canceled").await;
    assert_eq!(up.audit("20s").exit_code, 0);
}

#[tokio::test]
async fn the_address_of_payment_has_its_old_name_and_each_service_shows_what_it_was_given() {
    let model = (SAUCE_SHOP.system)();
    let mut up = SAUCE_SHOP.prepared();
    let payment = format!("http://{}", up.address("payment"));
    up.env("configurl", &payment);
    up.env("LOCATION", "seoul");
    up.start().await;
    let info = up.client("order").get("/actuator/info").await.json();
    assert_eq!(info["values"], json!({ "LOCATION": "seoul", "api.payment.url": payment }));
    let others = model.services.iter().map(|service| service.name).filter(|name| *name != "order");
    for name in others.chain(["gateway"]) {
        let info = up.client(name).get("/actuator/info").await.json();
        let what = (&info["system"], &info["service"], &info["values"]);
        assert_eq!(what, (&json!(model.name), &json!(name), &json!({ "LOCATION": "seoul" })));
    }
    let (_, line) = SAUCE_SHOP.model();
    assert_eq!(up.client("gateway").post_text(line.path, line.body).await.status, 201);

    let mut config = up.command_of(&["config", model.name]);
    let output = config.env("configurl", &payment).output().expect("a process");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = said.lines().find(|line| line.starts_with("order.calls.payment.url")).unwrap_or_default();
    assert!(line.contains(&payment) && line.ends_with("# environment"), "{line}");
    let mut config = up.command_of(&["config", model.name, "--set", "order.api.payment.url=http://127.0.0.1:1"]);
    let output = config.env("configurl", &payment).output().expect("a process");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("configurl") && said.contains("order.api.payment.url"), "{said}");
}

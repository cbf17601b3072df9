//! Defaults, sources, errors and the explanation of the keys of whole systems.

use super::{tables::without_secret, *};
use jumun_bus::BusUrl;
use jumun_database::DatabaseUrl;
use jumun_gateway::{GatewayConfig, RateConfig};
use jumun_guard::Window;
use jumun_http::{Address, Shed};
use jumun_runtime::{
    asks::{CallConfig, DelayConfig},
    intake::AdmissionConfig,
};
use jumun_telemetry::OtlpConfig;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    time::Duration,
};

fn with(environment: &[(&str, &str)], set: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let sources = Sources {
        environment: Some(environment.iter().map(own).collect::<HashMap<_, _>>()),
        set: set.iter().map(own).collect(),
        ..Sources::default()
    };
    load(&food_delivery::system(), &sources)
}

/// Where a service asks for payments.
fn url(order: &ServiceConfig) -> Option<String> {
    order.calls["payment"].url.as_ref().map(Address::to_string)
}

#[test]
fn a_system_has_defaults_of_its_own_which_every_source_overrides() {
    let model = breakfast_mileage::system();
    let shed = |sources: &Sources| {
        let config = load(&model, sources).expect("a configuration");
        let entries = explain(&model, sources).expect("a configuration");
        let entry = entries.into_iter().find(|entry| entry.key == "payment.shed").expect("a key");
        (config.services["payment"].shed, entry.value, entry.origin.to_string())
    };
    assert_eq!(shed(&sources(&[])), (Shed::All, json!("all"), "default of the system".to_owned()));
    assert_eq!(shed(&sources(&[("payment.shed", "new")])), (Shed::New, json!("new"), "flag".to_owned()));
    let food = explained(&sources(&[]));
    assert_eq!(food["payment.shed"], (json!("new"), Origin::Default), "another system has them not");
    assert!(reference(&[model]).contains("Defaults of this system: `order.shed = all`, `payment.shed = all`"));
}

#[test]
fn the_defaults_are_what_the_readme_says() {
    let config = with(&[], &[]).expect("a configuration");
    let order = &config.services["order"];
    assert_eq!(order.listen.to_string(), "127.0.0.1:8081");
    assert_eq!(order.database, DatabaseUrl::embedded("data/food-delivery/order.db"));
    assert_eq!(config.bus, BusUrl::embedded("data/food-delivery/bus"));
    assert_eq!(url(order).as_deref(), Some("http://127.0.0.1:8084"));
    assert_eq!(order.calls["payment"].time_limit, Duration::from_secs(1));
    assert_eq!(config.unavailable_status, 503);
}

#[test]
fn the_guard_around_a_call_is_by_default_what_the_contract_says() {
    let explained = explained(&sources(&[("order.calls.payment.time_limit", "610ms")]));
    let told = |key: &str| explained[&format!("order.calls.payment.{key}")].0.clone();
    for (key, value) in [
        ("breaker.window", json!("10s")),
        ("breaker.minimum_calls", json!(20)),
        ("breaker.failure_rate", json!(0.5)),
        ("breaker.slow_call", json!("610ms")),
        ("breaker.slow_call_rate", json!(1.0)),
        ("breaker.wait_open", json!("5s")),
        ("breaker.half_open_calls", json!(5)),
        ("bulkhead.max_concurrent", json!(256)),
        ("bulkhead.max_wait", json!("100ms")),
    ] {
        assert_eq!(told(key), value, "{key}");
    }
    let faults = ["delay", "fail", "concurrency", "cpu", "start_delay"];
    let faults = faults.map(|key| explained[&format!("payment.faults.{key}")].0.clone());
    assert_eq!(faults, [json!("0s"), json!(0.0), json!(0), json!("0s"), json!("0s")], "off");
}

#[test]
fn the_guard_and_faults_are_set_from_everywhere() {
    let environment = [
        ("JUMUN__ORDER__CALLS__PAYMENT__BREAKER__WINDOW", "100"),
        ("JUMUN__ORDER__CALLS__PAYMENT__BREAKER__MINIMUM_CALLS", "10"),
        ("JUMUN__ORDER__CALLS__PAYMENT__BREAKER__FAILURE_RATE", "1"),
        ("JUMUN__ORDER__CALLS__PAYMENT__BULKHEAD__MAX_CONCURRENT", "7"),
        ("JUMUN__PAYMENT__FAULTS__DELAY", "400ms..620ms"),
        ("JUMUN__PAYMENT__FAULTS__FAIL", "0.25"),
    ];
    let set = [
        ("order.calls.payment.breaker.minimum_calls", "11"),
        ("order.calls.payment.bulkhead.max_wait", "0s"),
        ("payment.faults.concurrency", "30"),
    ];
    let config = with(&environment, &set).expect("a configuration");
    let CallConfig { breaker, bulkhead, .. } = &config.services["order"].calls["payment"];
    assert_eq!((breaker.window, breaker.minimum_calls), (Window::Calls(100), Some(11)));
    assert!((breaker.failure_rate - 1.0).abs() < f64::EPSILON);
    assert_eq!((bulkhead.max_concurrent, bulkhead.max_wait), (7, Duration::ZERO));
    let faults = &config.services["payment"].faults;
    assert_eq!((faults.delay.to_string(), faults.concurrency), ("400ms..620ms".to_owned(), 30));
    assert!((faults.fail - 0.25).abs() < f64::EPSILON);

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("jumun.toml");
    let toml = "[order.calls.payment.breaker]\nwindow = 50\nfailure_rate = 0.1\n[payment.faults]\ncpu = \"5ms\"\n";
    fs::write(&file, toml).expect("a file");
    let sources = Sources { file: Some(file), ..sources(&[]) };
    let config = load(&food_delivery::system(), &sources).expect("a configuration");
    assert_eq!(config.services["order"].calls["payment"].breaker.window, Window::Calls(50));
    assert_eq!(config.services["payment"].faults.cpu, Duration::from_millis(5));
}

#[test]
fn how_much_is_taken_at_once_is_by_default_what_a_service_can_do_in_time() {
    let config = with(&[], &[]).expect("a configuration");
    let usual = AdmissionConfig {
        max_concurrent: 1_024,
        max_waiting: 1_024,
        max_wait: Duration::from_millis(250),
        max_reads: 32,
    };
    assert!(config.services.values().all(|service| service.admission == usual && service.shed == Shed::New));
    let GatewayConfig { rate, trusted_proxies, max_concurrent_total, .. } = config.gateway;
    assert_eq!((rate, trusted_proxies, max_concurrent_total), (RateConfig::default(), vec![], 4_096));

    let environment = [("JUMUN__ORDER__SHED", "all"), ("JUMUN__GATEWAY__RATE__PER_SECOND", "5")];
    let set = [
        ("order.admission.max_wait", "1s"),
        ("order.admission.max_waiting", "0"),
        ("gateway.rate.burst", "20"),
        ("gateway.trusted_proxies", "10.0.0.0/8, ::1"),
    ];
    let config = with(&environment, &set).expect("a configuration");
    let expected = AdmissionConfig { max_waiting: 0, max_wait: Duration::from_secs(1), ..usual };
    let order = &config.services["order"];
    assert_eq!((order.admission, order.shed), (expected, Shed::All));
    assert_eq!(config.gateway.rate, RateConfig { per_second: 5, burst: 20 });
    let proxies: Vec<_> = config.gateway.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["10.0.0.0/8", "::1"]);
}

#[test]
fn an_offset_moves_all_usual_ports_and_no_others() {
    let config = with(&[], &[("port_offset", "100"), ("store.listen", "127.0.0.1:9000")]).expect("a configuration");
    let order = &config.services["order"];
    assert_eq!(order.listen.port(), 8181);
    assert_eq!(url(order).as_deref(), Some("http://127.0.0.1:8184"));
    assert_eq!(config.gateway.listen.port(), 8188);
    assert_eq!(config.services["store"].listen.port(), 9000);
}

#[test]
fn the_gateway_finds_services_where_they_listen_unless_it_is_told_otherwise() {
    let set = [
        ("payment.listen", "127.0.0.1:9000"),
        ("gateway.upstreams.order", "http://a:1, http://b:2"),
        ("gateway.cors_origins", "https://shop.example,http://localhost:3000"),
    ];
    let gateway = with(&[], &set).expect("a configuration").gateway;
    let urls = |service: &str| gateway.upstreams[service].iter().map(Address::to_string).collect::<Vec<_>>();
    assert_eq!(urls("payment"), ["http://127.0.0.1:9000"]);
    assert_eq!(urls("store"), ["http://127.0.0.1:8082"]);
    assert_eq!(urls("order"), ["http://a:1", "http://b:2"]);
    assert_eq!(gateway.cors_origins, ["https://shop.example", "http://localhost:3000"]);
    assert_eq!(with(&[], &[]).expect("a configuration").gateway.cors_origins, Vec::<String>::new());
}

#[test]
fn flags_win_over_the_environment() {
    let time_limit = |config: Config| config.services["order"].calls["payment"].time_limit;
    let environment = [("JUMUN__ORDER__CALLS__PAYMENT__TIME_LIMIT", "610ms")];
    assert_eq!(time_limit(with(&environment, &[]).expect("a configuration")), Duration::from_millis(610));
    let set = [("order.calls.payment.time_limit", "2s")];
    assert_eq!(time_limit(with(&environment, &set).expect("a configuration")), Duration::from_secs(2));
}

#[test]
fn the_business_gets_its_settings() {
    let config = with(&[("JUMUN__PAYMENT__DECLINE_OVER", "5000")], &[]).expect("a configuration");
    let model = food_delivery::system();
    let payment = model.service("payment").expect("a service");
    assert!(payment.behaviour(&config.services["payment"].settings).is_ok());
}

#[test]
fn spans_go_where_it_is_configured_or_where_the_environment_says() {
    let to = |environment: &[_], set: &[_]| with(environment, set).expect("a configuration").telemetry;
    let otlp = |endpoint: &str, sample| Some(OtlpConfig { endpoint: endpoint.into(), sample });
    let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4318/");
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4318/here");
    let share = ("OTEL_TRACES_SAMPLER_ARG", "0.5");
    assert_eq!(to(&[], &[]), None);
    assert_eq!(to(&[share], &[("telemetry.sample", "0.2")]), None);
    assert_eq!(to(&[all], &[]), otlp("http://all:4318/v1/traces", 0.01));
    assert_eq!(to(&[all, traces, share], &[]), otlp("http://traces:4318/here", 0.5));
    assert_eq!(to(&[all, ("OTEL_SDK_DISABLED", "true")], &[]), None);
    let set = [("telemetry.otlp", "http://mine:4318"), ("telemetry.sample", "1")];
    assert_eq!(to(&[all, traces, share], &set), otlp("http://mine:4318/v1/traces", 1.0));
    let set = [("telemetry.otlp", "http://mine:4318"), ("telemetry.sample", "0.25")];
    assert_eq!(to(&[], &set), otlp("http://mine:4318/v1/traces", 0.25));
}

#[test]
fn the_log_is_kept_for_ever_or_for_a_while() {
    let kept = |set: &[_]| with(&[], set).expect("a configuration").retention;
    assert_eq!(kept(&[]), None);
    assert_eq!(kept(&[("retention", "")]), None);
    assert_eq!(kept(&[("retention", "7d")]), Some(Duration::from_hours(7 * 24)));
    assert_eq!(kept(&[("retention", "1d 12h")]), Some(Duration::from_hours(36)));
    assert_eq!(kept(&[("retention", "1500ms")]), Some(Duration::from_millis(1_500)));
    let told = explained(&sources(&[("retention", "2h")]));
    assert_eq!(told["retention"], (json!("2h"), Origin::Flag));
}

#[test]
fn what_cannot_be_is_named() {
    for (key, value) in [
        ("nonsense", "1"),
        ("order.nonsense", "1"),
        ("order.calls.nonsense.url", "http://h:1"),
        ("order.calls.payment.nonsense", "1"),
        ("order.calls.payment.url", "ftp://h"),
        ("order.calls.payment.time_limit", "soon"),
        ("order.calls.payment.time_limit", "0s"),
        ("order.calls.payment.time_limit", "25h"),
        ("order.calls.payment.retry", "1"),
        ("order.calls.payment.breaker.nonsense", "1"),
        ("order.calls.payment.breaker.failure_rate", "0"),
        ("order.calls.payment.breaker.wait_open", "soon"),
        ("order.calls.payment.bulkhead.nonsense", "1"),
        ("order.calls.payment.bulkhead.max_concurrent", "0"),
        ("order.admission.nonsense", "1"),
        ("order.admission.max_concurrent", "0"),
        ("order.admission.max_reads", "0"),
        ("order.admission.max_wait", "soon"),
        ("order.shed", "some"),
        ("payment.faults.nonsense", "1"),
        ("payment.faults.fail", "1.5"),
        ("payment.faults.delay", "620ms..400ms"),
        ("payment.faults.cpu", "1h"),
        ("payment.faults.start_delay", "soon"),
        ("order.listen", "everywhere"),
        ("order.database", "oracle://x"),
        ("unavailable_status", "200"),
        ("bus", "carrier-pigeon://coop"),
        ("port_offset", "60000"),
        ("port_offset", "-1"),
        ("retention", "7"),
        ("retention", "0s"),
        ("retention", "-1d"),
        ("retention", "1 month"),
        ("telemetry.nonsense", "1"),
        ("telemetry.otlp", "https://host:4318"),
        ("telemetry.sample", "2"),
        ("gateway.nonsense", "1"),
        ("gateway.listen", "everywhere"),
        ("gateway.cors_origins", "shop.example"),
        ("gateway.cors_origins", "https://shop.example/"),
        ("gateway.upstreams.nonsense", "http://h:1"),
        ("gateway.upstreams.order", "h:1"),
        ("gateway.upstreams.order", ""),
        ("gateway.time_limit", "0s"),
        ("gateway.max_concurrent", "0"),
        ("gateway.max_concurrent_total", "0"),
        ("gateway.rate.nonsense", "1"),
        ("gateway.rate.per_second", "-1"),
        ("gateway.rate.burst", "5"),
        ("gateway.trusted_proxies", "proxy.example"),
    ] {
        let error = with(&[], &[(key, value)]).expect_err(key).to_string();
        let last = key.rsplit('.').next().unwrap_or(key);
        assert!(error.contains("nonsense") || error.contains(last), "{key} = {value}: {error}");
    }
}

fn sources(set: &[(&str, &str)]) -> Sources {
    let set = set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Sources { environment: Some(HashMap::new()), set, ..Sources::default() }
}

fn explained(sources: &Sources) -> BTreeMap<String, (Value, Origin)> {
    let entries = explain(&food_delivery::system(), sources).expect("a configuration");
    entries.into_iter().map(|Entry { key, value, origin }| (key, (value, origin))).collect()
}

#[test]
fn every_key_is_told_with_what_holds_and_who_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("jumun.toml");
    let toml = "[order]\nlisten = \"127.0.0.1:1\"\ndatabase = \"sqlite://a\"\n[gateway]\ncors_origins = [\"*\"]\n";
    fs::write(&file, toml).expect("a file");
    let mounted = folder.path().join("mounted");
    fs::create_dir_all(mounted.join("..data")).expect("a folder");
    fs::write(mounted.join("order.database"), "sqlite://b\n").expect("a file");
    fs::write(mounted.join("order.calls.payment.time_limit"), "1s\n").expect("a file");
    fs::write(mounted.join("payment.decline_over"), "5000\n").expect("a file");
    let mut sources = sources(&[("store.confirm", "manual")]);
    let environment = ("JUMUN__ORDER__CALLS__PAYMENT__TIME_LIMIT".to_owned(), "610ms".to_owned());
    sources.environment = Some(HashMap::from([environment]));
    (sources.file, sources.folder) = (Some(file.clone()), Some(mounted.clone()));

    let explained = explained(&sources);
    for (key, value, origin) in [
        ("order.listen", json!("127.0.0.1:1"), Origin::File(file.clone())),
        ("gateway.cors_origins", json!(["*"]), Origin::File(file)),
        ("order.database", json!("sqlite://b"), Origin::Folder(mounted.clone())),
        ("payment.decline_over", json!(5000), Origin::Folder(mounted)),
        ("order.calls.payment.time_limit", json!("610ms"), Origin::Environment),
        ("store.confirm", json!("manual"), Origin::Flag),
        ("gateway.time_limit", json!("10s"), Origin::Default),
        ("gateway.upstreams.order", json!(["http://127.0.0.1:1"]), Origin::Default),
        ("delivery.listen", json!("127.0.0.1:8083"), Origin::Default),
        ("port_offset", json!(0), Origin::Default),
    ] {
        assert_eq!(explained.get(key), Some(&(value, origin)), "{key}");
    }
}

#[test]
fn what_is_told_can_be_set() {
    let model = food_delivery::system();
    let plain = sources(&[]);
    let told = explain(&model, &plain).expect("a configuration");
    assert!(told.iter().all(|entry| entry.origin == Origin::Default));
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
        value => value.to_string(),
    };
    let has_value = told.iter().filter(|entry| !entry.value.is_null()); // a limit that is off has none
    let set: Vec<_> = has_value.map(|entry| (entry.key.clone(), text(&entry.value))).collect();
    let again = Sources { set, ..plain.clone() };
    let mut config = load(&model, &again).expect("a configuration");
    for (name, service) in &mut config.services {
        let mut defaults = model.service(name).expect("a service").default_settings().clone();
        defaults.retain(|_, value| !value.is_null());
        assert_eq!(std::mem::take(&mut service.settings), defaults);
    }
    assert_eq!(config, load(&model, &plain).expect("a configuration"));
    let again = explain(&model, &again).expect("a configuration");
    assert!(again.iter().all(|entry| entry.value.is_null() || entry.origin == Origin::Flag), "{again:?}");
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let model = food_delivery::system();
    let folder = tempfile::tempdir().expect("a folder");
    let mut sources = sources(&[]);
    sources.folder = Some(folder.path().join("missing"));
    assert!(load(&model, &sources).expect_err("no folder").to_string().contains("missing"));
    sources.folder = Some(folder.path().to_owned());
    let (unknown, not_text, too_long) = (b"1".to_vec(), b"\xff".to_vec(), vec![b'1'; 70_000]);
    for (name, value) in [("order.nonsense", unknown), ("order.listen", not_text), ("order.listen", too_long)] {
        fs::write(folder.path().join(name), value).expect("a file");
        let error = load(&model, &sources).expect_err(name).to_string();
        assert!(error.contains(name), "{error}");
        fs::remove_file(folder.path().join(name)).expect("a file");
    }
    fs::create_dir(folder.path().join("order.listen")).expect("a folder");
    assert!(load(&model, &sources).is_err(), "a folder is no value");
}

#[test]
fn secrets_are_not_told() {
    for key in ["password", "passwd", "database_password", "api_token", "api_key", "apikey", "decline_card"] {
        assert_eq!(without_secret(key, json!("hush")), json!("***"), "{key}");
    }
    assert_eq!(without_secret("confirm", json!("x")), json!("x"));
    assert_eq!(without_secret("printer", json!("ipp://kim:s3cret@host")), json!("ipp://kim:***@host"));
    assert_eq!(without_secret("decline_card", Value::Null), Value::Null, "there is none");
}

/// Sets one key of course enrollment.
fn course(key: &str, value: &str) -> Result<Config, ConfigError> {
    load(&course_enrollment::system(), &sources(&[(key, value)]))
}

#[test]
fn an_invalid_value_is_reported_with_its_full_key() {
    for (key, value) in [
        ("notification.sender.time_limit", "0s"),
        ("notification.sender.time_limit", "soon"),
        ("notification.sender.smtp.port", "many"),
        ("notification.calls.sender.breaker.window", "1ms"),
        ("order.calls.pay.deadline", "13h"),
        ("order.calls.pay.deadline", "0s"),
        ("order.calls.pay.breaker.slow_call", "soon"),
        ("order.calls.pay.url", "ftp://h"),
        ("order.calls.pay.bulkhead.max_wait", "-1s"),
        ("order.admission.max_reads", "0"),
        ("pay.faults.fail", "2"),
        ("gateway.rate.burst", "5"),
        ("gateway.upstreams.order", "h:1"),
        ("telemetry.sample", "2"),
        ("telemetry.otlp", "https://host:4318"),
        ("retention", "0s"),
    ] {
        let error = course(key, value).expect_err(key);
        assert!(error.to_string().starts_with(&format!("`{key}`: ")), "{key} = {value}: {error}");
    }
    for (key, unknown) in [
        ("order.calls.payy.url", "order.calls.payy"),
        ("notification.calls.sender.url", "notification.calls.sender.url"),
        ("order.sender.kind", "order.sender"),
        ("pay.decline", "pay.decline"),
    ] {
        let error = course(key, "http://h:1").expect_err(key).to_string();
        assert_eq!(error, format!("the key `{unknown}` is unknown"));
    }
    let error = load(&food_delivery::system(), &sources(&[("order.calls.payment.fallback", "accept")]));
    let error = error.expect_err("no such business").to_string();
    assert!(error.starts_with("`order.calls.payment.fallback`: order does not know how"), "{error}");
}

#[test]
fn every_duration_is_read_by_one_rule() {
    let day = Duration::from_hours(24);
    let limit = |key: &str| course(key, "1d").expect(key);
    assert_eq!(limit("gateway.time_limit").gateway.time_limit, day);
    assert_eq!(limit("order.admission.max_wait").services["order"].admission.max_wait, day);
    assert_eq!(limit("order.calls.pay.time_limit").services["order"].calls["pay"].time_limit, day);
    assert_eq!(limit("retention").retention, Some(day));
    let config = course("order.admission.max_wait", "0s").expect("no wait");
    assert_eq!(config.services["order"].admission.max_wait, Duration::ZERO);
    for key in ["gateway.time_limit", "gateway.head_time_limit", "order.calls.pay.time_limit", "retention"] {
        assert!(course(key, "0s").is_err(), "{key}");
    }
}

#[test]
fn asks_that_may_be_delayed_are_where_the_system_knows_how() {
    let config = load(&course_enrollment::system(), &sources(&[])).expect("a configuration");
    let delay = config.services["order"].calls["pay"].delay();
    let expected = DelayConfig { is_accepting: true, max_delayed: 10_000, deadline: Duration::from_mins(15) };
    assert_eq!(delay, expected);
    let sender = &config.services["notification"].calls["sender"];
    assert_eq!((sender.url.clone(), sender.delay().deadline), (None, Duration::from_hours(12)));
    let of_one_attempt = config.services["notification"].sender.as_ref().expect("a sender").time_limit;
    assert_eq!(sender.time_limit, of_one_attempt + Duration::from_secs(1));
    assert_eq!(config.services["order"].sender, None);
}

#[test]
fn the_reference_has_every_key_that_may_be_set() {
    let systems = [food_delivery::system(), course_enrollment::system()];
    let page = reference(&systems);
    for model in &systems {
        for Entry { key, .. } in explain(model, &sources(&[])).expect("a configuration") {
            let mut parts: Vec<_> = key.split('.').collect();
            let is_setting = model.service(parts[0]).is_some_and(|it| it.default_settings().contains_key(parts[1]));
            if model.service(parts[0]).is_some() && !is_setting {
                parts[0] = "<service>";
                if parts[1] == "calls" {
                    parts[2] = "<neighbour>";
                }
            }
            if parts[0] == "gateway" && parts[1] == "upstreams" {
                parts[2] = "<name>";
            }
            let variable = format!("`JUMUN__{}`", parts.join("__").to_uppercase());
            assert!(page.contains(&variable), "{key}: {variable}");
        }
    }
    assert!(page.contains("| **Secret.** The password. |"), "{page}");
}

/// Food delivery with a value, and with a key that has another name.
fn with_values() -> jumun::SystemModel {
    let mut model = food_delivery::system();
    model.values = vec!["superuser.userId", "superuser.password"];
    let alias = jumun::AliasModel { name: "api.payment.url", variable: "configurl", key: "calls.payment.url" };
    model.services[0].aliases.push(alias);
    model
}

/// What order shows. The gateway shows the same, but no key of order.
fn shown_from(toml: &str, environment: &[(&str, &str)], mounted: &[(&str, &str)]) -> Value {
    let (model, (_folder, file, values)) = (with_values(), jumun_testing::configuration(toml, mounted));
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let (file, folder) = (Some(file), Some(values));
    let sources = Sources { file, folder, environment: Some(environment.collect()), ..Sources::default() };
    let config = load(&model, &sources).expect("a configuration");
    let mut by_order = shown_by_service(model.service("order").expect("a service"), &config);
    let of_order = by_order.remove("api.payment.url").expect("an address");
    assert_eq!(by_order, shown(&config));
    by_order.insert("api.payment.url".to_owned(), of_order);
    Value::Object(by_order)
}

#[test]
fn values_come_from_every_source_and_are_shown_without_secrets() {
    let usual = json!({ "api.payment.url": "http://127.0.0.1:8084" });
    assert_eq!(shown_from("", &[], &[]), usual, "what is not set is not shown");
    let all = json!({
        "LOCATION": "seoul", "superuser.userId": "kim", "superuser.password": "***", "api.payment.url": "http://pay:80",
    });
    let toml = "location = \"seoul\"\n[superuser]\nuserId = \"kim\"\npassword = \"p\"\n[order]\napi.payment.url = \"http://pay:80\"";
    assert_eq!(shown_from(toml, &[], &[]), all);
    let environment = [
        ("LOCATION", "seoul"),
        ("JUMUN__SUPERUSER__USERID", "kim"),
        ("JUMUN__SUPERUSER__PASSWORD", "p"),
        ("configurl", "http://pay:80"),
    ];
    assert_eq!(shown_from("", &environment, &[]), all);
    let mounted = [
        ("LOCATION", "seoul"),
        ("superuser.userId", "kim"),
        ("superuser.password", "p"),
        ("order.api.payment.url", "http://pay:80"),
    ];
    assert_eq!(shown_from("", &[], &mounted), all);
}

#[test]
fn a_key_with_another_name_is_explained_by_its_own_and_both_must_agree() {
    let model = with_values();
    let environment = [("configurl", "http://pay:80"), ("LOCATION", "seoul")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let from = |set: &[(&str, &str)]| Sources { environment: Some(HashMap::from(environment.clone())), ..sources(set) };
    let entries = explain(&model, &from(&[])).expect("a configuration");
    for (key, value) in [("order.calls.payment.url", "http://pay:80"), ("location", "seoul")] {
        let entry = entries.iter().find(|entry| entry.key == key).expect(key);
        assert_eq!((&entry.value, &entry.origin), (&json!(value), &Origin::Environment), "{key}");
    }
    let error = load(&model, &from(&[("order.calls.payment.url", "http://other:80")])).expect_err("they differ");
    let error = error.to_string();
    assert!(error.contains("`order.calls.payment.url`") && error.contains("`configurl`"), "{error}");
    let error = load(&model, &from(&[("order.api.payment.uri", "http://pay:80")])).expect_err("unknown");
    assert_eq!(error.to_string(), "the key `order.api` is unknown");
}

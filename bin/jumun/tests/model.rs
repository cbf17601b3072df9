//! A rule of this repository: `docs/models` is what the program says about its systems, and no released event is forgotten.

use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The names of the folders in a folder, sorted.
fn folders(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).expect("a folder").map(|entry| entry.expect("an entry"));
    let mut names: Vec<_> = entries
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().expect("a name"))
        .collect();
    names.sort();
    names
}

/// The documents of a system, by their files.
fn documents(system: &str) -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_jumun"));
    let output = command.args(["model", system, "--into"]).arg(folder.path()).output().expect("a process");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    files(folder.path())
}

/// The files of a folder with their content.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let file = |entry: fs::DirEntry| {
        (entry.file_name().into_string().expect("a name"), fs::read_to_string(entry.path()).expect("a text"))
    };
    entries.map(file).collect()
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn the_documents_of_each_system_are_made_from_its_code() {
    assert_eq!(
        folders("docs/models"),
        folders("systems"),
        "run `cargo xtask docs`; delete the folder of a system that is gone"
    );
    for system in folders("systems") {
        let (kept, made) = (files(&root().join("docs/models").join(&system)), documents(&system));
        assert!(kept == made, "docs/models/{system} is out of date: run `cargo xtask docs` and commit the files");
        assert_eq!(made.len(), 4, "{:?}", made.keys());
        let printed = Command::new(env!("CARGO_BIN_EXE_jumun")).args(["model", &system]).output().expect("a process");
        assert_eq!(String::from_utf8_lossy(&printed.stdout), made["model.json"]);
    }
}

#[test]
fn an_event_that_was_released_stays_readable() {
    for system in folders("systems") {
        let snapshot =
            fs::read_to_string(root().join("docs/models").join(&system).join("model.json")).expect("a model");
        let released: Value = serde_json::from_str(&snapshot).expect("JSON");
        let lines =
            fs::read_to_string(root().join("systems").join(&system).join("src/examples.jsonl")).expect("examples");
        let examples: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        for event in released["events"].as_array().expect("events") {
            let known = event["examples"].as_array().expect("examples");
            assert!(!known.is_empty(), "{system}: {} has no example", event["name"]);
            for example in known {
                assert!(examples.contains(example), "{system}: put it back into examples.jsonl: {example}");
            }
        }
    }
}

#[test]
fn the_model_tells_who_does_what() {
    let model = read(&documents("course-enrollment")["model.json"]);
    let service = |name: &str| {
        let mut services = model["services"].as_array().expect("services").iter();
        services.find(|service| service["name"] == name).expect("a service").clone()
    };
    let order = &service("order")["aggregates"][0];
    let given: Vec<_> = order["commands"]
        .as_array()
        .expect("commands")
        .iter()
        .map(|it| (it["name"].as_str(), it["actor"].as_str()))
        .collect();
    let by = |name, actor| (Some(name), Some(actor));
    assert_eq!(
        given,
        [
            by("Place", "client"),
            by("Change", "client"),
            by("Cancel", "client"),
            by("Settle", "answer"),
            by("TurnDown", "policy")
        ]
    );
    assert_eq!(order["policies"][0]["event"], "ReservationCanceled");
    let ask = &service("order")["asks"][0];
    assert_eq!(
        (ask["command"].as_str(), ask["undo"].as_str(), ask["delayed"].as_bool()),
        (Some("Pay"), Some("GiveBack"), Some(true))
    );
    let sender = &service("notification")["asks"][0];
    assert_eq!((sender["external"].as_str(), sender["undo"].is_null()), (Some("sender"), true));
    let text = model.to_string();
    assert!(text.contains(r#""cardNo":{"type":"null"}"#), "an event hides the card number");
    let reservation = &service("reservation")["aggregates"][0];
    assert_eq!(reservation["timeOuts"], json!([{ "name": "confirm_within", "command": "GiveUp" }]));
    let is_timed = |command: &Value| command["actor"] == "timeOut" && command["timeOut"] == "confirm_within";
    assert!(reservation["commands"].as_array().expect("commands").iter().any(is_timed), "{reservation}");
    assert_eq!(service("reservation")["settings"]["confirm"], "automatic");
    let finder = json!({ "path": "/orders/search/findByOrderId", "parameter": "orderId", "answers": "page" });
    assert!(order["reads"].as_array().expect("reads").contains(&finder), "{order}");
    let pages = service("order")["pages"].as_array().expect("pages").clone();
    assert!(pages.contains(&json!("/events")) && pages.contains(&json!("/actuator/health")), "{pages:?}");
}

#[test]
fn the_other_documents_tell_streams_pages_other_paths_and_time_outs() {
    let books = documents("book-rental");
    let board = &books["board.mmd"];
    assert!(board.contains("hold_for is over") && board.contains("also at /rental\""), "{board}");
    let events = read(&books["asyncapi.json"]);
    assert_eq!(events["servers"]["rent"]["host"], "localhost:8082");
    let (stream, request) = (&events["channels"]["rent-events"], &events["operations"]["rent-streams"]);
    assert_eq!((&stream["address"], &request["bindings"]["http"]["method"]), (&json!("/events"), &json!("GET")));
    let types: Vec<_> = stream["messages"].as_object().expect("messages").keys().collect();
    assert_eq!(types, ["Rented", "RentalCanceled", "BookReturned"]);
    assert!(events["channels"]["viewer-events"].is_null(), "it publishes nothing");
    let api = read(&books["openapi.json"]);
    for (path, method) in
        [("/rental", "post"), ("/rental/{id}/return", "put"), ("/actuator/info", "get"), ("/docs", "get")]
    {
        assert!(api["paths"][path][method].is_object(), "{method} {path}");
    }
    assert!(api["paths"]["/events"].is_null(), "the gateway does not route it");
}

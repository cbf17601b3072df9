//! A rule of this repository: `docs/models` is what the program says about its systems, and no released event is forgotten.

use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The documents of a system: the file and the format.
const DOCUMENTS: [(&str, &str); 4] =
    [("model.json", "json"), ("board.mmd", "mermaid"), ("asyncapi.json", "asyncapi"), ("openapi.json", "openapi")];

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

fn model(system: &str, format: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jumun"));
    let output = command.args(["model", system, "--format", format]).output().expect("a process");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_documents_of_each_system_are_made_from_its_code() {
    assert_eq!(
        folders("docs/models"),
        folders("systems"),
        "run `cargo xtask docs`; delete the folder of a system that is gone"
    );
    for system in folders("systems") {
        for (file, format) in DOCUMENTS {
            let path = root().join("docs/models").join(&system).join(file);
            let is_same = fs::read_to_string(&path).unwrap_or_default() == model(&system, format);
            assert!(is_same, "docs/models/{system}/{file} is out of date: run `cargo xtask docs` and commit the file");
        }
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
    let model: Value = serde_json::from_str(&model("course-enrollment", "json")).expect("JSON");
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
        (Some("Pay"), Some("Void"), Some(true))
    );
    let sender = &service("notification")["asks"][0];
    assert_eq!((sender["external"].as_str(), sender["undo"].is_null()), (Some("sender"), true));
    let text = model.to_string();
    assert!(text.contains(r#""cardNo":{"type":"null"}"#), "an event hides the card number");
    assert_eq!(service("reservation")["settings"]["confirm"], "automatic");
}

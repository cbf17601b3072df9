//! A rule of this repository: `docs/configuration.md` is what the program says about its keys.

use std::{fs, path::Path, process::Command};

fn reference(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_jumun")).args(arguments).output().expect("a process");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_page_of_the_configuration_is_made_from_the_declarations() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = fs::read_to_string(page).unwrap_or_default();
    let is_same = page == reference(&["config", "--reference"]);
    assert!(is_same, "docs/configuration.md is out of date: run `cargo xtask docs` and commit the page");
}

#[test]
fn the_reference_of_one_system_has_no_other() {
    let page = reference(&["config", "food-delivery", "--reference"]);
    assert!(page.contains("`JUMUN__PAYMENT__DECLINE_OVER`") && !page.contains("course-enrollment"), "{page}");
}

//! `cargo xtask api`: what systems document is valid, and true of the running processes. Judged by others: the official schema
//! of OpenAPI, the parsers of AsyncAPI and Mermaid, schemathesis. They come from `PyPI` and npm into `target/tools`.

use crate::cargo;
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

const PYTHON_PACKAGES: [&str; 2] = ["schemathesis==4.32.5", "openapi-spec-validator==0.9.0"];

const NODE_PACKAGES: [&str; 3] = ["mermaid@12.3.0", "jsdom@26.1.0", "@asyncapi/parser@3.6.6"];

/// Ports that neither a running system nor another test uses.
const PORT_OFFSET: &str = "21000";

pub(crate) fn check(root: &Path) -> bool {
    let tools = root.join("target/tools");
    let (python, node) = (tools.join("python"), tools.join("node"));
    let interpreter = python.join("bin/python");
    if let Err(why) = install(&python, &interpreter, &node) {
        eprintln!("NOT CHECKED: the documents of the systems. Their validators cannot be installed: {why}");
        return false;
    }
    if !cargo(&["build", "--package", "jumun-program"]) {
        return false;
    }
    let systems = match folders(&root.join("docs/models")) {
        Ok(systems) => systems,
        Err(why) => {
            eprintln!("docs/models cannot be read: {why}");
            return false;
        }
    };
    let documents = systems.iter().flat_map(|system| ["board.mmd", "asyncapi.json"].map(|file| system.join(file)));
    let parsed = run(Command::new("node").arg(node.join("documents.mjs")).args(documents));
    let jumun = root.join("target/debug/jumun");
    let data = tools.join("data");
    let checked = systems.iter().map(|system| {
        let _ = fs::remove_dir_all(&data); // of an earlier run, if there was one
        let mut command = Command::new(&interpreter);
        command.arg(root.join("xtask/api/check.py")).args([&jumun, system, &data]).arg(PORT_OFFSET);
        run(&mut command)
    });
    checked.fold(parsed, |good, next| good & next)
}

/// Installs the validators, unless an earlier run has installed these versions.
fn install(python: &Path, interpreter: &Path, node: &Path) -> io::Result<()> {
    let failed = |what: &str| io::Error::other(format!("{what} failed"));
    let is_done = |folder: &Path, packages: &[&str]| {
        fs::read_to_string(folder.join("installed")).is_ok_and(|known| known == packages.join(" "))
    };
    let note = |folder: &Path, packages: &[&str]| fs::write(folder.join("installed"), packages.join(" "));
    if !is_done(python, &PYTHON_PACKAGES) {
        let _ = fs::remove_dir_all(python); // what an earlier run has left half done
        let made = run(Command::new("python3").args(["-m", "venv"]).arg(python))
            && run(Command::new(interpreter).args(["-m", "pip", "install", "--quiet"]).args(PYTHON_PACKAGES));
        made.then_some(()).ok_or_else(|| failed("pip"))?;
        note(python, &PYTHON_PACKAGES)?;
    }
    fs::create_dir_all(node)?;
    if !is_done(node, &NODE_PACKAGES) {
        let made = run(Command::new("npm")
            .args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
            .arg(node)
            .args(NODE_PACKAGES));
        made.then_some(()).ok_or_else(|| failed("npm"))?;
        note(node, &NODE_PACKAGES)?;
    }
    // Node looks for packages beside the script.
    fs::write(node.join("documents.mjs"), include_str!("../api/documents.mjs"))
}

/// The folders in a folder, sorted.
pub(crate) fn folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

fn run(command: &mut Command) -> bool {
    match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("{} cannot be run: {error}", command.get_program().display());
            false
        }
    }
}

//! `cargo xtask api`: what systems document is valid, and true of the running processes. Judged by others: the official schemas
//! of OpenAPI and AsyncAPI, the parser of Mermaid, schemathesis. They come from `PyPI` and npm into `target/tools`.

use crate::cargo;
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

const PYTHON_PACKAGES: [&str; 3] = ["schemathesis==4.32.5", "openapi-spec-validator==0.9.0", "jsonschema==4.26.0"];

const NODE_PACKAGES: [&str; 3] = ["mermaid@12.3.0", "jsdom@26.1.0", "@asyncapi/specs@6.11.1"];

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
    let boards = systems.iter().map(|system| system.join("board.mmd"));
    let parsed = run(Command::new("node").arg(node.join("board.mjs")).args(boards));
    let jumun = root.join("target/debug/jumun");
    let schema = node.join("node_modules/@asyncapi/specs/schemas/3.0.0.json");
    let data = tools.join("data");
    let checked = systems.iter().map(|system| {
        let _ = fs::remove_dir_all(&data); // of an earlier run, if there was one
        let mut command = Command::new(&interpreter);
        command.arg(root.join("xtask/api/check.py")).args([&jumun, system, &schema, &data]).arg(PORT_OFFSET);
        run(&mut command)
    });
    checked.fold(parsed, |good, next| good & next)
}

/// Installs the validators, unless an earlier run has.
fn install(python: &Path, interpreter: &Path, node: &Path) -> io::Result<()> {
    let failed = |what: &str| io::Error::other(format!("{what} failed"));
    let is_done = |folder: &Path| folder.join("installed").exists();
    let note = |folder: &Path| fs::write(folder.join("installed"), "");
    if !is_done(python) {
        let made = run(Command::new("python3").args(["-m", "venv"]).arg(python))
            && run(Command::new(interpreter).args(["-m", "pip", "install", "--quiet"]).args(PYTHON_PACKAGES));
        made.then_some(()).ok_or_else(|| failed("pip"))?;
        note(python)?;
    }
    fs::create_dir_all(node)?;
    if !is_done(node) {
        let made = run(Command::new("npm")
            .args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
            .arg(node)
            .args(NODE_PACKAGES));
        made.then_some(()).ok_or_else(|| failed("npm"))?;
        note(node)?;
    }
    // Node looks for packages beside the script.
    fs::write(node.join("board.mjs"), include_str!("../api/board.mjs"))
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

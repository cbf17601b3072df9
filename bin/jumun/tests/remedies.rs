//! Every remedy that an error prints is followed here, literally: a scenario provokes the error with the real program,
//! reads what it says to do, does that, and ends in health. `table` sees to it that no code is forgotten.

#[path = "remedies/commands.rs"]
mod commands;
#[path = "remedies/configuration.rs"]
mod configuration;
#[path = "remedies/databases.rs"]
mod databases;
mod lab;
#[path = "remedies/logs.rs"]
mod logs;
#[path = "remedies/problems.rs"]
mod problems;
#[path = "remedies/table.rs"]
mod table;

use lab::{LONG, Up, wait_until};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

/// An error that the program has printed.
#[derive(Debug)]
struct Failed {
    status: i32,
    /// All of it.
    said: String,
    /// The lines that say what to do.
    remedy: String,
}

/// Runs a command to its end: its exit status, and all that it said.
fn outcome(mut command: Command) -> (i32, String) {
    let output = command.stdin(Stdio::null()).output().expect("a process");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned())
}

/// Runs a command that fails with this code.
fn fails(command: Command, code: &str) -> Failed {
    let (status, said) = outcome(command);
    let at = said.find(&format!("error[{code}]: ")).unwrap_or_else(|| panic!("no {code} ({status}): {said}"));
    let end = said[at..].find("\n  More about it: ").unwrap_or_else(|| panic!("no remedy: {said}"));
    let remedy = said[at..at + end].lines().last().unwrap_or_default().trim().to_owned();
    assert_ne!(status, 0, "{said}");
    Failed { status, said, remedy }
}

impl Failed {
    /// The command in the remedy that begins like this, its placeholders filled: the words after `jumun`.
    fn command(&self, begins: &str, placeholders: &[(&str, &str)]) -> Vec<String> {
        let at = self.remedy.find(begins).unwrap_or_else(|| panic!("no {begins:?}: {}", self.remedy));
        let text = self.remedy[at..].split(['`', ')', '(', ',', ';']).next().unwrap_or_default().trim_end_matches('.');
        let words = text.split_whitespace().skip(1).map(|word| {
            let known = placeholders.iter().find(|(name, _)| *name == word);
            known.map_or(word, |(_, value)| *value).to_owned()
        });
        words.collect()
    }

    /// That the remedy is the one that the scenario follows.
    fn says(&self, part: &str) {
        assert!(self.remedy.contains(part), "the remedy is another one now, follow that: {}", self.remedy);
    }
}

/// Health: all processes are UP, an order goes through all services, and the audit is clean.
async fn healthy(up: &Up) {
    all_up(up).await;
    let gateway = up.client("gateway");
    gateway.place_confirmed("김밥", 3_000).await;
    all_up(up).await;
    clean(up);
}

/// Starts a system: it is healthy.
async fn starts_healthy(up: &mut Up) {
    up.start().await;
    healthy(up).await;
}

/// Starts a system: it is healthy, and nothing was applied twice.
async fn starts_whole(up: &mut Up) {
    starts_healthy(up).await;
    assert_whole(up).await;
}

fn clean(up: &Up) {
    up.audit("20s").clean();
}

async fn all_up(up: &Up) {
    let is_up = async || {
        let (status, said) = up.jumun(&["status", "--json"]);
        let status: serde_json::Value = if status == 0 { said.parse().unwrap_or_default() } else { return false };
        status["processes"].as_array().is_some_and(|all| all.iter().all(|process| process[1] == "UP"))
    };
    wait_until(LONG, "all processes are UP", is_up).await;
}

/// A system with orders in all states of theirs, stopped.
async fn with_orders(orders: i64) -> Up {
    let mut up = Up::running().await;
    let gateway = up.client("gateway");
    for nth in 0..orders {
        let id = gateway.place("김밥", 3_000 + nth).await;
        if nth % 5 == 4 {
            gateway.cancel(id).await;
        }
    }
    gateway.until(&format!("/dashboards/{orders}"), "status", "ORDER_CANCELED").await;
    clean(&up); // once the other services have heard of it, too
    up.stop().await;
    up
}

/// Each order has one row in each view and in each service that follows it: nothing was applied twice.
async fn assert_whole(up: &Up) {
    let gateway = up.client("gateway");
    let orders = gateway.all("/orders").await.len();
    for path in ["/payinfos", "/stores", "/dashboards"] {
        assert_eq!(gateway.all(path).await.len(), orders, "{path}");
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_folder(&path, &to);
        } else if path.extension().is_none_or(|end| end != "control") {
            fs::copy(&path, &to).expect("a copy");
        }
    }
}

/// Moves the data folder of a system away, all of it.
fn move_all_away(up: &Up) {
    let away = up.data().with_extension("away");
    drop(fs::remove_dir_all(&away));
    fs::rename(up.data(), away).expect("a folder");
}

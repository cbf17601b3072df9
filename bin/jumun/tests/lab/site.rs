//! The place where a system runs: its folder, its databases and its bus, and what the program says of them.

use super::{Service, run, service};
use rusqlite::{Connection, OpenFlags, Row};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tempfile::TempDir;

/// A folder for one system.
pub(crate) struct Site {
    system: &'static str,
    data: PathBuf,
    /// Databases that are not where they are by default.
    elsewhere: BTreeMap<String, PathBuf>,
    folder: TempDir,
}

/// What `jumun audit` found.
#[derive(Debug)]
pub(crate) struct Audit {
    pub(crate) exit_code: i32,
    pub(crate) report: Value,
}

impl Audit {
    /// Asserts that everything is as it must be.
    #[track_caller]
    pub(crate) fn clean(&self) {
        assert_eq!(self.exit_code, 0, "{:#}", self.report);
    }
}

/// A request as it stands in a database.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) key: Option<String>,
    pub(crate) state: String,
    /// The order, or what would have become one.
    pub(crate) subject: i64,
    answer_status: Option<u16>,
    pub(crate) until_ms: i64,
}

impl Attempt {
    /// Whether it has made an order.
    pub(crate) fn stands(&self) -> bool {
        self.state == "done" && self.answer_status.is_some_and(|status| status < 400)
    }
}

/// An event as it stands in a journal.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    partition: u16,
    sequence: i64,
    pub(crate) event_type: String,
    pub(crate) key: i64,
    pub(crate) body: Value,
}

impl Entry {
    /// `order/0/7`, as `jumun events tail` names it.
    pub(super) fn token(&self, service: &str) -> String {
        format!("{service}/{}/{}", self.partition, self.sequence)
    }

    /// `PaymentCanceled VOIDED`
    fn in_short(&self) -> String {
        match self.body["status"].as_str() {
            Some(status) => format!("{} {status}", self.event_type),
            None => self.event_type.clone(),
        }
    }
}

impl Site {
    /// An empty folder.
    pub(super) fn of(system: &'static str) -> Self {
        let folder = TempDir::with_prefix("jumun-lab-").expect("a folder");
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("a folder");
        Self { system, data, elsewhere: BTreeMap::new(), folder }
    }

    /// A service that is to run here.
    pub(super) fn new_service(&self, name: &'static str) -> Service {
        Service::new(self.system, name, self.folder.path(), &self.data)
    }

    /// Everything that the services have ever said or written is in here.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of all data.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// The folder of the bus.
    pub(crate) fn bus(&self) -> PathBuf {
        self.data.join(self.system).join("bus")
    }

    /// The file of a service's database.
    pub(crate) fn database(&self, service: &str) -> PathBuf {
        let usual = || self.data.join(self.system).join(format!("{service}.db"));
        self.elsewhere.get(service).cloned().unwrap_or_else(usual)
    }

    /// Gives a service's database a folder of its own; the folder, and what the service is to be told.
    pub(super) fn keep_elsewhere(&mut self, service: &str) -> (PathBuf, String) {
        let folder = self.folder.path().join(format!("{service}-elsewhere"));
        fs::create_dir(&folder).expect("a folder");
        let file = folder.join("its.db");
        let setting = format!("{service}.database=sqlite://{}", file.display());
        self.elsewhere.insert(service.to_owned(), file);
        (folder, setting)
    }

    /// A command of the program about this system: its words, then what else is to be said.
    pub(crate) fn command(&self, words: &[&str], arguments: &[&str]) -> Command {
        let mut command = service::jumun(self.folder.path());
        command.args(words);
        if !["breakers", "fault"].contains(&words[0]) {
            command.arg(self.system); // those find what runs here
        }
        command.arg("--data").arg(&self.data).args(arguments);
        for (service, file) in &self.elsewhere {
            command.arg("--set").arg(format!("{service}.database=sqlite://{}", file.display()));
        }
        command
    }

    /// Runs such a command to its end: its exit status, and what it said.
    pub(crate) fn jumun(&self, words: &[&str], arguments: &[&str]) -> (i32, String) {
        run(self.command(words, arguments))
    }

    /// `jumun audit`, with this much patience.
    pub(crate) fn audit(&self, patience: &str) -> Audit {
        let (exit_code, text) = self.jumun(&["audit"], &["--json", "--wait", patience]);
        Audit { exit_code, report: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
    }

    /// `jumun asks`: what is in doubt.
    pub(crate) fn asks(&self) -> Vec<Value> {
        let (exit_code, text) = self.jumun(&["asks"], &["--json"]);
        assert_eq!(exit_code, 0, "jumun asks: {text}");
        let lines = text.lines().filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }

    /// What a query finds in a service's database.
    fn rows<T>(&self, service: &str, sql: &str, read: fn(&Row<'_>) -> rusqlite::Result<T>) -> Vec<T> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(self.database(service), flags).expect("a database");
        connection.busy_timeout(Duration::from_secs(5)).expect("a time limit");
        let mut statement = connection.prepare(sql).expect("a statement");
        let rows = statement.query_map([], read).expect("rows");
        rows.collect::<Result<_, _>>().expect("rows")
    }

    /// Every request of a service that asks a neighbour, the oldest first.
    pub(crate) fn attempts(&self, service: &str) -> Vec<Attempt> {
        let sql = "SELECT key, state, subject, answer_status, until_ms FROM requests
            WHERE ask_service IS NOT NULL ORDER BY id";
        self.rows(service, sql, |row| {
            let (key, state, subject, answer_status, until_ms) = row.try_into()?;
            Ok(Attempt { key, state, subject, answer_status, until_ms })
        })
    }

    /// The whole journal of a service.
    pub(crate) fn journal(&self, service: &str) -> Vec<Entry> {
        let sql = "SELECT partition, sequence, event_type, key, body FROM journal ORDER BY partition, sequence";
        self.rows(service, sql, |row| {
            let (partition, sequence, event_type, key, body): (_, _, _, _, String) = row.try_into()?;
            let body = serde_json::from_str(&body).expect("an event is JSON");
            Ok(Entry { partition, sequence, event_type, key, body })
        })
    }

    /// What a service's events say, by correlation key; and that their numbers have no gaps, and none is told twice.
    pub(super) fn told(&self, service: &str) -> BTreeMap<i64, Vec<String>> {
        let (mut told, mut numbers) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::new());
        let mut once = BTreeSet::new();
        for entry in self.journal(service) {
            let number = numbers.entry(entry.partition).or_insert(0_i64);
            *number += 1;
            assert_eq!(entry.sequence, *number, "a gap in the journal of {service}, partition {}", entry.partition);
            assert!(once.insert((entry.key, entry.event_type.clone())), "twice in the journal of {service}: {entry:?}");
            told.entry(entry.key).or_default().push(entry.in_short());
        }
        told
    }

    /// What is on the bus, source by source, each in its order: what `jumun events tail` tells of the journals' numbers.
    pub(crate) fn on_the_bus(&self) -> BTreeMap<String, (String, Value)> {
        let (exit_code, text) = self.jumun(&["events", "tail"], &["--json", "-n", "1000000"]);
        assert_eq!(exit_code, 0, "{text}");
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let word = |line: &Value, field: &str| line[field].as_str().expect("a text").to_owned();
        lines.map(|line| (word(&line, "at"), (word(&line, "type"), line["event"].clone()))).collect()
    }
}

//! Build, test and release automation, in Rust so that it runs wherever the project builds.

mod api;
mod instructions;
mod servers;
mod tidy;

use clap::{Parser, Subcommand};
use jumun_testing::servers::{Kind, Own};
use serde_json::Value;
use std::{
    env, fs,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
};

/// What a developer of Jumun runs.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
enum Cli {
    #[command(flatten)]
    Task(Task),
}

#[derive(Debug, Subcommand)]
enum Task {
    /// All tests, those that kill real processes included; or the tests of one package.
    #[command(after_help = "Examples:
  cargo xtask test                                      everything
  cargo xtask test crash_matrix                         only tests whose name contains that
  cargo xtask test --package jumun-runtime              the quick path: one package, its own features
  cargo xtask test --package jumun-program placed       real processes, filtered
  cargo xtask test --package jumun-program --file up    one file of bin/jumun/tests
  JUMUN_KILLS=1000 cargo xtask test --release --package jumun-program --file kills

Packages: jumun (kernel), jumun-audit, -bus, -cli, -config, -control, -database, -gateway, -guard, -host, -http, -runtime,
-sender, -supervisor, -telemetry, -text; jumun-program (bin/jumun), jumun-simulation; food-delivery, sauce-shop, breakfast-mileage, book-rental,
course-enrollment, book-rental; xtask.")]
    Test {
        /// With optimisations, as users run it.
        #[arg(long)]
        release: bool,
        /// Only the tests of this package: much less to build.
        #[arg(long, short)]
        package: Option<String>,
        /// Only this file of its `tests` folder.
        #[arg(long, value_name = "NAME", requires = "package")]
        file: Option<String>,
        /// Only tests whose name contains this.
        filter: Option<String>,
    },
    /// Formatting, rules of the repository, clippy, documentation: what CI checks besides tests.
    Lint,
    /// The rules of the repository that are code: dependencies, sizes, purity, clocks, imports, documents, machine.
    Tidy,
    /// Makes docs/configuration.md and docs/models from the code.
    Docs,
    /// Validates the documents in docs/models, and runs schemathesis against every process of every system.
    Api,
    /// Servers that adapters are for: Kafka, PostgreSQL, MariaDB, on free ports of 127.0.0.1.
    Servers {
        #[command(subcommand)]
        action: servers::Action,
    },
    /// All benchmarks. They print tables; nothing fails by being slow.
    Bench {
        /// Only this.
        #[command(subcommand)]
        only: Option<Bench>,
    },
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Instructions an order of each process, counted by valgrind, beside those of docs/benchmarks.md.
    Instructions {
        /// Of this system.
        #[arg(default_value = "food-delivery")]
        system: String,
        /// Writes them to docs/benchmarks.md.
        #[arg(long)]
        keep: bool,
    },
}

/// The whole product, with the crash points that tests need and with all adapters.
const WORKSPACE: [&str; 3] = ["--workspace", "--features", "jumun-program/crash-points,jumun-program/postgres"];

/// The points at which tests kill a process. Only the program has them.
const CRASH_POINTS: &str = "jumun-program/crash-points";

/// The packages whose tests need a server of PostgreSQL.
const ON_POSTGRES: [&str; 2] = ["jumun-database", "jumun-program"];

fn main() -> ExitCode {
    let Cli::Task(task) = Cli::parse();
    let done = match task {
        Task::Test { release, package, file, filter } => {
            let mut arguments = vec!["test"];
            let mut features = Vec::new();
            match &package {
                Some(package) => arguments.extend(["--package", package]),
                // One run names all tests that fail, not only those of the first file.
                None => arguments.extend(["--workspace", "--no-fail-fast"]),
            }
            if package.as_deref().is_none_or(|package| package == "jumun-program") {
                features.push(CRASH_POINTS.to_owned());
            }
            // The server lives as long as the tests run.
            let needed: Vec<_> = ON_POSTGRES
                .into_iter()
                .filter(|name| package.as_deref().is_none_or(|package| package == *name))
                .collect();
            let server = if needed.is_empty() {
                Ok(None)
            } else {
                Own::start(Kind::Postgres, &servers::folder(&root())).map(Some)
            };
            if let Ok(Some(_)) = &server {
                features.extend(needed.iter().map(|package| format!("{package}/postgres")));
            }
            let (features, is_without) = (features.join(","), server.is_err());
            if !features.is_empty() {
                arguments.extend(["--features", &features]);
            }
            arguments.extend(file.iter().flat_map(|file| ["--test", file]));
            arguments.extend(release.then_some("--release"));
            arguments.extend(filter.as_deref());
            let variables: Vec<_> =
                server.iter().flatten().map(|server| (Kind::Postgres.variable(), server.url.as_str())).collect();
            let passed = cargo_with(&arguments, &variables);
            if let Err(why) = &server {
                eprintln!("NOT TESTED: the adapter for PostgreSQL, as there is no server. {why}");
            }
            passed && !(is_without && env::var_os("CI").is_some())
        }
        Task::Lint => {
            cargo(&["fmt", "--all", "--", "--check"])
                && cargo(&["fmt", "--manifest-path", "examples/shop/Cargo.toml", "--", "--check"])
                && tidy()
                && cargo(&[&["clippy", "--all-targets"], &WORKSPACE[..], &["--", "--deny", "warnings"]].concat())
                && cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"])
        }
        Task::Tidy => tidy(),
        Task::Docs => docs(),
        Task::Api => api::check(&root()),
        Task::Servers { action } => servers::run(&root(), &action),
        Task::Bench { only: Some(Bench::Instructions { system, keep }) } => instructions::run(&root(), &system, keep),
        Task::Bench { only: None } => ["jumun-database", "jumun-bus", "jumun-guard", "jumun-program"]
            .iter()
            .all(|package| cargo(&["bench", "--package", package, "--benches"])),
    };
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tidy() -> bool {
    eprintln!("cargo xtask tidy");
    tidy::run(&root())
}

/// The root of the repository. Cargo names the folder of xtask when it runs it; the one of the build may be another checkout
/// that shares the target folder.
fn root() -> PathBuf {
    let folder = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    folder.parent().map_or_else(|| PathBuf::from("."), PathBuf::from)
}

/// Writes what the program says about its configuration and its systems. Tests of the program compare the two.
fn docs() -> bool {
    let root = root();
    let Ok(systems) = api::folders(&root.join("systems")) else { return false };
    let names = systems.iter().filter_map(|system| system.file_name()?.to_str());
    let mut models = names.map(|system| {
        let folder = format!("{}/docs/models/{system}", root.display());
        let released = examples(&fs::read(format!("{folder}/model.json")).unwrap_or_default());
        let Some(model) = jumun(&["model", system]) else { return false };
        let known = examples(&model);
        let forgotten: Vec<_> = released.iter().filter(|example| !known.contains(example)).collect();
        for example in &forgotten {
            eprintln!("systems/{system}/src/examples.jsonl: put back what was released: {example}");
        }
        forgotten.is_empty() && jumun(&["model", system, "--into", &folder]).is_some()
    });
    let file = root.join("docs/configuration.md");
    let write = |page| fs::write(&file, page).inspect_err(|error| eprintln!("{}: {error}", file.display())).is_ok();
    models.all(|is_written| is_written) && jumun(&["config", "--reference"]).is_some_and(write)
}

/// The examples of events in a model.
fn examples(model: &[u8]) -> Vec<Value> {
    let model: Value = serde_json::from_slice(model).unwrap_or_default();
    let events = model["events"].as_array().into_iter().flatten();
    events.filter_map(|event| event["examples"].as_array()).flatten().cloned().collect()
}

/// What the program prints, if it succeeds.
fn jumun(arguments: &[&str]) -> Option<Vec<u8>> {
    let arguments = [&["run", "--quiet", "--package", "jumun-program", "--"], arguments].concat();
    eprintln!("cargo {}", arguments.join(" "));
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program).args(arguments).stderr(Stdio::inherit()).output();
    let output = output.inspect_err(|error| eprintln!("cargo cannot be run: {error}")).ok()?;
    output.status.success().then_some(output.stdout)
}

/// Runs cargo; says what it runs, so that it can be run by hand.
fn cargo(arguments: &[&str]) -> bool {
    cargo_with(arguments, &[])
}

/// The same, with variables of the environment.
fn cargo_with(arguments: &[&str], variables: &[(&str, &str)]) -> bool {
    let set: String = variables.iter().map(|(name, value)| [name, "=", value, " "].concat()).collect();
    eprintln!("{set}cargo {}", arguments.join(" "));
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments).envs(variables.iter().copied());
    // What cargo has set for xtask itself. Build scripts look at some of it: with it they would run again, and much with them.
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name.to_string_lossy().starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    if arguments[0] == "doc" {
        command.env("RUSTDOCFLAGS", "--deny warnings");
    }
    match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("cargo cannot be run: {error}");
            false
        }
    }
}

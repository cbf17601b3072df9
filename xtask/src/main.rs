//! Build, test and release automation, in Rust so that it runs wherever the project builds.

use clap::{Parser, Subcommand};
use std::{
    env,
    process::{Command, ExitCode},
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
    /// All tests, those that kill real processes included.
    #[command(after_help = "Examples:
  cargo xtask test
  cargo xtask test crash_matrix          only tests whose name or file holds that
  JUMUN_KILLS=1000 cargo xtask test --release kills")]
    Test {
        /// With optimisations, as users run it.
        #[arg(long)]
        release: bool,
        /// Only tests whose name holds this.
        filter: Option<String>,
    },
    /// Formatting and lints: what CI checks besides tests.
    Lint,
    /// All benchmarks. They print tables; nothing fails by being slow.
    Bench,
}

/// What every task is told of the product: with the points at which tests kill it.
const WORKSPACE: [&str; 3] = ["--workspace", "--features", "jumun-program/crash-points"];

fn main() -> ExitCode {
    let Cli::Task(task) = Cli::parse();
    let done = match task {
        Task::Test { release, filter } => {
            let profile = if release { vec!["--release"] } else { vec![] };
            let filter: Vec<_> = filter.iter().map(String::as_str).collect();
            cargo(&[&["test"], &WORKSPACE[..], &profile, &filter].concat())
        }
        Task::Lint => {
            cargo(&["fmt", "--all", "--", "--check"])
                && cargo(&[&["clippy", "--all-targets"], &WORKSPACE[..], &["--", "--deny", "warnings"]].concat())
                && cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"])
        }
        Task::Bench => ["jumun-database", "jumun-bus", "jumun-guard", "jumun-program"]
            .iter()
            .all(|package| cargo(&["bench", "--package", package, "--benches"])),
    };
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs cargo; says what it runs, so that it can be run by hand.
fn cargo(arguments: &[&str]) -> bool {
    eprintln!("cargo {}", arguments.join(" "));
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments);
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

//! `cargo xtask servers`: the real servers that adapters are for, in `target/servers`.

use clap::Subcommand;
use jumun_testing::servers::{Failure, Kind, Server};
use std::path::{Path, PathBuf};

/// What to do with servers.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Starts servers and prints their addresses. One that runs already is left as it is.
    Start {
        /// Which ones; all, where none is named.
        #[arg(value_parser = kind)]
        servers: Vec<Kind>,
        /// How many brokers a Kafka that is made anew has.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=5))]
        brokers: u16,
    },
    /// Ends servers and deletes their data.
    Stop {
        /// Which ones; all, where none is named.
        #[arg(value_parser = kind)]
        servers: Vec<Kind>,
    },
    /// Says which servers run, and where.
    Status,
}

/// Does what the command says. False: something failed, and was named.
pub(crate) fn run(root: &Path, action: &Action) -> bool {
    let server = |kind: Kind| Server::new(kind, &folder(root));
    match action {
        Action::Start { servers, brokers } => each(servers, "STARTED", |kind| {
            say(kind, &server(kind).with_brokers(*brokers).start()?);
            Ok(())
        }),
        Action::Stop { servers } => each(servers, "STOPPED", |kind| server(kind).remove()),
        Action::Status => each(&[], "RUNNING", |kind| {
            say(kind, &server(kind).status().unwrap_or_else(|instead| instead));
            Ok(())
        }),
    }
}

/// Where the servers of this repository are.
pub(crate) fn folder(root: &Path) -> PathBuf {
    root.join("target/servers")
}

fn each(servers: &[Kind], wanted: &str, mut work: impl FnMut(Kind) -> Result<(), Failure>) -> bool {
    let named = Kind::ALL.into_iter().filter(|kind| servers.is_empty() || servers.contains(kind));
    named.fold(true, |done, kind| match work(kind) {
        Ok(()) => done,
        Err(why) => {
            eprintln!("NOT {wanted}: {}. {why}", kind.name());
            false
        }
    })
}

fn kind(name: &str) -> Result<Kind, String> {
    let names = || Kind::ALL.map(Kind::name).join(", ");
    Kind::ALL
        .into_iter()
        .find(|kind| kind.name() == name)
        .ok_or_else(|| format!("there is no such server; write one of {}", names()))
}

#[expect(clippy::print_stdout, reason = "scripts read the addresses")]
fn say(kind: Kind, what: &str) {
    println!("{} {what}", kind.name());
}

//! Kernel and systems are pure functions over data: no I/O, no async, no clock, no randomness, no output.

use super::{Violation, modules::Names, repository::Repository};

/// What reaches outside, and what to do instead.
const FORBIDDEN: [(&[&str], &str); 18] = [
    (&["std", "fs"], FILES),
    (&["std", "net"], FILES),
    (&["std", "process"], FILES),
    (&["std", "env"], "Take it as data, from `Context::settings` for example."),
    (&["std", "io"], FILES),
    (&["std", "os"], FILES),
    (&["std", "thread"], ASYNC),
    (&["std", "sync", "mpsc"], ASYNC),
    (&["std", "time", "SystemTime"], CLOCK),
    (&["std", "time", "Instant"], CLOCK),
    (&["jiff", "Timestamp", "now"], CLOCK),
    (&["jiff", "Zoned", "now"], CLOCK),
    (&["tokio"], ASYNC),
    (&["futures_util"], ASYNC),
    (&["rand"], RANDOM),
    (&["fastrand"], RANDOM),
    (&["uuid"], RANDOM),
    (&["tracing"], "Return what happened; the runtime logs it."),
];

const FILES: &str = "I/O belongs to the runtime and the adapters.";
const ASYNC: &str = "The runtime decides what runs when; return data.";
const CLOCK: &str = "Take the time as data, from `Context::now` for example.";
const RANDOM: &str = "Take ids and random values as data, from `Context::id` for example.";

/// Macros that write.
const OUTPUT: [&str; 5] = ["print", "println", "eprint", "eprintln", "dbg"];

pub(super) fn check(repository: &Repository) -> Vec<Violation> {
    let mut violations = Vec::new();
    let is_pure = |name: &str| {
        name == "jumun" || repository.package(name).is_some_and(|package| package.folder.starts_with("systems/"))
    };
    for source in repository.sources.iter().filter(|source| is_pure(&source.package)) {
        let mut report = |line, what: String, remedy: &str| {
            let (file, remedy) = (source.path.clone(), remedy.to_owned());
            violations.push(Violation { file, line, rule: "purity", what, remedy });
        };
        let names = Names::of(&source.code.tokens);
        let imported = names.imports.iter().map(|import| (import.path.clone(), import.line));
        let named = names.paths.iter().map(|named| (names.expanded(named), named.line));
        for (path, line) in imported.chain(named) {
            let is_it = |(forbidden, _): &&(&[&str], _)| {
                path.len() >= forbidden.len() && path.iter().zip(*forbidden).all(|(a, b)| a == b)
            };
            if let Some((_, remedy)) = FORBIDDEN.iter().find(is_it) {
                report(line, format!("{} uses `{}`", source.package, path.join("::")), remedy);
            }
        }
        for two in source.code.tokens.windows(2) {
            match (two[0].text.as_str(), two[1].text.as_str()) {
                ("async", "fn" | "move" | "{" | "|") | (".", "await") => {
                    report(two[0].line, format!("{} has async code", source.package), ASYNC);
                }
                (name, "!") if OUTPUT.contains(&name) => {
                    report(
                        two[0].line,
                        format!("{} writes with `{name}!`", source.package),
                        "Return what is to be said.",
                    );
                }
                _ => {}
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::testing::lines;

    #[test]
    fn io_async_clocks_and_output_are_found_in_kernel_and_systems() {
        for bad in [
            "use std::fs;",
            "use std::{collections::BTreeMap, net::TcpStream};",
            "fn f() { std::process::exit(1) }",
            "use std::time::{Duration, Instant};",
            "fn f() -> std::time::SystemTime { todo() }",
            "use jiff::Timestamp; fn f() { Timestamp::now(); }",
            "use tokio::sync::Mutex;",
            "fn f() -> u8 { fastrand::u8(..) }",
            "async fn f() {}",
            "fn f() { println!(\"x\") }",
        ] {
            assert_eq!(lines(check, "crates/jumun/src/lib.rs", bad), [1], "{bad}");
            assert_eq!(lines(check, "systems/shop/src/lib.rs", bad), [1], "{bad}");
            assert!(lines(check, "crates/jumun-bus/src/lib.rs", bad).is_empty(), "{bad}");
        }
    }

    #[test]
    fn pure_code_comments_and_tests_are_fine() {
        let good = "//! std::fs is not used.\nuse std::time::Duration;\nuse jiff::Timestamp;\n#[cfg(test)]\nmod tests { use std::fs; }";
        assert!(lines(check, "crates/jumun/src/lib.rs", good).is_empty());
    }
}

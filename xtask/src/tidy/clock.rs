//! Who may read the machine's clock.
//!
//! The simulation runs services in virtual time: `tokio::time::Instant` stands still until every task waits.
//! `std::time::Instant` does not, so one seed would give two logs. A crate that the simulation runs reads
//! `tokio::time::Instant`, or takes the time as data: it may name `std::time::Instant`, but not read it.

use super::{Violation, modules::Names, repository::Repository};

/// Crates that may read `std::time::Instant`, and why.
const MAY_READ: [(&str, &str); 6] = [
    ("jumun-bus", "its calls block on threads of their own; the simulation uses MemoryBus without waiting"),
    ("jumun-cli", "it measures what people see: commands, load"),
    ("jumun-database", "SQLite works on threads of its own; the simulation uses MemoryDatabase"),
    ("jumun-gateway", "it is a process of its own over real sockets, outside the simulation"),
    ("jumun-supervisor", "it watches real processes"),
    ("jumun-testing", "it starts and kills real servers"),
];

const REMEDY: &str = "Use tokio::time::Instant, or take the time as data. Else add the crate to MAY_READ in \
                      xtask/src/tidy/clock.rs, with the reason.";

pub(super) fn check(repository: &Repository) -> Vec<Violation> {
    let (mut violations, mut readers) = (Vec::new(), Vec::new());
    for source in &repository.sources {
        let names = Names::of(&source.code.tokens);
        let is_clock = |path: &[String]| path.starts_with(&["std".into(), "time".into(), "Instant".into()]);
        let imports_it = names.imports.iter().any(|import| is_clock(&import.path));
        let reads = names.paths.iter().filter(|named| {
            let path = names.expanded(named);
            is_clock(&path) && path.last().is_some_and(|last| last == "now")
        });
        let elapsed =
            source.code.tokens.windows(2).filter(|two| imports_it && two[0].text == "." && two[1].text == "elapsed");
        for line in reads.map(|named| named.line).chain(elapsed.map(|two| two[0].line)) {
            readers.push(source.package.as_str());
            if !MAY_READ.iter().any(|(package, _)| *package == source.package) {
                let what = format!("{} reads std::time::Instant", source.package);
                violations.push(Violation {
                    file: source.path.clone(),
                    line,
                    rule: "clock",
                    what,
                    remedy: REMEDY.into(),
                });
            }
        }
    }
    for (package, _) in
        MAY_READ.iter().filter(|(package, _)| repository.package(package).is_some() && !readers.contains(package))
    {
        let line = include_str!("clock.rs")
            .lines()
            .position(|line| line.contains(&format!("(\"{package}\"")))
            .map_or(1, |line| line + 1);
        let what = format!("{package} may read std::time::Instant, and does not");
        let remedy = "Remove it from MAY_READ.".to_owned();
        violations.push(Violation { file: "xtask/src/tidy/clock.rs".into(), line, rule: "clock", what, remedy });
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::repository::Repository;

    fn found(package: &str, text: &str) -> Vec<(String, usize)> {
        let repository = Repository::of(&[(&format!("crates/{package}/src/lib.rs"), text)]);
        check(&repository).into_iter().map(|violation| (violation.what, violation.line)).collect()
    }

    #[test]
    fn a_crate_of_the_simulation_does_not_read_the_machines_clock() {
        for bad in [
            "use std::time::{Duration, Instant};\nfn f() { Instant::now(); }",
            "\nfn f() { std::time::Instant::now(); }",
            "use std::time;\nfn f() { time::Instant::now(); }",
            "use std::time::Instant;\nfn f(begun: Instant) { begun.elapsed(); }",
        ] {
            assert_eq!(found("jumun-runtime", bad), [("jumun-runtime reads std::time::Instant".into(), 2)], "{bad}");
            assert!(found("jumun-cli", bad).is_empty(), "{bad}");
        }
    }

    #[test]
    fn virtual_time_and_time_as_data_are_fine() {
        assert!(found("jumun-runtime", "use tokio::time::Instant;\nfn f() { Instant::now().elapsed(); }").is_empty());
        assert!(
            found("jumun-guard", "use std::time::Instant;\nfn f(now: Instant) { now.duration_since(now); }").is_empty()
        );
        let data = "use std::time::Instant;\nfn f() -> Instant { tokio::time::Instant::now().into_std() }";
        assert!(found("jumun-guard", data).is_empty());
    }

    #[test]
    fn an_exception_that_nobody_needs_is_found() {
        let found = found("jumun-cli", "");
        assert!(found[0].0.contains("and does not") && found[0].1 > 10, "{found:?}");
    }
}

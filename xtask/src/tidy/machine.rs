//! Nothing in the repository depends on the machine that it was written on.

use super::{Violation, repository::Repository};

/// Folders of one machine.
const FOLDERS: [&str; 4] = ["/work/", "/home/", "/root/", "/tmp/"];

/// The registry that every version comes from, as lock files write it.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Keys of cargo's configuration and manifests that name a registry or a proxy.
const KEYS: [&str; 7] = ["[source", "[registries", "[registry", "replace-with", "registry", "index", "proxy"];

pub(super) fn check(repository: &Repository) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut report = |file: &str, line: usize, what: String, remedy: &str| {
        violations.push(Violation { file: file.to_owned(), line, rule: "machine", what, remedy: remedy.to_owned() });
    };
    for (path, text) in &repository.files {
        let is_test = path.split('/').any(|part| ["tests", "benches", "tests.rs"].contains(&part));
        let is_own = path == "xtask/src/tidy/machine.rs";
        for (line, text) in text.lines().enumerate().map(|(line, text)| (line + 1, text)) {
            if !is_test && !is_own {
                for folder in FOLDERS.iter().filter(|folder| names(text, folder)) {
                    report(
                        path,
                        line,
                        format!("`{folder}…` is a folder of one machine"),
                        "Take it from arguments or the environment.",
                    );
                }
            }
            let trimmed = text.trim_start();
            let is_cargos = path.ends_with("Cargo.toml") || path.starts_with(".cargo/");
            if is_cargos && KEYS.iter().any(|key| is_key(trimmed, key)) {
                report(
                    path,
                    line,
                    format!("`{trimmed}` names a registry"),
                    "It belongs to the configuration of a machine, in $CARGO_HOME.",
                );
            }
            if path.ends_with("Cargo.lock") && trimmed.starts_with("source = ") && !trimmed.contains(REGISTRY) {
                report(path, line, format!("`{trimmed}` is not crates.io"), "Use a release on crates.io.");
            }
        }
    }
    violations
}

/// Whether a line names a folder, and not a part of a longer path or address.
fn names(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        !line[..at]
            .ends_with(|before: char| before.is_alphanumeric() || ['.', '-', '_', '}', '>', '~', '*'].contains(&before))
    })
}

fn is_key(line: &str, key: &str) -> bool {
    line.strip_prefix(key).is_some_and(|rest| key.starts_with('[') || rest.trim_start().starts_with('='))
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::testing::lines;

    #[test]
    fn folders_of_a_machine_are_found_outside_tests() {
        let bad = "\nconst DATA: &str = \"/home/somebody/data\";";
        assert_eq!(lines(check, "crates/a/src/b.rs", bad), [2]);
        assert_eq!(lines(check, "README.md", "Look into `/tmp/x`."), [1]);
        assert!(lines(check, "crates/a/tests/b.rs", bad).is_empty());
        assert!(lines(check, "README.md", "below data/home/x, https://example.org/work/x").is_empty());
    }

    #[test]
    fn registries_and_proxies_are_found() {
        for bad in ["[source.crates-io]", "replace-with = \"mirror\"", "[registries.mine]", "registry = \"mine\""] {
            assert_eq!(lines(check, ".cargo/config.toml", bad), [1], "{bad}");
        }
        assert_eq!(lines(check, "Cargo.lock", "source = \"registry+https://mirror.example/index\""), [1]);
        assert!(
            lines(check, "Cargo.lock", "source = \"registry+https://github.com/rust-lang/crates.io-index\"").is_empty()
        );
    }
}

//! The rules of this repository as code: what the compiler and clippy cannot check.
//!
//! Each rule is a pure function from a [`Repository`], which is text in memory, to [`Violation`]s; each has a test that feeds
//! it a small bad example. `cargo xtask tidy` reports all violations of all rules at once.

mod clock;
mod dependencies;
mod documents;
mod imports;
mod lexer;
mod machine;
mod modules;
mod purity;
mod repository;
mod size;

use repository::Repository;
use std::{fmt, path::Path};

/// A rule that the repository breaks.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    /// The path from the root.
    file: String,
    /// Counted from 1.
    line: usize,
    rule: &'static str,
    what: String,
    remedy: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, rule, what, remedy } = self;
        write!(f, "{file}:{line}: {what} [{rule}]\n    {remedy}")
    }
}

/// Checks the repository at this folder. False: it breaks a rule, and standard error says which.
pub(crate) fn run(root: &Path) -> bool {
    let violations = match Repository::read(root) {
        Ok(repository) => check(&repository),
        Err(why) => {
            eprintln!("tidy cannot read the repository: {why}");
            return false;
        }
    };
    for violation in &violations {
        eprintln!("{violation}");
    }
    if !violations.is_empty() {
        eprintln!("tidy: {} violations", violations.len());
    }
    violations.is_empty()
}

/// All rules.
fn check(repository: &Repository) -> Vec<Violation> {
    let mut violations = Vec::new();
    violations.extend(dependencies::check(&repository.packages));
    violations.extend(size::check(repository));
    violations.extend(purity::check(repository));
    violations.extend(clock::check(repository));
    violations.extend(imports::check(repository));
    violations.extend(documents::check(repository));
    violations.extend(machine::check(repository));
    violations.sort();
    violations
}

/// What the tests of rules share.
#[cfg(test)]
mod testing {
    use super::{Violation, repository::Repository};

    type Rule = fn(&Repository) -> Vec<Violation>;

    /// What a rule finds in these files, in words.
    pub(super) fn found(check: Rule, files: &[(&str, &str)]) -> Vec<String> {
        check(&Repository::of(files)).into_iter().map(|violation| violation.what).collect()
    }

    /// The lines of one file where a rule finds something.
    pub(super) fn lines(check: Rule, path: &str, text: &str) -> Vec<usize> {
        check(&Repository::of(&[(path, text)])).iter().map(|violation| violation.line).collect()
    }
}

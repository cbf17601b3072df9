//! Every package and every production file says what it is for.

use super::{Violation, repository::Repository};

pub(super) fn check(repository: &Repository) -> Vec<Violation> {
    let packages = repository.packages.iter().filter(|package| package.description.trim().is_empty());
    let packages = packages.map(|package| Violation {
        file: package.manifest_path(),
        line: 1,
        rule: "documents",
        what: format!("{} has no description", package.name),
        remedy: "Write `description = \"…\"`: what it is for, in one line.".into(),
    });
    let is_silent = |text: &str| !text.trim_start_matches("#!/usr/bin/env rust\n").trim_start().starts_with("//!");
    let sources = repository.sources.iter().filter(|source| is_silent(&source.text));
    let sources = sources.map(|source| Violation {
        file: source.path.clone(),
        line: 1,
        rule: "documents",
        what: "the file does not say what it is for".into(),
        remedy: "Begin it with `//!`: one line what it is, then why it is so.".into(),
    });
    packages.chain(sources).collect()
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::repository::Repository;

    #[test]
    fn a_package_without_description_and_a_file_without_header_are_found() {
        let mut repository =
            Repository::of(&[("crates/a/src/lib.rs", "//! A.\nmod b;"), ("crates/a/src/b.rs", "// B.\n")]);
        assert_eq!(
            check(&repository).into_iter().map(|violation| violation.file).collect::<Vec<_>>(),
            ["crates/a/src/b.rs"]
        );
        repository.packages[0].description.clear();
        assert_eq!(check(&repository)[0].what, "a has no description");
    }
}

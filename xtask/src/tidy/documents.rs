//! Every package and every production file says what it is for, and no page links to a file that is not there.

use super::{Violation, repository::Repository};
use std::path::{Component, Path, PathBuf};

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
    packages.chain(sources).chain(dead_links(repository)).collect()
}

/// Links of pages to files that are not there.
fn dead_links(repository: &Repository) -> Vec<Violation> {
    let mut violations = Vec::new();
    let is_page = |path: &str| Path::new(path).extension().is_some_and(|extension| extension == "md");
    for (page, text) in repository.files.iter().filter(|(path, _)| is_page(path)) {
        let folder = Path::new(page).parent().unwrap_or(Path::new(""));
        for (line, text) in text.lines().enumerate() {
            for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
                let target = normal(&folder.join(link));
                let is_elsewhere = link.is_empty() || link.contains(':');
                let exists = repository.files.keys().any(|file| Path::new(file).starts_with(&target));
                if !is_elsewhere && !exists {
                    violations.push(Violation {
                        file: page.clone(),
                        line: line + 1,
                        rule: "documents",
                        what: format!("the link to {link} leads nowhere"),
                        remedy: "Link to where it is now.".into(),
                    });
                }
            }
        }
    }
    violations
}

/// The path without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
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

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let found =
            |text| check(&Repository::of(&[("docs/a.md", text), ("crates/a/b.rs", ""), ("README.md", "")])).len();
        assert_eq!(
            found("[a](../crates/a/b.rs), [b](../README.md#c), [c](#d), [d](https://example.org), [e](../crates)"),
            0
        );
        assert_eq!(found("[a](../crates/a/c.rs), [b](b.md)"), 2);
    }
}

//! No file that nobody reads in one sitting, no crate that everything ends up in.

use super::{Violation, repository::Repository};
use std::collections::BTreeMap;

/// Lines of a production file, test code apart.
const LINES_MAX: usize = 700;

/// Share of the product's lines that one crate may have, in percent.
const SHARE_MAX: usize = 25;

/// Where the product is. Simulation, examples and automation are not part of it.
const PRODUCT: [&str; 3] = ["crates/", "bin/", "systems/"];

pub(super) fn check(repository: &Repository) -> Vec<Violation> {
    let (mut violations, mut lines) = (Vec::new(), BTreeMap::<&str, usize>::new());
    for source in &repository.sources {
        if source.lines() > LINES_MAX {
            violations.push(Violation {
                file: source.path.clone(),
                line: LINES_MAX + 1,
                rule: "size",
                what: format!("{} lines without tests, at most {LINES_MAX}", source.lines()),
                remedy: "Split the file where one part needs little of the other.".into(),
            });
        }
        if PRODUCT.iter().any(|folder| source.path.starts_with(folder)) {
            *lines.entry(&source.package).or_default() += source.lines();
        }
    }
    violations.extend(shares(repository, &lines));
    violations
}

fn shares(repository: &Repository, lines: &BTreeMap<&str, usize>) -> Vec<Violation> {
    let all: usize = lines.values().sum();
    let too_large = lines.iter().filter(|(_, own)| **own * 100 >= all * SHARE_MAX && lines.len() > 100 / SHARE_MAX);
    let violation = |(package, own): (&&str, &usize)| Violation {
        file: repository.package(package).map(super::repository::Package::manifest_path).unwrap_or_default(),
        line: 1,
        rule: "size",
        what: format!(
            "{package} has {own} of the product's {all} lines, {} %; less than {SHARE_MAX} % are allowed",
            own * 100 / all
        ),
        remedy: "Move a part with a reason of its own to a crate of its own.".into(),
    };
    too_large.map(violation).collect()
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::testing::found;

    #[test]
    fn a_file_of_more_than_700_lines_is_found_and_its_tests_do_not_count() {
        let (most, test) = ("fn f() {}\n".repeat(700), "#[cfg(test)]\nmod tests {\n}\n");
        assert!(found(check, &[("crates/a/src/lib.rs", &format!("{most}{test}"))]).is_empty());
        let more = format!("fn f() {{}}\n{most}{test}");
        assert_eq!(found(check, &[("crates/a/src/lib.rs", &more)]), ["701 lines without tests, at most 700"]);
    }

    #[test]
    fn a_crate_with_a_quarter_of_the_product_is_found() {
        let names = ["a", "b", "c", "d", "e"].map(|name| format!("crates/{name}/src/lib.rs"));
        let line = "fn f() {}\n";
        let even: Vec<_> = names.iter().map(|name| (name.as_str(), line)).collect();
        assert!(found(check, &even).is_empty());
        let (large, mut odd) = (line.repeat(2), even);
        odd[0].1 = &large;
        assert_eq!(found(check, &odd), ["a has 2 of the product's 6 lines, 33 %; less than 25 % are allowed"]);
    }
}

//! Files of a crate that import each other cannot be read, tested or moved apart.
//!
//! What counts as an import of one file by another: a `use`, or a path in code, that begins with `crate`, `super`, `self` or
//! a module of the file, followed to the file that defines the item. Approximations, each towards fewer findings:
//!
//! * `mod x;` imports nothing. Neither does a re-export, `pub use x::Y`: who imports `Y` imports the file that defines it.
//! * A file and the files of its own submodules are one unit: `engine/mod.rs` may use `engine/ask.rs` and the other way
//!   round, and so may `lib.rs` and all others. A circle of submodules beside each other is found, as is one that leaves
//!   the folder.
//! * An item that a macro makes is taken to be defined where its path leads, unless that module has modules or globs: then it
//!   counts for nothing.
//! * Test code counts for nothing.
//!
//! Two circles are part of the design of a system. `events.rs` names the aggregates whose state events carry, and each
//! aggregate names the events. And a question names the instance that it is about: an aggregate that is named as the type
//! of an id only, `Id<Order>`, is not imported.

use super::{
    Violation,
    modules::{Import, Names},
    repository::{Repository, Source},
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The files of one crate, by the root that reaches them.
struct Crate<'a> {
    files: Vec<(&'a Source, Names)>,
}

/// A module: the file that it is in, and where it is in that file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    file: usize,
    within: Vec<String>,
}

/// From a file to a file, with the line of an import.
type Arrows = BTreeMap<usize, BTreeMap<usize, usize>>;

pub(super) fn check(repository: &Repository) -> Vec<Violation> {
    let roots: BTreeSet<_> = repository.sources.iter().map(|source| source.root.as_str()).collect();
    let mut violations = Vec::new();
    for root in roots {
        let sources = repository.sources.iter().filter(|source| source.root == root);
        let files = sources.map(|source| (source, Names::of(&source.code.tokens))).collect();
        let whole = Crate { files };
        let arrows = whole.arrows();
        violations.extend(circles(&arrows).iter().map(|circle| whole.violation(&arrows, circle)));
    }
    violations
}

impl Crate<'_> {
    fn module_of(&self, place: &Place) -> Vec<String> {
        self.files[place.file].0.module.iter().chain(&place.within).cloned().collect()
    }

    /// The module of this path.
    fn place(&self, path: &[String]) -> Option<Place> {
        let file = (0..self.files.len()).filter(|file| path.starts_with(&self.files[*file].0.module));
        let file = file.max_by_key(|file| self.files[*file].0.module.len())?;
        let within = path[self.files[file].0.module.len()..].to_vec();
        let Some((last, before)) = within.split_last() else { return Some(Place { file, within }) };
        let is_inline = self.files[file].1.defined.iter().any(|(within, name)| within == before && name == last);
        is_inline.then_some(Place { file, within })
    }

    fn child(&self, place: &Place, name: &str) -> Option<Place> {
        let path: Vec<_> = self.module_of(place).into_iter().chain([name.to_owned()]).collect();
        self.place(&path).filter(|child| self.module_of(child) == path && self.is_module(child))
    }

    /// Whether it is a module, and no other item of that name.
    fn is_module(&self, place: &Place) -> bool {
        place.within.is_empty() || self.files[place.file].1.defined.iter().any(|(within, _)| *within == place.within)
    }

    /// The file that defines what a path names, seen from a module.
    fn resolve(&self, from: &Place, path: &[String], depth: usize) -> Option<usize> {
        let (mut at, mut rest) = (from.clone(), path);
        while let Some((first, others)) = rest.split_first() {
            at = match first.as_str() {
                "crate" => self.place(&[])?,
                "self" => at,
                "super" => self.place(self.module_of(&at).split_last()?.1)?,
                _ => break,
            };
            rest = others;
        }
        while let Some((first, others)) = rest.split_first() {
            let Some(child) = self.child(&at, first) else {
                let leads_here = rest.len() < path.len();
                let item = self.item(&at, first, others, depth);
                return item.or_else(|| (leads_here && self.is_leaf(&at)).then_some(at.file));
            };
            (at, rest) = (child, others);
        }
        Some(at.file)
    }

    /// Whether a module has no modules and imports no globs: what it does not import, it defines.
    fn is_leaf(&self, at: &Place) -> bool {
        let path = self.module_of(at);
        let has_file_below =
            self.files.iter().any(|(source, _)| source.module.len() > path.len() && source.module.starts_with(&path));
        let imports = || self.files[at.file].1.imports.iter().filter(|import| import.within == at.within);
        !has_file_below && imports().all(|import| import.name.is_some())
    }

    /// The file that defines an item of a module, which may import it.
    fn item(&self, at: &Place, name: &str, rest: &[String], depth: usize) -> Option<usize> {
        let names = &self.files[at.file].1;
        if names.defined.iter().any(|(within, defined)| *within == at.within && defined == name) {
            return Some(at.file);
        }
        if depth == 0 {
            return None;
        }
        let mut imports = names.imports.iter().filter(|import| import.within == at.within && !import.is_local);
        let follow = |import: &Import, rest: &[String]| {
            let path: Vec<_> = import.path.iter().chain(rest).cloned().collect();
            self.resolve(at, &path, depth - 1)
        };
        if let Some(import) = imports.clone().find(|import| import.name.as_deref() == Some(name)) {
            return follow(import, rest);
        }
        let whole: Vec<_> = [name.to_owned()].into_iter().chain(rest.iter().cloned()).collect();
        imports.find_map(|import| import.name.is_none().then(|| follow(import, &whole)).flatten())
    }

    fn arrows(&self) -> Arrows {
        let mut arrows = Arrows::new();
        for (file, (source, names)) in self.files.iter().enumerate() {
            let imports = names.imports.iter().filter(|import| !import.is_reexport || import.is_local);
            let imports = imports.map(|import| (&import.within, &import.path, import.name.as_deref(), import.line));
            let imports = imports
                .filter(|import| !(is_of_system(source) && import.2.is_some_and(|name| is_only_in_ids(source, name))));
            let imports = imports.map(|(within, path, _, line)| (within, path, line));
            let paths = names.paths.iter().map(|named| (&named.within, &named.path, named.line));
            for (within, path, line) in imports.chain(paths) {
                let from = Place { file, within: within.clone() };
                let is_ours =
                    ["crate", "super", "self"].contains(&path[0].as_str()) || self.child(&from, &path[0]).is_some();
                let Some(to) = is_ours.then(|| self.resolve(&from, path, 8)).flatten() else { continue };
                if to != file && !is_one_unit(source, self.files[to].0) && !is_by_design(source, self.files[to].0) {
                    arrows.entry(file).or_default().entry(to).or_insert(line);
                }
            }
        }
        arrows
    }

    fn violation(&self, arrows: &Arrows, circle: &[usize]) -> Violation {
        let step = |two: (&usize, &usize)| {
            format!("{}:{} imports {}", self.files[*two.0].0.path, arrows[two.0][two.1], self.files[*two.1].0.path)
        };
        let steps: Vec<_> = circle.iter().zip(circle.iter().cycle().skip(1)).map(step).collect();
        Violation {
            file: self.files[circle[0]].0.path.clone(),
            line: arrows[&circle[0]][circle.get(1).unwrap_or(&circle[0])],
            rule: "imports",
            what: format!("{} files import each other in a circle: {}", circle.len(), steps.join(", ")),
            remedy: "Move what both need to a file of its own, below both.".into(),
        }
    }
}

/// A file and the files of its submodules.
fn is_one_unit(a: &Source, b: &Source) -> bool {
    a.module.starts_with(&b.module) || b.module.starts_with(&a.module)
}

/// `events.rs` of a system, and whatever else is in it.
fn is_by_design(a: &Source, b: &Source) -> bool {
    is_of_system(a) && [a, b].iter().any(|source| source.module == ["events"])
}

fn is_of_system(source: &Source) -> bool {
    source.root.starts_with("systems/")
}

/// Whether a file names an aggregate only as the type of an id, its import apart.
fn is_only_in_ids(source: &Source, name: &str) -> bool {
    let text: Vec<_> = source.code.tokens.iter().map(|token| token.text.as_str()).collect();
    let named = text.iter().filter(|text| **text == name).count();
    named == text.windows(4).filter(|four| *four == ["Id", "<", name, ">"]).count() + 1
}

/// A shortest circle of each knot: of each set of files that all reach each other.
fn circles(arrows: &Arrows) -> Vec<Vec<usize>> {
    let mut circles = Vec::new();
    let mut seen = BTreeSet::new();
    for begin in arrows.keys() {
        let reached = reach(arrows, *begin);
        let knot: BTreeSet<_> = reached.iter().copied().filter(|file| reach(arrows, *file).contains(begin)).collect();
        if knot.contains(begin) && seen.insert(knot.clone()) {
            let shortest = knot.iter().filter_map(|file| shortest(arrows, *file)).min_by_key(Vec::len);
            circles.extend(shortest);
        }
    }
    circles
}

fn reach(arrows: &Arrows, begin: usize) -> BTreeSet<usize> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![begin]);
    while let Some(file) = open.pop() {
        open.extend(arrows.get(&file).into_iter().flat_map(BTreeMap::keys).filter(|to| reached.insert(**to)));
    }
    reached
}

/// The shortest way from a file back to itself.
fn shortest(arrows: &Arrows, begin: usize) -> Option<Vec<usize>> {
    let (mut ways, mut seen) = (VecDeque::from([vec![begin]]), BTreeSet::new());
    while let Some(way) = ways.pop_front() {
        for to in way.last().and_then(|last| arrows.get(last)).into_iter().flat_map(BTreeMap::keys) {
            if *to == begin {
                return Some(way);
            }
            if seen.insert(*to) {
                ways.push_back(way.iter().copied().chain([*to]).collect());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::testing::found;

    #[test]
    fn two_files_that_import_each_other_are_found() {
        let found = found(
            check,
            &[
                ("crates/a/src/lib.rs", "mod b;\nmod c;"),
                ("crates/a/src/b.rs", "use crate::c::C;\npub struct B;"),
                ("crates/a/src/c.rs", "made_by_macro!(C);\nfn f() -> super::b::B {}"),
            ],
        );
        let circle = "2 files import each other in a circle: crates/a/src/b.rs:1 imports crates/a/src/c.rs, \
                      crates/a/src/c.rs:2 imports crates/a/src/b.rs";
        assert_eq!(found, [circle]);
    }

    #[test]
    fn a_circle_through_a_re_export_and_a_folder_is_found() {
        let found = found(
            check,
            &[
                ("crates/a/src/lib.rs", "mod b;\nmod c;\npub use b::d::D;"),
                ("crates/a/src/b/mod.rs", "pub mod d;"),
                ("crates/a/src/b/d.rs", "use crate::c::C;\npub struct D;"),
                ("crates/a/src/c.rs", "use crate::D;\npub struct C;"),
            ],
        );
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn one_finding_for_a_knot_and_its_shortest_circle() {
        let found = found(
            check,
            &[
                ("crates/a/src/lib.rs", "mod b;\nmod c;\nmod d;"),
                ("crates/a/src/b.rs", "use crate::c::C;\npub struct B;"),
                ("crates/a/src/c.rs", "use crate::d::D;\npub struct C;"),
                ("crates/a/src/d.rs", "use crate::{b::B, c::C};\npub struct D;"),
            ],
        );
        assert!(found.len() == 1 && found[0].starts_with("2 files"), "{found:?}");
    }

    #[test]
    fn a_parent_and_its_parts_are_one_unit_and_re_exports_are_no_imports() {
        let files = [
            ("crates/a/src/lib.rs", "mod b;\nmod c;\npub use b::B;\npub use c::C;"),
            ("crates/a/src/b/mod.rs", "mod d;\nuse d::D;\npub struct B;"),
            ("crates/a/src/b/d.rs", "use super::B;\npub struct D;"),
            ("crates/a/src/c.rs", "use crate::B;\npub struct C;\n#[cfg(test)]\nmod tests { use crate::b::D; }"),
        ];
        assert_eq!(found(check, &files), [""; 0]);
    }

    #[test]
    fn events_and_aggregates_of_a_system_may_name_each_other_and_aggregates_may_not() {
        let system = |order| {
            found(
                check,
                &[
                    ("systems/a/src/lib.rs", "mod events;\nmod order;\nmod payment;"),
                    ("systems/a/src/events.rs", "use crate::order::Order;\npub enum Event {}"),
                    ("systems/a/src/order.rs", order),
                    ("systems/a/src/payment.rs", "use crate::order::Order;\npub struct Pay(Option<Order>);"),
                ],
            )
        };
        assert_eq!(system("use crate::events::Event;\npub struct Order;"), [""; 0]);
        assert_eq!(system("use crate::{events::Event, payment::Pay};\npub struct Order(Id<Pay>);"), [""; 0]);
        assert_eq!(system("use crate::{events::Event, payment::Pay};\npub struct Order(Pay);").len(), 1);
    }
}

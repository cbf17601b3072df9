//! Who may depend on whom. Arrows point down: kernel and leaves know nothing of who uses them.

use super::{
    Violation,
    repository::{Dependency, Package},
};

/// What a package may depend on, of this workspace.
struct Layer {
    package: &'static str,
    may: &'static [&'static str],
    /// What only its tests and benchmarks may have.
    tests_may: &'static [&'static str],
}

const fn layer(package: &'static str, may: &'static [&'static str], tests_may: &'static [&'static str]) -> Layer {
    Layer { package, may, tests_may }
}

/// All packages but the systems, from the bottom up.
#[rustfmt::skip]
const LAYERS: [Layer; 21] = [
    layer("jumun-text", &[], &[]),
    layer("jumun-testing", &[], &[]),
    layer("jumun", &["jumun-text"], &["jumun-testing"]),
    layer("jumun-config", &["jumun-text"], &["jumun-testing"]),
    layer("jumun-telemetry", &["jumun-config", "jumun-text"], &[]),
    layer("jumun-database", &["jumun-config", "jumun-text"], &["jumun-testing"]),
    layer("jumun-bus", &["jumun-config", "jumun-text"], &["jumun-testing"]),
    layer("jumun-guard", &["jumun-config", "jumun-text"], &[]),
    layer("jumun-control", &["jumun-config", "jumun-guard", "jumun-text"], &[]),
    layer("jumun-sender", &["jumun-config", "jumun-text"], &[]),
    layer("jumun-http", &["jumun", "jumun-config", "jumun-telemetry", "jumun-text"], &[]),
    layer("jumun-model", &["jumun", "jumun-http"], &[]),
    layer("jumun-audit", &["jumun", "jumun-database"], &[]),
    layer("jumun-supervisor", &["jumun-control"], &[]),
    layer("jumun-gateway", &["jumun", "jumun-config", "jumun-http", "jumun-telemetry"], &[]),
    layer("jumun-runtime", &["jumun", "jumun-bus", "jumun-config", "jumun-control", "jumun-database", "jumun-guard",
        "jumun-http", "jumun-sender", "jumun-telemetry", "jumun-text"], &[]),
    layer("jumun-host", &["jumun", "jumun-bus", "jumun-config", "jumun-control", "jumun-database", "jumun-gateway",
        "jumun-http", "jumun-model", "jumun-runtime", "jumun-sender", "jumun-telemetry", "jumun-text"], &["jumun-guard", "jumun-testing"]),
    layer("jumun-cli", &["jumun", "jumun-audit", "jumun-bus", "jumun-config", "jumun-control", "jumun-database",
        "jumun-gateway", "jumun-host", "jumun-http", "jumun-model", "jumun-runtime", "jumun-supervisor", "jumun-text"], &[]),
    layer("jumun-program", &["jumun-cli", "book-rental", "breakfast-mileage", "course-enrollment", "food-delivery", "sauce-shop"],
        &["jumun", "jumun-bus", "jumun-http", "jumun-testing"]),
    layer("jumun-simulation", &[], &["book-rental", "breakfast-mileage", "course-enrollment", "food-delivery", "jumun",
        "jumun-audit", "jumun-bus", "jumun-database", "jumun-guard", "jumun-http", "jumun-runtime", "jumun-telemetry", "sauce-shop"]),
    layer("xtask", &["jumun-testing"], &[]),
];

/// Dependencies of crates on systems: of their tests only, each with its reason.
const ON_SYSTEMS: [(&str, &str, &str); 5] = [
    ("jumun-host", "breakfast-mileage", "tests of the configuration need a system with defaults of its own"),
    ("jumun-runtime", "course-enrollment", "tests of messages and delayed asks need a system that has them"),
    ("jumun-runtime", "food-delivery", "tests of consumer, rebuild and retention need a system with five services"),
    ("jumun-host", "course-enrollment", "tests of the configuration need delayed asks and a sender"),
    ("jumun-host", "food-delivery", "tests of the configuration need services with settings, calls and views"),
];

/// All that a system may depend on.
const OF_SYSTEMS: [&str; 4] = ["jiff", "jumun", "schemars", "serde"];

/// Both tables.
struct Tables<'a> {
    layers: &'a [Layer],
    on_systems: &'a [(&'a str, &'a str, &'a str)],
}

/// Where the tables are.
const TABLE: &str = "xtask/src/tidy/dependencies.rs";

pub(super) fn check(packages: &[Package]) -> Vec<Violation> {
    Tables { layers: &LAYERS, on_systems: &ON_SYSTEMS }.check(packages)
}

impl Tables<'_> {
    fn check(&self, packages: &[Package]) -> Vec<Violation> {
        let mut violations = Vec::new();
        for package in packages {
            let own = package.dependencies.iter().filter(|dependency| dependency.name != package.name);
            if is_system(package) {
                violations.extend(own.filter_map(|dependency| of_system(package, dependency)));
                continue;
            }
            let Some(layer) = self.layers.iter().find(|layer| layer.package == package.name) else {
                let what = format!("{} has no layer", package.name);
                violations.push(violation(package, "name", what, format!("Add it to LAYERS in {TABLE}.")));
                continue;
            };
            let own = own.filter(|dependency| dependency.is_ours);
            violations.extend(own.filter_map(|dependency| self.of_crate(packages, package, layer, dependency)));
        }
        violations.extend(self.unused(packages));
        violations
    }

    fn of_crate(
        &self,
        packages: &[Package],
        package: &Package,
        layer: &Layer,
        dependency: &Dependency,
    ) -> Option<Violation> {
        let name = dependency.name.as_str();
        let on_system = packages.iter().any(|package| package.name == name && is_system(package));
        if package.folder.starts_with("crates/") && (on_system || name == "jumun-simulation") {
            let is_exception = self.on_systems.iter().any(|(of, on, _)| (*of, *on) == (&package.name, name));
            return (!is_exception || !dependency.is_dev).then(|| {
                let what = format!("{} depends on {name}: a crate knows no system", package.name);
                violation(
                    package,
                    name,
                    what,
                    "Take the system as an argument; move tests that need it to simulation or bin/jumun.".into(),
                )
            });
        }
        let is_allowed = layer.may.contains(&name) || (dependency.is_dev && layer.tests_may.contains(&name));
        (!is_allowed).then(|| {
            let tests = if dependency.is_dev { " in its tests" } else { "" };
            let what = format!("{} may not depend on {name}{tests}", package.name);
            violation(
                package,
                name,
                what,
                format!("Turn the arrow round, or argue for a new one in LAYERS in {TABLE}."),
            )
        })
    }

    /// What the tables allow and nobody needs.
    fn unused(&self, packages: &[Package]) -> Vec<Violation> {
        let depends = |of: &str, on: &str, only_dev: bool| {
            let package = packages.iter().find(|package| package.name == of);
            package.is_none_or(|package| {
                package.dependencies.iter().any(|dependency| dependency.name == on && (!only_dev || dependency.is_dev))
            })
        };
        let layers = self.layers.iter().flat_map(|layer| {
            let may = layer.may.iter().map(|on| (layer.package, *on, false));
            may.chain(layer.tests_may.iter().map(|on| (layer.package, *on, true)))
        });
        let exceptions = self.on_systems.iter().map(|(of, on, _)| (*of, *on, true));
        let stray = layers.chain(exceptions).filter(|(of, on, only_dev)| !depends(of, on, *only_dev));
        let of_stray = stray.map(|(of, on, _)| Violation {
            file: TABLE.into(),
            line: line_of(of),
            rule: "dependencies",
            what: format!("{of} may depend on {on}, and does not"),
            remedy: "Remove it from the table.".into(),
        });
        of_stray.collect()
    }
}

fn is_system(package: &Package) -> bool {
    package.folder.starts_with("systems/")
}

fn violation(package: &Package, named: &str, what: String, remedy: String) -> Violation {
    Violation { file: package.manifest_path(), line: package.line_of(named), rule: "dependencies", what, remedy }
}

fn of_system(package: &Package, dependency: &Dependency) -> Option<Violation> {
    let is_allowed = OF_SYSTEMS.contains(&dependency.name.as_str()) || (dependency.is_dev && !dependency.is_ours);
    (!is_allowed).then(|| {
        let what = format!("{} is a system and depends on {}", package.name, dependency.name);
        let remedy = format!("A system may depend on {} only: its business is pure functions.", OF_SYSTEMS.join(", "));
        violation(package, &dependency.name, what, remedy)
    })
}

/// The line of this file where a package is.
fn line_of(package: &str) -> usize {
    let names = |line: &str| line.trim_start().starts_with(&format!("layer(\"{package}\""));
    include_str!("dependencies.rs").lines().position(names).map_or(1, |line| line + 1)
}

#[cfg(test)]
mod tests {
    use super::{Dependency, Layer, Package, Tables, layer};

    const LAYERS: [Layer; 3] =
        [layer("kernel", &[], &[]), layer("bus", &["kernel"], &[]), layer("host", &["bus"], &["kernel"])];
    const ON_SYSTEMS: [(&str, &str, &str); 1] = [("host", "shop", "its tests need one")];

    /// A package with these dependencies, those of its tests apart.
    fn package(folder: &str, dependencies: &[&str], of_tests: &[&str]) -> Package {
        let dependency = |name: &str, is_dev| Dependency {
            name: name.to_owned(),
            is_dev,
            is_ours: ["kernel", "bus", "host", "shop", "jumun"].contains(&name),
        };
        let all = dependencies.iter().map(|name| dependency(name, false));
        Package {
            name: folder.rsplit('/').next().unwrap_or_default().to_owned(),
            folder: folder.to_owned(),
            dependencies: all.chain(of_tests.iter().map(|name| dependency(name, true))).collect(),
            ..Package::default()
        }
    }

    fn found(packages: &[Package]) -> Vec<String> {
        let tables = Tables { layers: &LAYERS, on_systems: &ON_SYSTEMS };
        tables.check(packages).into_iter().map(|violation| violation.what).collect()
    }

    #[test]
    fn an_arrow_that_is_not_in_the_table_is_found() {
        assert_eq!(found(&[package("crates/kernel", &["serde", "bus"], &[])]), ["kernel may not depend on bus"]);
        assert_eq!(found(&[package("crates/kernel", &[], &["bus"])]), ["kernel may not depend on bus in its tests"]);
        assert_eq!(found(&[package("crates/new", &[], &[])]), ["new has no layer"]);
    }

    #[test]
    fn a_crate_that_knows_a_system_is_found_exceptions_apart() {
        let shop = || package("systems/shop", &["jumun"], &[]);
        for bus in [package("crates/bus", &["kernel", "shop"], &[]), package("crates/bus", &["kernel"], &["shop"])] {
            assert_eq!(found(&[bus, shop()]), ["bus depends on shop: a crate knows no system"]);
        }
        assert_eq!(found(&[package("crates/host", &["bus"], &["kernel", "shop"]), shop()]), [""; 0]);
        let found = found(&[package("crates/host", &["bus", "shop"], &["kernel", "shop"]), shop()]);
        assert_eq!(found, ["host depends on shop: a crate knows no system"], "the exception is for tests only");
    }

    #[test]
    fn a_system_that_knows_more_than_the_kernel_is_found() {
        let shop = package("systems/shop", &["jumun", "tokio"], &["proptest"]);
        assert_eq!(found(&[shop]), ["shop is a system and depends on tokio"]);
        let shop = package("systems/shop", &["jumun"], &["host"]);
        assert_eq!(found(&[shop]), ["shop is a system and depends on host"]);
    }

    #[test]
    fn an_entry_of_a_table_that_nothing_needs_is_found() {
        assert_eq!(found(&[package("crates/bus", &[], &[])]), ["bus may depend on kernel, and does not"]);
        let host = package("crates/host", &["bus"], &["kernel"]);
        assert_eq!(found(&[host]), ["host may depend on shop, and does not"]);
    }
}

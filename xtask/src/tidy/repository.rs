//! The repository in memory: its packages, as cargo sees them, and its files.

use super::lexer::Code;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// Folders whose files the rules read.
const FOLDERS: [&str; 9] = ["crates", "bin", "systems", "simulation", "xtask", "examples", "docs", ".ci", ".cargo"];

/// What the rules are about.
#[derive(Debug, Default)]
pub(super) struct Repository {
    pub(super) packages: Vec<Package>,
    /// The texts of all files, by their paths from the root.
    pub(super) files: BTreeMap<String, String>,
    /// Production files: those that the roots of the packages reach, test modules apart.
    pub(super) sources: Vec<Source>,
}

/// A package of the workspace.
#[derive(Debug, Clone, Default)]
pub(super) struct Package {
    pub(super) name: String,
    /// From the root: `crates/jumun`.
    pub(super) folder: String,
    pub(super) description: String,
    /// The files of library, program and build script, from the root.
    pub(super) roots: Vec<String>,
    pub(super) dependencies: Vec<Dependency>,
    pub(super) manifest: String,
}

/// A dependency of a package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// Only its tests, benchmarks and examples have it.
    pub(super) is_dev: bool,
    /// A package of this workspace.
    pub(super) is_ours: bool,
}

/// A production file.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: String,
    /// The name of its package.
    pub(super) package: String,
    /// The root that reaches it.
    pub(super) root: String,
    /// Where it is in the package: `engine::ask` is `["engine", "ask"]`.
    pub(super) module: Vec<String>,
    pub(super) text: String,
    pub(super) code: Code,
}

impl Source {
    /// Lines, test code apart.
    pub(super) fn lines(&self) -> usize {
        self.text.lines().count() - self.code.test_lines
    }
}

impl Package {
    /// The line of its manifest that names this.
    pub(super) fn line_of(&self, name: &str) -> usize {
        let names = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '.', '=']));
        self.manifest.lines().position(names).map_or(1, |line| line + 1)
    }

    pub(super) fn manifest_path(&self) -> String {
        format!("{}/Cargo.toml", self.folder)
    }
}

impl Repository {
    pub(super) fn read(root: &Path) -> Result<Self, String> {
        let mut files = BTreeMap::new();
        for folder in FOLDERS {
            collect(root, &root.join(folder), &mut files).map_err(|error| format!("{folder}: {error}"))?;
        }
        for entry in fs::read_dir(root).map_err(|error| error.to_string())? {
            let path = entry.map_err(|error| error.to_string())?.path();
            if path.is_file() {
                add(root, &path, &mut files).map_err(|error| format!("{}: {error}", path.display()))?;
            }
        }
        Self::new(packages(root, &files)?, files)
    }

    /// A repository of these packages and files.
    pub(super) fn new(packages: Vec<Package>, files: BTreeMap<String, String>) -> Result<Self, String> {
        let mut sources = Vec::new();
        for package in &packages {
            for root in &package.roots {
                reach(&files, &package.name, root, root, Vec::new(), &mut sources)?;
            }
        }
        Ok(Self { packages, files, sources })
    }

    pub(super) fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name)
    }

    /// For tests: packages whose only roots are `lib.rs` files, and these files.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let files: BTreeMap<_, _> = files.iter().map(|(path, text)| ((*path).into(), (*text).into())).collect();
        let packages =
            files.keys().filter_map(|path: &String| path.strip_suffix("/src/lib.rs")).map(|folder| Package {
                name: folder.rsplit('/').next().unwrap_or_default().to_owned(),
                folder: folder.to_owned(),
                roots: vec![format!("{folder}/src/lib.rs")],
                description: "Something.".to_owned(),
                ..Package::default()
            });
        Self::new(packages.collect(), files.clone()).expect("Rust")
    }
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if !path.ends_with("target") {
                collect(root, &path, files)?;
            }
        } else {
            add(root, &path, files)?;
        }
    }
    Ok(())
}

fn add(root: &Path, path: &Path, files: &mut BTreeMap<String, String>) -> io::Result<()> {
    let name = path.strip_prefix(root).unwrap_or(path).display().to_string();
    match fs::read_to_string(path) {
        Ok(text) => drop(files.insert(name, text)),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {} // a picture
        Err(error) => return Err(error),
    }
    Ok(())
}

/// The packages of the workspace, as `cargo metadata` tells them.
fn packages(root: &Path, files: &BTreeMap<String, String>) -> Result<Vec<Package>, String> {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(root);
    let output = command.output().map_err(|error| format!("cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let relative = |value: &Value| {
        let path = PathBuf::from(text(value));
        path.strip_prefix(root).unwrap_or(&path).display().to_string()
    };
    let package = |value: &Value| {
        let manifest = relative(&value["manifest_path"]);
        let targets = list(&value["targets"]);
        let is_root = |target: &&Value| {
            list(&target["kind"]).iter().any(|kind| ["lib", "bin", "custom-build"].contains(&text(kind).as_str()))
        };
        let dependency = |value: &Value| Dependency {
            name: text(&value["name"]),
            is_dev: value["kind"] == "dev",
            is_ours: value["path"].is_string(),
        };
        Package {
            name: text(&value["name"]),
            folder: manifest.trim_end_matches("/Cargo.toml").to_owned(),
            description: text(&value["description"]),
            roots: targets.iter().filter(is_root).map(|target| relative(&target["src_path"])).collect(),
            dependencies: list(&value["dependencies"]).iter().map(dependency).collect(),
            manifest: files.get(&manifest).cloned().unwrap_or_default(),
        }
    };
    Ok(list(&metadata["packages"]).iter().map(package).collect())
}

/// Adds a file and the files of its modules.
fn reach(
    files: &BTreeMap<String, String>,
    package: &str,
    root: &str,
    path: &str,
    module: Vec<String>,
    sources: &mut Vec<Source>,
) -> Result<(), String> {
    let text = files.get(path).ok_or_else(|| format!("{path} is missing"))?.clone();
    let code = Code::read(&text).map_err(|why| format!("{path}: {why}"))?;
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = file.trim_end_matches(".rs");
    let owns_folder = path == root || stem == "mod";
    let folder = if owns_folder { folder.to_owned() } else { format!("{folder}/{stem}") };
    let declared = code.tokens.windows(3).filter(|three| three[0].text == "mod" && three[2].text == ";");
    let names: Vec<_> = declared.map(|three| three[1].text.clone()).collect();
    sources.push(Source {
        path: path.into(),
        package: package.into(),
        root: root.into(),
        module: module.clone(),
        text,
        code,
    });
    for name in names {
        let candidates = [format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs")];
        let file = candidates.iter().find(|path| files.contains_key(*path));
        let file = file.ok_or_else(|| format!("{path}: the file of `mod {name}` is missing"))?;
        let module = module.iter().cloned().chain([name]).collect();
        reach(files, package, root, file, module, sources)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Repository;

    #[test]
    fn the_files_of_modules_are_found_and_those_of_tests_are_not() {
        let repository = Repository::of(&[
            ("crates/a/src/lib.rs", "mod b;\n#[cfg(test)]\nmod tests;\n"),
            ("crates/a/src/b.rs", "mod c;\nmod d;"),
            ("crates/a/src/b/c.rs", ""),
            ("crates/a/src/b/d/mod.rs", ""),
            ("crates/a/src/tests.rs", ""),
        ]);
        let paths: Vec<_> = repository.sources.iter().map(|source| source.path.as_str()).collect();
        assert_eq!(
            paths,
            ["crates/a/src/lib.rs", "crates/a/src/b.rs", "crates/a/src/b/c.rs", "crates/a/src/b/d/mod.rs"]
        );
        assert_eq!(repository.sources[2].module, ["b", "c"]);
        assert_eq!(repository.sources[0].lines(), 1);
    }
}

//! `jumun new`: writes a project with a small system of its own. The program contains the files of `examples/shop`, where
//! they are tested; the word `shop` in them is the name of the system.

use crate::{Failure, output::print};
use clap::Args;
use serde_json::Value;
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{self, ExitCode},
};

/// Files of the project: their paths and texts.
macro_rules! files {
    ($($path:literal)+) => {
        &[$(($path, include_str!(concat!("../../../examples/shop/", $path)))),+]
    };
}

const FILES: &[(&str, &str)] = files![
    ".gitignore"
    "Cargo.toml"
    "README.md"
    "src/audit.rs"
    "src/events.rs"
    "src/examples.jsonl"
    "src/lib.rs"
    "src/main.rs"
    "src/order.rs"
    "src/payment.rs"
    "src/receipt.rs"
    "tests/saga.rs"
    "tests/specification.rs"
];

/// Where this program was built: the folder above `crates/jumun-cli`.
const BUILT_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The path to the crates of Jumun in the manifest of the example.
const CRATES_OF_EXAMPLE: &str = "\"../../crates/";

/// The name of the example, in its files.
const EXAMPLE: &str = "shop";

/// The folder of data is part of the path of a Unix socket, which has about a hundred bytes.
const NAME_CHARACTERS_MAX: usize = 40;

/// Names that cargo or the compiler gives another meaning: keywords, crates of the toolchain and of the project.
const RESERVED: [&str; 60] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "schemars",
    "self",
    "serde",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "union",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
    "build",
];

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The name of the project and of its system: small letters, digits and hyphens, as in `tea-shop`.
    #[arg(value_parser = name)]
    name: String,
    /// The folder in which the project gets a folder of its name.
    #[arg(long = "in", value_name = "FOLDER", default_value = ".")]
    parent: PathBuf,
    /// A checkout of Jumun, whose crates the project depends on. Default: where this program was built.
    #[arg(long, value_name = "FOLDER")]
    jumun: Option<PathBuf>,
}

fn name(text: &str) -> Result<String, String> {
    let is_word = |word: &str| {
        !word.is_empty() && word.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit())
    };
    if !text.starts_with(|first: char| first.is_ascii_lowercase()) || !text.split('-').all(is_word) {
        return Err("write small letters, digits and single hyphens, a letter first: tea-shop".to_owned());
    }
    if text.len() > NAME_CHARACTERS_MAX {
        return Err(format!("at most {NAME_CHARACTERS_MAX} characters"));
    }
    if text.starts_with("jumun") {
        return Err("crates of Jumun begin so".to_owned());
    }
    if RESERVED.contains(&text) {
        return Err("Rust or cargo gives this name another meaning".to_owned());
    }
    Ok(text.to_owned())
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let jumun = jumun(options.jumun.as_deref().unwrap_or(Path::new(BUILT_IN)))?;
    let folder = options.parent.join(&options.name);
    write(options, &jumun, &folder)?;
    let (name, folder) = (&options.name, folder.display());
    print(format_args!(
        "{name} is in {folder}. Next:
  cd {folder}
  cargo test          # its specification, and every order of events
  cargo run -- up     # starts it; README.md has the first requests"
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// The folder of a checkout of Jumun, as an absolute path.
fn jumun(folder: &Path) -> Result<String, Failure> {
    let is_there = |name: &str| folder.join("crates").join(name).join("Cargo.toml").is_file();
    let absolute = folder.canonicalize().ok().and_then(|folder| folder.to_str().map(str::to_owned));
    absolute.filter(|_| is_there("jumun") && is_there("jumun-cli")).ok_or_else(|| {
        let why = format!("the crates of Jumun are not in {}", folder.display());
        Failure::new("jumun-missing", why, "Name the folder of a checkout of Jumun with --jumun.")
    })
}

/// Writes the project beside its place, then moves it there: it is there whole or not at all.
fn write(options: &Options, jumun: &str, folder: &Path) -> Result<(), Failure> {
    let draft = options.parent.join(format!(".{}.{}", options.name, process::id()));
    let unwritable = |error: &io::Error| {
        let why = format!("the project cannot be written to {}: {error}", folder.display());
        Failure::new("project-unwritable", why, "Choose a folder that exists and can be written with --in.")
    };
    fs::create_dir(&draft).map_err(|error| unwritable(&error))?;
    let written = write_files(&draft, &options.name, jumun).map_err(|error| unwritable(&error)).and_then(|()| {
        // The move replaces an empty folder, and nothing else.
        fs::rename(&draft, folder).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory => {
                let why = format!("{} exists, and is not an empty folder", folder.display());
                Failure::new("project-exists", why, "Choose another name, or another folder with --in.")
            }
            _ => unwritable(&error),
        })
    });
    if written.is_err() {
        drop(fs::remove_dir_all(&draft)); // the failure is already known
    }
    written
}

fn write_files(folder: &Path, name: &str, jumun: &str) -> io::Result<()> {
    fs::create_dir(folder.join("src"))?;
    fs::create_dir(folder.join("tests"))?;
    for (path, text) in FILES {
        fs::write(folder.join(path), of_name(text, name).replace(CRATES_OF_EXAMPLE, &crates(jumun)))?;
    }
    // The versions that Jumun was tested with, and none to look up. Cargo leaves out what the project does not need.
    let lock = Path::new(jumun).join("Cargo.lock");
    if lock.is_file() {
        fs::copy(lock, folder.join("Cargo.lock"))?;
    }
    Ok(())
}

/// The beginning of the path of a crate of Jumun, as TOML: it quotes as JSON does.
fn crates(jumun: &str) -> String {
    let quoted = Value::from(format!("{jumun}/crates/")).to_string();
    quoted.trim_end_matches('"').to_owned()
}

/// A file of the example with this name in it. Before `::` it is that of the crate.
fn of_name(text: &str, name: &str) -> String {
    let mut parts = text.split(EXAMPLE);
    let mut renamed = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        renamed += &if part.starts_with("::") { name.replace('-', "_") } else { name.to_owned() };
        renamed += part;
    }
    renamed
}

#[cfg(test)]
mod tests {
    use super::{CRATES_OF_EXAMPLE, FILES, crates, name, of_name};

    #[test]
    fn a_name_is_one_of_a_crate_and_of_no_other() {
        for good in ["shop", "tea-shop", "a", "b2b", "self-service"] {
            assert_eq!(name(good), Ok(good.to_owned()));
        }
        let long = "a".repeat(41);
        for bad in ["", "Shop", "tea_shop", "-a", "a-", "a--b", "2a", "찻집", "fn", "std", "jumun", "jumun-shop", &long]
        {
            assert!(name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_example_is_renamed_whole() {
        assert_eq!(of_name("use shop::x; \"shop\"", "shoe-shop"), "use shoe_shop::x; \"shoe-shop\"");
        for (path, text) in FILES {
            let named = text.matches("shop").count();
            let as_name = ["\"shop\"", "shop::", "# shop", "/shop/"].map(|name| text.matches(name).count());
            assert_eq!(named, as_name.iter().sum::<usize>(), "{path}: `shop` is only the name of the system");
        }
        let manifest = FILES.iter().find(|(path, _)| *path == "Cargo.toml").expect("a manifest").1;
        assert_eq!(manifest.matches(CRATES_OF_EXAMPLE).count(), 2);
    }

    #[test]
    fn a_folder_of_any_characters_is_written_as_toml() {
        assert_eq!(crates("/a \"b\"\\c"), r#""/a \"b\"\\c/crates/"#);
    }
}

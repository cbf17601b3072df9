//! A rule of this repository: every error code has a page in `docs/errors`, every page a code. Codes are read off the
//! sources, so that a new one cannot be forgotten: the `code()` of every error type, whatever is given to
//! `Failure::new`, and the problems of services.

use jumun_http::Code;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All sources of the product, tests left out: their relative paths and texts.
fn sources() -> Vec<(String, String)> {
    let (mut folders, mut found) = (Vec::new(), Vec::new());
    for top in ["crates", "bin", "systems"] {
        let members = fs::read_dir(root().join(top)).expect("a folder");
        folders.extend(members.map(|member| member.expect("a folder").path().join("src")));
    }
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source");
                let name = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
                found.push((name, text));
            }
        }
    }
    found
}

/// Every string literal of a text.
fn literals(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2)
}

/// What a function of this signature consists of, as rustfmt lays it out: up to the brace below its `fn`.
fn bodies<'a>(text: &'a str, signature: &str) -> Vec<&'a str> {
    let starts = text.match_indices(signature).map(|(at, _)| at);
    let body = |at: usize| {
        let line = text[..at].rfind('\n').map_or(0, |line| line + 1);
        let indent = text[line..].chars().take_while(|letter| *letter == ' ').count();
        let end = format!("\n{}}}", " ".repeat(indent));
        text[at..].split(end.as_str()).next().unwrap_or_default()
    };
    starts.map(body).collect()
}

/// Every code, with where it was found.
fn codes() -> BTreeMap<String, String> {
    let problems = Code::ALL.iter().map(|code| (code.as_str().to_owned(), "jumun_http::Code".to_owned()));
    let mut codes: BTreeMap<_, _> = problems.collect();
    for (file, text) in sources() {
        for body in bodies(&text, "fn code(&self) -> &'static str {") {
            codes.extend(literals(body).map(|code| (code.to_owned(), file.clone())));
        }
        for body in bodies(&text, "\njumun_text::explained! {") {
            let rows = body.lines().filter_map(|row| row.split_once(" => \"")?.1.split('"').next());
            codes.extend(rows.map(|code| (code.to_owned(), file.clone())));
        }
        let calls = ["Failure::new("].into_iter().chain(file.ends_with("failure.rs").then_some("Self::new("));
        for call in calls {
            for (at, _) in text.match_indices(call) {
                let first = text[at + call.len()..].trim_start();
                match first.strip_prefix('"') {
                    Some(code) => drop(codes.insert(code.split('"').next().unwrap_or_default().into(), file.clone())),
                    None => assert!(first.starts_with("error.code()"), "{file}: a Failure needs its code as a literal"),
                }
            }
        }
    }
    codes
}

fn pages() -> BTreeMap<String, String> {
    let folder = root().join("docs/errors");
    let mut pages = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
        pages.insert(name, fs::read_to_string(&path).expect("a page"));
    }
    pages
}

#[test]
fn every_code_has_its_page_and_every_page_its_code() {
    let (codes, pages) = (codes(), pages());
    for known in ["not-done", "database-in-use", "bus-ahead", "configuration-invalid", "listen", "service-silent"] {
        assert!(codes.contains_key(known), "the codes are not found any more where they were: {known}");
    }
    let missing: Vec<_> = codes.iter().filter(|(code, _)| !pages.contains_key(*code)).collect();
    assert!(missing.is_empty(), "write docs/errors/<code>.md for these (code, where it comes from): {missing:#?}");
    let stray: Vec<_> = pages.keys().filter(|page| *page != "README" && !codes.contains_key(*page)).collect();
    assert!(stray.is_empty(), "docs/errors has pages of codes that are nowhere: {stray:?}");
}

#[test]
fn every_page_says_what_when_and_what_to_do_and_is_in_the_index() {
    let pages = pages();
    let index = &pages["README"];
    let listed: BTreeSet<_> = index.lines().filter_map(|line| line.strip_prefix("| [`")?.split('`').next()).collect();
    for (code, page) in pages.iter().filter(|(code, _)| *code != "README") {
        assert!(page.starts_with(&format!("# `{code}`: ")), "docs/errors/{code}.md begins with its code and a title");
        for part in ["**Means.** ", "**When.** ", "**What to do.** ", "**Example.**\n\n```\n"] {
            assert!(page.contains(part), "docs/errors/{code}.md has no {part:?}");
        }
        let title = page.lines().next().and_then(|line| line.split_once(": ")).map_or("", |(_, title)| title);
        let line = format!("| [`{code}`]({code}.md) | {title} |");
        assert!(index.contains(&line), "docs/errors/README.md lacks the line: {line}");
    }
    let stray: Vec<_> = listed.iter().filter(|code| !pages.contains_key(**code)).collect();
    assert!(stray.is_empty(), "docs/errors/README.md lists what is not there: {stray:?}");
}

fn jumun(arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_jumun")).args(arguments).output().expect("a process");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_program_has_the_pages_with_it() {
    for (code, page) in pages().iter().filter(|(code, _)| *code != "README") {
        assert_eq!(jumun(&["explain", code]), (true, page.clone(), String::new()));
    }
    let (_, by_type, _) = jumun(&["explain", "urn:jumun:problem:not-done"]);
    assert_eq!(by_type, pages()["not-done"], "as clients see it");
    let (_, all, _) = jumun(&["explain"]);
    assert_eq!(all.lines().count(), pages().len() - 1);
    assert!(!jumun(&["explain", "nonsense"]).0);
}

#[test]
fn an_error_says_how_to_read_its_page() {
    let (_, _, said) = jumun(&["serve", "space-travel", "order"]);
    assert!(said.trim().ends_with("jumun explain system-unknown"), "{said}");
}

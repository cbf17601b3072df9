//! `docs/tutorial.md` is true: its commands are run, its parts of files are in the files, its edits are made, and the system
//! that comes of it is built without warnings, tested, started and audited. The Korean one has the same blocks.

mod lab;

use http::Method;
use lab::{Answer, LONG, Project, SHOP_SERVICES, Up, wait_until};
use serde_json::Value;
use std::fs;

const ENGLISH: &str = include_str!("../../../docs/tutorial.md");
const KOREAN: &str = include_str!("../../../docs/tutorial.ko.md");

/// A block of code: what is behind its fence (language, file, `new`), and its lines.
#[derive(Debug, PartialEq)]
struct Block {
    info: String,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let (mut blocks, mut open) = (Vec::new(), None::<Block>);
    for line in page.lines() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(info), None) => open = Some(Block { info: info.to_owned(), text: String::new() }),
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some(block)) => open = Some(Block { text: block.text + line + "\n", ..block }),
            (None, None) => {}
        }
    }
    assert_eq!(open, None, "a block ends");
    blocks
}

#[test]
fn both_languages_have_the_same_blocks() {
    let (english, korean) = (blocks(ENGLISH), blocks(KOREAN));
    for (english, korean) in english.iter().zip(&korean) {
        assert_eq!(english, korean);
    }
    assert_eq!(english.len(), korean.len());
}

#[tokio::test]
async fn the_tutorial_is_true() {
    let mut reader = Reader { project: None, up: None };
    let blocks = blocks(ENGLISH);
    for (nth, Block { info, text }) in blocks.iter().enumerate() {
        match info.split(' ').collect::<Vec<_>>()[..] {
            ["sh"] => {
                let expected = blocks.get(nth + 1).filter(|next| next.info == "json");
                for (nth, line) in text.lines().enumerate() {
                    let is_last = nth + 1 == text.lines().count();
                    reader.run(line, expected.filter(|_| is_last)).await;
                }
            }
            ["json"] => {} // the answer of the command before it
            ["rust", path, "new"] => reader.write(path, text),
            ["rust" | "json", path] => {
                let file = reader.read(path);
                assert!(file.contains(text), "{path} has no part that is\n{text}\n{file}");
            }
            ["diff", path] => reader.edit(path, text),
            _ => panic!("what is a block of {info:?}?"),
        }
    }
    reader.up.expect("a system").stop().await;
}

/// Somebody who does what the tutorial says.
struct Reader {
    project: Option<Project>,
    up: Option<Up>,
}

impl Reader {
    fn project(&self) -> &Project {
        self.project.as_ref().expect("a project")
    }

    fn up(&self) -> &Up {
        self.up.as_ref().expect("a system that is up")
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.project().folder().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.project().folder().join(path), text).expect("a file");
    }

    /// Makes an edit: the lines that stay and leave are in the file once, and lines come.
    fn edit(&self, path: &str, diff: &str) {
        let mut file = self.read(path);
        for hunk in diff.split("@@\n") {
            let lines = |not: char| -> String {
                let lines = hunk.lines().filter(|line| !line.starts_with(not));
                lines.map(|line| line.get(1..).unwrap_or_default().to_owned() + "\n").collect()
            };
            let (before, after) = (lines('+'), lines('-'));
            assert_eq!(file.matches(&before).count(), 1, "{path} has this once:\n{before}\n{file}");
            file = file.replace(&before, &after);
        }
        self.write(path, &file);
    }

    /// Runs a line for a shell. The next block may say what it answers.
    async fn run(&mut self, line: &str, expected: Option<&Block>) {
        let words = words(line);
        match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["jumun", "new", "tea-shop"] => self.project = Some(Project::new("tea-shop")),
            ["cd", "tea-shop"] => {}
            ["cargo", "test"] => self.project().cargo("test"),
            ["cargo", "run", "--", "up"] => self.start().await,
            ["cargo", "run", "--", "load", ref more @ ..] => {
                let gateway = format!("http://{}", self.up().address("gateway"));
                self.up().tell(&[&["load", "--url", &gateway], more].concat());
            }
            ["cargo", "run", "--", "audit"] => {
                self.up().audit("30s").clean();
            }
            ["cargo", "run", "--", ref command @ ..] => drop(self.up().tell(command)),
            ["curl", "-s", ref request @ ..] => self.curl(request, expected).await,
            _ => panic!("what is {line:?}?"),
        }
    }

    /// The first time what `jumun new` has written; the second time with what the reader has added to it.
    async fn start(&mut self) {
        self.project().cargo("build");
        let up = match self.up.take() {
            Some(mut up) => {
                up.stop().await;
                up.add("delivery");
                up
            }
            None => Up::with(self.project().program(), "tea-shop", &SHOP_SERVICES),
        };
        self.up.insert(up).start().await;
    }

    /// Sends a request; a view is read until it shows what is expected.
    async fn curl(&self, request: &[&str], expected: Option<&Block>) {
        let (mut method, mut path, mut body) = (Method::GET, "", "");
        let mut words = request.iter();
        while let Some(word) = words.next() {
            match *word {
                "-X" => method = words.next().and_then(|word| word.parse().ok()).expect("a method"),
                "-H" => assert_eq!(words.next(), Some(&"content-type: application/json")),
                "-d" => (method, body) = (Method::POST, words.next().expect("a body")),
                url => path = url.strip_prefix("localhost:8088").expect("a path of the gateway"),
            }
        }
        let gateway = self.up().client("gateway");
        let send = async || {
            let head = [("content-type", "application/json")];
            gateway.send(method.clone(), path, &head, body.to_owned()).await.expect("an answer")
        };
        let is_expected = |answer: &Answer| {
            let Some(Block { text, .. }) = expected else { return (200..300).contains(&answer.status) };
            let mut shown: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            shown.as_object_mut().map(|fields| fields.remove("_links"));
            shown == text.parse::<Value>().expect("JSON")
        };
        if method == Method::GET {
            let what = format!("{path} is {expected:?}");
            wait_until(LONG, &what, async || is_expected(&send().await)).await;
        } else {
            let answer = send().await;
            assert!(is_expected(&answer), "{method} {path}: {answer:?}");
        }
    }
}

/// The words of a line for a shell, which has spaces in single quotes only.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut is_quoted) = (vec![String::new()], false);
    for letter in line.chars() {
        match letter {
            '\'' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(String::new()),
            letter => words.last_mut().expect("a word").push(letter),
        }
    }
    words
}

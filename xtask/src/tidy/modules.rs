//! What a file imports, names and defines.

use super::lexer::Token;

/// A name that a `use` brings in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Import {
    /// The modules inside the file that it is in.
    pub(super) within: Vec<String>,
    /// `std::fs` is `["std", "fs"]`. Of a glob, what comes before it.
    pub(super) path: Vec<String>,
    /// What the file calls it. None: a glob.
    pub(super) name: Option<String>,
    pub(super) line: usize,
    /// `pub use`, with any visibility.
    pub(super) is_reexport: bool,
    /// It is in a function.
    pub(super) is_local: bool,
}

/// A path in code, of at least two segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) within: Vec<String>,
    pub(super) path: Vec<String>,
    pub(super) line: usize,
}

/// What a file imports, names and defines.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) imports: Vec<Import>,
    pub(super) paths: Vec<Named>,
    /// Modules inside the file, and names of items.
    pub(super) defined: Vec<(Vec<String>, String)>,
}

/// A bracket that is open.
enum Scope {
    Module(String),
    /// The input of a macro at the top level: it may define items.
    Macro,
    Other,
}

impl Names {
    pub(super) fn of(tokens: &[Token]) -> Self {
        let (mut names, mut scopes, mut at) = (Self::default(), Vec::new(), 0);
        let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
        while at < tokens.len() {
            let before = if at == 0 { "" } else { text(at - 1) };
            let is_top = !scopes.iter().any(|scope| matches!(scope, Scope::Other));
            let within = || -> Vec<String> {
                scopes
                    .iter()
                    .filter_map(|scope| if let Scope::Module(name) = scope { Some(name.clone()) } else { None })
                    .collect()
            };
            match text(at) {
                "use" if is_word(text(at + 1)) || text(at + 1) == "::" || text(at + 1) == "{" => {
                    let visible = before == "pub" || (before == ")" && is_restricted(tokens, at));
                    let like = Import {
                        within: within(),
                        path: Vec::new(),
                        name: None,
                        line: 0,
                        is_reexport: visible,
                        is_local: !is_top,
                    };
                    at = tree(tokens, at + 1, &like, &mut names.imports);
                    continue;
                }
                "mod" if is_top && text(at + 2) == "{" => {
                    names.defined.push((within(), text(at + 1).to_owned()));
                    scopes.push(Scope::Module(text(at + 1).to_owned()));
                    at += 3;
                    continue;
                }
                "fn" | "struct" | "enum" | "union" | "trait" | "const" | "static" | "type"
                    if is_top && is_word(text(at + 1)) =>
                {
                    names.defined.push((within(), text(at + 1).to_owned()));
                }
                "macro_rules" if is_top => names.defined.push((within(), text(at + 2).to_owned())),
                "(" | "[" | "{" => {
                    let is_macro =
                        is_top && (before == "!" || (at > 1 && text(at - 2) == "!" && text(at - 3) != "macro_rules"));
                    scopes.push(if is_macro { Scope::Macro } else { Scope::Other });
                }
                ")" | "]" | "}" => drop(scopes.pop()),
                word if is_word(word) && text(at + 1) == "::" && !["::", ".", "$"].contains(&before) => {
                    let (begin, mut path) = (at, vec![word.to_owned()]);
                    while text(at + 1) == "::" && is_word(text(at + 2)) {
                        path.push(text(at + 2).to_owned());
                        at += 2;
                    }
                    names.paths.push(Named { within: within(), path, line: tokens[begin].line });
                }
                _ => {}
            }
            at += 1;
        }
        names
    }

    /// A path with its first segment replaced by what the file imports under that name.
    pub(super) fn expanded(&self, named: &Named) -> Vec<String> {
        let is_it = |import: &&Import| import.name.as_ref() == named.path.first();
        match self.imports.iter().find(is_it) {
            Some(import) => import.path.iter().chain(&named.path[1..]).cloned().collect(),
            None => named.path.clone(),
        }
    }
}

fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Whether the `)` before `at` ends a `pub(…)`.
fn is_restricted(tokens: &[Token], at: usize) -> bool {
    let open = tokens[..at].iter().rposition(|token| token.text == "(");
    open.is_some_and(|open| open > 0 && tokens[open - 1].text == "pub")
}

/// Reads a tree of imports; the position after it.
fn tree(tokens: &[Token], mut at: usize, like: &Import, into: &mut Vec<Import>) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut import = Import { line: tokens.get(at).map_or(0, |token| token.line), ..like.clone() };
    loop {
        match text(at) {
            "::" => at += 1,
            "*" => {
                into.push(import);
                return at + 1;
            }
            "{" => {
                at += 1;
                while !["}", ""].contains(&text(at)) {
                    at = tree(tokens, at, &import, into);
                    at += usize::from(text(at) == ",");
                }
                return at + 1;
            }
            "as" => {
                import.name = Some(text(at + 1).to_owned());
                into.push(import);
                return at + 2;
            }
            word if is_word(word) => {
                import.path.push(word.to_owned());
                at += 1;
                if !["::", "as"].contains(&text(at)) {
                    if import.path.len() > 1 && word == "self" {
                        import.path.pop();
                    }
                    import.name = import.path.last().cloned();
                    into.push(import);
                    return at;
                }
            }
            _ => return at + 1, // part of a macro
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Names;
    use crate::tidy::lexer::Code;

    fn names(text: &str) -> Names {
        Names::of(&Code::read(text).expect("Rust").tokens)
    }

    #[test]
    fn trees_of_imports_are_read() {
        let names =
            names("use std::{self, fs::{File, read as slurp}, io::*};\npub(crate) use a::B;\nfn f() { use c::D; }");
        let paths: Vec<_> = names.imports.iter().map(|import| import.path.join("::")).collect();
        assert_eq!(paths, ["std", "std::fs::File", "std::fs::read", "std::io", "a::B", "c::D"]);
        let called: Vec<_> = names.imports.iter().map(|import| import.name.as_deref().unwrap_or("*")).collect();
        assert_eq!(called, ["std", "File", "slurp", "*", "B", "D"]);
        assert_eq!(
            names.imports.iter().map(|import| import.is_reexport).collect::<Vec<_>>(),
            [false, false, false, false, true, false]
        );
        assert!(names.imports[5].is_local && !names.imports[4].is_local);
    }

    #[test]
    fn paths_and_definitions_are_found_in_macros_too() {
        let names = names(
            "use std::fs;\nlist! { struct A; }\nmod b { fn c() { print(fs::read(\"x\")); } }\nfn d() -> $crate::E {}",
        );
        assert_eq!(names.paths.len(), 1);
        assert_eq!(names.expanded(&names.paths[0]), ["std", "fs", "read"]);
        let defined: Vec<_> = names.defined.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(defined, ["A", "b", "c", "d"]);
    }
}

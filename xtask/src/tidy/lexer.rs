//! Rust as a flat list of tokens with lines: comments, documentation and test code are left out.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use std::{ops::RangeInclusive, str::FromStr};

/// A token: an identifier, `::`, another punctuation mark, a bracket or a literal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) line: usize,
}

/// The production code of a file.
#[derive(Debug, Default)]
pub(super) struct Code {
    pub(super) tokens: Vec<Token>,
    /// Lines of test code inside the file.
    pub(super) test_lines: usize,
    /// Files that `mod name;` declares behind `#[cfg(test)]` or `#[cfg(feature = "conformance")]`.
    pub(super) test_modules: Vec<String>,
}

impl Code {
    /// The production code of a text. The error is why the text is no Rust.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let stream = TokenStream::from_str(text).map_err(|error| error.to_string())?;
        let mut all = Vec::new();
        flatten(stream, &mut all);
        Ok(without_tests(&all))
    }
}

fn flatten(stream: TokenStream, into: &mut Vec<Token>) {
    let mut colon = None;
    for tree in stream {
        let line = tree.span().start().line;
        let mut push = |text: String, line| into.push(Token { text, line });
        match tree {
            TokenTree::Punct(punct) if punct.as_char() == ':' => {
                if colon.take().is_some() {
                    push("::".to_owned(), line);
                } else if punct.spacing() == Spacing::Joint {
                    colon = Some(line);
                } else {
                    push(":".to_owned(), line);
                }
            }
            TokenTree::Punct(punct) => push(punct.as_char().to_string(), line),
            TokenTree::Ident(ident) => push(ident.to_string().trim_start_matches("r#").to_owned(), line),
            TokenTree::Literal(literal) => push(literal.to_string(), line),
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                push(open.to_owned(), line);
                flatten(group.stream(), into);
                into.push(Token { text: close.to_owned(), line: group.span_close().start().line });
            }
        }
    }
}

/// The position after the bracket that closes the one at `at`.
fn after_group(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, token) in tokens[at..].iter().enumerate() {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + offset + 1;
        }
    }
    tokens.len()
}

/// Leaves out attributes, and items that only tests have.
fn without_tests(all: &[Token]) -> Code {
    let (mut code, mut at) = (Code::default(), 0);
    let text = |at: usize| all.get(at).map_or("", |token| token.text.as_str());
    while at < all.len() {
        if text(at) != "#" || !(text(at + 1) == "[" || (text(at + 1) == "!" && text(at + 2) == "[")) {
            code.tokens.push(all[at].clone());
            at += 1;
            continue;
        }
        let (begin, mut is_test) = (at, false);
        while text(at) == "#" && (text(at + 1) == "[" || text(at + 1) == "!") {
            let open = at + if text(at + 1) == "!" { 2 } else { 1 };
            let end = after_group(all, open);
            let attribute = &all[open + 1..end - 1];
            is_test |= attribute.first().is_some_and(|name| name.text == "cfg")
                && attribute.len() > 2
                && predicate(&attribute[2..attribute.len() - 1]) == Some(false);
            at = end;
        }
        if is_test {
            let end = after_item(all, at);
            if let Some(name) = declared_module(&all[at..end]) {
                code.test_modules.push(name);
            }
            let lines: RangeInclusive<usize> = all[begin].line..=all[end - 1].line;
            code.test_lines += lines.count();
            at = end;
        }
    }
    code
}

/// Whether a `cfg` holds in production: no tests, no conformance suites. None: it depends on the build.
fn predicate(tokens: &[Token]) -> Option<bool> {
    let words: Vec<_> = tokens.iter().map(|token| token.text.as_str()).collect();
    let parts = || {
        let inner = &tokens[2..tokens.len() - 1];
        let (mut parts, mut begin, mut at) = (Vec::new(), 0, 0);
        while at < inner.len() {
            if inner[at].text == "(" {
                at = after_group(inner, at);
                continue;
            }
            if inner[at].text == "," {
                parts.push(predicate(&inner[begin..at]));
                begin = at + 1;
            }
            at += 1;
        }
        if begin < inner.len() {
            parts.push(predicate(&inner[begin..]));
        }
        parts
    };
    match words.as_slice() {
        ["test"] | ["feature", "=", "\"conformance\""] => Some(false),
        ["not", "(", ..] => parts().first().copied().flatten().map(|holds| !holds),
        ["all", "(", ..] if parts().contains(&Some(false)) => Some(false),
        ["all", "(", ..] if parts().iter().all(|part| *part == Some(true)) => Some(true),
        ["any", "(", ..] if parts().contains(&Some(true)) => Some(true),
        ["any", "(", ..] if parts().iter().all(|part| *part == Some(false)) => Some(false),
        _ => None,
    }
}

/// The position after the item, field or statement at `at`.
fn after_item(tokens: &[Token], mut at: usize) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    if text(at) == "pub" {
        at += 1;
        if text(at) == "(" {
            at = after_group(tokens, at);
        }
    }
    let ends_with_body = match text(at) {
        "fn" | "struct" | "enum" | "union" | "impl" | "trait" | "mod" | "async" | "unsafe" | "macro_rules" => true,
        "const" => text(at + 1) == "fn",
        _ => false,
    };
    let is_field = !ends_with_body && !["use", "const", "static", "type", "extern", "let"].contains(&text(at));
    while at < tokens.len() {
        match text(at) {
            ";" => return at + 1,
            "," if is_field => return at + 1,
            ")" | "]" | "}" => return at, // the end of what it is in
            "{" if ends_with_body => return after_group(tokens, at),
            "(" | "[" | "{" => at = after_group(tokens, at),
            _ => at += 1,
        }
    }
    at
}

/// The name of a `mod name;`.
fn declared_module(item: &[Token]) -> Option<String> {
    let at = item.iter().position(|token| token.text == "mod")?;
    (item.get(at + 2)?.text == ";").then(|| item[at + 1].text.clone())
}

#[cfg(test)]
mod tests {
    use super::Code;

    fn words(text: &str) -> String {
        let code = Code::read(text).expect("Rust");
        code.tokens.iter().map(|token| token.text.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_documentation_and_attributes_are_left_out() {
        assert_eq!(words("//! std::fs\n/// std::fs\n#[inline] fn f() {} // std::fs"), "fn f ( ) { }");
        assert_eq!(words("a::b: c"), "a :: b : c");
    }

    #[test]
    fn test_code_is_left_out() {
        let code =
            Code::read("fn f() {}\n#[cfg(test)]\nmod tests {\n}\n#[cfg(test)]\nmod more;\nfn g() {}").expect("Rust");
        assert_eq!((code.tokens.len(), code.test_lines, code.test_modules), (12, 5, vec!["more".to_owned()]));
        assert_eq!(words("#[cfg(feature = \"conformance\")] pub mod conformance; fn f() {}"), "fn f ( ) { }");
        assert_eq!(words("#[cfg(test)] use a::{b, c}; use d;"), "use d ;");
        assert_eq!(words("struct S { #[cfg(all(test, unix))] a: u8, b: u8 }"), "struct S { b : u8 }");
    }

    #[test]
    fn what_some_builds_have_stays() {
        for cfg in ["not(test)", "unix", "not(feature = \"otlp\")", "any(test, unix)"] {
            assert_eq!(words(&format!("#[cfg({cfg})] fn f() {{}}")), "fn f ( ) { }", "{cfg}");
        }
    }
}

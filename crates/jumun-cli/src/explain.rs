//! `jumun explain`: shows the page of an error code. The program contains the pages of its version.

use crate::{Failure, output::print_lines};
use clap::Args;
use std::process::ExitCode;

/// Error codes and their pages, sorted: `docs/errors` at build time.
const PAGES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The code, as in `error[database-in-use]`, or the `type` of a problem. Default: lists all codes.
    code: Option<String>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let text = match &options.code {
        Some(code) => page(code)?.to_owned(),
        None => PAGES.iter().map(|(code, page)| [&format!("{code:<28}"), title(page), "\n"].concat()).collect(),
    };
    print_lines([text.trim_end()])?;
    Ok(ExitCode::SUCCESS)
}

fn page(code: &str) -> Result<&'static str, Failure> {
    let word = code.rsplit(':').next().unwrap_or(code);
    let found = PAGES.iter().find(|(known, _)| *known == word);
    found.map(|(_, page)| *page).ok_or_else(|| {
        let why = format!("there is no error `{code}`");
        Failure::new("code-unknown", why, "List them with `jumun explain`.")
    })
}

/// The text after the code in a page's first line.
fn title(page: &str) -> &str {
    page.lines().next().and_then(|line| line.split_once(": ")).map_or("", |(_, title)| title)
}

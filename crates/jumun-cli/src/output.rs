//! Writing to the standard output. Whatever came from users is shown as text: no character of it acts on the terminal. A
//! reader that closes the pipe (`| head`) ends the output, and is not a failure. Any other error is one: an export to a full
//! disk must not look complete.

use crate::Failure;
use jumun_text::{Escaped, escape, escape_but_colours};
use std::{
    env,
    fmt::Display,
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

/// Prints a line. False if the reader has closed the pipe.
pub(crate) fn print(line: impl Display) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    is_written(writeln!(out, "{}", Escaped(line)).and_then(|()| out.flush()))
}

/// Prints all lines, or as many as the reader takes before it closes the pipe.
pub(crate) fn print_lines(lines: impl IntoIterator<Item = impl Display>) -> Result<(), Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for line in lines {
        if !is_written(writeln!(out, "{}", Escaped(line)))? {
            return Ok(());
        }
    }
    is_written(out.flush()).map(drop)
}

/// Prints what the parser of the command line has to say: a help text, the version, or what is wrong. The last quotes
/// arguments, which a script may have taken from users.
pub(crate) fn print_parsed(parsed: &clap::Error) -> Result<ExitCode, Failure> {
    let has_colours_of_its_own = env::args_os().any(|argument| argument.as_encoded_bytes().contains(&0x1b));
    let text = |is_terminal| {
        let text = parsed.render();
        let text = if is_coloured(is_terminal) && !has_colours_of_its_own {
            text.ansi().to_string()
        } else {
            text.to_string()
        };
        if has_colours_of_its_own { escape(&text).into_owned() } else { escape_but_colours(&text).into_owned() }
    };
    if parsed.use_stderr() {
        drop(write!(io::stderr(), "{}", text(io::stderr().is_terminal()))); // the exit status says it, too
        return Ok(ExitCode::from(2));
    }
    let mut out = io::stdout().lock();
    is_written(write!(out, "{}", text(out.is_terminal())).and_then(|()| out.flush()))?;
    Ok(ExitCode::SUCCESS)
}

/// Whether to write colours: on a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
pub(crate) fn is_coloured(is_terminal: bool) -> bool {
    is_terminal && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether the line was written. False if the reader has closed the pipe.
pub(crate) fn is_written(result: io::Result<()>) -> Result<bool, Failure> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => {
            let remedy = "Free space on its disk, then run the command again.";
            Err(unwritable("the standard output", &error, remedy))
        }
    }
}

/// The failure of an output that cannot be written.
pub(crate) fn unwritable(output: impl Display, error: &io::Error, remedy: &'static str) -> Failure {
    Failure::new("output-unwritable", format!("{output} cannot be written: {error}"), remedy)
}

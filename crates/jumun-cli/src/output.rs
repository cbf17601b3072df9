//! Writing to the standard output. Whatever came from users is shown as text: no character of it acts on the terminal. A reader that closes the pipe (`| head`) ends the output, and is not a failure. Any
//! other error is one: an export to a full disk must not look complete.

use crate::Failure;
use jumun_text::Escaped;
use std::{
    fmt::Display,
    io::{self, Write},
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

/// Whether the line was written. False if the reader has closed the pipe.
pub(crate) fn is_written(result: io::Result<()>) -> Result<bool, Failure> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => {
            let why = format!("the standard output cannot be written: {error}");
            Err(Failure::new("output-unwritable", why, "Free space on its disk, then run the command again."))
        }
    }
}

//! The program: every command of `jumun`, for this system.

use std::process::ExitCode;

fn main() -> ExitCode {
    jumun_cli::main(&[shop::system])
}

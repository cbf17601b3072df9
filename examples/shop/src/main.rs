//! The program of the shop: every command of `jumun`, for this system.

mod shop;

use std::process::ExitCode;

fn main() -> ExitCode {
    jumun_cli::main(&[shop::system])
}

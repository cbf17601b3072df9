//! The program, with the systems that ship with it.

use std::process::ExitCode;

fn main() -> ExitCode {
    jumun_cli::main(&[|| food_delivery::system().into_model(), || course_enrollment::system().into_model()])
}

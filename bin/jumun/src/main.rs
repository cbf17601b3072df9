//! The program, with the systems that ship with it.

use std::process::ExitCode;

fn main() -> ExitCode {
    jumun_cli::main(&[
        food_delivery::system,
        sauce_shop::system,
        breakfast_mileage::system,
        course_enrollment::system,
        book_rental::system,
    ])
}

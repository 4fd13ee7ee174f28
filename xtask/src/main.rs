//! The project's own checks: `cargo xtask layers`, `cargo xtask ci` and `cargo xtask fuzz`; and its benchmark, `cargo xtask bench`.
//!
//! `ci` is all that `.ci/run` runs and what the README's test command calls. Start at [`stages::run`].

mod bench;
mod kql;
mod layers;
mod stages;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.first().map(String::as_str) {
        Some("layers") => layers::check(),
        Some("ci") => stages::run(&arguments[1..]),
        Some("bench") => bench::run(&arguments[1..]),
        Some("fuzz") => kql::fuzz_by_hand(&arguments[1..]),
        _ => Err("usage: cargo xtask layers | ci [STAGE…] | bench [ARGUMENT…] | fuzz [--minutes N]\nstages: fmt tools python layers build unit stories lock azure kql docs clippy deny"
            .to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

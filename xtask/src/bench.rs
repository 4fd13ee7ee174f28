//! `cargo xtask bench`: the whole benchmark of docs/performance.md, built, run and written down.
//!
//! Everything is measured by `figures bench`; here are only the builds, DuckDB, and where the figures go. What else is said
//! on the command line goes to it as it stands (`figures bench --help`). With `--binary` some other build is measured, and
//! nothing is written down.

use std::path::PathBuf;
use std::process::Command;

use crate::stages::{cargo, python_with};

/// DuckDB as a reference: a wheel, so that nobody builds it, and what it wants for times with a zone.
const DUCKDB: &[&str] = &["duckdb==2.0.0", "pytz==2026.6"];

/// Runs it from the repository's root.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let release = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from).join("release");
    let other = arguments.iter().any(|argument| argument == "--binary" || argument.starts_with("--binary="));
    // The whole workspace: a part of it has other features, and builds half the tree again.
    cargo(&["build", "--release", "--workspace", "--bins", "--locked"])?;
    let python = python_with(DUCKDB)?;
    let mut figures = Command::new(release.join("figures"));
    figures.arg("bench").arg("--python").arg(python);
    if !other {
        figures.arg("--binary").arg(release.join("strongroom")).args(["--commit", &commit()?]);
        figures.args(["--docs", "docs/performance.md", "--history", "benches/history.jsonl"]);
    }
    let status = figures.args(arguments).status().map_err(|error| format!("figures: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("figures bench ended with {status}")) }
}

/// The commit that is built, with a mark if files differ from it.
fn commit() -> Result<String, String> {
    let output = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]).output();
    let output = output.map_err(|error| format!("git: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

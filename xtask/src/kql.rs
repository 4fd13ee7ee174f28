//! The stage `kql`: lexer, parser and planner fuzzed for a minute each, then questions with known answers, and real queries.
//! (The project's own cases are unit tests and always run.)
//!
//! Both files hold other people's queries and are not in this repository: they lie in `../shared/kql`, or where
//! `STRONGROOM_KQL_CASES` says. In CI (`CI=true`) they must be there; elsewhere the closing line says that they were not.

use std::path::{Path, PathBuf};

use crate::stages::{Counts, tests_with};

/// The files the runner reads.
const FILES: [&str; 2] = ["cases.json", "corpus-sample.json"];

/// The fuzz tests of lexer, parser and planner.
const FUZZ: &str = "test(/fuzzed_texts_end_in/)";
/// Seconds that each of them runs in CI.
const FUZZ_SECONDS: u64 = 60;

/// Runs the stage.
pub(crate) fn run(counts: &mut Counts) -> Result<(), String> {
    fuzz(counts, FUZZ_SECONDS)?;
    let directory = std::env::var_os("STRONGROOM_KQL_CASES").map_or_else(|| PathBuf::from("../shared/kql"), PathBuf::from);
    known_answers(counts, &directory, std::env::var("CI").is_ok_and(|ci| ci == "true"))
}

/// `cargo xtask fuzz --minutes 10`: the same for longer, from a seed of the moment.
pub(crate) fn fuzz_by_hand(arguments: &[String]) -> Result<(), String> {
    let minutes = match arguments {
        [] => 10,
        [flag, minutes] if flag == "--minutes" => minutes.parse().map_err(|_| format!("{minutes} is no number of minutes"))?,
        _ => return Err("usage: cargo xtask fuzz [--minutes N]".to_owned()),
    };
    if std::env::var_os("STRONGROOM_FUZZ_SEED").is_none() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_err(|error| error.to_string())?;
        println!("seed {}", now.as_secs());
        return fuzz_seeded(&mut Counts::default(), minutes * 60, Some(now.as_secs()));
    }
    fuzz_seeded(&mut Counts::default(), minutes * 60, None)
}

fn fuzz(counts: &mut Counts, seconds: u64) -> Result<(), String> {
    fuzz_seeded(counts, seconds, None)
}

fn fuzz_seeded(counts: &mut Counts, seconds: u64, seed: Option<u64>) -> Result<(), String> {
    let mut environment = vec![("STRONGROOM_FUZZ_SECONDS", seconds.to_string())];
    environment.extend(seed.map(|seed| ("STRONGROOM_FUZZ_SEED", seed.to_string())));
    let shown = ["--run-ignored", "only", "--success-output", "final", "--no-tests", "fail"];
    tests_with(counts, FUZZ, &shown, &environment)
}

fn known_answers(counts: &mut Counts, directory: &Path, in_ci: bool) -> Result<(), String> {
    let Some(missing) = FILES.iter().map(|name| directory.join(name)).find(|path| !path.exists()) else {
        // One at a time: the table of one is not torn by the other.
        let shown = ["--run-ignored", "only", "--success-output", "final", "--test-threads", "1"];
        return tests_with(counts, "package(strongroom-query) and test(/^kql::tests::cases::(cases|corpus)$/)", &shown, &[]);
    };
    let told = format!("the KQL cases with known answers: there is no {}; set STRONGROOM_KQL_CASES", missing.display());
    if in_ci {
        return Err(told);
    }
    counts.not_run(told);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_cases_fail_ci_and_are_told_elsewhere() {
        let nowhere = Path::new("/nonexistent");
        let mut counts = Counts::default();
        assert!(known_answers(&mut counts, nowhere, true).is_err());
        assert!(known_answers(&mut counts, nowhere, false).is_ok());
        assert!(counts.left_open().contains("STRONGROOM_KQL_CASES"));
    }
}

//! The stage `kql`: questions with known answers, and real queries. (The project's own cases are unit tests and always run.)
//!
//! Both files hold other people's queries and are not in this repository: they lie in `../shared/kql`, or where
//! `STRONGROOM_KQL_CASES` says. In CI (`CI=true`) they must be there; elsewhere the closing line says that they were not.

use std::path::{Path, PathBuf};

use crate::stages::{Counts, tests_with};

/// The files the runner reads.
const FILES: [&str; 2] = ["cases.json", "corpus-sample.json"];

/// Runs the stage.
pub(crate) fn run(counts: &mut Counts) -> Result<(), String> {
    let directory = std::env::var_os("STRONGROOM_KQL_CASES").map_or_else(|| PathBuf::from("../shared/kql"), PathBuf::from);
    known_answers(counts, &directory, std::env::var("CI").is_ok_and(|ci| ci == "true"))
}

fn known_answers(counts: &mut Counts, directory: &Path, in_ci: bool) -> Result<(), String> {
    let Some(missing) = FILES.iter().map(|name| directory.join(name)).find(|path| !path.exists()) else {
        // One at a time: the table of one is not torn by the other.
        let shown = ["--run-ignored", "only", "--success-output", "final", "--test-threads", "1"];
        return tests_with(counts, "package(strongroom-query) and test(/^kql::tests::cases::(cases|corpus)$/)", &shown);
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

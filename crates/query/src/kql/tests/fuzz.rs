//! Texts that are almost KQL, planned over tables without rows: an answer, a complaint, never a panic or a hang.

use std::panic::catch_unwind;
use std::time::Instant;

use strongroom_kql::fuzzing;

use super::fixture::{context, execute};

fn kept_texts() -> Vec<String> {
    fuzzing::kept_texts(&[env!("CARGO_MANIFEST_DIR"), "/testdata/fuzz"].concat(), &[env!("CARGO_MANIFEST_DIR"), "/testdata/kql"].concat())
}

/// Plans a text; what is planned must be allowed, and its physical plan must come about.
fn fuzz_plan(text: &str) {
    let parsed = strongroom_kql::parse(text);
    if !parsed.diagnostics.is_empty() {
        return;
    }
    match crate::kql::bind(&parsed.query, text, &context()) {
        Err(problem) => {
            let told = problem.render(text);
            assert!(!told.contains("error[PlannerError]"), "a plan of ours was refused: {told}");
        }
        Ok(planned) => {
            // Running may fail for want of memory or by a limit; it may not panic.
            if planned.plan.schema().fields().len() < 200 {
                drop(execute(&planned));
            }
        }
    }
}

#[test]
fn what_once_broke_something_does_not_any_more() {
    let texts = kept_texts();
    assert!(texts.len() > 100, "{}", texts.len());
    for text in texts {
        fuzz_plan(&text);
    }
}

/// For as long as `STRONGROOM_FUZZ_SECONDS` says (60 if it says nothing), from the seed `STRONGROOM_FUZZ_SEED`.
#[test]
#[ignore = "a minute long: cargo xtask ci kql, or cargo xtask fuzz --minutes 10"]
fn fuzzed_texts_end_in_a_plan_or_a_complaint() {
    let (seconds, seed) = fuzzing::asked();
    let mut texts = fuzzing::Texts::new(kept_texts(), seed);
    let (begun, mut count, mut planned) = (Instant::now(), 0_u64, 0_u64);
    while begun.elapsed().as_secs() < seconds {
        let text = texts.next_text();
        let at = Instant::now();
        planned += u64::from(strongroom_kql::parse(&text).diagnostics.is_empty());
        let ended = catch_unwind(|| fuzz_plan(&text));
        assert!(ended.is_ok(), "text number {count} of seed {seed}:\n{text}");
        assert!(at.elapsed().as_secs() < 60, "text number {count} of seed {seed} takes for ever:\n{text}");
        count += 1;
    }
    println!("fuzzed the planner with {count} texts of seed {seed}, {planned} of them without a mistake of syntax");
    assert!(planned > 0);
}

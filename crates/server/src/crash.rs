//! Dying on purpose, for the tests of durability. Built without failpoints (every release is) this does nothing.

use std::sync::atomic::{AtomicU64, Ordering};

/// `STRONGROOM_CRASH_AT=point[:passes]` ends the process like `kill -9` at that failpoint, after so many passes
/// (0 by default); `FAILPOINTS` is read as the crate `fail` has it.
///
/// # Errors
/// A sentence, if a variable is set in a build that would ignore it.
pub(crate) fn arm() -> Result<(), String> {
    let crash = std::env::var("STRONGROOM_CRASH_AT").ok();
    if !fail::has_failpoints() {
        if crash.is_some() || std::env::var_os("FAILPOINTS").is_some() {
            return Err("STRONGROOM_CRASH_AT or FAILPOINTS is set, but this build has no failpoints".to_owned());
        }
        return Ok(());
    }
    // The scenario ends with the process.
    std::mem::forget(fail::FailScenario::setup());
    let Some(crash) = crash else { return Ok(()) };
    let (point, passes) = crash.split_once(':').unwrap_or((&crash, "0"));
    let left = AtomicU64::new(passes.parse().map_err(|_| format!("STRONGROOM_CRASH_AT={crash}: the passes are not a number"))?);
    fail::cfg_callback(point, move || {
        if left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err() {
            std::process::abort();
        }
    })
    .map_err(|error| format!("STRONGROOM_CRASH_AT={crash}: {error}"))
}

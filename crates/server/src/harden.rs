//! What the process takes from itself: core dumps, debuggers, talkative panics.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// Tests that look into the server's memory set it. Only builds with debug assertions heed it.
const DUMPABLE: &str = "STRONGROOM_TEST_DUMPABLE";

/// No core dumps, no ptrace by others, as many files as we may have, panics that print a place and no payload.
pub(crate) fn process() {
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }) {
        tracing::warn!(%error, "core dumps could not be switched off");
    }
    if cfg!(debug_assertions) && std::env::var_os(DUMPABLE).is_some() {
        tracing::warn!("the process stays readable for debuggers, as a test asked; no release does that");
    } else if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "the process could not be made undumpable");
    }
    let files = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, maximum: files.maximum }) {
        tracing::warn!(%error, "the limit of open files stays low");
    }
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(|| "unknown".to_owned(), |at| format!("{}:{}", at.file(), at.line()));
        tracing::error!(place, "panic");
    }));
    if let Ok(swaps) = std::fs::read_to_string("/proc/swaps")
        && swaps.lines().skip(1).any(|line| !line.starts_with("/dev/dm-") && !line.contains("zram"))
    {
        tracing::warn!("swap is on and looks unencrypted: keys and rows may be written to it");
    }
}

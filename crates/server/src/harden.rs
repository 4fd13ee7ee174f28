//! What the process takes from itself: core dumps, debuggers, talkative panics, and what lies in memory that C code gave back.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// glibc's switch for filling memory that is given back, and what it is filled with.
const PERTURB: (&str, &str) = ("glibc.malloc.perturb", "165");
const TUNABLES: &str = "GLIBC_TUNABLES";
/// How mimalloc, which serves Rust, treats pages: small ones (huge pages are zeroed whole by the kernel for whoever touches a
/// corner), given back after five seconds of not being used. Each costs more than wiping does (`docs/adr/0009`).
const PAGES: [(&str, &str); 2] = [("MIMALLOC_ALLOW_THP", "0"), ("MIMALLOC_PURGE_DELAY", "5000")];
/// Set in a process that was started again. A loader that does not let tunables through must not make it go on for ever.
pub(crate) const AGAIN: &str = "STRONGROOM_STARTED_AGAIN";

/// Starts this process's program again, in its place, with its allocators set, which read what they are told before `main` alone.
///
/// glibc's fills whatever is freed. Our own allocator zeroes what Rust gives back; zstd, a C library, frees contexts with pieces of
/// rows in them. Whatever somebody has set stays (`glibc.malloc.perturb=0` is off), and where there is no glibc nothing is done.
///
/// # Errors
/// That the program could not be started again: this process goes on as it is.
pub(crate) fn start_again_with_allocators_set() -> io::Result<()> {
    if cfg!(not(all(target_os = "linux", target_env = "gnu"))) || std::env::var_os(AGAIN).is_some() {
        return Ok(());
    }
    let mut arguments = std::env::args_os();
    let mut again = Command::new(std::env::current_exe()?);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    again.args(arguments).env(AGAIN, "1");
    let set = std::env::var(TUNABLES).unwrap_or_default();
    if !set.split(':').any(|one| one.split('=').next() == Some(PERTURB.0)) {
        let own = format!("{}={}", PERTURB.0, PERTURB.1);
        again.env(TUNABLES, if set.is_empty() { own } else { format!("{set}:{own}") });
    }
    for (name, value) in PAGES.into_iter().filter(|(name, _)| std::env::var_os(name).is_none()) {
        again.env(name, value);
    }
    Err(again.exec())
}

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

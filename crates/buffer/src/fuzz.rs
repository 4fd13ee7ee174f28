//! The door for fuzzers.

/// Placeholder.
pub fn fuzz_replay(_data: &[u8]) {}

//! Terms of a text, and filters that tell where a term is not: what ingest writes into a block and query asks.
//!
//! A *term* is a maximal run of letters and digits, case folded, as KQL's `has` means it. The rows of a block are taken in
//! *slices*; for each slice and text column a filter holds the terms met. It may say that a term is there when it is not (once
//! in 256), never the other way. Bytes and rules are in `docs/formats/terms.md`: the hash, the letters and the arithmetic are
//! part of the format.
//!
//! ```text
//! text ─fold─▶ runs of letters ─xxh3─▶ hash ─high bits─▶ part of the block's filters ─▶ slices that may hold it
//! ```

mod fuse;
mod group;
mod layout;
mod split;

pub use group::{Cut, Group, GroupBuilder, Named};
pub use layout::{Directory, Gathered, Part, build, build_with_whole};
pub use split::{Splitter, fold, is_letter, terms_of};

/// The key of the directory in a Parquet file's metadata.
pub const DIRECTORY_KEY: &str = "strongroom.terms";

/// Shorter terms are not kept, in bytes of the folded term.
pub const TERM_BYTES_MIN: usize = 3;

/// The hash of a folded term: XXH3-64 without a seed, never 0.
#[must_use]
pub fn hash(term: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(term).max(1)
}

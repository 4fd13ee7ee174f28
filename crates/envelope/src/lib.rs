//! Sealed bytes: what log data looks like once it leaves memory, and the only place that knows a data cipher.
//!
//! Pure on purpose: no I/O, no clock, no async. Keys and bytes in, bytes out, so that all of it can be fuzzed and
//! read in one sitting. Start at [`seal`] and [`KeyGuard`]; the bytes are in `header.rs` and `chunked.rs`.
//!
//! ```text
//! AEK ─HKDF─▶ purpose key ─▶ workspace key ─C2SP(salt, context)─▶ DEK, commitment ─AES-256-GCM─▶ chunk 0 │ chunk 1 │ …
//! MMK ─wraps─▶ AEK records, infrastructure keys, cache keys
//! AEK ─HKDF─▶ seed ─▶ X25519 pair ◀─HPKE─ rows taken in while the AEK is away
//! ```

#![allow(clippy::missing_panics_doc, reason = "an expect here states what this crate itself makes true, nothing a caller can break")]

mod aead;
mod cache;
mod cell;
mod chunked;
mod error;
pub mod fuzz;
mod guard;
mod header;
mod key;
mod mmk;
mod object;
mod opener;
mod sealed;
mod secret;
mod spill;
mod wal;
mod wrapped;

#[cfg(test)]
mod vectors;

pub use cache::{CacheKey, PartKey};
pub use cell::{CellPlace, open_cell, open_workspace_secret, seal_cell, seal_workspace_secret};
pub use error::{GuardError, OpenError, SealError};
pub use guard::KeyGuard;
pub use header::{Header, ObjectKind};
pub use mmk::Mmk;
pub use object::{open, seal, sealed_len};
pub use opener::ObjectOpener;
pub use sealed::{BufferCipher, BufferKey};
pub use secret::{Aek, InfrastructureKey, WorkspaceSecret};
pub use spill::{SpillKey, StreamId, StreamOpener, StreamSealer};
pub use wal::SegmentCipher;
pub use wrapped::{RecordIds, WrappedAek};

/// Header, salt and commitment: what stands before the first chunk. Bytes.
pub const PREFIX_LEN: usize = Header::LEN + chunked::PREAMBLE_LEN;
/// Plaintext bytes of every chunk but the last, which is shorter (C2SP chunked-encryption).
pub const CHUNK_LEN: usize = 16_384;
/// Bytes an authentication tag adds to each chunk.
pub const TAG_LEN: usize = 16;

//! The write-ahead log: what its bytes are, how they get to the disk and how they are read back.
//!
//! ```text
//! segment = prefix 152 │ OPEN │ rows │ rows │ … │ SEAL      record = len 4 │ crc 4 │ seq 8 │ synced 8 │ ct │ tag 16
//! ```

pub(crate) mod frame;
pub(crate) mod payload;
pub(crate) mod replay;
pub(crate) mod scan;
pub(crate) mod segment;
pub(crate) mod stream;
pub(crate) mod trail;

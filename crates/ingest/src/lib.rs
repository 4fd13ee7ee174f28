//! The write path: how rows that arrive become blocks, and how small blocks become fewer.
//!
//! One pass from a body's bytes to Arrow columns, one record in the log, one ack; later a memtable is frozen, sorted,
//! written as Parquet, sealed and committed. It knows Parquet's writer and nothing of plans, HTTP or how keys are come
//! by. Start at [`Intake`]; the typing rules are in [`decode`], the file layout in [`encode`].
//!
//! ```text
//! body ─inflate─▶ bytes ─decode─▶ columns ─append─▶ log + memtable ─▶ ack
//!                                                      └─freeze─▶ windows ─encode─▶ Parquet ─seal─▶ put ─▶ commit ─▶ settle
//!                                    blocks of one (table, window, epoch) ─compact─▶ one block
//! ```

mod away;
mod budget;
mod buffered;
mod compact;
mod config;
mod declare;
pub mod decode;
mod decoding;
mod dedup;
pub mod encode;
mod error;
mod flush;
mod gate;
mod groups;
mod inflate;
mod intake;
mod maintain;
mod own;
mod publish;
mod request;
mod restore;
mod rewrite;
mod schemas;
mod shred;
pub mod stream;
#[cfg(test)]
mod tests;

pub use budget::{Budget, Share};

pub use config::{CompactConfig, FlushConfig, IngestConfig, RequestLimits};
pub use error::{BadReason, BadRecord, IngestError};
pub use groups::Grouped;
pub use inflate::inflate;
pub use intake::{Barrier, IngestDeps, Intake, REJECTED_TABLE};
pub use own::OWN_TABLES;
pub use request::{CompactReport, Encoding, FlushReport, Format, IngestReply, IngestRequest, OnError, ShredReport, Taken};
pub use restore::{Opened, Waiting, Witness};

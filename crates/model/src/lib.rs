//! The nouns of Strongroom: what a workspace, a table, a column, a time range and an id are.
//!
//! Pure on purpose: no I/O, no clock, no async, nothing of ours below it. Every other crate speaks in these words,
//! so two crates that share something share it here. Start at [`Epoch`] and [`TableSchema`].
//!
//! ```text
//! workspace ─has─▶ table ─rows in─▶ window (an hour, or a day for late rows) ─sealed as─▶ block
//! account   ─has─▶ epoch (one AEK's reign) ─seals─▶ blocks, WAL segments, cells
//! ```

mod counts;
mod epoch;
mod error;
mod id;
mod name;
mod policy;
mod position;
mod schema;
mod stats;
pub mod terms;
mod time;

pub use counts::{BlockCounts, COUNTED_VALUES_MAX, ColumnCounts, fuzz_block_counts};
pub use epoch::{Epoch, KeyClass};
pub use error::ErrorKind;
pub use id::{AccountId, AekId, NodeId, ObjectId, PrincipalId, TableId, WorkspaceId};
pub use name::{NameError, TableName, WorkspaceName, check_column_name};
pub use policy::{NoSuchPolicy, WhileRevoked};
pub use position::Position;
pub use schema::{Column, ColumnType, DYNAMIC_EXTENSION, TIME_COLUMN, TableSchema};
pub use stats::{BlockStats, ColumnStats, StatValue};
pub use time::{MAX_TIME_NS, MIN_TIME_NS, TimeRange, Window, WindowLength};

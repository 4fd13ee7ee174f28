//! The read path: KQL or SQL in, batches of rows out, over memtables and sealed blocks as if they were one table.
//!
//! This crate alone knows DataFusion. It leaves out HTTP (the gateway pipes what [`output`] makes) and writing.
//! Start at [`Engine::run`]; how a table looks to the planner is in `table`, how sealed blocks are read in `blk`.
//!
//! ```text
//! text ─parse─▶ names ─resolve─▶ pinned snapshots ─bind─▶ logical plan ─allow-list─▶ prune by window, time, sealed stats
//!      ─▶ blk:// ranges opened under guard ─▶ Parquet ─┐
//!      ─▶ memtable batches ────────────────────────────┴▶ union ─▶ operators ─▶ egress gate ─▶ Answer
//! ```

mod aged;
mod answer;
mod blk;
mod config;
mod context;
mod counted;
mod engine;
mod error;
mod explain;
mod footers;
pub(crate) mod functions;
mod kql;
mod lineage;
mod memtable;
mod newest;
mod openers;
pub mod output;
mod pin;
mod prepared;
mod prune;
mod readahead;
pub mod reference;
pub(crate) mod resolve;
mod run;
mod sandbox;
mod saved;
mod session;
mod span;
mod spill;
mod stored;
mod table;
mod terms;
pub mod texts;
mod thin;
mod transform;
mod warm;

#[cfg(test)]
mod rig;
#[cfg(test)]
mod tests;

pub use answer::{Answer, BatchStream, Egress, Partial, QueryStats, Render, TableInfo};
pub use config::{Language, Limits, Neighbours, QueryConfig, QueryRequest};
pub use engine::{Engine, QueryDeps};
pub use error::{Place, QueryError};
pub use saved::{LANGUAGE_VERSION, SavedAs, SavedSearch, SearchTag};
pub use stored::{FunctionInfo, StoredFunction};
pub use transform::{Shaped, TRANSFORM_TIMEOUT};

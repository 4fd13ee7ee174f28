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

mod answer;
mod config;
mod engine;
mod error;
pub(crate) mod functions;
mod kql;
pub mod output;
pub(crate) mod resolve;

pub use answer::{Answer, BatchStream, Partial, QueryStats, Render, TableInfo};
pub use config::{Language, Limits, QueryConfig, QueryRequest};
pub use engine::{Engine, QueryDeps};
pub use error::{Place, QueryError};

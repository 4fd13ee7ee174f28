//! The question, and the bounds within which it is answered.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use strongroom_model::{PrincipalId, TimeRange, WorkspaceId};

use crate::QueryError;

/// Bounds of the engine.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueryConfig {
    /// Threads of the query runtime (CPU of scans, joins, sorts). Default 2.
    pub threads: usize,
    /// Queries that run at once. Default 5 (Azure's per-user concurrency).
    pub concurrent_max: usize,
    /// Queries that may wait for a place; more are turned away. Default 200 (Azure's queue).
    pub waiting_max: usize,
    /// Longest wait for a place in milliseconds. Default 30,000.
    pub wait_max_ms: u64,
    /// Memory shared by all running queries in bytes. Default 512 MiB.
    pub memory_bytes: usize,
    /// Parsed Parquet footers kept in memory, in bytes. Default 64 MiB.
    pub metadata_cache_bytes: usize,
    /// Token filters of blocks kept in memory, in bytes. Default 64 MiB.
    pub filter_cache_bytes: usize,
    /// Most blocks whose token filters one query looks into, the newest first; 0 turns them off. Default 20,000.
    pub filter_blocks_max: usize,
    /// Openers of blocks kept for the next query, each about 2 KiB. Default 4,096.
    pub openers_max: usize,
    /// Plans of `transformKql` kept for the next batch, each some tens of KiB; 0: each batch is planned anew. Default 256.
    pub transforms_kept_max: usize,
    /// Open statistics and schemas kept in memory, in bytes. Default 64 MiB.
    pub stats_cache_bytes: u64,
    /// Encrypted spill on disk for all running queries in bytes; 0 forbids spilling. Default 4 GiB.
    pub spill_bytes: u64,
    /// Default time for a query in milliseconds. Default 60,000.
    pub time_max_ms: u64,
    /// Longest time a caller may ask for in milliseconds. Default 600,000 (Azure's 10 minutes).
    pub time_cap_ms: u64,
    /// Default number of rows in an answer. Default 500,000 (Azure's limit).
    pub rows_max: u64,
    /// Default bytes of an answer, as columns in memory. Default 64,000,000 (Azure's limit).
    pub bytes_max: u64,
    /// Longest query text in bytes. Default 65,536.
    pub text_max_bytes: usize,
    /// Deepest nesting of a SQL text. Default 50.
    pub recursion_max: usize,
    /// Most blocks one query may read after pruning. Default 20,000.
    pub blocks_max: usize,
    /// Most blocks of a table's time range that are looked at to prune them. Default 100,000.
    pub blocks_looked_at_max: u64,
    /// Blocks whose place in the catalog is kept in memory, some 300 bytes each. Default 200,000.
    pub blocks_held_max: usize,
    /// Blocks whose ends are read ahead of a scan, while it reads those before them; 0: none. Default 16.
    pub readahead_blocks: usize,
    /// Blocks whose ends are opened again after a start, and when a key is back, those that arrived last, before anybody asks, and
    /// whose token filters are read while they fill less than half of `filter_cache_bytes`; 0: none. Default 1,000.
    pub warm_blocks: u32,
    /// Most tables one query may name. Default 100.
    pub tables_max: usize,
    /// Whether counts are taken from what was counted when blocks were written, where that says enough, and the blocks not read.
    /// Default true.
    pub counts: bool,
    /// Rows per batch inside the engine. Default 8,192.
    pub batch_rows: usize,
}

impl Default for QueryConfig {
    fn default() -> Self {
        Self {
            threads: 2,
            concurrent_max: 5,
            waiting_max: 200,
            wait_max_ms: 30_000,
            memory_bytes: 512 << 20,
            metadata_cache_bytes: 64 << 20,
            filter_cache_bytes: 64 << 20,
            filter_blocks_max: 20_000,
            openers_max: 4_096,
            transforms_kept_max: 256,
            stats_cache_bytes: 64 << 20,
            spill_bytes: 4 << 30,
            time_max_ms: 60_000,
            time_cap_ms: 600_000,
            rows_max: 500_000,
            bytes_max: 64_000_000,
            text_max_bytes: 64 << 10,
            recursion_max: 50,
            blocks_max: 20_000,
            blocks_looked_at_max: 100_000,
            blocks_held_max: 200_000,
            readahead_blocks: 16,
            warm_blocks: 1_000,
            tables_max: 100,
            counts: true,
            batch_rows: 8_192,
        }
    }
}

/// The language of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Kusto Query Language.
    #[default]
    Kql,
    /// SQL, PostgreSQL flavoured; names are case-sensitive as written.
    Sql,
}

/// What one query may use; `None` is the engine's default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Wall time; capped by `time_cap_ms`.
    pub time: Option<Duration>,
    /// Rows in the answer; beyond it the answer is cut and [`crate::QueryStats::partial`] says so.
    pub rows: Option<u64>,
    /// Bytes of the answer in memory, likewise.
    pub bytes: Option<u64>,
}

/// A question.
#[derive(Clone, Debug)]
pub struct QueryRequest {
    /// Whose tables.
    pub workspace: WorkspaceId,
    /// Who asks.
    pub principal: PrincipalId,
    /// The text.
    pub text: String,
    /// Its language.
    pub language: Language,
    /// Only rows with `TimeGenerated` inside.
    pub timespan: Option<TimeRange>,
    /// Bounds for this query.
    pub limits: Limits,
    /// Tell how it would be answered instead of answering.
    pub explain: bool,
    /// Values for what the text declares with `declare query_parameters`.
    pub parameters: serde_json::Map<String, serde_json::Value>,
    /// Who finds the workspaces that `workspace("name")` means; without one there are none but the one asked.
    pub neighbours: Option<Arc<dyn Neighbours>>,
}

impl QueryRequest {
    /// A question with nothing said beside its text.
    #[must_use]
    pub fn new(workspace: WorkspaceId, principal: PrincipalId, text: impl Into<String>, language: Language) -> Self {
        Self {
            workspace,
            principal,
            text: text.into(),
            language,
            timespan: None,
            limits: Limits::default(),
            explain: false,
            parameters: serde_json::Map::new(),
            neighbours: None,
        }
    }
}

/// Other workspaces, as far as whoever asks may ask them.
#[async_trait]
pub trait Neighbours: fmt::Debug + Send + Sync {
    /// The workspace of that name or id. `None`: there is none, or none that the caller may ask; the two look alike.
    ///
    /// # Errors
    /// What the catalog says.
    async fn find(&self, name: &str) -> Result<Option<WorkspaceId>, QueryError>;

    /// Workspaces, as [`find`](Self::find) knows them, whose tables are asked along with those of the one asked: a table's name means
    /// the rows of all tables of that name.
    fn beside(&self) -> &[String] {
        &[]
    }
}

//! Many blocks in one house, some files over and over: what a term that is nowhere costs, with groups of filters and without.

use std::time::Duration;

use futures::TryStreamExt;
use strongroom_catalog::{FlushCommit, LiveBlock, PendingBlock};
use strongroom_envelope::{CellPlace, Header, ObjectKind, seal, seal_cell};
use strongroom_ingest::Grouped;
use strongroom_ingest::encode::Encoded;
use strongroom_model::{ObjectId, Position, PrincipalId, TimeRange, Window, WindowLength};
use strongroom_query::{Engine, Language, Limits, QueryConfig, QueryRequest};
use strongroom_store::{ObjectKey, StoredBlock};

use crate::clock::process_cpu;
use crate::{House, TABLE};

/// What a question cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Rows of the answer.
    pub rows: usize,
    /// Blocks in the time range, and blocks left after pruning.
    pub blocks: (u64, u64),
    /// Reads of objects.
    pub reads: u64,
    /// Sealed bytes read.
    pub bytes: u64,
    /// CPU of the process, milliseconds.
    pub cpu_ms: f64,
}

impl House {
    /// Puts `count` live blocks made of these files, in turn, one an hour back from `end` (seconds since 1970), into a table that has
    /// columns already. Their times are those of their hours in the catalog alone.
    ///
    /// # Panics
    /// If anything fails.
    pub fn fleet(&self, table: &str, files: &[Encoded], count: usize, end: i64) {
        let (workspace, table) = (self.workspace(), self.table_of(self.workspace(), table));
        self.runtime().block_on(async {
            // A day that is about to expire gets no group.
            let days = u32::try_from(count / 24 + 60).expect("few");
            self.catalog.table_set_retention(table.id, Some(days)).await.expect("the catalog");
            let epoch = self.keys.write_epoch(self.keys.shared_account()).await.expect("an epoch");
            let purpose = strongroom_keys::Purpose::Ingest;
            let guard = self.keys.guard(epoch, workspace, PrincipalId::NIL, purpose).await.expect("a guard");
            let now = self.world.clock.boot();
            let mut reached = self.catalog.pin(table.id).await.expect("the catalog").flushed.iter().map(|(_, at)| at.0).max().unwrap_or(0);
            let places: Vec<(Window, &Encoded)> = (0..count)
                .map(|n| {
                    let start = end.div_euclid(3_600) * 3_600 - i64::try_from(n + 1).expect("few") * 3_600;
                    (Window { start, length: WindowLength::Hour }, &files[n % files.len()])
                })
                .collect();
            for some in places.chunks(24) {
                let (mut pending, mut blocks) = (Vec::new(), Vec::new());
                for (window, file) in some {
                    let (ms, random) = self.world.id_seed();
                    let object = ObjectId::mint(ms, random);
                    let header = Header {
                        kind: ObjectKind::Block,
                        double: guard.is_double(),
                        aek: epoch.aek,
                        account: epoch.account,
                        workspace,
                        table: table.id,
                        window_start: window.start,
                        object,
                    };
                    let sealed = seal(&guard, now, &*self.world.rng, &header, &file.parquet).expect("a block");
                    let key = ObjectKey { account: epoch.account, workspace, table: table.id, window_start: window.start, object };
                    let place = CellPlace { epoch, workspace, table: table.id, row: object };
                    let stats = serde_json::to_vec(&file.stats).expect("statistics");
                    let stats = seal_cell(&guard, now, &*self.world.rng, &place, &stats).expect("a cell");
                    let ns = window.start * 1_000_000_000;
                    pending.push(PendingBlock {
                        object,
                        workspace,
                        table: table.id,
                        epoch,
                        window: *window,
                        through: Position(reached + 1),
                    });
                    blocks.push(LiveBlock {
                        object,
                        window: *window,
                        time: TimeRange { start: ns, end: ns + 3_599_000_000_000 },
                        rows: file.rows,
                        sealed_len: sealed.len() as u64,
                        plain_len: file.parquet.len() as u64,
                        sha256: [object.as_bytes()[15]; 32],
                        level: 1,
                        arrived_ms: 0,
                        stats,
                    });
                    let stored = StoredBlock { key, epoch, len: sealed.len() as u64, arrived_ms: 0 };
                    self.catalog.blocks_pend(self.writer, &pending[pending.len() - 1..]).await.expect("the catalog");
                    self.blocks.put(&stored, sealed.into(), &guard).await.expect("an object");
                }
                reached += 1;
                let through = Position(reached);
                let flush = FlushCommit { table: table.id, workspace, epoch, through, blocks, batches: Vec::new() };
                self.catalog.flush_commit(self.writer, &flush).await.expect("a commit");
            }
        });
    }

    /// Puts filters side by side as far as it goes.
    ///
    /// # Panics
    /// If it fails.
    #[must_use]
    pub fn group_filters(&self) -> Grouped {
        let mut all = Grouped::default();
        loop {
            // A pass makes so many and leaves the rest to the next.
            let made = self.runtime().block_on(self.intake.group_filters(self.workspace(), None)).expect("groups");
            if made.groups == 0 {
                return all;
            }
            all.groups += made.groups;
            all.blocks += made.blocks;
            all.bytes += made.bytes;
        }
    }

    /// Asks an engine that knows nothing yet, then again; in KQL, to the end.
    ///
    /// # Panics
    /// If it fails.
    #[must_use]
    pub fn ask_twice(&self, text: &str) -> [Cost; 2] {
        let config = QueryConfig {
            filter_cache_bytes: 1 << 30,
            stats_cache_bytes: 4 << 30,
            metadata_cache_bytes: 1 << 30,
            openers_max: 100_000,
            ..QueryConfig::default()
        };
        let engine = self.runtime().block_on(Engine::open(self.deps.clone(), config)).expect("an engine");
        // Where blocks lie and what their statistics say is in memory in either case.
        let warm = format!("{TABLE} | where status == -12345 | project trace_id");
        let _ = self.ask_of(&engine, &warm);
        [self.ask_of(&engine, text), self.ask_of(&engine, text)]
    }

    fn ask_of(&self, engine: &Engine, text: &str) -> Cost {
        let before = process_cpu();
        let (rows, stats) = self.runtime().block_on(async {
            let limits = Limits { time: Some(Duration::from_mins(10)), ..Limits::default() };
            let asked = QueryRequest { limits, ..QueryRequest::new(self.workspace(), PrincipalId::NIL, text, Language::Kql) };
            let answer = engine.run(asked).await.expect("a plan");
            let stats = answer.stats.clone();
            let batches: Vec<_> = answer.batches.try_collect().await.expect("an answer");
            (batches.iter().map(arrow::array::RecordBatch::num_rows).sum(), stats)
        });
        let cpu_ms = process_cpu().saturating_sub(before).as_secs_f64() * 1e3;
        Cost { rows, blocks: (stats.blocks_seen(), stats.blocks_kept()), reads: stats.reads(), bytes: stats.bytes_read(), cpu_ms }
    }
}

//! Many workspaces and tables in one house, and blocks that are in the catalog alone: what a large installation's catalog holds,
//! without its rows.

use bytes::Bytes;
use futures::TryStreamExt;
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use strongroom_catalog::{BlockRow, Shelf, TableRow};
use strongroom_envelope::{CellPlace, open_cell, seal_cell};
use strongroom_ingest::{Encoding, Format, IngestRequest, OnError};
use strongroom_keys::Purpose;
use strongroom_model::{PrincipalId, TimeRange, WorkspaceId};
use strongroom_query::{Language, QueryError, QueryRequest};

use crate::House;
use crate::house::insert_workspace;

/// Bytes of a cell that nobody may open: it would fail.
const BLANK_CELL: i64 = 300;
/// Made live in one transaction.
const STEP: i64 = 100_000;

/// What a question cost, and how it ended.
#[derive(Debug)]
pub struct Asked {
    /// The error's code, if it was one.
    pub refused: Option<&'static str>,
    /// Rows of the catalog read.
    pub catalog_rows: u64,
    /// Statistics opened.
    pub cells_opened: u64,
    /// Blocks in the time range.
    pub seen: u64,
    /// Blocks left after pruning.
    pub kept: u64,
}

impl House {
    /// Another workspace.
    ///
    /// # Panics
    /// If its name is taken.
    #[must_use]
    pub fn add_workspace(&self, name: &str) -> WorkspaceId {
        self.runtime().block_on(insert_workspace(&self.world, &self.catalog, &self.keys, name, false))
    }

    /// A workspace by its name.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn workspace_named(&self, name: &str) -> WorkspaceId {
        let all = self.runtime().block_on(self.catalog.workspaces()).expect("the catalog");
        all.iter().find(|row| row.name.as_str() == name).expect("a workspace of that name").id
    }

    /// Sends a body.
    ///
    /// # Panics
    /// If it is refused.
    pub fn send(&self, workspace: WorkspaceId, table: &str, body: Bytes) {
        let request = IngestRequest {
            workspace,
            principal: PrincipalId::NIL,
            table: table.parse().expect("a table name"),
            body,
            encoding: Encoding::Identity,
            format: Format::Json,
            time_field: None,
            batch_id: None,
            on_error: OnError::Refuse,
            through: None,
        };
        self.runtime().block_on(self.intake.ingest(request)).expect("rows that are taken");
    }

    /// Makes blocks of what is in memory of a workspace; how many.
    ///
    /// # Panics
    /// If that fails.
    #[must_use]
    pub fn flush_of(&self, workspace: WorkspaceId) -> u64 {
        self.runtime().block_on(self.intake.flush(workspace, None)).expect("a flush").blocks
    }

    /// A table's row in the catalog.
    ///
    /// # Panics
    /// If nothing was sent to it yet.
    #[must_use]
    pub fn table_of(&self, workspace: WorkspaceId, table: &str) -> TableRow {
        let name = table.parse().expect("a table name");
        self.runtime().block_on(self.catalog.table_get(workspace, &name)).expect("the catalog").expect("rows were sent")
    }

    /// Asks in KQL, reads to the end, and tells what it cost.
    ///
    /// # Panics
    /// If rows stop coming.
    #[must_use]
    pub fn cost_of(&self, workspace: WorkspaceId, text: &str) -> Asked {
        let request = QueryRequest::new(workspace, PrincipalId::NIL, text, Language::Kql);
        let refused = |error: &QueryError| Asked { refused: Some(error.code()), catalog_rows: 0, cells_opened: 0, seen: 0, kept: 0 };
        self.runtime().block_on(async {
            let answer = match self.engine.run(request).await {
                Ok(answer) => answer,
                Err(error) => return refused(&error),
            };
            let stats = answer.stats.clone();
            answer.batches.try_for_each(|_| std::future::ready(Ok(()))).await.expect("rows to the end");
            Asked {
                refused: None,
                catalog_rows: stats.catalog_rows(),
                cells_opened: stats.cells_opened(),
                seen: stats.blocks_seen(),
                kept: stats.blocks_kept(),
            }
        })
    }

    /// A connection of our own to the catalog's file, for filling it.
    ///
    /// # Panics
    /// If it does not open.
    #[must_use]
    pub fn catalog_file(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new()
            .filename(self.dir().join("catalog.sqlite"))
            .synchronous(SqliteSynchronous::Off)
            .pragma("cache_size", "-262144")
            .pragma("wal_autocheckpoint", "20000");
        self.runtime().block_on(options.connect()).expect("the catalog's file")
    }

    /// Makes `count` blocks like `like` live over the `hours` that end with the hour of `end` (seconds since 1970), evenly, as a
    /// flush makes them; `large` ones are not worth merging. Statistics are blank but for those of the last `open_hours`, which are
    /// `like`'s.
    ///
    /// # Panics
    /// If anything fails.
    pub fn phantoms(&self, file: &mut SqliteConnection, like: &BlockRow, spread: &Spread) {
        self.runtime().block_on(self.fill(file, like, spread));
    }

    async fn fill(&self, file: &mut SqliteConnection, like: &BlockRow, spread: &Spread) {
        let last = spread.end.div_euclid(3_600) * 3_600;
        let sealed: i64 = if spread.large { 100 << 20 } else { 1 << 20 };
        let mut done = 0;
        while done < spread.count {
            let until = (done + STEP).min(spread.count);
            let mut tx = file.begin_with("BEGIN IMMEDIATE").await.expect("a transaction");
            let base: i64 =
                sqlx::query_scalar("SELECT coalesce(max(n), 0) + 1 FROM block_stats").fetch_one(&mut *tx).await.expect("a number");
            sqlx::query(
                "WITH RECURSIVE n (i) AS (SELECT ?5 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?6)
                 INSERT INTO blocks (table_id, window_start, id, window_len, workspace, account, aek, state, since_ms, writer, through)
                 SELECT ?1, ?7 - (i % ?8) * 3600, randomblob(16), 3600, ?2, ?3, ?4, 0, 0, 1, ?9 + i - ?5 FROM n",
            )
            .bind(&like.table.as_bytes()[..])
            .bind(&like.workspace.as_bytes()[..])
            .bind(&like.epoch.account.as_bytes()[..])
            .bind(&like.epoch.aek.as_bytes()[..])
            .bind(done)
            .bind(until)
            .bind(last)
            .bind(spread.hours)
            .bind(base)
            .execute(&mut *tx)
            .await
            .expect("pending blocks");
            sqlx::query(
                "INSERT INTO block_stats (n, cell) SELECT through, zeroblob(?1) FROM blocks INDEXED BY blocks_pending WHERE state = 0",
            )
            .bind(BLANK_CELL)
            .execute(&mut *tx)
            .await
            .expect("cells");
            sqlx::query(
                "UPDATE blocks SET state = 1, time_min = window_start * 1000000000, time_max = window_start * 1000000000 + 3599999999999,
                        rows = 100000, sealed_len = ?1, plain_len = ?1 - 2000, sha256 = randomblob(32), added_seq = 0, arrived_ms = window_start * 1000,
                        stats = through
                 WHERE id IN (SELECT id FROM blocks INDEXED BY blocks_pending WHERE state = 0)",
            )
            .bind(sealed)
            .execute(&mut *tx)
            .await
            .expect("live blocks");
            tx.commit().await.expect("a commit");
            done = until;
        }
        self.fill_cells(file, like, last, spread.open_hours).await;
    }

    /// Gives the newest blocks statistics that open.
    async fn fill_cells(&self, file: &mut SqliteConnection, like: &BlockRow, last: i64, hours: i64) {
        let guard = self.keys.guard(like.epoch, like.workspace, PrincipalId::NIL, Purpose::Maintain).await.expect("a guard");
        let now = self.world.clock.boot();
        let place = |row: &BlockRow| CellPlace { epoch: row.epoch, workspace: row.workspace, table: row.table, row: row.object };
        let plain = open_cell(&guard, now, &place(like), &like.stats).expect("statistics");
        let range = TimeRange { start: (last - hours * 3_600) * 1_000_000_000, end: i64::MAX };
        let seq = self.catalog.pin(like.table).await.expect("the catalog").seq;
        let found = self.catalog.blocks_at(like.table, seq, range, &Shelf::new(0), u64::MAX).await.expect("blocks").blocks;
        let mut tx = file.begin_with("BEGIN IMMEDIATE").await.expect("a transaction");
        for row in found.iter().filter(|row| row.object != like.object) {
            let cell = seal_cell(&guard, now, &*self.world.rng, &place(row), &plain).expect("a cell");
            sqlx::query("UPDATE block_stats SET cell = ?1 WHERE n = (SELECT stats FROM blocks WHERE id = ?2)")
                .bind(cell)
                .bind(&row.object.as_bytes()[..])
                .execute(&mut *tx)
                .await
                .expect("a cell is put");
        }
        tx.commit().await.expect("a commit");
    }
}

/// How made-up blocks lie.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// How many.
    pub count: i64,
    /// Over so many hours.
    pub hours: i64,
    /// Which end here, seconds since 1970.
    pub end: i64,
    /// Blocks of 100 MiB; else of 1 MiB.
    pub large: bool,
    /// Hours whose statistics can be opened.
    pub open_hours: i64,
}

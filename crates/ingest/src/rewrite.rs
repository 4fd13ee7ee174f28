//! Blocks of one epoch sealed anew in another: the same Parquet bytes under a fresh DEK of another AEK.
//!
//! A block is opened under its own epoch's guard and sealed under the new one's; only the seal, the statistics' cell and, if the
//! account is another, the place change. As with compaction nothing is removed but by the one commit that makes the new block
//! live. Stopping half-way leaves a block announced and not live, which the sweep takes.

use strongroom_catalog::RewriteCommit;
use strongroom_envelope::{CellPlace, open_cell, seal_cell};
use strongroom_keys::Purpose;
use strongroom_model::{AccountId, Epoch, ObjectId, Position, PrincipalId, TableId, WorkspaceId};

use crate::IngestError;
use crate::decoding::blocking;
use crate::encode::Encoded;
use crate::intake::Intake;
use crate::publish::{BlockPlace, Points, commit, publish};

static POINTS: Points =
    Points { encode: "rewrite.encode", encrypt: "rewrite.encrypt", put: "rewrite.put", put_unknown: "rewrite.put_unknown" };

impl Intake {
    /// Gives the epoch `to` every column that a lineage of `from` has, for one workspace's tables or for all; and its data collection rules.
    ///
    /// # Errors
    /// [`IngestError`].
    pub async fn carry_columns(&self, from: Epoch, to: Epoch, workspace: Option<WorkspaceId>) -> Result<(), IngestError> {
        for (table, of) in self.deps.catalog.lineages(from.aek).await? {
            if workspace.is_some_and(|only| only != of) {
                continue;
            }
            let old = self.deps.keys.guard(from, of, PrincipalId::NIL, Purpose::Maintain).await?;
            let new = self.deps.keys.guard(to, of, PrincipalId::NIL, Purpose::Ingest).await?;
            self.schemas.carry(of, table, &old, &new).await?;
        }
        self.carry_rules(from, to, workspace).await
    }

    /// Seals the data collection rules of `from` anew in `to`. One that is changed or deleted meanwhile is left alone.
    async fn carry_rules(&self, from: Epoch, to: Epoch, workspace: Option<WorkspaceId>) -> Result<(), IngestError> {
        for row in self.deps.catalog.collection_rules_under(from.aek).await? {
            if workspace.is_some_and(|only| only != row.workspace) {
                continue;
            }
            let (cell_id, cell) = self.carry_cell(from, to, row.workspace, row.cell_id, &row.cell).await?;
            self.deps.catalog.collection_rule_reseal(row.id, row.cell_id, to.aek, cell_id, &cell).await?;
        }
        Ok(())
    }

    /// A cell of a workspace's, sealed anew: its new row and its bytes.
    async fn carry_cell(
        &self,
        from: Epoch,
        to: Epoch,
        workspace: WorkspaceId,
        row: ObjectId,
        cell: &[u8],
    ) -> Result<(ObjectId, Vec<u8>), IngestError> {
        let world = &self.deps.world;
        let old = self.deps.keys.guard(from, workspace, PrincipalId::NIL, Purpose::Maintain).await?;
        let new = self.deps.keys.guard(to, workspace, PrincipalId::NIL, Purpose::Ingest).await?;
        let place = |epoch, row| CellPlace { epoch, workspace, table: TableId::NIL, row };
        let plain = open_cell(&old, world.clock.boot(), &place(from, row), cell)?;
        let (ms, random) = world.id_seed();
        let id = ObjectId::mint(ms, random);
        let cell = seal_cell(&new, world.clock.boot(), &*world.rng, &place(to, id), &plain)?;
        Ok((id, cell))
    }

    /// Whether requests wait, sealed to an epoch's key, until that is there to open them.
    #[must_use]
    pub fn awaits(&self, epoch: Epoch) -> bool {
        self.deps.sealed.segments().iter().any(|segment| segment.epoch == epoch)
    }

    /// Tables with rows of an account's epochs that are in no block; and whether there are rows of which nobody knows whose they are
    /// while their key is away: a log that was not read since the start, or requests that are kept sealed.
    #[must_use]
    pub fn unflushed(&self, account: AccountId) -> (Vec<TableId>, bool) {
        let (tables, unread) = self.deps.buffer.unflushed(account);
        (tables, unread || self.waiting(account).segments > 0)
    }

    /// Seals some block of the epoch `from` anew in `to`, of one workspace or of any. Its stored bytes; `None`: there is none left.
    ///
    /// # Errors
    /// [`IngestError`]; the block is as it was then.
    pub async fn rewrite_next(&self, from: Epoch, to: Epoch, workspace: Option<WorkspaceId>) -> Result<Option<u64>, IngestError> {
        // What is merged meanwhile would be opened for nothing.
        let _turn = self.compacting.lock().await;
        let Some(row) = self.deps.catalog.blocks_under(from, workspace, 1).await?.pop() else { return Ok(None) };
        let old = self.deps.keys.guard(from, row.workspace, PrincipalId::NIL, Purpose::Maintain).await?;
        let new = self.deps.keys.guard(to, row.workspace, PrincipalId::NIL, Purpose::Ingest).await?;
        let parquet = self.read_block(&row, &old).await?;
        let cell = CellPlace { epoch: from, workspace: row.workspace, table: row.table, row: row.object };
        let (key, now, sealed) = (old.clone(), self.deps.world.clock.boot(), row.stats.clone());
        let stats = blocking(move || open_cell(&key, now, &cell, &sealed)).await??;
        let stats = serde_json::from_slice(&stats).map_err(|_| IngestError::Corrupt { what: "a block's statistics" })?;
        let encoded = Encoded { parquet: parquet.into(), stats, time: row.time, rows: row.rows };
        let place = BlockPlace::mint(&self.deps.world, to, row.workspace, row.table, row.window);
        self.deps.catalog.blocks_pend(self.deps.writer, &[place.pending(Position::default())]).await?;
        let output = publish(&self.deps, &new, place, Box::new(move || Ok(encoded)), row.level, row.arrived_ms, &POINTS).await?;
        let done = RewriteCommit { table: row.table, workspace: row.workspace, to, input: row.object, output };
        commit(&self.deps, || self.deps.catalog.rewrite_commit(self.deps.writer, &done)).await?;
        metrics::counter!("ingest_rewritten_blocks_total").increment(1);
        metrics::counter!("ingest_rewritten_bytes_total").increment(row.sealed_len);
        tracing::debug!(table = %row.table, block = %row.object, bytes = row.sealed_len, "block sealed anew");
        Ok(Some(row.sealed_len))
    }
}

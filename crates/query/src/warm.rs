//! After a start, or when a key is back: what every question asks of the newest blocks first is opened again, behind everything else.
//!
//! Places in the catalog, footers, filters and statistics are in memory alone: a restart forgets them, and so does a key that goes.
//! Here no question waits, and none is asked on anybody's behalf: what is opened only fills the caches, under the guards of the
//! blocks, and goes when they go. What fails is left to the question that comes there.
//!
//! A process that has just begun also pays once for code nobody has run yet and for tables made when they are first used. Two texts
//! that name no table are run for that, before any block is opened.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::StreamExt;
use strongroom_catalog::BlockRow;
use strongroom_keys::{Pass, Purpose};
use strongroom_model::{AccountId, PrincipalId, TableId, TimeRange, WorkspaceId};

use crate::context::QueryContext;
use crate::error::{catalog_error, key_error, shut_error};
use crate::readahead::ahead;
use crate::table::Shared;
use crate::terms::{self, Candidate};
use crate::{Engine, Language, QueryError};

/// What questions are made of mostly, over rows of their own.
pub(crate) const REHEARSAL: [(&str, Language); 2] = [
    (
        "datatable(TimeGenerated: datetime, level: string, message: string, ms: real) \
         [datetime(2026-01-01), 'info', 'it went well', 1.5, datetime(2026-01-02), 'error', 'it did not', 2.5] \
         | where TimeGenerated > datetime(2025-01-01) and message has 'did' and level in ('error', 'fatal') \
         | summarize n = count(), p = avg(ms) by level, bin(TimeGenerated, 1m) | top 10 by TimeGenerated desc",
        Language::Kql,
    ),
    ("select a, count(*) as n from (values ('x', 1), ('y', 2)) as t(a, b) where b > 1 group by a order by n desc limit 3", Language::Sql),
];

impl Engine {
    /// Opens the ends of the blocks of an account that arrived last, at most `query.warm_blocks` of them and as many as half of
    /// `query.metadata_cache_bytes` holds; then reads their filters, the last first, until half of `query.filter_cache_bytes` is full.
    /// Tells how many it opened.
    ///
    /// # Errors
    /// As the catalog's; of kind `KeyRevoked` or `Unavailable` if the account's key is away, or goes meanwhile.
    pub async fn warm(&self, account: AccountId) -> Result<u64, QueryError> {
        if self.config().warm_blocks == 0 {
            return Ok(0);
        }
        let newest = self.deps().catalog.live_since(account, 0, self.config().warm_blocks).await;
        let newest = newest.map_err(|error| catalog_error(&error))?;
        let mut tables: BTreeMap<TableId, Vec<&BlockRow>> = BTreeMap::new();
        for row in &newest {
            tables.entry(row.table).or_default().push(row);
        }
        let pass = self.deps().keys.pass(account).await.map_err(|error| shut_error(&error))?;
        if self.first_time() {
            self.rehearse(&pass).await;
        }
        let context = self.context(WorkspaceId::NIL, PrincipalId::NIL, pass, None, false);
        let shared = self.shared(&context);
        let mut opened = HashSet::new();
        'ends: for (table, rows) in tables {
            self.recollect(&shared, table, &rows).await?;
            for row in rows {
                context.check()?;
                if self.footers().is_half_full() {
                    break 'ends;
                }
                if ahead(self.look(&context, &shared, row)).await.is_ok() {
                    opened.insert(row.object);
                }
            }
        }
        for row in newest.iter().filter(|row| opened.contains(&row.object)) {
            context.check()?;
            if shared.filters.is_half_full() {
                break;
            }
            drop(ahead(self.look_whole(&context, &shared, row)).await);
        }
        Ok(opened.len() as u64)
    }

    /// Whatever becomes of it, somebody's question comes next.
    async fn rehearse(&self, pass: &Pass) {
        for (text, language) in REHEARSAL {
            match self.run_for_nobody(pass.clone(), text, language).await {
                Ok(mut answer) => while answer.batches.next().await.is_some() {},
                Err(error) => tracing::debug!(code = error.code(), "nothing was rehearsed"),
            }
        }
    }

    /// The places of the table's blocks, from the oldest of these on.
    async fn recollect(&self, shared: &Shared, table: TableId, rows: &[&BlockRow]) -> Result<(), QueryError> {
        let Some(start) = rows.iter().map(|row| row.time.start).min() else { return Ok(()) };
        let catalog = &self.deps().catalog;
        let pin = catalog.pin(table).await.map_err(|error| catalog_error(&error))?;
        let range = TimeRange { start, end: i64::MAX };
        // Too many to be looked at, or changed meanwhile: the question will say so.
        drop(catalog.blocks_at(table, pin.seq, range, &shared.shelf, shared.blocks_looked_at_max).await);
        Ok(())
    }

    async fn look(&self, context: &Arc<QueryContext>, shared: &Shared, row: &BlockRow) -> Result<(), QueryError> {
        terms::directory(shared, &self.candidate(context, row).await?).await.map(drop)
    }

    async fn look_whole(&self, context: &Arc<QueryContext>, shared: &Shared, row: &BlockRow) -> Result<(), QueryError> {
        terms::whole(shared, &self.candidate(context, row).await?).await
    }

    async fn candidate<'r>(&self, context: &Arc<QueryContext>, row: &'r BlockRow) -> Result<Candidate<'r>, QueryError> {
        let guard = self.deps().keys.guard(row.epoch, row.workspace, PrincipalId::NIL, Purpose::Maintain).await;
        let guard = guard.map_err(|error| key_error(&error, row.epoch))?;
        context.touch(guard.clone(), None);
        let stats = self.lineage().stats(context, row.table, &[(row, guard.clone())]).await?.pop().flatten();
        Ok(Candidate { row, stats, guard })
    }
}

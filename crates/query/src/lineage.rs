//! What a table looks like: the union of its epochs' newest schemas; and the opened statistics of its blocks.
//!
//! Both derive from rows: they are opened under guard, kept in memory only, and go when their epoch's key goes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use strongroom_catalog::{BlockRow, Catalog, SchemaRow};
use strongroom_envelope::{CellPlace, KeyGuard, open_cell};
use strongroom_keys::{KeyRing, Warrant};
use strongroom_model::{
    AccountId, AekId, BlockStats, Column, ColumnType, Epoch, ErrorKind, KeyClass, ObjectId, TIME_COLUMN, TableId, TableSchema, WorkspaceId,
};
use strongroom_world::World;

use crate::QueryError;
use crate::aged::Aged;
use crate::context::QueryContext;
use crate::error::{catalog_error, key_error, open_error, shut_error};

struct CachedSchema {
    versions: Vec<(AekId, u32)>,
    epochs: Vec<Epoch>,
    schema: Arc<TableSchema>,
}

struct CachedStats {
    epoch: Epoch,
    stats: Arc<BlockStats>,
}

/// Opens schemas and statistics, and remembers what it opened.
pub(crate) struct Lineage {
    world: World,
    catalog: Catalog,
    keys: Arc<KeyRing>,
    schemas: Mutex<HashMap<TableId, CachedSchema>>,
    accounts: Mutex<HashMap<AekId, AccountId>>,
    stats: Mutex<Aged<ObjectId, CachedStats>>,
}

impl Lineage {
    pub(crate) fn new(world: World, catalog: Catalog, keys: Arc<KeyRing>, stats_limit: u64) -> Self {
        let limit = usize::try_from(stats_limit).unwrap_or(usize::MAX);
        Self { world, catalog, keys, schemas: Mutex::default(), accounts: Mutex::default(), stats: Mutex::new(Aged::new(limit)) }
    }

    /// Drops what was opened under this epoch.
    pub(crate) fn forget(&self, epoch: Epoch) {
        self.schemas.lock().retain(|_, cached| !cached.epochs.contains(&epoch));
        self.stats.lock().retain(|cached| cached.epoch != epoch);
    }

    /// Leave for this query to read a table, remembered by its egress gate.
    pub(crate) async fn warrant(&self, context: &QueryContext, workspace: WorkspaceId, table: TableId) -> Result<Warrant, QueryError> {
        let asked = self.keys.warrant(context.principal, workspace, table).await;
        let warrant = asked.map_err(|error| shut_error(&error))?;
        context.entitle(warrant.clone());
        Ok(warrant)
    }

    /// A guard for this query to read a table with, remembered by its egress gate.
    pub(crate) async fn guard(&self, context: &QueryContext, table: TableId, epoch: Epoch) -> Result<KeyGuard, QueryError> {
        let warrant = context.warrant(table)?;
        // One guard serves all workspaces of an epoch, once their keys are in it.
        if let Some(guard) = context.guard(epoch).filter(|guard| guard.has_workspace(warrant.workspace())) {
            return Ok(guard);
        }
        let guard = self.keys.guard_for(epoch, &warrant).await.map_err(|error| key_error(&error, epoch))?;
        let pass = match guard.class() {
            KeyClass::Cmk => Some(self.keys.pass(epoch.account).await.map_err(|error| key_error(&error, epoch))?),
            // Nobody can take that away, whatever becomes of the cluster's other keys.
            KeyClass::Mmk => None,
        };
        context.touch(guard.clone(), pass);
        Ok(guard)
    }

    async fn account(&self, aek: AekId) -> Result<AccountId, QueryError> {
        if let Some(account) = self.accounts.lock().get(&aek) {
            return Ok(*account);
        }
        let row = self.catalog.aek(aek).await.map_err(|error| catalog_error(&error))?;
        let account = row.ok_or_else(|| QueryError::new(ErrorKind::Corrupt, "IntegrityError", format!("no record of key {aek}")))?.account;
        self.accounts.lock().insert(aek, account);
        Ok(account)
    }

    /// The columns of a table over all epochs that can be read. An epoch whose key is away adds nothing here:
    /// a query that needs its rows fails when it comes to them.
    ///
    /// # Errors
    /// The key's error if no epoch at all can be read.
    pub(crate) async fn schema(&self, warrant: &Warrant) -> Result<Arc<TableSchema>, QueryError> {
        // What is cached takes no key, but leave all the same.
        warrant.check(self.world.clock.boot()).map_err(|error| shut_error(&error))?;
        let cells = self.cells(warrant.table()).await?;
        self.schema_of(cells, warrant).await
    }

    async fn cells(&self, table: TableId) -> Result<Vec<SchemaRow>, QueryError> {
        self.catalog.schema_cells(table).await.map_err(|error| catalog_error(&error))
    }

    /// The columns that these cells of a table hold. If one is there no more, nor is its key: a rewriting ended, and what is there now
    /// is looked at.
    pub(crate) async fn schema_of(&self, mut cells: Vec<SchemaRow>, warrant: &Warrant) -> Result<Arc<TableSchema>, QueryError> {
        loop {
            let error = match self.union(&cells, warrant).await {
                Err(error) => error,
                found => return found,
            };
            let now = self.cells(warrant.table()).await?;
            if cells.iter().all(|cell| now.iter().any(|kept| kept.aek == cell.aek)) {
                return Err(error);
            }
            cells = now;
        }
    }

    async fn union(&self, cells: &[SchemaRow], warrant: &Warrant) -> Result<Arc<TableSchema>, QueryError> {
        let (workspace, table) = (warrant.workspace(), warrant.table());
        let versions: Vec<(AekId, u32)> = cells.iter().map(|cell| (cell.aek, cell.version)).collect();
        if let Some(cached) = self.schemas.lock().get(&table)
            && cached.versions == versions
        {
            return Ok(Arc::clone(&cached.schema));
        }
        let mut union = TableSchema::new();
        let (mut epochs, mut guards, mut denied) = (Vec::new(), Vec::new(), None);
        for cell in cells {
            let epoch = Epoch { account: self.account(cell.aek).await?, aek: cell.aek };
            let guard = match self.keys.guard_for(epoch, warrant).await {
                Ok(guard) => guard,
                Err(error) if matches!(error.kind(), ErrorKind::KeyRevoked | ErrorKind::Unavailable | ErrorKind::Forbidden) => {
                    denied = Some(key_error(&error, epoch));
                    continue;
                }
                Err(error) => return Err(key_error(&error, epoch)),
            };
            let place = CellPlace { epoch, workspace, table, row: cell.row };
            let plain = open_cell(&guard, self.world.clock.boot(), &place, &cell.cell).map_err(|error| open_error(&error, cell.row))?;
            let schema: TableSchema = serde_json::from_slice(&plain).map_err(|_| {
                QueryError::new(ErrorKind::Corrupt, "IntegrityError", format!("the schema in cell {} has another form", cell.row))
            })?;
            merge(&mut union, &schema);
            epochs.push(epoch);
            guards.push(guard);
        }
        if let Some(error) = denied {
            // Not cached: the key may be back at the next question.
            return if epochs.is_empty() { Err(error) } else { Ok(Arc::new(union)) };
        }
        let schema = Arc::new(union);
        let mut schemas = self.schemas.lock();
        if guards.iter().all(|guard| guard.check(self.world.clock.boot()).is_ok()) {
            schemas.insert(table, CachedSchema { versions, epochs, schema: Arc::clone(&schema) });
        }
        drop(schemas);
        Ok(schema)
    }

    /// The statistics of blocks of one table, opened under their guards, in their order. A form this build does not know tells
    /// nothing, and prunes nothing; nor does a block that was merged meanwhile.
    pub(crate) async fn stats(
        &self,
        context: &QueryContext,
        table: TableId,
        blocks: &[(&BlockRow, KeyGuard)],
    ) -> Result<Vec<Option<Arc<BlockStats>>>, QueryError> {
        let mut found: Vec<Option<Arc<BlockStats>>> = self.cached_stats(blocks);
        let missing: Vec<usize> = (0..blocks.len()).filter(|at| found[*at].is_none()).collect();
        if missing.is_empty() {
            return Ok(found);
        }
        let wanted: Vec<(i64, ObjectId)> = missing.iter().map(|at| (blocks[*at].0.window.start, blocks[*at].0.object)).collect();
        let cells = self.catalog.statistics(table, &wanted).await.map_err(|error| catalog_error(&error))?;
        for at in missing {
            let (row, guard) = &blocks[at];
            let Some(cell) = cells.get(&row.object) else { continue };
            context.stats.cells_opened.fetch_add(1, Ordering::Relaxed);
            found[at] = self.open_stats(guard, row, cell)?;
        }
        Ok(found)
    }

    fn cached_stats(&self, blocks: &[(&BlockRow, KeyGuard)]) -> Vec<Option<Arc<BlockStats>>> {
        let mut cache = self.stats.lock();
        blocks.iter().map(|(row, _)| cache.get(&row.object).map(|cached| Arc::clone(&cached.stats))).collect()
    }

    fn open_stats(&self, guard: &KeyGuard, row: &BlockRow, cell: &[u8]) -> Result<Option<Arc<BlockStats>>, QueryError> {
        let place = CellPlace { epoch: row.epoch, workspace: row.workspace, table: row.table, row: row.object };
        let plain = open_cell(guard, self.world.clock.boot(), &place, cell).map_err(|error| open_error(&error, row.object))?;
        let Ok(stats) = serde_json::from_slice::<BlockStats>(&plain) else { return Ok(None) };
        let stats = Arc::new(stats);
        // Counts are in memory what they are in base64, less a quarter.
        let counts = stats.counts.as_ref().map_or(0, |counts| counts.len() as u64);
        let bytes = (2 * plain.len() as u64).saturating_sub(counts * 5 / 3) + 128;
        let mut cache = self.stats.lock();
        // If it was forgotten meanwhile nothing of it is kept.
        if guard.check(self.world.clock.boot()).is_ok() {
            let cached = CachedStats { epoch: row.epoch, stats: Arc::clone(&stats) };
            cache.put(row.object, cached, usize::try_from(bytes).unwrap_or(usize::MAX));
        }
        drop(cache);
        Ok(Some(stats))
    }
}

#[cfg(test)]
impl Lineage {
    pub(crate) fn cached(&self) -> (usize, usize) {
        (self.schemas.lock().len(), self.stats.lock().len())
    }
}

/// Adds columns; where two epochs differ in a type, the wider one wins.
fn merge(union: &mut TableSchema, more: &TableSchema) {
    for column in &more.columns {
        match union.columns.iter_mut().find(|known| known.name == column.name) {
            Some(known) => known.kind = wider(known.kind, column.kind),
            None => union.columns.push(column.clone()),
        }
    }
    let time = union.columns.iter().position(|column| column.name == TIME_COLUMN);
    match time {
        Some(0) => {}
        Some(at) => union.columns[..=at].rotate_right(1),
        None => union.columns.insert(0, Column { name: TIME_COLUMN.to_owned(), kind: ColumnType::DateTime }),
    }
}

fn wider(a: ColumnType, b: ColumnType) -> ColumnType {
    use ColumnType::{Dynamic, Int, Long, Real, String};
    match (a, b) {
        _ if a == b => a,
        (Int | Long | Real, Int | Long | Real) => {
            if a == Real || b == Real {
                Real
            } else {
                Long
            }
        }
        (Dynamic, _) | (_, Dynamic) => Dynamic,
        _ => String,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_union_of_two_lineages_has_every_column_once_in_its_wider_type() {
        let column = |name: &str, kind| Column { name: name.to_owned(), kind };
        let mut union = TableSchema::new();
        merge(&mut union, &TableSchema { columns: vec![column(TIME_COLUMN, ColumnType::DateTime), column("n", ColumnType::Long)] });
        merge(
            &mut union,
            &TableSchema {
                columns: vec![column("n", ColumnType::Real), column("s", ColumnType::String), column(TIME_COLUMN, ColumnType::DateTime)],
            },
        );
        assert_eq!(
            union.columns,
            vec![column(TIME_COLUMN, ColumnType::DateTime), column("n", ColumnType::Real), column("s", ColumnType::String)]
        );
    }
}

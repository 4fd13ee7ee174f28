//! Pins tables for one query: memtable snapshots, then the catalog's, then what is in both is left out once.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use strongroom_buffer::{Buffer, MemSnapshot};
use strongroom_catalog::{Catalog, TablePin, TableRow};
use strongroom_model::{Epoch, ErrorKind, Position, TableName, TimeRange, WorkspaceId};

use crate::error::catalog_error;
use crate::resolve::{BoundContext, TableResolver};
use crate::stored::{Callable, Stored};
use crate::table::{LogTable, Moment, Shared};
use crate::{Neighbours, QueryError};

/// The tables of one query.
pub(crate) struct Pins {
    catalog: Catalog,
    buffer: Arc<Buffer>,
    shared: Arc<Shared>,
    tables_max: usize,
    /// Whose tables.
    workspace: WorkspaceId,
    neighbours: Option<Arc<dyn Neighbours>>,
    stored: Arc<Stored>,
    pinned: tokio::sync::Mutex<Pinned>,
}

#[derive(Default)]
struct Pinned {
    rows: Option<Vec<TableRow>>,
    tables: HashMap<String, Arc<dyn TableProvider>>,
}

/// The memtable rows that are in no block as of the catalog's commit.
pub(crate) fn unflushed(memory: Vec<MemSnapshot>, pin: &TablePin) -> Vec<(Epoch, RecordBatch)> {
    let flushed: HashMap<Epoch, Position> = pin.flushed.iter().copied().collect();
    let mut left = Vec::new();
    for part in memory {
        let through = flushed.get(&part.epoch).copied().unwrap_or_default();
        left.extend(part.rows.into_iter().filter(|(position, _)| *position > through).map(|(_, batch)| (part.epoch, batch)));
    }
    left
}

impl Pins {
    pub(crate) fn new(
        catalog: Catalog,
        buffer: Arc<Buffer>,
        shared: Arc<Shared>,
        tables_max: usize,
        neighbours: Option<Arc<dyn Neighbours>>,
        stored: Arc<Stored>,
    ) -> Self {
        let workspace = shared.context.workspace;
        Self { catalog, buffer, shared, tables_max, workspace, neighbours, stored, pinned: tokio::sync::Mutex::default() }
    }

    /// The tables of another workspace, for the same query.
    fn of_neighbour(&self, workspace: WorkspaceId) -> Self {
        Self {
            catalog: self.catalog.clone(),
            buffer: Arc::clone(&self.buffer),
            shared: Arc::clone(&self.shared),
            tables_max: self.tables_max,
            workspace,
            neighbours: None,
            stored: Arc::clone(&self.stored),
            pinned: tokio::sync::Mutex::default(),
        }
    }

    async fn list(&self, pinned: &mut Pinned) -> Result<Vec<TableRow>, QueryError> {
        if let Some(rows) = &pinned.rows {
            return Ok(rows.clone());
        }
        let rows = self.catalog.tables(self.workspace).await.map_err(|error| catalog_error(&error))?;
        pinned.rows = Some(rows.clone());
        Ok(rows)
    }

    /// Rows that were dropped from memory with their key are in the log: an answer would lack them until they are read back.
    async fn miss_nothing(&self, row: &TableRow, away: impl IntoIterator<Item = (Epoch, bool)>) -> Result<(), QueryError> {
        let context = &self.shared.context;
        for (epoch, never_read) in away {
            // Of a log that was never read back it is known only who could have written to it.
            let may_hold = !never_read
                || self.catalog.workspace_secret(self.workspace, epoch.aek).await.map_err(|error| catalog_error(&error))?.is_some();
            if may_hold {
                let hint = format!("rows of table {} that came last are under that key", row.name);
                self.shared.lineage.guard(context, row.id, epoch).await.map_err(|error| error.with_hint(hint))?;
                let message = format!("rows of table {} are being read back since their key returned; try again in a moment", row.name);
                return Err(QueryError::new(ErrorKind::Unavailable, "KeyVaultUnavailable", message));
            }
        }
        Ok(())
    }

    async fn pin(&self, row: &TableRow) -> Result<LogTable, QueryError> {
        let context = &self.shared.context;
        // Before anything of the table is looked at: rows in memory and cached columns take no key.
        let warrant = self.shared.lineage.warrant(context, self.workspace, row.id).await?;
        // This order and no other: rows that are flushed in between are then in both, and dropped from one.
        let asked = context.timespan.unwrap_or(TimeRange::ALL);
        let away = self.buffer.away(row.id, asked);
        let memory = self.buffer.snapshot(row.id);
        // The commit alone: which blocks are wanted of it, the filters say once they are known.
        let pin = self.catalog.pin(row.id).await.map_err(|error| catalog_error(&error))?;
        let memory = unflushed(memory, &pin);
        // Asked on both sides of the snapshot: rows may have gone, or come back, in between.
        self.miss_nothing(row, away.into_iter().chain(self.buffer.away(row.id, asked))).await?;
        // After both: a column is in the catalog before any row that has it.
        let columns = self.shared.lineage.schema(&warrant).await?;
        let stats = &context.stats;
        let rows = pin.rows + memory.iter().map(|(_, batch)| batch.num_rows() as u64).sum::<u64>();
        stats.table_rows.fetch_add(rows, std::sync::atomic::Ordering::Relaxed);
        stats.table_bytes.fetch_add(pin.bytes, std::sync::atomic::Ordering::Relaxed);
        let moment = Moment { memory, seq: pin.seq, blocks: pin.blocks };
        Ok(LogTable::new(row.id, row.name.clone(), &columns, moment, Arc::clone(&self.shared)))
    }
}

#[async_trait]
impl TableResolver for Pins {
    async fn names(&self) -> Result<Vec<String>, QueryError> {
        let mut pinned = self.pinned.lock().await;
        let mut names: Vec<String> = self.list(&mut pinned).await?.iter().map(|row| row.name.to_string()).collect();
        names.sort_unstable();
        Ok(names)
    }

    async fn resolve(&self, names: &[String]) -> Result<BoundContext, QueryError> {
        let mut pinned = self.pinned.lock().await;
        let rows = self.list(&mut pinned).await?;
        let mut tables: HashMap<String, Arc<dyn TableProvider>> = HashMap::new();
        for name in names {
            if tables.contains_key(name) || name.parse::<TableName>().is_err() {
                continue;
            }
            let Some(row) = rows.iter().find(|row| row.name.as_str() == name) else { continue };
            let table = match pinned.tables.get(name) {
                Some(table) => Arc::clone(table),
                None if pinned.tables.len() >= self.tables_max => {
                    return Err(QueryError::invalid("TooManyTables", format!("a query may name at most {} tables", self.tables_max)));
                }
                None => {
                    let table: Arc<dyn TableProvider> = Arc::new(self.pin(row).await?);
                    pinned.tables.insert(name.clone(), Arc::clone(&table));
                    table
                }
            };
            tables.insert(name.clone(), table);
        }
        let mut all: Vec<String> = rows.iter().map(|row| row.name.to_string()).collect();
        all.sort_unstable();
        let now = self.shared.context.world.clock.wall().0;
        Ok(BoundContext { tables, names: all, now, timespan: self.shared.context.timespan, ..BoundContext::default() })
    }

    async fn functions(&self, names: &[String]) -> Result<HashMap<String, Callable>, QueryError> {
        if !self.stored.any(self.workspace).await? {
            return Ok(HashMap::new());
        }
        let context = &self.shared.context;
        let warrant = self.stored.warrant(context.principal, self.workspace).await?;
        context.entitle(warrant.clone());
        let opened = self.stored.open(self.workspace, &warrant).await?;
        opened.under.guards.into_iter().for_each(|(guard, pass)| context.touch(guard, pass));
        opened.under.passes.into_iter().for_each(|pass| context.admit(pass));
        let meant = opened.functions.into_iter().filter(|(_, function)| names.contains(&function.name));
        meant.map(|(_, function)| Ok((function.name.clone(), function.read()?))).collect()
    }

    async fn neighbour(&self, name: &str) -> Result<Option<Box<dyn TableResolver>>, QueryError> {
        let Some(neighbours) = &self.neighbours else { return Ok(None) };
        let Some(workspace) = neighbours.find(name).await? else { return Ok(None) };
        let home = self.catalog.workspace(workspace).await.map_err(|error| catalog_error(&error))?;
        let Some(home) = home else { return Ok(None) };
        self.shared.context.admit(self.stored.pass(home.account).await?);
        Ok(Some(Box::new(self.of_neighbour(workspace))))
    }

    fn beside(&self) -> Vec<String> {
        self.neighbours.as_ref().map_or_else(Vec::new, |neighbours| neighbours.beside().to_vec())
    }
}

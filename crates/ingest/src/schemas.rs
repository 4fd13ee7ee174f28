//! The columns of each table, per epoch, sealed in the catalog before a row that needs them is logged.

use std::sync::Arc;

use arrow_schema::Schema;
use hashbrown::HashMap;
use parking_lot::Mutex;
use strongroom_catalog::{Catalog, CatalogError, SchemaRow};
use strongroom_envelope::{CellPlace, KeyGuard, open_cell, seal_cell};
use strongroom_keys::{KeyRing, Purpose};
use strongroom_model::{Column, ColumnType, Epoch, ObjectId, PrincipalId, TableId, TableSchema, WorkspaceId};
use strongroom_world::World;

use crate::IngestError;
use crate::decode::{Decoded, OVERFLOW_COLUMN};

/// A table's columns at one version of one epoch's lineage.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Versioned {
    /// 0: inherited from another epoch, or new; not stored yet.
    pub(crate) version: u32,
    pub(crate) schema: TableSchema,
}

impl Versioned {
    /// The same with columns that it does not have yet, as far as there is room, and those; `None` if it has all of them.
    pub(crate) fn with(&self, wanted: &[Column], columns_max: usize) -> Option<(Self, Vec<Column>)> {
        let own = self.schema.columns.iter().filter(|column| column.name != OVERFLOW_COLUMN).count();
        let missing = wanted.iter().filter(|column| column.name != OVERFLOW_COLUMN && self.schema.column(&column.name).is_none());
        let missing: Vec<Column> = missing.take(columns_max.saturating_sub(own)).cloned().collect();
        if missing.is_empty() {
            return None;
        }
        let mut schema = self.schema.clone();
        schema.columns.extend(missing.iter().cloned());
        Some((Self { version: self.version, schema }, missing))
    }
}

/// What became of a batch's wish for columns.
#[derive(Debug)]
pub(crate) enum Evolved {
    /// The lineage has them; these are new.
    Stored(Vec<Column>),
    /// Meanwhile the lineage went another way: decode again.
    Redecode,
}

/// The lineages this process writes to.
#[derive(Debug)]
pub(crate) struct Schemas {
    world: World,
    catalog: Catalog,
    keys: Arc<KeyRing>,
    columns_max: usize,
    entries_max: usize,
    known: Mutex<HashMap<(TableId, Epoch), Arc<Versioned>>>,
    /// Lineages change one at a time; they change seldom.
    turn: tokio::sync::Mutex<()>,
}

impl Schemas {
    pub(crate) fn new(world: World, catalog: Catalog, keys: Arc<KeyRing>, columns_max: usize, entries_max: usize) -> Self {
        Self { world, catalog, keys, columns_max, entries_max, known: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// The columns a new row of `table` meets in the guard's epoch.
    pub(crate) async fn current(&self, workspace: WorkspaceId, table: TableId, guard: &KeyGuard) -> Result<Arc<Versioned>, IngestError> {
        if let Some(known) = self.known.lock().get(&(table, guard.epoch())) {
            return Ok(known.clone());
        }
        self.load(workspace, table, guard).await
    }

    async fn load(&self, workspace: WorkspaceId, table: TableId, guard: &KeyGuard) -> Result<Arc<Versioned>, IngestError> {
        let epoch = guard.epoch();
        let rows = self.catalog.schema_cells(table).await?;
        let found = match rows.iter().find(|row| row.aek == epoch.aek) {
            Some(row) => Versioned { version: row.version, schema: self.open(workspace, guard, row)? },
            None => Versioned { version: 0, schema: self.inherit(workspace, rows).await?.unwrap_or_default() },
        };
        let found = Arc::new(found);
        // Not kept behind the back of who has just taken the key away.
        guard.check(self.world.clock.boot()).map_err(strongroom_envelope::OpenError::from)?;
        self.keep((table, epoch), found.clone());
        Ok(found)
    }

    /// Drops the columns of an epoch.
    pub(crate) fn forget(&self, epoch: Epoch) {
        self.known.lock().retain(|(_, of), _| *of != epoch);
    }

    fn keep(&self, key: (TableId, Epoch), value: Arc<Versioned>) {
        let mut known = self.known.lock();
        if known.len() >= self.entries_max && !known.contains_key(&key) {
            known.clear();
        }
        known.insert(key, value);
    }

    /// A new epoch starts from the newest lineage whose key is there.
    async fn inherit(&self, workspace: WorkspaceId, mut rows: Vec<SchemaRow>) -> Result<Option<TableSchema>, IngestError> {
        if rows.is_empty() {
            return Ok(None);
        }
        let epochs = self.keys.epochs().await?;
        // Row ids sort by age.
        rows.sort_by_key(|row| std::cmp::Reverse(row.row));
        for row in &rows {
            let Some(&epoch) = epochs.iter().find(|epoch| epoch.aek == row.aek) else { continue };
            match self.keys.guard(epoch, workspace, PrincipalId::NIL, Purpose::Maintain).await {
                Ok(guard) => return self.open(workspace, &guard, row).map(Some),
                Err(error) => tracing::info!(table = %row.table, code = error.code(), "a lineage cannot be read, an older one is tried"),
            }
        }
        Ok(None)
    }

    fn open(&self, workspace: WorkspaceId, guard: &KeyGuard, row: &SchemaRow) -> Result<TableSchema, IngestError> {
        let place = CellPlace { epoch: guard.epoch(), workspace, table: row.table, row: row.row };
        let plain = open_cell(guard, self.world.clock.boot(), &place, &row.cell)?;
        serde_json::from_slice(&plain).map_err(|_| IngestError::Corrupt { what: "a table's columns" })
    }

    /// Sees to it that the lineage has the columns of a batch that was decoded onto `base`.
    pub(crate) async fn evolve(
        &self,
        workspace: WorkspaceId,
        table: TableId,
        guard: &KeyGuard,
        base: &Versioned,
        decoded: &Decoded,
    ) -> Result<Evolved, IngestError> {
        let _turn = self.turn.lock().await;
        let latest = self.current(workspace, table, guard).await?;
        let (next, added) = if latest.version == base.version && latest.schema == base.schema {
            (decoded.schema.clone(), decoded.added.clone())
        } else {
            match merge(&latest.schema, &decoded.batch.schema(), self.columns_max) {
                // Columns may be needed that no row of the batch has a value for.
                Some((merged, added)) if decoded.added.iter().all(|column| merged.column(&column.name).is_some()) => (merged, added),
                _ => return Ok(Evolved::Redecode),
            }
        };
        if latest.version > 0 && next == latest.schema {
            return Ok(Evolved::Stored(Vec::new()));
        }
        let version = latest.version + 1;
        match self.store(workspace, table, guard, version, &next).await {
            Ok(()) => {
                self.keep((table, guard.epoch()), Arc::new(Versioned { version, schema: next }));
                Ok(Evolved::Stored(added))
            }
            Err(IngestError::Catalog(CatalogError::Conflict { .. } | CatalogError::CommitUnknown { .. })) => {
                self.load(workspace, table, guard).await?;
                Ok(Evolved::Redecode)
            }
            Err(error) => Err(error),
        }
    }

    /// Sees to it that the lineage of `to` has every column that the one of `from` has.
    pub(crate) async fn carry(&self, workspace: WorkspaceId, table: TableId, from: &KeyGuard, to: &KeyGuard) -> Result<(), IngestError> {
        let _turn = self.turn.lock().await;
        let rows = self.catalog.schema_cells(table).await?;
        let Some(row) = rows.iter().find(|row| row.aek == from.epoch().aek) else { return Ok(()) };
        let old = self.open(workspace, from, row)?;
        let latest = self.load(workspace, table, to).await?;
        let merged = merge(&latest.schema, &old.storage_schema(), usize::MAX);
        let (schema, _) = merged.ok_or(IngestError::Internal { what: "columns of two epochs that do not go together", source: None })?;
        if latest.version > 0 && schema == latest.schema {
            return Ok(());
        }
        let version = latest.version + 1;
        self.store(workspace, table, to, version, &schema).await?;
        self.keep((table, to.epoch()), Arc::new(Versioned { version, schema }));
        Ok(())
    }

    /// Sees to it that the lineage has these columns; one that is there with another type is given back.
    pub(crate) async fn declare(
        &self,
        workspace: WorkspaceId,
        table: TableId,
        guard: &KeyGuard,
        columns: &[Column],
    ) -> Result<Result<(), Column>, IngestError> {
        let _turn = self.turn.lock().await;
        // Somebody else's version may be newer than what is remembered.
        let latest = self.load(workspace, table, guard).await?;
        let mut next = latest.schema.clone();
        for column in columns {
            match next.column(&column.name) {
                None => next.columns.push(column.clone()),
                Some(known) if known.kind == column.kind => {}
                Some(known) => return Ok(Err(known.clone())),
            }
        }
        if latest.version > 0 && next == latest.schema {
            return Ok(Ok(()));
        }
        let version = latest.version + 1;
        self.store(workspace, table, guard, version, &next).await?;
        self.keep((table, guard.epoch()), Arc::new(Versioned { version, schema: next }));
        Ok(Ok(()))
    }

    async fn store(
        &self,
        workspace: WorkspaceId,
        table: TableId,
        guard: &KeyGuard,
        version: u32,
        schema: &TableSchema,
    ) -> Result<(), IngestError> {
        let (ms, random) = self.world.id_seed();
        let row = ObjectId::mint(ms, random);
        let place = CellPlace { epoch: guard.epoch(), workspace, table, row };
        let plain = serde_json::to_vec(schema).map_err(|error| IngestError::internal("writing a table's columns", error))?;
        let cell = seal_cell(guard, self.world.clock.boot(), &*self.world.rng, &place, &plain)?;
        self.catalog.schema_put(&SchemaRow { table, aek: guard.epoch().aek, version, row, cell }).await?;
        Ok(())
    }
}

/// The columns of `latest` with those of a batch that was decoded onto an older version, and the new ones among them;
/// `None` if they do not go together, or are too many.
fn merge(latest: &TableSchema, batch: &Schema, columns_max: usize) -> Option<(TableSchema, Vec<Column>)> {
    let (mut merged, mut added) = (latest.clone(), Vec::new());
    for field in batch.fields() {
        let kind = ColumnType::of_field(field)?;
        let Some(known) = merged.columns.iter_mut().find(|column| column.name == *field.name()) else {
            let column = Column { name: field.name().clone(), kind };
            added.push(column.clone());
            merged.columns.push(column);
            continue;
        };
        match (known.kind, kind) {
            (a, b) if a == b => {}
            (ColumnType::Real, ColumnType::Long) => {}
            (ColumnType::Long, ColumnType::Real) => known.kind = ColumnType::Real,
            _ => return None,
        }
    }
    let columns = merged.columns.iter().filter(|column| column.name != OVERFLOW_COLUMN).count();
    (added.is_empty() || columns <= columns_max).then_some((merged, added))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(columns: &[(&str, ColumnType)]) -> TableSchema {
        let mut schema = TableSchema::new();
        schema.columns.extend(columns.iter().map(|&(name, kind)| Column { name: name.to_owned(), kind }));
        schema
    }

    fn check(latest: &[(&str, ColumnType)], batch: &[(&str, ColumnType)], expected: Option<&[(&str, ColumnType)]>) {
        let merged = merge(&schema(latest), &schema(batch).storage_schema(), 4).map(|(merged, _)| merged);
        assert_eq!(merged, expected.map(schema));
    }

    #[test]
    fn a_batch_decoded_onto_an_older_version_still_fits_unless_types_clash_or_columns_are_too_many() {
        use ColumnType::{Dynamic, Long, Real, String};
        check(&[("a", Long)], &[("b", String), ("a", Long)], Some(&[("a", Long), ("b", String)]));
        check(&[("a", Real)], &[("a", Long)], Some(&[("a", Real)]));
        check(&[("a", Long)], &[("a", Real)], Some(&[("a", Real)]));
        check(&[("a", Long)], &[("a", String)], None);
        check(&[("a", Long), ("b", Long), ("c", Long)], &[("a", Long)], Some(&[("a", Long), ("b", Long), ("c", Long)]));
        check(&[("a", Long), ("b", Long), ("c", Long)], &[("d", Long)], None);
        check(
            &[("a", Long), ("b", Long), ("c", Long)],
            &[(OVERFLOW_COLUMN, Dynamic)],
            Some(&[("a", Long), ("b", Long), ("c", Long), (OVERFLOW_COLUMN, Dynamic)]),
        );
    }
}

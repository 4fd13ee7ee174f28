//! Where parts of rows in order begin: a sub-query's functions over rows start anew there.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::row::{OwnedRow, RowConverter, SortField};
use arrow_schema::SchemaRef;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;

/// The keys of parts, and those of the last row seen.
pub(super) struct Parts {
    keys: Vec<Arc<dyn PhysicalExpr>>,
    rows: RowConverter,
    last: Option<OwnedRow>,
}

impl Parts {
    /// None: all rows are one part.
    pub(super) fn new(keys: &[Arc<dyn PhysicalExpr>], schema: &SchemaRef) -> Result<Option<Self>> {
        if keys.is_empty() {
            return Ok(None);
        }
        let fields = keys.iter().map(|key| Ok(SortField::new(key.data_type(schema)?))).collect::<Result<Vec<_>>>()?;
        Ok(Some(Self { keys: keys.to_vec(), rows: RowConverter::new(fields)?, last: None }))
    }

    /// The rows of the next batch that begin a part. The very first row does not: there is nothing before it.
    pub(super) fn beginnings(&mut self, batch: &RecordBatch) -> Result<Vec<usize>> {
        if batch.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let columns = self.keys.iter().map(|key| key.evaluate(batch)?.into_array(batch.num_rows())).collect::<Result<Vec<_>>>()?;
        let rows = self.rows.convert_columns(&columns)?;
        let mut found = Vec::new();
        if self.last.as_ref().is_some_and(|last| last.row() != rows.row(0)) {
            found.push(0);
        }
        found.extend((1..batch.num_rows()).filter(|at| rows.row(*at) != rows.row(at - 1)));
        self.last = Some(rows.row(batch.num_rows() - 1).owned());
        Ok(found)
    }

    /// The next batch in pieces of one part each, and whether they begin one.
    pub(super) fn cut(&mut self, batch: &RecordBatch) -> Result<Vec<(RecordBatch, bool)>> {
        let mut pieces = Vec::new();
        let (mut from, mut begins) = (0, false);
        for at in self.beginnings(batch)? {
            if at > from {
                pieces.push((batch.slice(from, at - from), begins));
            }
            (from, begins) = (at, true);
        }
        if batch.num_rows() > from {
            pieces.push((batch.slice(from, batch.num_rows() - from), begins));
        }
        Ok(pieces)
    }
}

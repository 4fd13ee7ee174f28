//! Batches in another table schema than their own.

use arrow::array::RecordBatch;
use arrow_schema::{ArrowError, SchemaRef};

/// `batch` in the shape of `schema`, column by column by name: reordered, absent ones null, extra ones left out,
/// a long cast to a real where the schema says so, text as views where the schema wants views.
///
/// # Errors
/// If a column cannot be cast.
pub fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    todo!("{batch:?} {schema:?}")
}

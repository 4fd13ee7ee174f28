//! A block's file without the rows of a time range.

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampNanosecondType;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use strongroom_model::{TIME_COLUMN, TimeRange};

use super::merge::{as_views, batch_rows};
use super::{BlockWriter, Encoded, Profile};
use crate::IngestError;

/// Writes a block's file once more without the rows whose `TimeGenerated` lies in `range`, in the same order. `None`: no row is
/// left. And how many rows went.
///
/// # Errors
/// [`IngestError::Internal`] if it is no such file.
pub fn without(file: Bytes, range: TimeRange) -> Result<(Option<Encoded>, u64), IngestError> {
    let wrong = |error| IngestError::internal("reading blocks", error);
    let metadata = as_views(&file).map_err(wrong)?;
    let schema = metadata.schema().clone();
    let (rows, all) = (batch_rows(&metadata), metadata.metadata().file_metadata().num_rows());
    let all = usize::try_from(all).unwrap_or(usize::MAX);
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata).with_batch_size(rows).build().map_err(wrong)?;
    let (mut writer, mut gone): (Option<BlockWriter>, u64) = (None, 0);
    for batch in reader {
        let batch = batch.map_err(|error| IngestError::internal("reading blocks", error))?;
        let kept = kept(&batch, range)?;
        gone += (batch.num_rows() - kept.num_rows()) as u64;
        if kept.num_rows() == 0 {
            continue;
        }
        let writer = match &mut writer {
            Some(writer) => writer,
            none => none.insert(BlockWriter::new(schema.clone(), Profile::Compact, &kept, all)?),
        };
        writer.write(&kept)?;
    }
    Ok((writer.map(BlockWriter::finish).transpose()?, gone))
}

fn kept(batch: &RecordBatch, range: TimeRange) -> Result<RecordBatch, IngestError> {
    let times = batch
        .column_by_name(TIME_COLUMN)
        .and_then(|times| times.as_primitive_opt::<TimestampNanosecondType>())
        .ok_or(IngestError::Corrupt { what: "the times of a block" })?;
    debug_assert_eq!(times.null_count(), 0, "every row has its time");
    let stays: BooleanArray = times.values().iter().map(|time| Some(!(range.start..=range.end).contains(time))).collect();
    filter_record_batch(batch, &stays).map_err(|error| IngestError::internal("taking rows away", error))
}

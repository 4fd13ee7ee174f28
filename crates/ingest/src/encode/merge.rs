//! Sorted files merged into one.
//!
//! Texts are read as views: a long one that a dictionary holds once stays once in memory, however many rows have it. Files of one
//! flush after the other hardly overlap in time, so rows are taken in runs, and a run of one batch is handed on as it lies there.

use std::collections::BinaryHeap;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::TimestampNanosecondType;
use arrow_schema::{ArrowError, SchemaRef};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use strongroom_buffer::conform;
use strongroom_model::TIME_COLUMN;

use super::{BlockWriter, Encoded, Profile, arrange, union_schema};
use crate::IngestError;

/// Rows read, and written, at a time: this many, or as many as have this many bytes.
const BATCH_ROWS: usize = 8_192;
const BATCH_BYTES: u64 = 4 << 20;

/// Merges Parquet files that are each sorted by `TimeGenerated`, newest first, into one; of equal times, the later file's
/// rows come first. A column that is long in one file and real in another becomes real.
///
/// # Errors
/// [`IngestError::Internal`] if one is no such file, or there is no row at all.
pub fn merge(files: Vec<Bytes>) -> Result<Encoded, IngestError> {
    merge_with(files, false)
}

/// As [`merge`], with a token filter over all rows beside those of slices: so that groups of blocks are small.
///
/// # Errors
/// As [`merge`].
pub fn merge_for_groups(files: Vec<Bytes>) -> Result<Encoded, IngestError> {
    merge_with(files, true)
}

fn merge_with(files: Vec<Bytes>, whole: bool) -> Result<Encoded, IngestError> {
    let wrong = |error| IngestError::internal("reading blocks", error);
    let files = files.into_iter().map(|file| Ok((as_views(&file)?, file))).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    let schema = union_schema(files.iter().map(|(metadata, _)| metadata.schema()))?;
    let mut merge =
        Merge { schema, inputs: Vec::new(), held: Vec::new(), next: BinaryHeap::new(), runs: Vec::new(), waiting: 0, writer: None, whole };
    for (metadata, file) in files {
        let rows = batch_rows(&metadata);
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata).with_batch_size(rows).build().map_err(wrong)?;
        merge.inputs.push(Input { reader, held: 0, times: Vec::new(), at: 0 });
    }
    merge.run()
}

/// A file's metadata, its texts to be read as views.
pub(super) fn as_views(file: &Bytes) -> Result<ArrowReaderMetadata, ParquetError> {
    let found = ArrowReaderMetadata::load(file, ArrowReaderOptions::new())?;
    let schema = arrange::as_views(found.schema(), |_| true);
    ArrowReaderMetadata::try_new(found.metadata().clone(), ArrowReaderOptions::new().with_schema(schema))
}

pub(super) fn batch_rows(metadata: &ArrowReaderMetadata) -> usize {
    let groups = metadata.metadata().row_groups();
    let sum =
        |of: fn(&parquet::file::metadata::RowGroupMetaData) -> i64| groups.iter().map(|g| u64::try_from(of(g)).unwrap_or(0)).sum::<u64>();
    let (bytes, rows) =
        (sum(parquet::file::metadata::RowGroupMetaData::total_byte_size), sum(parquet::file::metadata::RowGroupMetaData::num_rows));
    let fitting = BATCH_BYTES.saturating_mul(rows) / bytes.max(1);
    usize::try_from(fitting).unwrap_or(BATCH_ROWS).clamp(16, BATCH_ROWS)
}

struct Merge {
    schema: SchemaRef,
    inputs: Vec<Input>,
    /// Batches that rows still to be written lie in.
    held: Vec<RecordBatch>,
    /// The next row's time of each input that has one, the newest on top.
    next: BinaryHeap<(i64, usize)>,
    /// Rows in the order of the output, as many of one batch as follow one another.
    runs: Vec<Run>,
    /// Rows of all runs.
    waiting: usize,
    writer: Option<BlockWriter>,
    whole: bool,
}

/// Rows of a held batch that follow one another.
#[derive(Clone, Copy)]
struct Run {
    held: usize,
    start: usize,
    len: usize,
}

/// Where the merge stands in one file.
struct Input {
    reader: ParquetRecordBatchReader,
    /// The current batch's place among those held.
    held: usize,
    /// Its times; empty at the end of the file.
    times: Vec<i64>,
    at: usize,
}

impl Merge {
    fn run(mut self) -> Result<Encoded, IngestError> {
        for n in 0..self.inputs.len() {
            self.advance(n)?;
        }
        while let Some((time, n)) = self.next.pop() {
            let (input, other) = (&mut self.inputs[n], self.next.peek());
            let (start, limit) = (input.at, input.times.len().min(input.at + BATCH_ROWS - self.waiting));
            let mut last = time;
            // The same input stays ahead while its rows would come off the heap before any other's.
            while input.at < limit && other.is_none_or(|other| (last, n) > *other) {
                input.at += 1;
                last = input.times.get(input.at).copied().unwrap_or(last);
            }
            let run = Run { held: input.held, start, len: input.at - start };
            self.waiting += run.len;
            self.runs.push(run);
            match input.times.get(input.at) {
                Some(&time) => self.next.push((time, n)),
                None => self.advance(n)?,
            }
            // Batches are as small as their rows are large, so holding few of them bounds the bytes.
            if self.waiting >= BATCH_ROWS || self.held.len() > 2 * self.inputs.len() {
                self.write()?;
            }
        }
        self.write()?;
        self.writer.ok_or(IngestError::Internal { what: "merging blocks without rows", source: None })?.finish()
    }

    /// Reads an input's next batch and puts its first row among the next ones.
    fn advance(&mut self, n: usize) -> Result<(), IngestError> {
        let input = &mut self.inputs[n];
        (input.times, input.at) = (Vec::new(), 0);
        for batch in input.reader.by_ref() {
            let batch =
                batch.and_then(|batch| conform(&batch, &self.schema)).map_err(|error| IngestError::internal("reading blocks", error))?;
            let times = batch
                .column_by_name(TIME_COLUMN)
                .and_then(|times| times.as_primitive_opt::<TimestampNanosecondType>())
                .ok_or(IngestError::Corrupt { what: "the times of a block" })?;
            let Some(&first) = times.values().first() else { continue };
            input.times = times.values().to_vec();
            input.held = self.held.len();
            self.held.push(batch);
            self.next.push((first, n));
            break;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), IngestError> {
        let batch = match *self.runs {
            [] => return Ok(()),
            [Run { held, start, len }] => self.held[held].slice(start, len),
            _ => {
                let places = self.runs.iter().flat_map(|run| (run.start..run.start + run.len).map(|row| (run.held, row)));
                let wrong = |error: ArrowError| IngestError::internal("merging blocks", error);
                interleave_record_batch(&self.held.iter().collect::<Vec<_>>(), &places.collect::<Vec<_>>()).map_err(wrong)?
            }
        };
        (self.runs, self.waiting) = (Vec::new(), 0);
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                let writer = BlockWriter::new(self.schema.clone(), Profile::Compact, &batch)?;
                none.insert(if self.whole { writer.with_whole() } else { writer })
            }
        };
        writer.write(&batch)?;
        // Only what the inputs stand in is needed further.
        let mut kept = Vec::with_capacity(self.inputs.len());
        for input in self.inputs.iter_mut().filter(|input| !input.times.is_empty()) {
            kept.push(self.held[input.held].clone());
            input.held = kept.len() - 1;
        }
        self.held = kept;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray, TimestampNanosecondArray};
    use arrow::datatypes::Int64Type;
    use arrow_schema::Schema;
    use strongroom_model::ColumnType;

    use super::super::encode;
    use super::*;

    fn file(rows: &[(i64, i64)], text: &str) -> Bytes {
        let fields = [(TIME_COLUMN, ColumnType::DateTime), ("n", ColumnType::Long), ("text", ColumnType::String)];
        let schema = Schema::new(fields.map(|(name, kind)| kind.storage_field(name)).to_vec());
        let batch = RecordBatch::try_new(
            schema.into(),
            vec![
                Arc::new(TimestampNanosecondArray::from_iter_values(rows.iter().map(|row| row.0)).with_timezone("UTC")),
                Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1))),
                Arc::new(StringArray::from_iter_values(rows.iter().map(|_| text))),
            ],
        );
        encode(&batch.unwrap(), Profile::Flush).unwrap().parquet.into()
    }

    fn read(file: Vec<u8>) -> Vec<(i64, i64)> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).unwrap().build().unwrap();
        let batches = reader.map(Result::unwrap);
        batches
            .flat_map(|batch| {
                let times = batch.column(0).as_primitive::<TimestampNanosecondType>().values().to_vec();
                let ns = batch.column(1).as_primitive::<Int64Type>().values().to_vec();
                times.into_iter().zip(ns).collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn rows_interleave_by_time_and_the_later_file_comes_first_among_equals() {
        let merged = merge(vec![file(&[(9, 1), (5, 2), (5, 3)], "a"), file(&[(7, 4), (5, 5), (1, 6)], "b")]).unwrap();
        assert_eq!((merged.rows, merged.time.start, merged.time.end), (6, 1, 9));
        assert_eq!(read(merged.parquet), [(9, 1), (7, 4), (5, 5), (5, 2), (5, 3), (1, 6)]);
    }

    #[test]
    fn files_of_many_batches_merge_to_all_their_rows_in_order() {
        let rows = |start: i64, step: i64| (0..20_000).map(|n| (start - n * step, n)).collect::<Vec<_>>();
        let (one, two) = (rows(1_000_000, 3), rows(990_000, 2));
        let mut expected: Vec<i64> = one.iter().chain(&two).map(|row| row.0).collect();
        expected.sort_by_key(|time| std::cmp::Reverse(*time));
        let merged = read(merge(vec![file(&one, "x"), file(&two, "y")]).unwrap().parquet);
        assert_eq!(merged.iter().map(|row| row.0).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn long_texts_that_repeat_take_no_more_room_merged_than_apart() {
        let text = "x".repeat(1 << 20);
        let rows: Vec<_> = (0..16).map(|n| (1_000 - n, n)).collect();
        let files = vec![file(&rows, &text), file(&rows, &text)];
        let merged = merge(files).unwrap();
        assert_eq!(merged.rows, 32);
        assert!(merged.parquet.len() < 1 << 20, "{} bytes", merged.parquet.len());
    }
}

//! Rows as a Parquet file, and what its catalog row says about them.
//!
//! | | flush | compaction |
//! |---|---|---|
//! | compression | zstd-1 | zstd-3 where it pays |
//! | rows of a group | 128 K | 256 K |
//!
//! Both: sorted by `TimeGenerated`, newest first, and declared so; each column as suits it ([`columns`]); page index on; token
//! filters over all text columns ([`terms`]), which serve ids, too: no Bloom filters. Rows are handed to the writer some thousand at
//! a time, long texts as views of where they lie already: no second copy of a block's rows is made.

mod arrange;
mod columns;
mod counts;
mod merge;
mod stats;
mod terms;
mod without;

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow_schema::{DataType, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use strongroom_model::terms::DIRECTORY_KEY;
use strongroom_model::{BlockStats, TimeRange};

pub use arrange::{Arranged, arrange, union_schema};
pub use merge::{merge, merge_for_groups};
pub use stats::StatsBuilder;
pub use terms::{SLICE_ROWS, TermsBuilder};
pub use without::without;

use crate::IngestError;

/// Text handed to the Parquet writer at a time, in bytes.
const SLICE_BYTES: usize = 8 << 20;

/// Which kind of block is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Fresh rows: fast.
    Flush,
    /// Merged blocks: small.
    Compact,
}

impl Profile {
    const fn zstd_level(self) -> i32 {
        match self {
            Self::Flush => 1,
            Self::Compact => 3,
        }
    }
}

/// A Parquet file and what is known of its rows.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The file.
    pub parquet: Vec<u8>,
    /// Per column: least, greatest, nulls.
    pub stats: BlockStats,
    /// First and last `TimeGenerated`.
    pub time: TimeRange,
    /// How many rows.
    pub rows: u64,
}

/// Writes one batch, sorted by time descending, as a Parquet file in memory.
///
/// # Errors
/// [`IngestError::Internal`] if the batch has no `TimeGenerated` or the writer refuses it.
pub fn encode(batch: &RecordBatch, profile: Profile) -> Result<Encoded, IngestError> {
    let mut writer = BlockWriter::new(batch.schema(), profile, batch)?;
    writer.write(batch)?;
    writer.finish()
}

/// Writes a Parquet file batch by batch.
pub struct BlockWriter {
    writer: ArrowWriter<Vec<u8>>,
    stats: StatsBuilder,
    terms: TermsBuilder,
}

impl std::fmt::Debug for BlockWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockWriter").finish_non_exhaustive()
    }
}

impl BlockWriter {
    /// Begins a file. `sample` is what the choice of encodings goes by: some neighbouring rows, or all.
    ///
    /// # Errors
    /// [`IngestError::Internal`] if a column has a type no table has.
    pub fn new(schema: SchemaRef, profile: Profile, sample: &RecordBatch) -> Result<Self, IngestError> {
        let stats = StatsBuilder::new(&schema)?;
        let terms = TermsBuilder::new(&schema, SLICE_ROWS);
        let properties = columns::properties(&schema, profile, sample);
        let writer =
            ArrowWriter::try_new(Vec::new(), schema, Some(properties)).map_err(|error| IngestError::internal("writing Parquet", error))?;
        Ok(Self { writer, stats, terms })
    }

    /// Adds a token filter over all rows, for groups of blocks.
    #[must_use]
    pub fn with_whole(self) -> Self {
        Self { terms: self.terms.with_whole(), ..self }
    }

    /// Appends rows; they must follow those before in the file's order.
    ///
    /// # Errors
    /// [`IngestError::Internal`].
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), IngestError> {
        self.stats.update(batch);
        self.terms.update(batch);
        // The writer looks at its page size once per call (or 1,024 rows): long texts must not come all at once.
        let step = (SLICE_BYTES * batch.num_rows() / text_bytes(batch).max(1)).max(1);
        // Whole slices, where they are small enough: pages begin where slices do.
        let step = if step > SLICE_ROWS { step - step % SLICE_ROWS } else { step };
        for start in (0..batch.num_rows()).step_by(step) {
            let rows = batch.slice(start, step.min(batch.num_rows() - start));
            self.writer.write(&rows).map_err(|error| IngestError::internal("writing Parquet", error))?;
        }
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// [`IngestError::Internal`].
    pub fn finish(mut self) -> Result<Encoded, IngestError> {
        let wrong = |error| IngestError::internal("writing Parquet", error);
        self.writer.flush().map_err(wrong)?;
        if let Some((filters, directory)) = self.terms.finish(self.writer.bytes_written() as u64) {
            self.writer.write_all(&filters).map_err(|error| IngestError::internal("writing Parquet", error))?;
            self.writer.append_key_value_metadata(KeyValue::new(DIRECTORY_KEY.to_owned(), directory));
        }
        let parquet = self.writer.into_inner().map_err(wrong)?;
        let (stats, time) = self.stats.finish();
        Ok(Encoded { parquet, rows: stats.rows, stats, time })
    }
}

/// Bytes of text in a column, counting what views share as often as it is shared.
fn text_len(values: &Arc<dyn Array>) -> usize {
    match values.data_type() {
        DataType::Utf8 => {
            let offsets = values.as_string::<i32>().value_offsets();
            usize::try_from(offsets[offsets.len() - 1] - offsets[0]).unwrap_or(0)
        }
        DataType::Utf8View => values.as_string_view().lengths().map(|length| length as usize).sum(),
        _ => 0,
    }
}

fn text_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(text_len).sum()
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray, TimestampNanosecondArray};
    use arrow_schema::Schema;
    use bytes::Bytes;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::basic::Encoding;
    use parquet::file::metadata::SortingColumn;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use strongroom_model::{ColumnType, StatValue, TIME_COLUMN};

    use super::*;

    fn batch(rows: i64) -> RecordBatch {
        let fields = vec![
            ColumnType::DateTime.storage_field(TIME_COLUMN),
            ColumnType::String.storage_field("trace_id"),
            ColumnType::String.storage_field("level"),
            ColumnType::Long.storage_field("status"),
            ColumnType::Dynamic.storage_field("ctx.a"),
        ];
        RecordBatch::try_new(
            Schema::new(fields).into(),
            vec![
                Arc::new(TimestampNanosecondArray::from_iter_values((0..rows).rev().map(|n| n * 1_000)).with_timezone("UTC")),
                Arc::new(StringArray::from_iter_values((0..rows).map(|n| format!("{:016x}", n * 0x9e37_79b9)))),
                Arc::new((0..rows).map(|n| (n % 7 != 0).then_some("info")).collect::<StringArray>()),
                Arc::new(Int64Array::from_iter_values((0..rows).map(|n| 200 + n % 3))),
                Arc::new(StringArray::from_iter_values((0..rows).map(|_| "{}"))),
            ],
        )
        .unwrap()
    }

    #[test]
    fn a_file_reads_back_as_it_was_written() {
        let rows = batch(5_000);
        let encoded = encode(&rows, Profile::Flush).unwrap();
        assert_eq!((encoded.rows, encoded.time), (5_000, TimeRange { start: 0, end: 4_999_000 }));
        let reader =
            ParquetRecordBatchReaderBuilder::try_new(Bytes::from(encoded.parquet)).unwrap().with_batch_size(8_192).build().unwrap();
        let back: Vec<_> = reader.map(Result::unwrap).collect();
        assert_eq!(back, [rows]);
    }

    #[test]
    fn each_column_is_encoded_as_suits_it_and_the_order_is_declared() {
        let encoded = encode(&batch(5_000), Profile::Compact).unwrap();
        let reader = SerializedFileReader::new(Bytes::from(encoded.parquet)).unwrap();
        let group = reader.metadata().row_group(0);
        assert_eq!(group.sorting_columns().unwrap(), &vec![SortingColumn { column_idx: 0, descending: true, nulls_first: false }]);
        let encodings = |at: usize| group.column(at).encodings().collect::<Vec<_>>();
        assert!(encodings(0).contains(&Encoding::DELTA_BINARY_PACKED));
        let dictionary = |at: usize| encodings(at).contains(&Encoding::RLE_DICTIONARY);
        assert_eq!([0, 1, 2, 3].map(dictionary), [false, false, true, true]);
        assert!((0..5).all(|at| group.column(at).bloom_filter_offset().is_none()));
        assert!(group.column(0).column_index_offset().is_some());
    }

    #[test]
    fn statistics_bound_every_value_but_those_of_dynamic_columns() {
        let encoded = encode(&batch(70), Profile::Flush).unwrap();
        let of = |name: &str| encoded.stats.columns.iter().find(|column| column.name == name).unwrap();
        assert_eq!((of(TIME_COLUMN).min.clone(), of(TIME_COLUMN).max.clone()), (Some(StatValue::Nanos(0)), Some(StatValue::Nanos(69_000))));
        assert_eq!((of("level").min.clone(), of("level").nulls), (Some(StatValue::Text("info".to_owned())), 10));
        assert_eq!((of("status").min.clone(), of("status").max.clone()), (Some(StatValue::Long(200)), Some(StatValue::Long(202))));
        assert_eq!((of("ctx.a").kind, of("ctx.a").min.clone()), (ColumnType::Dynamic, None));
    }
}

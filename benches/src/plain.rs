//! What the figures are held against: arrow-json over the same bytes, DataFusion over the same Parquet files.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::json::ReaderBuilder;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use strongroom_ingest::decode::{DecodeOptions, Decoded, decode};
use strongroom_ingest::{Format, OnError, RequestLimits};
use strongroom_model::TableSchema;
use tokio::runtime::Runtime;

use crate::House;
use crate::house::TABLE;

/// Rows of a batch, for both.
const BATCH_ROWS: usize = 8_192;

/// Reads NDJSON with our own decoder.
///
/// # Panics
/// If a line is refused.
#[must_use]
pub fn decode_ours(body: &[u8], schema: &TableSchema) -> Decoded {
    let limits = RequestLimits::default();
    let options = DecodeOptions {
        format: Format::Json,
        time_field: None,
        arrival: crate::data::EPOCH_NS,
        on_error: OnError::Refuse,
        limits: &limits,
    };
    decode(body, schema, &options).expect("rows that are taken")
}

/// Reads NDJSON with arrow-json, the schema known; gives the number of rows.
///
/// # Panics
/// If a line is refused.
#[must_use]
pub fn decode_arrow_json(body: &[u8], schema: &SchemaRef) -> usize {
    let reader = ReaderBuilder::new(Arc::clone(schema)).with_batch_size(BATCH_ROWS).build(body).expect("a reader");
    reader.map(|batch| batch.expect("rows that are taken").num_rows()).sum()
}

/// Plain DataFusion over Parquet files, set up like the engine: two partitions, filters pushed down, text as views.
pub struct Plain {
    context: SessionContext,
    runtime: Arc<Runtime>,
}

impl std::fmt::Debug for Plain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plain").finish_non_exhaustive()
    }
}

impl Plain {
    /// Writes the blocks of a house as plain files into `dir` and opens them as one table.
    ///
    /// # Panics
    /// If that fails.
    #[must_use]
    pub fn over(house: &House, dir: &Path) -> Self {
        fs::create_dir_all(dir).expect("a directory");
        for (at, file) in house.parquet().into_iter().enumerate() {
            fs::write(dir.join(format!("{at:05}.parquet")), file).expect("room for plain files");
        }
        let mut config = SessionConfig::new().with_target_partitions(2).with_batch_size(BATCH_ROWS);
        let options = config.options_mut();
        options.execution.parquet.pushdown_filters = true;
        options.execution.parquet.reorder_filters = false;
        options.execution.parquet.schema_force_view_types = true;
        options.sql_parser.enable_ident_normalization = false;
        let context = SessionContext::new_with_config(config);
        let runtime = house.runtime();
        let path = dir.to_str().expect("a path in UTF-8");
        runtime.block_on(context.register_parquet(TABLE, path, ParquetReadOptions::default())).expect("a table of plain files");
        Self { context, runtime }
    }

    /// Asks and reads the answer to its end.
    ///
    /// # Panics
    /// If it fails.
    #[must_use]
    pub fn sql(&self, text: &str) -> Vec<RecordBatch> {
        self.runtime.block_on(async { self.context.sql(text).await.expect("a plan").collect().await.expect("an answer") })
    }
}

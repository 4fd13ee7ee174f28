//! Token filters of blocks as compaction makes them: what they cost in bytes and CPU, by rows of a slice.

use std::time::Duration;

use arrow::array::RecordBatch;
use strongroom_benches::clock::on_thread;
use strongroom_benches::{Logs, data, plain};
use strongroom_ingest::encode::{Profile, SLICE_ROWS, TermsBuilder, arrange, encode};
use strongroom_model::TableSchema;

use crate::{Arguments, Figure, mega};

const ROWS_PER_BODY: usize = 5_000;

pub(crate) fn take(arguments: &Arguments) -> Vec<Figure> {
    let mut logs = Logs::new(arguments.seed);
    let mut schema = TableSchema::new();
    let (mut raw, mut batches) = (0, Vec::new());
    while raw < arguments.megabytes * 1_000_000 {
        let body = logs.body_of_rows(ROWS_PER_BODY);
        raw += body.len();
        let decoded = plain::decode_ours(&body, &schema);
        schema = decoded.schema;
        // A day after the rows: windows of an hour.
        batches.push((data::EPOCH_NS + 24 * 3_600_000_000_000, decoded.batch));
    }
    let blocks: Vec<RecordBatch> =
        arrange(&batches).expect("rows that go together").into_iter().map(|block| block.batch().expect("its rows")).collect();
    drop(batches);
    let (files, encoding) = on_thread(|| blocks.iter().map(|block| encode(block, Profile::Compact).expect("a file").parquet.len()).sum());
    let gigabytes = mega(raw as u64) / 1e3;
    let per_gb = |took: Duration| format!("{:.2} CPU-s/GB", took.as_secs_f64() / gigabytes);
    let files: usize = files;
    let files = files as u64;
    let rows = blocks.iter().map(|block| block.num_rows() as u64).sum();
    let mut figures = vec![Figure::new(
        format!("a compacted block, filters of {SLICE_ROWS} rows within"),
        format!("{}, {:.2}× smaller than raw, {} blocks", per_gb(encoding), mega(raw as u64) / mega(files), blocks.len()),
        "",
    )];
    for slice_rows in [8 << 10, 16 << 10, 32 << 10, 64 << 10] {
        let (bytes, took) = on_thread(|| blocks.iter().map(|block| filters(block, slice_rows)).sum::<usize>());
        let share = 100.0 * mega(bytes as u64) / mega(files);
        figures.push(Figure::new(
            format!("filters of {slice_rows} rows"),
            format!("{share:.1} % of the blocks, {:.2} bytes a row, {}", mega(bytes as u64) / mega(rows), per_gb(took)),
            if slice_rows == SLICE_ROWS { "≤ 10 %, ≤ 1 CPU-s/GB" } else { "" },
        ));
    }
    for name in blocks[0].schema().fields().iter().map(|field| field.name().clone()) {
        let one: Vec<RecordBatch> = blocks.iter().filter_map(|block| block.project(&[block.schema().index_of(&name).ok()?]).ok()).collect();
        let (bytes, took) = on_thread(|| one.iter().map(|block| filters(block, SLICE_ROWS)).sum::<usize>());
        if bytes > 0 {
            figures.push(Figure::new(
                format!("of `{name}` alone"),
                format!("{:.2} % of the blocks, {}", 100.0 * mega(bytes as u64) / mega(files), per_gb(took)),
                "",
            ));
        }
    }
    figures
}

/// Their bytes, however large a share that is.
fn filters(block: &RecordBatch, slice_rows: usize) -> usize {
    let mut builder = TermsBuilder::new(&block.schema(), slice_rows);
    builder.update(block);
    builder.finish(u64::MAX).map_or(0, |(bytes, _)| bytes.len())
}

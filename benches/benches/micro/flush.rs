//! A memtable's rows to a block: sorted, written as Parquet, sealed.

use std::hint::black_box;

use arrow::array::RecordBatch;
use criterion::Criterion;
use strongroom_benches::{CpuTime, House, Logs, clock, data, plain};
use strongroom_envelope::seal;
use strongroom_ingest::encode::{Profile, arrange, merge};
use strongroom_model::TableSchema;

const ROWS: usize = 100_000;
const ROWS_PER_BODY: usize = 5_000;

pub(crate) fn flush(criterion: &mut Criterion<CpuTime>) {
    let mut logs = Logs::new(crate::SEED);
    let mut schema = TableSchema::new();
    let mut raw = 0;
    let batches: Vec<(i64, RecordBatch)> = (0..ROWS / ROWS_PER_BODY)
        .map(|_| {
            let body = logs.body_of_rows(ROWS_PER_BODY);
            raw += body.len();
            let decoded = plain::decode_ours(&body, &schema);
            schema = decoded.schema;
            // Long after the rows: all in one window of a day.
            (data::EPOCH_NS + 96 * 3_600_000_000_000, decoded.batch)
        })
        .collect();
    let arranged = arrange(&batches).expect("rows that go together");
    let largest = arranged.iter().max_by_key(|window| window.rows()).expect("a window");
    let dir = tempfile::tempdir().expect("a directory");
    let house = House::build(dir.path());
    house.ingest(logs.body_of_rows(1_000).into());
    house.flush();
    let block = house.live_blocks().pop().expect("a block");
    let (guard, world) = (house.guard(&block), &house.world);
    let header = House::header(&block, guard.is_double());

    let mut group = criterion.benchmark_group("flush");
    group.throughput(clock::bytes(raw));
    group.sample_size(10);
    group.bench_function("arrange/100k_rows", |bench| bench.iter(|| arrange(black_box(&batches))));
    group.bench_function("encode/100k_rows", |bench| bench.iter(|| black_box(largest).encode(Profile::Flush)));
    group.bench_function("encode_and_seal/100k_rows", |bench| {
        bench.iter(|| {
            let encoded = black_box(largest).encode(Profile::Flush).expect("a file");
            seal(&guard, world.clock.boot(), world.rng.as_ref(), &header, &encoded.parquet)
        });
    });
    group.bench_function("encode_for_compaction/100k_rows", |bench| {
        bench.iter(|| black_box(largest).encode(Profile::Compact));
    });
    // Two flushes of one window, one after the other: what a first compaction is mostly made of.
    let half = batches.len() / 2;
    let files = [&batches[..half], &batches[half..]].map(|part| {
        let windows = arrange(part).expect("rows that go together");
        let largest = windows.iter().max_by_key(|window| window.rows()).expect("a window");
        bytes::Bytes::from(largest.encode(Profile::Flush).expect("a file").parquet)
    });
    group.bench_function("merge/2x50k_rows", |bench| bench.iter(|| merge(black_box(files.to_vec()))));
    group.finish();
}

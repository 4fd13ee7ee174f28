//! A memtable's rows to a block: sorted, written as Parquet, sealed.

use std::hint::black_box;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use bytes::Bytes;
use criterion::Criterion;
use strongroom_benches::{CpuTime, House, Logs, clock, data, plain};
use strongroom_envelope::seal;
use strongroom_ingest::encode::{Profile, arrange, encode, merge};
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
    let largest = arranged.iter().max_by_key(|window| window.batch.num_rows()).expect("a window");
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
    group.bench_function("encode/100k_rows", |bench| bench.iter(|| encode(black_box(&largest.batch), Profile::Flush)));
    group.bench_function("encode_and_seal/100k_rows", |bench| {
        bench.iter(|| {
            let encoded = encode(black_box(&largest.batch), Profile::Flush).expect("a file");
            seal(&guard, world.clock.boot(), world.rng.as_ref(), &header, &encoded.parquet)
        });
    });
    group.bench_function("encode_for_compaction/100k_rows", |bench| {
        bench.iter(|| encode(black_box(&largest.batch), Profile::Compact));
    });
    // Two flushes of one window whose rows take turns, as those of two minutes with late rows do.
    let halves: [Bytes; 2] = halves(&largest.batch).map(|half| encode(&half, Profile::Flush).expect("a file").parquet.into());
    group.bench_function("merge_of_two/100k_rows", |bench| bench.iter(|| merge(black_box(halves.to_vec()))));
    group.finish();
}

/// Rows of even and of odd number.
fn halves(batch: &RecordBatch) -> [RecordBatch; 2] {
    [0, 1].map(|parity| {
        let rows: UInt32Array = (0..u32::try_from(batch.num_rows()).expect("few rows")).filter(|row| row % 2 == parity).collect();
        take_record_batch(batch, &rows).expect("its own rows")
    })
}

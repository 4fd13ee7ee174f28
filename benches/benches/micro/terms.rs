//! Token filters of a block: gathered and written, and asked.

use std::hint::black_box;

use arrow::array::RecordBatch;
use criterion::{Criterion, Throughput};
use strongroom_benches::{CpuTime, Logs, clock, data, plain};
use strongroom_ingest::encode::{SLICE_ROWS, TermsBuilder, arrange};
use strongroom_model::TableSchema;
use strongroom_model::terms::{Directory, Part, Splitter, hash};

const ROWS: usize = 50_000;

pub(crate) fn terms(criterion: &mut Criterion<CpuTime>) {
    let body = Logs::new(crate::SEED).body_of_rows(ROWS);
    let decoded = plain::decode_ours(&body, &TableSchema::new());
    // Long after the rows; the largest of their windows.
    let rows = [(data::EPOCH_NS + 96 * 3_600_000_000_000, decoded.batch)];
    let batch = arrange(&rows)
        .expect("rows")
        .iter()
        .map(|part| part.batch().expect("its rows"))
        .max_by_key(RecordBatch::num_rows)
        .expect("a window");
    let build = || {
        let mut builder = TermsBuilder::new(&batch.schema(), SLICE_ROWS);
        builder.update(black_box(&batch));
        builder.finish(1 << 40).expect("filters")
    };
    let (bytes, directory) = build();
    let directory = Directory::parse(&directory).expect("a directory");
    let terms: Vec<u64> = (0..1_000_u32).map(|n| hash(&n.to_le_bytes())).collect();
    let first = usize::try_from(directory.range(0).end - directory.range(0).start).expect("within memory");
    let part = Part::parse(&bytes[..first], directory.slices()).expect("a part");

    let mut group = criterion.benchmark_group("terms");
    group.sample_size(10);
    group.throughput(clock::bytes(body.len()));
    group.bench_function("build/50k_rows", |bench| bench.iter(build));
    let line = "2026-03-01T10:00:00Z request id=7f3a9c0d took 1437 ms from 10.0.12.7:51422 and was accepted by /api/v2/orders";
    group.throughput(clock::bytes(line.len()));
    let mut splitter = Splitter::default();
    group.bench_function("split/one_message", |bench| {
        bench.iter(|| {
            let mut all = 0;
            splitter.each(black_box(line), |term| all ^= term);
            all
        });
    });
    group.throughput(Throughput::Elements(terms.len() as u64));
    group.bench_function("ask/1000_terms_of_a_slice", |bench| {
        bench.iter(|| terms.iter().filter(|term| part.may_hold(0, black_box("message"), **term)).count());
    });
    group.finish();
}

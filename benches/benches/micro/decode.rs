//! NDJSON to columns: ours against arrow-json, over the same bytes.

use std::hint::black_box;

use criterion::Criterion;
use strongroom_benches::{CpuTime, Logs, clock, plain};
use strongroom_model::TableSchema;

const LEN: usize = 2 << 20;

pub(crate) fn decode_ndjson(criterion: &mut Criterion<CpuTime>) {
    let body = Logs::new(crate::SEED).body(LEN);
    let first = plain::decode_ours(&body, &TableSchema::new());
    let (known, schema) = (first.schema, first.batch.schema());
    assert_eq!(plain::decode_arrow_json(&body, &schema), first.batch.num_rows(), "both read every row");
    let mut group = criterion.benchmark_group("decode_ndjson");
    group.throughput(clock::bytes(body.len()));
    group.bench_function("strongroom/2MiB", |bench| bench.iter(|| plain::decode_ours(black_box(&body), &known)));
    group.bench_function("strongroom_unknown_columns/2MiB", |bench| {
        bench.iter(|| plain::decode_ours(black_box(&body), &TableSchema::new()));
    });
    group.bench_function("arrow_json/2MiB", |bench| bench.iter(|| plain::decode_arrow_json(black_box(&body), &schema)));
    group.finish();
}

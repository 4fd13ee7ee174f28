//! Questions over sealed blocks by the engine, and over the same Parquet in the clear by plain DataFusion.

use criterion::Criterion;
use strongroom_benches::plain::Plain;
use strongroom_benches::{CpuTime, House, Logs, SCANS, clock};

const ROWS: usize = 400_000;
const ROWS_PER_BODY: usize = 5_000;

pub(crate) fn scans(criterion: &mut Criterion<CpuTime>) {
    let dir = tempfile::tempdir().expect("a directory");
    let house = House::build(&dir.path().join("house"));
    let mut logs = Logs::new(crate::SEED);
    let mut raw = 0;
    for _ in 0..ROWS / ROWS_PER_BODY {
        let body = logs.body_of_rows(ROWS_PER_BODY);
        raw += body.len();
        house.ingest(body.into());
    }
    house.flush();
    let plain = Plain::over(&house, &dir.path().join("plain"));
    for (name, text) in SCANS {
        let text = text.replace("{trace}", &logs.recent_trace());
        let rows = house.sql(&text).count();
        assert_eq!(rows, plain.sql(&text).iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>(), "both find the same rows");
        let mut group = criterion.benchmark_group(name);
        group.throughput(clock::bytes(raw));
        group.sample_size(10);
        group.bench_function("strongroom/400k_rows", |bench| bench.iter(|| house.sql(&text)));
        group.bench_function("datafusion/400k_rows", |bench| bench.iter(|| plain.sql(&text)));
        group.finish();
    }
    let text = "SELECT * FROM logs LIMIT 20000";
    let mut group = criterion.benchmark_group("answer");
    group.throughput(clock::bytes(house.json(text).len()));
    group.sample_size(10);
    group.bench_function("json/20k_rows", |bench| bench.iter(|| house.json(text)));
    group.finish();
}

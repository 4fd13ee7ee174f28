//! Batches shaped by the text of a data collection rule: planned anew each time, and as planned before.

use arrow::array::RecordBatch;
use criterion::Criterion;
use strongroom_benches::{CpuTime, House, clock};
use strongroom_ingest::RequestLimits;
use strongroom_ingest::stream::typed;
use strongroom_model::{Column, ColumnType};

/// A text as rules have it, and one that is told the time: its plan is not kept.
const TEXTS: [(&str, &str); 2] = [
    (
        "kept",
        "source | where code >= 200 | parse line with verb:string ' ' path:string ' ' * | extend bad = code >= 500, n = n * 10 \
         | project TimeGenerated, path, code, bad, host, n",
    ),
    (
        "anew",
        "source | where code >= 200 | parse line with verb:string ' ' path:string ' ' * | extend bad = code >= 500, n = n * 10 \
         | project TimeGenerated = now(), path, code, bad, host, n",
    ),
];
/// About 10 KB, and 1 MB, of JSON.
const ROWS: [usize; 2] = [10, 7_000];

fn rows(count: usize) -> (RecordBatch, usize) {
    use ColumnType::{DateTime, Int, Long, String};
    let columns = [("TimeGenerated", DateTime), ("line", String), ("code", Int), ("host", String), ("n", Long)];
    let columns = columns.map(|(name, kind)| Column { name: name.to_owned(), kind });
    let rows = (0..count).map(|n| {
        format!(
            r#"{{"TimeGenerated":"2026-03-01T10:00:00Z","line":"GET /page/{} HTTP/1.1 of a visitor {n}","code":{},"host":"web-{}","n":{n}}}"#,
            n % 97,
            200 + 100 * (n % 4),
            n % 12
        )
    });
    let body = format!("[{}]", rows.collect::<Vec<_>>().join(","));
    let batch = typed(body.as_bytes(), &columns, &RequestLimits::default(), &mut |_| Ok(())).expect("rows");
    (batch, body.len())
}

pub(crate) fn transforms(criterion: &mut Criterion<CpuTime>) {
    let dir = tempfile::tempdir().expect("a directory");
    let house = House::build(dir.path());
    let mut group = criterion.benchmark_group("transform");
    for count in ROWS {
        let (batch, bytes) = rows(count);
        group.throughput(clock::bytes(bytes));
        for (name, text) in TEXTS {
            group.bench_function(format!("{name}/{count}_rows"), |bench| bench.iter(|| house.shape(batch.clone(), Some(text))));
        }
        group.bench_function(format!("no_text/{count}_rows"), |bench| bench.iter(|| house.shape(batch.clone(), None)));
    }
    group.finish();
}

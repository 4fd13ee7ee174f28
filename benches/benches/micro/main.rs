//! Micro-benches, named `group/what/size`. All but the log's are in CPU time: other work on the machine hardly shows.

mod decode;
mod flush;
mod scan;
mod seal;
mod terms;
mod transform;
mod wal;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use strongroom_benches::CpuTime;

/// Rows of these bytes are what everything here works on.
const SEED: u64 = 7;

criterion_group! {
    name = cpu;
    config = Criterion::default()
        .with_measurement(CpuTime)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
        .sample_size(20);
    targets = seal::seal_block, decode::decode_ndjson, flush::flush, terms::terms, scan::scans, transform::transforms
}
criterion_group! {
    name = wall;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4)).sample_size(20);
    targets = wal::wal_append
}
criterion_main!(cpu, wall);

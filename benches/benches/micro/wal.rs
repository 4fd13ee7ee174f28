//! Appends to the log until they are durable: wall time, for the disk is the point.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use criterion::Criterion;
use strongroom_benches::{House, Logs, clock, plain};
use strongroom_buffer::{BufferConfig, Record};
use strongroom_envelope::KeyGuard;
use strongroom_model::{Epoch, Position, TableId, TableSchema};
use strongroom_store::CacheConfig;

/// Rows in memory are dropped, outside the time that counts, whenever so many bytes were appended.
const DROP_AFTER: usize = 128 << 20;

struct Log {
    house: House,
    guard: KeyGuard,
    table: TableId,
    epoch: Epoch,
}

impl Log {
    fn append(&self, writers: usize, each: usize, batch: &RecordBatch) -> Duration {
        let runtime = self.house.runtime();
        let started = Instant::now();
        let tasks: Vec<_> = (0..writers)
            .map(|_| {
                let (buffer, guard) = (Arc::clone(&self.house.buffer), self.guard.clone());
                let record = Record {
                    workspace: self.house.workspace(),
                    table: self.table,
                    batch: batch.clone(),
                    arrival: 0,
                    retention_days: 30,
                    mark: None,
                };
                runtime.spawn(async move {
                    for _ in 0..each {
                        buffer.append(&guard, record.clone()).await.expect("an append");
                    }
                })
            })
            .collect();
        for task in tasks {
            runtime.block_on(task).expect("a writer that ends");
        }
        started.elapsed()
    }

    fn drop_rows(&self) {
        // Not flushed: the log alone is measured here.
        if let Some(frozen) = self.house.buffer.freeze(self.table, self.epoch) {
            self.house.buffer.settle(self.table, self.epoch, frozen.through);
            assert!(frozen.through > Position::default());
        }
    }
}

pub(crate) fn wal_append(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let house = House::build_with(dir.path(), BufferConfig::default(), CacheConfig { enabled: false, ..CacheConfig::default() });
    let mut logs = Logs::new(crate::SEED);
    house.ingest(logs.body_of_rows(10).into());
    house.flush();
    let block = house.live_blocks().pop().expect("a block");
    let log = Log { guard: house.guard(&block), table: block.table, epoch: block.epoch, house };
    let mut group = criterion.benchmark_group("wal_append");
    for (size, len) in [("64KiB", 64 << 10), ("1MiB", 1 << 20)] {
        let batch = batch_of(&mut logs, len);
        for writers in [1_usize, 16] {
            group.throughput(clock::bytes(len));
            group.bench_function(format!("{writers}_writers/{size}"), |bench| {
                bench.iter_custom(|iterations| {
                    let (mut left, mut spent) = (usize::try_from(iterations).expect("few").div_ceil(writers), Duration::ZERO);
                    let rounds = (DROP_AFTER / len / writers).max(1);
                    let all = left;
                    while left > 0 {
                        let each = left.min(rounds);
                        spent += log.append(writers, each, &batch);
                        log.drop_rows();
                        left -= each;
                    }
                    // Whole rounds of all writers were timed: per iteration asked for.
                    #[expect(clippy::cast_precision_loss, reason = "small counts")]
                    spent.mul_f64(iterations as f64 / (all * writers) as f64)
                });
            });
        }
    }
    group.finish();
}

/// A batch whose record takes about `len` bytes in the log.
fn batch_of(logs: &mut Logs, len: usize) -> RecordBatch {
    let sample = plain::decode_ours(&logs.body_of_rows(2_000), &TableSchema::new()).batch;
    let bytes: usize = sample.columns().iter().map(|column| column.to_data().get_slice_memory_size().expect("flat columns")).sum();
    let rows = len * sample.num_rows() / bytes;
    plain::decode_ours(&logs.body_of_rows(rows), &TableSchema::new()).batch
}

//! What happens without being asked: flushing under pressure and by age, compaction when there is time, the sweep.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use strongroom_buffer::{Pressure, TablePressure};
use strongroom_catalog::CatalogError;
use strongroom_model::{Epoch, TableId, Window};
use strongroom_world::BootTime;
use tokio::sync::watch;

use crate::compact::is_due;
use crate::intake::Intake;
use crate::{FlushConfig, IngestError, sweep};

/// Things that failed, and when to try them again. Bounded by the memtables and windows there are.
#[derive(Debug, Default)]
pub(crate) struct Retries {
    flushes: Mutex<HashMap<(TableId, Epoch), (u32, BootTime)>>,
    windows: Mutex<HashMap<(TableId, Epoch, Window), BootTime>>,
}

/// Windows remembered as failing; beyond it all are tried again.
const FAILING_WINDOWS_MAX: usize = 10_000;

impl Retries {
    fn may_flush(&self, table: TableId, epoch: Epoch, now: BootTime) -> bool {
        self.flushes.lock().get(&(table, epoch)).is_none_or(|(_, at)| now >= *at)
    }

    fn flushed(&self, table: TableId, epoch: Epoch) {
        self.flushes.lock().remove(&(table, epoch));
    }

    /// Waits twice as long after each failure.
    fn flush_failed(&self, table: TableId, epoch: Epoch, now: BootTime, config: &FlushConfig) {
        let mut flushes = self.flushes.lock();
        let (failures, at) = flushes.entry((table, epoch)).or_insert((0, now));
        let wait = config.retry_first_ms.saturating_mul(1 << (*failures).min(20)).min(config.retry_max_ms);
        *failures = failures.saturating_add(1);
        *at = now.after(Duration::from_millis(wait));
    }
}

impl Intake {
    /// Flushes, compacts and sweeps until `stop` turns true. What is in memory then stays in the log.
    pub async fn maintain(self: Arc<Self>, stop: watch::Receiver<bool>) {
        let flusher = async {
            let mut stop = stop.clone();
            loop {
                self.relieve(&stop).await;
                tokio::select! {
                    _ = stop.wait_for(|stop| *stop) => return,
                    () = self.deps.buffer.grown().notified() => {}
                    () = self.deps.world.clock.sleep(Duration::from_millis(self.config.flush.tick_ms)) => {}
                }
            }
        };
        let keeper = async {
            let mut stop = stop.clone();
            let mut swept: Option<BootTime> = None;
            loop {
                let now = self.deps.world.clock.boot();
                if swept.is_none_or(|at| now.since(at) >= Duration::from_millis(self.config.sweep.every_ms)) {
                    swept = Some(now);
                    self.tidy().await;
                }
                let worked = self.compact_next(&stop).await;
                let wait = if worked { 10 } else { self.config.flush.tick_ms.max(1_000) };
                tokio::select! {
                    _ = stop.wait_for(|stop| *stop) => return,
                    () = self.deps.world.clock.sleep(Duration::from_millis(wait)) => {}
                }
            }
        };
        tokio::join!(flusher, keeper);
    }

    /// Flushes every memtable that is due.
    async fn relieve(&self, stop: &watch::Receiver<bool>) {
        // Each flush changes what is due, so the pressure is looked at again; the bound ends a round in which all fail.
        let mut rounds = 0;
        while !*stop.borrow() {
            let now = self.deps.world.clock.boot();
            let pressure = self.deps.buffer.pressure();
            metrics::gauge!("ingest_memtable_bytes").set(pressure.total_bytes as f64);
            metrics::gauge!("ingest_wal_bytes").set(pressure.wal_bytes as f64);
            let next = due(&pressure, now, &self.config.flush).into_iter().find(|t| self.retries.may_flush(t.table, t.epoch, now));
            let Some(TablePressure { table, epoch, .. }) = next else { return };
            match self.flush_memtable(table, epoch).await {
                Ok(_) => self.retries.flushed(table, epoch),
                Err(error) => {
                    metrics::counter!("ingest_flush_failures_total", "code" => error.code()).increment(1);
                    tracing::warn!(%table, code = error.code(), "a flush failed, its rows stay in memory and in the log");
                    self.retries.flush_failed(table, epoch, self.deps.world.clock.boot(), &self.config.flush);
                }
            }
            rounds += 1;
            if rounds > pressure.tables.len() {
                return;
            }
        }
    }

    /// Compacts the window most worth it; false if there was none.
    async fn compact_next(&self, stop: &watch::Receiver<bool>) -> bool {
        if *stop.borrow() {
            return false;
        }
        let candidates = match self.deps.catalog.compaction_candidates(self.config.compact.candidates_max).await {
            Ok(candidates) => candidates,
            Err(error) => {
                tracing::warn!(code = error.code(), "no telling which windows to compact");
                return false;
            }
        };
        let (now, now_ms) = (self.deps.world.clock.boot(), self.deps.world.clock.wall().unix_ms());
        let idle = self.is_idle();
        let next = {
            let failing = self.retries.windows.lock();
            let may = |key: &(TableId, Epoch, Window)| failing.get(key).is_none_or(|at| now >= *at);
            candidates.into_iter().find(|c| is_due(c, now_ms, idle, &self.config.compact) && may(&(c.table, c.epoch, c.window)))
        };
        let Some(candidate) = next else { return false };
        let outcome = self.compact_window(&candidate).await;
        let merged = outcome.as_ref().is_ok_and(|report| report.inputs > 0);
        if let Err(error) = &outcome {
            if !matches!(error, IngestError::Catalog(CatalogError::Conflict { .. })) {
                metrics::counter!("ingest_compact_failures_total", "code" => error.code()).increment(1);
                tracing::warn!(table = %candidate.table, code = error.code(), "a compaction failed, its blocks stay as they are");
            }
        }
        let mut failing = self.retries.windows.lock();
        let key = (candidate.table, candidate.epoch, candidate.window);
        if merged {
            failing.remove(&key);
        } else {
            if failing.len() >= FAILING_WINDOWS_MAX {
                failing.clear();
            }
            failing.insert(key, now.after(Duration::from_millis(self.config.compact.retry_ms)));
        }
        true
    }

    /// Old objects and old batch ids go.
    async fn tidy(&self) {
        if let Err(error) = sweep(&self.deps.world, &self.deps.catalog, &self.deps.blocks, &self.config.sweep).await {
            tracing::warn!(code = error.code(), "a sweep did not finish");
        }
        let now_ms = self.deps.world.clock.wall().unix_ms();
        self.batches.trim(now_ms);
        if let Err(error) = self.deps.catalog.batches_trim(now_ms.saturating_sub(self.batches.age_max_ms())).await {
            tracing::warn!(code = error.code(), "old batch ids were not forgotten");
        }
    }
}

/// The memtables that are due, the most urgent first: what failed to settle, what is large or old, and what presses on
/// memory or on the log.
fn due(pressure: &Pressure, now: BootTime, config: &FlushConfig) -> Vec<TablePressure> {
    let over = |used: u64, limit: u64| used.saturating_mul(100) >= limit.saturating_mul(config.pressure_percent);
    let memory = over(pressure.total_bytes, pressure.total_bytes_max);
    let log = over(pressure.wal_bytes, pressure.wal_bytes_max);
    let age_max = Duration::from_millis(config.age_max_ms);
    let largest = pressure.tables.iter().max_by_key(|table| table.bytes).map(|table| (table.table, table.epoch));
    let mut due: Vec<TablePressure> = pressure
        .tables
        .iter()
        .filter(|t| {
            t.frozen
                || t.bytes >= config.memtable_bytes_max
                || (t.bytes > 0 && now.since(t.oldest) >= age_max)
                || (memory && largest == Some((t.table, t.epoch)))
                || (log && t.pins_wal)
        })
        .cloned()
        .collect();
    due.sort_by_key(|table| std::cmp::Reverse((table.frozen, table.bytes)));
    due
}

//! What happens without being asked: flushing under pressure and by age, compaction when there is time.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use strongroom_buffer::{Pressure, TablePressure};
use strongroom_catalog::{Candidate, CatalogError, WalkFrom};
use strongroom_model::{Epoch, TableId, Window};
use strongroom_world::BootTime;
use tokio::sync::watch;

use crate::compact::{Due, due};
use crate::intake::Intake;
use crate::{FlushConfig, IngestError};

/// Things that failed, and when to try them again. Bounded by the memtables and windows there are.
#[derive(Debug, Default)]
pub(crate) struct Retries {
    flushes: Mutex<HashMap<(TableId, Epoch), (u32, BootTime)>>,
    windows: Mutex<HashMap<Where, BootTime>>,
    /// Where the walk over the windows goes on.
    walk: Mutex<WalkFrom>,
    /// When days are looked for again whose filters are to be put side by side, and those that failed.
    group_at: Mutex<Option<BootTime>>,
    days: Mutex<HashMap<(TableId, Epoch, i64), BootTime>>,
}

/// A window's blocks of one epoch.
type Where = (TableId, Epoch, Window);

/// How often old batch ids are looked for, in milliseconds.
const TIDY_MS: u64 = 60_000;

/// How often days are looked for whose filters are to be put side by side, in milliseconds.
const GROUPS_EVERY_MS: u64 = 60_000;

/// Windows, and days, remembered as failing; beyond it all are tried again.
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
    /// Flushes and compacts until `stop` turns true. What is in memory then stays in the log.
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
            let mut tidied: Option<BootTime> = None;
            loop {
                let now = self.deps.world.clock.boot();
                if tidied.is_none_or(|at| now.since(at) >= Duration::from_millis(TIDY_MS)) {
                    tidied = Some(now);
                    self.tidy().await;
                }
                let worked = self.compact_next(&stop).await || self.group_next(&stop).await;
                let wait = if worked { 10 } else { self.config.flush.tick_ms.max(1_000) };
                tokio::select! {
                    _ = stop.wait_for(|stop| *stop) => return,
                    () = self.deps.world.clock.sleep(Duration::from_millis(wait)) => {}
                }
            }
        };
        tokio::join!(flusher, keeper, self.open_when_due(stop.clone()));
        self.write_tallies().await;
    }

    /// Flushes every memtable that is due.
    async fn relieve(&self, stop: &watch::Receiver<bool>) {
        // Each flush changes what is due, so the pressure is looked at again; the bound ends a round in which all fail.
        let mut rounds = 0;
        while !*stop.borrow() {
            let now = self.deps.world.clock.boot();
            let pressure = self.deps.buffer.pressure();
            report(&pressure);
            let next = due_to_flush(&pressure, self.gate.wants_flush(), now, &self.config.flush)
                .into_iter()
                .find(|t| self.retries.may_flush(t.table, t.epoch, now));
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
            if rounds > pressure.tables.iter().map(|table| table.freezes).sum::<usize>() {
                return;
            }
        }
    }

    /// Compacts the window most worth it; false if there was none.
    async fn compact_next(&self, stop: &watch::Receiver<bool>) -> bool {
        if *stop.borrow() {
            return false;
        }
        let candidates = match self.worth_a_look().await {
            Ok(candidates) => candidates,
            Err(error) => {
                tracing::warn!(code = error.code(), "no telling which windows to compact");
                return false;
            }
        };
        let (now, now_ms) = (self.deps.world.clock.boot(), self.deps.world.clock.wall().unix_ms());
        let idle = self.has_time();
        let next = {
            let failing = self.retries.windows.lock();
            let may = |c: &Candidate| failing.get(&(c.table, c.epoch, c.window)).is_none_or(|at| now >= *at);
            let urgent = |c: &Candidate| due(c, now_ms, idle, &self.config.compact).filter(|_| may(c));
            // Of equals the first: of one table the oldest.
            candidates.into_iter().filter_map(|c| Some((urgent(&c)?, c))).min_by_key(|(due, _)| *due)
        };
        let Some((due, candidate)) = next else { return false };
        if due != Due::Forced {
            // One of a table, then the next table's.
            *self.retries.walk.lock() = WalkFrom::AfterTable(candidate.table);
        }
        let outcome = self.compact_window(&candidate).await;
        let merged = outcome.as_ref().is_ok_and(|report| report.inputs > 0);
        if let Err(error) = &outcome
            && !matches!(error, IngestError::Catalog(CatalogError::Conflict { .. }))
        {
            metrics::counter!("ingest_compact_failures_total", "code" => error.code()).increment(1);
            tracing::warn!(table = %candidate.table, code = error.code(), "a compaction failed, its blocks stay as they are");
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

    /// Merging takes memory, too: while much waits to be flushed it is left for later.
    fn has_time(&self) -> bool {
        let pressure = self.deps.buffer.pressure();
        self.is_idle() && pressure.total_bytes.saturating_mul(2) < pressure.total_bytes_max
    }

    /// Puts the filters of some day's blocks side by side, if there is time; false if there was none.
    async fn group_next(&self, stop: &watch::Receiver<bool>) -> bool {
        let now = self.deps.world.clock.boot();
        if *stop.borrow() || !self.has_time() || self.retries.group_at.lock().is_some_and(|at| now < at) {
            return false;
        }
        let days = match self.lonely_days(self.config.compact.candidates_max.max(1)).await {
            Ok(days) => days,
            Err(error) => {
                tracing::warn!(code = error.code(), "no telling which filters to put side by side");
                Vec::new()
            }
        };
        let next = {
            let failing = self.retries.days.lock();
            days.into_iter().find(|day| failing.get(&(day.table, day.epoch, day.day)).is_none_or(|at| now >= *at))
        };
        let Some(day) = next else {
            *self.retries.group_at.lock() = Some(now.after(Duration::from_millis(GROUPS_EVERY_MS)));
            return false;
        };
        if let Err(error) = self.group_day(&day).await {
            if !matches!(error, IngestError::Catalog(CatalogError::Conflict { .. })) {
                metrics::counter!("ingest_group_failures_total", "code" => error.code()).increment(1);
                tracing::warn!(table = %day.table, code = error.code(), "filters were not put side by side, blocks are asked one by one");
            }
            let mut failing = self.retries.days.lock();
            if failing.len() >= FAILING_WINDOWS_MAX {
                failing.clear();
            }
            failing.insert((day.table, day.epoch, day.day), now.after(Duration::from_millis(self.config.compact.retry_ms)));
        }
        true
    }

    /// The windows with most small blocks, for those are merged even while much arrives, and the next ones of the walk over all.
    async fn worth_a_look(&self) -> Result<Vec<Candidate>, CatalogError> {
        let (catalog, config) = (&self.deps.catalog, &self.config.compact);
        let limit = config.candidates_max.max(1);
        let mut found = catalog.compaction_candidates(config.blocks_force as u64, limit.div_ceil(4)).await?;
        let from = *self.retries.walk.lock();
        let mut walked = catalog.compaction_walk(from, limit).await?;
        let rest = limit.saturating_sub(u32::try_from(walked.len()).unwrap_or(u32::MAX));
        if rest > 0 && from != WalkFrom::Start {
            walked.extend(catalog.compaction_walk(WalkFrom::Start, rest).await?);
        }
        let all = walked.len() < limit as usize;
        *self.retries.walk.lock() = walked.last().filter(|_| !all).map_or(WalkFrom::Start, WalkFrom::after);
        found.append(&mut walked);
        Ok(found)
    }

    /// Old batch ids go.
    async fn tidy(&self) {
        self.write_tallies().await;
        let now_ms = self.deps.world.clock.wall().unix_ms();
        // An id that was answered before a key went is still to be known when what came after it is opened.
        self.batches.trim(self.deps.sealed.oldest_ms(None).map_or(now_ms, |oldest| oldest.min(now_ms)));
        if let Err(error) = self.deps.catalog.batches_trim(now_ms.saturating_sub(self.batches.age_max_ms())).await {
            tracing::warn!(code = error.code(), "old batch ids were not forgotten");
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody reads a gauge to the byte beyond 8 PiB")]
fn report(pressure: &Pressure) {
    metrics::gauge!("ingest_memtable_bytes").set(pressure.total_bytes as f64);
    metrics::gauge!("ingest_wal_bytes").set(pressure.wal_bytes as f64);
}

/// The memtables that are due, the most urgent first: what failed to settle, what is large or old, and what presses on
/// memory or on the log. `wanted`: somebody waits until there is more room in memory, however much there is.
fn due_to_flush(pressure: &Pressure, wanted: bool, now: BootTime, config: &FlushConfig) -> Vec<TablePressure> {
    let over = |used: u64, limit: u64| used.saturating_mul(100) >= limit.saturating_mul(config.pressure_percent);
    let memory = wanted || over(pressure.total_bytes, pressure.total_bytes_max);
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
        .copied()
        .collect();
    due.sort_by_key(|table| std::cmp::Reverse((table.frozen, table.bytes)));
    due
}

#[cfg(test)]
mod tests {
    use strongroom_model::AekId;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn memtable(n: u8, mib: u64, age_s: u64) -> TablePressure {
        let epoch = Epoch { account: strongroom_model::AccountId::NIL, aek: AekId::NIL };
        let table = TableId::from_bytes([n; 16]);
        TablePressure {
            table,
            epoch,
            bytes: mib * MIB,
            oldest: BootTime((10_000 - age_s) * 1_000_000_000),
            pins_wal: n == 9,
            frozen: n == 8,
            freezes: 1,
        }
    }

    /// The tables due, by number, in their order.
    fn check(total_mib: u64, wal_mib: u64, tables: &[TablePressure], expected: &[u8]) {
        check_if(false, total_mib, wal_mib, tables, expected);
    }

    fn check_if(wanted: bool, total_mib: u64, wal_mib: u64, tables: &[TablePressure], expected: &[u8]) {
        let pressure = Pressure {
            total_bytes: total_mib * MIB,
            total_bytes_max: 256 * MIB,
            wal_bytes: wal_mib * MIB,
            wal_bytes_max: 4_096 * MIB,
            tables: tables.to_vec(),
        };
        let due = due_to_flush(&pressure, wanted, BootTime(10_000 * 1_000_000_000), &FlushConfig::default());
        assert_eq!(due.iter().map(|table| table.table.as_bytes()[0]).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_memtable_is_due_by_size_by_age_or_by_pressure_on_memory_or_log() {
        let (small, middle) = (memtable(1, 5, 60), memtable(2, 31, 60));
        check(36, 100, &[middle, small], &[]);
        check(37, 100, &[memtable(3, 32, 0), small], &[3]);
        check(36, 100, &[middle, memtable(4, 1, 900)], &[4]);
        check(205, 100, &[middle, small], &[2]);
        check_if(true, 36, 100, &[middle, small], &[2]);
        check(204, 3_276, &[middle, memtable(9, 1, 0)], &[]);
        check(204, 3_277, &[middle, memtable(9, 1, 0)], &[9]);
        check(0, 0, &[small, memtable(8, 0, 0)], &[8]);
    }

    #[test]
    fn a_flush_that_keeps_failing_is_tried_ever_less_often() {
        let (retries, config) = (Retries::default(), FlushConfig::default());
        let TablePressure { table, epoch, .. } = memtable(1, 1, 0);
        let mut waits = Vec::new();
        for _ in 0..8 {
            retries.flush_failed(table, epoch, BootTime(0), &config);
            waits.push(retries.flushes.lock()[&(table, epoch)].1.0 / 1_000_000_000);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(!retries.may_flush(table, epoch, BootTime(59_000_000_000)));
        retries.flushed(table, epoch);
        assert!(retries.may_flush(table, epoch, BootTime(0)));
    }
}

//! Retention: rows go when their whole window and their arrival are both older than their days. In every key state, for
//! it needs no key: of a block the catalog knows the window, of a log segment whose key is away the clear header says
//! how long its rows are kept.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use strongroom_buffer::{Buffer, Purged, SealedLog};
use strongroom_catalog::{Catalog, TableRow};
use strongroom_model::{Epoch, ObjectId, WorkspaceId};
use strongroom_store::BlockStore;
use strongroom_world::{BootTime, WallTime, World};
use tokio::sync::watch;

use crate::audit::{self, Event, Scribe, name};
use crate::{ControlConfig, ControlError, Sweep};

const DAY_S: i64 = 86_400;
/// A wall clock that ran this much further than the boot clock since the last pass was set, not run: nothing expires on
/// its word until it has been steady for a pass.
const CLOCK_SLACK: Duration = Duration::from_hours(1);

/// How tables that the server fills are called.
const OWN_TABLES: &str = "Strongroom";

/// What one pass of expiry did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Tables looked at.
    pub tables: u64,
    /// Blocks that became tombstones.
    pub blocks: u64,
    /// Their rows.
    pub rows: u64,
    /// Their stored bytes.
    pub bytes: u64,
    /// Log segments whose key is away and whose rows are gone.
    pub segments: u64,
}

/// Ends rows, and then their objects.
#[derive(Debug)]
pub struct Retention {
    world: World,
    catalog: Catalog,
    sweep: Sweep,
    /// The log, and how far ahead of their arrival its rows may lie.
    log: Option<(Arc<Buffer>, Duration)>,
    /// Requests that wait sealed for their key, and likewise.
    sealed: Option<(Arc<SealedLog>, Duration)>,
    audit: audit::Desk,
    config: ControlConfig,
    last: Mutex<Option<(WallTime, BootTime)>>,
}

impl Retention {
    /// The retention of one catalog and its store.
    #[must_use]
    pub fn new(world: World, catalog: Catalog, blocks: Arc<BlockStore>, config: ControlConfig) -> Self {
        let sweep = Sweep::new(world.clone(), catalog.clone(), blocks, config.clone());
        Self { world, catalog, sweep, log: None, sealed: None, audit: audit::Desk::default(), config, last: Mutex::default() }
    }

    /// Has what is erased told to a scribe.
    pub fn audited_by(&self, scribe: Arc<dyn Scribe>) {
        self.audit.seat(scribe);
    }

    /// Lets retention govern this log as well: segments whose key is away. Their rows may lie `ahead` of their arrival.
    #[must_use]
    pub fn with_log(self, log: Arc<Buffer>, ahead: Duration) -> Self {
        Self { log: Some((log, ahead)), ..self }
    }

    /// Lets retention govern this sealed buffer as well; its rows may lie `ahead` of their arrival.
    #[must_use]
    pub fn with_sealed(self, sealed: Arc<SealedLog>, ahead: Duration) -> Self {
        Self { sealed: Some((sealed, ahead)), ..self }
    }

    /// Removes what waits sealed for longer than its rows may be kept.
    async fn expire_sealed(&self) -> Result<(), ControlError> {
        let Some((sealed, ahead)) = self.sealed.clone() else { return Ok(()) };
        let mut changes: HashMap<Epoch, Vec<(i64, u32)>> = HashMap::new();
        for segment in sealed.segments() {
            if let Entry::Vacant(unknown) = changes.entry(segment.epoch) {
                unknown.insert(self.catalog.retention_changes(segment.epoch.aek).await?);
            }
        }
        let now_ms = self.world.clock.wall().unix_ms();
        let expiring = tokio::task::spawn_blocking(move || {
            sealed.expire(now_ms, ahead, &|segment| match changes.get(&segment.epoch) {
                Some(changes) => {
                    let since = changes.iter().filter(|(at, _)| *at >= segment.born_ms()).map(|(_, days)| *days);
                    since.max().unwrap_or(0)
                }
                // Begun since a moment ago: not looked up.
                None => u32::MAX,
            })
        });
        let stopped = ControlError::Damaged { what: "the expiry of sealed requests" };
        let over = expiring.await.map_err(|_| stopped)??;
        for segment in &over {
            let owner = self.catalog.accounts().await?.into_iter().find(|row| row.id == segment.epoch.account);
            let cluster: Option<ObjectId> = owner.and_then(|row| row.cluster?.parse().ok());
            self.audit.note(|| {
                let event = Event::new(name::BUFFER_EXPIRED).account(segment.epoch.account).with("aek", segment.epoch.aek.to_string());
                let event = event.with("segment", segment.id.to_string()).with("bytes", segment.bytes).with("bornMs", segment.born_ms());
                cluster.into_iter().fold(event, Event::cluster)
            });
        }
        metrics::counter!("control_expired_sealed_segments_total").increment(over.len() as u64);
        Ok(())
    }

    /// The sweep that follows each expiry.
    #[must_use]
    pub fn sweep(&self) -> &Sweep {
        &self.sweep
    }

    /// Turns every block into a tombstone whose whole window ended before its table's days, and ends the log segments of
    /// absent keys that are past theirs. One table that fails does not stop the others.
    ///
    /// # Errors
    /// The first thing the catalog said, after all tables were tried.
    pub async fn expire(&self) -> Result<Expired, ControlError> {
        let mut expired = Expired::default();
        if !self.clock_is_steady() {
            tracing::error!("the wall clock was set forward: nothing expires in this pass");
            return Ok(expired);
        }
        let now = self.world.clock.wall().unix_secs();
        let mut failed: Option<ControlError> = None;
        for workspace in self.catalog.workspaces_kept().await? {
            for table in self.catalog.tables(workspace.id).await? {
                expired.tables += 1;
                let days = i64::from(table.retention_days.unwrap_or(workspace.retention_days));
                match self.catalog.expire(table.id, now.saturating_sub(days.saturating_mul(DAY_S))).await {
                    Ok(gone) if gone.is_empty() => {}
                    Ok(gone) => {
                        expired.blocks += gone.len() as u64;
                        let rows: u64 = gone.iter().map(|row| row.rows).sum();
                        expired.rows += rows;
                        expired.bytes += gone.iter().map(|row| row.sealed_len).sum::<u64>();
                        tracing::info!(workspace = %workspace.id, table = %table.id, days, blocks = gone.len(), rows, "rows expired");
                        self.audit.note(|| expired_rows(workspace.id, &table, rows).with("days", days).with("blocks", gone.len()));
                    }
                    Err(error) => {
                        tracing::warn!(workspace = %workspace.id, table = %table.id, code = error.code(), "table did not expire");
                        failed.get_or_insert(error.into());
                    }
                }
            }
        }
        metrics::counter!("control_expired_blocks_total").increment(expired.blocks);
        metrics::counter!("control_expired_rows_total").increment(expired.rows);
        match self.expire_log().await {
            Ok(purged) => expired.segments = purged.segments,
            Err(error) => {
                tracing::warn!(code = error.code(), "log segments did not expire");
                failed.get_or_insert(error);
            }
        }
        metrics::counter!("control_expired_segments_total").increment(expired.segments);
        if expired.segments > 0 {
            self.audit.note(|| Event::new(name::LOG_EXPIRED).with("segments", expired.segments));
        }
        if let Err(error) = self.expire_sealed().await {
            tracing::warn!(code = error.code(), "sealed requests did not expire");
            failed.get_or_insert(error);
        }
        failed.map_or(Ok(expired), Err)
    }

    async fn expire_log(&self) -> Result<Purged, ControlError> {
        let Some((log, ahead)) = &self.log else { return Ok(Purged::default()) };
        let mut changes: HashMap<Epoch, Vec<(i64, u32)>> = HashMap::new();
        for epoch in log.epochs_away() {
            changes.insert(epoch, self.catalog.retention_changes(epoch.aek).await?);
        }
        let (log, ahead) = (Arc::clone(log), *ahead);
        let expiring = tokio::task::spawn_blocking(move || {
            log.expire(ahead, &|epoch, born_ms| match changes.get(&epoch) {
                Some(changes) => changes.iter().filter(|(at, _)| *at >= born_ms).map(|(_, days)| *days).max().unwrap_or(0),
                // Away since a moment ago: not looked up.
                None => u32::MAX,
            })
        });
        let stopped = ControlError::Damaged { what: "the expiry of log segments" };
        Ok(expiring.await.map_err(|_| stopped)??)
    }

    fn clock_is_steady(&self) -> bool {
        let now = (self.world.clock.wall(), self.world.clock.boot());
        let Some((wall, boot)) = self.last.lock().replace(now) else {
            return true;
        };
        let ran = u64::try_from(now.0.0.saturating_sub(wall.0)).unwrap_or(0);
        Duration::from_nanos(ran) <= now.1.since(boot).saturating_add(CLOCK_SLACK)
    }

    /// Expires and sweeps, again and again, until told to stop. Stopping in mid-pass is safe.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let every = Duration::from_secs(self.config.housekeeping_every_s);
        loop {
            tokio::select! {
                // An error means that whoever could say stop is gone.
                _ = stop.wait_for(|stop| *stop) => return,
                () = self.pass_and_wait(every) => {}
            }
        }
    }

    async fn pass_and_wait(&self, every: Duration) {
        if let Err(error) = self.expire().await {
            tracing::warn!(code = error.code(), "expiry did not finish");
        }
        if let Err(error) = self.sweep.pass().await {
            tracing::warn!(code = error.code(), "sweep did not finish");
        }
        self.world.clock.sleep(every).await;
    }
}

/// What the workspace's own audit table loses is in the chain alone: it would lose a row a day for having lost a row.
fn expired_rows(workspace: WorkspaceId, table: &TableRow, rows: u64) -> Event {
    let event = Event::new(name::ROWS_EXPIRED).with("table", table.name.as_str()).with("rows", rows);
    if table.name.as_str().starts_with(OWN_TABLES) { event.with("workspace", workspace.to_string()) } else { event.workspace(workspace) }
}

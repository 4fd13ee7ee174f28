//! Retention: rows go when their whole window and their arrival are both older than their days. In every key state, for
//! it needs no key.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use strongroom_catalog::Catalog;
use strongroom_store::BlockStore;
use strongroom_world::{BootTime, WallTime, World};
use tokio::sync::watch;

use crate::{ControlConfig, ControlError, Sweep};

const DAY_S: i64 = 86_400;
/// A wall clock that ran this much further than the boot clock since the last pass was set, not run: nothing expires on
/// its word until it has been steady for a pass.
const CLOCK_SLACK: Duration = Duration::from_hours(1);

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
}

/// Ends rows, and then their objects.
#[derive(Debug)]
pub struct Retention {
    world: World,
    catalog: Catalog,
    sweep: Sweep,
    config: ControlConfig,
    last: Mutex<Option<(WallTime, BootTime)>>,
}

impl Retention {
    /// The retention of one catalog and its store.
    #[must_use]
    pub fn new(world: World, catalog: Catalog, blocks: Arc<BlockStore>, config: ControlConfig) -> Self {
        let sweep = Sweep::new(world.clone(), catalog.clone(), blocks, config.clone());
        Self { world, catalog, sweep, config, last: Mutex::default() }
    }

    /// The sweep that follows each expiry.
    #[must_use]
    pub fn sweep(&self) -> &Sweep {
        &self.sweep
    }

    /// Turns every block into a tombstone whose whole window ended before its table's days. One table that fails does not
    /// stop the others.
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
        let mut failed = None;
        for workspace in self.catalog.workspaces().await? {
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
                    }
                    Err(error) => {
                        tracing::warn!(workspace = %workspace.id, table = %table.id, code = error.code(), "table did not expire");
                        failed.get_or_insert(error);
                    }
                }
            }
        }
        metrics::counter!("control_expired_blocks_total").increment(expired.blocks);
        metrics::counter!("control_expired_rows_total").increment(expired.rows);
        failed.map_or(Ok(expired), |error| Err(error.into()))
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

//! Objects that no reader needs any more, and what the store holds against what the catalog says.

use std::collections::HashMap;
use std::sync::Arc;

use strongroom_catalog::{BlockRow, BlockState, Catalog, GroupRow};
use strongroom_model::ObjectId;
use strongroom_store::{BlockStore, ObjectKey};
use strongroom_world::World;

use crate::{ControlConfig, ControlError};

/// What one sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Blocks, and filters of several, given up that were announced long ago and never went live.
    pub abandoned: u64,
    /// Objects deleted and forgotten.
    pub deleted: u64,
    /// Their stored bytes.
    pub bytes: u64,
    /// Objects the store would not delete; tried again next time.
    pub failed: u64,
}

/// What the store holds against what the catalog says. Nothing is done about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Live blocks whose object is there in its length.
    pub sound: u64,
    /// Live blocks without an object.
    pub missing: Vec<ObjectId>,
    /// Live blocks, or filters of several, whose object has another length.
    pub resized: Vec<ObjectId>,
    /// Objects the catalog never heard of. They are left.
    pub unknown: Vec<ObjectKey>,
    /// Their bytes.
    pub unknown_bytes: u64,
}

/// Deletes what nobody reads any more. Works on names alone, so in every key state.
#[derive(Debug)]
pub struct Sweep {
    world: World,
    catalog: Catalog,
    blocks: Arc<BlockStore>,
    config: ControlConfig,
}

impl Sweep {
    /// A sweep of one store and its catalog.
    #[must_use]
    pub fn new(world: World, catalog: Catalog, blocks: Arc<BlockStore>, config: ControlConfig) -> Self {
        Self { world, catalog, blocks, config }
    }

    /// Gives up blocks announced long ago, then deletes the objects of tombstones past their grace and forgets the rows.
    /// An object goes before its row: a crash between the two is made good by the next sweep.
    ///
    /// # Errors
    /// What the catalog says. An object that cannot be deleted is counted and does not stop the others.
    pub async fn pass(&self) -> Result<Swept, ControlError> {
        let mut swept = Swept::default();
        let now_ms = self.world.clock.wall().unix_ms();
        let before = |seconds: u64| now_ms.saturating_sub(i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX));
        // A row given up becomes a tombstone first: from then on no flush can make it live while its object goes.
        loop {
            let abandoned = self.catalog.pending_abandon(before(self.config.pending_age_s), self.config.sweep_batch).await?;
            swept.abandoned += abandoned.len() as u64;
            if abandoned.len() < self.config.sweep_batch as usize {
                break;
            }
        }
        loop {
            let dead = self.catalog.tombstones(before(self.config.tombstone_grace_s), self.config.sweep_batch).await?;
            let gone = self.delete(&dead, &mut swept).await;
            self.catalog.block_forget(&gone).await?;
            // Failures come first again in the next batch: leave them to the next pass.
            if dead.len() < self.config.sweep_batch as usize || gone.len() < dead.len() {
                break;
            }
        }
        self.pass_groups(before(self.config.pending_age_s), before(self.config.tombstone_grace_s), &mut swept).await?;
        metrics::counter!("control_deleted_objects_total").increment(swept.deleted);
        metrics::counter!("control_deleted_bytes_total").increment(swept.bytes);
        metrics::counter!("control_sweep_failures_total").increment(swept.failed);
        if swept != Swept::default() {
            let Swept { abandoned, deleted, bytes, failed } = swept;
            tracing::info!(abandoned, deleted, bytes, failed, "swept");
        }
        Ok(swept)
    }

    /// Likewise for filters of several blocks.
    async fn pass_groups(&self, pending_before: i64, dead_before: i64, swept: &mut Swept) -> Result<(), ControlError> {
        loop {
            let abandoned = self.catalog.groups_abandon(pending_before, self.config.sweep_batch).await?;
            swept.abandoned += abandoned;
            if abandoned < u64::from(self.config.sweep_batch) {
                break;
            }
        }
        loop {
            let dead = self.catalog.group_tombstones(dead_before, self.config.sweep_batch).await?;
            let gone = self.delete_objects(dead.iter().map(|row| (group_key(row), row.sealed_len)), swept).await;
            self.catalog.group_forget(&gone).await?;
            if dead.len() < self.config.sweep_batch as usize || gone.len() < dead.len() {
                return Ok(());
            }
        }
    }

    async fn delete(&self, dead: &[BlockRow], swept: &mut Swept) -> Vec<ObjectId> {
        self.delete_objects(dead.iter().map(|row| (key(row), row.sealed_len)), swept).await
    }

    async fn delete_objects(&self, dead: impl Iterator<Item = (ObjectKey, u64)>, swept: &mut Swept) -> Vec<ObjectId> {
        let mut gone = Vec::new();
        for (key, len) in dead {
            match self.blocks.delete(&key).await {
                Ok(()) => {
                    gone.push(key.object);
                    swept.deleted += 1;
                    swept.bytes += len;
                }
                Err(error) => {
                    tracing::warn!(object = %key.object, code = error.code(), "object was not deleted");
                    swept.failed += 1;
                }
            }
        }
        gone
    }

    /// Holds the store's listing against the catalog's live blocks. Must not run beside [`pass`](Self::pass).
    ///
    /// # Errors
    /// What the store and the catalog say.
    pub async fn inventory(&self) -> Result<Inventory, ControlError> {
        let began_ms = self.world.clock.wall().unix_ms();
        // The listing first: a row comes before its object, so everything listed has one by the time the rows are read.
        let listed = self.blocks.list().await?;
        let mut there: HashMap<ObjectId, (ObjectKey, u64)> = listed.into_iter().map(|(key, len)| (key.object, (key, len))).collect();
        let mut inventory = Inventory::default();
        for row in self.catalog.live_objects().await? {
            match there.remove(&row.object) {
                Some((found, len)) if found == key(&row) && len == row.sealed_len => inventory.sound += 1,
                Some(_) => inventory.resized.push(row.object),
                // It may have been put since the listing.
                None if row.since_ms >= began_ms => {}
                None => inventory.missing.push(row.object),
            }
        }
        for row in self.catalog.pending(i64::MAX, u32::MAX).await?.into_iter().chain(self.catalog.tombstones(i64::MAX, u32::MAX).await?) {
            there.remove(&row.object);
        }
        // Filters of several blocks are no rows: one that is missing is made good by asking its blocks.
        for row in self.catalog.groups().await? {
            match there.remove(&row.object) {
                Some((found, len)) if row.state == BlockState::Live && (found != group_key(&row) || len != row.sealed_len) => {
                    inventory.resized.push(row.object);
                }
                _ => {}
            }
        }
        inventory.unknown_bytes = there.values().map(|(_, len)| len).sum();
        inventory.unknown = there.into_values().map(|(key, _)| key).collect();
        inventory.unknown.sort_by_key(|key| key.object);
        let Inventory { sound, missing, resized, unknown, unknown_bytes } = &inventory;
        if missing.is_empty() && resized.is_empty() && unknown.is_empty() {
            tracing::info!(sound, "every live block has its object");
        } else {
            let (missing, resized, unknown) = (missing.len(), resized.len(), unknown.len());
            tracing::warn!(sound, missing, resized, unknown, unknown_bytes, "store and catalog differ");
        }
        Ok(inventory)
    }
}

fn key(row: &BlockRow) -> ObjectKey {
    ObjectKey { account: row.epoch.account, workspace: row.workspace, table: row.table, window_start: row.window.start, object: row.object }
}

fn group_key(row: &GroupRow) -> ObjectKey {
    ObjectKey { account: row.epoch.account, workspace: row.workspace, table: row.table, window_start: row.day, object: row.object }
}

//! Bringing back what a revocation erased: sealed parts out of the object store, in the background.
//!
//! Slow on purpose: one part at a time on the whole node, at a settable pace, so that queries (which fetch for
//! themselves what they need at once) never wait for it. The newest arrivals come first, and nothing that is here
//! already is driven out: a full cache ends it. So does the key, at the next part.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use serde::Serialize;
use strongroom_envelope::KeyGuard;

use super::index::PartId;
use super::read::{Fill, parts_of};
use super::slot::Counters;
use super::{HotCache, PART_LEN};
use crate::{StoreError, StoredBlock};

/// What a reload did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// Parts fetched and kept.
    pub parts: u64,
    /// Their bytes, as they lie in the object store.
    pub bytes: u64,
    /// Whether it ended because cache or disk are full.
    pub full: bool,
}

impl HotCache {
    /// The oldest arrival that is still hot, milliseconds since 1970; `None` if nothing is ever reloaded.
    #[must_use]
    pub fn reload_since_ms(&self) -> Option<i64> {
        let wanted = self.config.enabled && self.config.reload_bytes_per_second > 0;
        wanted.then(|| self.world.clock.wall().unix_ms().saturating_sub(self.hot_ms()))
    }

    /// Fetches what is missing of these blocks, each under its guard.
    pub(crate) async fn reload(
        &self,
        objects: &Arc<dyn ObjectStore>,
        mut blocks: Vec<(StoredBlock, KeyGuard)>,
    ) -> Result<Reloaded, StoreError> {
        let mut done = Reloaded::default();
        blocks.sort_by_key(|(block, _)| std::cmp::Reverse(block.arrived_ms));
        for (block, guard) in blocks {
            let now_ms = self.world.clock.wall().unix_ms();
            if self.reload_since_ms().is_none() || !self.is_young(&block, now_ms) {
                return Ok(done);
            }
            let Some(slot) = self.slot_for(&block, &guard).await else {
                guard.check(self.world.clock.boot())?;
                continue;
            };
            let Some(key) = slot.part_key(&guard, &self.world)? else { continue };
            let until_ms = block.arrived_ms.saturating_add(self.hot_ms());
            let fill = Fill { objects: Arc::clone(objects), block, slot, key: Arc::new(key), until_ms };
            for part in parts_of(&(0..block.len)) {
                let Some(name) = fill.slot.part_name(block.key.object, part) else { break };
                let id = PartId::new(&fill.slot, &name);
                if self.index.contains_key(&id) {
                    continue;
                }
                let paced = self.reloading.lock().await;
                guard.check(self.world.clock.boot())?;
                self.index.run_pending_tasks().await;
                if self.index.weighted_size().saturating_add(PART_LEN) > self.size_bytes {
                    return Ok(Reloaded { full: true, ..done });
                }
                // A block that is gone by now, compacted or expired, is nobody's trouble.
                let fetched = match self.fill(&fill, part, &Counters::default()).await {
                    Ok(bytes) => bytes.len() as u64,
                    Err(StoreError::Missing { .. }) => break,
                    Err(error) => return Err(error),
                };
                if !self.index.contains_key(&id) {
                    // The disk has no room, or the key went.
                    guard.check(self.world.clock.boot())?;
                    return Ok(Reloaded { full: true, ..done });
                }
                done.parts += 1;
                done.bytes += fetched;
                metrics::counter!("store_cache_reloaded_bytes_total").increment(fetched);
                self.world.clock.sleep(self.pace_of(fetched)).await;
                drop(paced);
            }
        }
        Ok(done)
    }

    /// How long so many bytes take at the pace that is set.
    fn pace_of(&self, bytes: u64) -> Duration {
        Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / self.config.reload_bytes_per_second.max(1))
    }
}

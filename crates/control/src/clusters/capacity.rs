//! The commitment tier: which capacities there are, and when one may be lowered.

use strongroom_catalog::ClusterRow;

use super::{ClusterAsk, DAY_MS, SKU};
use crate::Refusal;
use crate::azure::{CAPACITY_STEP_GB, Rules};

impl Rules {
    /// The capacity that a new cluster reserves.
    ///
    /// # Errors
    /// ER3 to ER6, ER8.
    pub(super) fn new_capacity(&self, ask: &ClusterAsk) -> Result<i64, Refusal> {
        let min = self.capacity_min_gb;
        match (is_ours(ask), ask.sku_capacity) {
            (Some(true), Some(capacity)) => self.in_range(capacity).map(|()| capacity),
            (Some(true), None) => Err(Refusal::MissingCapacity { min }),
            (Some(false), None) => Err(Refusal::SkuName),
            (_, Some(_)) => Err(Refusal::CapacityWithoutSku),
            (None, None) => Err(Refusal::MissingSku { min }),
        }
    }

    /// Whether a cluster's capacity may become what is asked for. What is not named stays; the same again is no change.
    ///
    /// # Errors
    /// ER3 to ER7.
    pub(super) fn check_capacity(&self, row: &ClusterRow, ask: &ClusterAsk, now_ms: i64) -> Result<(), Refusal> {
        match (is_ours(ask), ask.sku_capacity) {
            (Some(false), None) => Err(Refusal::SkuName),
            (Some(false), Some(_)) => Err(Refusal::CapacityWithoutSku),
            (_, Some(capacity)) if capacity != row.sku_capacity => {
                self.in_range(capacity)?;
                let locked_ms = i64::from(self.capacity_lock_days) * DAY_MS;
                if capacity < row.sku_capacity && now_ms < row.sku_ms.saturating_add(locked_ms) {
                    return Err(Refusal::CapacityLocked { days: self.capacity_lock_days });
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn in_range(&self, capacity: i64) -> Result<(), Refusal> {
        let min = self.capacity_min_gb;
        if !(min..=self.capacity_max_gb).contains(&capacity) {
            return Err(Refusal::CapacityRange { min });
        }
        if capacity % CAPACITY_STEP_GB != 0 {
            return Err(Refusal::MissingCapacity { min });
        }
        Ok(())
    }
}

/// Whether the tier that is named is the one there is; `None`: none is named.
fn is_ours(ask: &ClusterAsk) -> Option<bool> {
    ask.sku_name.as_deref().filter(|name| !name.is_empty()).map(|name| name.eq_ignore_ascii_case(SKU))
}

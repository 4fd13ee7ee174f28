//! The settings of this crate and their bounds.

use serde::{Deserialize, Serialize};

use crate::ControlError;

/// Days that rows may be kept at most: twelve years, as Azure Monitor Logs allows.
pub const RETENTION_DAYS_MAX: u32 = 4_383;

/// Resources, callers and retention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControlConfig {
    /// How long a caller or a workspace is remembered, ms; a deleted token works at most that long. At most 1,000 (DESIGN §7).
    pub cache_ms: u64,
    /// Callers, and workspace names, remembered at most.
    pub cache_entries_max: usize,
    /// Days that a new workspace keeps rows.
    pub retention_days_default: u32,
    /// Seconds between two passes of expiry and sweep.
    pub housekeeping_every_s: u64,
    /// Seconds that an object outlives its block: at least as long as the longest query, which may still read it.
    pub tombstone_grace_s: u64,
    /// Seconds after which a block that was announced and never went live is given up. At least 24 h (reliability §D).
    pub pending_age_s: u64,
    /// Blocks swept in one step.
    pub sweep_batch: u32,
    /// Principals at most.
    pub principals_max: usize,
    /// Workspaces at most.
    pub workspaces_max: usize,
    /// Clusters at most.
    pub clusters_max: usize,
    /// The tenant that clusters and workspaces belong to, a GUID: key vaults of others are refused, identities log in to it. Empty: no
    /// rule, and each identity has a tenant of its own.
    pub tenant_id: String,
}

impl Default for ControlConfig {
    fn default() -> Self {
        Self {
            cache_ms: 1_000,
            cache_entries_max: 10_000,
            retention_days_default: 30,
            housekeeping_every_s: 300,
            tombstone_grace_s: 1_800,
            pending_age_s: 86_400,
            sweep_batch: 500,
            principals_max: 10_000,
            workspaces_max: 10_000,
            clusters_max: 100,
            tenant_id: String::new(),
        }
    }
}

impl ControlConfig {
    /// Checks every setting against its bounds.
    ///
    /// # Errors
    /// [`ControlError::Setting`], naming the first one out of bounds.
    pub fn check(&self) -> Result<(), ControlError> {
        let settings = [
            ("cache_ms", self.cache_ms, 0, 1_000),
            ("cache_entries_max", self.cache_entries_max as u64, 1, 1_000_000),
            ("retention_days_default", u64::from(self.retention_days_default), 1, u64::from(RETENTION_DAYS_MAX)),
            ("housekeeping_every_s", self.housekeeping_every_s, 1, 86_400),
            ("tombstone_grace_s", self.tombstone_grace_s, 60, 7 * 86_400),
            ("pending_age_s", self.pending_age_s, 86_400, 30 * 86_400),
            ("sweep_batch", u64::from(self.sweep_batch), 1, 10_000),
            ("principals_max", self.principals_max as u64, 1, 1_000_000),
            ("workspaces_max", self.workspaces_max as u64, 1, 100_000),
            ("clusters_max", self.clusters_max as u64, 1, 10_000),
        ];
        for (name, value, min, max) in settings {
            if !(min..=max).contains(&value) {
                return Err(ControlError::Setting { name, value, min, max });
            }
        }
        self.tenant().map(drop)
    }

    /// The tenant, if one is set.
    ///
    /// # Errors
    /// [`ControlError::Invalid`] for what is no GUID.
    pub fn tenant(&self) -> Result<Option<uuid::Uuid>, ControlError> {
        if self.tenant_id.is_empty() {
            return Ok(None);
        }
        let read = self.tenant_id.parse().map_err(|_| ControlError::Invalid { what: "tenant_id", why: "a GUID, or nothing" })?;
        Ok(Some(read))
    }
}

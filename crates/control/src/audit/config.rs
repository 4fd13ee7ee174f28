//! The settings of the audit chain and their bounds.

use serde::{Deserialize, Serialize};

use super::AuditError;

/// The audit chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// Bytes of a file of the chain before the next one is begun.
    pub file_max_bytes: u64,
    /// Files kept; the oldest goes when there is one more.
    pub files_max: usize,
    /// Events that wait to be written at most. Changes of keys and roles wait for room; others are counted as lost.
    pub queue_max: usize,
    /// Records that wait for a workspace's key, or for a webhook, at most; older ones stay in the chain alone.
    pub waiting_max: u32,
    /// Changes that one principal may ask for in a minute: each is written down twice.
    pub changes_per_minute_max: u32,
    /// Whether queries are written down, with their text as a cell under the key of their workspace.
    pub queries: bool,
    /// Queries written down in a minute at most; the others are counted.
    pub queries_per_minute_max: u32,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            file_max_bytes: 16 << 20,
            files_max: 64,
            queue_max: 4_096,
            waiting_max: 100_000,
            changes_per_minute_max: 6_000,
            queries: false,
            queries_per_minute_max: 6_000,
        }
    }
}

impl AuditConfig {
    /// Checks every setting against its bounds.
    ///
    /// # Errors
    /// [`AuditError::Setting`], naming the first one out of bounds.
    pub fn check(&self) -> Result<(), AuditError> {
        let settings = [
            ("file_max_bytes", self.file_max_bytes, 4 << 10, 128 << 20),
            ("files_max", self.files_max as u64, 2, 10_000),
            ("queue_max", self.queue_max as u64, 16, 1 << 20),
            ("waiting_max", u64::from(self.waiting_max), 100, 10_000_000),
            ("changes_per_minute_max", u64::from(self.changes_per_minute_max), 60, 1_000_000),
            ("queries_per_minute_max", u64::from(self.queries_per_minute_max), 1, 1_000_000),
        ];
        for (name, value, min, max) in settings {
            if !(min..=max).contains(&value) {
                return Err(AuditError::Setting { name, value, min, max });
            }
        }
        Ok(())
    }
}

//! The hot cache.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use strongroom_envelope::Mmk;
use strongroom_model::{Epoch, NodeId, WorkspaceId};
use strongroom_world::World;

use crate::{StoreError, StoredBlock};

/// Bounds of the hot cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheConfig {
    /// Whether there is one. Default: yes.
    pub enabled: bool,
    /// Most bytes on disk. Default: none given, which means 10 % of what is free (with what the cache already holds), at most 10 GiB.
    pub size_bytes: Option<u64>,
    /// Days that a block stays, counted from its arrival. Default: 14.
    pub hot_days: u32,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { enabled: true, size_bytes: None, hot_days: 14 }
    }
}

/// What the cache did for one workspace since start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CacheStats {
    /// Whose.
    pub workspace: WorkspaceId,
    /// Parts on disk.
    pub entries: u64,
    /// Their bytes on disk.
    pub bytes: u64,
    /// Parts served from disk.
    pub hits: u64,
    /// Parts asked for that were not there.
    pub misses: u64,
    /// Bytes fetched from the object store for readers.
    pub fetched_bytes: u64,
}

/// How much of a block is in the cache, for EXPLAIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Hotness {
    /// All parts.
    Hot,
    /// Some parts.
    Partly,
    /// None.
    Cold,
}

impl Hotness {
    /// `hot`, `partly` or `cold`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::Partly => "partly",
            Self::Cold => "cold",
        }
    }
}

/// The hot cache.
#[derive(Debug)]
pub struct HotCache;

impl HotCache {
    /// open
    pub async fn open(world: World, dir: PathBuf, mmk: Arc<Mmk>, node: NodeId, config: CacheConfig) -> Result<Arc<Self>, StoreError> {
        todo!()
    }
    /// stats
    #[must_use]
    pub fn stats(&self) -> Vec<CacheStats> {
        todo!()
    }
    /// forget
    pub async fn forget(&self, epoch: Epoch) -> Result<(), StoreError> {
        todo!()
    }
    /// forget_workspace
    pub async fn forget_workspace(&self, workspace: WorkspaceId) -> Result<(), StoreError> {
        todo!()
    }
    /// sweep
    pub async fn sweep(&self) {
        todo!()
    }
    /// contains
    #[must_use]
    pub fn contains(&self, block: &StoredBlock) -> Hotness {
        todo!()
    }
}

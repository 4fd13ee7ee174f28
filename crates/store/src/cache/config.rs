//! Bounds of the hot cache, and what it tells of itself.

use serde::{Deserialize, Serialize};
use strongroom_model::WorkspaceId;

const GIB: u64 = 1 << 30;

/// Bounds of the hot cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheConfig {
    /// Whether it is used. Default: yes. Turned off, it serves nothing and takes nothing in; what an earlier run left
    /// still ages and is still erased on revocation.
    pub enabled: bool,
    /// Most bytes on disk. Default: none given, which means 10 % of what is free (counting what the cache itself
    /// holds as free), at most 10 GiB.
    pub size_bytes: Option<u64>,
    /// Days that a block stays, counted from the arrival of its oldest row. Default: 14.
    pub hot_days: u32,
    /// Hours that a part stays at least after somebody read it. Default: 48.
    pub queried_hours: u32,
    /// A part of an older block is kept from its second reading on, if that comes so many seconds after the first or
    /// later: the several reads of one query count as one. Default: 60.
    pub repeat_after_secs: u32,
    /// So many parts of older blocks are remembered as read once. Default: 65,536.
    pub touched_parts: u64,
    /// Parts of one read fetched at the same time. Default: 8.
    pub fetch_concurrency: usize,
    /// Bytes per second at which the cache of a cluster whose key came back is filled again by itself, the newest
    /// arrivals first, in the background; all clusters share them. Default: 32 MiB; 0: it fills by use alone.
    pub reload_bytes_per_second: u64,
    /// Bytes of the disk that the cache leaves free, giving up its own if need be. Default: none given, which means
    /// 2 GiB or 2 % of the disk, whichever is more.
    pub free_min_bytes: Option<u64>,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            size_bytes: None,
            hot_days: 14,
            queried_hours: 48,
            repeat_after_secs: 60,
            touched_parts: 65_536,
            fetch_concurrency: 8,
            reload_bytes_per_second: 32 << 20,
            free_min_bytes: None,
        }
    }
}

impl CacheConfig {
    /// The cap on a disk with so many bytes free.
    pub(super) fn size_for(&self, free: u64) -> u64 {
        self.size_bytes.unwrap_or((free / 10).min(10 * GIB))
    }

    /// What must stay free on a disk of so many bytes.
    pub(super) fn free_min(&self, total: u64) -> u64 {
        self.free_min_bytes.unwrap_or((total / 50).max(2 * GIB))
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
#[serde(rename_all = "lowercase")]
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

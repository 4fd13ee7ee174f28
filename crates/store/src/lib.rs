//! Where sealed objects lie: a durable local object store and the hot cache beside it. Ciphertext only.
//!
//! Nothing here can open a block. What comes in is sealed, what goes out is sealed, and what the hot cache keeps on
//! SSD is sealed once more under a key of its own, so that erasing one small record ends a cache. Start at
//! [`BlockStore`]; the objects of a single machine lie in [`LocalObjects`], the cache is [`HotCache`].
//!
//! ```text
//! put:   sealed block ─▶ object store (temp file, fsync, rename, fsync of the directories) ─▶ hot cache, if young
//! read:  byte ranges ─▶ 1 MiB parts on SSD ─miss─▶ object store: the part if it is worth keeping, else the exact bytes
//! reload: after a key came back, what is missing of young blocks, the newest first, at a settable pace
//! erase: overwrite and unlink the cache's key record ─▶ files, in the background
//! ```

mod blocks;
mod cache;
mod error;
mod key;
mod objects;

pub use blocks::{BlockStore, Reader, StoredBlock};
pub use cache::{CacheConfig, CacheStats, HotCache, Hotness, PART_LEN, Reloaded};
pub use error::StoreError;
pub use key::{KeyError, ObjectKey};
pub use objects::LocalObjects;

//! After a key came back: the hot cache of its blocks fills again by itself, behind everything else.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use strongroom_catalog::Catalog;
use strongroom_envelope::KeyGuard;
use strongroom_model::{AccountId, Epoch};
use strongroom_store::{BlockStore, ObjectKey, Reloaded, StoredBlock};

/// Blocks of an account looked at, the latest arrivals: what lies behind them comes back by use.
const BLOCKS_MAX: u32 = 20_000;

/// Reloads hot caches in the background.
pub(crate) struct Reload {
    catalog: Catalog,
    blocks: Arc<BlockStore>,
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reload")
    }
}

impl Reload {
    pub(crate) fn new(catalog: &Catalog, blocks: &Arc<BlockStore>) -> Self {
        Self { catalog: catalog.clone(), blocks: Arc::clone(blocks) }
    }

    /// Begins it for these epochs and returns. It ends when all is there, when the cache is full, or when a key goes again;
    /// begun twice, it fetches nothing twice.
    pub(crate) fn start(&self, guards: &[KeyGuard]) {
        let (catalog, blocks, guards) = (self.catalog.clone(), Arc::clone(&self.blocks), guards.to_vec());
        tokio::spawn(async move {
            match reload(&catalog, &blocks, guards).await {
                Ok(Reloaded { parts: 0, .. }) => {}
                Ok(Reloaded { parts, bytes, full }) => tracing::info!(parts, bytes, full, "hot cache filled again"),
                Err(code) => tracing::info!(code, "the hot cache is not filled any further"),
            }
        });
    }
}

async fn reload(catalog: &Catalog, blocks: &BlockStore, guards: Vec<KeyGuard>) -> Result<Reloaded, &'static str> {
    let Some(since_ms) = blocks.cache().reload_since_ms() else { return Ok(Reloaded::default()) };
    let mut accounts: Vec<AccountId> = guards.iter().map(|guard| guard.epoch().account).collect();
    accounts.sort();
    accounts.dedup();
    let guards: HashMap<Epoch, KeyGuard> = guards.into_iter().map(|guard| (guard.epoch(), guard)).collect();
    let mut wanted = Vec::new();
    for account in accounts {
        for row in catalog.live_since(account, since_ms, BLOCKS_MAX).await.map_err(|error| error.code())? {
            let Some(guard) = guards.get(&row.epoch) else { continue };
            let key = ObjectKey {
                account: row.epoch.account,
                workspace: row.workspace,
                table: row.table,
                window_start: row.window.start,
                object: row.object,
            };
            let block = StoredBlock { key, epoch: row.epoch, len: row.sealed_len, arrived_ms: row.arrived_ms };
            wanted.push((block, guard.clone()));
        }
    }
    blocks.reload(wanted).await.map_err(|error| error.code())
}

//! After a key came back: what was kept of its blocks in memory and in the hot cache is there again by itself, behind everything else.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use strongroom_catalog::Catalog;
use strongroom_envelope::KeyGuard;
use strongroom_model::{AccountId, Epoch};
use strongroom_query::Engine;
use strongroom_store::{BlockStore, ObjectKey, Reloaded, StoredBlock};

/// Blocks of an account looked at, the latest arrivals: what lies behind them comes back by use.
const BLOCKS_MAX: u32 = 20_000;

/// Reloads caches in the background.
pub(crate) struct Reload {
    catalog: Catalog,
    blocks: Arc<BlockStore>,
    engine: Arc<Engine>,
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reload")
    }
}

impl Reload {
    pub(crate) fn new(catalog: &Catalog, blocks: &Arc<BlockStore>, engine: &Arc<Engine>) -> Self {
        Self { catalog: catalog.clone(), blocks: Arc::clone(blocks), engine: Arc::clone(engine) }
    }

    /// Begins it for these epochs and returns. It ends when all is there, when the cache is full, or when a key goes again;
    /// begun twice, it fetches nothing twice.
    pub(crate) fn start(&self, guards: &[KeyGuard]) {
        let (catalog, blocks, guards) = (self.catalog.clone(), Arc::clone(&self.blocks), guards.to_vec());
        let engine = Arc::clone(&self.engine);
        tokio::spawn(async move {
            warm(&engine, accounts_of(&guards)).await;
            match reload(&catalog, &blocks, guards).await {
                Ok(Reloaded { parts: 0, .. }) => {}
                Ok(Reloaded { parts, bytes, full }) => tracing::info!(parts, bytes, full, "hot cache filled again"),
                Err(code) => tracing::info!(code, "the hot cache is not filled any further"),
            }
        });
    }
}

/// Opens the ends of the newest blocks of these accounts, one account after the other.
pub(crate) async fn warm(engine: &Engine, accounts: Vec<AccountId>) {
    for account in accounts {
        match engine.warm(account).await {
            Ok(0) => {}
            Ok(blocks) => tracing::info!(%account, blocks, "the newest blocks are open again"),
            Err(error) => tracing::debug!(%account, code = error.code(), "no blocks are opened before they are asked for"),
        }
    }
}

fn accounts_of(guards: &[KeyGuard]) -> Vec<AccountId> {
    let mut accounts: Vec<AccountId> = guards.iter().map(|guard| guard.epoch().account).collect();
    accounts.sort();
    accounts.dedup();
    accounts
}

async fn reload(catalog: &Catalog, blocks: &BlockStore, guards: Vec<KeyGuard>) -> Result<Reloaded, &'static str> {
    let Some(since_ms) = blocks.cache().reload_since_ms() else { return Ok(Reloaded::default()) };
    let accounts = accounts_of(&guards);
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

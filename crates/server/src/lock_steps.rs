//! What the key watch asks of the other rooms: cut, forget, recall, keep still.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use strongroom_buffer::Buffer;
use strongroom_catalog::Catalog;
use strongroom_control::audit::Audit;
use strongroom_control::contents::Contents;
use strongroom_control::watch::{Cut, Forget, Gone, Recall, Rewrite, Still, Unflushed, Watch, WatchDeps};
use strongroom_envelope::KeyGuard;
use strongroom_ingest::Intake;
use strongroom_keys::outbound::Outbound;
use strongroom_keys::{KeyError, KeyRing, Shut};
use strongroom_model::{AccountId, Epoch, TableId, WorkspaceId};
use strongroom_query::Engine;
use strongroom_store::BlockStore;
use strongroom_world::World;

use crate::reload::Reload;
use crate::vault_clients::VaultClients;
use crate::{Config, ServeError};

/// The rooms that a key which is taken away concerns.
pub(crate) struct Rooms<'a> {
    pub(crate) engine: &'a Arc<Engine>,
    pub(crate) intake: &'a Arc<Intake>,
    pub(crate) buffer: &'a Arc<Buffer>,
    pub(crate) blocks: &'a Arc<BlockStore>,
    pub(crate) contents: &'a Arc<Contents>,
    pub(crate) audit: &'a Arc<Audit>,
}

/// The key watch over these rooms; `allowed` may be called although they are private addresses.
pub(crate) fn key_watch(
    config: &Config,
    world: &World,
    catalog: &Catalog,
    keys: &Arc<KeyRing>,
    rooms: &Rooms<'_>,
    allowed: Vec<String>,
) -> Result<Arc<Watch>, ServeError> {
    let states = config.keys.states();
    let mut outbound = config.outbound.clone();
    outbound.allow.extend(allowed);
    let outbound = Outbound::open(world, &outbound, &[]).map_err(ServeError::start("outbound client"))?;
    let vaults = VaultClients::new(config, world, catalog, Arc::clone(keys.mmk()), outbound);
    let (engine, intake, buffer) = (|| Arc::clone(rooms.engine), || Arc::clone(rooms.intake), || Arc::clone(rooms.buffer));
    let deps = WatchDeps {
        world: world.clone(),
        catalog: catalog.clone(),
        keys: Arc::clone(keys),
        vaults: Arc::new(vaults),
        cut: Arc::new(Queries(engine())),
        forget: vec![
            Arc::new(Caches(engine(), intake())),
            Arc::clone(rooms.contents) as _,
            Arc::new(Memtables(buffer())),
            Arc::new(Cached(Arc::clone(rooms.blocks))),
        ],
        recall: Arc::new(Log {
            buffer: buffer(),
            catalog: catalog.clone(),
            intake: intake(),
            reload: Reload::new(catalog, rooms.blocks, rooms.engine),
        }),
        still: Arc::new(Writes(intake())),
        audit: rooms.audit.scribe(),
        rewrite: Arc::new(Rewrites { intake: intake(), buffer: buffer(), contents: Arc::clone(rooms.contents) }),
        standby_wrap: config.keys.standby_wrap,
        tenant: config.control.tenant().map_err(ServeError::start("control"))?,
    };
    Ok(Watch::new(deps, states))
}

/// Ends queries.
pub(crate) struct Queries(pub(crate) Arc<Engine>);

impl Cut for Queries {
    fn cut(&self, account: AccountId, error: &KeyError) {
        self.0.cut(account, error);
    }
}

/// Drops what queries and requests opened and kept: footers, statistics, columns.
pub(crate) struct Caches(pub(crate) Arc<Engine>, pub(crate) Arc<Intake>);

#[async_trait]
impl Forget for Caches {
    fn name(&self) -> &'static str {
        "caches"
    }
    async fn forget(&self, gone: &Gone) -> Result<(), String> {
        for epoch in &gone.epochs {
            self.0.forget(*epoch);
            self.1.forget(*epoch);
        }
        Ok(())
    }
}

/// Drops rows in memory: they are in the log, under the key that went.
pub(crate) struct Memtables(pub(crate) Arc<Buffer>);

#[async_trait]
impl Forget for Memtables {
    fn name(&self) -> &'static str {
        "memtables"
    }
    async fn forget(&self, gone: &Gone) -> Result<(), String> {
        let (buffer, epochs, lost) = (Arc::clone(&self.0), gone.epochs.clone(), Arc::clone(&gone.lost));
        let dropped = tokio::task::spawn_blocking(move || {
            lost.rows.fetch_add(rows_of(&buffer, &epochs), Ordering::Relaxed);
            for epoch in epochs {
                buffer.forget(epoch);
            }
        });
        dropped.await.map_err(|_| "it panicked".to_owned())
    }
}

/// Rows in memory under these epochs.
fn rows_of(buffer: &Buffer, epochs: &[Epoch]) -> u64 {
    let tables: HashSet<TableId> =
        buffer.pressure().tables.iter().filter(|table| epochs.contains(&table.epoch)).map(|table| table.table).collect();
    let kept = tables.into_iter().flat_map(|table| buffer.snapshot(table)).filter(|snapshot| epochs.contains(&snapshot.epoch));
    kept.flat_map(|snapshot| snapshot.rows).map(|(_, batch)| batch.num_rows() as u64).sum()
}

/// Erases cache keys, then files. Not while a vault only does not answer: the files do not open without it.
pub(crate) struct Cached(pub(crate) Arc<BlockStore>);

#[async_trait]
impl Forget for Cached {
    fn name(&self) -> &'static str {
        "hot cache"
    }
    async fn forget(&self, gone: &Gone) -> Result<(), String> {
        if matches!(gone.why, Shut::Unavailable | Shut::Quarantined) {
            return Ok(());
        }
        let held = || self.0.cache().stats().iter().fold((0, 0), |(files, bytes), one| (files + one.entries, bytes + one.bytes));
        let before = held();
        let mut outcome = Ok(());
        for epoch in &gone.epochs {
            outcome = outcome.and(self.0.cache().forget(*epoch).await.map_err(|error| error.code().to_owned()));
        }
        let after = held();
        gone.lost.files.fetch_add(u64::saturating_sub(before.0, after.0), Ordering::Relaxed);
        gone.lost.bytes.fetch_add(u64::saturating_sub(before.1, after.1), Ordering::Relaxed);
        outcome
    }
}

/// Reads a log back into memory, then lets the hot cache fill behind it.
pub(crate) struct Log {
    pub(crate) buffer: Arc<Buffer>,
    pub(crate) catalog: Catalog,
    pub(crate) intake: Arc<Intake>,
    pub(crate) reload: Reload,
}

#[async_trait]
impl Recall for Log {
    async fn recall(&self, guards: &[KeyGuard]) -> Result<u64, String> {
        let _still = self.intake.no_flush().await;
        let flushed = self.catalog.flushed_all().await.map_err(|error| error.code().to_owned())?;
        let flushed: HashMap<_, _> = flushed.into_iter().map(|(table, epoch, through)| ((table, epoch), through)).collect();
        let (buffer, these) = (Arc::clone(&self.buffer), guards.to_vec());
        let read = tokio::task::spawn_blocking(move || {
            let restored = these.iter().map(|guard| buffer.restore(guard, &flushed));
            restored.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())
        });
        let read = read.await.map_err(|_| "it panicked".to_owned())??;
        let mut rows = 0;
        for recovery in read {
            rows += recovery.rows;
            self.intake.remember(recovery.marks);
        }
        self.reload.start(guards);
        Ok(rows)
    }
}

/// Keeps a workspace's requests still.
pub(crate) struct Writes(pub(crate) Arc<Intake>);

#[async_trait]
impl Still for Writes {
    async fn still(&self, workspace: WorkspaceId) -> Box<dyn Any + Send> {
        Box::new(self.0.barrier(workspace).await)
    }
    async fn flush_account(&self, account: AccountId) -> Result<(), String> {
        self.0.flush_account(account).await.map_err(|error| error.code().to_owned())
    }
    fn unflushed(&self, account: AccountId) -> Unflushed {
        let (tables, unread) = self.0.unflushed(account);
        Unflushed { tables, unread }
    }
    fn flush(&self, workspace: WorkspaceId) {
        let intake = Arc::clone(&self.0);
        tokio::spawn(async move {
            if let Err(error) = intake.flush(workspace, None).await {
                tracing::info!(%workspace, code = error.code(), "rows from before a move stay in memory and log for now");
            }
        });
    }
}

/// Seals blocks anew, and ends logs.
pub(crate) struct Rewrites {
    pub(crate) intake: Arc<Intake>,
    pub(crate) buffer: Arc<Buffer>,
    pub(crate) contents: Arc<Contents>,
}

#[async_trait]
impl Rewrite for Rewrites {
    async fn carry(&self, from: Epoch, to: Epoch, workspace: Option<WorkspaceId>) -> Result<(), String> {
        self.intake.carry_columns(from, to, workspace).await.map_err(|error| error.code().to_owned())?;
        self.contents.carry(from, to, workspace).await.map_err(|error| error.code().to_owned())
    }
    async fn next(&self, from: Epoch, to: Epoch, workspace: Option<WorkspaceId>) -> Result<Option<u64>, String> {
        self.intake.rewrite_next(from, to, workspace).await.map_err(|error| error.code().to_owned())
    }
    async fn flush(&self, workspace: WorkspaceId) -> Result<(), String> {
        self.intake.flush(workspace, None).await.map(drop).map_err(|error| error.code().to_owned())
    }
    async fn retire(&self, epoch: Epoch) -> Result<bool, String> {
        // Acked, and to be opened by this epoch's key alone.
        if self.intake.awaits(epoch) {
            return Ok(false);
        }
        let buffer = Arc::clone(&self.buffer);
        let retired = tokio::task::spawn_blocking(move || buffer.retire(epoch).map_err(|error| error.code().to_owned()));
        retired.await.map_err(|_| "it panicked".to_owned())?
    }
}

macro_rules! named {
    ($($step:ident),+) => {
        $(impl fmt::Debug for $step {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($step))
            }
        })+
    };
}
named!(Queries, Caches, Memtables, Cached, Log, Writes, Rewrites);

#[cfg(test)]
mod tests;

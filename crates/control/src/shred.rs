//! The end of data: workspaces deleted and brought back, shredded after their time; keys of deleted clusters destroyed; rows of
//! a table taken away.
//!
//! A workspace's rows are under secrets of its own, one per epoch: destroying them shreds it, whatever copies of its objects
//! there are. A cluster's rows are under its account's AEKs: destroying their records does the same. Both wait for their time and
//! until no segment of the log holds rows of theirs, for those are under keys that others share. A table or a day has no key: it is
//! deleted, or rewritten without (`ingest`). Every step may be repeated, and what a stop left is taken up again.
//!
//! ```text
//! deleted ─14 days─▶ log is clear? ─▶ secrets, records: one transaction ─▶ keys in memory, caches ─▶ journal folded ─▶ told ─▶ done
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use strongroom_catalog::{Catalog, CatalogError, DeletedRow, OperationRow, TableRow, WorkspaceRow};
use strongroom_keys::KeyRing;
use strongroom_model::{Epoch, ErrorKind, ObjectId, PrincipalId, TableId, TableName, TimeRange, WorkspaceId};
use strongroom_store::BlockStore;
use strongroom_world::World;
use tokio::sync::watch;

use crate::audit::{Audit, Event, name};
use crate::clusters::{Clusters, whole};
use crate::operations::{Change, Operations};
use crate::watch::Watch;
use crate::{Caller, ControlConfig, ControlError, Place, RESERVED_DAYS, ScopePath, Workspaces, action, tables};

const DAY_MS: i64 = 86_400_000;

/// What went of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RowsGone {
    /// Blocks whose every row went.
    pub deleted: u64,
    /// Blocks that were written once more without some of their rows.
    pub rewritten: u64,
    /// Rows that went.
    pub rows: u64,
    /// Sealed bytes of the old objects.
    pub bytes: u64,
    /// Old objects that the sweep has still to unlink.
    pub objects_left: u64,
    /// Segments of the log that could not go yet, for others' rows in them.
    pub segments_left: u64,
}

/// What the end of data asks of the rooms that hold it; `server::wiring` implements it.
#[async_trait]
pub trait Dispose: fmt::Debug + Send + Sync {
    /// Gives up what a deleted workspace has in memory and log. Whether nothing of it is left there.
    ///
    /// # Errors
    /// What the write path says.
    async fn discard(&self, workspace: WorkspaceId) -> Result<bool, ControlError>;
    /// Takes the log of epochs away, if nothing in it waits to become a block. Whether it did.
    ///
    /// # Errors
    /// What the write path says.
    async fn discard_epochs(&self, epochs: &[Epoch]) -> Result<bool, ControlError>;
    /// Takes rows of a table away.
    ///
    /// # Errors
    /// What the write path says.
    async fn take_rows(&self, workspace: WorkspaceId, table: TableId, range: TimeRange) -> Result<RowsGone, ControlError>;
    /// Drops what is cached of rows of these epochs.
    fn forget(&self, epochs: &[Epoch]);
}

/// What shredding stands on.
#[derive(Clone)]
#[expect(missing_docs, reason = "each is named after its type")]
pub struct ShredDeps {
    pub world: World,
    pub catalog: Catalog,
    pub keys: Arc<KeyRing>,
    pub blocks: Arc<BlockStore>,
    pub watch: Arc<Watch>,
    pub workspaces: Arc<Workspaces>,
    pub clusters: Arc<Clusters>,
    pub dispose: Arc<dyn Dispose>,
    pub audit: Arc<Audit>,
}

impl fmt::Debug for ShredDeps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShredDeps").finish_non_exhaustive()
    }
}

/// Ends data for good.
#[derive(Debug)]
pub struct Shredder {
    deps: ShredDeps,
    operations: Operations,
    every: Duration,
    /// One pass at a time.
    passing: tokio::sync::Mutex<()>,
}

/// A shredding of rows that may be done, and has not begun.
struct Asked {
    row: TableRow,
    range: TimeRange,
    resource: String,
    region: String,
    by: PrincipalId,
}

impl Shredder {
    /// A shredder that passes as often as the sweep does.
    #[must_use]
    pub fn new(deps: ShredDeps, config: &ControlConfig) -> Arc<Self> {
        let operations = Operations::new(deps.world.clone(), deps.catalog.clone());
        let every = Duration::from_secs(config.housekeeping_every_s);
        Arc::new(Self { deps, operations, every, passing: tokio::sync::Mutex::default() })
    }

    /// Deletes a workspace, unlinking it first. It can be brought back for 14 days, link and all; with `for_good` it is shredded at once: `true`
    /// if that is done, else the log still has rows of it, and the next passes do it.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`]; [`ControlError::Conflict`] while a link of it changes; what the catalog says.
    pub async fn delete(&self, caller: &Caller, row: WorkspaceRow, for_good: bool) -> Result<(DeletedRow, bool), ControlError> {
        let at = ScopePath::workspace(&row);
        caller.check(action::WORKSPACES_DELETE, &at)?;
        if for_good {
            caller.check(action::SHRED, &at)?;
        }
        let deps = &self.deps;
        deps.clusters.detach(&row, for_good).await?;
        let deleted_ms = self.now_ms();
        let shred_ms = if for_good { deleted_ms } else { deleted_ms + i64::from(RESERVED_DAYS) * DAY_MS };
        let event = Event::new(name::WORKSPACE_DELETED).by(caller.principal).workspace(row.id);
        deps.audit.record(event.with("until", crate::clusters::rfc3339(shred_ms)).with("forGood", for_good)).await?;
        deps.catalog.workspace_delete(row.id, deleted_ms, shred_ms).await.map_err(|error| match error {
            CatalogError::Conflict { .. } => ControlError::Conflict { why: "the workspace is being linked: try again" },
            CatalogError::NotFound { .. } => ControlError::NotFound { what: "workspace", name: row.name.to_string() },
            other => other.into(),
        })?;
        deps.workspaces.forget();
        tracing::info!(workspace = %row.id, for_good, "workspace deleted");
        let shredded = for_good && {
            let _alone = self.passing.lock().await;
            self.shred_workspace(row.id).await?
        };
        Ok((DeletedRow { workspace: row, deleted_ms, shred_ms }, shredded))
    }

    /// The deleted workspaces that a caller may see and that can be brought back, or are being shredded.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn deleted(&self, caller: &Caller) -> Result<Vec<DeletedRow>, ControlError> {
        let mut all = self.deps.catalog.workspaces_deleted().await?;
        all.retain(|row| caller.may(action::WORKSPACES_READ, &ScopePath::workspace(&row.workspace)));
        Ok(all)
    }

    /// Brings a deleted workspace back, named by name or id, with all its rows, linked as it was if the cluster is still there.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`], [`ControlError::NotFound`], [`ControlError::Ambiguous`]; [`ControlError::Conflict`] once its
    /// shredding began.
    pub async fn recover(&self, caller: &Caller, asked: &str) -> Result<WorkspaceRow, ControlError> {
        let id: Option<WorkspaceId> = asked.parse().ok();
        let mut found = self.deps.catalog.workspaces_deleted().await?;
        found.retain(|row| {
            caller.sees(&ScopePath::workspace(&row.workspace))
                && (Some(row.workspace.id) == id || row.workspace.name.as_str().eq_ignore_ascii_case(asked))
        });
        if found.len() > 1 {
            return Err(ControlError::Ambiguous { what: "deleted workspaces", name: asked.to_owned() });
        }
        let row = found.pop().ok_or_else(|| ControlError::NotFound { what: "deleted workspace", name: asked.to_owned() })?;
        self.bring_back(caller, row).await
    }

    /// As [`recover`](Self::recover), by place: what making one of the same name there does. `None`: none was deleted there.
    ///
    /// # Errors
    /// As there.
    pub async fn recover_at(&self, caller: &Caller, place: &Place) -> Result<Option<WorkspaceRow>, ControlError> {
        match self.find_deleted(caller, place).await? {
            None => Ok(None),
            Some(row) => self.bring_back(caller, row).await.map(Some),
        }
    }

    /// The deleted workspace that making one there would bring back, if the caller may know of it.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn deleted_at(&self, caller: &Caller, place: &Place) -> Result<Option<WorkspaceRow>, ControlError> {
        Ok(self.find_deleted(caller, place).await?.map(|row| row.workspace))
    }

    async fn find_deleted(&self, caller: &Caller, place: &Place) -> Result<Option<DeletedRow>, ControlError> {
        let mut found = self.deps.catalog.workspaces_deleted().await?;
        found.retain(|row| {
            let at = Place::of_workspace(&row.workspace);
            at.subscription.eq_ignore_ascii_case(&place.subscription)
                && at.resource_group.eq_ignore_ascii_case(&place.resource_group)
                && at.name.eq_ignore_ascii_case(&place.name)
                && caller.sees(&ScopePath::workspace(&row.workspace))
        });
        Ok(found.pop())
    }

    async fn bring_back(&self, caller: &Caller, row: DeletedRow) -> Result<WorkspaceRow, ControlError> {
        let id = row.workspace.id;
        caller.check(action::WORKSPACES_WRITE, &ScopePath::workspace(&row.workspace))?;
        self.deps.audit.record(Event::new(name::WORKSPACE_RECOVERED).by(caller.principal).workspace(id)).await?;
        if !self.deps.catalog.workspace_recover(id, self.now_ms()).await? {
            return Err(ControlError::Conflict { why: "the workspace's time is over: it is being shredded" });
        }
        self.deps.clusters.relink(id).await?;
        self.deps.workspaces.forget();
        tracing::info!(workspace = %id, "workspace recovered");
        Ok(self.deps.catalog.workspace(id).await?.unwrap_or(row.workspace))
    }

    /// Takes the rows of a table away whose event time lies in `range`. Done when this returns; after a stop it is taken up again.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`], [`ControlError::NotFound`]; [`ControlError::Conflict`] while another runs on the table; what the
    /// write path says: then nothing was changed, or only files are left to unlink.
    pub async fn table(
        self: &Arc<Self>,
        caller: &Caller,
        workspace: &WorkspaceRow,
        table: &TableName,
        range: TimeRange,
    ) -> Result<RowsGone, ControlError> {
        let asked = self.asked(caller, workspace, table, range).await?;
        let this = Arc::clone(self);
        whole(async move {
            let operation = this.begin(&asked).await?;
            let outcome = this.take(&asked.row, range).await;
            this.operations.finish(&operation, outcome.as_ref().err()).await?;
            outcome
        })
        .await
    }

    /// As [`table`](Self::table), going on in the background: the operation that tells when it is done.
    ///
    /// # Errors
    /// As there, but for what the write path says: that is the operation's end.
    pub async fn begin_table(
        self: &Arc<Self>,
        caller: &Caller,
        workspace: &WorkspaceRow,
        table: &TableName,
        range: TimeRange,
    ) -> Result<OperationRow, ControlError> {
        let asked = self.asked(caller, workspace, table, range).await?;
        let this = Arc::clone(self);
        whole(async move {
            let operation = this.begin(&asked).await?;
            let begun = operation.clone();
            tokio::spawn(async move { this.take_up(begun, asked.row.id, range).await });
            Ok(operation)
        })
        .await
    }

    async fn asked(&self, caller: &Caller, workspace: &WorkspaceRow, table: &TableName, range: TimeRange) -> Result<Asked, ControlError> {
        tables::check(&self.deps.catalog, caller, workspace, table.as_str(), action::SHRED).await?;
        let absent = || ControlError::NotFound { what: "table", name: table.to_string() };
        let row = tables::called(&self.deps.catalog, workspace.id, table).await?.ok_or_else(absent)?;
        let resource = format!("{}/tables/{}", Place::of_workspace(workspace).workspace_path(), row.name);
        Ok(Asked { row, range, resource, region: workspace.region.clone(), by: caller.principal })
    }

    /// Begins the operation, and writes that down.
    async fn begin(&self, asked: &Asked) -> Result<OperationRow, ControlError> {
        let Asked { row, range, resource, region, by } = asked;
        let change = Change::Shred { workspace: row.workspace, table: row.id, start: range.start, end: range.end };
        let begun = self.operations.begin(resource, region, &change).await?;
        let operation = begun.ok_or(ControlError::Conflict { why: "rows of the table are being shredded already" })?;
        if let Err(error) = self.deps.audit.record(told(row, *range).by(*by).code("Begun")).await {
            let error = error.into();
            self.operations.finish(&operation, Some(&error)).await?;
            return Err(error);
        }
        Ok(operation)
    }

    async fn take(&self, row: &TableRow, range: TimeRange) -> Result<RowsGone, ControlError> {
        let deps = &self.deps;
        let gone = deps.dispose.take_rows(row.workspace, row.id, range).await?;
        // What is cached of the old objects: in memory their statistics and footers, on disk sealed copies under a key of their own.
        deps.dispose.forget(&self.epochs_of(row.workspace).await?);
        deps.blocks.cache().forget_workspace(row.workspace).await?;
        let event = told(row, range).code("Done");
        let counts = [("deleted", gone.deleted), ("rewritten", gone.rewritten), ("rows", gone.rows), ("bytes", gone.bytes)];
        let event = counts.into_iter().fold(event, |event, (what, count)| event.with(what, count));
        deps.audit.record(event.with("objectsLeft", gone.objects_left).with("segmentsLeft", gone.segments_left)).await?;
        Ok(gone)
    }

    /// Takes up shreddings of tables that a stop left unfinished.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn resume(self: &Arc<Self>) -> Result<(), ControlError> {
        for (operation, change) in self.operations.running().await? {
            if let Change::Shred { table, start, end, .. } = change {
                let this = Arc::clone(self);
                tokio::spawn(async move { this.take_up(operation, table, TimeRange { start, end }).await });
            }
        }
        Ok(())
    }

    async fn take_up(&self, operation: OperationRow, table: TableId, range: TimeRange) {
        let outcome = match self.deps.catalog.table(table).await {
            Ok(Some(row)) => self.take(&row, range).await.map(drop),
            Ok(None) => Ok(()),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = self.operations.finish(&operation, outcome.as_ref().err()).await {
            tracing::error!(operation = %operation.id, code = error.code(), "the end of a shredding was not written down; a restart will");
        }
    }

    /// Passes again and again until told to stop. Stopping in mid-pass is safe.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = async {
                    if let Err(error) = self.pass().await {
                        tracing::warn!(code = error.code(), "a shredding did not finish: again at the next pass");
                    }
                    self.deps.world.clock.sleep(self.every).await;
                } => {}
            }
        }
    }

    /// Shreds every workspace and every cluster whose time has come and of which nothing is left in the log. How many.
    ///
    /// # Errors
    /// The first thing that went wrong, after all were tried.
    pub async fn pass(&self) -> Result<usize, ControlError> {
        let _alone = self.passing.lock().await;
        let (now_ms, mut done, mut failed) = (self.now_ms(), 0, None);
        for row in self.deps.catalog.workspaces_deleted().await?.into_iter().filter(|row| row.shred_ms <= now_ms) {
            match self.shred_workspace(row.workspace.id).await {
                Ok(shredded) => done += usize::from(shredded),
                Err(error) => {
                    tracing::warn!(workspace = %row.workspace.id, code = error.code(), "workspace not shredded yet");
                    failed.get_or_insert(error);
                }
            }
        }
        let reserved_ms = i64::from(RESERVED_DAYS) * DAY_MS;
        for (cluster, deleted_ms) in self.deps.catalog.clusters_unshredded().await? {
            if deleted_ms + reserved_ms > now_ms {
                continue;
            }
            match self.shred_cluster(cluster).await {
                Ok(shredded) => done += usize::from(shredded),
                Err(error) => {
                    tracing::warn!(%cluster, code = error.code(), "keys of a deleted cluster not destroyed yet");
                    failed.get_or_insert(error);
                }
            }
        }
        failed.map_or(Ok(done), Err)
    }

    async fn shred_workspace(&self, id: WorkspaceId) -> Result<bool, ControlError> {
        let deps = &self.deps;
        if !deps.dispose.discard(id).await? {
            tracing::info!(workspace = %id, "the shredding of a workspace waits for the log: segments hold rows of it");
            return Ok(false);
        }
        let epochs = self.epochs_of(id).await?;
        let (secrets, blocks) = deps.catalog.workspace_shred(id).await?;
        fail::fail_point!("shred.memory", |_| Err(ControlError::Conflict { why: "a failpoint" }));
        deps.keys.forget_workspace(id);
        deps.dispose.forget(&epochs);
        deps.blocks.cache().forget_workspace(id).await?;
        scrub(&deps.catalog).await?;
        let event = Event::new(name::WORKSPACE_SHREDDED).workspace(id).with("secrets", secrets).with("blocks", blocks);
        deps.audit.record(event).await?;
        deps.catalog.workspace_shredded(id, self.now_ms()).await?;
        tracing::info!(workspace = %id, secrets, blocks, "workspace shredded");
        Ok(true)
    }

    /// The epochs that a workspace has a secret in.
    async fn epochs_of(&self, workspace: WorkspaceId) -> Result<Vec<Epoch>, ControlError> {
        let mut epochs = self.deps.keys.epochs().await?;
        let mut own = Vec::with_capacity(epochs.len());
        for epoch in epochs.drain(..) {
            if self.deps.catalog.workspace_secret(workspace, epoch.aek).await?.is_some() {
                own.push(epoch);
            }
        }
        Ok(own)
    }

    async fn shred_cluster(&self, id: ObjectId) -> Result<bool, ControlError> {
        let deps = &self.deps;
        let row = deps.catalog.cluster_get(id).await?.ok_or(ControlError::Damaged { what: "a deleted cluster" })?;
        if let Some(account) = row.account {
            let aeks = deps.catalog.aeks(account).await?;
            let epochs: Vec<Epoch> = aeks.iter().map(|aek| Epoch { account, aek: aek.aek }).collect();
            if !deps.dispose.discard_epochs(&epochs).await? {
                tracing::info!(cluster = %id, "the end of a cluster's keys waits for the log: rows in it are in no block yet");
                return Ok(false);
            }
            deps.watch.retire(id).await;
            let (keys, blocks) = deps.catalog.account_shred(id, account).await?;
            fail::fail_point!("shred.memory", |_| Err(ControlError::Conflict { why: "a failpoint" }));
            deps.keys.kill_account(account);
            deps.dispose.forget(&epochs);
            for epoch in &epochs {
                deps.blocks.cache().forget(*epoch).await?;
            }
            deps.keys.erase_copies(account).await?;
            scrub(&deps.catalog).await?;
            for aek in &aeks {
                // No record of it is taken any more, whoever puts one back.
                deps.audit.record(Event::new(name::KEY_DESTROYED).cluster(id).account(account).destroyed(aek.aek)).await?;
            }
            let event = Event::new(name::CLUSTER_SHREDDED).cluster(id).account(account).with("keys", keys).with("blocks", blocks);
            deps.audit.record(event).await?;
            tracing::info!(cluster = %id, keys, blocks, "keys of a deleted cluster destroyed");
        }
        deps.catalog.cluster_shredded(id, self.now_ms()).await?;
        Ok(true)
    }

    fn now_ms(&self) -> i64 {
        self.deps.world.clock.wall().unix_ms()
    }
}

/// What another room said, as it said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What kind of trouble.
    pub kind: ErrorKind,
    /// The stable code.
    pub code: &'static str,
    /// The sentence.
    pub message: String,
}
fn told(row: &TableRow, range: TimeRange) -> Event {
    Event::new(name::TABLE_SHREDDED)
        .workspace(row.workspace)
        .with("table", row.id.to_string())
        .with("from", range.start)
        .with("to", range.end)
}

/// What was deleted is in neither the catalog's file nor its journal when this returns.
async fn scrub(catalog: &Catalog) -> Result<(), ControlError> {
    if catalog.scrub().await? {
        return Ok(());
    }
    Err(CatalogError::Conflict { what: "folding the journal", why: "a reader is in the way" }.into())
}

//! Entries that lie where they should not: after a link, an unlink, another key of a storage account; and at a re-key.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use strongroom_catalog::{ContentRow, StorageLinkRow};
use strongroom_model::{AccountId, Epoch, ObjectId, PrincipalId, WorkspaceId};

use super::{Contents, DataSource, Home, Reader, Sealing};
use crate::ControlError;

/// Between two attempts to move what could not be moved.
const AGAIN: Duration = Duration::from_secs(15);

/// How far entries are on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Entries that belong there.
    pub entries: u64,
    /// Those of them that are not there, or not under its key, yet.
    pub left: u64,
}

impl Contents {
    /// Sends a workspace's entries of a source to a storage account from now on, and brings those there that are in the workspace; with
    /// `remove`, those are deleted instead. What could not be brought there now is brought later.
    ///
    /// # Errors
    /// The key's error of either side, and then nothing has changed; what the catalog says.
    pub(crate) async fn link_to(&self, row: &StorageLinkRow, source: DataSource, remove: bool) -> Result<(), ControlError> {
        let storage = self.storage(row.storage).await?;
        self.keys.pass(self.account_of(&storage).await?).await?;
        self.leave_all(row.workspace, source).await?;
        {
            let turn = self.turn(row.workspace);
            let _alone = turn.course.write().await;
            let dropped = if remove { self.kinds(source) } else { Vec::new() };
            let gone = self.catalog.storage_link_put(row, &dropped).await?;
            if gone > 0 {
                tracing::info!(workspace = %row.workspace, gone, "saved content removed by linking a storage account");
            }
            self.unsettled.store(true, Ordering::Release);
        }
        fail::fail_point!("contents.linked");
        self.settle_soon(row.workspace).await
    }

    /// Ends a link: entries come back to the workspace. Whether there was one.
    ///
    /// # Errors
    /// As [`link_to`](Self::link_to).
    pub(crate) async fn unlink(&self, workspace: WorkspaceId, source: DataSource) -> Result<bool, ControlError> {
        let there = self.catalog.storage_links(workspace).await?.iter().any(|link| link.source == source.as_str());
        if !there {
            return Ok(false);
        }
        self.leave_all(workspace, source).await?;
        if let Some(row) = self.catalog.workspace(workspace).await? {
            self.keys.pass(row.account).await?;
        }
        {
            let turn = self.turn(workspace);
            let _alone = turn.course.write().await;
            self.catalog.storage_link_delete(workspace, source.as_str()).await?;
            self.unsettled.store(true, Ordering::Release);
        }
        fail::fail_point!("contents.unlinked");
        self.settle_soon(workspace).await?;
        Ok(true)
    }

    /// Whether everything of a source can be opened now: moving begins with that.
    async fn leave_all(&self, workspace: WorkspaceId, source: DataSource) -> Result<(), ControlError> {
        for row in self.rows(workspace, &self.kinds(source), None).await? {
            self.keys.pass(self.account_of_aek(row.aek).await?).await?;
        }
        Ok(())
    }

    /// Moves now; what fails is left to whoever keeps at it.
    async fn settle_soon(&self, workspace: WorkspaceId) -> Result<(), ControlError> {
        let settled = self.settle(workspace).await;
        if settled.is_err() {
            self.wake.notify_one();
        }
        settled.map(drop)
    }

    /// Moves every entry of a workspace that lies where it should not. How many.
    ///
    /// # Errors
    /// The key's error; [`ControlError::LinkedStorage`]. Whatever was moved stays moved.
    pub async fn settle(&self, workspace: WorkspaceId) -> Result<u64, ControlError> {
        let turn = self.turn(workspace);
        let _alone = turn.settling.lock().await;
        let mut moved = 0;
        for row in self.catalog.contents(workspace).await? {
            let home = self.home(workspace, row.kind).await?;
            if self.is_amiss(&row, &home).await? {
                moved += u64::from(self.relocate(&row, &home).await?);
            }
        }
        self.try_tidy().await?;
        if moved > 0 {
            tracing::info!(%workspace, moved, "saved content moved");
        }
        Ok(moved)
    }

    /// Under which of its own epochs an entry in the workspace lies is no matter: it follows the rows, when they are re-encrypted.
    async fn is_amiss(&self, row: &ContentRow, home: &Home) -> Result<bool, ControlError> {
        let storage = home.storage.as_ref().map(|storage| storage.id);
        Ok(row.storage != storage || (storage.is_some() && self.account_of_aek(row.aek).await? != home.account))
    }

    /// Seals an entry anew in another place; etag and date stay. One that is changed or deleted meanwhile is left alone. Whether it moved.
    async fn relocate(&self, row: &ContentRow, home: &Home) -> Result<bool, ControlError> {
        let Some(entry) = self.open_row(row, Reader::Server, &mut Vec::new()).await? else { return Ok(false) };
        let ContentRow { id, workspace, kind, changed_ms, .. } = *row;
        let sealing = Sealing { workspace, kind, id, etag: entry.etag, changed_ms, value: &entry.value, by: PrincipalId::NIL };
        let (sealed, claim) = self.seal(home, sealing).await?;
        match self.commit(sealed, claim, Some(row.rev)).await {
            Ok(()) => Ok(true),
            Err(ControlError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Seals what lies under the epoch `from` anew in the one that reigns in the account of `to`, of one workspace or of all. What lies
    /// in a storage account follows that account's key, and nobody else's.
    ///
    /// # Errors
    /// As [`settle`](Self::settle).
    pub async fn carry(&self, from: Epoch, to: Epoch, only: Option<WorkspaceId>) -> Result<(), ControlError> {
        for row in self.catalog.contents_under(from.aek).await? {
            if only.is_some_and(|only| only != row.workspace) || (row.storage.is_some() && from.account != to.account) {
                continue;
            }
            let turn = self.turn(row.workspace);
            let _alone = turn.settling.lock().await;
            let storage = match row.storage {
                Some(storage) => Some(self.storage(storage).await?),
                None => None,
            };
            self.relocate(&row, &Home { account: to.account, storage }).await?;
        }
        Ok(())
    }

    /// How far a workspace's entries of a source are on their way to where they go.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn progress(&self, workspace: WorkspaceId, source: DataSource) -> Result<Progress, ControlError> {
        let mut progress = Progress::default();
        for kind in self.kinds(source) {
            let home = self.home(workspace, kind).await?;
            for row in self.catalog.contents_of(workspace, kind).await? {
                progress.entries += 1;
                progress.left += u64::from(self.is_amiss(&row, &home).await?);
            }
        }
        Ok(progress)
    }

    /// How far what lies in a storage account is on its way under that account's key; and what is on its way out.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn progress_in(&self, storage: ObjectId, account: AccountId) -> Result<Progress, ControlError> {
        let mut progress = Progress::default();
        for row in self.catalog.contents_in(storage).await? {
            progress.entries += 1;
            progress.left += u64::from(self.account_of_aek(row.aek).await? != account);
        }
        Ok(progress)
    }

    /// Somebody changed a storage account's key: what lies there is sealed anew, in the background.
    pub(crate) fn key_changed(&self) {
        self.unsettled.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Everybody's.
    ///
    /// # Errors
    /// The first trouble; whatever else could be moved was.
    pub async fn settle_all(&self) -> Result<(), ControlError> {
        self.unsettled.store(false, Ordering::Release);
        let mut failed = self.try_tidy().await.err();
        let mut workspaces: BTreeSet<WorkspaceId> = self.catalog.contents_elsewhere().await?.into_iter().collect();
        workspaces.extend(self.catalog.storage_links_all().await?.into_iter().map(|link| link.workspace));
        for workspace in workspaces {
            if let Err(error) = self.settle(workspace).await {
                failed.get_or_insert(error);
            }
        }
        if failed.is_some() {
            self.unsettled.store(true, Ordering::Release);
        }
        failed.map_or(Ok(()), Err)
    }

    /// Does now what could not be done at once. Whether there was anything.
    pub(crate) async fn settle_rest(&self) -> bool {
        // What a shredded workspace left is announced by nobody else.
        let left = self.catalog.content_objects().await.is_ok_and(|objects| !objects.is_empty());
        let due = self.unsettled.load(Ordering::Acquire) || left;
        if due && let Err(error) = self.settle_all().await {
            tracing::info!(code = error.code(), "some saved content is not where it goes yet");
        }
        due
    }

    /// Until there is something to be done, or it may be tried again.
    pub(crate) async fn due(&self) {
        tokio::select! {
            () = self.wake.notified() => {}
            () = self.world.clock.sleep(AGAIN) => {}
        }
    }
}

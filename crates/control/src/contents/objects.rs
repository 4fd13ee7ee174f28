//! Entries in storage accounts: one object each, named by ids alone. What is fetched is kept sealed, for a while.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use strongroom_catalog::{ContentKind, ContentObjectRow, ContentRow, StorageAccountRow};
use strongroom_model::{Epoch, ObjectId, WorkspaceId};

use super::Contents;
use crate::ControlError;
use crate::watch::{Forget, Gone};

/// Sealed bytes that are kept at most.
const FETCHED_MAX: usize = 16 << 20;
/// An entry has 64 KiB of text, and what JSON makes of it.
const OBJECT_MAX: u64 = 1 << 20;

/// Sealed bytes by the sealing that they are.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    cells: HashMap<ObjectId, (Epoch, Arc<Vec<u8>>)>,
    bytes: usize,
}

impl Fetched {
    fn keep(&mut self, rev: ObjectId, epoch: Epoch, cell: Arc<Vec<u8>>) {
        if self.bytes + cell.len() > FETCHED_MAX {
            *self = Self::default();
        }
        self.bytes += cell.len();
        if let Some((_, old)) = self.cells.insert(rev, (epoch, cell)) {
            self.bytes -= old.len();
        }
    }

    fn forget(&mut self, gone: impl Fn(&ObjectId, &Epoch) -> bool) {
        self.cells.retain(|rev, (epoch, _)| !gone(rev, epoch));
        self.bytes = self.cells.values().map(|(_, cell)| cell.len()).sum();
    }

    #[cfg(test)]
    pub(super) fn forget_all(&mut self) {
        *self = Self::default();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }
}

/// An object that this process is writing: until it counts, or whoever writes it has gone, it is not deleted.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    contents: &'a Contents,
    rev: ObjectId,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.contents.writing.lock().remove(&self.rev);
        // If it does not count, nobody else is going to say so.
        self.contents.unsettled.store(true, Ordering::Release);
    }
}

/// Where an object lies in its storage account: ids, but for the kind.
fn path_of(workspace: WorkspaceId, kind: ContentKind, rev: ObjectId) -> Path {
    Path::from(format!("strongroom/{workspace}/{kind}/{rev}"))
}

/// Counted for whoever pays for the account.
fn count(account: &StorageAccountRow, operation: &'static str, bytes: usize) {
    metrics::counter!("control_linked_storage_requests_total", "account" => account.name.clone(), "operation" => operation).increment(1);
    metrics::counter!("control_linked_storage_bytes_total", "account" => account.name.clone(), "operation" => operation)
        .increment(bytes as u64);
}

impl Contents {
    pub(super) async fn store(&self, account: &StorageAccountRow) -> Result<Arc<dyn ObjectStore>, ControlError> {
        if let Some(store) = self.opened.lock().get(&account.id) {
            return Ok(Arc::clone(store));
        }
        let store = self.stores.open(account.id, account.url.as_deref()).await?;
        Ok(Arc::clone(self.opened.lock().entry(account.id).or_insert(store)))
    }

    /// Announces an object and puts it. It is not deleted as one that nothing counts until it is committed, or given up.
    pub(super) async fn put_object(&self, account: &StorageAccountRow, row: &ContentRow, cell: Vec<u8>) -> Result<Claim<'_>, ControlError> {
        let ContentRow { rev, workspace, kind, .. } = *row;
        let store = self.store(account).await?;
        self.writing.lock().insert(rev);
        let claim = Claim { contents: self, rev };
        self.catalog.content_object_announce(&ContentObjectRow { rev, storage: account.id, workspace, kind }).await?;
        fail::fail_point!("contents.put");
        let bytes = cell.len();
        let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        store.put_opts(&path_of(workspace, kind, rev), cell.into(), create).await.map_err(|source| unavailable(account, source))?;
        count(account, "put", bytes);
        Ok(claim)
    }

    /// The sealed bytes of an entry elsewhere; `None`: there is no such object.
    pub(super) async fn fetch(&self, row: &ContentRow, epoch: Epoch) -> Result<Option<Arc<Vec<u8>>>, ControlError> {
        if let Some((_, cell)) = self.fetched.lock().cells.get(&row.rev) {
            return Ok(Some(Arc::clone(cell)));
        }
        let storage = row.storage.ok_or(ControlError::Damaged { what: "an entry that lies nowhere" })?;
        let account = self.storage(storage).await?;
        let store = self.store(&account).await?;
        let found = match store.get(&path_of(row.workspace, row.kind, row.rev)).await {
            Ok(found) if found.meta.size > OBJECT_MAX => {
                return Err(ControlError::Damaged { what: "an entry in a linked storage account" });
            }
            Ok(found) => found.bytes().await.map_err(|source| unavailable(&account, source))?,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(source) => return Err(unavailable(&account, source)),
        };
        count(&account, "get", found.len());
        let cell = Arc::new(found.to_vec());
        self.fetched.lock().keep(row.rev, epoch, Arc::clone(&cell));
        Ok(Some(cell))
    }

    /// Deletes the objects that nothing counts. What cannot be deleted now stays announced, and is tried again.
    pub(super) async fn tidy(&self) {
        if let Err(error) = self.try_tidy().await {
            self.unsettled.store(true, Ordering::Release);
            tracing::warn!(code = error.code(), "objects of saved content that nothing counts are still to be deleted");
        }
    }

    pub(super) async fn try_tidy(&self) -> Result<(), ControlError> {
        let mut failed = None;
        for object in self.catalog.content_objects().await? {
            if self.writing.lock().contains(&object.rev) {
                continue;
            }
            if let Err(error) = self.delete_object(&object).await {
                failed.get_or_insert(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn delete_object(&self, object: &ContentObjectRow) -> Result<(), ControlError> {
        let account = self.storage(object.storage).await?;
        let store = self.store(&account).await?;
        match store.delete(&path_of(object.workspace, object.kind, object.rev)).await {
            Ok(()) => count(&account, "delete", 0),
            Err(Error::NotFound { .. }) => {}
            Err(source) => return Err(unavailable(&account, source)),
        }
        self.fetched.lock().forget(|rev, _| *rev == object.rev);
        Ok(self.catalog.content_object_gone(object.rev).await?)
    }
}

fn unavailable(account: &StorageAccountRow, source: Error) -> ControlError {
    ControlError::LinkedStorage { account: account.name.clone(), source }
}

/// What was fetched under a key goes with it.
#[async_trait]
impl Forget for Contents {
    fn name(&self) -> &'static str {
        "saved content"
    }

    async fn forget(&self, gone: &Gone) -> Result<(), String> {
        self.fetched.lock().forget(|_, epoch| gone.epochs.contains(epoch));
        Ok(())
    }
}

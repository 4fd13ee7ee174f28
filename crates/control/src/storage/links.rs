//! `linkedStorageAccounts`: where a workspace's saved searches, functions and alert texts go.

use strongroom_catalog::{StorageAccountRow, StorageLinkRow, WorkspaceRow};

use super::{STORAGE_V2, Storages};
use crate::azure::LinkedContent;
use crate::contents::{DataSource, Progress};
use crate::{ControlError, Place, Refusal};

/// A link, with what it links to.
#[derive(Clone, Debug)]
pub struct StorageLink {
    /// What is linked.
    pub source: DataSource,
    /// To which account.
    pub storage: StorageAccountRow,
    /// How far the entries are on their way there.
    pub progress: Progress,
}

/// What a link asks for, before it is known who may.
#[derive(Clone, Debug)]
pub struct LinkedStorage {
    /// What is linked.
    pub source: DataSource,
    /// Where the account lies.
    pub place: Place,
}

impl LinkedStorage {
    /// Reads what a request says: a source, and the ids of accounts, which must be one.
    ///
    /// # Errors
    /// `InvalidParameter`, `TooManyStorageAccounts`, `InvalidStorageAccount`.
    pub fn read(source: &str, ids: &[String]) -> Result<Self, ControlError> {
        let source = DataSource::read(source)
            .ok_or(ControlError::Invalid { what: "dataSourceType", why: "CustomLogs, AzureWatson, Query, Ingestion or Alerts" })?;
        let [id] = ids else { return Err(Refusal::StorageAccountCount { source_type: source.as_str(), there: ids.len() }.into()) };
        let place = Place::read_storage_path(id).ok_or_else(|| Refusal::StorageAccountUnfit {
            name: id.chars().filter(|c| !c.is_control()).take(256).collect(),
            why: "the resource id of a Microsoft.Storage/storageAccounts object is needed".to_owned(),
        })?;
        Ok(Self { source, place })
    }
}

impl Storages {
    /// Links a workspace's content of a source to an account; what there is already goes there, or is removed where that is the rule.
    ///
    /// # Errors
    /// `InvalidStorageAccount`, `TooManyStorageAccounts`; the error of a key on either side, and then nothing has changed.
    pub async fn link(&self, workspace: &WorkspaceRow, ask: &LinkedStorage) -> Result<StorageLink, ControlError> {
        let unfit = |why: String| Refusal::StorageAccountUnfit { name: ask.place.name.clone(), why };
        let storage = self.find(&ask.place).await?.ok_or_else(|| unfit("there is no such storage account".to_owned()))?;
        if self.rules.linked_storage.require_v2 && !storage.kind.eq_ignore_ascii_case(STORAGE_V2) {
            return Err(unfit(format!("its kind is {}, and it has to be StorageV2", storage.kind)).into());
        }
        if super::region_of(&workspace.region) != storage.region {
            let why =
                format!("it lies in region {}, and the workspace in {}: they have to be in the same", storage.region, workspace.region);
            return Err(unfit(why).into());
        }
        if !self.rules.linked_storage.separate {
            let others = self.catalog.storage_links(workspace.id).await?;
            let one = |source: &str| [DataSource::Query, DataSource::Alerts].iter().any(|kept| kept.as_str() == source);
            if one(ask.source.as_str())
                && others.iter().any(|link| one(&link.source) && link.source != ask.source.as_str() && link.storage != storage.id)
            {
                return Err(Refusal::StorageAccountsDiffer.into());
            }
        }
        let row = StorageLinkRow {
            workspace: workspace.id,
            source: ask.source.as_str().to_owned(),
            storage: storage.id,
            at_ms: self.world.clock.wall().unix_ms(),
        };
        let before = self.catalog.storage_links(workspace.id).await?;
        let again = before.iter().any(|link| link.source == row.source && link.storage == row.storage);
        // What is in the workspace while it is linked is on its way: nothing of that is removed.
        let remove = !again && self.rules.linked_storage.existing == LinkedContent::Remove;
        self.contents.link_to(&row, ask.source, remove).await?;
        tracing::info!(workspace = %workspace.id, storage = %storage.id, source = ask.source.as_str(), "storage account linked");
        let progress = self.contents.progress(workspace.id, ask.source).await?;
        Ok(StorageLink { source: ask.source, storage, progress })
    }

    /// Ends a link; what is in the account comes back to the workspace. Whether there was one.
    ///
    /// # Errors
    /// The error of a key on either side, and then nothing has changed.
    pub async fn unlink(&self, workspace: &WorkspaceRow, source: DataSource) -> Result<bool, ControlError> {
        let there = self.contents.unlink(workspace.id, source).await?;
        if there {
            tracing::info!(workspace = %workspace.id, source = source.as_str(), "storage account unlinked");
        }
        Ok(there)
    }

    /// A workspace's links, by source.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn links(&self, workspace: &WorkspaceRow) -> Result<Vec<StorageLink>, ControlError> {
        let mut links = Vec::new();
        for link in self.catalog.storage_links(workspace.id).await? {
            let damaged = ControlError::Damaged { what: "a linked storage account" };
            let Some(source) = DataSource::read(&link.source) else { return Err(damaged) };
            let Some(storage) = self.catalog.storage_account(link.storage).await? else { return Err(damaged) };
            links.push(StorageLink { source, storage, progress: self.contents.progress(workspace.id, source).await? });
        }
        Ok(links)
    }
}

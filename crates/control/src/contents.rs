//! Saved content: searches, functions, the texts of alert rules. One store for all of it, by workspace and kind.
//!
//! Each entry is one sealed cell, bound to its workspace, its kind and the sealing that counts; what it is called is in it. Where it lies
//! is known here alone: in the workspace's own rows of the catalog, under the workspace's key, or, once a storage account is linked for
//! its kind, as an object there, under that account's key ([`crate::Storages`]). Entries that lie where they should no longer be are
//! moved one by one: sealed anew, put, committed, and only then is the old one deleted. A stop in between is taken up again.
//!
//! ```text
//! value ─head, seal─▶ cell ─┬─ workspace's own: row of the catalog
//!                           └─ linked: announce ─▶ object ─▶ row names it ─▶ the object before is deleted
//! ```

mod format;
mod moves;
mod objects;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use object_store::ObjectStore;
use parking_lot::Mutex;
pub use strongroom_catalog::ContentKind;
use strongroom_catalog::{Catalog, CatalogError, ContentRow, StorageAccountRow};
use strongroom_envelope::{CellPlace, KeyGuard, open_cell, seal_cell};
use strongroom_keys::{KeyError, KeyRing, Pass, Purpose, Warrant};
use strongroom_model::{AccountId, AekId, Epoch, KeyClass, ObjectId, PrincipalId, WorkspaceId};
use strongroom_world::World;
use zeroize::Zeroizing;

use crate::{ControlError, Rules};
pub use moves::Progress;
use objects::{Claim, Fetched};

/// Looks at a workspace's entries before it is said that they keep changing.
const LOOKS_MAX: usize = 5;

/// What a link to a storage account is for, in Azure's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DataSource {
    /// Custom logs; nothing of it is kept here.
    CustomLogs,
    /// Watson dumps; nothing of it is kept here.
    AzureWatson,
    /// Saved searches and functions.
    Query,
    /// Ingestion over a private link; nothing of it is kept here.
    Ingestion,
    /// The texts of alert rules.
    Alerts,
}

impl DataSource {
    const ALL: [Self; 5] = [Self::CustomLogs, Self::AzureWatson, Self::Query, Self::Ingestion, Self::Alerts];

    /// Whatever its case: `ALerts` is `Alerts`.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str().eq_ignore_ascii_case(text))
    }

    /// As it is written down and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CustomLogs => "CustomLogs",
            Self::AzureWatson => "AzureWatson",
            Self::Query => "Query",
            Self::Ingestion => "Ingestion",
            Self::Alerts => "Alerts",
        }
    }
}

/// Opens what storage accounts keep their objects in. Where that may be is for the server's configuration to say.
#[async_trait]
pub trait Stores: fmt::Debug + Send + Sync {
    /// The address as it is written down.
    ///
    /// # Errors
    /// [`ControlError`] for one that is not allowed here, or is none.
    async fn check(&self, url: &str) -> Result<String, ControlError>;
    /// The objects at an address, or in a directory of this server's own.
    ///
    /// # Errors
    /// [`ControlError`] if it is not there or not allowed any more.
    async fn open(&self, account: ObjectId, url: Option<&str>) -> Result<Arc<dyn ObjectStore>, ControlError>;
}

/// On whose behalf entries are opened.
#[derive(Clone, Copy, Debug)]
pub enum Reader<'a> {
    /// Of somebody who may read the workspace.
    For(&'a Warrant),
    /// The server's own: alert rules on their schedule, moves.
    Server,
}

/// An entry that was opened.
#[derive(Debug)]
pub struct Entry {
    /// Its id, as long as it is there.
    pub id: ObjectId,
    /// Its kind.
    pub kind: ContentKind,
    /// What a change of it says it replaces.
    pub rev: ObjectId,
    /// Another after each change; a move leaves it.
    pub etag: ObjectId,
    /// When it was last changed, milliseconds since 1970.
    pub changed_ms: i64,
    /// What was put.
    pub value: Zeroizing<Vec<u8>>,
}

/// Entries that were opened, and what they were opened under.
#[derive(Debug, Default)]
pub struct Opened {
    /// The entries, oldest first.
    pub entries: Vec<Entry>,
    /// The guards, each with leave of its account if that key can be taken away.
    pub guards: Vec<(KeyGuard, Option<Pass>)>,
    /// Leave of the accounts that new entries of these kinds go to.
    pub passes: Vec<Pass>,
}

impl Opened {
    /// Whether they may still be shown: what stands before anything leaves.
    ///
    /// # Errors
    /// [`KeyError`] once a key was taken away.
    pub fn check(&self, world: &World) -> Result<(), KeyError> {
        for (guard, pass) in &self.guards {
            pass.as_ref().map_or(Ok(()), Pass::check)?;
            guard.check(world.clock.boot())?;
        }
        self.passes.iter().try_for_each(Pass::check)
    }
}

/// An entry to be written.
#[derive(Clone, Copy, Debug)]
pub struct NewEntry<'a> {
    /// Whose.
    pub workspace: WorkspaceId,
    /// What kind.
    pub kind: ContentKind,
    /// Its id: minted by whoever makes it.
    pub id: ObjectId,
    /// The [`Entry::rev`] that it takes the place of; `None`: it is new.
    pub replaces: Option<ObjectId>,
    /// The value.
    pub value: &'a [u8],
    /// On whose behalf.
    pub by: PrincipalId,
}

/// What a written entry got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Its etag.
    pub etag: ObjectId,
    /// What the next change says it replaces.
    pub rev: ObjectId,
    /// When, milliseconds since 1970.
    pub changed_ms: i64,
}

/// Where entries of a kind go.
#[derive(Clone, Debug)]
struct Home {
    /// Whose key.
    account: AccountId,
    /// `None`: the workspace's own rows.
    storage: Option<StorageAccountRow>,
}

/// The saved content of a catalog.
pub struct Contents {
    world: World,
    catalog: Catalog,
    keys: Arc<KeyRing>,
    stores: Arc<dyn Stores>,
    rules: Rules,
    /// One a workspace: nobody waits for another's store.
    turns: Mutex<HashMap<WorkspaceId, Arc<Turn>>>,
    /// Objects that this process is writing: announced, and not to be deleted.
    writing: Mutex<HashSet<ObjectId>>,
    opened: Mutex<HashMap<ObjectId, Arc<dyn ObjectStore>>>,
    /// Sealed bytes that were fetched; what they say is known only while the key is there.
    fetched: Mutex<Fetched>,
    /// Something lies where it should not, or is still to be deleted.
    unsettled: AtomicBool,
    wake: tokio::sync::Notify,
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contents").field("stores", &self.stores).finish_non_exhaustive()
    }
}

impl Contents {
    /// The saved content of a catalog; `stores` opens what lies in storage accounts.
    #[must_use]
    pub fn new(world: World, catalog: Catalog, keys: Arc<KeyRing>, stores: Arc<dyn Stores>, rules: Rules) -> Arc<Self> {
        Arc::new(Self {
            world,
            catalog,
            keys,
            stores,
            rules,
            turns: Mutex::default(),
            writing: Mutex::default(),
            opened: Mutex::default(),
            fetched: Mutex::default(),
            unsettled: AtomicBool::new(true),
            wake: tokio::sync::Notify::new(),
        })
    }

    fn turn(&self, workspace: WorkspaceId) -> Arc<Turn> {
        Arc::clone(self.turns.lock().entry(workspace).or_default())
    }

    /// The link that sends entries of a kind elsewhere, if there is one.
    const fn source(&self, kind: ContentKind) -> Option<DataSource> {
        match kind {
            ContentKind::Query => Some(DataSource::Query),
            ContentKind::Workbooks if self.rules.linked_storage.workbooks => Some(DataSource::Query),
            ContentKind::Functions if self.rules.linked_storage.functions => Some(DataSource::Query),
            // Of rows, or of one person: it stays in the workspace.
            ContentKind::Functions | ContentKind::Workbooks | ContentKind::AlertStates | ContentKind::History | ContentKind::Pins => None,
            ContentKind::Alerts => Some(DataSource::Alerts),
        }
    }

    /// The kinds that a link of a source sends elsewhere.
    pub(crate) fn kinds(&self, source: DataSource) -> Vec<ContentKind> {
        ContentKind::ALL.into_iter().filter(|kind| self.source(*kind) == Some(source)).collect()
    }

    /// Whether a workspace has linked a storage account for entries of a kind: what cannot be kept there is refused then.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn linked(&self, workspace: WorkspaceId, kind: ContentKind) -> Result<bool, ControlError> {
        Ok(self.link(workspace, kind).await?.is_some())
    }

    async fn link(&self, workspace: WorkspaceId, kind: ContentKind) -> Result<Option<ObjectId>, ControlError> {
        let Some(source) = self.source(kind) else { return Ok(None) };
        let links = self.catalog.storage_links(workspace).await?;
        Ok(links.into_iter().find(|link| link.source == source.as_str()).map(|link| link.storage))
    }

    async fn home(&self, workspace: WorkspaceId, kind: ContentKind) -> Result<Home, ControlError> {
        let Some(storage) = self.link(workspace, kind).await? else {
            let row = self.catalog.workspace(workspace).await?;
            let row = row.ok_or_else(|| ControlError::NotFound { what: "workspace", name: workspace.to_string() })?;
            return Ok(Home { account: row.account, storage: None });
        };
        let storage = self.storage(storage).await?;
        Ok(Home { account: self.account_of(&storage).await?, storage: Some(storage) })
    }

    async fn storage(&self, id: ObjectId) -> Result<StorageAccountRow, ControlError> {
        self.catalog.storage_account(id).await?.ok_or(ControlError::Damaged { what: "a linked storage account" })
    }

    /// Whose key a storage account's content is under.
    pub(crate) async fn account_of(&self, storage: &StorageAccountRow) -> Result<AccountId, ControlError> {
        let Some(holder) = storage.holder else { return Ok(self.keys.shared_account()) };
        let holder = self.catalog.cluster_get(holder).await?;
        holder.and_then(|row| row.account).ok_or(ControlError::Damaged { what: "the key of a storage account" })
    }

    /// How many entries of these kinds a workspace has; takes no key.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn count(&self, workspace: WorkspaceId, kinds: &[ContentKind]) -> Result<usize, ControlError> {
        let mut count = 0;
        for &kind in kinds {
            count += self.catalog.contents_count(workspace, kind).await?;
        }
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// Opens a workspace's entries of these kinds.
    ///
    /// # Errors
    /// The key's error if one of them, or where new ones go, is under a key that is away; [`ControlError::LinkedStorage`].
    pub async fn open(&self, workspace: WorkspaceId, kinds: &[ContentKind], reader: Reader<'_>) -> Result<Opened, ControlError> {
        self.open_some(workspace, kinds, None, reader).await
    }

    /// Opens one entry.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn get(
        &self,
        workspace: WorkspaceId,
        kind: ContentKind,
        id: ObjectId,
        reader: Reader<'_>,
    ) -> Result<Option<Entry>, ControlError> {
        let mut opened = self.open_some(workspace, &[kind], Some(id), reader).await?;
        opened.check(&self.world)?;
        Ok(opened.entries.pop())
    }

    async fn open_some(
        &self,
        workspace: WorkspaceId,
        kinds: &[ContentKind],
        only: Option<ObjectId>,
        reader: Reader<'_>,
    ) -> Result<Opened, ControlError> {
        'look: for _ in 0..LOOKS_MAX {
            let mut opened = Opened::default();
            for &kind in kinds {
                let account = self.home(workspace, kind).await?.account;
                if !opened.passes.iter().any(|pass| pass.account() == account) {
                    opened.passes.push(self.keys.pass(account).await?);
                }
            }
            for row in self.rows(workspace, kinds, only).await? {
                match self.open_row(&row, reader, &mut opened.guards).await? {
                    Some(entry) => opened.entries.push(entry),
                    // Changed since the rows were read.
                    None => continue 'look,
                }
            }
            return Ok(opened);
        }
        Err(ControlError::Conflict { why: "the entries keep being changed: try again" })
    }

    /// What is asked for of a workspace's rows, oldest first; no others are read.
    async fn rows(&self, workspace: WorkspaceId, kinds: &[ContentKind], only: Option<ObjectId>) -> Result<Vec<ContentRow>, ControlError> {
        let mut rows = Vec::new();
        for &kind in kinds {
            match only {
                Some(id) => rows.extend(self.catalog.content(workspace, kind, id).await?),
                None => rows.extend(self.catalog.contents_of(workspace, kind).await?),
            }
        }
        if kinds.len() > 1 {
            rows.sort_by_key(|row| row.id);
        }
        Ok(rows)
    }

    /// `None`: its object is not there, and the row has been changed since.
    async fn open_row(
        &self,
        row: &ContentRow,
        reader: Reader<'_>,
        guards: &mut Vec<(KeyGuard, Option<Pass>)>,
    ) -> Result<Option<Entry>, ControlError> {
        let known = guards.iter().find(|(guard, _)| guard.epoch().aek == row.aek).map(|(guard, _)| guard.clone());
        let guard = if let Some(guard) = known {
            guard
        } else {
            let epoch = Epoch { account: self.account_of_aek(row.aek).await?, aek: row.aek };
            let guard = match reader {
                Reader::For(warrant) => self.keys.guard_for(epoch, warrant).await?,
                Reader::Server => self.keys.guard(epoch, row.workspace, PrincipalId::NIL, Purpose::Maintain).await?,
            };
            let pass = match guard.class() {
                KeyClass::Cmk => Some(self.keys.pass(epoch.account).await?),
                KeyClass::Mmk => None,
            };
            guards.push((guard.clone(), pass));
            guard
        };
        let place =
            CellPlace { epoch: guard.epoch(), workspace: row.workspace, table: format::table_of(row.kind, row.format), row: row.rev };
        let now = self.world.clock.boot();
        let plain = match &row.cell {
            Some(cell) => open_cell(&guard, now, &place, cell).map_err(KeyError::from)?,
            None => match self.fetch(row, guard.epoch()).await? {
                Some(cell) => open_cell(&guard, now, &place, &cell).map_err(KeyError::from)?,
                None if self.catalog.content_counts(row.rev).await? => {
                    return Err(ControlError::Damaged { what: "an entry in a linked storage account" });
                }
                None => return Ok(None),
            },
        };
        let held = format::decode(row, Zeroizing::new(plain)).ok_or(ControlError::Damaged { what: "an entry of saved content" })?;
        let ContentRow { id, kind, rev, changed_ms, .. } = *row;
        Ok(Some(Entry { id, kind, rev, etag: held.etag, changed_ms, value: held.value }))
    }

    async fn account_of_aek(&self, aek: AekId) -> Result<AccountId, ControlError> {
        let row = self.catalog.aek(aek).await?;
        Ok(row.ok_or(ControlError::Damaged { what: "the key record of an entry" })?.account)
    }

    /// Writes an entry, where entries of its kind go now.
    ///
    /// # Errors
    /// [`ControlError::Conflict`] if what it replaces was changed or is gone; the key's error; [`ControlError::LinkedStorage`].
    pub async fn put(&self, new: NewEntry<'_>) -> Result<Stamp, ControlError> {
        let turn = self.turn(new.workspace);
        let _course = turn.course.read().await;
        let home = self.home(new.workspace, new.kind).await?;
        // Held requests wait here, and not with the key in hand.
        let pass = self.keys.pass(home.account).await?;
        let etag = self.mint();
        let changed_ms = self.world.clock.wall().unix_ms();
        let sealed = Sealing { workspace: new.workspace, kind: new.kind, id: new.id, etag, changed_ms, value: new.value, by: new.by };
        let (row, claim) = self.seal(&home, sealed).await?;
        pass.check()?;
        let rev = row.rev;
        self.commit(row, claim, new.replaces).await?;
        Ok(Stamp { etag, rev, changed_ms })
    }

    /// Takes an entry away; whether it was there. Needs no key.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn delete(&self, workspace: WorkspaceId, id: ObjectId) -> Result<bool, ControlError> {
        let turn = self.turn(workspace);
        let _course = turn.course.read().await;
        let there = self.catalog.content_delete(workspace, id).await?;
        self.tidy().await;
        Ok(there)
    }

    /// Seals a value for its place and, if that is elsewhere, puts it there: nothing counts it yet.
    async fn seal(&self, home: &Home, new: Sealing<'_>) -> Result<(ContentRow, Option<Claim<'_>>), ControlError> {
        let Sealing { workspace, kind, id, etag, changed_ms, value, by } = new;
        let epoch = self.keys.write_epoch(home.account).await?;
        let guard = self.keys.guard(epoch, workspace, by, Purpose::Ingest).await?;
        let rev = self.mint();
        let place = CellPlace { epoch, workspace, table: format::table_of(kind, format::NEWEST), row: rev };
        let plain = format::encode(kind, id, etag, value);
        let cell = seal_cell(&guard, self.world.clock.boot(), self.world.rng.as_ref(), &place, &plain).map_err(KeyError::from)?;
        let mut row = ContentRow {
            id,
            workspace,
            kind,
            rev,
            format: format::NEWEST,
            aek: epoch.aek,
            storage: home.storage.as_ref().map(|storage| storage.id),
            sealed_len: cell.len() as u64,
            cell: None,
            changed_ms,
        };
        let claim = if let Some(storage) = &home.storage {
            Some(self.put_object(storage, &row, cell).await?)
        } else {
            row.cell = Some(cell);
            None
        };
        Ok((row, claim))
    }

    /// From here on the row's cell counts, and what was there before is deleted.
    async fn commit(&self, row: ContentRow, claim: Option<Claim<'_>>, replaces: Option<ObjectId>) -> Result<(), ControlError> {
        fail::fail_point!("contents.commit");
        let committed = self.catalog.content_put(&row, replaces).await;
        drop(claim);
        fail::fail_point!("contents.tidy");
        if replaces.is_some() || committed.is_err() {
            self.tidy().await;
        }
        committed.map_err(|error| match error {
            CatalogError::Conflict { .. } => ControlError::Conflict { why: "it was changed meanwhile, or is gone" },
            error => error.into(),
        })
    }

    /// A new id: of an entry, or of a sealing.
    #[must_use]
    pub fn mint(&self) -> ObjectId {
        let (ms, random) = self.world.id_seed();
        ObjectId::mint(ms, random)
    }
}

/// Whose turn it is in a workspace.
#[derive(Debug, Default)]
struct Turn {
    /// Shared by whoever writes an entry, held alone by whoever changes where entries go.
    course: tokio::sync::RwLock<()>,
    /// One moves entries at a time.
    settling: tokio::sync::Mutex<()>,
}

/// What is sealed.
struct Sealing<'a> {
    workspace: WorkspaceId,
    kind: ContentKind,
    id: ObjectId,
    etag: ObjectId,
    changed_ms: i64,
    value: &'a [u8],
    by: PrincipalId,
}

#[cfg(test)]
mod tests;

//! Workbooks, query packs and the queries in them: documents of the provider's side. They belong to no workspace, so what they say is
//! sealed under the provider's root key. A workbook can be asked into a customer's own storage: then it is an entry of the saved content
//! of the workspace that this storage is linked to, and goes where that goes.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use strongroom_catalog::{Catalog, CatalogError, DocumentKind, DocumentRow};
use strongroom_envelope::Mmk;
use strongroom_model::{ErrorKind, ObjectId, PrincipalId, WorkspaceId};
use strongroom_world::World;
use zeroize::Zeroizing;

use crate::alerts::check_place;
use crate::contents::{ContentKind, Contents, NewEntry, Reader};
use crate::{ControlError, Place, Said};

/// Workbooks, and packs, that there may be; and queries of a pack.
const COUNT_MAX: usize = 5_000;
/// Bytes of a document, as JSON.
const BYTES_MAX: usize = 512 << 10;

/// The documents of a catalog.
#[derive(Debug)]
pub struct Documents {
    world: World,
    catalog: Catalog,
    mmk: Arc<Mmk>,
    contents: Arc<Contents>,
    /// Held while a document is written or taken away: its row and its text change together.
    turn: tokio::sync::Mutex<()>,
}

/// What is written of a document.
#[derive(Clone, Debug)]
pub struct DocumentAsk {
    /// Its kind.
    pub kind: DocumentKind,
    /// The pack that it is in; [`ObjectId::NIL`]: none.
    pub parent: ObjectId,
    /// The region.
    pub region: String,
    /// The tags.
    pub tags: Map<String, Value>,
    /// What it says.
    pub properties: Map<String, Value>,
    /// The workspace whose linked storage it is asked into.
    pub workspace: Option<WorkspaceId>,
}

impl Documents {
    /// Those of a catalog, sealed under `mmk`.
    #[must_use]
    pub fn new(world: World, catalog: Catalog, mmk: Arc<Mmk>, contents: Arc<Contents>) -> Self {
        Self { world, catalog, mmk, contents, turn: tokio::sync::Mutex::default() }
    }

    /// Makes a document or writes one anew. Whether it is new.
    ///
    /// # Errors
    /// `WorkbookTooLarge` and the like; `StorageNotLinked`; [`ControlError::TooMany`]; [`ControlError::Keys`] while the key of the storage
    /// is away.
    pub async fn put(&self, place: &Place, ask: DocumentAsk) -> Result<(DocumentRow, bool), ControlError> {
        check_place(place)?;
        let DocumentAsk { kind, parent, region, tags, properties, workspace } = ask;
        let plain = Zeroizing::new(serde_json::to_vec(&properties).unwrap_or_default());
        if plain.len() > BYTES_MAX {
            let message = format!("a document has at most {BYTES_MAX} bytes");
            return Err(ControlError::Elsewhere(Said { kind: ErrorKind::TooLarge, code: "DocumentTooLarge", message }));
        }
        let _turn = self.turn.lock().await;
        let there = self.find(kind, parent, place).await?;
        if there.is_none() && self.catalog.documents(kind, parent).await?.len() >= COUNT_MAX {
            return Err(ControlError::TooMany { what: "documents", max: COUNT_MAX });
        }
        let (cell_id, now_ms) = (self.mint(), self.world.clock.wall().unix_ms());
        let id = there.as_ref().map_or_else(|| self.mint(), |row| row.id);
        let mut before = None;
        let cell = if let Some(workspace) = workspace {
            if !self.contents.linked(workspace, ContentKind::Workbooks).await? {
                let message = "the workspace of sourceId has no storage account linked for Query".to_owned();
                return Err(ControlError::Elsewhere(Said { kind: ErrorKind::Invalid, code: "StorageNotLinked", message }));
            }
            before = self.entry(workspace, id).await?;
            let replaces = before.as_ref().map(|(rev, _)| *rev);
            let new = NewEntry { workspace, kind: ContentKind::Workbooks, id, replaces, value: &plain, by: PrincipalId::NIL };
            if let Err(error) = self.contents.put(new).await {
                if is_unknown(&error) {
                    self.undo(workspace, id, before).await;
                }
                return Err(error);
            }
            None
        } else {
            Some(self.mmk.seal_cell(self.world.rng.as_ref(), cell_id, &plain))
        };
        let row = DocumentRow {
            id,
            kind,
            parent,
            name: there.as_ref().map_or_else(|| place.name.clone(), |row| row.name.clone()),
            subscription: place.subscription.clone(),
            resource_group: place.resource_group.clone(),
            region: there.as_ref().map_or(region, |row| row.region.clone()),
            tags: json!(tags).to_string(),
            workspace,
            cell_id,
            cell,
            created_ms: there.as_ref().map_or(now_ms, |row| row.created_ms),
            changed_ms: now_ms,
        };
        if let Err(error) = self.catalog.document_put(&row).await.map_err(ControlError::from) {
            // Written, and only the answer was lost: then the text that it was written without is the only one.
            let written = is_unknown(&error) && self.find(kind, parent, place).await?.is_some_and(|row| row.cell_id == cell_id);
            if !written {
                if let Some(workspace) = workspace {
                    self.undo(workspace, id, before).await;
                }
                return Err(error);
            }
        }
        // It lies in one place.
        if let Some(before) = there.as_ref().and_then(|row| row.workspace).filter(|before| Some(*before) != workspace) {
            // Tried again here: whoever asks again finds the row elsewhere already, and nobody would look for the old text.
            if self.contents.delete(before, id).await.is_err() {
                self.contents.delete(before, id).await?;
            }
        }
        tracing::info!(document = %row.id, ?kind, "document written");
        Ok((row, there.is_none()))
    }

    /// The row was not written: its entry goes back to what it was, or goes.
    async fn undo(&self, workspace: WorkspaceId, id: ObjectId, before: Option<(ObjectId, Zeroizing<Vec<u8>>)>) {
        let undone = match before {
            None => self.contents.delete(workspace, id).await.map(drop),
            Some((_, value)) => match self.entry(workspace, id).await {
                Ok(now) => {
                    let (kind, replaces) = (ContentKind::Workbooks, now.map(|(rev, _)| rev));
                    let new = NewEntry { workspace, kind, id, replaces, value: &value, by: PrincipalId::NIL };
                    self.contents.put(new).await.map(drop)
                }
                Err(error) => Err(error),
            },
        };
        if let Err(error) = undone {
            tracing::warn!(document = %id, code = error.code(), "the text of a document that was not written was left");
        }
    }

    async fn find(&self, kind: DocumentKind, parent: ObjectId, place: &Place) -> Result<Option<DocumentRow>, ControlError> {
        Ok(self.catalog.document(kind, parent, (&place.subscription, &place.resource_group, &place.name)).await?)
    }

    /// One document, sealed.
    ///
    /// # Errors
    /// [`ControlError::NotFound`].
    pub async fn get(&self, kind: DocumentKind, parent: ObjectId, place: &Place) -> Result<DocumentRow, ControlError> {
        let row = self.find(kind, parent, place).await?;
        row.ok_or_else(|| ControlError::NotFound { what: "document", name: place.name.clone() })
    }

    /// All documents of a kind in a pack, or in none, sealed.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn list(&self, kind: DocumentKind, parent: ObjectId) -> Result<Vec<DocumentRow>, ControlError> {
        Ok(self.catalog.documents(kind, parent).await?)
    }

    /// Takes a document away, and what is in it. Takes no key. Whether it was there.
    ///
    /// # Errors
    /// What catalog and store say.
    pub async fn delete(&self, row: &DocumentRow) -> Result<bool, ControlError> {
        let _turn = self.turn.lock().await;
        // Where it lies now: it may have been written since the caller's row was read.
        let now = self.find(row.kind, row.parent, &place_of(row)).await?.filter(|now| now.id == row.id);
        if let Some(workspace) = now.and_then(|now| now.workspace) {
            self.contents.delete(workspace, row.id).await?;
        }
        Ok(self.catalog.document_delete(row.id).await?)
    }

    /// What a document says.
    ///
    /// # Errors
    /// [`ControlError::Keys`] while its key is away; [`ControlError::NotFound`] if its text is gone; [`ControlError::Damaged`].
    pub async fn open(&self, row: &DocumentRow) -> Result<Map<String, Value>, ControlError> {
        let damaged = || ControlError::Damaged { what: "the document" };
        // Linking storage may have removed it (`azure.linked_storage_existing`).
        let gone = || ControlError::NotFound { what: "text of the document", name: row.name.clone() };
        let plain = match (row.workspace, &row.cell) {
            (Some(workspace), _) => self.entry(workspace, row.id).await?.ok_or_else(gone)?.1,
            (None, Some(cell)) => Zeroizing::new(self.mmk.open_cell(row.cell_id, cell).map_err(|_| damaged())?),
            (None, None) => return Err(damaged()),
        };
        serde_json::from_slice(&plain).map_err(|_| damaged())
    }

    async fn entry(&self, workspace: WorkspaceId, id: ObjectId) -> Result<Option<(ObjectId, Zeroizing<Vec<u8>>)>, ControlError> {
        let entry = self.contents.get(workspace, ContentKind::Workbooks, id, Reader::Server).await?;
        Ok(entry.map(|entry| (entry.rev, entry.value)))
    }

    fn mint(&self) -> ObjectId {
        let (ms, random) = self.world.id_seed();
        ObjectId::mint(ms, random)
    }
}

/// Whether nobody knows if it was done.
fn is_unknown(error: &ControlError) -> bool {
    matches!(error, ControlError::Catalog(CatalogError::CommitUnknown { .. }))
}

fn place_of(row: &DocumentRow) -> Place {
    let DocumentRow { subscription, resource_group, name, .. } = row.clone();
    Place { subscription, resource_group, name }
}

//! Texts and memories of rules in the store of saved content.

use std::sync::Arc;

use async_trait::async_trait;
use strongroom_catalog::WorkspaceRow;
use strongroom_keys::{KeyError, KeyRing, Standing};
use strongroom_model::{ObjectId, PrincipalId, WorkspaceId};
use zeroize::Zeroizing;

use super::ports::{Kept, Safe};
use crate::ControlError;
use crate::contents::{ContentKind, Contents, Entry, NewEntry, Reader};

/// The store, and who knows whether keys are there.
#[derive(Debug)]
pub struct Locked {
    /// Who knows.
    pub keys: Arc<KeyRing>,
    /// The store.
    pub contents: Arc<Contents>,
}

const fn kind(kept: Kept) -> ContentKind {
    match kept {
        Kept::Rule => ContentKind::Alerts,
        // Of rows, and nobody's text: it stays in the workspace.
        Kept::State => ContentKind::AlertStates,
    }
}

impl Locked {
    async fn entry(&self, workspace: WorkspaceId, kept: Kept, id: ObjectId) -> Result<Option<Entry>, ControlError> {
        self.contents.get(workspace, kind(kept), id, Reader::Server).await
    }
}

#[async_trait]
impl Safe for Locked {
    async fn away(&self, workspace: &WorkspaceRow) -> Option<&'static str> {
        match self.keys.standing(workspace.account)? {
            Standing::Shut(why, since_ms) => Some(KeyError::Shut { cluster: String::new(), why, since_ms }.code()),
            Standing::Open | Standing::Held => None,
        }
    }

    async fn is_linked(&self, workspace: WorkspaceId) -> Result<bool, ControlError> {
        self.contents.linked(workspace, ContentKind::Alerts).await
    }

    async fn put(&self, workspace: WorkspaceId, kept: Kept, id: ObjectId, plain: &[u8]) -> Result<(), ControlError> {
        let replaces = self.entry(workspace, kept, id).await?.map(|entry| entry.rev);
        let new = NewEntry { workspace, kind: kind(kept), id, replaces, value: plain, by: PrincipalId::NIL };
        self.contents.put(new).await.map(drop)
    }

    async fn get(&self, workspace: WorkspaceId, kept: Kept, id: ObjectId) -> Result<Option<Zeroizing<Vec<u8>>>, ControlError> {
        Ok(self.entry(workspace, kept, id).await?.map(|entry| entry.value))
    }

    async fn delete(&self, workspace: WorkspaceId, id: ObjectId) -> Result<(), ControlError> {
        self.contents.delete(workspace, id).await.map(drop)
    }
}

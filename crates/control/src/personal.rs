//! What people keep for themselves: the questions they asked, and those they pinned. One entry of saved content a person, workspace
//! and kind, under the workspace's key; nobody reads another's.
//!
//! While a storage account is linked for the workspace's queries there is neither: they cannot be kept there, and what was kept before
//! is not to be had.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use strongroom_keys::KeyRing;
use strongroom_model::{ErrorKind, ObjectId, PrincipalId, TableId, WorkspaceId};
use strongroom_world::World;
use zeroize::Zeroizing;

use crate::contents::{ContentKind, Contents, NewEntry, Reader};
use crate::{ControlError, Said};

/// Questions that are remembered; the oldest go first.
const HISTORY_MAX: usize = 100;
/// Pins of a person in a workspace.
const PINS_MAX: usize = 100;
/// Bytes of a query, as of a stored function.
const TEXT_MAX: usize = 64 << 10;
/// Bytes of a title, a time span and the like.
const LINE_MAX: usize = 512;
/// How often a change is tried that another one was ahead of.
const TRIES: usize = 3;

/// A question that was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// Its id.
    pub id: ObjectId,
    /// The text.
    pub query: String,
    /// About which time, as it was given.
    pub timespan: Option<String>,
    /// When it was put here, milliseconds since 1970.
    pub at_ms: i64,
}

/// A question that somebody wants to see again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Its id.
    pub id: ObjectId,
    /// What it is called.
    pub title: String,
    /// The text.
    pub query: String,
    /// How it is drawn.
    pub visualization: Option<String>,
    /// When it was put here, milliseconds since 1970.
    pub at_ms: i64,
}

/// Histories and pins.
#[derive(Debug)]
pub struct Personal {
    world: World,
    keys: Arc<KeyRing>,
    contents: Arc<Contents>,
}

/// Whose, and where.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// Whose.
    pub principal: PrincipalId,
    /// In which workspace.
    pub workspace: WorkspaceId,
}

impl Owner {
    /// The entry of a person: the same each time, and nobody else's.
    fn entry(self, kind: ContentKind) -> ObjectId {
        let mut hash = Sha256::new();
        hash.update(b"personal/v1/");
        hash.update(kind.as_str());
        hash.update(self.workspace.as_bytes());
        hash.update(self.principal.as_bytes());
        let bytes: [u8; 32] = hash.finalize().into();
        ObjectId::from_bytes(bytes[..16].try_into().expect("half of 32 bytes"))
    }
}

fn invalid(why: String) -> ControlError {
    ControlError::Elsewhere(Said { kind: ErrorKind::Invalid, code: "BadParameter", message: why })
}

fn check(query: &str, lines: &[&str]) -> Result<(), ControlError> {
    if query.trim().is_empty() || query.len() > TEXT_MAX {
        return Err(invalid(format!("a query has 1 to {TEXT_MAX} bytes")));
    }
    if lines.iter().any(|line| line.len() > LINE_MAX || line.chars().any(char::is_control)) {
        return Err(invalid(format!("titles and the like have at most {LINE_MAX} bytes, in one line")));
    }
    Ok(())
}

impl Personal {
    /// In a store of saved content.
    #[must_use]
    pub fn new(world: World, keys: Arc<KeyRing>, contents: Arc<Contents>) -> Self {
        Self { world, keys, contents }
    }

    /// What somebody asked, newest first.
    ///
    /// # Errors
    /// `NotSupportedWithLinkedStorage`; the key's error.
    pub async fn history(&self, owner: Owner) -> Result<Vec<Remembered>, ControlError> {
        Ok(self.read(owner, ContentKind::History).await?.1)
    }

    /// Remembers a question.
    ///
    /// # Errors
    /// `NotSupportedWithLinkedStorage`; `BadParameter`; the key's error.
    pub async fn remember(&self, owner: Owner, query: String, timespan: Option<String>) -> Result<Remembered, ControlError> {
        check(&query, &[timespan.as_deref().unwrap_or_default()])?;
        let new = Remembered { id: self.contents.mint(), query, timespan, at_ms: self.world.clock.wall().unix_ms() };
        self.change(owner, ContentKind::History, |known| {
            known.insert(0, new.clone());
            known.truncate(HISTORY_MAX);
            Ok(())
        })
        .await?;
        Ok(new)
    }

    /// Forgets all that somebody asked. Takes no key.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn forget(&self, owner: Owner) -> Result<bool, ControlError> {
        self.contents.delete(owner.workspace, owner.entry(ContentKind::History)).await
    }

    /// What somebody pinned, newest first.
    ///
    /// # Errors
    /// `NotSupportedWithLinkedStorage`; the key's error.
    pub async fn pins(&self, owner: Owner) -> Result<Vec<Pin>, ControlError> {
        Ok(self.read(owner, ContentKind::Pins).await?.1)
    }

    /// Pins a question.
    ///
    /// # Errors
    /// `NotSupportedWithLinkedStorage`; `BadParameter`; [`ControlError::TooMany`]; the key's error.
    pub async fn pin(&self, owner: Owner, title: String, query: String, visualization: Option<String>) -> Result<Pin, ControlError> {
        check(&query, &[&title, visualization.as_deref().unwrap_or_default()])?;
        let new = Pin { id: self.contents.mint(), title, query, visualization, at_ms: self.world.clock.wall().unix_ms() };
        self.change(owner, ContentKind::Pins, |known| {
            if known.len() >= PINS_MAX {
                return Err(ControlError::TooMany { what: "pins", max: PINS_MAX });
            }
            known.insert(0, new.clone());
            Ok(())
        })
        .await?;
        Ok(new)
    }

    /// Takes a pin away. Whether it was there.
    ///
    /// # Errors
    /// `NotSupportedWithLinkedStorage`; the key's error.
    pub async fn unpin(&self, owner: Owner, id: ObjectId) -> Result<bool, ControlError> {
        let mut there = false;
        self.change(owner, ContentKind::Pins, |known: &mut Vec<Pin>| {
            let before = known.len();
            known.retain(|pin| pin.id != id);
            there = known.len() < before;
            Ok(())
        })
        .await?;
        Ok(there)
    }

    /// What is there, and what a change of it says it replaces.
    async fn read<T: DeserializeOwned>(&self, owner: Owner, kind: ContentKind) -> Result<(Option<ObjectId>, Vec<T>), ControlError> {
        if self.contents.linked(owner.workspace, ContentKind::Query).await? {
            let message =
                "query history and pins are not supported while a storage account is linked for the workspace's queries".to_owned();
            return Err(ControlError::Elsewhere(Said { kind: ErrorKind::Invalid, code: "NotSupportedWithLinkedStorage", message }));
        }
        let warrant = self.keys.warrant(owner.principal, owner.workspace, TableId::NIL).await?;
        let entry = self.contents.get(owner.workspace, kind, owner.entry(kind), Reader::For(&warrant)).await?;
        let Some(entry) = entry else { return Ok((None, Vec::new())) };
        let known =
            serde_json::from_slice(&entry.value).map_err(|_| ControlError::Damaged { what: "what somebody kept for themselves" })?;
        Ok((Some(entry.rev), known))
    }

    async fn change<T: Serialize + DeserializeOwned>(
        &self,
        owner: Owner,
        kind: ContentKind,
        mut change: impl FnMut(&mut Vec<T>) -> Result<(), ControlError>,
    ) -> Result<(), ControlError> {
        let mut tries = 0;
        loop {
            let (replaces, mut known) = self.read(owner, kind).await?;
            change(&mut known)?;
            let value = Zeroizing::new(serde_json::to_vec(&known).unwrap_or_default());
            let Owner { principal, workspace } = owner;
            let new = NewEntry { workspace, kind, id: owner.entry(kind), replaces, value: &value, by: principal };
            tries += 1;
            match self.contents.put(new).await {
                Ok(_) => return Ok(()),
                Err(ControlError::Conflict { .. }) if tries < TRIES => {}
                Err(error) => return Err(error),
            }
        }
    }
}

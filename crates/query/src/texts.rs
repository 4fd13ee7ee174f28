//! Where functions and saved searches are kept: not here. Their texts come opened, with the guards they were opened under.

use std::fmt;

use async_trait::async_trait;
use strongroom_envelope::KeyGuard;
use strongroom_keys::{Pass, Warrant};
use strongroom_model::{ObjectId, PrincipalId, WorkspaceId};
use strongroom_world::World;

use crate::QueryError;
use crate::error::{guard_error, shut_error};

/// A text that was opened.
#[derive(Clone, Debug)]
pub struct Text {
    /// Its id, as long as it is there.
    pub id: ObjectId,
    /// What a change of it says it replaces.
    pub rev: ObjectId,
    /// Another after each change.
    pub etag: ObjectId,
    /// When it was last changed, milliseconds since 1970.
    pub changed_ms: i64,
    /// What was put.
    pub value: Vec<u8>,
}

/// Texts that were opened, and what they were opened under.
#[derive(Debug, Default)]
pub struct OpenTexts {
    /// The texts.
    pub texts: Vec<Text>,
    /// The guards, each with leave of its account if that key can be taken away.
    pub guards: Vec<(KeyGuard, Option<Pass>)>,
    /// Leave of the accounts that new texts go to.
    pub passes: Vec<Pass>,
}

impl OpenTexts {
    /// Whether they may still be shown.
    pub(crate) fn check(&self, world: &World) -> Result<(), QueryError> {
        for (guard, pass) in &self.guards {
            pass.as_ref().map_or(Ok(()), Pass::check).map_err(|error| shut_error(&error))?;
            guard.check(world.clock.boot()).map_err(|error| guard_error(&error))?;
        }
        self.passes.iter().try_for_each(Pass::check).map_err(|error| shut_error(&error))
    }
}

/// A text to be kept.
#[derive(Clone, Copy, Debug)]
pub struct NewText<'a> {
    /// Whose.
    pub workspace: WorkspaceId,
    /// On whose behalf.
    pub principal: PrincipalId,
    /// Whether questions call it by a name.
    pub callable: bool,
    /// Its id, and of the text that it takes the place of, what that said of itself; `None`: it is new.
    pub replaces: Option<(ObjectId, ObjectId)>,
    /// The text.
    pub value: &'a [u8],
}

/// Keeps texts, sealed, wherever a workspace's texts go.
#[async_trait]
pub trait Texts: fmt::Debug + Send + Sync {
    /// Whether a workspace has any; takes no key.
    ///
    /// # Errors
    /// What the catalog says.
    async fn any(&self, workspace: WorkspaceId) -> Result<bool, QueryError>;
    /// Opens all of a workspace's.
    ///
    /// # Errors
    /// The key's error if one of them, or where new ones go, is under a key that is away.
    async fn open(&self, workspace: WorkspaceId, warrant: &Warrant) -> Result<OpenTexts, QueryError>;
    /// Keeps one; as it is then, without the value.
    ///
    /// # Errors
    /// A conflict if what it replaces was changed meanwhile; the key's error.
    async fn put(&self, new: NewText<'_>) -> Result<Text, QueryError>;
    /// Takes one away; whether it was there.
    ///
    /// # Errors
    /// What the catalog says.
    async fn remove(&self, workspace: WorkspaceId, id: ObjectId) -> Result<bool, QueryError>;
}

/// Keeps none: for whoever asks tables alone.
#[derive(Clone, Copy, Debug)]
pub struct NoTexts;

#[async_trait]
impl Texts for NoTexts {
    async fn any(&self, _: WorkspaceId) -> Result<bool, QueryError> {
        Ok(false)
    }
    async fn open(&self, _: WorkspaceId, _: &Warrant) -> Result<OpenTexts, QueryError> {
        Ok(OpenTexts::default())
    }
    async fn put(&self, _: NewText<'_>) -> Result<Text, QueryError> {
        Err(QueryError::invalid("InvalidFunction", "no functions are kept here"))
    }
    async fn remove(&self, _: WorkspaceId, _: ObjectId) -> Result<bool, QueryError> {
        Ok(false)
    }
}

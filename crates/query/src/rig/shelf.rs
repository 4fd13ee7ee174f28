//! Saved content as the server gives it to the engine, with no storage account to link.

use std::sync::Arc;

use async_trait::async_trait;
use object_store::ObjectStore;
use strongroom_control::ControlError;
use strongroom_control::contents::{ContentKind, Contents, NewEntry, Reader, Stamp, Stores};
use strongroom_keys::Warrant;
use strongroom_model::{ObjectId, WorkspaceId};

use crate::QueryError;
use crate::texts::{NewText, OpenTexts, Text, Texts};

const KINDS: [ContentKind; 2] = [ContentKind::Query, ContentKind::Functions];

#[derive(Debug)]
pub(super) struct Nowhere;

#[async_trait]
impl Stores for Nowhere {
    async fn check(&self, _: &str) -> Result<String, ControlError> {
        Err(ControlError::Conflict { why: "there are no stores" })
    }
    async fn open(&self, _: ObjectId, _: Option<&str>) -> Result<Arc<dyn ObjectStore>, ControlError> {
        Err(ControlError::Conflict { why: "there are no stores" })
    }
}

#[derive(Debug)]
pub(super) struct Shelf(pub(super) Arc<Contents>);

fn told(error: &ControlError) -> QueryError {
    QueryError::new(error.kind(), error.code(), error.to_string())
}

#[async_trait]
impl Texts for Shelf {
    async fn any(&self, workspace: WorkspaceId) -> Result<bool, QueryError> {
        Ok(self.0.count(workspace, &KINDS).await.map_err(|error| told(&error))? > 0)
    }

    async fn open(&self, workspace: WorkspaceId, warrant: &Warrant) -> Result<OpenTexts, QueryError> {
        let opened = self.0.open(workspace, &KINDS, Reader::For(warrant)).await.map_err(|error| told(&error))?;
        let texts = opened.entries.into_iter().map(|mut entry| Text {
            id: entry.id,
            rev: entry.rev,
            etag: entry.etag,
            changed_ms: entry.changed_ms,
            value: std::mem::take(&mut *entry.value),
        });
        Ok(OpenTexts { texts: texts.collect(), guards: opened.guards, passes: opened.passes })
    }

    async fn put(&self, new: NewText<'_>) -> Result<Text, QueryError> {
        let NewText { workspace, principal, callable, replaces, value } = new;
        let kind = if callable { ContentKind::Functions } else { ContentKind::Query };
        let id = replaces.map_or_else(|| self.0.mint(), |(id, _)| id);
        let entry = NewEntry { workspace, kind, id, replaces: replaces.map(|(_, rev)| rev), value, by: principal };
        let Stamp { etag, rev, changed_ms } = self.0.put(entry).await.map_err(|error| told(&error))?;
        Ok(Text { id, rev, etag, changed_ms, value: Vec::new() })
    }

    async fn remove(&self, workspace: WorkspaceId, id: ObjectId) -> Result<bool, QueryError> {
        self.0.delete(workspace, id).await.map_err(|error| told(&error))
    }
}

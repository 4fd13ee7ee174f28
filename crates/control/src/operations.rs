//! Operations: changes that take their time. Each is written down before it begins and ends with one word; a restart goes on
//! with what it finds.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use strongroom_catalog::{Catalog, CatalogError, OperationErrorRow, OperationRow, OperationStatus};
use strongroom_model::{AekId, ErrorKind, ObjectId, TableId, WorkspaceId};
use strongroom_world::World;

use crate::audit::{self, Event, Scribe, name};
use crate::clusters::IdentityTarget;
use crate::{ControlError, KeyProperties};

/// How long the end of an operation can be asked for. Clients that poll give up long before.
const KEPT_MS: i64 = 7 * 86_400 * 1_000;

/// What an operation does, with all it needs to go on after a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub(crate) enum Change {
    /// Opens the account of a new cluster; `key` if it comes under one at once.
    Create {
        cluster: ObjectId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<KeyProperties>,
    },
    /// Changes a cluster that is there; `key` if that is what changes.
    Update { cluster: ObjectId, key: Option<KeyProperties> },
    /// Lets a cluster show another identity.
    Identity { cluster: ObjectId, to: IdentityTarget },
    /// Brings a cluster's data under a new AEK: those of `old` end. `bytes` there were when it began.
    #[serde(rename_all = "camelCase")]
    Rekey { cluster: ObjectId, old: Vec<AekId>, bytes: u64, rate_mb_s: Option<u32> },
    /// Brings a linked workspace's old blocks under the customer's key.
    #[serde(rename_all = "camelCase")]
    Reencrypt { workspace: WorkspaceId, cluster: ObjectId, bytes: u64, rate_mb_s: Option<u32>, paused: bool },
    /// Deletes a cluster.
    Delete { cluster: ObjectId },
    /// Links a workspace to a cluster.
    Link { workspace: WorkspaceId, cluster: ObjectId },
    /// Unlinks a workspace.
    Unlink { workspace: WorkspaceId },
    /// Takes rows of a table away, by event time (nanoseconds since 1970, both ends included).
    Shred { workspace: WorkspaceId, table: TableId, start: i64, end: i64 },
}

impl Change {
    const fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "Create",
            Self::Update { .. } | Self::Identity { .. } => "Update",
            Self::Rekey { .. } => "Rekey",
            Self::Reencrypt { .. } => "Reencrypt",
            Self::Delete { .. } => "Delete",
            Self::Link { .. } => "Link",
            Self::Unlink { .. } => "Unlink",
            Self::Shred { .. } => "Shred",
        }
    }
}

/// How an operation stands, in the words that Azure prints: of one under way, what it does to its resource. Clients go on polling on
/// every word but the last two.
#[must_use]
pub fn operation_status(row: &OperationRow) -> &'static str {
    match (row.status, row.kind.as_str()) {
        (OperationStatus::InProgress, "Update" | "Rekey" | "Reencrypt" | "Link") => "Updating",
        (OperationStatus::InProgress, "Delete" | "Unlink") => "Deleting",
        (status, _) => status.as_str(),
    }
}

/// The operations of a catalog.
#[derive(Debug)]
pub(crate) struct Operations {
    world: World,
    catalog: Catalog,
    audit: audit::Desk,
}

impl Operations {
    pub(crate) fn new(world: World, catalog: Catalog) -> Self {
        Self { world, catalog, audit: audit::Desk::default() }
    }

    pub(crate) fn audited_by(&self, scribe: Arc<dyn Scribe>) {
        self.audit.seat(scribe);
    }

    /// Writes an operation down. `Ok(None)`: another one runs on the resource.
    pub(crate) async fn begin(&self, resource: &str, region: &str, change: &Change) -> Result<Option<OperationRow>, ControlError> {
        let now_ms = self.world.clock.wall().unix_ms();
        self.catalog.operation_forget(now_ms.saturating_sub(KEPT_MS)).await?;
        let (ms, random) = self.world.id_seed();
        let row = OperationRow {
            id: ObjectId::mint(ms, random),
            resource: resource.to_owned(),
            region: region.to_owned(),
            kind: change.name().to_owned(),
            input: serde_json::to_string(change).expect("a change is plain data"),
            status: OperationStatus::InProgress,
            start_ms: now_ms,
            end_ms: None,
            error: None,
        };
        match self.catalog.operation_insert(&row).await {
            Ok(()) => Ok(Some(row)),
            Err(CatalogError::Conflict { .. }) => Ok(None),
            // Nobody can say whether it was written: looked up, for one that was would block its resource.
            Err(error @ CatalogError::CommitUnknown { .. }) => match self.catalog.operation_get(row.id).await? {
                Some(row) => Ok(Some(row)),
                None => Err(error.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Writes down how it went: `None`, well.
    pub(crate) async fn finish(&self, row: &OperationRow, error: Option<&ControlError>) -> Result<(), ControlError> {
        let error = error.map(failure);
        match &error {
            None => tracing::info!(operation = %row.id, kind = row.kind, "operation done"),
            Some(error) => tracing::warn!(operation = %row.id, kind = row.kind, code = error.code, "operation failed"),
        }
        self.audit.note(|| ended(row, error.as_ref()));
        let end_ms = self.world.clock.wall().unix_ms();
        match self.catalog.operation_finish(row.id, end_ms, error.as_ref()).await {
            // Its end was told before: a commit whose answer was lost.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => Ok(other?),
        }
    }

    pub(crate) async fn running(&self) -> Result<Vec<(OperationRow, Change)>, ControlError> {
        let rows = self.catalog.operation_list_running().await?;
        Ok(rows
            .into_iter()
            .filter_map(|row| Some((serde_json::from_str(&row.input).ok()?, row)))
            .map(|(change, row)| (row, change))
            .collect())
    }

    /// What it does by now: it may have been written down anew.
    pub(crate) async fn change(&self, id: ObjectId) -> Result<Option<Change>, ControlError> {
        let row = self.catalog.operation_get(id).await?;
        Ok(row.and_then(|row| serde_json::from_str(&row.input).ok()))
    }

    /// Writes down anew what it does.
    pub(crate) async fn rewrite(&self, id: ObjectId, change: &Change) -> Result<(), ControlError> {
        let input = serde_json::to_string(change).expect("a change is plain data");
        Ok(self.catalog.operation_reinput(id, &input).await?)
    }

    /// The one that began last on a resource, and what it does.
    pub(crate) async fn last_on(&self, resource: &str) -> Result<Option<(OperationRow, Change)>, ControlError> {
        let row = self.catalog.operation_last_on(resource).await?;
        Ok(row.and_then(|row| Some((serde_json::from_str(&row.input).ok()?, row))).map(|(change, row)| (row, change)))
    }

    pub(crate) async fn running_on(&self, resource: &str) -> Result<Option<OperationRow>, ControlError> {
        Ok(self.catalog.operation_running_on(resource).await?)
    }

    pub(crate) async fn get(&self, id: ObjectId) -> Result<Option<OperationRow>, ControlError> {
        Ok(self.catalog.operation_get(id).await?)
    }
}

fn failure(error: &ControlError) -> OperationErrorRow {
    let details: Vec<_> = error.detail().into_iter().map(|(code, message)| serde_json::json!({"code": code, "message": message})).collect();
    OperationErrorRow { code: error.code().to_owned(), message: error.to_string(), details: serde_json::Value::from(details).to_string() }
}

/// What the audit chain is told of a change's end.
fn ended(row: &OperationRow, error: Option<&OperationErrorRow>) -> Event {
    let event = match row.kind.as_str() {
        "Create" => name::CLUSTER_CREATED,
        "Delete" => name::CLUSTER_DELETED,
        "Link" => name::LINKED,
        "Unlink" => name::UNLINKED,
        _ => name::CLUSTER_CHANGED,
    };
    let input: serde_json::Value = serde_json::from_str(&row.input).unwrap_or_default();
    let id = |name: &str| input.get(name).and_then(serde_json::Value::as_str);
    let mut event = Event::new(event).code(error.map_or_else(|| "Succeeded".to_owned(), |error| error.code.clone()));
    event.cluster = id("cluster").and_then(|id| id.parse().ok());
    event.workspace = id("workspace").and_then(|id| id.parse().ok());
    event.with("kind", row.kind.as_str()).with("operation", row.id.to_string()).with("resource", row.resource.as_str())
}

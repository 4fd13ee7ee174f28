//! Workspaces and tables: the small JSON documents of the native control plane.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use strongroom_catalog::{TablePlan, TableRow, WorkspaceRow};
use strongroom_control::{DEFAULT_NAME, ScopePath, action};
use strongroom_model::{ErrorKind, TableName, WhileRevoked, WorkspaceName};

use super::auth::Who;
use super::error::ApiError;
use super::query::query_error;
use super::{App, control_error};

/// What creates a workspace.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewWorkspace {
    name: WorkspaceName,
    #[serde(default, rename = "retentionInDays")]
    retention_days: Option<u32>,
}

/// What may be changed of a workspace; an absent member stays.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkspacePatch {
    #[serde(default, rename = "cmkIngestPolicy")]
    while_revoked: Option<WhileRevoked>,
    #[serde(default, rename = "retentionInDays")]
    retention_days: Option<u32>,
}

/// What may be changed of a table; an absent member stays, null takes the workspace's.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TablePatch {
    #[serde(default, rename = "retentionInDays", deserialize_with = "given")]
    #[expect(clippy::option_option, reason = "absent, null and a number are three things")]
    retention_days: Option<Option<u32>>,
    #[serde(default)]
    plan: Option<String>,
}

/// A member that is there, null or not.
#[expect(clippy::option_option, reason = "absent, null and a number are three things")]
fn given<'de, D: serde::Deserializer<'de>>(member: D) -> Result<Option<Option<u32>>, D::Error> {
    Option::deserialize(member).map(Some)
}

pub(super) fn body<T>(json: Result<Json<T>, JsonRejection>) -> Result<T, ApiError> {
    json.map(|Json(value)| value).map_err(|rejection| {
        if let Some(slow) = super::body::slowness(&rejection) {
            return slow;
        }
        let kind = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => ErrorKind::TooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => ErrorKind::Unsupported,
            _ => ErrorKind::Invalid,
        };
        ApiError::new(kind, "InvalidRequestContent", rejection.body_text())
    })
}

pub(super) fn workspace_json(row: &WorkspaceRow) -> Value {
    json!({
        "id": row.id,
        "name": row.name,
        "subscription": row.subscription,
        "resourceGroup": row.resource_group,
        "region": row.region,
        "retentionInDays": row.retention_days,
        "createdMs": row.created_ms,
    })
}

/// The same, with the name of the cluster it is linked to.
async fn workspace_page(app: &App, row: &WorkspaceRow) -> Result<Value, ApiError> {
    let mut page = workspace_json(row);
    if let Some(link) = app.site.clusters.link_of(row).await.map_err(|error| control_error(&error))? {
        page["cluster"] = link.cluster.name.into();
    }
    let policy = app.site.workspaces.ingest_policy(row.id).await.map_err(|error| control_error(&error))?;
    page["cmkIngestPolicy"] = json!(policy);
    Ok(page)
}

pub(crate) async fn list_workspaces(State(app): State<App>, who: Who) -> Result<Json<Value>, ApiError> {
    let rows = app.site.workspaces.list(&who.0).await.map_err(|error| control_error(&error))?;
    let mut value = Vec::with_capacity(rows.len());
    for row in &rows {
        value.push(workspace_page(&app, row).await?);
    }
    Ok(Json(json!({"value": value})))
}

pub(crate) async fn create_workspace(
    State(app): State<App>,
    who: Who,
    request: Result<Json<NewWorkspace>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let home = app.site.workspaces.ensure_defaults().await.map_err(|error| control_error(&error))?;
    who.on(action::WORKSPACES_WRITE, &ScopePath::group(&home.subscription, DEFAULT_NAME))?;
    let new = body(request)?;
    let row = app.site.workspaces.create(new.name, new.retention_days).await.map_err(|error| control_error(&error))?;
    Ok((StatusCode::CREATED, Json(workspace_json(&row))))
}

pub(crate) async fn show_workspace(State(app): State<App>, who: Who, Path(workspace): Path<String>) -> Result<Json<Value>, ApiError> {
    let row = app.site.workspaces.resolve(&who.0, &workspace, action::WORKSPACES_READ).await.map_err(|error| control_error(&error))?;
    let mut page = workspace_page(&app, &row).await?;
    app.site.intake.write_tallies().await;
    let counts = app.site.workspaces.away_counts(row.id).await.map_err(|error| control_error(&error))?;
    if !counts.is_empty() {
        let shown = counts.iter().map(|(table, count)| {
            json!({
                "table": table,
                "refusedRequests": count.refused,
                "sealedRows": count.sealed,
                "droppedRows": count.dropped,
                "lastMs": count.last_ms,
            })
        });
        page["whileKeyAway"] = shown.collect();
    }
    Ok(Json(page))
}

pub(crate) async fn update_workspace(
    State(app): State<App>,
    who: Who,
    Path(workspace): Path<String>,
    request: Result<Json<WorkspacePatch>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    let workspaces = &app.site.workspaces;
    let row = workspaces.resolve(&who.0, &workspace, action::WORKSPACES_WRITE).await.map_err(|error| control_error(&error))?;
    let patch = body(request)?;
    if let Some(days) = patch.retention_days {
        workspaces.set_retention(row.id, days).await.map_err(|error| control_error(&error))?;
    }
    if let Some(policy) = patch.while_revoked {
        workspaces.set_ingest_policy(row.id, policy).await.map_err(|error| control_error(&error))?;
    }
    let row = WorkspaceRow { retention_days: patch.retention_days.unwrap_or(row.retention_days), ..row };
    Ok(Json(workspace_page(&app, &row).await?))
}

pub(crate) async fn tables(State(app): State<App>, who: Who, Path(workspace): Path<String>) -> Result<Json<Value>, ApiError> {
    let row = app.site.workspaces.find(&who.0, &workspace).await.map_err(|error| control_error(&error))?;
    let open = app.site.tables.open_to(&who.0, &row, action::TABLES_READ).await.map_err(|error| control_error(&error))?;
    let mut tables = app.site.engine.tables(row.id, who.0.principal).await.map_err(|error| query_error(&error))?;
    tables.retain(|table| open.iter().any(|row| row.name.as_str() == table.name));
    Ok(Json(json!({"value": tables})))
}

pub(crate) async fn update_table(
    State(app): State<App>,
    who: Who,
    Path((workspace, table)): Path<(String, TableName)>,
    request: Result<Json<TablePatch>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    let workspace = who.table(&app, &workspace, table.as_str(), action::TABLES_WRITE).await?.id;
    let called = app.site.tables.called(workspace, &table).await.map_err(|error| control_error(&error))?;
    let table = called.map_or(table, |row| row.name);
    let patch = body(request)?;
    let mut changed: Option<TableRow> = None;
    if let Some(days) = patch.retention_days {
        changed = Some(app.site.workspaces.set_table_retention(workspace, &table, days).await.map_err(|error| control_error(&error))?);
    }
    if let Some(plan) = &patch.plan {
        let plan = plan
            .parse::<TablePlan>()
            .map_err(|()| ApiError::new(ErrorKind::Invalid, "InvalidParameter", "plan is Analytics, Basic or Auxiliary").target("plan"))?;
        changed = Some(app.site.workspaces.set_table_plan(workspace, &table, plan).await.map_err(|error| control_error(&error))?);
    }
    let Some(row) = changed else {
        return Err(ApiError::new(ErrorKind::Invalid, "InvalidRequestContent", "name what to change: retentionInDays or plan"));
    };
    Ok(Json(json!({"id": row.id, "name": row.name, "retentionInDays": row.retention_days, "plan": row.plan.as_str()})))
}

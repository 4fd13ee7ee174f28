//! Lockbox requests. The rules are `strongroom_control::Lockbox`; this door gives them JSON.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use strongroom_catalog::LockboxRow;
use strongroom_control::action;

use super::auth::Who;
use super::error::ApiError;
use super::resources::body;
use super::{App, control_error};

/// What asks a customer for leave.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRequest {
    workspace: String,
    reason: String,
    #[serde(default = "one")]
    hours: u32,
}

const fn one() -> u32 {
    1
}

async fn request_json(app: &App, row: &LockboxRow) -> Result<Value, ApiError> {
    let broken = |error: strongroom_catalog::CatalogError| control_error(&error.into());
    let workspace = app.site.catalog.workspace(row.workspace).await.map_err(broken)?.map(|row| row.name.to_string());
    let cluster = app.site.catalog.cluster_get(row.cluster).await.map_err(broken)?.map(|row| row.name);
    let decided = row.decided.as_ref();
    Ok(json!({
        "id": row.id,
        "workspace": row.workspace,
        "workspaceName": workspace,
        "cluster": cluster,
        "requester": {"id": row.requester, "name": row.requester_name},
        "reason": row.reason,
        "hours": row.hours,
        "state": row.state.as_str(),
        "askedMs": row.asked_ms,
        "answerByMs": row.answer_by_ms,
        "decidedBy": decided.map(|(id, name, _)| json!({"id": id, "name": name})),
        "decidedMs": decided.map(|(.., at_ms)| at_ms),
        "untilMs": row.until_ms,
        "endedMs": row.ended_ms,
    }))
}

pub(crate) async fn request(
    State(app): State<App>,
    who: Who,
    new: Result<Json<NewRequest>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let new = body(new)?;
    let workspace = app.site.workspaces.resolve(&who.0, &new.workspace, action::LOCKBOX_REQUEST).await;
    let workspace = workspace.map_err(|error| control_error(&error))?;
    let row = app.site.lockbox.request(&who.0, &workspace, &new.reason, new.hours).await.map_err(|error| control_error(&error))?;
    Ok((StatusCode::CREATED, Json(request_json(&app, &row).await?)))
}

pub(crate) async fn list(State(app): State<App>, who: Who) -> Result<Json<Value>, ApiError> {
    let rows = app.site.lockbox.list(&who.0).await.map_err(|error| control_error(&error))?;
    let mut value = Vec::with_capacity(rows.len());
    for row in &rows {
        value.push(request_json(&app, row).await?);
    }
    Ok(Json(json!({"value": value})))
}

pub(crate) async fn show(State(app): State<App>, who: Who, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let row = app.site.lockbox.get(&who.0, &id).await.map_err(|error| control_error(&error))?;
    Ok(Json(request_json(&app, &row).await?))
}

pub(crate) async fn approve(State(app): State<App>, who: Who, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let row = app.site.lockbox.decide(&who.0, &id, true).await.map_err(|error| control_error(&error))?;
    Ok(Json(request_json(&app, &row).await?))
}

pub(crate) async fn reject(State(app): State<App>, who: Who, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let row = app.site.lockbox.decide(&who.0, &id, false).await.map_err(|error| control_error(&error))?;
    Ok(Json(request_json(&app, &row).await?))
}

pub(crate) async fn end(State(app): State<App>, who: Who, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let row = app.site.lockbox.end(&who.0, &id).await.map_err(|error| control_error(&error))?;
    Ok(Json(request_json(&app, &row).await?))
}

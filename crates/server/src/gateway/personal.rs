//! What people keep for themselves: `/v1/workspaces/{workspace}/history` and `/pins`. Each caller sees their own.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use strongroom_control::action;
use strongroom_control::personal::{Owner, Pin, Remembered};
use strongroom_model::{ErrorKind, ObjectId};

use super::arm::time;
use super::auth::Who;
use super::error::ApiError;
use super::{App, SMALL_BODY, body, control_error};

/// A question to remember.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRemembered {
    query: String,
    #[serde(default)]
    timespan: Option<String>,
}

/// A question to pin.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPin {
    title: String,
    query: String,
    #[serde(default)]
    visualization: Option<String>,
}

/// Whoever may query the workspace has a place in it.
async fn owner(app: &App, who: &Who, workspace: &str) -> Result<Owner, ApiError> {
    Ok(Owner { principal: who.0.principal, workspace: who.workspace(app, workspace, action::QUERY).await? })
}

/// Read at last: whoever may not was told so before.
async fn read<T: DeserializeOwned>(body: Body) -> Result<T, ApiError> {
    let bytes = body::read(body, SMALL_BODY).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let why = format!("the body is not what is expected at line {} column {}", error.line(), error.column());
        ApiError::new(ErrorKind::Invalid, "BadParameter", why)
    })
}

fn remembered(one: &Remembered) -> Value {
    json!({"id": one.id, "query": one.query, "timespan": one.timespan, "at": time(one.at_ms)})
}

fn pinned(one: &Pin) -> Value {
    json!({"id": one.id, "title": one.title, "query": one.query, "visualization": one.visualization, "at": time(one.at_ms)})
}

pub(crate) async fn history(State(app): State<App>, who: Who, Path(workspace): Path<String>) -> Result<Json<Value>, ApiError> {
    let owner = owner(&app, &who, &workspace).await?;
    let all = app.site.personal.history(owner).await.map_err(|error| control_error(&error))?;
    Ok(Json(json!({"value": all.iter().map(remembered).collect::<Vec<_>>()})))
}

pub(crate) async fn remember(
    State(app): State<App>,
    who: Who,
    Path(workspace): Path<String>,
    body: Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let owner = owner(&app, &who, &workspace).await?;
    let NewRemembered { query, timespan } = read(body).await?;
    let one = app.site.personal.remember(owner, query, timespan).await.map_err(|error| control_error(&error))?;
    Ok((StatusCode::CREATED, Json(remembered(&one))))
}

pub(crate) async fn forget(State(app): State<App>, who: Who, Path(workspace): Path<String>) -> Result<StatusCode, ApiError> {
    let owner = owner(&app, &who, &workspace).await?;
    app.site.personal.forget(owner).await.map_err(|error| control_error(&error))?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn pins(State(app): State<App>, who: Who, Path(workspace): Path<String>) -> Result<Json<Value>, ApiError> {
    let owner = owner(&app, &who, &workspace).await?;
    let all = app.site.personal.pins(owner).await.map_err(|error| control_error(&error))?;
    Ok(Json(json!({"value": all.iter().map(pinned).collect::<Vec<_>>()})))
}

pub(crate) async fn pin(
    State(app): State<App>,
    who: Who,
    Path(workspace): Path<String>,
    body: Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let owner = owner(&app, &who, &workspace).await?;
    let NewPin { title, query, visualization } = read(body).await?;
    let one = app.site.personal.pin(owner, title, query, visualization).await.map_err(|error| control_error(&error))?;
    Ok((StatusCode::CREATED, Json(pinned(&one))))
}

pub(crate) async fn unpin(
    State(app): State<App>,
    who: Who,
    Path((workspace, pin)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let owner = owner(&app, &who, &workspace).await?;
    let absent = || ApiError::new(ErrorKind::NotFound, "NotFound", "there is no such pin of yours");
    let id: ObjectId = pin.parse().map_err(|_| absent())?;
    let there = app.site.personal.unpin(owner, id).await.map_err(|error| control_error(&error))?;
    if there { Ok(StatusCode::NO_CONTENT) } else { Err(absent()) }
}

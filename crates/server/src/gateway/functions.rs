//! Stored functions of a workspace: small JSON documents, opened for whoever may see them, while the key is there.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use strongroom_control::action;
use strongroom_model::ErrorKind;
use strongroom_query::{FunctionInfo, StoredFunction};

use super::App;
use super::auth::Who;
use super::error::ApiError;
use super::query::query_error;
use super::resources::body;

/// What stores a function.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewFunction {
    #[serde(default)]
    parameters: String,
    body: String,
    #[serde(default)]
    description: String,
}

fn page(info: &FunctionInfo, whole: bool) -> Value {
    let function = &info.function;
    let mut page = json!({
        "name": function.name,
        "parameters": function.parameters,
        "description": function.description,
        "changedMs": info.changed_ms,
    });
    if whole {
        page["body"] = function.body.as_str().into();
    }
    page
}

fn absent(name: &str) -> ApiError {
    ApiError::new(ErrorKind::NotFound, "FunctionNotFound", format!("there is no function {name} in this workspace"))
}

pub(crate) async fn list(State(app): State<App>, who: Who, Path(workspace): Path<String>) -> Result<Json<Value>, ApiError> {
    let workspace = who.workspace(&app, &workspace, action::FUNCTIONS_READ).await?;
    let found = app.site.engine.functions(workspace, who.0.principal).await.map_err(|error| query_error(&error))?;
    Ok(Json(json!({"value": found.iter().map(|info| page(info, false)).collect::<Vec<_>>()})))
}

pub(crate) async fn show(
    State(app): State<App>,
    who: Who,
    Path((workspace, name)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let workspace = who.workspace(&app, &workspace, action::FUNCTIONS_READ).await?;
    let found = app.site.engine.functions(workspace, who.0.principal).await.map_err(|error| query_error(&error))?;
    let found = found.iter().find(|info| info.function.name == name).ok_or_else(|| absent(&name))?;
    Ok(Json(page(found, true)))
}

pub(crate) async fn put(
    State(app): State<App>,
    who: Who,
    Path((workspace, name)): Path<(String, String)>,
    request: Result<Json<NewFunction>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let workspace = who.workspace(&app, &workspace, action::FUNCTIONS_WRITE).await?;
    let NewFunction { parameters, body, description } = body(request)?;
    let function = StoredFunction { name, parameters, body, description, saved: None };
    let new = app.site.engine.function_put(workspace, who.0.principal, &function).await.map_err(|error| query_error(&error))?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(json!({"name": function.name, "parameters": function.parameters}))))
}

pub(crate) async fn delete(
    State(app): State<App>,
    who: Who,
    Path((workspace, name)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let workspace = who.workspace(&app, &workspace, action::FUNCTIONS_DELETE).await?;
    let there = app.site.engine.function_delete(workspace, who.0.principal, &name).await.map_err(|error| query_error(&error))?;
    if there { Ok(StatusCode::NO_CONTENT) } else { Err(absent(&name)) }
}

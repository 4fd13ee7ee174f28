//! What an editor wants to know to help with a query: tables, columns and types, stored functions, functions and operators.
//!
//! Names of tables and columns are the customer's: they are given to who may ask questions there, and while a key is away as little
//! as a query is.

use std::sync::LazyLock;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use strongroom_control::{Place, action};
use strongroom_model::TIME_COLUMN;
use strongroom_query::FunctionInfo;
use strongroom_query::reference::{self, Entry, Status};

use super::auth::Who;
use super::error::ApiError;
use super::query::query_error;
use super::{App, control_error};

/// The language's part, which never changes while the server runs.
static LANGUAGE: LazyLock<(Value, Value)> = LazyLock::new(|| {
    let scalars = reference::families().iter().flat_map(|(_, entries)| entries.iter());
    let functions: Vec<Value> = scalars.chain(reference::aggregates()).chain(reference::plugins()).filter_map(page).collect();
    (functions.into(), reference::operators().iter().filter_map(page).collect())
});

/// An entry that is here; what is not yet here helps nobody to write a query.
fn page(entry: &Entry) -> Option<Value> {
    let mut page = json!({
        "name": entry.name(),
        "kind": entry.kind.as_str(),
        "signature": entry.signature,
        "meaning": entry.meaning,
        "example": entry.query(),
    });
    if !entry.aliases().is_empty() {
        page["aliases"] = json!(entry.aliases());
    }
    match entry.status {
        Status::Supported => {}
        Status::Different(how) => page["differs"] = json!(how),
        Status::NotYet(_) => return None,
    }
    Some(page)
}

/// `POST /v1/workspaces/{workspace}/metadata`: the same in the shape that Azure's clients read. What is not here is an empty list.
pub(crate) async fn azure(State(app): State<App>, who: Who, Path(workspace): Path<String>) -> Result<Json<Value>, ApiError> {
    let workspace = who.questions(&app, &workspace).await?;
    let row = app.site.catalog.workspace(workspace).await.map_err(|error| control_error(&error.into()))?;
    let tables = app.site.engine.tables(workspace, who.0.principal).await.map_err(|error| query_error(&error))?;
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    let told: Vec<Value> = tables
        .iter()
        .map(|table| {
            let columns: Vec<Value> =
                table.columns.iter().map(|column| json!({"name": column.name, "type": column.kind.as_str()})).collect();
            json!({"id": table.name, "name": table.name, "timespanColumn": TIME_COLUMN, "labels": [], "columns": columns,
                   "related": {"workspaces": [workspace]}})
        })
        .collect();
    let mut functions = Vec::new();
    if who.workspace(&app, &workspace.to_string(), action::FUNCTIONS_READ).await.is_ok() {
        let stored = app.site.engine.functions(workspace, who.0.principal).await.map_err(|error| query_error(&error))?;
        functions.extend(stored.iter().map(|FunctionInfo { function, .. }| {
            json!({"id": function.name, "name": function.name, "parameters": function.parameters, "displayName": function.name,
                   "description": function.description, "body": function.body, "related": {"workspaces": [workspace]}})
        }));
    }
    let workspaces: Vec<Value> = row
        .iter()
        .map(|row| {
            json!({"id": row.id, "name": row.name, "region": row.region, "resourceId": Place::of_workspace(row).workspace_path(),
                   "related": {"tables": names}})
        })
        .collect();
    let resources: Vec<Value> = row.iter().map(|row| json!({"resourceId": Place::of_workspace(row).workspace_path()})).collect();
    Ok(Json(json!({
        "tables": told, "functions": functions, "workspaces": workspaces,
        "categories": [], "resourceTypes": [], "resources": [], "queries": [], "solutions": [], "applications": [],
        "permissions": [{"workspaces": resources}],
    })))
}

/// `GET /v1/workspaces/{workspace}/metadata`
pub(crate) async fn show(State(app): State<App>, who: Who, Path(workspace): Path<String>) -> Result<Json<Value>, ApiError> {
    let workspace = who.questions(&app, &workspace).await?;
    let tables = app.site.engine.tables(workspace, who.0.principal).await.map_err(|error| query_error(&error))?;
    let tables: Vec<Value> = tables
        .iter()
        .map(|table| {
            let columns: Vec<Value> =
                table.columns.iter().map(|column| json!({"name": column.name, "type": column.kind.as_str()})).collect();
            json!({"name": table.name, "columns": columns})
        })
        .collect();
    let (functions, operators) = &*LANGUAGE;
    let mut told = json!({"tables": tables, "functions": functions, "operators": operators});
    // Calling one takes no more than a question does; what there is to call is told to who may list them.
    if who.workspace(&app, &workspace.to_string(), action::FUNCTIONS_READ).await.is_ok() {
        let stored = app.site.engine.functions(workspace, who.0.principal).await.map_err(|error| query_error(&error))?;
        let stored: Vec<Value> = stored
            .iter()
            .map(|FunctionInfo { function, .. }| {
                json!({"name": function.name, "parameters": function.parameters, "description": function.description})
            })
            .collect();
        told["storedFunctions"] = stored.into();
    }
    Ok(Json(told))
}

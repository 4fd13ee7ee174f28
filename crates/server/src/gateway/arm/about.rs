//! What clients ask about a workspace besides itself: usage, columns, price plans, and lists of what there is none of here.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use strongroom_control::{Place, action};
use strongroom_model::ErrorKind;

use super::super::auth::Who;
use super::super::error::ApiError;
use super::super::query::query_error;
use super::super::{App, control_error};
use super::workspaces::{known_workspace, workspace};
use super::{ApiVersion, InGroup, Named};

/// Sealed bytes in blocks, and how many blocks: what is kept, not what came in.
pub(super) async fn usages(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>) -> Result<Json<Value>, ApiError> {
    let row = workspace(&app, &who, &named.into(), action::WORKSPACES_READ).await?;
    let held = app.site.catalog.holdings_of(row.id).await.map_err(|error| control_error(&error.into()))?;
    let (bytes, blocks) = held.iter().fold((0, 0), |(bytes, blocks), held| (bytes + held.bytes, blocks + held.blocks));
    let metric = |name: &str, shown: &str, unit: &str, value: u64| json!({"name": {"value": name, "localizedValue": shown}, "unit": unit, "currentValue": value, "limit": -1.0, "quotaPeriod": "P1D"});
    Ok(Json(
        json!({"value": [metric("StoredData", "Stored data", "Bytes", bytes), metric("StoredBlocks", "Stored blocks", "Count", blocks)]}),
    ))
}

/// Every column of the workspace's tables, and which tables have it.
pub(super) async fn schema(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>) -> Result<Json<Value>, ApiError> {
    let row = known_workspace(&app, &who, &named.into()).await?;
    let open = app.site.tables.open_to(&who.0, &row, action::TABLES_READ).await.map_err(|error| control_error(&error))?;
    let mut tables = app.site.engine.tables(row.id, who.0.principal).await.map_err(|error| query_error(&error))?;
    tables.retain(|table| open.iter().any(|row| row.name.as_str() == table.name));
    let mut columns: BTreeMap<(String, &str), Vec<String>> = BTreeMap::new();
    for table in &tables {
        for column in &table.columns {
            columns.entry((column.name.clone(), column.kind.as_str())).or_default().push(table.name.clone());
        }
    }
    let value: Vec<Value> = columns
        .into_iter()
        .map(|((name, kind), owners)| {
            json!({
                "name": name, "displayName": name, "type": kind, "indexed": true, "stored": true, "facet": false, "display": true,
                "ownerType": owners,
            })
        })
        .collect();
    Ok(Json(json!({"metadata": {"resultType": "schema", "total": value.len()}, "value": value})))
}

/// The one price plan that means something here.
pub(super) async fn service_tiers(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    Path(named): Path<Named>,
) -> Result<Json<Value>, ApiError> {
    workspace(&app, &who, &named.into(), action::WORKSPACES_READ).await?;
    let days = app.site.config.control.retention_days_default;
    Ok(Json(json!([{
        "serviceTier": "PerGB2018", "enabled": true, "minimumRetention": 1, "maximumRetention": strongroom_control::RETENTION_DAYS_MAX,
        "defaultRetention": days,
    }])))
}

/// A list without anything in it, as clients of management groups read it.
pub(super) async fn none(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>) -> Result<Json<Value>, ApiError> {
    workspace(&app, &who, &named.into(), action::WORKSPACES_READ).await?;
    Ok(Json(json!({"value": []})))
}

/// Likewise, as a bare list: intelligence packs are a thing of the past.
pub(super) async fn packs(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>) -> Result<Json<Value>, ApiError> {
    workspace(&app, &who, &named.into(), action::WORKSPACES_READ).await?;
    Ok(Json(json!([])))
}

pub(super) async fn set_pack(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    Path((subscription, resource_group, name, pack, _)): Path<(String, String, String, String, String)>,
) -> Result<(), ApiError> {
    workspace(&app, &who, &Place { subscription, resource_group, name }, action::WORKSPACES_WRITE).await?;
    Err(ApiError::new(ErrorKind::NotFound, "ResourceNotFound", format!("There is no intelligence pack {pack} here.")))
}

/// Workspaces of an older service that an account could be linked to: none.
pub(super) async fn link_targets(State(app): State<App>, who: Who, _: ApiVersion, Path(_): Path<InGroup>) -> Result<Json<Value>, ApiError> {
    who.allow(&app, action::WORKSPACES_READ)?;
    Ok(Json(json!([])))
}

/// The actions of this provider, for who writes roles.
const OPERATIONS: &[(&str, &str, &str)] = &[
    ("clusters/read", "Clusters", "Get a cluster and how its changes stand"),
    ("clusters/write", "Clusters", "Make or change a cluster"),
    ("clusters/delete", "Clusters", "Delete a cluster"),
    ("workspaces/read", "Workspaces", "Get a workspace"),
    ("workspaces/write", "Workspaces", "Make or change a workspace"),
    ("workspaces/delete", "Workspaces", "Delete a workspace"),
    ("workspaces/linkedServices/write", "Linked services", "Link a workspace to a cluster"),
    ("workspaces/linkedServices/delete", "Linked services", "Unlink a workspace"),
    ("workspaces/tables/read", "Tables", "Get tables and their columns"),
    ("workspaces/tables/write", "Tables", "Declare or change a table"),
    ("workspaces/savedSearches/read", "Saved searches", "Get saved searches"),
    ("workspaces/savedSearches/write", "Saved searches", "Keep a saved search"),
    ("workspaces/savedSearches/delete", "Saved searches", "Delete a saved search"),
    ("workspaces/query/read", "Queries", "Ask questions"),
    ("workspaces/sharedKeys/action", "Shared keys", "Get the keys that senders sign with"),
];

/// `GET /providers/Microsoft.OperationalInsights/operations`.
pub(super) async fn operations(_: Who, _: ApiVersion) -> Json<Value> {
    let shown = OPERATIONS.iter().map(|(name, resource, what)| {
        json!({
            "name": format!("{}/{name}", super::INSIGHTS),
            "display": {"provider": "Strongroom", "resource": resource, "operation": what, "description": what},
        })
    });
    Json(json!({"value": shown.collect::<Vec<_>>()}))
}

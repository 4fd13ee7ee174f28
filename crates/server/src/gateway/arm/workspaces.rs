//! `Microsoft.OperationalInsights/workspaces`.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use bytes::Bytes;
use serde_json::{Value, json};
use strongroom_catalog::WorkspaceRow;
use strongroom_control::{ControlError, Place, Refusal, action};
use strongroom_model::{ErrorKind, WhileRevoked};

use super::super::auth::Who;
use super::super::error::ApiError;
use super::super::{App, control_error};
use super::{ApiVersion, INSIGHTS, InGroup, Named, object, refused, time};

pub(super) async fn list(State(app): State<App>, who: Who, _: ApiVersion, Path(at): Path<InGroup>) -> Result<Json<Value>, ApiError> {
    who.list(action::WORKSPACES_READ)?;
    let mut rows = app.site.workspaces.list(&who.0).await.map_err(|error| control_error(&error))?;
    rows.retain(|row| {
        row.subscription.eq_ignore_ascii_case(&at.subscription)
            && at.group.as_ref().is_none_or(|group| row.resource_group.eq_ignore_ascii_case(group))
    });
    let mut value = Vec::with_capacity(rows.len());
    for row in &rows {
        value.push(workspace_json(&app, row).await?);
    }
    Ok(Json(json!({"value": value})))
}

pub(super) async fn show(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>) -> Result<Json<Value>, ApiError> {
    let row = workspace(&app, &who, &named.into(), action::WORKSPACES_READ).await?;
    Ok(Json(workspace_json(&app, &row).await?))
}

/// Makes a workspace, or changes what the body names of the one that is there.
pub(super) async fn put(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    Path(named): Path<Named>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let place = Place::from(named);
    match app.site.workspaces.at(&who.0, &place, action::WORKSPACES_WRITE).await {
        Ok(row) => Ok((StatusCode::OK, Json(change(&app, row, &body).await?))),
        Err(ControlError::NotFound { .. }) => {
            who.allow(&app, action::WORKSPACES_WRITE)?;
            let (days, policy) = (retention(&body)?, ingest_policy(&body)?);
            // One that was deleted there comes back, as Azure has it.
            if let Some(row) = app.site.shredder.recover_at(&who.0, &place).await.map_err(|error| control_error(&error))? {
                return Ok((StatusCode::OK, Json(change(&app, row, &body).await?)));
            }
            let row = app.site.workspaces.create_at(&place, days).await.map_err(|error| control_error(&error))?;
            if let Some(policy) = policy {
                app.site.workspaces.set_ingest_policy(row.id, policy).await.map_err(|error| control_error(&error))?;
            }
            Ok((StatusCode::CREATED, Json(workspace_json(&app, &row).await?)))
        }
        Err(error) => Err(control_error(&error)),
    }
}

/// How a workspace is deleted: with `force`, for good.
#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct Deletion {
    #[serde(default)]
    force: Option<String>,
}

/// Deletes a workspace; it can be brought back for a while by making one of the same name there.
pub(super) async fn delete(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    Path(named): Path<Named>,
    Query(how): Query<Deletion>,
) -> Result<StatusCode, ApiError> {
    let place = Place::from(named);
    let row = match app.site.workspaces.at(&who.0, &place, action::WORKSPACES_DELETE).await {
        Ok(row) => row,
        Err(ControlError::NotFound { .. }) => return Ok(StatusCode::NO_CONTENT),
        Err(error) => return Err(control_error(&error)),
    };
    let force = how.force.is_some_and(|force| force.eq_ignore_ascii_case("true"));
    app.site.shredder.delete(&who.0, row, force).await.map_err(|error| control_error(&error))?;
    Ok(StatusCode::OK)
}

pub(super) async fn patch(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    Path(named): Path<Named>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let row = workspace(&app, &who, &named.into(), action::WORKSPACES_WRITE).await?;
    Ok(Json(change(&app, row, &body).await?))
}

async fn change(app: &App, mut row: WorkspaceRow, body: &Bytes) -> Result<Value, ApiError> {
    let policy = ingest_policy(body)?;
    if let Some(days) = retention(body)?
        && days != row.retention_days
    {
        app.site.workspaces.set_retention(row.id, days).await.map_err(|error| control_error(&error))?;
        row.retention_days = days;
    }
    if let Some(policy) = policy {
        app.site.workspaces.set_ingest_policy(row.id, policy).await.map_err(|error| control_error(&error))?;
    }
    workspace_json(app, &row).await
}

/// Of all that a workspace's body may say, what can be set here; the rest is passed over, for clients send back what they
/// were shown. Keys belong to clusters, and a body that names one is told so.
fn retention(body: &Bytes) -> Result<Option<u32>, ApiError> {
    let body = object(body)?;
    let properties = match body.get("properties") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(properties)) => properties,
        Some(_) => return Err(refused(Refusal::Body)),
    };
    if properties.contains_key("keyVaultProperties") {
        let text = "A workspace has no key of its own: link it to a cluster, whose key it then uses.";
        return Err(ApiError::new(ErrorKind::Invalid, "InvalidParameter", text).target("properties.keyVaultProperties"));
    }
    match properties.get("retentionInDays") {
        None | Some(Value::Null) => Ok(None),
        Some(days) => {
            let days = days.as_u64().and_then(|days| u32::try_from(days).ok());
            days.map(Some).ok_or_else(|| {
                ApiError::new(ErrorKind::Invalid, "InvalidParameter", "retentionInDays is a number of days")
                    .target("properties.retentionInDays")
            })
        }
    }
}

/// What is to be done with rows while the key is revoked, if the body says.
fn ingest_policy(body: &Bytes) -> Result<Option<WhileRevoked>, ApiError> {
    let body = object(body)?;
    match body.get("properties").and_then(|properties| properties.get("cmkIngestPolicy")) {
        None | Some(Value::Null) => Ok(None),
        Some(policy) => policy.as_str().and_then(|text| text.parse().ok()).map(Some).ok_or_else(|| {
            ApiError::new(ErrorKind::Invalid, "InvalidParameter", "cmkIngestPolicy is refuse, seal or drop")
                .target("properties.cmkIngestPolicy")
        }),
    }
}

/// The workspace there, in the words of this door.
pub(super) async fn workspace(app: &App, who: &Who, place: &Place, action: &str) -> Result<WorkspaceRow, ApiError> {
    app.site.workspaces.at(&who.0, place, action).await.map_err(|error| match error {
        ControlError::NotFound { .. } => {
            let text = format!("The Resource '{INSIGHTS}/workspaces/{}' was not found.", place.name);
            ApiError::new(ErrorKind::NotFound, "ResourceNotFound", text)
        }
        other => control_error(&other),
    })
}

/// A workspace's id in this door.
pub(super) fn workspace_id(row: &WorkspaceRow) -> String {
    Place::of_workspace(row).workspace_path()
}

async fn workspace_json(app: &App, row: &WorkspaceRow) -> Result<Value, ApiError> {
    let link = app.site.clusters.link_of(row).await.map_err(|error| control_error(&error))?;
    let policy = app.site.workspaces.ingest_policy(row.id).await.map_err(|error| control_error(&error))?;
    let mut features = json!({"enableLogAccessUsingOnlyResourcePermissions": true});
    if let Some(link) = &link {
        features["clusterResourceId"] = Place::of_cluster(&link.cluster).cluster_path().into();
    }
    Ok(json!({
        "id": workspace_id(row),
        "name": row.name,
        "type": format!("{INSIGHTS}/workspaces"),
        "location": row.region,
        "properties": {
            "customerId": row.id,
            "provisioningState": if link.as_ref().is_some_and(|link| link.busy) { "Updating" } else { "Succeeded" },
            "sku": {"name": if link.is_some() { "LACluster" } else { "PerGB2018" }},
            "retentionInDays": row.retention_days,
            "cmkIngestPolicy": policy,
            "createdDate": time(row.created_ms),
            "publicNetworkAccessForIngestion": "Enabled",
            "publicNetworkAccessForQuery": "Enabled",
            "features": features,
        },
    }))
}

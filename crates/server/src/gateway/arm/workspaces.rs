//! `Microsoft.OperationalInsights/workspaces`.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use strongroom_catalog::WorkspaceRow;
use strongroom_control::{ControlError, Place, ScopePath, WorkspacePages, action, check_retention};
use strongroom_model::{ErrorKind, WhileRevoked};

use super::super::auth::Who;
use super::super::error::ApiError;
use super::super::{App, control_error};
use super::json::{member, text};
use super::version::ApiVersion;
use super::{INSIGHTS, InGroup, Named, sent, time};

/// The first version whose clients read `etag`; older ones read `eTag`.
const ETAG: &str = "2021-12-01";
/// And the first that knows features, dates and whose key questions are kept under.
const WHOLE: &str = "2020-10-01";

pub(super) async fn list(State(app): State<App>, who: Who, version: ApiVersion, Path(at): Path<InGroup>) -> Result<Json<Value>, ApiError> {
    who.list(action::WORKSPACES_READ)?;
    Ok(Json(json!({"value": shown(&app, &who, &version, &at).await?})))
}

/// Those of a place that the caller may read.
pub(super) async fn shown(app: &App, who: &Who, version: &ApiVersion, at: &InGroup) -> Result<Vec<Value>, ApiError> {
    if !who.0.may_within(action::WORKSPACES_READ, &ScopePath::root()) {
        return Ok(Vec::new());
    }
    let mut rows = app.site.workspaces.list(&who.0).await.map_err(|error| control_error(&error))?;
    rows.retain(|row| at.holds(&row.subscription, &row.resource_group));
    let mut value = Vec::with_capacity(rows.len());
    for row in &rows {
        value.push(workspace_json(app, version, row).await?);
    }
    Ok(value)
}

/// The deleted ones that can still be brought back.
pub(super) async fn deleted(
    State(app): State<App>,
    who: Who,
    version: ApiVersion,
    Path(at): Path<InGroup>,
) -> Result<Json<Value>, ApiError> {
    let mut rows = app.site.shredder.deleted(&who.0).await.map_err(|error| control_error(&error))?;
    let now_ms = app.site.world.clock.wall().unix_ms();
    rows.retain(|row| at.holds(&row.workspace.subscription, &row.workspace.resource_group) && row.shred_ms > now_ms);
    let mut value = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut page = workspace_json(&app, &version, &row.workspace).await?;
        page["properties"]["deletedDate"] = time(row.deleted_ms).into();
        page["properties"]["recoverableUntil"] = time(row.shred_ms).into();
        value.push(page);
    }
    Ok(Json(json!({"value": value})))
}

pub(super) async fn show(State(app): State<App>, who: Who, version: ApiVersion, Path(named): Path<Named>) -> Result<Json<Value>, ApiError> {
    let row = workspace(&app, &who, &named.into(), action::WORKSPACES_READ).await?;
    Ok(Json(workspace_json(&app, &version, &row).await?))
}

/// Makes a workspace, or changes what the body names of the one that is there. One that was deleted there comes back, as Azure has it.
pub(super) async fn put(
    State(app): State<App>,
    who: Who,
    version: ApiVersion,
    Path(named): Path<Named>,
    body: Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let place = Place::from(named);
    match app.site.workspaces.at(&who.0, &place, action::WORKSPACES_WRITE).await {
        Ok(row) => Ok((StatusCode::OK, Json(change(&app, &version, row, &sent(body).await?).await?))),
        Err(ControlError::NotFound { .. }) => {
            who.allow(&app, action::WORKSPACES_WRITE)?;
            let body = sent(body).await?;
            let (days, region) = (Ask::read(&body)?.retention_days, text(&body, "location")?);
            WorkspacePages::check(&body).map_err(|error| control_error(&error))?;
            if let Some(row) = app.site.shredder.deleted_at(&who.0, &place).await.map_err(|error| control_error(&error))? {
                // A request that is refused brings nothing back.
                check_change(&row, &body)?;
            }
            if let Some(row) = app.site.shredder.recover_at(&who.0, &place).await.map_err(|error| control_error(&error))? {
                return Ok((StatusCode::OK, Json(change(&app, &version, row, &body).await?)));
            }
            let row = app.site.workspaces.create_at(&place, days, region).await.map_err(|error| control_error(&error))?;
            Ok((StatusCode::CREATED, Json(change(&app, &version, row, &body).await?)))
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
    version: ApiVersion,
    Path(named): Path<Named>,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let row = workspace(&app, &who, &named.into(), action::WORKSPACES_WRITE).await?;
    Ok(Json(change(&app, &version, row, &sent(body).await?).await?))
}

/// Whether all that a body says of a workspace can be done.
fn check_change(row: &WorkspaceRow, body: &Map<String, Value>) -> Result<Ask, ApiError> {
    let ask = Ask::read(body)?;
    if let Some(region) = text(body, "location")? {
        let bare = |region: &str| region.replace(' ', "").to_ascii_lowercase();
        if bare(region) != bare(&row.region) {
            let text = format!("The workspace is in region {}: it can't be moved to {region}.", row.region);
            return Err(ApiError::new(ErrorKind::Conflict, "InvalidResourceLocation", text).target("location"));
        }
    }
    if let Some(days) = ask.retention_days.filter(|days| *days != row.retention_days) {
        check_retention(days).map_err(|error| control_error(&error))?;
    }
    Ok(ask)
}

async fn change(app: &App, version: &ApiVersion, mut row: WorkspaceRow, body: &Map<String, Value>) -> Result<Value, ApiError> {
    let ask = check_change(&row, body)?;
    app.site.pages.change(row.id, body).await.map_err(|error| control_error(&error))?;
    if let Some(days) = ask.retention_days.filter(|days| *days != row.retention_days) {
        app.site.workspaces.set_retention(row.id, days).await.map_err(|error| control_error(&error))?;
        row.retention_days = days;
    }
    if let Some(policy) = ask.policy {
        app.site.workspaces.set_ingest_policy(row.id, policy).await.map_err(|error| control_error(&error))?;
    }
    workspace_json(app, version, &row).await
}

/// Of what a body says, that which something here goes by; the rest is the page's.
#[derive(Debug, Default)]
struct Ask {
    retention_days: Option<u32>,
    policy: Option<WhileRevoked>,
}

impl Ask {
    /// Keys belong to clusters, and a body that names one is told so.
    fn read(body: &Map<String, Value>) -> Result<Self, ApiError> {
        let Some(properties) = member(body, "properties")? else { return Ok(Self::default()) };
        let wrong = |name: &str, why: &str| {
            ApiError::new(ErrorKind::Invalid, "InvalidParameter", format!("{name} is {why}")).target(format!("properties.{name}"))
        };
        if properties.contains_key("keyVaultProperties") {
            let text = "A workspace has no key of its own: link it to a cluster, whose key it then uses.";
            return Err(ApiError::new(ErrorKind::Invalid, "InvalidParameter", text).target("properties.keyVaultProperties"));
        }
        let given = |name: &str| properties.get(name).filter(|value| !value.is_null());
        let days = given("retentionInDays").map(|days| {
            let days = days.as_u64().and_then(|days| u32::try_from(days).ok());
            days.ok_or_else(|| wrong("retentionInDays", "a number of days"))
        });
        let policy = given("cmkIngestPolicy").map(|policy| {
            policy.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| wrong("cmkIngestPolicy", "refuse, seal or drop"))
        });
        Ok(Self { retention_days: days.transpose()?, policy: policy.transpose()? })
    }
}

/// The workspace there, in the words of this door.
pub(super) async fn workspace(app: &App, who: &Who, place: &Place, action: &str) -> Result<WorkspaceRow, ApiError> {
    app.site.workspaces.at(&who.0, place, action).await.map_err(|error| absent(place, &error))
}

/// The workspace there, if this caller may know of it; what they may do is still to be asked.
pub(super) async fn known_workspace(app: &App, who: &Who, place: &Place) -> Result<WorkspaceRow, ApiError> {
    app.site.workspaces.known_at(&who.0, place).await.map_err(|error| absent(place, &error))
}

fn absent(place: &Place, error: &ControlError) -> ApiError {
    match error {
        ControlError::NotFound { .. } => {
            let text = format!("The Resource '{INSIGHTS}/workspaces/{}' was not found.", place.name);
            ApiError::new(ErrorKind::NotFound, "ResourceNotFound", text)
        }
        other => control_error(other),
    }
}

/// A workspace's id in this door.
pub(super) fn workspace_id(row: &WorkspaceRow) -> String {
    Place::of_workspace(row).workspace_path()
}

async fn workspace_json(app: &App, version: &ApiVersion, row: &WorkspaceRow) -> Result<Value, ApiError> {
    let link = app.site.clusters.link_of(row).await.map_err(|error| control_error(&error))?;
    let policy = app.site.workspaces.ingest_policy(row.id).await.map_err(|error| control_error(&error))?;
    let said = app.site.pages.get(row.id).await.map_err(|error| control_error(&error))?;
    let modified_ms = said.modified_ms.max(row.created_ms);
    let mut sku = if said.sku.is_empty() { json!({"name": "PerGB2018"}) } else { Value::from(said.sku) };
    let mut features = json!({"enableLogAccessUsingOnlyResourcePermissions": true});
    if let Some(features) = features.as_object_mut() {
        features.extend(said.features);
    }
    if let Some(link) = &link {
        sku["name"] = "LACluster".into();
        features["clusterResourceId"] = Place::of_cluster(&link.cluster).cluster_path().into();
    }
    sku["lastSkuUpdate"] = time(modified_ms).into();
    let kept = |name: &str| said.properties.get(name).cloned();
    let quota = kept("workspaceCapping").unwrap_or_else(|| json!(-1.0));
    let mut properties = json!({
        "customerId": row.id,
        "provisioningState": if link.as_ref().is_some_and(|link| link.busy) { "Updating" } else { "Succeeded" },
        "sku": sku,
        "retentionInDays": row.retention_days,
        "cmkIngestPolicy": policy,
        "publicNetworkAccessForIngestion": kept("publicNetworkAccessForIngestion").unwrap_or_else(|| "Enabled".into()),
        "publicNetworkAccessForQuery": kept("publicNetworkAccessForQuery").unwrap_or_else(|| "Enabled".into()),
        "workspaceCapping": {"dailyQuotaGb": quota, "dataIngestionStatus": "RespectQuota"},
        "features": features,
    });
    if version.since(WHOLE) {
        properties["createdDate"] = time(row.created_ms).into();
        properties["modifiedDate"] = time(modified_ms).into();
        for name in ["forceCmkForQuery", "defaultDataCollectionRuleResourceId"] {
            if let Some(value) = kept(name) {
                properties[name] = value;
            }
        }
    }
    let mut page = json!({
        "id": workspace_id(row),
        "name": row.name,
        "type": format!("{INSIGHTS}/workspaces"),
        "location": row.region,
        "tags": said.tags,
        "properties": properties,
    });
    page[if version.since(ETAG) { "etag" } else { "eTag" }] = format!("\"{modified_ms:x}\"").into();
    Ok(page)
}

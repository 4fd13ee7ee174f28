//! What Azure's clients ask for before anything else: where the endpoints are, which subscriptions, regions and resource groups there
//! are, and what a provider offers.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Map, Value, json};
use strongroom_catalog::{ResourceGroupRow, SubscriptionRow};
use strongroom_control::{ControlError, Refusal, ScopePath, action};

use super::super::auth::{Who, absent};
use super::super::error::ApiError;
use super::super::{App, control_error, external_url};
use super::{ALERTS_MANAGEMENT, ApiVersion, INSIGHTS, KEY_VAULT, MANAGED_IDENTITY, MONITOR, STORAGE, refused, sent};

const RESOURCES: &str = "Microsoft.Resources";
const AUTHORIZATION: &str = "Microsoft.Authorization";
/// The versions that clients are told of, newest first; `az resource` takes the first.
const VERSIONS: &[&str] = &["2025-07-01", "2025-02-01", "2023-09-01", "2022-10-01", "2021-06-01", "2020-10-01", "2020-08-01"];

/// What each provider has: its types.
const PROVIDERS: &[(&str, &[&str])] = &[
    (
        INSIGHTS,
        &[
            "clusters",
            "workspaces",
            "workspaces/linkedServices",
            "workspaces/tables",
            "queryPacks",
            "queryPacks/queries",
            "locations",
            "locations/operationStatuses",
            "operations",
        ],
    ),
    (KEY_VAULT, &["vaults"]),
    (STORAGE, &["storageAccounts"]),
    (MANAGED_IDENTITY, &["userAssignedIdentities"]),
    (MONITOR, &["dataCollectionEndpoints", "dataCollectionRules", "scheduledQueryRules", "actionGroups", "workbooks"]),
    (ALERTS_MANAGEMENT, &["alerts"]),
    (AUTHORIZATION, &["roleAssignments", "roleDefinitions"]),
    (RESOURCES, &["subscriptions", "resourceGroups"]),
];

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/metadata/endpoints", get(endpoints))
        .route("/subscriptions", get(subscriptions))
        .route("/subscriptions/{subscription}", get(subscription))
        .route("/subscriptions/{subscription}/locations", get(locations))
        .route("/subscriptions/{subscription}/resourceGroups", get(groups))
        .route("/subscriptions/{subscription}/resourceGroups/{group}", get(group).put(put_group).delete(delete_group).head(has_group))
        .route("/subscriptions/{subscription}/providers", get(providers))
        .route("/subscriptions/{subscription}/providers/{provider}", get(provider))
        .route("/subscriptions/{subscription}/providers/{provider}/register", post(register))
        .route("/providers", get(providers_of_all))
        .route("/tenants", get(tenants))
}

/// `GET /metadata/endpoints`: one object, as of 2022-09-01. Nobody has to be known for it.
async fn endpoints(State(app): State<App>, _: ApiVersion, headers: HeaderMap) -> Json<Value> {
    let base = external_url(&app, &headers);
    let host = base.split_once("://").map_or(base.as_str(), |(_, host)| host);
    let tenant = app.site.identity.directory.tenant();
    Json(json!({
        "name": "Strongroom",
        "portal": base,
        "authentication": {
            "loginEndpoint": format!("{base}/adfs"),
            "audiences": [base, "https://management.azure.com/"],
            "tenant": tenant,
            "identityProvider": "AAD",
        },
        "resourceManager": base,
        "graphAudience": base,
        "microsoftGraphResourceId": base,
        "logAnalyticsResourceId": base,
        "appInsightsResourceId": base,
        "media": base,
        "batch": base,
        "gallery": base,
        "sqlManagement": base,
        "activeDirectoryDataLake": base,
        "attestationResourceId": base,
        "ossrdbmsResourceId": base,
        "synapseAnalyticsResourceId": base,
        "suffixes": {
            "keyVaultDns": host.split_once('.').map_or_else(|| format!(".{host}"), |(_, rest)| format!(".{rest}")),
            "storage": host,
            "acrLoginServer": host,
            "sqlServerHostname": host,
        },
    }))
}

fn subscription_json(row: &SubscriptionRow) -> Value {
    json!({
        "id": format!("/subscriptions/{}", row.id),
        "subscriptionId": row.id,
        "displayName": row.name,
        "tenantId": row.tenant,
        "state": "Enabled",
        "authorizationSource": "RoleBased",
        "managedByTenants": [],
        "subscriptionPolicies": {"locationPlacementId": "Internal_2014-09-01", "quotaId": "Internal_2014-09-01", "spendingLimit": "Off"},
    })
}

async fn subscriptions(State(app): State<App>, who: Who, _: ApiVersion) -> Result<Json<Value>, ApiError> {
    let rows = app.site.identity.directory.subscriptions(&who.0).await.map_err(|error| control_error(&error))?;
    let count = json!({"type": "Total", "value": rows.len()});
    Ok(Json(json!({"value": rows.iter().map(subscription_json).collect::<Vec<_>>(), "count": count})))
}

/// The subscription there, if the caller may know of it.
pub(super) async fn seen(app: &App, who: &Who, id: &str) -> Result<SubscriptionRow, ApiError> {
    app.site.identity.directory.subscription(&who.0, id).await.map_err(|error| match error {
        ControlError::NotFound { .. } => absent(&ScopePath::subscription(id)),
        other => control_error(&other),
    })
}

async fn subscription(State(app): State<App>, who: Who, _: ApiVersion, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    Ok(Json(subscription_json(&seen(&app, &who, &id).await?)))
}

async fn tenants(State(app): State<App>, who: Who, _: ApiVersion) -> Result<Json<Value>, ApiError> {
    let rows = app.site.identity.directory.subscriptions(&who.0).await.map_err(|error| control_error(&error))?;
    let mut all: Vec<&str> = rows.iter().map(|row| row.tenant.as_str()).chain([app.site.identity.directory.tenant()]).collect();
    all.sort_unstable();
    all.dedup();
    let value: Vec<Value> =
        all.iter().map(|id| json!({"id": format!("/tenants/{id}"), "tenantId": id, "tenantCategory": "Home"})).collect();
    Ok(Json(json!({"value": value})))
}

async fn locations(State(app): State<App>, who: Who, _: ApiVersion, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    seen(&app, &who, &id).await?;
    let value: Vec<Value> = app
        .site
        .identity
        .directory
        .regions()
        .iter()
        .map(|region| {
            let display = if region.display_name.is_empty() { &region.name } else { &region.display_name };
            json!({
                "id": format!("/subscriptions/{id}/locations/{}", region.name),
                "name": region.name,
                "type": "Region",
                "displayName": display,
                "regionalDisplayName": display,
                "metadata": {
                    "regionType": "Physical",
                    "regionCategory": "Recommended",
                    "doubleEncryption": region.double_encryption,
                    "lockbox": region.lockbox,
                },
            })
        })
        .collect();
    Ok(Json(json!({"value": value})))
}

fn group_json(row: &ResourceGroupRow) -> Value {
    json!({
        "id": format!("/subscriptions/{}/resourceGroups/{}", row.subscription, row.name),
        "name": row.name,
        "type": "Microsoft.Resources/resourceGroups",
        "location": row.region,
        "tags": serde_json::from_str::<Value>(&row.tags).unwrap_or_else(|_| json!({})),
        "properties": {"provisioningState": "Succeeded"},
    })
}

async fn groups(State(app): State<App>, who: Who, _: ApiVersion, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    seen(&app, &who, &id).await?;
    let rows = app.site.identity.directory.groups(&who.0, &id).await.map_err(|error| control_error(&error))?;
    Ok(Json(json!({"value": rows.iter().map(group_json).collect::<Vec<_>>()})))
}

/// The group there, if the caller may know of it.
pub(super) async fn seen_group(app: &App, who: &Who, id: &str, name: &str) -> Result<ResourceGroupRow, ApiError> {
    app.site.identity.directory.group(&who.0, id, name).await.map_err(|error| match error {
        ControlError::NotFound { .. } => absent(&ScopePath::group(id, name)),
        other => control_error(&other),
    })
}

async fn group(State(app): State<App>, who: Who, _: ApiVersion, Path((id, name)): Path<(String, String)>) -> Result<Json<Value>, ApiError> {
    Ok(Json(group_json(&seen_group(&app, &who, &id, &name).await?)))
}

/// `az group exists`.
async fn has_group(state: State<App>, who: Who, version: ApiVersion, path: Path<(String, String)>) -> Result<StatusCode, ApiError> {
    group(state, who, version, path).await.map(|_| StatusCode::NO_CONTENT)
}

async fn put_group(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    Path((id, name)): Path<(String, String)>,
    body: Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    who.allow(&app, action::GROUPS_WRITE)?;
    seen(&app, &who, &id).await?;
    let body = sent(body).await?;
    let region = body.get("location").and_then(Value::as_str).ok_or_else(|| refused(Refusal::Body))?;
    let tags = match body.get("tags") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(tags)) if tags.values().all(Value::is_string) => tags.clone(),
        Some(_) => return Err(refused(Refusal::Body)),
    };
    let (row, new) =
        app.site.identity.directory.put_group(&who.0, &id, &name, region, tags).await.map_err(|error| control_error(&error))?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, Json(group_json(&row))))
}

async fn delete_group(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    Path((id, name)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    who.allow(&app, action::GROUPS_DELETE)?;
    let there = app.site.identity.directory.delete_group(&who.0, &id, &name).await.map_err(|error| control_error(&error))?;
    Ok(if there { StatusCode::OK } else { StatusCode::NO_CONTENT })
}

fn provider_json(app: &App, before: &str, (namespace, types): &(&str, &[&str])) -> Value {
    let locations: Vec<String> = app
        .site
        .identity
        .directory
        .regions()
        .into_iter()
        .map(|region| if region.display_name.is_empty() { region.name } else { region.display_name })
        .collect();
    let types: Vec<Value> = types
        .iter()
        .map(|kind| {
            // These two have versions of their own.
            let versions: &[&str] = match *namespace {
                AUTHORIZATION => &["2022-04-01"],
                RESOURCES => &["2024-11-01", "2022-12-01"],
                _ => VERSIONS,
            };
            json!({"resourceType": kind, "locations": locations, "apiVersions": versions, "defaultApiVersion": versions[0], "capabilities": "None"})
        })
        .collect();
    json!({
        "id": format!("{before}/providers/{namespace}"),
        "namespace": namespace,
        "registrationState": "Registered",
        "registrationPolicy": "RegistrationFree",
        "resourceTypes": types,
    })
}

async fn providers(State(app): State<App>, who: Who, _: ApiVersion, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    seen(&app, &who, &id).await?;
    let before = format!("/subscriptions/{id}");
    Ok(Json(json!({"value": PROVIDERS.iter().map(|one| provider_json(&app, &before, one)).collect::<Vec<_>>()})))
}

async fn providers_of_all(State(app): State<App>, _: Who, _: ApiVersion) -> Json<Value> {
    Json(json!({"value": PROVIDERS.iter().map(|one| provider_json(&app, "", one)).collect::<Vec<_>>()}))
}

fn known_provider(name: &str) -> Result<&'static (&'static str, &'static [&'static str]), ApiError> {
    PROVIDERS.iter().find(|(namespace, _)| namespace.eq_ignore_ascii_case(name)).ok_or_else(|| {
        let text = format!("The resource provider namespace '{name}' is not known here.");
        ApiError::new(strongroom_model::ErrorKind::NotFound, "InvalidResourceNamespace", text)
    })
}

async fn provider(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    Path((id, name)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    seen(&app, &who, &id).await?;
    Ok(Json(provider_json(&app, &format!("/subscriptions/{id}"), known_provider(&name)?)))
}

/// `az provider register`: there is nothing to do, each is.
async fn register(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    Path((id, name)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    seen(&app, &who, &id).await?;
    let found = known_provider(&name)?;
    who.on(&format!("{}/register/action", found.0), &ScopePath::subscription(&id))?;
    Ok(Json(provider_json(&app, &format!("/subscriptions/{id}"), found)))
}

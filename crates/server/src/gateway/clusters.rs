//! What the native control plane adds to clusters: how a key stands, and what a change would run into.

use axum::Json;
use axum::extract::{Path, State};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use strongroom_catalog::ClusterRow;
use strongroom_control::{KeyProperties, Place, ScopePath, action};
use strongroom_model::ErrorKind;

use super::auth::Who;
use super::error::ApiError;
use super::{App, arm, control_error};

pub(crate) async fn list(State(app): State<App>, who: Who) -> Result<Json<Value>, ApiError> {
    who.list(action::CLUSTERS_READ)?;
    let mut rows = app.site.clusters.list(None, None).await.map_err(|error| control_error(&error))?;
    rows.retain(|row| who.0.may(action::CLUSTERS_READ, &ScopePath::cluster(row)));
    let mut value = Vec::with_capacity(rows.len());
    for row in rows {
        value.push(arm::cluster_json(&app.site.clusters.view(row).await.map_err(|error| control_error(&error))?));
    }
    Ok(Json(json!({"value": value})))
}

pub(crate) async fn show(State(app): State<App>, who: Who, Path(cluster): Path<String>) -> Result<Json<Value>, ApiError> {
    let row = who.cluster(&app, &cluster, action::CLUSTERS_READ).await?;
    let view = app.site.clusters.view(row).await.map_err(|error| control_error(&error))?;
    Ok(Json(arm::cluster_json(&view)))
}

/// Three kinds of key lie on the way to data (the customer's, the account's, and one per block, never stored); the
/// provider's own are listed apart.
pub(crate) async fn key(State(app): State<App>, who: Who, Path(cluster): Path<String>) -> Result<Json<Value>, ApiError> {
    let row = who.cluster(&app, &cluster, action::CLUSTERS_READ).await?;
    standing(&app, row).await
}

/// Ends a quarantine, if the vault proves the key now; answers how the key then stands.
pub(crate) async fn release(State(app): State<App>, who: Who, Path(cluster): Path<String>) -> Result<Json<Value>, ApiError> {
    let row = who.cluster(&app, &cluster, action::KEY_RELEASE).await?;
    app.site.clusters.release_key(&row).await.map_err(|error| control_error(&error))?;
    standing(&app, row).await
}

async fn standing(app: &App, row: ClusterRow) -> Result<Json<Value>, ApiError> {
    let report = app.site.clusters.key_report(row).await.map_err(|error| control_error(&error))?;
    let mut body = serde_json::to_value(&report.status)
        .map_err(|_| ApiError::new(ErrorKind::Internal, "InternalError", "the status could not be written"))?;
    body["cluster"] = report.row.name.as_str().into();
    body["resourceId"] = Place::of_cluster(&report.row).cluster_path().into();
    body["account"] = json!(report.row.account);
    body["blockKeys"] = "one for each block, derived, never stored".into();
    body["providerKeys"] = json!({
        "root": "wraps the account keys of the provider's class and what the server itself keeps",
        "infrastructure": report.status.infrastructure_key,
        "cache": "one for each workspace and account key, erased on revocation",
    });
    body["holdings"] = report
        .holdings
        .iter()
        .map(|held| {
            json!({
                "aek": held.holding.aek,
                "workspace": held.holding.workspace,
                "workspaceName": held.name,
                "linked": held.linked,
                "blocks": held.holding.blocks,
                "rows": held.holding.rows,
                "bytes": held.holding.bytes,
            })
        })
        .collect();
    let waiting = report.row.account.map(|account| app.site.intake.waiting(account)).unwrap_or_default();
    body["sealedWaiting"] = json!({"segments": waiting.segments, "bytes": waiting.bytes, "sinceMs": waiting.since_ms});
    body["rekey"] = json!(report.rekey);
    body["advice"] = report.advice.into();
    Ok(Json(body))
}

/// The pace of a rewriting, and whether it is to pause.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct PaceBody {
    rate_mb_s: Option<u32>,
    paused: Option<bool>,
}

fn pace(body: &Bytes) -> Result<PaceBody, ApiError> {
    if body.is_empty() {
        return Ok(PaceBody::default());
    }
    serde_json::from_slice(body).map_err(|error| ApiError::new(ErrorKind::Invalid, "InvalidRequestContent", error))
}

fn never(what: &str) -> ApiError {
    ApiError::new(ErrorKind::NotFound, "NotFound", format!("there was no {what} in the last 7 days"))
}

/// Begins a re-key.
pub(crate) async fn rekey(State(app): State<App>, who: Who, Path(cluster): Path<String>, body: Bytes) -> Result<Json<Value>, ApiError> {
    let row = who.cluster(&app, &cluster, action::CLUSTERS_WRITE).await?;
    let body = pace(&body)?;
    if body.paused.is_some() {
        return Err(ApiError::new(ErrorKind::Invalid, "InvalidParameter", "a re-key cannot be paused: give it a rate").target("paused"));
    }
    let view = app.site.clusters.rekey(row, body.rate_mb_s).await.map_err(|error| control_error(&error))?;
    Ok(Json(json!(view)))
}

/// How the last re-key stands.
pub(crate) async fn rekey_status(State(app): State<App>, who: Who, Path(cluster): Path<String>) -> Result<Json<Value>, ApiError> {
    let row = who.cluster(&app, &cluster, action::CLUSTERS_READ).await?;
    let view = app.site.clusters.rekey_of(&row).await.map_err(|error| control_error(&error))?;
    Ok(Json(json!(view.ok_or_else(|| never("re-key of this cluster"))?)))
}

/// Begins, paces, pauses or goes on with the re-encryption of a workspace's old blocks.
pub(crate) async fn reencrypt(State(app): State<App>, who: Who, Path(name): Path<String>, body: Bytes) -> Result<Json<Value>, ApiError> {
    let row = app.site.workspaces.resolve(&who.0, &name, action::LINKS_WRITE).await.map_err(|error| control_error(&error))?;
    let body = pace(&body)?;
    let view = app.site.clusters.reencrypt(row, body.rate_mb_s, body.paused).await.map_err(|error| control_error(&error))?;
    Ok(Json(json!(view)))
}

/// How the last re-encryption stands.
pub(crate) async fn reencrypt_status(State(app): State<App>, who: Who, Path(name): Path<String>) -> Result<Json<Value>, ApiError> {
    let row = app.site.workspaces.resolve(&who.0, &name, action::WORKSPACES_READ).await.map_err(|error| control_error(&error))?;
    let view = app.site.clusters.reencrypt_of(&row).await.map_err(|error| control_error(&error))?;
    Ok(Json(json!(view.ok_or_else(|| never("re-encryption of this workspace"))?)))
}

/// Brings a deleted cluster back: an operator's action, where the settings have it.
pub(crate) async fn recover(State(app): State<App>, who: Who, Path(cluster): Path<String>) -> Result<Json<Value>, ApiError> {
    who.allow(&app, action::CLUSTER_RECOVER)?;
    let row = app.site.clusters.recover(&cluster).await.map_err(|error| control_error(&error))?;
    let view = app.site.clusters.view(row).await.map_err(|error| control_error(&error))?;
    Ok(Json(arm::cluster_json(&view)))
}

/// Ends `identity: None`: an operator's action, for the customer cannot.
pub(crate) async fn restore_identity(State(app): State<App>, who: Who, Path(cluster): Path<String>) -> Result<Json<Value>, ApiError> {
    // At everything: of a cluster's own owners none can do it.
    who.on(action::IDENTITY_RESTORE, &ScopePath::root())?;
    let row = app.site.clusters.named(&cluster).await.map_err(|error| control_error(&error))?;
    let restored = app.site.clusters.restore_identity(row.clone()).await.map_err(|error| control_error(&error))?;
    if restored {
        tracing::warn!(cluster = %row.id, by = %who.0.principal, "an operator gave a cluster its identity back");
    }
    let row = app.site.clusters.named(&cluster).await.map_err(|error| control_error(&error))?;
    let view = app.site.clusters.view(row).await.map_err(|error| control_error(&error))?;
    Ok(Json(json!({"restored": restored, "cluster": arm::cluster_json(&view)})))
}

/// What is to be looked at; an absent key is the cluster's own.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct CheckBody {
    key_vault_properties: Option<KeyProperties>,
    workspace: Option<String>,
}

pub(crate) async fn check(State(app): State<App>, who: Who, Path(cluster): Path<String>, body: Bytes) -> Result<Json<Value>, ApiError> {
    // It asks the vault with the cluster's identity, so it is not for readers.
    let row = who.cluster(&app, &cluster, action::CLUSTERS_WRITE).await?;
    let body: CheckBody = if body.is_empty() {
        CheckBody::default()
    } else {
        serde_json::from_slice(&body).map_err(|error| ApiError::new(ErrorKind::Invalid, "InvalidRequestContent", error))?
    };
    let workspace = match &body.workspace {
        Some(name) => {
            let found = app.site.workspaces.resolve(&who.0, name, action::WORKSPACES_READ).await;
            Some(found.map_err(|error| control_error(&error))?)
        }
        None => None,
    };
    let checks = app.site.clusters.check(&row, body.key_vault_properties, workspace.as_ref()).await;
    let checks = checks.map_err(|error| control_error(&error))?;
    Ok(Json(json!({"cluster": row.name, "ok": checks.iter().all(|check| check.ok), "checks": checks})))
}

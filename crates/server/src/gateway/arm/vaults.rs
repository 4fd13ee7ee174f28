//! `Microsoft.KeyVault/vaults`: reference objects. They tell this control plane of a vault that lies elsewhere; they are not
//! the vault.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use strongroom_catalog::VaultRefRow;
use strongroom_control::{Protection, ScopePath, VaultAsk, action};
use strongroom_keys::provider::Provider;
use strongroom_keys::provider::access::Secret;
use strongroom_model::ErrorKind;

use super::super::auth::Who;
use super::super::error::ApiError;
use super::super::{App, control_error};
use super::json::whole;
use super::{ApiVersion, InGroup, KEY_VAULT, Named};

/// What a PUT says. Members that Azure's clients send besides (sku, network rules) say nothing of interest here.
#[derive(Debug, Deserialize)]
struct VaultBody {
    location: String,
    properties: VaultProperties,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct VaultProperties {
    tenant_id: String,
    vault_uri: String,
    #[serde(default)]
    private_link: bool,
    #[serde(default)]
    ca_pem: Option<String>,
    /// `azure` unless it says otherwise.
    #[serde(default)]
    provider: Option<String>,
    /// How to log in there: kept sealed, never shown.
    #[serde(default)]
    access: Option<Value>,
    /// What its owner says of it; shown, and judged by nobody here.
    #[serde(default)]
    enable_soft_delete: Option<bool>,
    #[serde(default)]
    enable_purge_protection: Option<bool>,
    #[serde(default)]
    enable_rbac_authorization: Option<bool>,
}

pub(super) async fn list(State(app): State<App>, who: Who, _: ApiVersion, Path(at): Path<InGroup>) -> Result<Json<Value>, ApiError> {
    who.list(action::VAULTS_READ)?;
    Ok(Json(json!({"value": shown(&app, &who, &at).await?})))
}

/// Those of a place that the caller may read.
pub(super) async fn shown(app: &App, who: &Who, at: &InGroup) -> Result<Vec<Value>, ApiError> {
    let mut rows = app.site.vaults.list(&at.subscription, at.group.as_deref()).await.map_err(|error| control_error(&error))?;
    rows.retain(|row| who.0.may(action::VAULTS_READ, &ScopePath::of(&path(row))));
    Ok(rows.iter().map(vault_json).collect())
}

pub(super) async fn show(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>) -> Result<Json<Value>, ApiError> {
    who.allow(&app, action::VAULTS_READ)?;
    let row = app.site.vaults.get(&named.into()).await.map_err(|error| who.told(&error))?;
    Ok(Json(vault_json(&row)))
}

pub(super) async fn put(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    Path(named): Path<Named>,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    who.allow(&app, action::VAULTS_WRITE)?;
    let VaultBody { location, properties } = serde_json::from_slice(&whole(body).await?).map_err(|error| {
        let text = format!("a vault is given as {{\"location\", \"properties\": {{\"tenantId\", \"vaultUri\", \"caPem\"?, \"provider\"?, \"access\"?}}}}: {error}");
        ApiError::new(ErrorKind::Invalid, "InvalidRequestBody", text)
    })?;
    let named_provider = properties.provider.as_deref().map_or(Some(Provider::Azure), Provider::of);
    let provider = named_provider.ok_or_else(|| {
        let text = "properties.provider is azure, transit, aws-kms or pkcs11";
        ApiError::new(ErrorKind::Invalid, "InvalidParameter", text)
    })?;
    let ask = VaultAsk {
        provider,
        access: properties.access.filter(|access| !access.is_null()).map(|access| Secret::from(access.to_string())),
        region: location,
        tenant: properties.tenant_id,
        uri: properties.vault_uri,
        private_link: properties.private_link,
        ca_pem: properties.ca_pem,
        protection: Protection {
            soft_delete: properties.enable_soft_delete,
            purge_protection: properties.enable_purge_protection,
            rbac: properties.enable_rbac_authorization,
        },
    };
    let row = app.site.vaults.put(&named.into(), ask).await.map_err(|error| control_error(&error))?;
    Ok(Json(vault_json(&row)))
}

pub(super) async fn delete(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>) -> Result<StatusCode, ApiError> {
    who.allow(&app, action::VAULTS_DELETE)?;
    let there = app.site.vaults.delete(&named.into()).await.map_err(|error| control_error(&error))?;
    Ok(if there { StatusCode::OK } else { StatusCode::NO_CONTENT })
}

fn path(row: &VaultRefRow) -> String {
    let VaultRefRow { subscription, resource_group, name, .. } = row;
    format!("/subscriptions/{subscription}/resourceGroups/{resource_group}/providers/{KEY_VAULT}/vaults/{name}")
}

fn vault_json(row: &VaultRefRow) -> Value {
    json!({
        "id": path(row),
        "name": row.name,
        "type": format!("{KEY_VAULT}/vaults"),
        "location": row.region,
        "properties": {
            "tenantId": row.tenant,
            "vaultUri": row.uri,
            "privateLink": row.private_link,
            "caPem": row.ca_pem,
            "provider": row.provider,
            "hasAccess": row.access.is_some(),
            "enableSoftDelete": row.soft_delete,
            "enablePurgeProtection": row.purge_protection,
            "enableRbacAuthorization": row.rbac,
            "provisioningState": "Succeeded",
        },
    })
}

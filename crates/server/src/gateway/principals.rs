//! Who there is and what they may do, in native documents: tokens, services and what they log in with, roles, signing keys,
//! subscriptions.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use strongroom_catalog::{AssignmentRow, CredentialRow, PrincipalRow};
use strongroom_control::{ControlError, ScopePath, action};
use strongroom_model::{ErrorKind, ObjectId, PrincipalId};

use super::auth::Who;
use super::error::ApiError;
use super::resources::body;
use super::{App, control_error};

/// What creates a token.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPrincipal {
    role: String,
    #[serde(default)]
    workspace: Option<String>,
    /// A path; instead of a workspace.
    #[serde(default)]
    scope: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default, rename = "ttlSeconds")]
    ttl_seconds: Option<u64>,
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err gives it")]
fn told(error: ControlError) -> ApiError {
    control_error(&error)
}

fn scope(text: &str) -> Result<ScopePath, ApiError> {
    ScopePath::read(text)
        .ok_or_else(|| ApiError::new(ErrorKind::Invalid, "BadParameter", "a scope is / or a path like /subscriptions/…").target("scope"))
}

/// The rights of everybody, and what roles are called.
async fn rights(app: &App) -> Result<(Vec<AssignmentRow>, Vec<(ObjectId, String)>), ApiError> {
    let rows = app.site.catalog.assignments().await.map_err(|error| told(error.into()))?;
    let roles = app.site.roles.all(&app.site.catalog).await.map_err(|error| told(error.into()))?;
    Ok((rows, roles.iter().map(|role| (role.id, role.name.clone())).collect()))
}

fn held(rights: &(Vec<AssignmentRow>, Vec<(ObjectId, String)>), principal: PrincipalId) -> Vec<Value> {
    let name = |id: ObjectId| rights.1.iter().find(|(role, _)| *role == id).map_or_else(|| id.to_string(), |(_, name)| name.clone());
    let own = rights.0.iter().filter(|row| row.principal == principal);
    own.map(|row| json!({"id": row.id, "role": name(row.role), "scope": row.scope})).collect()
}

pub(crate) async fn list(State(app): State<App>, who: Who) -> Result<Json<Value>, ApiError> {
    who.allow(&app, action::PRINCIPALS_READ)?;
    let rows = app.site.principals.list().await.map_err(told)?;
    let rights = rights(&app).await?;
    let places: Vec<(String, String)> = app
        .site
        .catalog
        .workspaces_kept()
        .await
        .map_err(|error| told(error.into()))?
        .iter()
        .map(|row| (ScopePath::workspace(row).to_string(), row.id.to_string()))
        .collect();
    let value: Vec<Value> = rows
        .iter()
        .map(|row| {
            let held = held(&rights, row.id);
            let first = held.first().cloned().unwrap_or_default();
            let workspace = places.iter().find(|(path, _)| first["scope"] == path.as_str()).map(|(_, id)| id);
            json!({
                "id": row.id,
                "name": row.name,
                "kind": if row.client_id.is_some() { "service" } else { "token" },
                "clientId": row.client_id,
                "role": first["role"],
                "workspace": workspace,
                "roleAssignments": held,
                "createdMs": row.created_ms,
                "expiresMs": row.expires_ms,
            })
        })
        .collect();
    Ok(Json(json!({"value": value})))
}

pub(crate) async fn create(
    State(app): State<App>,
    who: Who,
    request: Result<Json<NewPrincipal>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    who.allow(&app, action::PRINCIPALS_WRITE)?;
    let new = body(request)?;
    let (name, ttl) = (new.name.unwrap_or_else(|| new.role.clone()), new.ttl_seconds.map(Duration::from_secs));
    let principals = &app.site.principals;
    // Making a token is giving its role: who may do the one and not the other would make itself an owner.
    let at = match (&new.workspace, &new.scope) {
        (Some(_), _) => None,
        (None, text) => Some(scope(text.as_deref().unwrap_or("/"))?),
    };
    if let Some(at) = &at {
        who.on(action::ROLES_WRITE, at)?;
    }
    let created = match (&new.workspace, &new.scope) {
        (Some(_), Some(_)) => {
            return Err(ApiError::new(ErrorKind::Invalid, "BadParameter", "give a workspace or a scope, not both").target("scope"));
        }
        (Some(workspace), None) => {
            let id = who.workspace(&app, workspace, action::ROLES_WRITE).await?;
            principals.create(name, &new.role, strongroom_catalog::Scope::Workspace(id), ttl).await
        }
        (None, _) => principals.create_at(name, &new.role, &at.unwrap_or_else(ScopePath::root), ttl).await,
    };
    let created = created.map_err(told)?;
    Ok((StatusCode::CREATED, Json(json!({"id": created.id, "role": new.role, "token": created.token, "expiresMs": created.expires_ms}))))
}

pub(crate) async fn delete(State(app): State<App>, who: Who, Path(principal): Path<String>) -> Result<StatusCode, ApiError> {
    who.allow(&app, action::PRINCIPALS_DELETE)?;
    let principal: PrincipalId = principal
        .parse()
        .map_err(|_| ApiError::new(ErrorKind::Invalid, "BadParameter", "a principal is named by its GUID").target("principal"))?;
    app.site.principals.delete(principal).await.map_err(told)?;
    Ok(StatusCode::NO_CONTENT)
}

/// What creates a service.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewService {
    name: String,
    /// A right to have at once: a role, and where.
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    scope: Option<String>,
}

/// What a service is to log in with: a certificate, else a new secret.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NewCredential {
    name: String,
    #[serde(rename = "certificatePem")]
    certificate_pem: Option<String>,
    #[serde(rename = "ttlSeconds")]
    ttl_seconds: Option<u64>,
}

fn credential_json(row: &CredentialRow) -> Value {
    let kind = if row.certificate.is_some() { "certificate" } else { "secret" };
    let mut page = json!({"id": row.id, "name": row.name, "kind": kind, "createdMs": row.created_ms, "expiresMs": row.expires_ms});
    if row.certificate.is_some() {
        page["sha256"] = hex::encode(row.sha256).into();
    }
    page
}

async fn service_json(app: &App, row: &PrincipalRow) -> Result<Value, ApiError> {
    let credentials = app.site.identity.services.credentials(row.id).await.map_err(told)?;
    Ok(json!({
        "id": row.id,
        "name": row.name,
        "clientId": row.client_id,
        "tenantId": app.site.identity.directory.tenant(),
        "createdMs": row.created_ms,
        "credentials": credentials.iter().map(credential_json).collect::<Vec<_>>(),
        "roleAssignments": held(&rights(app).await?, row.id),
    }))
}

pub(crate) async fn services(State(app): State<App>, who: Who) -> Result<Json<Value>, ApiError> {
    who.allow(&app, action::PRINCIPALS_READ)?;
    let mut value = Vec::new();
    for row in app.site.principals.list().await.map_err(told)? {
        if row.client_id.is_some() {
            value.push(service_json(&app, &row).await?);
        }
    }
    Ok(Json(json!({"value": value})))
}

pub(crate) async fn create_service(
    State(app): State<App>,
    who: Who,
    request: Result<Json<NewService>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    who.allow(&app, action::PRINCIPALS_WRITE)?;
    let new = body(request)?;
    let at = scope(new.scope.as_deref().unwrap_or("/"))?;
    if let Some(role) = &new.role {
        // Before there is anything: a service without the right it was to have would be in the way.
        who.on(action::ROLES_WRITE, &at)?;
        if app.site.roles.named(&app.site.catalog, role).await.map_err(|error| told(error.into()))?.is_none() {
            return Err(told(ControlError::Invalid { what: "role", why: "not a known one: see GET /v1/roles" }));
        }
    }
    let row = app.site.identity.services.create(new.name).await.map_err(told)?;
    if let Some(role) = &new.role {
        let (ms, random) = app.site.world.id_seed();
        let id = ObjectId::mint(ms, random).to_string();
        app.site.identity.rights.put(&who.0, &at, &id, row.id, role).await.map_err(told)?;
    }
    Ok((StatusCode::CREATED, Json(service_json(&app, &row).await?)))
}

pub(crate) async fn show_service(State(app): State<App>, who: Who, Path(service): Path<String>) -> Result<Json<Value>, ApiError> {
    who.allow(&app, action::PRINCIPALS_READ)?;
    let row = app.site.identity.services.named(&service).await.map_err(told)?;
    Ok(Json(service_json(&app, &row).await?))
}

pub(crate) async fn delete_service(State(app): State<App>, who: Who, Path(service): Path<String>) -> Result<StatusCode, ApiError> {
    who.allow(&app, action::PRINCIPALS_DELETE)?;
    let row = app.site.identity.services.named(&service).await.map_err(told)?;
    app.site.principals.delete(row.id).await.map_err(told)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn add_credential(
    State(app): State<App>,
    who: Who,
    Path(service): Path<String>,
    request: Result<Json<NewCredential>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    who.allow(&app, action::PRINCIPALS_WRITE)?;
    let new = body(request)?;
    let services = &app.site.identity.services;
    let row = services.named(&service).await.map_err(told)?;
    // Whoever has a credential of a service has what the service has: giving one is giving all of that.
    for right in app.site.catalog.assignments_of(row.id).await.map_err(|error| told(error.into()))? {
        who.on(action::ROLES_WRITE, &ScopePath::of(&right.scope))?;
    }
    let ttl = new.ttl_seconds.map(Duration::from_secs);
    let page = if let Some(pem) = &new.certificate_pem {
        credential_json(&services.add_certificate(&who.0, row.id, new.name, pem, ttl).await.map_err(told)?)
    } else {
        let made = services.add_secret(&who.0, row.id, new.name, ttl).await.map_err(told)?;
        let mut page = credential_json(&made.row);
        page["secret"] = made.secret.as_str().into();
        page
    };
    Ok((StatusCode::CREATED, Json(page)))
}

pub(crate) async fn remove_credential(
    State(app): State<App>,
    who: Who,
    Path((service, credential)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    who.allow(&app, action::PRINCIPALS_WRITE)?;
    let row = app.site.identity.services.named(&service).await.map_err(told)?;
    let absent = || told(ControlError::NotFound { what: "credential", name: credential.clone() });
    let id: ObjectId = credential.parse().map_err(|_| absent())?;
    if app.site.identity.services.remove(&who.0, row.id, id).await.map_err(told)? { Ok(StatusCode::NO_CONTENT) } else { Err(absent()) }
}

/// What roles there are, and what they allow.
pub(crate) async fn roles(State(app): State<App>, who: Who) -> Result<Json<Value>, ApiError> {
    let all = app.site.identity.rights.roles(&who.0, &ScopePath::root()).await.map_err(told)?;
    let value: Vec<Value> = all
        .iter()
        .map(|role| {
            json!({
                "id": role.id,
                "name": role.name,
                "description": role.description,
                "actions": role.actions,
                "notActions": role.not_actions,
                "custom": role.scopes.is_some(),
            })
        })
        .collect();
    Ok(Json(json!({"value": value})))
}

fn keys_json(app: &App) -> Value {
    let keys = app.site.identity.tokens.keys();
    let value: Vec<Value> =
        keys.iter().map(|(id, created, retired)| json!({"id": id, "createdMs": created, "retiredMs": retired})).collect();
    json!({"value": value})
}

/// The keys that access tokens are signed with.
pub(crate) async fn signing_keys(State(app): State<App>, who: Who) -> Result<Json<Value>, ApiError> {
    who.allow(&app, action::PRINCIPALS_READ)?;
    Ok(Json(keys_json(&app)))
}

/// Signs with a new one from now on.
pub(crate) async fn rotate(State(app): State<App>, who: Who) -> Result<Json<Value>, ApiError> {
    who.allow(&app, action::PRINCIPALS_WRITE)?;
    app.site.identity.tokens.rotate().await.map_err(told)?;
    Ok(Json(keys_json(&app)))
}

/// What makes or renames a subscription.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSubscription {
    name: String,
    #[serde(default, rename = "tenantId")]
    tenant: String,
}

pub(crate) async fn subscriptions(State(app): State<App>, who: Who) -> Result<Json<Value>, ApiError> {
    let rows = app.site.identity.directory.subscriptions(&who.0).await.map_err(told)?;
    let value: Vec<Value> = rows.iter().map(|row| json!({"id": row.id, "name": row.name, "tenantId": row.tenant})).collect();
    Ok(Json(json!({"value": value})))
}

pub(crate) async fn put_subscription(
    State(app): State<App>,
    who: Who,
    Path(id): Path<String>,
    request: Result<Json<NewSubscription>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    who.on(action::SUBSCRIPTIONS_WRITE, &ScopePath::root())?;
    let new = body(request)?;
    let row = app.site.identity.directory.put_subscription(&who.0, &id, &new.name, &new.tenant).await.map_err(told)?;
    Ok(Json(json!({"id": row.id, "name": row.name, "tenantId": row.tenant})))
}

pub(crate) async fn delete_subscription(State(app): State<App>, who: Who, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    app.site.identity.directory.delete_subscription(&who.0, &id).await.map_err(told)?;
    Ok(StatusCode::NO_CONTENT)
}

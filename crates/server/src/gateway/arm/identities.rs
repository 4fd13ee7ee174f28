//! `Microsoft.ManagedIdentity/userAssignedIdentities`: identities that a customer makes, grants in a vault, and lets clusters show.
//! Each has a key pair made here; its public half is what the vault is told.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use strongroom_catalog::UserIdentityRow;
use strongroom_control::{Place, Refusal, ScopePath, UserIdentityAsk, action};

use super::super::auth::Who;
use super::super::error::ApiError;
use super::super::{App, control_error};
use super::{ApiVersion, InGroup, MANAGED_IDENTITY, Named, refused, sent};

pub(super) async fn list(State(app): State<App>, who: Who, _: ApiVersion, Path(at): Path<InGroup>) -> Result<Json<Value>, ApiError> {
    who.list(action::IDENTITIES_READ)?;
    Ok(Json(json!({"value": shown(&app, &who, &at).await?})))
}

/// Those of a place that the caller may read.
pub(super) async fn shown(app: &App, who: &Who, at: &InGroup) -> Result<Vec<Value>, ApiError> {
    let mut rows = app.site.identities.list(&at.subscription, at.group.as_deref()).await.map_err(|error| control_error(&error))?;
    rows.retain(|row| who.0.may(action::IDENTITIES_READ, &ScopePath::of(&Place::of_identity(row).identity_path())));
    Ok(rows.iter().map(page).collect())
}

pub(super) async fn show(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>) -> Result<Json<Value>, ApiError> {
    who.allow(&app, action::IDENTITIES_READ)?;
    let row = app.site.identities.get(&named.into()).await.map_err(|error| who.told(&error))?;
    Ok(Json(page(&row)))
}

pub(super) async fn put(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    Path(named): Path<Named>,
    body: Body,
) -> Result<Response, ApiError> {
    who.allow(&app, action::IDENTITIES_WRITE)?;
    let body = sent(body).await?;
    let region = body.get("location").and_then(Value::as_str).ok_or_else(|| refused(Refusal::Body))?.to_owned();
    let tags = match body.get("tags") {
        None | Some(Value::Null) => serde_json::Map::new(),
        Some(Value::Object(tags)) if tags.values().all(Value::is_string) => tags.clone(),
        Some(_) => return Err(refused(Refusal::Body)),
    };
    let row = app.site.identities.put(&named.into(), UserIdentityAsk { region, tags }).await.map_err(|error| control_error(&error))?;
    Ok((StatusCode::CREATED, Json(page(&row))).into_response())
}

pub(super) async fn delete(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>) -> Result<StatusCode, ApiError> {
    who.allow(&app, action::IDENTITIES_WRITE)?;
    let there = app.site.identities.delete(&named.into()).await.map_err(|error| control_error(&error))?;
    Ok(if there { StatusCode::OK } else { StatusCode::NO_CONTENT })
}

fn page(row: &UserIdentityRow) -> Value {
    json!({
        "id": Place::of_identity(row).identity_path(),
        "name": row.name,
        "type": format!("{MANAGED_IDENTITY}/userAssignedIdentities"),
        "location": row.region,
        "tags": serde_json::from_str::<Value>(&row.tags).unwrap_or_default(),
        "properties": {
            "tenantId": row.identity.tenant,
            "principalId": row.identity.principal,
            "clientId": row.identity.principal,
            "publicKey": row.identity.public_key_pem,
        },
    })
}

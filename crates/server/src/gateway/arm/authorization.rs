//! `Microsoft.Authorization`: who has which role where, and what the roles are, at any place.
//!
//! The place stands before the provider and may be as long as a path can be, which no route can say: it is taken off the path before
//! the route is looked up, and goes along as the request's extension.

use axum::body::Body;
use axum::extract::{Extension, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, json};
use strongroom_catalog::AssignmentRow;
use strongroom_control::{ControlError, Refusal, Role, RoleAsk, ScopePath, action};
use strongroom_model::ErrorKind;

use super::super::auth::{AskedAt, Who, absent};
use super::super::error::ApiError;
use super::super::{App, control_error};
use super::{ApiVersion, refused, sent, time};

const PROVIDER: &str = "Microsoft.Authorization";
const KINDS: [&str; 2] = ["roleAssignments", "roleDefinitions"];

pub(super) fn routes() -> Router<App> {
    let path = |rest: &str| format!("/providers/{PROVIDER}/{rest}");
    Router::new()
        .route(&path("roleAssignments"), get(list))
        .route(&path("roleAssignments/{name}"), get(show).put(put).delete(delete))
        .route(&path("roleDefinitions"), get(roles))
        .route(&path("roleDefinitions/{name}"), get(role).put(put_role).delete(delete_role))
}

/// Takes the place off a path of this provider.
pub(super) fn reroute(request: &mut Request<Body>) {
    let Some((at, path)) = split(request.uri().path()) else { return };
    let text = request.uri().query().map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
    let Ok(path_and_query) = text.parse() else { return };
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = Some(path_and_query);
    if let Ok(uri) = axum::http::Uri::from_parts(parts) {
        *request.uri_mut() = uri;
        request.extensions_mut().insert(AskedAt(at));
    }
}

/// The place, if it is one, and the path that is left.
fn split(path: &str) -> Option<(Option<ScopePath>, String)> {
    let steps: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let at = steps.windows(2).rposition(|two| two[0].eq_ignore_ascii_case("providers") && two[1].eq_ignore_ascii_case(PROVIDER))?;
    let kind = KINDS.iter().find(|kind| steps.get(at + 2).is_some_and(|step| step.eq_ignore_ascii_case(kind)))?;
    let before = percent_decode_str(&steps[..at].join("/")).decode_utf8().ok()?.into_owned();
    let before = if before.is_empty() { before } else { format!("/{before}") };
    let mut left = format!("/providers/{PROVIDER}/{kind}");
    for step in &steps[at + 3..] {
        left.push('/');
        left.push_str(step);
    }
    Some((ScopePath::read(&before), left))
}

fn place(asked: Option<Extension<AskedAt>>) -> Result<ScopePath, ApiError> {
    let none = || ApiError::new(ErrorKind::Invalid, "InvalidScope", "The scope before /providers/Microsoft.Authorization is none.");
    asked.and_then(|Extension(AskedAt(at))| at).ok_or_else(none)
}

fn before(at: &ScopePath) -> &str {
    if at.is_root() { "" } else { at.as_str() }
}

fn assignment_json(row: &AssignmentRow) -> Value {
    let at = ScopePath::of(&row.scope);
    json!({
        "id": format!("{}/providers/{PROVIDER}/roleAssignments/{}", before(&at), row.id),
        "name": row.id,
        "type": "Microsoft.Authorization/roleAssignments",
        "properties": {
            "scope": row.scope,
            "roleDefinitionId": format!("{}/providers/{PROVIDER}/roleDefinitions/{}", before(&at.of_subscription()), row.role),
            "principalId": row.principal,
            "principalType": "ServicePrincipal",
            "createdOn": time(row.created_ms),
            "updatedOn": time(row.created_ms),
            "createdBy": row.created_by,
            "updatedBy": row.created_by,
        },
    })
}

fn role_json(at: &ScopePath, role: &Role) -> Value {
    json!({
        "id": format!("{}/providers/{PROVIDER}/roleDefinitions/{}", before(&at.of_subscription()), role.id),
        "name": role.id,
        "type": "Microsoft.Authorization/roleDefinitions",
        "properties": {
            "roleName": role.name,
            "description": role.description,
            "type": if role.scopes.is_some() { "CustomRole" } else { "BuiltInRole" },
            "assignableScopes": role.scopes.clone().unwrap_or_else(|| vec!["/".to_owned()]),
            "permissions": [{"actions": role.actions, "notActions": role.not_actions, "dataActions": [], "notDataActions": []}],
        },
    })
}

/// `$filter`, as far as clients send it: `atScope()`, `principalId eq '…'`, `assignedTo('…')`, `roleName eq '…'`, `type eq '…'`.
#[derive(Debug, Default, Deserialize)]
struct Filter {
    #[serde(default, rename = "$filter")]
    text: Option<String>,
}

impl Filter {
    /// What is asked of a field, in lower case.
    fn field(&self, name: &str) -> Option<String> {
        let text = self.text.as_deref()?.to_ascii_lowercase();
        let after = text.split_once(&name.to_ascii_lowercase())?.1;
        let (before, rest) = after.split_once('\'')?;
        matches!(before.trim(), "eq" | "(").then(|| rest.split_once('\'').map(|(value, _)| value.to_owned()))?
    }

    fn says(&self, word: &str) -> bool {
        self.text.as_deref().is_some_and(|text| text.to_ascii_lowercase().contains(&word.to_ascii_lowercase()))
    }
}

async fn list(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    asked: Option<Extension<AskedAt>>,
    Query(filter): Query<Filter>,
) -> Result<Json<Value>, ApiError> {
    let at = place(asked)?;
    let mut rows = app.site.identity.rights.list(&who.0, &at).await.map_err(|error| control_error(&error))?;
    if let Some(principal) = filter.field("principalId").or_else(|| filter.field("assignedTo")) {
        rows.retain(|row| row.principal.to_string() == principal);
    }
    if filter.says("atScope()") {
        rows.retain(|row| ScopePath::of(&row.scope).covers(&at));
    }
    Ok(Json(json!({"value": rows.iter().map(assignment_json).collect::<Vec<_>>()})))
}

/// In the words of this door.
fn told(error: &ControlError, at: &ScopePath) -> ApiError {
    match error {
        ControlError::NotFound { what: "resource", .. } => absent(at),
        ControlError::NotFound { what, name } => {
            let (code, text) = if what.contains("role assignment or") {
                ("RoleAssignmentNotFound", format!("The role assignment or definition '{name}' is not found."))
            } else {
                ("ResourceNotFound", error.to_string())
            };
            ApiError::new(ErrorKind::NotFound, code, text)
        }
        ControlError::Conflict { why } if why.contains("already exists") => {
            ApiError::new(ErrorKind::Conflict, "RoleAssignmentExists", "The role assignment already exists.")
        }
        ControlError::Invalid { what: "principalId", .. } => {
            ApiError::new(ErrorKind::Invalid, "PrincipalNotFound", "The principal does not exist in the directory.")
        }
        ControlError::Invalid { what: "roleDefinitionId", why } => {
            ApiError::new(ErrorKind::Invalid, "RoleDefinitionDoesNotExist", format!("The role definition: {why}."))
        }
        other => control_error(other),
    }
}

async fn show(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    asked: Option<Extension<AskedAt>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let at = place(asked)?;
    let row = app.site.identity.rights.get(&who.0, &at, &name).await.map_err(|error| told(&error, &at))?;
    Ok(Json(assignment_json(&row)))
}

async fn put(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    asked: Option<Extension<AskedAt>>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Response, ApiError> {
    let at = place(asked)?;
    who.on(action::ROLES_WRITE, &at)?;
    let body = sent(body).await?;
    let properties = body.get("properties").and_then(Value::as_object).ok_or_else(|| refused(Refusal::Body))?;
    let text = |name: &str| properties.get(name).and_then(Value::as_str).ok_or_else(|| refused(Refusal::Body));
    let (role, principal) = (text("roleDefinitionId")?, text("principalId")?);
    let principal = principal.parse().map_err(|_| {
        ApiError::new(ErrorKind::Invalid, "InvalidPrincipalId", "A principal id is a GUID.").target("properties.principalId")
    })?;
    let done = app.site.identity.rights.put(&who.0, &at, &name, principal, role).await;
    let (row, new) = done.map_err(|error| told(&error, &at))?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(assignment_json(&row))).into_response())
}

async fn delete(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    asked: Option<Extension<AskedAt>>,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let at = place(asked)?;
    let gone = app.site.identity.rights.delete(&who.0, &at, &name).await.map_err(|error| told(&error, &at))?;
    Ok(gone.map_or_else(|| StatusCode::NO_CONTENT.into_response(), |row| Json(assignment_json(&row)).into_response()))
}

async fn roles(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    asked: Option<Extension<AskedAt>>,
    Query(filter): Query<Filter>,
) -> Result<Json<Value>, ApiError> {
    let at = place(asked)?;
    let mut all = app.site.identity.rights.roles(&who.0, &at).await.map_err(|error| told(&error, &at))?;
    if let Some(name) = filter.field("roleName") {
        all.retain(|role| role.name.eq_ignore_ascii_case(&name));
    }
    if let Some(kind) = filter.field("type") {
        all.retain(|role| role.scopes.is_some() == (kind == "customrole"));
    }
    Ok(Json(json!({"value": all.iter().map(|role| role_json(&at, role)).collect::<Vec<_>>()})))
}

async fn role(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    asked: Option<Extension<AskedAt>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let at = place(asked)?;
    let all = app.site.identity.rights.roles(&who.0, &at).await.map_err(|error| told(&error, &at))?;
    let found = all.iter().find(|role| role.id.to_string().eq_ignore_ascii_case(&name));
    let found =
        found.ok_or_else(|| ApiError::new(ErrorKind::NotFound, "RoleDefinitionDoesNotExist", "There is no such role definition."))?;
    Ok(Json(role_json(&at, found)))
}

async fn put_role(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    asked: Option<Extension<AskedAt>>,
    Path(name): Path<String>,
    body: Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let at = place(asked)?;
    who.on(action::ROLE_DEFINITIONS_WRITE, &at)?;
    let body = sent(body).await?;
    let properties = body.get("properties").and_then(Value::as_object).ok_or_else(|| refused(Refusal::Body))?;
    let text = |name: &str| properties.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let list = |value: Option<&Value>| -> Result<Vec<String>, ApiError> {
        match value {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(value) => serde_json::from_value(value.clone()).map_err(|_| refused(Refusal::Body)),
        }
    };
    let mut ask = RoleAsk {
        name: text("roleName"),
        description: text("description"),
        scopes: list(properties.get("assignableScopes"))?,
        ..RoleAsk::default()
    };
    for permission in properties.get("permissions").and_then(Value::as_array).into_iter().flatten() {
        // There is one set of actions here: those on data are actions like others.
        for name in ["actions", "dataActions"] {
            ask.actions.extend(list(permission.get(name))?);
        }
        for name in ["notActions", "notDataActions"] {
            ask.not_actions.extend(list(permission.get(name))?);
        }
    }
    let role = app.site.identity.rights.role_put(&who.0, &at, &name, ask).await.map_err(|error| told(&error, &at))?;
    Ok((StatusCode::CREATED, Json(role_json(&at, &role))))
}

async fn delete_role(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    asked: Option<Extension<AskedAt>>,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let at = place(asked)?;
    let gone = app.site.identity.rights.role_delete(&who.0, &at, &name).await.map_err(|error| told(&error, &at))?;
    Ok(gone.map_or_else(|| StatusCode::NO_CONTENT.into_response(), |role| Json(role_json(&at, &role)).into_response()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_taken_off_the_path_whatever_its_length_and_case() {
        for (path, at, left) in [
            ("/providers/microsoft.authorization/roleassignments", Some("/"), "roleAssignments"),
            ("//subscriptions/S/providers/Microsoft.Authorization/RoleDefinitions/x", Some("/subscriptions/s"), "roleDefinitions/x"),
            (
                "/subscriptions/s/resourceGroups/g/providers/p/w/W/tables/T/providers/Microsoft.Authorization/roleAssignments/x",
                Some("/subscriptions/s/resourcegroups/g/providers/p/w/w/tables/t"),
                "roleAssignments/x",
            ),
            ("/elsewhere/providers/Microsoft.Authorization/roleAssignments", None, "roleAssignments"),
            ("/subscriptions/s/a%2F%2Fb/providers/Microsoft.Authorization/roleAssignments", None, "roleAssignments"),
        ] {
            let (found, rest) = split(path).unwrap();
            assert_eq!((found.as_ref().map(ScopePath::as_str), rest), (at, format!("/providers/{PROVIDER}/{left}")), "{path}");
        }
        for path in ["/subscriptions/s/providers/Microsoft.Authorization/locks", "/providers/Microsoft.KeyVault/roleAssignments", "/"] {
            assert!(split(path).is_none(), "{path}");
        }
    }

    #[test]
    fn filters_are_read_as_clients_write_them() {
        let filter = |text: &str| Filter { text: Some(text.to_owned()) };
        let both = filter("atScope() and assignedTo('ABC')");
        assert_eq!((both.field("assignedTo").as_deref(), both.says("atscope()")), (Some("abc"), true));
        assert_eq!(filter("roleName eq 'Log Analytics Reader'").field("roleName").as_deref(), Some("log analytics reader"));
        assert_eq!(filter("principalId eq 'x'").field("roleName"), None);
        assert_eq!(Filter::default().field("roleName"), None);
    }
}

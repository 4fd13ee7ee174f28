//! The audit chain at the doors: a change is written down before it is begun and again when it was answered; reading the chain.

use axum::Json;
use axum::extract::{MatchedPath, Path, Query, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use strongroom_control::audit::{AuditError, AuditFilter, Event, Record, acting, name, open_text};
use strongroom_control::{Caller, ScopePath, action};
use strongroom_model::ErrorKind;

use super::auth::{Who, bearer};
use super::error::ApiError;
use super::{App, control_error};
use crate::timespan;

/// Requests that are no GET and change nothing that is audited: rows, questions and who keeps them for themselves, and making blocks of rows.
const NO_CHANGE: [&str; 18] = [
    "/v1/workspaces/{workspace}/ingest/{table}",
    "/v1/workspaces/{workspace}/query",
    "/v1/workspaces/{workspace}/history",
    "/v1/workspaces/{workspace}/pins",
    "/v1/workspaces/{workspace}/pins/{pin}",
    "/v1/workspaces/{workspace}/flush",
    "/v1/workspaces/{workspace}/compact",
    "/v1/clusters/{cluster}/check",
    "/{tenant}/oauth2/v2.0/token",
    "/{tenant}/oauth2/token",
    "/v1/workspaces/{workspace}/metadata",
    "/dataCollectionRules/{rule}/streams/{stream}",
    "/v1/subscriptions/{subscription}/{*resource}",
    "/v1/$batch",
    "/v1/rest/query",
    "/v2/rest/query",
    "/v1/rest/mgmt",
    "/subscriptions/{subscription}/providers/{provider}/register",
];
/// Likewise; it is signed with a workspace's key, not asked for with a token.
const SIGNED: &str = "/api/logs";
/// Bytes of a path that are written down.
const PATH_MAX: usize = 1_024;

/// Around every route. A change that cannot be written down is not begun.
pub(crate) async fn audited(State(app): State<App>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    if route.as_deref() == Some(SIGNED) {
        return next.run(request).await;
    }
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let Some(route) = route.filter(|route| changes && !NO_CHANGE.contains(&route.as_str())) else {
        let response = next.run(request).await;
        if response.status() == StatusCode::UNAUTHORIZED {
            app.site.audit.token_refused();
        }
        return response;
    };
    let caller = match bearer(request.headers()) {
        Ok(token) => app.site.principals.authenticate(token).await.ok(),
        Err(_) => None,
    };
    let Some(caller) = caller else {
        app.site.audit.token_refused();
        // The door says what is wrong with it.
        return next.run(request).await;
    };
    if !app.site.audit.may_ask(caller.principal) {
        return ApiError::new(ErrorKind::Overloaded, "TooManyChanges", "too many changes were asked for in this minute").into_response();
    }
    let (method, path) = (request.method().as_str().to_owned(), request.uri().path());
    // What a function or a saved search is called is the customer's text: it stays under the customer's key.
    let path = if route.ends_with("/{function}") || route.ends_with("/{search}") {
        path.rsplit_once('/').map_or(path, |(before, _)| before)
    } else {
        path
    };
    let path = path[..path.floor_char_boundary(PATH_MAX)].to_owned();
    let event = |event| {
        Event::new(event).by(caller.principal).with("method", method.as_str()).with("route", route.as_str()).with("path", path.as_str())
    };
    let (asked, answered) = (event(name::ASKED).with("role", caller.roles_at(&ScopePath::root())), event(name::ANSWERED));
    let asked = match app.site.audit.record(asked).await {
        Ok(position) => position,
        Err(error) => return audit_error(&error).into_response(),
    };
    let response = acting(Some(caller.principal), next.run(request)).await;
    let status = response.status();
    let answered = answered.with("asked", asked).with("status", status.as_u16()).code(outcome(status));
    if let Err(error) = app.site.audit.record(answered).await {
        // It was asked for, and that stands in the chain.
        tracing::error!(code = error.code(), asked, "the answer to a change is not in the audit chain");
    }
    response
}

fn outcome(status: StatusCode) -> &'static str {
    match status {
        StatusCode::FORBIDDEN => "Denied",
        status if status.is_success() => "Succeeded",
        _ => "Failed",
    }
}

fn audit_error(error: &AuditError) -> ApiError {
    ApiError::new(error.kind(), error.code(), error)
}

/// Which records are asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Asked {
    cluster: Option<String>,
    workspace: Option<String>,
    event: Option<String>,
    /// A date, or so long ago: `2026-01-01T00:00:00Z`, `24h`.
    since: Option<String>,
    limit: Option<usize>,
}

pub(crate) async fn read(
    State(app): State<App>,
    who: Who,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Value>, ApiError> {
    who.allow(&app, action::AUDIT_READ)?;
    let Query(asked) = asked.map_err(|_| {
        ApiError::new(ErrorKind::Invalid, "BadParameter", "the audit chain takes the parameters cluster, workspace, event, since and limit")
    })?;
    let cluster = match &asked.cluster {
        Some(name) => Some(app.site.clusters.named(name).await.map_err(|error| control_error(&error))?.id),
        None => None,
    };
    let workspace = match &asked.workspace {
        Some(name) => Some(who.workspace(&app, name, action::WORKSPACES_READ).await?),
        None => None,
    };
    let now = app.site.world.clock.wall();
    let since_ms = match asked.since.as_deref() {
        None => None,
        Some(text) => {
            Some(timespan::since(text, now.0).map_err(|why| ApiError::new(ErrorKind::Invalid, "BadParameter", why).target("since"))?)
        }
    };
    let filter = AuditFilter { cluster, workspace, event: asked.event, since_ms, limit: asked.limit.unwrap_or(100) };
    let records = app.site.audit.reader().read(filter).await.map_err(|error| audit_error(&error))?;
    let mut value = Vec::with_capacity(records.len());
    for record in &records {
        value.push(shown(&app, &who.0, record).await?);
    }
    Ok(Json(json!({"value": value})))
}

/// A record as it is shown: a query's text to whoever may ask the same workspace, while its key is there.
async fn shown(app: &App, caller: &Caller, record: &Record) -> Result<Value, ApiError> {
    let mut value = serde_json::to_value(record)
        .map_err(|_| ApiError::new(ErrorKind::Internal, "InternalError", "a record of the audit chain could not be written"))?;
    let (Some(text), Some(workspace)) = (&record.event.text, record.event.workspace) else { return Ok(value) };
    let found = app.site.workspaces.find(caller, &workspace.to_string()).await;
    let may = found.is_ok_and(|row| caller.may(action::QUERY, &ScopePath::workspace(&row)));
    value["text"] = match open_text(&app.site.keys, &app.site.world, workspace, text).await {
        Ok(text) if may => text.into(),
        Ok(_) => json!({"sealed": "NotYours"}),
        Err(error) => json!({"sealed": error.code()}),
    };
    Ok(value)
}

pub(crate) async fn verify(State(app): State<App>, who: Who) -> Result<Json<Value>, ApiError> {
    who.allow(&app, action::AUDIT_READ)?;
    let report = app.site.audit.reader().verify().await.map_err(|error| audit_error(&error))?;
    Ok(Json(json!(report)))
}

pub(crate) async fn evidence(State(app): State<App>, who: Who, Path(cluster): Path<String>) -> Result<Json<Value>, ApiError> {
    let row = who.cluster(&app, &cluster, action::CLUSTERS_READ).await?;
    let evidence = app.site.audit.reader().evidence(row.id).await.map_err(|error| audit_error(&error))?;
    Ok(Json(json!({"cluster": row.name, "value": evidence})))
}

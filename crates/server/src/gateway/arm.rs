//! The control plane as Azure's clients speak it: clusters, workspaces, links, key vault references, operations.
//!
//! Paths match whatever their case and with a second leading slash; `api-version` is required; a change that takes its time
//! answers 200 or, to clients that take it, 202 with the resource, `Azure-AsyncOperation` and `Retry-After: 1`.
//! Rules are not here: they are `strongroom_control::Clusters`.

mod about;
mod alerts;
mod authorization;
mod clusters;
mod collection;
mod everything;
mod identities;
mod json;
mod links;
mod moves;
mod packs;
mod page;
mod places;
mod purge;
mod searches;
mod shared_keys;
mod storage;
mod tables;
mod vaults;
mod version;
mod workbooks;
mod workspaces;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, middleware};
use chrono::{DateTime, SecondsFormat};
use serde::Deserialize;
use serde_json::{Value, json};
use strongroom_catalog::{OperationRow, OperationStatus};
use strongroom_control::{AsyncStatus, ControlError, Place, Refusal, ScopePath, action, operation_status};
use strongroom_model::{ErrorKind, ObjectId};

use super::auth::Who;
use super::error::ApiError;
use super::{App, control_error, external_url};
pub(super) use clusters::cluster_json;
pub(super) use collection::rule_place;
use json::sent;
pub(super) use version::ApiVersion;

const INSIGHTS: &str = "Microsoft.OperationalInsights";
const STORAGE: &str = "Microsoft.Storage";
const KEY_VAULT: &str = "Microsoft.KeyVault";
const MONITOR: &str = "Microsoft.Insights";
const ALERTS_MANAGEMENT: &str = "Microsoft.AlertsManagement";
const MANAGED_IDENTITY: &str = "Microsoft.ManagedIdentity";
const ASYNC_OPERATION: HeaderName = HeaderName::from_static("azure-asyncoperation");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
const CORRELATION_ID: HeaderName = HeaderName::from_static("x-ms-correlation-request-id");
pub(super) const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");
/// Bytes of a client's own request id that come back.
const CLIENT_REQUEST_ID_MAX: usize = 128;
/// Seconds between two looks at an operation: never 0, which clients read as their own default of 30.
const POLL_SECONDS: u64 = 1;

/// The routes, in the one spelling that [`canonical`] gives to every path.
pub(super) fn routes() -> Router<App> {
    let group = |rest: &str| format!("/subscriptions/{{subscription}}/resourceGroups/{{group}}/providers/{rest}");
    let all = |rest: &str| format!("/subscriptions/{{subscription}}/providers/{rest}");
    let insights = |rest: &str| format!("{INSIGHTS}/{rest}");
    let vaults = |rest: &str| format!("{KEY_VAULT}/vaults{rest}");
    let identities = |rest: &str| format!("{MANAGED_IDENTITY}/userAssignedIdentities{rest}");
    Router::new()
        .route(&all(&insights("clusters")), get(clusters::list))
        .route(&group(&insights("clusters")), get(clusters::list))
        .route(&group(&insights("clusters/{name}")), get(clusters::show).put(clusters::put).patch(clusters::patch).delete(clusters::delete))
        .route(&all(&insights("workspaces")), get(workspaces::list))
        .route(&group(&insights("workspaces")), get(workspaces::list))
        .route(
            &group(&insights("workspaces/{name}")),
            get(workspaces::show).put(workspaces::put).patch(workspaces::patch).delete(workspaces::delete),
        )
        .route(&all(&insights("deletedWorkspaces")), get(workspaces::deleted))
        .route(&group(&insights("deletedWorkspaces")), get(workspaces::deleted))
        .merge(in_workspace(|rest| group(&insights(&format!("workspaces/{{name}}/{rest}")))))
        .route(&all(&insights("linkTargets")), get(about::link_targets))
        .route(&format!("/providers/{INSIGHTS}/operations"), get(about::operations))
        .route(&group(&insights("workspaces/{name}/linkedServices")), get(links::list))
        .route(&group(&insights("workspaces/{name}/linkedServices/{service}")), get(links::show).put(links::put).delete(links::delete))
        .route(&all(&insights("locations/{region}/operationStatuses/{operation}")), get(operation))
        .route(&all(&vaults("")), get(vaults::list))
        .route(&group(&vaults("")), get(vaults::list))
        .route(&group(&vaults("/{name}")), get(vaults::show).put(vaults::put).delete(vaults::delete))
        .route(&all(&identities("")), get(identities::list))
        .route(&group(&identities("")), get(identities::list))
        .route(&group(&identities("/{name}")), get(identities::show).put(identities::put).delete(identities::delete))
        .route("/subscriptions/{subscription}/resourceGroups/{group}/moveResources", post(moves::refuse))
        .route("/subscriptions/{subscription}/resourceGroups/{group}/validateMoveResources", post(moves::refuse))
        .merge(places::routes())
        .merge(everything::routes())
        .merge(authorization::routes())
        .merge(collection::routes())
        .merge(alerts::routes())
        .merge(workbooks::routes())
        .merge(packs::routes())
        .merge(shared_keys::routes())
        .merge(storage::routes())
        .layer(middleware::from_fn(request_ids))
}

/// What lies in a workspace, and what is asked about one.
fn in_workspace(at: impl Fn(&str) -> String) -> Router<App> {
    Router::new()
        .route(&at("tables"), get(tables::list))
        .route(&at("tables/{table}"), get(tables::show).put(tables::put).patch(tables::patch).delete(tables::delete))
        .route(&at("tables/{table}/migrate"), post(tables::migrate))
        .route(&at("tables/{table}/cancelSearch"), post(tables::cancel_search))
        .route(&at("savedSearches"), get(searches::list))
        .route(&at("savedSearches/{search}"), get(searches::show).put(searches::put).delete(searches::delete))
        .route(&at("purge"), post(purge::begin))
        .route(&at("operations/{purge}"), get(purge::status))
        .route(&at("usages"), get(about::usages))
        .route(&at("schema"), post(about::schema))
        .route(&at("availableServiceTiers"), get(about::service_tiers))
        .route(&at("managementGroups"), get(about::none))
        .route(&at("intelligencePacks"), get(about::packs))
        .route(&at("intelligencePacks/{pack}/{turn}"), post(about::set_pack))
}

/// Words of a path that are not names, as the routes spell them.
const WORDS: &[&str] = &[
    "subscriptions",
    "resourceGroups",
    "providers",
    INSIGHTS,
    KEY_VAULT,
    STORAGE,
    "storageAccounts",
    "linkedStorageAccounts",
    MANAGED_IDENTITY,
    MONITOR,
    ALERTS_MANAGEMENT,
    "scheduledQueryRules",
    "actionGroups",
    "alerts",
    "workbooks",
    "queryPacks",
    "queries",
    "sharedKeys",
    "regenerateSharedKey",
    "dataCollectionEndpoints",
    "dataCollectionRules",
    "clusters",
    "workspaces",
    "linkedServices",
    "locations",
    "operationStatuses",
    "vaults",
    "userAssignedIdentities",
    "deletedWorkspaces",
    "linkTargets",
    "tables",
    "migrate",
    "cancelSearch",
    "savedSearches",
    "sharedKeys",
    "regenerateSharedKey",
    "purge",
    "operations",
    "usages",
    "schema",
    "availableServiceTiers",
    "managementGroups",
    "intelligencePacks",
    "moveResources",
    "validateMoveResources",
    "resources",
    "register",
    "v1",
    "$batch",
    "query",
    "metadata",
    "streams",
];

/// Gives a path the spelling of the routes: one leading slash, fixed words in their own case. Names stay as they came.
pub(super) fn canonical(mut request: Request<Body>) -> Request<Body> {
    // HTTP/2 has the host in its address (RFC 9113 §8.3.1); it is looked for where HTTP/1.1 has it.
    if !request.headers().contains_key(header::HOST)
        && let Some(authority) = request.uri().authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(header::HOST, host);
    }
    authorization::reroute(&mut request);
    if let Some(path) = respelled(request.uri().path()) {
        let text = match request.uri().query() {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        if let Ok(path_and_query) = text.parse::<PathAndQuery>() {
            let mut parts = request.uri().clone().into_parts();
            parts.path_and_query = Some(path_and_query);
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
    }
    request
}

/// `None`: it is fine as it is.
fn respelled(path: &str) -> Option<String> {
    let bare = path.trim_start_matches('/');
    let mut segments: Vec<&str> = bare.split('/').collect();
    let in_group = segments.get(2).is_some_and(|word| word.eq_ignore_ascii_case("resourceGroups"));
    let fixed: &[usize] = match segments[0] {
        first if first.eq_ignore_ascii_case("providers") => &[0, 1, 2],
        // The doors of data: what is a name in them is the workspace, the rule and its stream.
        first if first.eq_ignore_ascii_case("dataCollectionRules") => &[0, 2],
        first if first.eq_ignore_ascii_case("v1") => &[0, 1, 3],
        first if !first.eq_ignore_ascii_case("subscriptions") => &[],
        _ if in_group => &[0, 2, 4, 5, 6, 8, 10],
        _ => &[0, 2, 3, 4, 6, 8],
    };
    for &at in fixed {
        if let Some(segment) = segments.get_mut(at)
            && let Some(word) = WORDS.iter().find(|word| word.eq_ignore_ascii_case(segment))
        {
            *segment = word;
        }
    }
    if segments.len() == 2 && segments[0] == "v1" && segments[1].eq_ignore_ascii_case("%24batch") {
        segments[1] = "$batch";
    }
    let path_now = format!("/{}", segments.join("/"));
    (path_now != path).then_some(path_now)
}

/// A subscription, or one of its resource groups.
#[derive(Debug, Deserialize)]
struct InGroup {
    subscription: String,
    group: Option<String>,
}

impl InGroup {
    fn holds(&self, subscription: &str, group: &str) -> bool {
        subscription.eq_ignore_ascii_case(&self.subscription) && self.group.as_ref().is_none_or(|own| group.eq_ignore_ascii_case(own))
    }
}

/// A resource.
#[derive(Debug, Deserialize)]
struct Named {
    subscription: String,
    group: String,
    name: String,
}

impl From<Named> for Place {
    fn from(named: Named) -> Self {
        Self { subscription: named.subscription, resource_group: named.group, name: named.name }
    }
}

/// Every answer names its request, the client's own name for it included.
pub(super) async fn request_ids(request: Request, next: Next) -> Response {
    let own = request.headers().get(CLIENT_REQUEST_ID).filter(|id| id.len() <= CLIENT_REQUEST_ID_MAX).cloned();
    let correlation = request.headers().get(CORRELATION_ID).filter(|id| id.len() <= CLIENT_REQUEST_ID_MAX).cloned();
    let mut response = next.run(request).await;
    let id = HeaderValue::from_str(&uuid::Uuid::now_v7().to_string()).expect("a GUID is visible ASCII");
    let headers = response.headers_mut();
    headers.insert(CORRELATION_ID, correlation.unwrap_or_else(|| id.clone()));
    headers.insert(REQUEST_ID, id);
    if let Some(own) = own {
        headers.insert(CLIENT_REQUEST_ID, own);
    }
    response
}

/// The resource as it stands, and where its change can be watched.
fn accepted(
    app: &App,
    version: &ApiVersion,
    headers: &HeaderMap,
    subscription: &str,
    body: Value,
    operation: Option<&OperationRow>,
) -> Response {
    let mut response = Json(body).into_response();
    if let Some(operation) = operation {
        *response.status_mut() = match app.site.clusters.rules().async_status {
            AsyncStatus::Auto if version.since(version::ACCEPTED) => StatusCode::ACCEPTED,
            AsyncStatus::Accepted => StatusCode::ACCEPTED,
            AsyncStatus::Auto | AsyncStatus::Ok => StatusCode::OK,
        };
        let url = format!("{}{}?api-version=2025-07-01", external_url(app, headers), operation_path(subscription, operation));
        if let Ok(url) = HeaderValue::from_str(&url) {
            response.headers_mut().insert(ASYNC_OPERATION, url);
        }
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(POLL_SECONDS));
    }
    response
}

fn operation_path(subscription: &str, operation: &OperationRow) -> String {
    format!("/subscriptions/{subscription}/providers/{INSIGHTS}/locations/{}/operationStatuses/{}", operation.region, operation.id)
}

/// `GET …/operationStatuses/{id}`.
async fn operation(
    State(app): State<App>,
    who: Who,
    _: ApiVersion,
    Path((subscription, region, id)): Path<(String, String, String)>,
) -> Result<Response, ApiError> {
    let absent = || ApiError::new(ErrorKind::NotFound, "ResourceNotFound", "There is no such operation, or it ended too long ago.");
    let id: ObjectId = id.parse().map_err(|_| absent())?;
    let row = app.site.clusters.operation(id).await.map_err(|error| control_error(&error))?.ok_or_else(absent)?;
    // Whoever may see what it changes.
    let at = ScopePath::of(&row.resource);
    if at.of_subscription() != ScopePath::subscription(&subscription) || !row.region.eq_ignore_ascii_case(&region) {
        return Err(absent());
    }
    let what = if row.resource.to_ascii_lowercase().contains("/clusters/") { action::CLUSTERS_READ } else { action::WORKSPACES_READ };
    if !who.0.sees(&at) {
        return Err(absent());
    }
    who.on(what, &at)?;
    let mut body = json!({
        "id": operation_path(&subscription, &row),
        "name": row.id,
        "status": operation_status(&row),
        "startTime": time(row.start_ms),
    });
    if let Some(percent) = app.site.clusters.progress(&row).await.map_err(|error| control_error(&error))? {
        body["percentComplete"] = percent.into();
    }
    if let Some(end_ms) = row.end_ms {
        body["endTime"] = time(end_ms).into();
    }
    if let Some(error) = &row.error {
        let mut told = json!({"code": error.code, "message": error.message});
        let details: Value = serde_json::from_str(&error.details).unwrap_or_default();
        if details.as_array().is_some_and(|details| !details.is_empty()) {
            told["details"] = details;
        }
        body["error"] = told;
    }
    let mut response = Json(body).into_response();
    if row.status == OperationStatus::InProgress {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(POLL_SECONDS));
    }
    Ok(response)
}

fn refused(refusal: Refusal) -> ApiError {
    control_error(&ControlError::Refused(refusal))
}

/// A time as these documents write it.
pub(super) fn time(unix_ms: i64) -> String {
    DateTime::from_timestamp_millis(unix_ms).map_or_else(|| unix_ms.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

#[cfg(test)]
mod tests;

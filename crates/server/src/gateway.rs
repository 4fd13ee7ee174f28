//! The doors: one port, one router, one file per door.
//!
//! A door reads the request, asks who it is, hands typed values to the room that does the work, and puts the answer
//! into its own envelope. Statuses are decided in [`error`] alone.

mod arm;
mod audit;
mod auth;
pub(crate) mod azure;
mod body;
mod clusters;
mod egress;
pub mod error;
mod functions;
mod ingest;
mod listen;
mod lockbox;
mod metadata;
mod ops;
mod query;
mod resources;
mod shred;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, patch, post};
use serde_json::json;
use strongroom_control::ControlError;
use strongroom_model::ErrorKind;

use tower::Layer;
use tower::util::MapRequestLayer;

use crate::wiring::Site;
use error::ApiError;
pub(crate) use listen::serve;

/// What every door holds.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) site: Arc<Site>,
    pub(crate) metrics: metrics_exporter_prometheus::PrometheusHandle,
}

/// Body limit of doors that take small JSON documents.
const SMALL_BODY: usize = 1 << 20;

/// All routes.
pub(crate) fn router(app: App) -> Router {
    let routes = Router::new()
        .route("/healthz", get(ops::healthz))
        .route("/readyz", get(ops::readyz))
        .route("/metrics", get(ops::metrics))
        .route("/v1/cache", get(ops::cache))
        .route("/v1/workspaces", get(resources::list_workspaces).post(resources::create_workspace))
        .route("/v1/workspaces/{workspace}", get(resources::show_workspace).patch(resources::update_workspace).delete(shred::delete))
        .route("/v1/workspaces/{workspace}/recover", post(shred::recover))
        .route("/v1/deleted-workspaces", get(shred::deleted))
        .route("/v1/workspaces/{workspace}/tables", get(resources::tables))
        .route("/v1/workspaces/{workspace}/metadata", get(metadata::show).post(metadata::azure))
        .route("/v1/workspaces/{workspace}/tables/{table}", patch(resources::update_table))
        .route("/v1/workspaces/{workspace}/tables/{table}/shred", post(shred::rows))
        .route("/v1/workspaces/{workspace}/functions", get(functions::list))
        .route("/v1/workspaces/{workspace}/functions/{function}", get(functions::show).put(functions::put).delete(functions::delete))
        .route("/v1/workspaces/{workspace}/ingest/{table}", post(ingest::ingest))
        .route("/v1/workspaces/{workspace}/flush", post(ingest::flush))
        .route("/v1/workspaces/{workspace}/compact", post(ingest::compact))
        .route("/v1/workspaces/{workspace}/query", get(query::by_parameters).post(query::by_body))
        .route("/v1/clusters", get(clusters::list))
        .route("/v1/clusters/{cluster}", get(clusters::show))
        .route("/v1/clusters/{cluster}/key", get(clusters::key))
        .route("/v1/clusters/{cluster}/key/release", post(clusters::release))
        .route("/v1/clusters/{cluster}/check", post(clusters::check))
        .route("/v1/clusters/{cluster}/evidence", get(audit::evidence))
        .route("/v1/audit", get(audit::read))
        .route("/v1/audit/verify", get(audit::verify))
        .route("/v1/lockbox", get(lockbox::list).post(lockbox::request))
        .route("/v1/lockbox/{request}", get(lockbox::show))
        .route("/v1/lockbox/{request}/approve", post(lockbox::approve))
        .route("/v1/lockbox/{request}/reject", post(lockbox::reject))
        .route("/v1/lockbox/{request}/end", post(lockbox::end))
        .route("/v1/clusters/{cluster}/rekey", get(clusters::rekey_status).post(clusters::rekey))
        .route("/v1/workspaces/{workspace}/reencrypt", get(clusters::reencrypt_status).post(clusters::reencrypt))
        .route("/v1/clusters/{cluster}/recover", post(clusters::recover))
        .route("/v1/clusters/{cluster}/restore-identity", post(clusters::restore_identity))
        .route("/v1/principals", get(resources::list_principals).post(resources::create_principal))
        .route("/v1/principals/{principal}", delete(resources::delete_principal))
        .merge(arm::routes())
        .merge(azure::routes())
        .fallback(any(no_route))
        .method_not_allowed_fallback(no_method)
        .layer(DefaultBodyLimit::max(SMALL_BODY))
        .layer(middleware::from_fn_with_state(app.clone(), audit::audited))
        .layer(middleware::from_fn_with_state(app.clone(), access_log))
        .with_state(app);
    // Around the routes and not within: a path is respelled before it is looked up.
    Router::new().fallback_service(MapRequestLayer::new(arm::canonical).layer(routes))
}

async fn no_route() -> ApiError {
    ApiError::new(ErrorKind::NotFound, "PathNotFoundError", "there is no such path here")
}

async fn no_method() -> ApiError {
    ApiError::new(ErrorKind::Invalid, "MethodNotAllowed", "this path does not take that method")
}

/// One line and two metrics per request: the route's template, never the path or the query string.
async fn access_log(State(app): State<App>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let method = request.method().clone();
    if app.site.is_stopping() && !matches!(route.as_str(), "/healthz" | "/metrics") {
        return ApiError::new(ErrorKind::Unavailable, "ShuttingDown", "the server is stopping; try again in a moment").into_response();
    }
    let start = Instant::now();
    let response = next.run(request).await;
    let (status, took) = (response.status().as_u16(), start.elapsed());
    metrics::counter!("server_requests_total", "route" => route.clone(), "status" => status.to_string()).increment(1);
    metrics::histogram!("server_request_seconds", "route" => route.clone()).record(took.as_secs_f64());
    tracing::debug!(%method, %route, status, ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX), "request");
    response
}

/// A control plane error in the native envelope.
pub(crate) fn control_error(error: &ControlError) -> ApiError {
    let told = ApiError::new(error.kind(), error.code(), error);
    match error.detail() {
        Some((code, message)) => told.detail(json!({"code": code, "message": message})),
        None => told,
    }
}

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
mod login;
mod metadata;
mod openapi;
mod ops;
mod personal;
mod principals;
mod query;
mod resources;
mod shred;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::handler::Handler as _;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, patch, post, put};
use serde_json::json;
use strongroom_control::ControlError;
use strongroom_model::ErrorKind;

use tower::Layer;
use tower::util::MapRequestLayer;

use crate::wiring::Site;
use arm::rule_place;
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
/// Bytes of a refusal of the router's.
const REFUSAL_MAX: usize = 16 << 10;

/// All routes, with nothing around them: what `openapi` describes, and what tests go through.
fn doors() -> Router<App> {
    Router::new()
        .route("/openapi.json", get(openapi::show))
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
        .route("/v1/workspaces/{workspace}/history", get(personal::history).post(personal::remember).delete(personal::forget))
        .route("/v1/workspaces/{workspace}/pins", get(personal::pins).post(personal::pin))
        .route("/v1/workspaces/{workspace}/pins/{pin}", delete(personal::unpin))
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
        .route("/v1/principals", get(principals::list).post(principals::create))
        .route("/v1/principals/{principal}", delete(principals::delete))
        .route("/v1/services", get(principals::services).post(principals::create_service))
        .route("/v1/services/{service}", get(principals::show_service).delete(principals::delete_service))
        .route("/v1/services/{service}/credentials", post(principals::add_credential))
        .route("/v1/services/{service}/credentials/{credential}", delete(principals::remove_credential))
        .route("/v1/roles", get(principals::roles))
        .route("/v1/signing-keys", get(principals::signing_keys).post(principals::rotate))
        .route("/v1/subscriptions", get(principals::subscriptions))
        .route("/v1/subscriptions/{subscription}", put(principals::put_subscription).delete(principals::delete_subscription))
        .route("/{tenant}/v2.0/.well-known/openid-configuration", get(login::discovery))
        .route("/{tenant}/.well-known/openid-configuration", get(login::discovery))
        .route("/{tenant}/oauth2/v2.0/token", post(login::token))
        .route("/{tenant}/oauth2/token", post(login::token))
        .route("/{tenant}/discovery/v2.0/keys", get(login::keys))
        .route("/{tenant}/discovery/keys", get(login::keys))
        .route("/common/discovery/instance", get(login::instance))
        .merge(arm::routes())
        .merge(azure::routes())
}

/// The router: every door, and what is around all of them.
pub(crate) fn router(app: App) -> Router {
    let routes = doors()
        .fallback(any(no_route.layer(middleware::from_fn(arm::request_ids))))
        .method_not_allowed_fallback(no_method.layer(middleware::from_fn(arm::request_ids)))
        .layer(DefaultBodyLimit::max(SMALL_BODY))
        .layer(middleware::from_fn_with_state(app.clone(), body::paced))
        .layer(middleware::from_fn(enveloped))
        .layer(middleware::from_fn_with_state(app.clone(), audit::audited))
        .layer(middleware::from_fn_with_state(app.clone(), challenge))
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

/// What the router itself refuses (a path or parameters that are not read, a body of another type or size) it says in plain text: here
/// it is said as everything else is.
async fn enveloped(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let plain = response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/plain"));
    if !plain || !response.status().is_client_error() {
        return response;
    }
    let (kind, code) = match response.status() {
        StatusCode::PAYLOAD_TOO_LARGE => (ErrorKind::TooLarge, "RequestTooLarge"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => (ErrorKind::Unsupported, "UnsupportedMediaType"),
        StatusCode::UNPROCESSABLE_ENTITY => (ErrorKind::Invalid, "InvalidRequestContent"),
        _ => (ErrorKind::Invalid, "BadRequest"),
    };
    let why = to_bytes(response.into_body(), REFUSAL_MAX).await.unwrap_or_default();
    ApiError::new(kind, code, String::from_utf8_lossy(&why)).into_response()
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

/// Where this server is reached from outside: as configured, else as this request found it.
pub(crate) fn external_url(app: &App, headers: &HeaderMap) -> String {
    let config = &app.site.config;
    let set = config.gateway.external_url.trim_end_matches('/');
    if !set.is_empty() {
        return set.to_owned();
    }
    let scheme = if config.tls.enabled { "https" } else { "http" };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    host.map_or_else(|| format!("{scheme}://{}", config.listen), |host| format!("{scheme}://{host}"))
}

/// Whoever is not known is told where to log in (RFC 6750 §3), as Azure's clients expect it.
async fn challenge(State(app): State<App>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).cloned();
    let had_token = request.headers().contains_key(header::AUTHORIZATION);
    let mut response = next.run(request).await;
    let untold = response.headers().get(header::WWW_AUTHENTICATE).is_some_and(|value| value == "Bearer");
    if response.status() == StatusCode::UNAUTHORIZED && untold {
        let mut named = HeaderMap::new();
        named.extend(host.map(|host| (header::HOST, host)));
        let (base, tenant) = (external_url(&app, &named), app.site.identity.directory.tenant());
        let mut told = format!("Bearer authorization_uri=\"{base}/{tenant}\"");
        if had_token {
            told.push_str(", error=\"invalid_token\", error_description=\"The access token is not valid or has expired.\"");
        }
        if let Ok(told) = HeaderValue::from_str(&told) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, told);
        }
    }
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

#[cfg(test)]
mod matrix;

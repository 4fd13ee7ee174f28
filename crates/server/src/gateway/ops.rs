//! Health, readiness, metrics, cache figures.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::App;
use super::auth::Who;
use super::error::ApiError;

pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

pub(crate) async fn readyz(State(app): State<App>) -> Response {
    match app.site.unready() {
        None => (StatusCode::OK, "ready\n").into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

pub(crate) async fn metrics(State(app): State<App>) -> Response {
    app.site.watch.observe();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.render()).into_response()
}

pub(crate) async fn cache(State(app): State<App>, who: Who) -> Result<Json<Value>, ApiError> {
    who.allow(&app, strongroom_control::action::CACHE_READ)?;
    let stats = app.site.blocks.cache().stats();
    let sum = |figure: fn(&strongroom_store::CacheStats) -> u64| stats.iter().map(figure).sum::<u64>();
    Ok(Json(json!({
        "entries": sum(|one| one.entries),
        "bytes": sum(|one| one.bytes),
        "hits": sum(|one| one.hits),
        "misses": sum(|one| one.misses),
        "fetchedBytes": sum(|one| one.fetched_bytes),
        "workspaces": stats.iter().map(|one| json!({
            "workspace": one.workspace,
            "entries": one.entries,
            "bytes": one.bytes,
            "hits": one.hits,
            "misses": one.misses,
            "fetchedBytes": one.fetched_bytes,
        })).collect::<Vec<_>>(),
    })))
}

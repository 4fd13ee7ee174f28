//! `POST …/workspaces/{name}/sharedKeys` and `regenerateSharedKey`: what senders sign with that know no tokens.

use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::json;
use strongroom_control::{SharedKeyPair, action};

use super::super::auth::Who;
use super::super::error::ApiError;
use super::super::{App, control_error};
use super::workspaces::workspace;
use super::{ApiVersion, INSIGHTS, Named};

/// The routes.
pub(super) fn routes() -> Router<App> {
    let of =
        |rest: &str| format!("/subscriptions/{{subscription}}/resourceGroups/{{group}}/providers/{INSIGHTS}/workspaces/{{name}}/{rest}");
    Router::new().route(&of("sharedKeys"), post(show)).route(&of("regenerateSharedKey"), post(regenerate))
}

async fn show(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>) -> Result<Response, ApiError> {
    let row = workspace(&app, &who, &named.into(), action::SHARED_KEYS).await?;
    app.site.shared_keys.get(row.id).await.map(|pair| page(&pair)).map_err(|error| control_error(&error))
}

async fn regenerate(State(app): State<App>, who: Who, _: ApiVersion, Path(named): Path<Named>) -> Result<Response, ApiError> {
    let row = workspace(&app, &who, &named.into(), action::SHARED_KEYS).await?;
    app.site.shared_keys.regenerate(row.id).await.map(|pair| page(&pair)).map_err(|error| control_error(&error))
}

fn page(pair: &SharedKeyPair) -> Response {
    let body = json!({"primarySharedKey": *pair.primary, "secondarySharedKey": *pair.secondary});
    ([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(body)).into_response()
}

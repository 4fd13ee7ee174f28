//! Who asks: a bearer token becomes a caller, or nothing does.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use strongroom_control::{Caller, ControlError, action};
use strongroom_model::{ErrorKind, WorkspaceId};

use super::error::ApiError;
use super::{App, control_error};

/// An authenticated caller, taken from `Authorization: Bearer …`.
#[derive(Debug)]
pub(crate) struct Who(pub(crate) Caller);

impl FromRequestParts<App> for Who {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let token = bearer(&parts.headers)?;
        app.site.principals.authenticate(token).await.map(Who).map_err(|error| control_error(&error))
    }
}

/// The token of a request.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or_else(|| unauthenticated("the header Authorization: Bearer TOKEN is missing"))?;
    if values.next().is_some() {
        return Err(unauthenticated("there is more than one Authorization header"));
    }
    let (scheme, token) = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .ok_or_else(|| unauthenticated("the Authorization header is not of the form Bearer TOKEN"))?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(unauthenticated("only the Bearer scheme is known here"));
    }
    Ok(token.trim())
}

fn unauthenticated(message: &str) -> ApiError {
    ApiError::new(ErrorKind::Unauthenticated, "AuthenticationFailed", message)
}

/// The workspace that `name` means to a caller, if it may ask questions there; see [`Who::questions`].
pub(super) async fn questions(app: &App, caller: &Caller, name: &str) -> Result<WorkspaceId, ControlError> {
    let own = caller.role.allows(action::QUERY) || !caller.role.allows(action::QUERY_APPROVED);
    let action = if own { action::QUERY } else { action::QUERY_APPROVED };
    app.site.workspaces.resolve(caller, name, action).await.map(|row| row.id)
}

impl Who {
    /// The workspace that `name` (a GUID or a name) means to this caller, if it may do `action` there.
    /// One that is absent and one that is another's look alike.
    pub(crate) async fn workspace(&self, app: &App, name: &str, action: &str) -> Result<WorkspaceId, ApiError> {
        app.site.workspaces.resolve(&self.0, name, action).await.map(|row| row.id).map_err(|error| control_error(&error))
    }

    /// The workspace that `name` means to this caller, if it may ask questions there: by its own right, or as far as the customer
    /// approved, which is for whoever gives the keys to say, table by table.
    pub(crate) async fn questions(&self, app: &App, name: &str) -> Result<WorkspaceId, ApiError> {
        questions(app, &self.0, name).await.map_err(|error| control_error(&error))
    }

    /// Refuses unless the caller may do `action` on everything.
    pub(crate) fn allow(&self, app: &App, action: &str) -> Result<(), ApiError> {
        app.site.roles.authorize(&self.0, action, None).map_err(|error| control_error(&error))
    }
}

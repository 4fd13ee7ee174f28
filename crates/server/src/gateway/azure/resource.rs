//! Questions to a workspace by its resource id: `/v1/subscriptions/…/workspaces/{name}/query`, whatever the case of its words.

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use strongroom_model::{ErrorKind, WorkspaceId};

use super::super::auth::{Who, path_error};
use super::super::error::ApiError;
use super::super::query::{Question, QuestionInUrl, UrlTimespan, answer, workspace_named};
use super::super::{App, SMALL_BODY, body};

pub(in super::super) async fn by_parameters(
    State(app): State<App>,
    who: Who,
    Path((subscription, resource)): Path<(String, String)>,
    question: Result<Query<QuestionInUrl>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let workspace = workspace(&app, &who, &format!("{subscription}/{resource}")).await?;
    answer(&app, &who, workspace, Question::of_url(question)?, None, &headers).await
}

pub(in super::super) async fn by_body(
    State(app): State<App>,
    who: Who,
    Path((subscription, resource)): Path<(String, String)>,
    Query(parameters): Query<UrlTimespan>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    // Who may not ask here is told so before what was sent is looked at.
    let workspace = workspace(&app, &who, &format!("{subscription}/{resource}")).await?;
    let question = Question::of_body(&body::read(body, SMALL_BODY).await?)?;
    answer(&app, &who, workspace, question, parameters.timespan, &headers).await
}

/// The workspace of a path that goes on behind `/v1/subscriptions/`.
async fn workspace(app: &App, who: &Who, resource: &str) -> Result<WorkspaceId, ApiError> {
    let (path, verb) = resource.trim_end_matches('/').rsplit_once('/').unwrap_or(("", resource));
    if !verb.eq_ignore_ascii_case("query") {
        return Err(ApiError::new(ErrorKind::NotFound, "PathNotFoundError", "there is no such path here"));
    }
    of_resource(app, who, &format!("/subscriptions/{path}")).await
}

/// The workspace that a resource id, a name or an id means, in the words of this door.
pub(super) async fn of_resource(app: &App, who: &Who, name: &str) -> Result<WorkspaceId, ApiError> {
    workspace_named(app, &who.0, name).await.map_err(|error| path_error(&error))
}

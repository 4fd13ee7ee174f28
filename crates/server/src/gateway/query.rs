//! The query door: a text in, an answer in the shape the caller accepts.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use strongroom_model::{ErrorKind, TimeRange};
use strongroom_query::output::{self, JsonOptions};
use strongroom_query::{Language, Limits, QueryError, QueryRequest};

use super::auth::Who;
use super::error::ApiError;
use super::{App, SMALL_BODY, body, egress};
use crate::timespan;

/// The body of a query; Azure's clients send nulls explicitly.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    query: String,
    #[serde(default)]
    language: Option<Language>,
    #[serde(default)]
    timespan: Option<String>,
    #[serde(default)]
    explain: Option<bool>,
    #[serde(default)]
    workspaces: Option<Vec<String>>,
}

/// What an answer looks like on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Json,
    NdJson,
    Csv,
    Arrow,
}

pub(crate) async fn by_parameters(
    State(app): State<App>,
    who: Who,
    Path(workspace): Path<String>,
    question: Result<Query<Question>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Query(question) = question
        .map_err(|_| ApiError::new(ErrorKind::Invalid, "BadArgumentError", "the parameters are query, language, timespan and explain"))?;
    answer(&app, &who, &workspace, question, None, &headers).await
}

pub(crate) async fn by_body(
    State(app): State<App>,
    who: Who,
    Path(workspace): Path<String>,
    Query(parameters): Query<UrlTimespan>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let bytes = body::read(body, SMALL_BODY, &app.site.config.gateway).await?;
    let question: Question = serde_json::from_slice(&bytes).map_err(|error| {
        ApiError::new(
            ErrorKind::Invalid,
            "BadArgumentError",
            format!("the body is not {{\"query\": \"…\"}}: {error}", error = plain(&error)),
        )
    })?;
    answer(&app, &who, &workspace, question, parameters.timespan, &headers).await
}

/// A timespan may stand in the URL and in the body: both hold.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct UrlTimespan {
    timespan: Option<String>,
}

/// Where a JSON document is wrong, without quoting it.
fn plain(error: &serde_json::Error) -> String {
    match error.classify() {
        serde_json::error::Category::Data => format!("{error}"),
        _ => format!("not JSON at line {} column {}", error.line(), error.column()),
    }
}

async fn answer(
    app: &App,
    who: &Who,
    workspace: &str,
    question: Question,
    url_timespan: Option<String>,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let shape = accepted(headers)?;
    let workspace = who.workspace(app, workspace, "workspaces/query/action").await?;
    if question.workspaces.is_some_and(|others| !others.is_empty()) {
        return Err(ApiError::new(ErrorKind::Invalid, "BadArgumentError", "queries over several workspaces are not taken here yet")
            .target("workspaces"));
    }
    let prefer = Preferences::read(headers)?;
    let now = app.site.world.clock.wall().0;
    let mut span: Option<TimeRange> = None;
    for text in [question.timespan.as_deref(), url_timespan.as_deref()].into_iter().flatten() {
        let parsed = timespan::parse(text, now)
            .map_err(|message| ApiError::new(ErrorKind::Invalid, "BadArgumentError", message).target("timespan"))?;
        span = Some(span.map_or(parsed, |before| before.intersect(&parsed).unwrap_or(TimeRange { start: 1, end: 0 })));
    }
    let request = QueryRequest {
        workspace,
        principal: who.0.principal,
        text: question.query,
        language: question.language.unwrap_or_default(),
        timespan: span,
        limits: Limits { time: prefer.wait, ..Limits::default() },
        explain: question.explain.unwrap_or(false),
    };
    let answer = app.site.engine.run(request).await.map_err(|error| query_error(&error))?;
    let egress = answer.egress.clone();
    let (media_type, body) = match shape {
        Shape::Json => {
            let options = JsonOptions { statistics: prefer.statistics, render: prefer.render, ..JsonOptions::default() };
            let whole = output::json(answer, options).await.map_err(|error| query_error(&error))?;
            ("application/json", egress::guarded(egress, futures::stream::once(async { Ok(whole.into()) })))
        }
        Shape::NdJson => ("application/x-ndjson", egress::guarded(egress, output::ndjson(answer))),
        Shape::Csv => ("text/csv; charset=utf-8; header=present", egress::guarded(egress, output::csv(answer))),
        Shape::Arrow => ("application/vnd.apache.arrow.stream", egress::guarded(egress, output::arrow_ipc(answer))),
    };
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static(media_type))], body).into_response())
}

/// A query's error with its place in the text.
pub(crate) fn query_error(error: &QueryError) -> ApiError {
    let mut api = ApiError::new(error.kind(), error.code(), error.message());
    if let Some(inner) = error.innererror() {
        api = api.inner(inner);
    }
    if let Some(block) = error.block() {
        api = api.target(format!("block {block}"));
    }
    api
}

fn accepted(headers: &HeaderMap) -> Result<Shape, ApiError> {
    let mut any = false;
    for value in headers.get_all(header::ACCEPT) {
        for one in value.to_str().unwrap_or_default().split(',') {
            let media_type = one.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            match media_type.as_str() {
                "" => {}
                "application/json" | "*/*" | "application/*" => return Ok(Shape::Json),
                "application/x-ndjson" | "application/jsonlines" => return Ok(Shape::NdJson),
                "text/csv" | "text/*" => return Ok(Shape::Csv),
                "application/vnd.apache.arrow.stream" => return Ok(Shape::Arrow),
                _ => any = true,
            }
        }
    }
    if any {
        return Err(ApiError::new(
            ErrorKind::Unsupported,
            "UnsupportedMediaType",
            "answers come as application/json, application/x-ndjson, text/csv or application/vnd.apache.arrow.stream",
        )
        .target("accept"));
    }
    Ok(Shape::Json)
}

/// `Prefer: wait=600,include-statistics=true,include-render=true`; what is not known there is ignored (RFC 7240 §2).
#[derive(Debug, Default)]
struct Preferences {
    wait: Option<Duration>,
    statistics: bool,
    render: bool,
}

impl Preferences {
    fn read(headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut found = Self::default();
        for value in headers.get_all("prefer") {
            for one in value.to_str().unwrap_or_default().split([',', ';']) {
                let (name, value) = one.trim().split_once('=').unwrap_or((one.trim(), ""));
                match name.to_ascii_lowercase().as_str() {
                    "wait" => {
                        let seconds = value.parse::<u64>().map_err(|_| {
                            ApiError::new(ErrorKind::Invalid, "BadArgumentError", "Prefer: wait takes seconds").target("prefer")
                        })?;
                        found.wait = Some(Duration::from_secs(seconds));
                    }
                    "include-statistics" => found.statistics = value.eq_ignore_ascii_case("true"),
                    "include-render" => found.render = value.eq_ignore_ascii_case("true"),
                    _ => {}
                }
            }
        }
        Ok(found)
    }
}

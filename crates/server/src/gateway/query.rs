//! The query door: a text in, an answer in the shape the caller accepts.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use http_body_util::StreamBody;
use hyper::body::Frame;
use parking_lot::Mutex;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};
use strongroom_control::audit::AskedQuery;
use strongroom_control::{Caller, ControlError, Place, action};
use strongroom_model::{ErrorKind, TimeRange, WorkspaceId};
use strongroom_query::output::{self, JsonOptions};
use strongroom_query::{Answer, Egress, Language, Limits, Neighbours, QueryError, QueryRequest};

use super::auth::Who;
use super::azure::{Late, RequestName};
use super::error::ApiError;
use super::{App, SMALL_BODY, body, control_error, egress};
use crate::timespan;

/// The body of a query; Azure's clients send nulls explicitly.
#[derive(Debug, Default, Deserialize)]
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
    #[serde(default)]
    parameters: Option<Map<String, Value>>,
    // What Azure's portal and dashboards send along; nothing here goes by it.
    #[serde(default, rename = "options")]
    _options: IgnoredAny,
    #[serde(default, rename = "workspaceFilters")]
    _workspace_filters: IgnoredAny,
    #[serde(default, rename = "applications")]
    _applications: IgnoredAny,
    #[serde(default, rename = "maxRows")]
    _max_rows: IgnoredAny,
}

/// Finds the workspaces that a question's text names, for who asks it; remembers which.
#[derive(Debug)]
struct Others {
    app: App,
    caller: Caller,
    /// Those asked along, by their ids.
    beside: Vec<String>,
    asked: Mutex<Vec<WorkspaceId>>,
}

#[async_trait]
impl Neighbours for Others {
    async fn find(&self, name: &str) -> Result<Option<WorkspaceId>, QueryError> {
        match workspace_named(&self.app, &self.caller, name).await {
            Ok(workspace) => {
                self.asked.lock().push(workspace);
                Ok(Some(workspace))
            }
            // What is absent and what is not the caller's to ask look alike.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Forbidden) => Ok(None),
            Err(error) => Err(QueryError::new(error.kind(), error.code(), error.to_string())),
        }
    }

    fn beside(&self) -> &[String] {
        &self.beside
    }
}

/// The workspace that a name, an id or a resource id means to a caller who may ask questions there.
pub(super) async fn workspace_named(app: &App, caller: &Caller, name: &str) -> Result<WorkspaceId, ControlError> {
    let Some(place) = Place::read_workspace_path(name) else { return super::auth::questions(app, caller, name).await };
    let row = app.site.workspaces.at(caller, &place, action::WORKSPACES_READ).await;
    let id = match row {
        Ok(row) => row.id,
        // Who may not look at workspaces may ask one all the same; which it is, the next step says.
        Err(ControlError::Forbidden { .. }) => app.site.workspaces.at(caller, &place, action::QUERY).await?.id,
        Err(error) => return Err(error),
    };
    super::auth::questions(app, caller, &id.to_string()).await
}

/// What an answer looks like on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Json,
    NdJson,
    Csv,
    Arrow,
}

/// The parameters of a question in a URL.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct QuestionInUrl {
    query: String,
    #[serde(default)]
    language: Option<Language>,
    #[serde(default)]
    timespan: Option<String>,
    #[serde(default)]
    explain: Option<bool>,
    /// Names, with commas between them.
    #[serde(default)]
    workspaces: Option<String>,
    #[serde(default, rename = "api-version")]
    _api_version: IgnoredAny,
}

impl Question {
    /// # Errors
    /// 400 for parameters that are none of a question's.
    pub(super) fn of_url(question: Result<Query<QuestionInUrl>, axum::extract::rejection::QueryRejection>) -> Result<Self, ApiError> {
        let Query(QuestionInUrl { query, language, timespan, explain, workspaces, .. }) = question.map_err(|_| {
            let text = "the parameters are query, language, timespan, workspaces and explain";
            ApiError::new(ErrorKind::Invalid, "BadArgumentError", text)
        })?;
        let names = |text: String| text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Ok(Self { query, language, timespan, explain, workspaces: workspaces.map(names), ..Self::default() })
    }

    /// # Errors
    /// 400 for a body that is none of a question's.
    pub(super) fn of_body(bytes: &[u8]) -> Result<Self, ApiError> {
        let wrong =
            |why: &str| ApiError::new(ErrorKind::Invalid, "BadArgumentError", format!("the body is not {{\"query\": \"…\"}}: {why}"));
        // Serde would take an array of the fields in their order, too.
        if matches!(bytes.trim_ascii_start().first(), Some(first) if *first != b'{') {
            return Err(wrong("it must be a JSON object"));
        }
        serde_json::from_slice(bytes).map_err(|error| wrong(&plain(&error)))
    }

    /// What a client calls this question, if it calls it something; see [`Late`].
    fn name(&self, id: Option<&[u8]>, who: &Who, workspace: WorkspaceId, url_timespan: Option<&str>) -> Option<RequestName> {
        let more =
            json!([self.language == Some(Language::Sql), self.timespan, url_timespan, self.explain, self.workspaces, self.parameters]);
        Late::name(id, who.0.principal, workspace, &[&self.query, &more.to_string()])
    }

    /// A question in KQL.
    pub(super) fn kql(query: String, parameters: Map<String, Value>) -> Self {
        Self { query, parameters: Some(parameters), ..Self::default() }
    }
}

pub(crate) async fn by_parameters(
    State(app): State<App>,
    who: Who,
    Path(workspace): Path<String>,
    question: Result<Query<QuestionInUrl>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let workspace = who.questions(&app, &workspace).await?;
    answer(&app, &who, workspace, Question::of_url(question)?, None, &headers).await
}

pub(crate) async fn by_body(
    State(app): State<App>,
    who: Who,
    Path(workspace): Path<String>,
    Query(parameters): Query<UrlTimespan>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    // Who may not ask here is told so before what was sent is looked at.
    let workspace = who.questions(&app, &workspace).await?;
    let question = Question::of_body(&body::read(body, SMALL_BODY).await?)?;
    answer(&app, &who, workspace, question, parameters.timespan, &headers).await
}

/// A timespan may stand in the URL and in the body: both hold.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct UrlTimespan {
    pub(super) timespan: Option<String>,
}

/// Where a JSON document is wrong, without quoting it.
fn plain(error: &serde_json::Error) -> String {
    match error.classify() {
        serde_json::error::Category::Data => format!("{error}"),
        _ => format!("not JSON at line {} column {}", error.line(), error.column()),
    }
}

/// A question on its way: whose tables, what about, and how it is to be answered.
pub(super) struct Asking<'a> {
    pub(super) workspace: WorkspaceId,
    pub(super) question: Question,
    /// The timespan in the URL.
    pub(super) url_timespan: Option<String>,
    pub(super) prefer: &'a Preferences,
    /// What the client calls the request, if it does.
    pub(super) request: Option<&'a [u8]>,
    /// Bytes of the answer in memory, if they are to be fewer than the engine's.
    pub(super) bytes_max: Option<u64>,
}

/// A question's answer, before it is read.
pub(super) struct Asked {
    pub(super) answer: Answer,
    /// The workspaces that were asked beside the first.
    pub(super) others: Vec<WorkspaceId>,
    /// What is remembered if it takes too long.
    pub(super) late: Option<RequestName>,
}

/// Asks.
pub(super) async fn ask(app: &App, who: &Who, asking: Asking<'_>) -> Result<Asked, ApiError> {
    let Asking { workspace, question, url_timespan, prefer, request, bytes_max } = asking;
    let (world, doors) = (&app.site.world, &app.site.config.doors);
    let late = question.name(request, who, workspace, url_timespan.as_deref());
    if late.is_some_and(|name| app.site.late.knows(name, world.clock.boot(), Duration::from_millis(doors.timed_out_query_ms))) {
        let text = "the query took too long a moment ago and is not run again; narrow the time range or ask for less";
        return Err(ApiError::new(ErrorKind::TimedOut, "QueryTimeout", text));
    }
    let now = world.clock.wall().0;
    let mut span: Option<TimeRange> = None;
    for text in [question.timespan.as_deref(), url_timespan.as_deref()].into_iter().flatten() {
        let parsed = timespan::parse(text, now)
            .map_err(|message| ApiError::new(ErrorKind::Invalid, "BadArgumentError", message).target("timespan"))?;
        span = Some(span.map_or(parsed, |before| before.intersect(&parsed).unwrap_or(TimeRange { start: 1, end: 0 })));
    }
    let beside = beside(app, who, workspace, question.workspaces.unwrap_or_default()).await?;
    let others = Arc::new(Others { app: app.clone(), caller: who.0.clone(), beside, asked: Mutex::default() });
    let request = QueryRequest {
        workspace,
        principal: who.0.principal,
        text: question.query,
        language: question.language.unwrap_or_default(),
        timespan: span,
        limits: Limits { time: prefer.wait, bytes: bytes_max, ..Limits::default() },
        explain: question.explain.unwrap_or(false),
        parameters: question.parameters.unwrap_or_default(),
        neighbours: Some(Arc::clone(&others) as Arc<dyn Neighbours>),
    };
    let told = app.site.audit.wants_queries().then(|| (request.text.clone(), request.language, std::time::Instant::now()));
    let answer = app.site.engine.run(request).await;
    let mut asked = std::mem::take(&mut *others.asked.lock());
    asked.retain(|other| *other != workspace);
    asked.sort_unstable();
    asked.dedup();
    if let Some((text, language, begun)) = told {
        // In the records of every workspace that was asked.
        for other in std::iter::once(workspace).chain(asked.iter().copied()) {
            write_down(app, who, other, (text.clone(), language), begun, answer.as_ref());
        }
    }
    match answer {
        Ok(answer) => Ok(Asked { answer, others: asked, late }),
        Err(error) => Err(failed(app, late, &error)),
    }
}

/// A question's error in Azure's envelope. One that took too long is remembered.
pub(super) fn failed(app: &App, late: Option<RequestName>, error: &QueryError) -> ApiError {
    if let Some(name) = late.filter(|_| error.kind() == ErrorKind::TimedOut) {
        app.site.late.remember(name, app.site.world.clock.boot());
    }
    let Some(inner) = error.innererror() else { return query_error(error) };
    let told = ApiError::new(error.kind(), "BadArgumentError", "The request had some invalid properties").inner(inner);
    error.details().into_iter().fold(told, ApiError::detail)
}

/// The ids of the workspaces that are asked along with the first, each once.
async fn beside(app: &App, who: &Who, first: WorkspaceId, names: Vec<String>) -> Result<Vec<String>, ApiError> {
    let mut found: Vec<WorkspaceId> = Vec::new();
    for name in names {
        let id = workspace_named(app, &who.0, name.trim()).await.map_err(|error| match error.kind() {
            // What is absent and what is not the caller's to ask look alike.
            ErrorKind::NotFound | ErrorKind::Forbidden => {
                let text = format!("there is no workspace {name} that you may ask");
                ApiError::new(ErrorKind::Invalid, "FailedToResolveResource", text).target("workspaces")
            }
            _ => control_error(&error),
        })?;
        if id != first && !found.contains(&id) {
            found.push(id);
        }
    }
    Ok(found.iter().map(ToString::to_string).collect())
}

/// A whole answer as JSON, with what was asked to stand beside it.
pub(super) async fn whole(
    app: &App,
    answer: Answer,
    workspaces: &[WorkspaceId],
    prefer: &Preferences,
    late: Option<RequestName>,
    bytes_max: Option<u64>,
) -> Result<Bytes, ApiError> {
    let all = JsonOptions::default();
    let bytes_max = bytes_max.and_then(|bytes| usize::try_from(bytes).ok()).map_or(all.bytes_max, |bytes| bytes.min(all.bytes_max));
    let options = JsonOptions { statistics: prefer.statistics, render: prefer.render, bytes_max };
    let whole = output::json(answer, options).await.map_err(|error| failed(app, late, &error))?;
    if !prefer.sources {
        return Ok(whole);
    }
    let mut sources = Vec::with_capacity(workspaces.len());
    for id in workspaces {
        if let Some(row) = app.site.catalog.workspace(*id).await.map_err(|error| control_error(&error.into()))? {
            sources.push(json!({"resourceId": Place::of_workspace(&row).workspace_path(), "region": row.region}));
        }
    }
    let mut out = Vec::with_capacity(whole.len() + 256);
    out.extend_from_slice(whole.strip_suffix(b"}").unwrap_or(&whole));
    out.extend_from_slice(b",\"dataSources\":");
    out.extend_from_slice(Value::from(sources).to_string().as_bytes());
    out.push(b'}');
    Ok(out.into())
}

/// What the client calls its request.
pub(super) fn request_id(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get("x-ms-client-request-id").map(HeaderValue::as_bytes)
}

pub(super) async fn answer(
    app: &App,
    who: &Who,
    workspace: WorkspaceId,
    question: Question,
    url_timespan: Option<String>,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let shape = accepted(headers)?;
    let prefer = Preferences::read(headers);
    let request = request_id(headers);
    let asking = Asking { workspace, question, url_timespan, prefer: &prefer, request, bytes_max: None };
    let Asked { answer, others, late } = ask(app, who, asking).await?;
    let egress = answer.egress.clone();
    // A complete answer says how long it is: one that breaks off is seen to, and simple clients need not join chunks.
    let mut length = None;
    let (media_type, body) = match shape {
        Shape::Json => {
            let workspaces: Vec<WorkspaceId> = std::iter::once(workspace).chain(others).collect();
            let whole = whole(app, answer, &workspaces, &prefer, late, None).await?;
            length = Some(HeaderValue::from(whole.len()));
            ("application/json", egress::guarded(egress, futures::stream::once(async { Ok(whole) })))
        }
        Shape::NdJson => ("application/x-ndjson", streamed(egress, output::ndjson(answer), headers)),
        Shape::Csv => ("text/csv; charset=utf-8; header=present", streamed(egress, output::csv(answer), headers)),
        Shape::Arrow => ("application/vnd.apache.arrow.stream", streamed(egress, output::arrow_ipc(answer), headers)),
    };
    let mut response = ([(header::CONTENT_TYPE, HeaderValue::from_static(media_type))], body).into_response();
    if let Some(length) = length {
        response.headers_mut().insert(header::CONTENT_LENGTH, length);
    } else if takes_trailers(headers) {
        response.headers_mut().insert(header::TRAILER, HeaderValue::from_static(ERROR_TRAILER));
    }
    Ok(response)
}

/// For the audit chain, if queries are written down. Rows and bytes are those read until the answer begins.
fn write_down(
    app: &App,
    who: &Who,
    workspace: WorkspaceId,
    (text, language): (String, Language),
    begun: std::time::Instant,
    answer: Result<&Answer, &QueryError>,
) {
    let stats = answer.as_ref().ok().map(|answer| &answer.stats);
    let asked = AskedQuery {
        principal: who.0.principal,
        workspace,
        text,
        language: if language == Language::Sql { "sql" } else { "kql" },
        code: answer.map_or_else(QueryError::code, |_| "ok"),
        took: begun.elapsed(),
        rows: stats.map(|stats| stats.rows()),
        bytes: stats.map(|stats| stats.bytes_read()),
    };
    app.site.audit.query(&app.site.keys, asked);
}

/// The trailer that says why a streamed answer is not whole: `Code: sentence`.
const ERROR_TRAILER: &str = "x-error";

/// A stream that fails breaks the connection, so that nobody takes a part for the whole. A client that says it reads
/// trailers (`TE: trailers`, RFC 9110 §6.5.1) is told the reason there instead.
fn streamed(egress: Egress, stream: output::ByteStream, headers: &HeaderMap) -> Body {
    if !takes_trailers(headers) {
        return egress::guarded(egress, stream);
    }
    Body::new(StreamBody::new(egress::pieces(egress, stream).map(|next| {
        Ok::<_, std::convert::Infallible>(match next {
            Ok(bytes) => Frame::data(bytes),
            Err(error) => {
                let said = format!("{}: {}", error.code(), error.message()).replace(|c: char| c.is_control(), " ");
                let value = HeaderValue::from_bytes(said.as_bytes()).unwrap_or(HeaderValue::from_static("InternalError"));
                Frame::trailers(HeaderMap::from_iter([(HeaderName::from_static(ERROR_TRAILER), value)]))
            }
        })
    })))
}

fn takes_trailers(headers: &HeaderMap) -> bool {
    let mut offers = headers.get_all(header::TE).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    offers.any(|offer| offer.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case("trailers")))
}

/// A query's error with its place in the text.
pub(crate) fn query_error(error: &QueryError) -> ApiError {
    let mut api = ApiError::new(error.kind(), error.code(), error.message());
    if let Some(inner) = error.innererror() {
        api = api.inner(inner);
    }
    for detail in error.details() {
        api = api.detail(detail);
    }
    if let Some(block) = error.block() {
        api = api.target(format!("block {block}"));
    }
    api
}

/// The shape the client likes best (RFC 9110 §12.5.1); the order here decides between equals.
fn accepted(headers: &HeaderMap) -> Result<Shape, ApiError> {
    const SHAPES: [(Shape, &[&str]); 4] = [
        (Shape::Json, &["application/json"]),
        (Shape::NdJson, &["application/x-ndjson", "application/jsonlines"]),
        (Shape::Csv, &["text/csv"]),
        (Shape::Arrow, &["application/vnd.apache.arrow.stream"]),
    ];
    let offers: Vec<(String, f32)> = headers
        .get_all(header::ACCEPT)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or_default().split(','))
        .filter_map(|one| {
            let mut parts = one.split(';').map(|part| part.trim().to_ascii_lowercase());
            let range = parts.next().filter(|range| !range.is_empty())?;
            let weight = parts.find_map(|parameter| parameter.strip_prefix("q=").map(|q| q.parse().unwrap_or(0.0)));
            Some((range, weight.unwrap_or(1.0)))
        })
        .collect();
    if offers.is_empty() {
        return Ok(Shape::Json);
    }
    // The most specific range that names a type decides for it, so `*/*;q=0.1` does not undo `text/csv`.
    let weight = |names: &[&str]| {
        let of = |name: &str| {
            let group = format!("{}/*", name.split('/').next().unwrap_or_default());
            let found = [name, &group, "*/*"].into_iter().find_map(|range| offers.iter().find(|(offer, _)| offer == range));
            found.map_or(0.0, |(_, weight)| *weight)
        };
        names.iter().map(|name| of(name)).fold(0.0, f32::max)
    };
    let best = SHAPES.iter().rev().map(|(shape, names)| (*shape, weight(names))).max_by(|a, b| a.1.total_cmp(&b.1));
    match best {
        Some((shape, weight)) if weight > 0.0 => Ok(shape),
        _ => Err(ApiError::new(
            ErrorKind::Unsupported,
            "NotAcceptable",
            "answers come as application/json, application/x-ndjson, text/csv or application/vnd.apache.arrow.stream",
        )
        .target("accept")),
    }
}

/// `Prefer: wait=600,include-statistics=true,include-render=true`; what is not known there is ignored (RFC 7240 §2).
#[derive(Debug, Default)]
pub(super) struct Preferences {
    pub(super) wait: Option<Duration>,
    statistics: bool,
    render: bool,
    sources: bool,
}

impl Preferences {
    fn read(headers: &HeaderMap) -> Self {
        let values = headers.get_all("prefer").iter();
        Self::of(values.map(|value| value.to_str().unwrap_or_default()))
    }

    pub(super) fn of<'v>(values: impl Iterator<Item = &'v str>) -> Self {
        let mut found = Self::default();
        for value in values {
            for one in value.split([',', ';']) {
                let (name, value) = one.trim().split_once('=').unwrap_or((one.trim(), ""));
                match name.to_ascii_lowercase().as_str() {
                    "wait" => {
                        if let Ok(seconds) = value.parse() {
                            found.wait = Some(Duration::from_secs(seconds));
                        }
                    }
                    "include-statistics" => found.statistics = value.eq_ignore_ascii_case("true"),
                    "include-render" => found.render = value.eq_ignore_ascii_case("true"),
                    "include-datasources" => found.sources = value.eq_ignore_ascii_case("true"),
                    _ => {}
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(accept: &str) -> Option<Shape> {
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_str(accept).unwrap())]);
        accepted(&headers).ok()
    }

    #[test]
    fn a_preference_that_is_not_understood_is_passed_over() {
        let told = |value: &str| Preferences::of([value].into_iter());
        for nothing in ["wait=abc", "wait", "wait=-1", "respond-async", ""] {
            assert_eq!(told(nothing).wait, None, "{nothing}");
        }
        let both = told("wait=abc, wait=30; include-statistics=true");
        assert_eq!((both.wait, both.statistics), (Some(Duration::from_secs(30)), true));
    }

    #[test]
    fn the_shape_liked_best_is_given_and_none_that_is_ruled_out() {
        assert_eq!(accepted(&HeaderMap::new()).unwrap(), Shape::Json);
        for (accept, expected) in [
            ("*/*", Some(Shape::Json)),
            ("text/csv", Some(Shape::Csv)),
            ("application/x-ndjson;q=0.5, text/csv;q=0.9", Some(Shape::Csv)),
            ("text/csv;q=0.1, application/json", Some(Shape::Json)),
            ("*/*;q=0.1, text/csv", Some(Shape::Csv)),
            ("application/json;q=0, */*", Some(Shape::NdJson)),
            ("Application/JSON ; charset=utf-8 ; q=1.0", Some(Shape::Json)),
            ("text/html, application/xhtml+xml, */*;q=0.8", Some(Shape::Json)),
            ("text/*", Some(Shape::Csv)),
            ("image/png", None),
            ("application/json;q=0", None),
        ] {
            assert_eq!(shape(accept), expected, "{accept}");
        }
    }
}

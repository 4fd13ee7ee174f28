//! Many questions in one request: `POST /v1/$batch`. Each is answered by itself, in a status and a body of its own; all of them share the
//! room that one answer may have.

use std::collections::HashSet;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use strongroom_model::ErrorKind;
use strongroom_query::Egress;

use super::super::auth::Who;
use super::super::error::ApiError;
use super::super::query::{Asked, Asking, Preferences, Question, ask, failed, request_id, whole};
use super::super::{App, SMALL_BODY, body, egress};
use super::resource::of_resource;

/// An answer with less room than this is none.
const PART_MIN: u64 = 4 << 10;

#[derive(Debug, Deserialize)]
struct Batch {
    requests: Vec<Item>,
}

/// One question. Members that say nothing here are passed over.
#[derive(Debug, Deserialize)]
pub(super) struct Item {
    id: String,
    #[serde(default)]
    workspace: Option<String>,
    #[serde(default)]
    path: Option<String>,
    /// POST, which is what it is if nothing is said.
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    headers: Option<serde_json::Map<String, Value>>,
    #[serde(default)]
    body: Option<Box<RawValue>>,
}

/// What was asked for by one item, and until when it may leave.
pub(super) struct Answered {
    id: String,
    status: StatusCode,
    body: Bytes,
    egress: Option<Egress>,
}

impl Answered {
    fn refused(id: String, error: &ApiError) -> Self {
        let (status, body) = error.status_and_body();
        Self { id, status, body: body.to_string().into(), egress: None }
    }
}

fn invalid(why: &str) -> ApiError {
    let inner = json!({"code": "QueryValidationError", "message": why});
    ApiError::new(ErrorKind::Invalid, "BadArgumentError", "The request had some invalid properties").inner(inner)
}

pub(super) async fn batch(State(app): State<App>, who: Who, headers: HeaderMap, body: Body) -> Result<Response, ApiError> {
    let bytes = body::read(body, SMALL_BODY).await?;
    let batch: Batch = serde_json::from_slice(&bytes).map_err(|error| {
        invalid(&format!("Failed parsing the batch: it is {{\"requests\": [..]}}; see line {} column {}", error.line(), error.column()))
    })?;
    let doors = &app.site.config.doors;
    let mut ids = HashSet::new();
    if batch.requests.is_empty() || batch.requests.len() > doors.batch_questions_max {
        return Err(invalid(&format!("A batch has 1 to {} requests", doors.batch_questions_max)));
    }
    if batch.requests.iter().any(|item| item.id.is_empty() || !ids.insert(item.id.as_str())) {
        return Err(invalid("Each request of a batch has an id of its own"));
    }
    let request = request_id(&headers);
    let answers = answers(&app, &who, batch.requests, request).await;
    Ok(leaving(&app, answers).await)
}

/// All questions, some at once, each with its own answer.
pub(super) async fn answers(app: &App, who: &Who, items: Vec<Item>, request: Option<&[u8]>) -> Vec<Answered> {
    let doors = &app.site.config.doors;
    let concurrent = doors.batch_concurrent_max.clamp(1, items.len().max(1));
    let room = Room { left: Mutex::new(doors.batch_bytes_max), concurrent: concurrent as u64 };
    let answers = futures::stream::iter(items).map(|item| {
        let room = &room;
        async move {
            let id = item.id.clone();
            match room.within(|bytes_max| one(app, who, item, request, bytes_max)).await {
                Ok((body, egress)) => Answered { id, status: StatusCode::OK, body, egress: Some(egress) },
                Err(error) => Answered::refused(id, &error),
            }
        }
    });
    answers.buffer_unordered(concurrent).collect().await
}

/// One whose key went while it waited for the others of its batch says so, and they are whole. What is taken away from then on breaks
/// all of them off.
pub(super) async fn leaving(app: &App, mut answers: Vec<Answered>) -> Response {
    let passed = answers.iter().map(|answered| async {
        let Some(egress) = &answered.egress else { return Ok(()) };
        egress.pass().await
    });
    // All at once: each may wait while a denial is being confirmed.
    let passed = futures::future::join_all(passed).await;
    for (answered, passed) in answers.iter_mut().zip(passed) {
        if let Err(error) = passed {
            *answered = Answered::refused(std::mem::take(&mut answered.id), &failed(app, None, &error));
        }
    }
    joined(answers)
}

/// Bytes that the answers of a batch may still have, all together: they are in memory until the last one is there.
struct Room {
    left: Mutex<u64>,
    /// Among how many questions at once it is shared out.
    concurrent: u64,
}

impl Room {
    /// Answers one question within its part of what is left; what it does not need is for the others.
    async fn within<F>(&self, answer: impl FnOnce(u64) -> F) -> Result<(Bytes, Egress), ApiError>
    where
        F: Future<Output = Result<(Bytes, Egress), ApiError>>,
    {
        let part = {
            let mut left = self.left.lock();
            let part = *left / self.concurrent;
            *left -= part;
            part
        };
        if part < PART_MIN {
            *self.left.lock() += part;
            let text = "the answers before this one take all the room that a batch has; ask in more than one batch";
            return Err(ApiError::new(ErrorKind::TooLarge, "ResponseTooLarge", text));
        }
        let answered = answer(part).await;
        let used = answered.as_ref().map_or(0, |(body, _)| body.len() as u64);
        *self.left.lock() += part.saturating_sub(used);
        answered
    }
}

async fn one(app: &App, who: &Who, item: Item, request: Option<&[u8]>, bytes_max: u64) -> Result<(Bytes, Egress), ApiError> {
    if item.path.as_deref().is_some_and(|path| !path.trim_matches('/').eq_ignore_ascii_case("query")) {
        return Err(ApiError::new(ErrorKind::NotFound, "PathNotFoundError", "The requested path does not exist"));
    }
    if item.method.as_deref().is_some_and(|method| !method.eq_ignore_ascii_case("POST")) {
        return Err(invalid("A request of a batch is a POST with a body"));
    }
    let name = item.workspace.as_deref().unwrap_or_default();
    let question = Question::of_body(item.body.as_deref().map_or("", RawValue::get).as_bytes())?;
    let workspace = of_resource(app, who, name).await?;
    let headers = item.headers.unwrap_or_default();
    let prefer = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("prefer")).filter_map(|(_, value)| value.as_str());
    let prefer = Preferences::of(prefer);
    // One id names the whole batch: each of its questions is told by what it says.
    let asking = Asking { workspace, question, url_timespan: None, prefer: &prefer, request, bytes_max: Some(bytes_max) };
    let Asked { answer, others, late } = ask(app, who, asking).await?;
    let egress = answer.egress.clone();
    let workspaces: Vec<_> = std::iter::once(workspace).chain(others).collect();
    let body = whole(app, answer, &workspaces, &prefer, late, Some(bytes_max)).await?;
    Ok((body, egress))
}

/// `{"responses":[..]}`, guarded by every answer in it.
fn joined(answers: Vec<Answered>) -> Response {
    let mut whole = Vec::with_capacity(answers.iter().map(|answer| answer.body.len() + 128).sum());
    whole.extend_from_slice(b"{\"responses\":[");
    let mut gates = Vec::new();
    for (at, Answered { id, status, body, egress }) in answers.into_iter().enumerate() {
        if at > 0 {
            whole.push(b',');
        }
        let head = format!("{{\"id\":{},\"status\":{},\"headers\":{{}},\"body\":", Value::from(id), status.as_u16());
        whole.extend_from_slice(head.as_bytes());
        whole.extend_from_slice(&body);
        whole.push(b'}');
        gates.extend(egress);
    }
    whole.extend_from_slice(b"]}");
    let length = whole.len();
    let mut response = egress::guarded_by_all(gates, whole.into()).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

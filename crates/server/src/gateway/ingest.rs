//! The native ingest door, and the two that push what has arrived along.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use strongroom_control::action;
use strongroom_ingest::{Encoding, Format, IngestError, IngestReply, IngestRequest, OnError, Taken};
use strongroom_model::{ErrorKind, TableName, WorkspaceId};

use super::auth::Who;
use super::error::ApiError;
use super::{App, body};

/// Says that the rows are kept, and not to be seen yet.
pub(super) const STATE: HeaderName = HeaderName::from_static("x-ingest-state");
/// How many rows were thrown away, as the customer wants it while the key is away.
pub(super) const DROPPED: HeaderName = HeaderName::from_static("x-ingest-dropped");

/// Parameters of the ingest door.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    on_error: Option<String>,
    format: Option<String>,
    time_field: Option<String>,
}

pub(crate) async fn ingest(
    State(app): State<App>,
    who: Who,
    Path((workspace, table)): Path<(String, String)>,
    parameters: Result<Query<Parameters>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let workspace = who.table(&app, &workspace, &table, action::INGEST).await?.id;
    let Query(parameters) = parameters.map_err(|_| {
        ApiError::new(ErrorKind::Invalid, "BadParameter", "the ingest door takes the parameters on_error, format and time_field")
    })?;
    let table: TableName = table.parse().map_err(|error| ApiError::new(ErrorKind::Invalid, "InvalidTableName", error).target("table"))?;
    let encoding = encoding(&headers)?;
    let refused = |error: IngestError, table: &TableName| {
        // A sender that keeps at it is counted, and told of once a minute.
        if matches!(error, IngestError::Key(_)) {
            app.site.audit.not_accepted(workspace, table.as_str(), error.code());
        }
        ingest_error(&error)
    };
    app.site.intake.ready(workspace, &table).await.map_err(|error| refused(error, &table))?;
    // Whoever finds no room waits here, its body unread.
    let mut share = app.site.intake.admit(body::length(&body), encoding).await.map_err(|error| ingest_error(&error))?;
    let gateway = &app.site.config.gateway;
    let request = IngestRequest {
        workspace,
        principal: who.0.principal,
        table,
        encoding,
        format: format(&headers, parameters.format.as_deref())?,
        time_field: match parameters.time_field {
            Some(field) => Some(field),
            None => text(&headers, "x-time-field")?,
        },
        batch_id: batch_id(&headers)?,
        through: None,
        on_error: match parameters.on_error.as_deref() {
            None | Some("refuse") => OnError::Refuse,
            Some("skip") => OnError::Skip,
            Some(_) => return Err(ApiError::new(ErrorKind::Invalid, "BadParameter", "on_error is refuse or skip").target("on_error")),
        },
        body: body::read_counted(body, gateway.max_body_bytes, |more| share.grow(more as u64).map_err(|error| ingest_error(&error)))
            .await?,
    };
    let table = request.table.clone();
    let reply = app.site.intake.ingest_within(request, share).await.map_err(|error| refused(error, &table))?;
    note(&app, workspace, &table, &reply);
    Ok(answer(&reply))
}

/// Writes down what became of rows whose key is away.
pub(super) fn note(app: &App, workspace: WorkspaceId, table: &TableName, reply: &IngestReply) {
    match reply.taken {
        Taken::Dropped => app.site.audit.dropped(workspace, table.as_str(), "CustomerKeyRevoked", reply.accepted + reply.rejected),
        Taken::Buffered | Taken::Sealed if !reply.duplicate => app.site.audit.kept(workspace, table.as_str(), reply.accepted),
        Taken::Buffered | Taken::Sealed | Taken::Stored => {}
    }
}

/// Nothing is said to be accepted that was not, and nothing is said of columns that nobody has looked at.
fn answer(reply: &IngestReply) -> Response {
    let IngestReply { accepted, rejected, columns_added, duplicate, taken } = reply;
    let kept = |state: &'static str| {
        let body = json!({"accepted": accepted, "rejected": rejected, "duplicate": duplicate, "state": state});
        ([(STATE, HeaderValue::from_static(state))], Json(body)).into_response()
    };
    match taken {
        Taken::Buffered => kept("buffered"),
        Taken::Sealed => kept("sealed"),
        Taken::Dropped => {
            ([(DROPPED, HeaderValue::from(accepted + rejected))], Json(json!({"dropped": accepted + rejected}))).into_response()
        }
        Taken::Stored => {
            let body = json!({"accepted": accepted, "rejected": rejected, "columnsAdded": columns_added, "duplicate": duplicate});
            Json(body).into_response()
        }
    }
}

/// Parameters of `flush` and `compact`: one table, or all.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Which {
    table: Option<TableName>,
}

pub(crate) async fn flush(
    State(app): State<App>,
    who: Who,
    Path(workspace): Path<String>,
    Query(which): Query<Which>,
) -> Result<Json<Value>, ApiError> {
    let workspace = who.workspace(&app, &workspace, action::FLUSH).await?;
    let report = app.site.intake.flush(workspace, which.table).await.map_err(|error| ingest_error(&error))?;
    Ok(Json(json!({"blocks": report.blocks, "rows": report.rows, "bytes": report.bytes})))
}

pub(crate) async fn compact(
    State(app): State<App>,
    who: Who,
    Path(workspace): Path<String>,
    Query(which): Query<Which>,
) -> Result<Json<Value>, ApiError> {
    let workspace = who.workspace(&app, &workspace, action::FLUSH).await?;
    let report = app.site.intake.compact(workspace, which.table).await.map_err(|error| ingest_error(&error))?;
    Ok(Json(json!({"merged": report.inputs, "blocks": report.outputs, "rows": report.rows, "bytes": report.bytes})))
}

pub(crate) fn ingest_error(error: &IngestError) -> ApiError {
    // Our own agents keep what was not taken and try again on 503; a 403 would make them drop it.
    let kind = if error.kind() == ErrorKind::KeyRevoked { ErrorKind::Unavailable } else { error.kind() };
    ApiError::new(kind, error.code(), error)
}

fn text(headers: &HeaderMap, name: &'static str) -> Result<Option<String>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(ApiError::new(ErrorKind::Invalid, "BadHeader", format!("the header {name} stands there twice")).target(name));
    }
    let text = std::str::from_utf8(value.as_bytes())
        .map_err(|_| ApiError::new(ErrorKind::Invalid, "BadHeader", format!("the header {name} is not UTF-8")).target(name))?;
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// An id that is there but empty is a sender's mistake: without one a retry would double its rows.
fn batch_id(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let found = text(headers, "x-batch-id")?;
    if found.is_none() && headers.contains_key("x-batch-id") {
        return Err(ApiError::new(ErrorKind::Invalid, "BadHeader", "the header x-batch-id is empty").target("x-batch-id"));
    }
    Ok(found)
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, ApiError> {
    Ok(match text(headers, header::CONTENT_ENCODING.as_str())?.as_deref() {
        None | Some("identity") => Encoding::Identity,
        Some("gzip" | "x-gzip") => Encoding::Gzip,
        Some("zstd") => Encoding::Zstd,
        Some(_) => {
            return Err(ApiError::new(
                ErrorKind::Unsupported,
                "UnsupportedEncoding",
                "the content encodings taken here are identity, gzip and zstd",
            )
            .target("content-encoding"));
        }
    })
}

fn format(headers: &HeaderMap, parameter: Option<&str>) -> Result<Format, ApiError> {
    match parameter {
        Some("json") => return Ok(Format::Json),
        Some("lines") => return Ok(Format::Lines),
        Some(_) => return Err(ApiError::new(ErrorKind::Invalid, "BadParameter", "format is json or lines").target("format")),
        None => {}
    }
    let Some(value) = text(headers, header::CONTENT_TYPE.as_str())? else { return Ok(Format::Json) };
    let media_type = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media_type.as_str() {
        // curl's --data-binary says the form type unless told otherwise; nobody posts forms here.
        "application/json"
        | "application/x-ndjson"
        | "application/jsonlines"
        | "application/octet-stream"
        | "application/x-www-form-urlencoded" => Ok(Format::Json),
        "text/plain" => Ok(Format::Lines),
        _ => Err(ApiError::new(
            ErrorKind::Unsupported,
            "UnsupportedMediaType",
            "the content types taken here are application/json, application/x-ndjson and, for plain lines, text/plain",
        )
        .target("content-type")),
    }
}

#[cfg(test)]
mod tests;

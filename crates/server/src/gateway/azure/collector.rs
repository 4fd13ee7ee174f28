//! The HTTP Data Collector API: rows signed with a workspace's shared key. Azure has retired it; senders that speak it are many.
//!
//! `POST /api/logs?api-version=2016-04-01`: 200 with nothing once the rows are durable. The signature covers the headers and the
//! body's length, so it is looked at before the body is read.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use serde::Deserialize;
use serde_json::json;
use strongroom_ingest::{Encoding, Format, IngestError, IngestRequest, OnError, Share};
use strongroom_model::{ErrorKind, PrincipalId, TableName, TableSchema, WorkspaceId};

use super::super::error::status;
use super::super::{App, body};
use super::suffixes::{NotRead, Reading, lines};
use super::{NotTaken, ingestion, not_taken, told};

/// The one version there is.
const VERSION: &str = "2016-04-01";
/// Characters of a log type (Azure's limit).
const LOG_TYPE_MAX: usize = 100;
/// Bytes of a resource's id.
const RESOURCE_MAX: usize = 2 << 10;
/// What the names of tables made here end in.
const TABLE_ENDING: &str = "_CL";

/// Parameters of the call.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Parameters {
    #[serde(rename = "api-version")]
    version: Option<String>,
}

/// A refusal in this door's envelope.
pub(super) struct Refused(NotTaken);

impl Refused {
    fn new(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        Self(NotTaken { kind, code, message: message.into(), retry_after_s: kind.is_transient().then_some(2) })
    }

    fn invalid(code: &'static str, message: &str) -> Self {
        Self::new(ErrorKind::Invalid, code, message)
    }

    /// Every way of not being who one says one is looks the same.
    fn unauthorized() -> Self {
        Self::new(
            ErrorKind::Forbidden,
            "InvalidAuthorization",
            "The service failed to authenticate the request. Verify that the workspace ID and connection key are valid, and that the date is the present one.",
        )
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let NotTaken { kind, code, message, retry_after_s } = self.0;
        let code = match code {
            "InvalidRecord" | "InvalidBody" => "InvalidDataFormat",
            "TooManyRequests" => "TooManyRequests",
            _ if kind == ErrorKind::Internal || kind == ErrorKind::Corrupt => "UnspecifiedError",
            other => other,
        };
        // As Azure has it: a post that is too large is not found.
        let status = if kind == ErrorKind::TooLarge { StatusCode::NOT_FOUND } else { status(kind) };
        metrics::counter!("server_errors_total", "code" => code).increment(1);
        let mut response = (status, Json(json!({"Error": code, "Message": message}))).into_response();
        ingestion::retry_after(&mut response, retry_after_s.filter(|_| kind.is_transient()));
        response
    }
}

pub(super) async fn collect(
    State(app): State<App>,
    parameters: Result<Query<Parameters>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let Ok(Query(parameters)) = parameters else {
        return Err(Refused::invalid("InvalidApiVersion", "The API version is to be there once."));
    };
    match parameters.version.as_deref() {
        None | Some("") => return Err(Refused::invalid("MissingApiVersion", "The API version was not specified.")),
        Some(VERSION) => {}
        Some(_) => return Err(Refused::invalid("InvalidApiVersion", "The specified API version is not valid; it is 2016-04-01.")),
    }
    let (workspace, length) = authenticated(&app, &headers).await?;
    let doors = &app.site.config.doors;
    let limit = doors.data_collector_bytes_max;
    if length > limit {
        return Err(Refused::new(ErrorKind::TooLarge, "RequestTooLarge", format!("A post has at most {limit} bytes.")));
    }
    check_content_type(&headers)?;
    let table = table(&headers)?;
    let resource = text(&headers, "x-ms-azureresourceid").map(str::to_owned);
    if resource.as_ref().is_some_and(|resource| resource.len() > RESOURCE_MAX) {
        let why = format!("The x-ms-AzureResourceId header has at most {RESOURCE_MAX} bytes: it stands in every record.");
        return Err(Refused::invalid("InvalidDataFormat", &why));
    }
    let refused = |error: &IngestError| Refused(not_taken(&app, workspace, &table, error, doors.data_collector_while_revoked));
    app.site.intake.ready(workspace, &table).await.map_err(|error| refused(&error))?;
    // Whoever finds no room waits here, its body unread.
    let mut share = app.site.intake.admit(Some(length as u64 * 2), Encoding::Identity).await.map_err(|error| refused(&error))?;
    let read = body::read(body, limit).await;
    let bytes = read.map_err(|error| Refused::new(error.kind(), "InvalidDataFormat", error.message()))?;
    share.grow(bytes.len() as u64).map_err(|error| refused(&error))?;
    let known = match app.site.intake.schema(workspace, &table).await {
        Ok(known) => known.unwrap_or_default(),
        // A key that is away hides the columns too: values then go by what they are.
        Err(IngestError::Key(_)) => TableSchema::default(),
        Err(error) => return Err(refused(&error)),
    };
    let reading = Reading {
        known,
        time_field: text(&headers, "time-generated-field").map(str::to_owned),
        resource,
        arrival: app.site.world.clock.wall().0,
    };
    let most = app.site.config.ingest.limits.inflated_bytes_max;
    let made = tokio::task::spawn_blocking(move || made(&bytes, &reading, most, &mut share).map(|rows| (rows, share))).await;
    let made = made.map_err(|_| Refused::new(ErrorKind::Internal, "UnspecifiedError", "The request could not be read."))?;
    let (rows, share) = made.map_err(|why| match why {
        NotRead::Body(why) => Refused::invalid("InvalidDataFormat", &why),
        NotRead::Room(error) => refused(&error),
    })?;
    let request = IngestRequest {
        workspace,
        principal: PrincipalId::NIL,
        table: table.clone(),
        body: rows.into(),
        encoding: Encoding::Identity,
        format: Format::Suffixed,
        time_field: None,
        batch_id: None,
        on_error: OnError::Refuse,
        through: None,
    };
    let reply = app.site.intake.ingest_within(request, share).await.map_err(|error| refused(&error))?;
    let mut response = StatusCode::OK.into_response();
    told(&app, workspace, &table, &reply, &mut response);
    Ok(response)
}

/// The lines of a post: within what a body may be in all, each byte taken from the share before it is there.
fn made(body: &[u8], reading: &Reading, most: u64, share: &mut Share) -> Result<Vec<u8>, NotRead> {
    let mut taken = 0;
    lines(body, reading, &mut |more| {
        taken += more as u64;
        if taken > most {
            return Err(IngestError::BodyTooLarge { limit: most, when: "in all" });
        }
        share.grow(more as u64)
    })
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim).filter(|text| !text.is_empty())
}

/// The workspace whose key signed the request, and how long its body is.
async fn authenticated(app: &App, headers: &HeaderMap) -> Result<(WorkspaceId, usize), Refused> {
    let signed = Signed::read(headers).ok_or_else(Refused::unauthorized)?;
    let now = app.site.world.clock.wall().unix_ms();
    let skew_max = i64::try_from(app.site.config.doors.data_collector_skew_max_s).unwrap_or(i64::MAX).saturating_mul(1_000);
    if signed.date_ms.abs_diff(now) > skew_max.unsigned_abs() {
        return Err(Refused::unauthorized());
    }
    let verified = app.site.shared_keys.verify(signed.workspace, &signed.text, &signed.signature).await;
    let verified = verified.map_err(|error| Refused::new(error.kind(), error.code(), error.to_string()))?;
    // The keys of a deleted workspace are there until it is shredded.
    let there = app.site.catalog.workspace(signed.workspace).await;
    let there = there.map_err(|error| Refused::new(error.kind(), error.code(), error.to_string()))?.is_some();
    // Whose owner ended the use of keys looks the same, too.
    let taken = app.site.pages.takes_shared_keys(signed.workspace).await;
    let taken = taken.map_err(|error| Refused::new(error.kind(), error.code(), error.to_string()))?;
    if !(verified & there & taken) {
        return Err(Refused::unauthorized());
    }
    Ok((signed.workspace, signed.length))
}

/// What a request says of who signed it.
#[derive(Debug, PartialEq, Eq)]
struct Signed {
    workspace: WorkspaceId,
    /// The bytes that were signed.
    text: Vec<u8>,
    signature: Vec<u8>,
    date_ms: i64,
    /// Of the body, as the header says and the signature covers.
    length: usize,
}

impl Signed {
    fn read(headers: &HeaderMap) -> Option<Self> {
        let mut all = headers.get_all(header::AUTHORIZATION).iter();
        let (scheme, credentials) = all.next()?.to_str().ok()?.split_once(' ')?;
        if all.next().is_some() || !scheme.eq_ignore_ascii_case("sharedkey") {
            return None;
        }
        let (id, signature) = credentials.trim().split_once(':')?;
        let workspace: WorkspaceId = id.trim().to_ascii_lowercase().parse().ok()?;
        // Sent to a host that names a workspace, it is for that one.
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let label = host.split(['.', ':']).next().unwrap_or_default();
        if label.to_ascii_lowercase().parse::<WorkspaceId>().is_ok_and(|named| named != workspace) {
            return None;
        }
        let date = headers.get("x-ms-date")?;
        let date_ms = DateTime::parse_from_rfc2822(date.to_str().ok()?).ok()?.timestamp_millis();
        let length: usize = headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()?;
        // As it was sent, parameters and all.
        let content_type = headers.get(header::CONTENT_TYPE).map(axum::http::HeaderValue::as_bytes).unwrap_or_default();
        let mut text = format!("POST\n{length}\n").into_bytes();
        text.extend_from_slice(content_type);
        text.extend_from_slice(b"\nx-ms-date:");
        text.extend_from_slice(date.as_bytes());
        text.extend_from_slice(b"\n/api/logs");
        Some(Self { workspace, text, signature: STANDARD.decode(signature.trim()).ok()?, date_ms, length })
    }
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Refused> {
    let missing = || Refused::invalid("MissingContentType", "The content type was not specified.");
    let given = text(headers, header::CONTENT_TYPE.as_str()).ok_or_else(missing)?;
    let media_type = given.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Refused::invalid("UnsupportedContentType", "The content type was not set to application/json."))
}

fn table(headers: &HeaderMap) -> Result<TableName, Refused> {
    let log_type =
        text(headers, "log-type").ok_or_else(|| Refused::invalid("MissingLogType", "The value of the Log-Type header is missing."))?;
    let wrong = || {
        Refused::invalid("InvalidLogType", "A log type has at most 100 letters, digits and underscores, and does not begin with a digit.")
    };
    if log_type.len() > LOG_TYPE_MAX {
        return Err(wrong());
    }
    format!("{log_type}{TABLE_ENDING}").parse().map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const ID: &str = "0192f5a0-0000-7000-8000-000000000001";

    fn headers(change: impl FnOnce(&mut HeaderMap)) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", &*format!("SharedKey {ID}:XUx0a4ei0K8cM4D2ldkULOwMzTDpwpE+MFEjRT2yDbY=")),
            ("x-ms-date", "Mon, 04 Apr 2016 08:00:00 GMT"),
            ("content-type", "application/json"),
            ("content-length", "1024"),
            ("host", "logs.example:7700"),
            ("log-type", "My_Log"),
        ] {
            headers.insert(axum::http::HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        change(&mut headers);
        headers
    }

    #[test]
    fn the_signed_text_is_azures() {
        let signed = Signed::read(&headers(|_| {})).unwrap();
        let text = "POST\n1024\napplication/json\nx-ms-date:Mon, 04 Apr 2016 08:00:00 GMT\n/api/logs";
        assert_eq!(String::from_utf8(signed.text).unwrap(), text);
        assert_eq!((signed.workspace.to_string().as_str(), signed.length, signed.signature.len()), (ID, 1_024, 32));
        assert_eq!(signed.date_ms, 1_459_756_800_000);
        let with = |name: &'static str, value: &str| {
            let value = HeaderValue::from_str(value).unwrap();
            Signed::read(&headers(|headers| drop(headers.insert(name, value))))
        };
        let typed = with("content-type", "application/json; charset=utf-8").unwrap();
        assert!(String::from_utf8(typed.text).unwrap().contains("\napplication/json; charset=utf-8\n"), "over the raw header");
        assert!(with("host", &format!("{ID}.ods.logs.example")).is_some());
        assert!(with("host", "0192f5a0-0000-7000-8000-000000000002.ods.logs.example").is_none(), "another workspace's host");
        for (name, value) in [
            ("authorization", "Bearer x"),
            ("authorization", "SharedKey nobody:XUx0"),
            ("authorization", &*format!("SharedKey {ID}")),
            ("authorization", &*format!("SharedKey {ID}:???")),
            ("x-ms-date", "2016-04-04T08:00:00Z"),
            ("content-length", "many"),
        ] {
            assert!(with(name, value).is_none(), "{name}: {value}");
        }
        assert!(Signed::read(&headers(|headers| drop(headers.remove("content-length")))).is_none());
    }

    #[test]
    fn a_log_type_names_its_table() {
        assert_eq!(table(&headers(|_| {})).ok().unwrap().as_str(), "My_Log_CL");
        for wrong in ["a-b", "1a", &"a".repeat(101), "ä"] {
            let set = |headers: &mut HeaderMap| drop(headers.insert("log-type", HeaderValue::from_bytes(wrong.as_bytes()).unwrap()));
            assert!(table(&headers(set)).is_err(), "{wrong}");
        }
    }
}

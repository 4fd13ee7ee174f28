//! The Logs Ingestion API: rows through a data collection rule.
//!
//! `POST /dataCollectionRules/{immutableId}/streams/{stream}`: 204 once the rows are durable, nothing else. The body is unpacked by its
//! first bytes, not by its header, as Azure does it. A call that its client sends once more (azure-core keeps `x-ms-client-request-id`
//! over its retries) is the same batch in each of the stream's tables: what one of them has already is not doubled.

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use strongroom_catalog::CollectionRuleRow;
use strongroom_control::collection::tables_of;
use strongroom_control::{ControlError, action};
use strongroom_ingest::stream::Through;
use strongroom_ingest::{Encoding, Format, IngestError, IngestRequest, OnError, RequestLimits, Share, inflate};
use strongroom_model::{ErrorKind, ObjectId};
use uuid::Uuid;

use super::super::arm::CLIENT_REQUEST_ID;
use super::super::auth::Who;
use super::super::error::ApiError;
use super::super::{App, body, control_error, rule_place};
use super::{NotTaken, not_taken, told};

/// What the ids of rules begin with.
const PREFIX: &str = "dcr-";

/// Parameters of the call.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Parameters {
    #[serde(rename = "api-version")]
    version: Option<String>,
}

/// A rule's id as clients know it.
pub(in crate::gateway) fn immutable_id(prefix: &str, id: ObjectId) -> String {
    format!("{prefix}-{}", hex::encode(id.as_bytes()))
}

fn rule_id(text: &str) -> Option<ObjectId> {
    let digits = text.get(..PREFIX.len()).filter(|prefix| prefix.eq_ignore_ascii_case(PREFIX)).and(text.get(PREFIX.len()..))?;
    let bytes: [u8; 16] = hex::decode(digits).ok()?.try_into().ok()?;
    Some(ObjectId::from_bytes(bytes))
}

pub(super) async fn ingest(
    State(app): State<App>,
    who: Who,
    Path((rule, stream)): Path<(String, String)>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    if parameters.version.is_none_or(|version| version.is_empty()) {
        let text = "The api-version query parameter (?api-version=2023-01-01) is required.";
        return Err(ApiError::new(ErrorKind::Invalid, "MissingApiVersion", text));
    }
    let row = rule_of(&app, &who, &rule).await?;
    let (stream, tables) = tables_of(&row, &stream).ok_or_else(|| {
        let text = format!("The stream {stream} is not part of the data collection rule.");
        ApiError::new(ErrorKind::Invalid, "InvalidStream", text).target(stream.clone())
    })?;
    let doors = &app.site.config.doors;
    let refused = |table, error: &IngestError| refusal(not_taken(&app, row.workspace, table, error, doors.logs_ingestion_while_revoked));
    for table in &tables {
        app.site.intake.ready(row.workspace, table).await.map_err(|error| refused(table, &error))?;
    }
    let Some(first) = tables.first() else { return Ok(StatusCode::NO_CONTENT.into_response()) };
    // Whoever finds no room waits here, its body unread; nearly all of them come packed.
    let mut share = app.site.intake.admit(body::length(&body), Encoding::Gzip).await.map_err(|error| refused(first, &error))?;
    let limit = doors.logs_ingestion_bytes_max;
    let (clock, told_length) = (&app.site.world.clock, body::length(&body).unwrap_or(0));
    let (requests, bytes) = (doors.logs_ingestion_requests_per_minute, doors.logs_ingestion_bytes_per_minute);
    let too_much = |seconds| {
        let text = format!("Too much goes through this data collection rule; try again in {seconds} s.");
        refusal(NotTaken { kind: ErrorKind::Overloaded, code: "TooManyRequests", message: text, retry_after_s: Some(seconds) })
    };
    // Before its body is read: one that is refused for its rule's minute costs next to nothing.
    app.site.meter.count(row.id, told_length, clock.boot(), requests, bytes).map_err(too_much)?;
    let read = body::read_counted(body, limit, |more| share.grow(more as u64).map_err(|error| refused(first, &error)));
    let wire = read.await.map_err(|error| if error.kind() == ErrorKind::TooLarge { too_large(limit) } else { error })?;
    // One that did not say how long it is counts by what came.
    app.site.meter.add(row.id, (wire.len() as u64).saturating_sub(told_length), clock.boot(), bytes).map_err(too_much)?;
    let (rows, share) = unpack(&app, wire, share, limit).await.map_err(|error| refused(first, &error))?;
    // Of several tables none gets rows if another would not: nobody is told that nothing was taken of what is there in part.
    if tables.len() > 1 {
        let through = Through { rule: row.id, stream: stream.clone() };
        for table in &tables {
            app.site.intake.rehearse(row.workspace, table, &through, &rows).await.map_err(|error| refused(table, &error))?;
        }
    }
    let batch = batch_name(&headers, row.id, &stream, &rows).await;
    let (mut response, mut share) = (StatusCode::NO_CONTENT.into_response(), Some(share));
    for table in &tables {
        let share = match share.take() {
            Some(share) => share,
            None => app.site.intake.admit(Some(rows.len() as u64), Encoding::Identity).await.map_err(|error| refused(table, &error))?,
        };
        let request = IngestRequest {
            workspace: row.workspace,
            principal: who.0.principal,
            table: table.clone(),
            body: rows.clone(),
            encoding: Encoding::Identity,
            format: Format::Json,
            time_field: None,
            batch_id: batch.clone().map(|batch| hex::encode(batch.chain_update(table.as_str()).finalize())),
            on_error: OnError::Refuse,
            through: Some(Through { rule: row.id, stream: stream.clone() }),
        };
        let reply = app.site.intake.ingest_within(request, share).await.map_err(|error| refused(table, &error))?;
        told(&app, row.workspace, table, &reply, &mut response);
    }
    Ok(response)
}

/// What tells a call from others, if its client gives each an id of its own: also from those that carry the same id and other rows, as
/// the chunks of one upload may.
async fn batch_name(headers: &HeaderMap, rule: ObjectId, stream: &str, rows: &Bytes) -> Option<Sha256> {
    let id: Uuid = headers.get(CLIENT_REQUEST_ID)?.to_str().ok()?.parse().ok()?;
    let (mut hash, rows) = (Sha256::new(), rows.clone());
    hash.update(id.as_bytes());
    hash.update(rule.as_bytes());
    hash.update((stream.len() as u64).to_le_bytes());
    hash.update(stream.as_bytes());
    hash.update((rows.len() as u64).to_le_bytes());
    tokio::task::spawn_blocking(move || hash.chain_update(&rows)).await.ok()
}

/// The rule of that id, if this caller may send rows through it. One that is absent and one that is another's look alike.
async fn rule_of(app: &App, who: &Who, text: &str) -> Result<CollectionRuleRow, ApiError> {
    let absent = || {
        let message = format!("Data collection rule with immutable Id '{text}' not found.");
        ApiError::new(ErrorKind::NotFound, "NotFound", message)
    };
    let id = rule_id(text).ok_or_else(absent)?;
    let row = app.site.collection.rule_by_id(id).await.map_err(|error| control_error(&error))?.ok_or_else(absent)?;
    // As in Azure, a right to send through the rule is enough; so is one to send to the workspace by whatever door.
    let at = rule_place(&row);
    if who.0.may(action::TELEMETRY_WRITE, &at) {
        // The rules of a deleted workspace are there until it is shredded.
        let there = app.site.catalog.workspace(row.workspace).await.map_err(|error| control_error(&error.into()))?;
        return there.map(|_| row).ok_or_else(absent);
    }
    match app.site.workspaces.resolve(&who.0, &row.workspace.to_string(), action::INGEST).await {
        Ok(_) => Ok(row),
        Err(ControlError::NotFound { .. }) if !who.0.sees(&at) => Err(absent()),
        Err(ControlError::NotFound { .. } | ControlError::Forbidden { .. }) => {
            let message = "The authentication token provided does not have access to ingest data for the data collection rule.";
            Err(ApiError::new(ErrorKind::Forbidden, "OperationFailed", message))
        }
        Err(error) => Err(control_error(&error)),
    }
}

/// Unpacks a body that begins as gzip does, off the threads that serve connections.
async fn unpack(app: &App, wire: Bytes, mut share: Share, limit: usize) -> Result<(Bytes, Share), IngestError> {
    let encoding = if wire.starts_with(&[0x1f, 0x8b]) { Encoding::Gzip } else { Encoding::Identity };
    // So small a limit is bound enough: records with little in them pack well.
    let limit = limit as u64;
    let limits = RequestLimits { inflated_bytes_max: limit, ratio_after_bytes: limit, ..app.site.config.ingest.limits.clone() };
    if encoding == Encoding::Identity {
        return inflate(&wire, encoding, &limits, &mut share).map(|body| (body, share));
    }
    let work = tokio::task::spawn_blocking(move || inflate(&wire, encoding, &limits, &mut share).map(|body| (body, share)));
    work.await.map_err(|_| IngestError::Stopping)?
}

fn too_large(limit: usize) -> ApiError {
    let text = format!("The content length is more than {limit} bytes; send fewer records at a time.");
    ApiError::new(ErrorKind::TooLarge, "ContentLengthLimitExceeded", text)
}

/// A refusal in this door's words.
fn refusal(not_taken: NotTaken) -> ApiError {
    let NotTaken { kind, code, message, retry_after_s } = not_taken;
    let code = match code {
        "InvalidRecord" | "InvalidBody" | "InvalidContentEncoding" => "InvalidPayload",
        "BodyTooLarge" | "CompressionRatioTooLarge" => "ContentLengthLimitExceeded",
        other => other,
    };
    let error = ApiError::new(kind, code, message);
    match retry_after_s {
        Some(seconds) if kind.is_transient() => error.retry_after(seconds),
        _ => error,
    }
}

/// `Retry-After`, where a client may try again.
pub(super) fn retry_after(response: &mut Response, seconds: Option<u32>) {
    if let Some(seconds) = seconds {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rules_id_is_dcr_and_32_digits() {
        let id = ObjectId::from_bytes([0xab; 16]);
        let text = immutable_id("dcr", id);
        assert_eq!(text, format!("dcr-{}", "ab".repeat(16)));
        assert_eq!(rule_id(&text), Some(id));
        assert_eq!(rule_id(&text.to_uppercase()), Some(id));
        for wrong in ["", "dcr", "dcr-", "dce-abababababababababababababababab", "dcr-ab", "ä"] {
            assert_eq!(rule_id(wrong), None, "{wrong}");
        }
    }
}

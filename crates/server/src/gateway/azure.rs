//! The doors of Azure's data planes: rows in by the Logs Ingestion API and the HTTP Data Collector API, questions by resource and in
//! batches, and by Kusto's protocol.
//!
//! They stand on the same rooms as the native doors. Azure's clients tell a refusal by its status and code, so each door has its own
//! envelope; what kind of trouble it is, and so the status, is decided where it always is.

mod batch;
mod collector;
mod ingestion;
mod kusto;
mod meter;
mod resource;
mod suffixes;
#[cfg(test)]
mod tests;

use axum::Router;
use axum::http::HeaderValue;
use axum::response::Response;
use axum::routing::{get, post};
use strongroom_ingest::{IngestError, IngestReply, Taken};
use strongroom_model::{ErrorKind, TableName, WorkspaceId};

use super::App;
use super::ingest::{DROPPED, STATE, note};
use crate::doors::Refusal;
pub(super) use ingestion::immutable_id;
pub(crate) use meter::{Late, Meter, RequestName};

/// The routes.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/dataCollectionRules/{rule}/streams/{stream}", post(ingestion::ingest))
        .route("/api/logs", post(collector::collect))
        .route("/v1/subscriptions/{subscription}/{*resource}", get(resource::by_parameters).post(resource::by_body))
        .route("/v1/$batch", post(batch::batch))
        .route("/v1/rest/query", post(kusto::query_v1))
        .route("/v2/rest/query", post(kusto::query_v2))
        .route("/v1/rest/mgmt", post(kusto::manage))
        .route("/v1/rest/auth/metadata", get(kusto::authentication))
}

/// What a sender is told of rows that were not taken.
struct NotTaken {
    kind: ErrorKind,
    code: &'static str,
    message: String,
    retry_after_s: Option<u32>,
}

/// The write path's refusal as a door of Azure's has it; a sender that keeps at it while the key is away is counted.
fn not_taken(app: &App, workspace: WorkspaceId, table: &TableName, error: &IngestError, manner: Refusal) -> NotTaken {
    if matches!(error, IngestError::Key(_)) {
        app.site.audit.not_accepted(workspace, table.as_str(), error.code());
    }
    let (mut kind, mut message) = (error.kind(), error.to_string());
    if kind == ErrorKind::KeyRevoked {
        message = format!("The records were not accepted: {message}. Nothing of them is kept.");
        if manner == Refusal::Unavailable {
            kind = ErrorKind::Unavailable;
        }
    }
    let retry_after_s = error.retry_after_s().or_else(|| kind.is_transient().then_some(2));
    NotTaken { kind, code: error.code(), message, retry_after_s }
}

/// Writes down what became of rows whose key is away, and says so in the headers of a success.
fn told(app: &App, workspace: WorkspaceId, table: &TableName, reply: &IngestReply, response: &mut Response) {
    note(app, workspace, table, reply);
    let headers = response.headers_mut();
    match reply.taken {
        Taken::Stored => {}
        Taken::Dropped => drop(headers.insert(DROPPED, HeaderValue::from(reply.accepted + reply.rejected))),
        Taken::Buffered => drop(headers.insert(STATE, HeaderValue::from_static("buffered"))),
        Taken::Sealed => drop(headers.insert(STATE, HeaderValue::from_static("sealed"))),
    }
}

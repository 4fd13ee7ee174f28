//! Bodies become rows off the runtime that serves connections.

use std::sync::Arc;

use bytes::Bytes;

use crate::decode::{DecodeOptions, Decoded, Reject, decode};
use crate::intake::Intake;
use crate::schemas::Versioned;
use crate::{Encoding, Format, IngestError, IngestRequest, OnError, Share, inflate};

/// Bodies up to this many bytes are decoded where they are: handing them over would take longer.
pub(crate) const INLINE_BYTES: usize = 16 * 1_024;

/// How a body is to be read, for as long as it takes.
#[derive(Clone, Debug)]
pub(crate) struct Decoding {
    pub(crate) format: Format,
    pub(crate) time_field: Option<String>,
    pub(crate) arrival: i64,
    pub(crate) on_error: OnError,
    /// It passed the bounds on requests when it came, and was acked: whatever they are now, it becomes rows.
    pub(crate) checked: bool,
}

impl Decoding {
    /// Of notes about bad records.
    pub(crate) fn of_notes(arrival: i64) -> Self {
        Self { format: Format::Json, time_field: None, arrival, on_error: OnError::Refuse, checked: true }
    }
}

/// Notes about bad records, one a line.
pub(crate) fn notes(table: &str, rejects: &[Reject]) -> Result<Vec<u8>, IngestError> {
    let mut body = Vec::new();
    for reject in rejects {
        let note = serde_json::json!({
            "Table": table,
            "Line": reject.bad.line,
            "Offset": reject.bad.offset,
            "Code": reject.bad.reason.as_str(),
            "Reason": reject.bad.reason.to_string(),
            "RawData": reject.raw,
        });
        serde_json::to_writer(&mut body, &note).map_err(|error| IngestError::internal("noting bad records", error))?;
        body.push(b'\n');
    }
    Ok(body)
}

impl Intake {
    pub(crate) async fn decode(&self, body: &Bytes, base: &Arc<Versioned>, format: &Decoding) -> Result<Decoded, IngestError> {
        let (body, base, format, mut limits) = (body.clone(), base.clone(), format.clone(), self.config.limits.clone());
        if format.checked {
            limits.lift();
        }
        self.on_decoder(body.len() <= INLINE_BYTES, move || {
            let options = DecodeOptions {
                format: format.format,
                time_field: format.time_field.as_deref(),
                arrival: format.arrival,
                on_error: format.on_error,
                limits: &limits,
            };
            decode(&body, &base.schema, &options)
        })
        .await?
    }

    /// The body leaves the request: it takes memory no longer than it is needed.
    pub(crate) async fn inflate(&self, request: &mut IngestRequest, mut share: Share) -> Result<(Bytes, Share), IngestError> {
        let (wire, encoding, limits) = (std::mem::take(&mut request.body), request.encoding, self.config.limits.clone());
        self.on_decoder(encoding == Encoding::Identity, move || inflate(&wire, encoding, &limits, &mut share).map(|body| (body, share)))
            .await?
    }

    /// Runs work off the runtime that serves connections, as much at once as there are cores.
    pub(crate) async fn on_decoder<T: Send + 'static>(
        &self,
        inline: bool,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, IngestError> {
        if inline {
            return Ok(work());
        }
        let permit = self.decoders.clone().acquire_owned().await.map_err(|_| IngestError::Stopping)?;
        blocking(move || {
            let done = work();
            drop(permit);
            done
        })
        .await
    }
}

/// Runs blocking work off the runtime.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, IngestError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| IngestError::internal("work off the runtime", error))
}

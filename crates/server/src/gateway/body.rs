//! Reading a body that may be slow, endless or absent.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use strongroom_model::ErrorKind;
use tokio::time::{Instant, timeout};

use super::error::ApiError;
use crate::config::GatewayConfig;

/// A body must keep its pace from this age on.
const GRACE: Duration = Duration::from_secs(10);
/// No body stays silent for longer.
const SILENCE: Duration = Duration::from_secs(30);

/// How much of a body that is too large is still taken off the wire, and for how long.
const DRAIN_BYTES: usize = 64 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// The most that is made room for because a header says so many bytes will come.
const ROOM_MAX: usize = 4 << 20;

/// How long a body says it is.
pub(crate) fn length(body: &Body) -> Option<u64> {
    HttpBody::size_hint(body).exact()
}

/// The whole body, at most `limit` bytes, at no less than the configured pace.
///
/// # Errors
/// 413 past the limit, 408-like [`ErrorKind::Invalid`] when it is too slow or breaks off.
pub(crate) async fn read(body: Body, limit: usize, config: &GatewayConfig) -> Result<Bytes, ApiError> {
    read_counted(body, limit, config, |_| Ok(())).await
}

/// Likewise; `count` is told the length of each piece before it is kept and may refuse it.
///
/// # Errors
/// As [`read`], and what `count` says.
pub(crate) async fn read_counted(
    mut body: Body,
    limit: usize,
    config: &GatewayConfig,
    mut count: impl FnMut(usize) -> Result<(), ApiError>,
) -> Result<Bytes, ApiError> {
    let expected = usize::try_from(HttpBody::size_hint(&body).lower()).unwrap_or(usize::MAX).min(limit).min(ROOM_MAX);
    let start = Instant::now();
    let mut first: Option<Bytes> = None;
    let mut joined = BytesMut::new();
    let mut total = 0usize;
    loop {
        let frame = match timeout(SILENCE, body.frame()).await {
            Err(_) => return Err(too_slow(config)),
            Ok(None) => break,
            Ok(Some(Err(_))) => {
                return Err(ApiError::new(
                    ErrorKind::Invalid,
                    "BodyIncomplete",
                    "the request body broke off before its end; send it again",
                ));
            }
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        total += data.len();
        if total > limit {
            drain(body).await;
            return Err(ApiError::new(
                ErrorKind::TooLarge,
                "RequestTooLarge",
                format!("the request body is larger than {limit} bytes; send smaller batches"),
            ));
        }
        if let Err(refused) = count(data.len()) {
            drain(body).await;
            return Err(refused);
        }
        let age = start.elapsed();
        if age > GRACE && (total as u64) < config.body_min_bytes_per_second.saturating_mul(age.as_secs()) {
            return Err(too_slow(config));
        }
        // One frame needs no copy; a second one starts joining.
        match first.take() {
            None if joined.is_empty() => first = Some(data),
            None => joined.extend_from_slice(&data),
            Some(before) => {
                joined.reserve(expected.max(before.len() + data.len()));
                joined.extend_from_slice(&before);
                joined.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| joined.freeze()))
}

/// Reads on for a while without keeping anything: an answer sent into a sender's full pipe would be lost by a reset.
async fn drain(mut body: Body) {
    let mut left = DRAIN_BYTES;
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
    };
    drop(timeout(DRAIN_TIME, reading).await);
}

fn too_slow(config: &GatewayConfig) -> ApiError {
    ApiError::new(
        ErrorKind::Invalid,
        "BodyTooSlow",
        format!("the request body came at less than {} bytes a second", config.body_min_bytes_per_second),
    )
}

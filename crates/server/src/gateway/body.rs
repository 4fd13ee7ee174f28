//! Reading a body that may be slow, endless or absent.
//!
//! How slow it may be is decided around all doors ([`paced`]), so that whoever reads a body, by whatever means, waits no longer. What a
//! door may be sent at most is its own ([`read`]).

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use strongroom_model::ErrorKind;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::App;
use super::error::ApiError;
use crate::config::GatewayConfig;

/// How much of a body that is too large is still taken off the wire, and for how long.
const DRAIN_BYTES: usize = 64 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// The most that is made room for because a header says so many bytes will come.
const ROOM_MAX: usize = 4 << 20;

/// How long a body says it is.
pub(crate) fn length(body: &Body) -> Option<u64> {
    HttpBody::size_hint(body).exact()
}

/// Around every door: a body that is read comes at no less than the configured pace.
pub(crate) async fn paced(State(app): State<App>, request: Request, next: Next) -> Response {
    let config = &app.site.config.gateway;
    let (broken, mut told) = oneshot::channel();
    let paced = |body: Body| if body.is_end_stream() { body } else { Body::new(Paced::new(body, config, broken)) };
    let response = next.run(request.map(paced)).await;
    // Doors that read by themselves have said so in words of their own; what the router makes of it is plain text.
    let plain = response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/plain"));
    match told.try_recv() {
        Ok(slow) if plain && response.status().is_client_error() => too_slow(&slow).into_response(),
        _ => response,
    }
}

/// A body was given up: so few bytes came.
#[derive(Debug, thiserror::Error)]
#[error("the request body came at less than {least} bytes a second")]
pub(crate) struct TooSlow {
    least: u64,
}

/// What a body's own error says, if it is that the body was too slow.
pub(crate) fn slowness(error: &(dyn Error + 'static)) -> Option<ApiError> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(slow) = error.downcast_ref() {
            return Some(too_slow(slow));
        }
        cause = error.source();
    }
    None
}

fn too_slow(slow: &TooSlow) -> ApiError {
    ApiError::new(ErrorKind::Invalid, "BodyTooSlow", slow)
}

/// A body that must keep its pace. What counts is the time that somebody waited for it: who leaves it unread blames nobody.
struct Paced {
    /// Until it is given up.
    body: Option<Body>,
    /// Bytes a second.
    least: u64,
    grace: Duration,
    silence_max: Duration,
    bytes: u64,
    waited: Duration,
    /// Since when it is waited for, and until when at most.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    broken: Option<oneshot::Sender<TooSlow>>,
}

impl Paced {
    fn new(body: Body, config: &GatewayConfig, broken: oneshot::Sender<TooSlow>) -> Self {
        Self {
            body: Some(body),
            least: config.body_min_bytes_per_second,
            grace: Duration::from_millis(config.body_grace_ms),
            silence_max: Duration::from_millis(config.body_silence_max_ms),
            bytes: 0,
            waited: Duration::ZERO,
            waiting: None,
            broken: Some(broken),
        }
    }

    fn is_slow(&self) -> bool {
        let least = u128::from(self.least) * self.waited.as_millis() / 1_000;
        self.waited > self.grace && u128::from(self.bytes) < least
    }

    fn give_up(&mut self) -> axum::Error {
        if let Some(broken) = self.broken.take() {
            // Nobody listens once the answer is made.
            drop(broken.send(TooSlow { least: self.least }));
        }
        self.body = None;
        axum::Error::new(TooSlow { least: self.least })
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) else {
            let (_, silence) = this.waiting.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(this.silence_max))));
            return silence.as_mut().poll(cx).map(|()| Some(Err(this.give_up())));
        };
        if let Some((since, _)) = this.waiting.take() {
            this.waited += since.elapsed();
        }
        if let Some(Ok(frame)) = &frame {
            this.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
            if this.is_slow() {
                return Poll::Ready(Some(Err(this.give_up())));
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

/// The whole body, at most `limit` bytes.
///
/// # Errors
/// 413 past the limit, [`ErrorKind::Invalid`] when it breaks off, or is given up because it is too slow.
pub(crate) async fn read(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    read_counted(body, limit, |_| Ok(())).await
}

/// Likewise; `count` is told the length of each piece before it is kept and may refuse it.
///
/// # Errors
/// As [`read`], and what `count` says.
pub(crate) async fn read_counted(
    mut body: Body,
    limit: usize,
    mut count: impl FnMut(usize) -> Result<(), ApiError>,
) -> Result<Bytes, ApiError> {
    let expected = usize::try_from(HttpBody::size_hint(&body).lower()).unwrap_or(usize::MAX).min(limit).min(ROOM_MAX);
    let mut first: Option<Bytes> = None;
    let mut joined = BytesMut::new();
    let mut total = 0usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            slowness(&error).unwrap_or_else(|| {
                ApiError::new(ErrorKind::Invalid, "BodyIncomplete", "the request body broke off before its end; send it again")
            })
        })?;
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

#[cfg(test)]
mod tests;

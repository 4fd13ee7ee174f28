//! The one table from kinds of error to statuses, and the native envelope.

use std::fmt;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use strongroom_model::ErrorKind;

/// Seconds a client is asked to wait before it tries again.
const RETRY_AFTER_SECONDS: u64 = 2;

/// What a client is told: a stable code, a sentence, what it is about.
#[derive(Clone, Debug)]
pub struct ApiError(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: ErrorKind,
    code: &'static str,
    message: String,
    target: Option<String>,
    details: Vec<Value>,
    place: Option<Value>,
    retry_after_s: Option<u64>,
}

/// The status of a kind: the only place where it is decided.
#[must_use]
pub const fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden | ErrorKind::KeyRevoked => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::Unsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ErrorKind::Overloaded => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Internal | ErrorKind::Corrupt => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::Full => StatusCode::INSUFFICIENT_STORAGE,
    }
}

impl ApiError {
    /// An error of `kind` with its stable `code` and a sentence for the caller.
    pub fn new(kind: ErrorKind, code: &'static str, message: impl fmt::Display) -> Self {
        Self(Box::new(Inner {
            kind,
            code,
            message: message.to_string(),
            target: None,
            details: Vec::new(),
            place: None,
            retry_after_s: None,
        }))
    }
    /// What it is about: a field, a table, a header.
    #[must_use]
    pub fn target(mut self, target: impl Into<String>) -> Self {
        self.0.target = Some(target.into());
        self
    }
    /// One more detail (an object with `code` and `message`).
    #[must_use]
    pub fn detail(mut self, detail: Value) -> Self {
        self.0.details.push(detail);
        self
    }
    /// Where in a query it went wrong.
    #[must_use]
    pub fn inner(mut self, inner: Value) -> Self {
        self.0.place = Some(inner);
        self
    }
    /// How long to wait before the next try, of an error that is worth one.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after_s = Some(u64::from(seconds.max(1)));
        self
    }
    /// The kind, which decides the status.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.code
    }
    /// The sentence.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }
    /// The status and the envelope, for answers that hold several.
    pub(crate) fn status_and_body(&self) -> (StatusCode, Value) {
        let this = &*self.0;
        // Refusals that only HTTP knows.
        let status = match this.code {
            "MethodNotAllowed" => StatusCode::METHOD_NOT_ALLOWED,
            "NotAcceptable" => StatusCode::NOT_ACCEPTABLE,
            "PreconditionFailed" => StatusCode::PRECONDITION_FAILED,
            _ => status(this.kind),
        };
        let mut error = json!({"code": this.code, "message": this.message});
        if let Some(target) = &this.target {
            error["target"] = target.as_str().into();
        }
        if !this.details.is_empty() {
            error["details"] = this.details.clone().into();
        }
        if let Some(inner) = &this.place {
            error["innererror"] = inner.clone();
        }
        (status, json!({"error": error}))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, body) = self.status_and_body();
        let this = *self.0;
        metrics::counter!("server_errors_total", "code" => this.code).increment(1);
        if status.is_server_error() && !this.kind.is_transient() {
            tracing::error!(code = this.code, "a request failed");
        }
        let mut response = (status, Json(body)).into_response();
        // What took too long takes as long again: clients try it once more only if they are not asked to.
        if this.kind.is_transient() && this.kind != ErrorKind::TimedOut {
            let seconds = this.retry_after_s.unwrap_or(RETRY_AFTER_SECONDS);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

//! What a caller is told when the answer is no: status, code, inner code and a sentence, in Key Vault's envelope.

use axum::http::StatusCode;
use serde_json::{Value, json};

/// A refused call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) inner: Option<&'static str>,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, inner: None, message: message.into() }
    }

    /// 400: the request cannot be right.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadParameter", message)
    }

    /// 401: nobody we know.
    pub(crate) fn unknown_caller(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
    }

    /// 403 with the reason that clients decide on.
    pub(crate) fn forbidden(inner: &'static str, message: impl Into<String>) -> Self {
        Self { inner: Some(inner), ..Self::new(StatusCode::FORBIDDEN, "Forbidden", message) }
    }

    pub(crate) fn no_key(name: &str, version: Option<&str>) -> Self {
        let version = version.map(|version| format!("/{version}")).unwrap_or_default();
        Self::new(
            StatusCode::NOT_FOUND,
            "KeyNotFound",
            format!("A key with (name/id) {name}{version} was not found in this key vault. If it was deleted it may have to be recovered."),
        )
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    pub(crate) fn conflict(inner: Option<&'static str>, message: impl Into<String>) -> Self {
        Self { inner, ..Self::new(StatusCode::CONFLICT, "Conflict", message) }
    }

    /// 500: a disk or a bug; the sentence names no file.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", message)
    }

    /// The most precise code there is: what the access log keeps.
    pub(crate) fn finest(&self) -> &'static str {
        self.inner.unwrap_or(self.code)
    }

    pub(crate) fn body(&self) -> Value {
        let mut error = json!({"code": self.code, "message": self.message});
        if let Some(inner) = self.inner {
            error["innererror"] = json!({"code": inner});
        }
        json!({"error": error})
    }
}

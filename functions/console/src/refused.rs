//! Why a request is not answered as asked.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use shared::ports::{Error, ErrorKind};

/// A refusal, for a person to read. What failed on this side is logged, and not told.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) detail: String,
}

impl Refused {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
        }
    }

    pub(crate) fn not_found(what: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, what)
    }

    pub(crate) fn wrong(what: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, what)
    }

    pub(crate) fn read_only() -> Self {
        let detail = "this console is read-only for you: nothing is changed through it";
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// As JSON (RFC 9457).
    pub(crate) fn problem(&self) -> Response {
        let body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason(),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        (self.status, kind, Json(body).into_response().into_body()).into_response()
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        tracing::error!(error = error.chain(), "a request to the console failed");
        match error.kind() {
            ErrorKind::Retry => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the store is busy or out of reach: try again",
            ),
            ErrorKind::Reject | ErrorKind::Corrupt => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the store failed; the log says how",
            ),
        }
    }
}

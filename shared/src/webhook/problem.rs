use http::header::{ACCEPT, ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;

use super::Response;
use crate::model::RejectReason;
use crate::model::cloud_event::Refusal;

/// The longest detail of one event that is sent back, in characters: it may quote the event.
const DETAIL_CHARS_MAX: usize = 400;
/// Seconds after which a sender should try again.
const RETRY_AFTER_SECONDS: u32 = 5;

/// Why a request is not answered with 2xx: problem details as of RFC 9457.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The kind of problem, which gives type, title and status.
    pub kind: ProblemKind,
    /// What exactly, and what to do.
    pub detail: String,
    /// What is wrong with which events.
    pub errors: Vec<EventProblem>,
}

/// What is wrong with one event of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventProblem {
    /// The event's place in the request, from 0.
    pub index: usize,
    /// The kind of fault.
    pub reason: RejectReason,
    /// What exactly, and what to do.
    pub detail: String,
}

/// The kinds of problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// Events are sent by POST.
    Method,
    /// Nothing is taken at this path.
    NoSuchPath,
    /// The body is larger than is taken.
    TooLarge,
    /// The request holds more events than are taken at once.
    TooMany,
    /// The settings know no such tenant.
    UnknownTenant,
    /// The tenant's settings take nothing over HTTP.
    NotOverHttp,
    /// The request is not signed as it must be.
    Signature,
    /// The body is of a type that is not read.
    ContentType,
    /// The body is not what its type says.
    Unreadable,
    /// Some events cannot be taken, so none was.
    Refused,
    /// Some events have the identity of others that are journaled.
    Conflict,
    /// A store is busy or out of reach.
    Busy,
    /// Something is wrong on this side.
    Failed,
}

impl ProblemKind {
    /// The status, the end of the type, and the title.
    fn words(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method",
                "Events are sent by POST",
            ),
            Self::NoSuchPath => (StatusCode::NOT_FOUND, "no-such-path", "No such path"),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                "The body is too large",
            ),
            Self::TooMany => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-many-events",
                "Too many events in one request",
            ),
            Self::UnknownTenant => (StatusCode::NOT_FOUND, "unknown-tenant", "Unknown tenant"),
            Self::NotOverHttp => (
                StatusCode::FORBIDDEN,
                "not-over-http",
                "This tenant takes no events over HTTP",
            ),
            Self::Signature => (
                StatusCode::UNAUTHORIZED,
                "signature",
                "The request is not signed as it must be",
            ),
            Self::ContentType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "content-type",
                "The body is of a type that is not read",
            ),
            Self::Unreadable => (
                StatusCode::BAD_REQUEST,
                "unreadable-body",
                "The body cannot be read",
            ),
            Self::Refused => (
                StatusCode::BAD_REQUEST,
                "refused-events",
                "Events cannot be taken",
            ),
            Self::Conflict => (
                StatusCode::CONFLICT,
                "conflict",
                "Same identity, other content",
            ),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "try-again",
                "Try again later",
            ),
            Self::Failed => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "failed",
                "Something is wrong on this side",
            ),
        }
    }

    /// The status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        self.words().0
    }
}

impl Problem {
    /// A problem without events of its own.
    #[must_use]
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
        }
    }

    /// The problem with what is wrong with each of these events.
    #[must_use]
    pub fn with_events(mut self, refused: impl IntoIterator<Item = (usize, Refusal)>) -> Self {
        let shown = |(index, refusal): (usize, Refusal)| EventProblem {
            index,
            reason: refusal.reason,
            detail: refusal.detail.chars().take(DETAIL_CHARS_MAX).collect(),
        };
        self.errors.extend(refused.into_iter().map(shown));
        self
    }

    /// The problem as the sender gets it.
    #[must_use]
    pub fn response(&self) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: String,
            title: &'a str,
            status: u16,
            detail: &'a str,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            errors: &'a [EventProblem],
        }
        let (status, name, title) = self.kind.words();
        let body = Body {
            r#type: format!("foldback:problem/{name}"),
            title,
            status: status.as_u16(),
            detail: &self.detail,
            errors: &self.errors,
        };
        let mut headers = HeaderMap::new();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        match self.kind {
            ProblemKind::Method => {
                headers.insert(ALLOW, HeaderValue::from_static("POST"));
            }
            ProblemKind::Signature => {
                headers.insert(
                    WWW_AUTHENTICATE,
                    HeaderValue::from_static("Standard-Webhooks"),
                );
            }
            ProblemKind::ContentType => {
                headers.insert(
                    ACCEPT,
                    HeaderValue::from_static(
                        "application/cloudevents+json, application/cloudevents-batch+json, \
                         application/json",
                    ),
                );
            }
            ProblemKind::Busy => {
                headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
            }
            ProblemKind::NoSuchPath
            | ProblemKind::TooLarge
            | ProblemKind::TooMany
            | ProblemKind::UnknownTenant
            | ProblemKind::NotOverHttp
            | ProblemKind::Unreadable
            | ProblemKind::Refused
            | ProblemKind::Conflict
            | ProblemKind::Failed => {}
        }
        Response {
            status,
            headers,
            // Texts and numbers always become JSON.
            body: serde_json::to_string(&body).unwrap_or_default(),
        }
    }
}

//! Webhooks: which events a request holds, who signed it, and what the sender is told.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `mode` | the content modes of the `CloudEvents` HTTP binding, and plain JSON |
//! | `binary` | events in headers and body |
//! | `wrap` | plain JSON to events, as the tenant's settings say |
//! | `signature` | Standard Webhooks |
//! | `problem` | RFC 9457 |

mod binary;
mod epoch;
mod mode;
mod problem;
mod signature;
mod wrap;

use std::borrow::Cow;

use http::{HeaderMap, Method, StatusCode};
use percent_encoding::percent_decode_str;

use crate::model::cloud_event::Refusal;

pub use mode::Mode;
pub(crate) use mode::check_size;
pub use problem::{EventProblem, Problem, ProblemKind};
pub use signature::{Key, KeyError, SignatureError, Signatures, TOLERANCE_MS};

/// The largest body that is taken, in bytes.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// The most events one request may hold.
pub const REQUEST_EVENTS_MAX: usize = 500;

/// An HTTP request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path as sent, percent-encoded, without a query.
    pub path: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The body, freed of any transfer encoding.
    pub body: &'a [u8],
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers, `content-type` among them.
    pub headers: HeaderMap,
    /// The body.
    pub body: String,
}

/// The JSON text of one event, or why it cannot be one.
pub type EventText<'a> = Result<Cow<'a, [u8]>, Refusal>;

/// The tenant whose events are sent to this path.
///
/// # Errors
/// It is not a path that events are sent to; says which one is.
pub fn tenant_of_path(path: &str) -> Result<String, Problem> {
    let segment = path.strip_prefix("/events/");
    let segment = segment.filter(|id| !id.is_empty() && !id.contains('/'));
    let tenant = segment.and_then(|id| percent_decode_str(id).decode_utf8().ok());
    tenant.map(Cow::into_owned).ok_or_else(|| {
        Problem::new(
            ProblemKind::NoSuchPath,
            "events are sent to POST /events/{tenant}, where {tenant} is the tenant's id, \
             percent-encoded",
        )
    })
}

#[cfg(test)]
mod tests;

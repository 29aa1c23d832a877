use smol_str::SmolStr;

use super::{SpanId, TraceContext};
use crate::model::Timestamp;

/// Something that was done for an event, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Its trace and its own id.
    pub context: TraceContext,
    /// The span that it was done for, in the same trace.
    pub parent: Option<SpanId>,
    /// What was done, with few different values.
    pub name: String,
    /// The part it has in the trace.
    pub kind: SpanKind,
    /// When it began.
    pub start: Timestamp,
    /// When it was done.
    pub end: Timestamp,
    /// By the semantic conventions of OpenTelemetry where they have a name, else `foldback.…`.
    pub attributes: Vec<(&'static str, Value)>,
    /// Spans of other traces that it has to do with.
    pub links: Vec<TraceContext>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// The part of a span in its trace: <https://opentelemetry.io/docs/specs/otel/trace/api/#spankind>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// Answers a request.
    Server,
    /// Makes a message.
    Producer,
    /// Works on a message.
    Consumer,
    /// Asks a store.
    Client,
    /// Neither.
    Internal,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(SmolStr),
    /// A number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<&SmolStr> for Value {
    fn from(text: &SmolStr) -> Self {
        Self::Text(text.clone())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

//! Traces: which trace an event belongs to, and what spans its journey has.
//!
//! No id is drawn: a trace's is its sender's or follows from the event's identity, a span's follows from the
//! event and the step. So who is told of an event twice tells the same spans, every worker knows the parent of
//! what it does without being told, and a journey can be told again from what is kept.

mod context;
mod journey;
mod span;

pub use context::{SpanId, TraceContext, TraceId};
pub use journey::{Journey, Scope};
pub use span::{Span, SpanKind, Value};

use super::{Span, SpanId, SpanKind, TraceContext, TraceId, Value};
use crate::model::{
    ActionHierarchy, ActionNode, Entry, Event, EventHash, Group, Outcome, Timestamp, first_128_bits,
};

/// What spans call the parts of an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// The queue's kind: `messaging.system`.
    pub queue: &'static str,
    /// The rows' store: `db.system.name`.
    pub rows: &'static str,
}

impl Scope {
    /// Queue and rows in one file.
    pub const LOCAL: Self = Self {
        queue: "foldback",
        rows: "sqlite",
    };
    /// A queue in a file, rows in `MongoDB`.
    pub const LOCAL_WITH_MONGO: Self = Self {
        queue: "foldback",
        rows: "mongodb",
    };
    /// A stack.
    pub const AWS: Self = Self {
        queue: "aws_sqs",
        rows: "mongodb",
    };
}

/// What spans and metrics call the queue of events to be worked on.
const QUEUE: &str = "actions";

/// The way of an event of a group, from its sender to its rows.
///
/// Spans follow the conventions for messaging
/// (<https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/>), databases
/// (<https://opentelemetry.io/docs/specs/semconv/db/database-spans/>) and `CloudEvents`
/// (<https://opentelemetry.io/docs/specs/semconv/cloudevents/cloudevents-spans/>).
#[derive(Debug, Clone, Copy)]
pub struct Journey<'a> {
    entry: &'a Entry,
    trace: TraceId,
    sampled: bool,
    /// The span that it goes on from: the sender's or, of a copy, that of the group that states it.
    parent: Option<SpanId>,
}

impl<'a> Journey<'a> {
    /// That of an entry of a group's journal.
    #[must_use]
    pub fn of(entry: &'a Entry) -> Self {
        let event = &entry.event;
        let given = event.traceparent.as_deref().and_then(TraceContext::parse);
        let trace = given.map_or_else(|| own_trace(&entry.group.tenant, event), |one| one.trace);
        let stated = event.stated_by().map(|key| {
            let group = Group {
                tenant: entry.group.tenant.clone(),
                key,
            };
            span_of(trace, &group, event, PROCESS)
        });
        Self {
            entry,
            trace,
            sampled: given.is_none_or(|one| one.sampled),
            parent: stated.or(given.map(|one| one.span)),
        }
    }

    /// The trace it belongs to.
    #[must_use]
    pub fn trace(&self) -> TraceId {
        self.trace
    }

    /// The span that it goes on from, as far as its sender told.
    #[must_use]
    pub fn parent(&self) -> Option<SpanId> {
        self.parent
    }

    /// What its message carries on.
    #[must_use]
    pub fn created(&self) -> TraceContext {
        self.context(CREATE)
    }

    /// The making of its message, for a request if it came by one.
    #[must_use]
    pub fn creation(
        &self,
        scope: Scope,
        request: Option<TraceContext>,
        (start, end): (Timestamp, Timestamp),
    ) -> Span {
        let within = request.filter(|request| request.trace == self.trace);
        let beside = request.filter(|request| request.trace != self.trace);
        Span {
            context: self.created(),
            parent: within.map(|request| request.span).or(self.parent),
            name: format!("create {QUEUE}"),
            kind: SpanKind::Producer,
            start,
            end,
            attributes: self.about(scope, "create"),
            links: beside.into_iter().collect(),
            error: None,
        }
    }

    /// What became of it: its handling, each action, each write.
    #[must_use]
    pub fn handling(&self, scope: Scope, done: &ActionHierarchy, end: Timestamp) -> Vec<Span> {
        let mut attributes = self.about(scope, "process");
        attributes.push(("foldback.attempt", i64::from(done.attempt).into()));
        if let Some(late) = &done.late {
            attributes.push(("foldback.late_ms", late.ms.into()));
            attributes.push(("foldback.overtaken_by", (&late.overtaken_by).into()));
        }
        if done.unmapped {
            attributes.push(("foldback.unmapped", Value::Flag(true)));
        }
        let handling = Span {
            attributes,
            ..self.handled(PROCESS, (done.read_start, end))
        };
        let parent = handling.context;
        let mut spans = vec![handling];
        for (place, action) in done.actions.iter().enumerate() {
            self.action((place, action), parent, (scope, done, end), &mut spans);
        }
        spans
    }

    /// A try that came to nothing.
    #[must_use]
    pub fn failure(
        &self,
        scope: Scope,
        attempt: u32,
        why: &str,
        when: (Timestamp, Timestamp),
    ) -> Span {
        let mut attributes = self.about(scope, "process");
        attributes.push(("foldback.attempt", i64::from(attempt).into()));
        Span {
            attributes,
            error: Some(why.to_owned()),
            ..self.handled(&format!("{PROCESS}, try {attempt}"), when)
        }
    }

    fn handled(&self, step: &str, (start, end): (Timestamp, Timestamp)) -> Span {
        Span {
            context: self.context(step),
            parent: Some(self.created().span),
            name: format!("process {QUEUE}"),
            kind: SpanKind::Consumer,
            start,
            end,
            attributes: Vec::new(),
            links: Vec::new(),
            error: None,
        }
    }

    /// An action and, below it, its write and what it led to. All actions of a batch read together, at its
    /// beginning, and write together, at its end. Two observers may ask for one action: its place tells the
    /// two apart.
    fn action(
        &self,
        (place, action): (usize, &ActionNode),
        parent: TraceContext,
        within: (Scope, &ActionHierarchy, Timestamp),
        spans: &mut Vec<Span>,
    ) {
        let (scope, done, end) = within;
        let table = action.table.name();
        let id = action.action_id(self.entry.hash);
        let outcome = match action.outcome {
            Outcome::Changed => "changed",
            Outcome::Unchanged => "unchanged",
            Outcome::Held => "held",
        };
        let context = self.context(&format!("action {place} of {}: {id}", parent.span));
        let span = Span {
            context,
            parent: Some(parent.span),
            name: format!("apply {table}"),
            kind: SpanKind::Internal,
            start: done.read_start,
            end,
            attributes: vec![
                ("foldback.action", Value::from(id.to_string().as_str())),
                ("foldback.table", table.into()),
                ("foldback.row", (&action.id).into()),
                ("foldback.outcome", outcome.into()),
            ],
            links: Vec::new(),
            error: None,
        };
        let write = Span {
            context: self.context(&format!("write of {}", context.span)),
            parent: Some(context.span),
            name: format!("write {table}"),
            kind: SpanKind::Client,
            start: done.write_start,
            attributes: vec![
                ("db.system.name", scope.rows.into()),
                ("db.operation.name", "write".into()),
                ("db.collection.name", table.into()),
            ],
            ..span.clone()
        };
        spans.push(span);
        match action.outcome {
            Outcome::Changed | Outcome::Unchanged => spans.push(write),
            Outcome::Held => {}
        }
        for child in action.children.iter().enumerate() {
            self.action(child, context, within, spans);
        }
    }

    fn about(&self, scope: Scope, operation: &'static str) -> Vec<(&'static str, Value)> {
        let Entry { group, event, .. } = self.entry;
        vec![
            ("messaging.system", scope.queue.into()),
            ("messaging.operation.name", operation.into()),
            ("messaging.operation.type", operation.into()),
            ("messaging.destination.name", QUEUE.into()),
            (
                "messaging.destination.partition.id",
                Value::from(group.to_string().as_str()),
            ),
            ("cloudevents.event_id", (&event.id).into()),
            ("cloudevents.event_source", (&event.source).into()),
            ("cloudevents.event_type", (&event.kind).into()),
            ("cloudevents.event_spec_version", "1.0".into()),
            ("foldback.tenant", (&group.tenant).into()),
        ]
    }

    fn context(&self, step: &str) -> TraceContext {
        TraceContext {
            trace: self.trace,
            span: span_of(self.trace, &self.entry.group, &self.entry.event, step),
            sampled: self.sampled,
        }
    }
}

const CREATE: &str = "create";
const PROCESS: &str = "process";

/// The trace of an event whose sender names none: that of its identity, which its copies share.
fn own_trace(tenant: &str, event: &Event) -> TraceId {
    let identity = EventHash::of(&event.source, &event.id);
    let mut hasher = blake3::Hasher::new_derive_key("foldback 2026 trace of an event");
    hasher.update(&identity.0.to_le_bytes());
    hasher.update(tenant.as_bytes());
    TraceId(first_128_bits(&hasher).max(1))
}

/// The span of a step of a telling of an event, in a group.
fn span_of(trace: TraceId, group: &Group, event: &Event, step: &str) -> SpanId {
    let identity = EventHash::of(&event.source, &event.id).revised(event.revision());
    let mut hasher = blake3::Hasher::new_derive_key("foldback 2026 span of a step");
    hasher.update(&trace.0.to_le_bytes());
    hasher.update(&identity.0.to_le_bytes());
    for text in [&group.tenant, &group.key] {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.update(step.as_bytes());
    SpanId(EventHash(first_128_bits(&hasher)).short().max(1))
}

impl TraceContext {
    /// The span of a request that brought events, the first of them this one; in the trace that the request
    /// came with, else in that event's.
    #[must_use]
    pub fn of_request(given: Option<Self>, first: &Entry, at: Timestamp) -> Self {
        let journey = Journey::of(first);
        let trace = given.map_or(journey.trace, |one| one.trace);
        let step = format!("request {}", at.ms());
        Self {
            trace,
            span: span_of(trace, &first.group, &first.event, &step),
            sampled: given.map_or(journey.sampled, |one| one.sampled),
        }
    }
}

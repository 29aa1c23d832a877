use std::cmp::Ordering;

use shared::model::Timestamp;

use super::text;

/// One thing that happened in the CRM. What it reads like is in [`text`]; this is small because
/// many of them wait in memory for their turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Event {
    /// Event time.
    pub(super) at: Timestamp,
    /// The place among the lead's events, from 1, where the tenant's CRM numbers them.
    pub(super) sequence: Option<u32>,
    /// Unique over all events of a plan.
    pub(super) id: u64,
    /// The tenant, from 0.
    pub(super) tenant: u32,
    /// The lead, from 0.
    pub(super) lead: u64,
    /// What happened.
    pub(super) what: What,
}

/// What can happen to a lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// It came in, and somebody took it.
    Created { owner: &'static str, cents: u64 },
    /// It moved on, or somebody else took it, or its worth was corrected.
    StageChanged {
        from: &'static str,
        to: &'static str,
        owner: &'static str,
        cents: Option<u64>,
    },
    /// Somebody wrote something down; the sample's settings map no such event.
    NoteAdded { text: &'static str },
    /// It became a customer.
    Won { cents: u64 },
    /// It was given up.
    Lost { reason: &'static str },
    /// Something about one of its meetings.
    Meeting { step: Step, meeting: Meeting },
}

/// What can happen to a meeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Booked,
    Moved,
    Started,
    Held,
    Cancelled,
    NoShow,
}

/// A meeting as one event tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meeting {
    /// The place among the lead's meetings, from 1.
    pub(super) number: u32,
    pub(super) kind: &'static str,
    pub(super) host: &'static str,
    /// When it is to begin.
    pub(super) starts: Timestamp,
}

/// The total order: event time, sequence, source, id.
impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        let sources = || text::source(self.tenant).cmp(&text::source(other.tenant));
        (self.at, self.sequence)
            .cmp(&(other.at, other.sequence))
            .then_with(sources)
            .then_with(|| self.id.cmp(&other.id))
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// How a tenant's CRM writes its events. Tenants differ, as senders do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dialect {
    /// Times have no milliseconds, so that many are equal.
    pub(super) whole_seconds: bool,
    /// Events carry `sequence`, so that those of equal time keep their order.
    pub(super) sequence: bool,
}

impl Dialect {
    pub(super) fn of(tenant: u32) -> Self {
        Self {
            whole_seconds: tenant % 3 == 1,
            sequence: tenant % 3 == 2,
        }
    }
}

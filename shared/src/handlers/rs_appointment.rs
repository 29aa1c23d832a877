use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{Action, Ask, Handler, set};
use crate::model::{Group, GroupKind, Timestamp};
use crate::settings::{EventType, Mapped};

/// An appointment as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RSAppointment {
    /// The appointment's id.
    pub appointment_id: SmolStr,
    /// The last one named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assignee: Option<SmolStr>,
    /// Event time of the last cancellation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancelled_at: Option<Timestamp>,
    /// Event time of the last completion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// The kind of appointment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<SmolStr>,
    /// The lead it belongs to, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lead_id: Option<SmolStr>,
    /// Event time of the first `appointment.scheduled`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduled_at: Option<Timestamp>,
    /// Event time of the first start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// How often it was started.
    pub starts: u64,
    /// That of the last event in order; `None` only before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// The tenant.
    pub tenant: SmolStr,
}

/// Where an appointment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Agreed on, or moved.
    Scheduled,
    /// Under way.
    Started,
    /// Done.
    Completed,
    /// Called off.
    Cancelled,
    /// Nobody came.
    NoShow,
}

/// The three groups that a lead's appointments are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusGroup {
    /// Scheduled or started.
    Open,
    /// Completed.
    Completed,
    /// Cancelled, or nobody came.
    Cancelled,
}

impl Status {
    /// The status that an appointment event brings about; `None` for other events.
    #[must_use]
    pub fn after(kind: EventType) -> Option<Self> {
        match kind {
            EventType::AppointmentScheduled | EventType::AppointmentRescheduled => {
                Some(Self::Scheduled)
            }
            EventType::AppointmentStarted => Some(Self::Started),
            EventType::AppointmentCompleted => Some(Self::Completed),
            EventType::AppointmentCancelled => Some(Self::Cancelled),
            EventType::AppointmentNoShow => Some(Self::NoShow),
            EventType::LeadCreated
            | EventType::LeadUpdated
            | EventType::LeadConverted
            | EventType::LeadClosed => None,
        }
    }

    /// The group that a lead counts it in.
    #[must_use]
    pub fn group(self) -> StatusGroup {
        match self {
            Self::Scheduled | Self::Started => StatusGroup::Open,
            Self::Completed => StatusGroup::Completed,
            Self::Cancelled | Self::NoShow => StatusGroup::Cancelled,
        }
    }
}

impl Handler for RSAppointment {
    const VERSION: u32 = 1;
    const ID_FIELD: &'static str = "appointmentId";
    const GROUPS: &'static [GroupKind] = &[GroupKind::Lead, GroupKind::Appointment];

    fn route(mapped: &Mapped, _group: &Group) -> Option<SmolStr> {
        if mapped.kind.is_appointment() {
            mapped.fields.appointment_id.clone()
        } else {
            None
        }
    }

    fn new(group: &Group, id: &SmolStr) -> Self {
        Self {
            appointment_id: id.clone(),
            assignee: None,
            cancelled_at: None,
            completed_at: None,
            kind: None,
            lead_id: (group.kind() == GroupKind::Lead).then(|| group.key.clone()),
            scheduled_at: None,
            started_at: None,
            starts: 0,
            status: None,
            tenant: group.tenant.clone(),
        }
    }

    fn apply(&mut self, action: &Action<'_>) -> bool {
        let Action { event, ask } = *action;
        let Ask::Event(mapped) = ask else {
            return false;
        };
        let before = self.clone();
        set(&mut self.assignee, mapped.fields.assignee.as_ref());
        set(&mut self.kind, mapped.fields.kind.as_ref());
        self.status = Status::after(mapped.kind).or(self.status);
        match mapped.kind {
            EventType::AppointmentScheduled => {
                self.scheduled_at = self.scheduled_at.or(Some(event.time));
            }
            EventType::AppointmentStarted => {
                self.started_at = self.started_at.or(Some(event.time));
                // A legacy row may hold any number.
                self.starts = self.starts.saturating_add(1);
            }
            EventType::AppointmentCompleted => self.completed_at = Some(event.time),
            EventType::AppointmentCancelled => self.cancelled_at = Some(event.time),
            EventType::AppointmentRescheduled
            | EventType::AppointmentNoShow
            | EventType::LeadCreated
            | EventType::LeadUpdated
            | EventType::LeadConverted
            | EventType::LeadClosed => {}
        }
        *self != before
    }
}

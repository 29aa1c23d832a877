use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{Action, Ask, Handler, set};
use crate::model::{Amount, Group, Timestamp};
use crate::settings::{EventType, Mapped};

/// A lead as it stands. Fields that a later-ordered event sets win.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RSLead {
    /// What it may bring in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<Amount>,
    /// Who is in charge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assignee: Option<SmolStr>,
    /// Event time of the last `lead.closed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
    /// The reason that the last `lead.closed` gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed_reason: Option<SmolStr>,
    /// Event time of the first `lead.converted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub converted_at: Option<Timestamp>,
    /// Event time of the first `lead.created`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// How many mapped events the lead has, those of its appointments included.
    pub events: u64,
    /// The lead's id.
    pub lead_id: SmolStr,
    /// Where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<SmolStr>,
    /// The tenant.
    pub tenant: SmolStr,
}

impl Handler for RSLead {
    const VERSION: u32 = 1;
    const ID_FIELD: &'static str = "leadId";

    fn route(_mapped: &Mapped, group: &Group) -> Option<SmolStr> {
        Some(group.key.clone())
    }

    fn new(group: &Group, id: &SmolStr) -> Self {
        Self {
            amount: None,
            assignee: None,
            closed_at: None,
            closed_reason: None,
            converted_at: None,
            created_at: None,
            events: 0,
            lead_id: id.clone(),
            stage: None,
            tenant: group.tenant.clone(),
        }
    }

    fn apply(&mut self, action: &Action<'_>) -> bool {
        let Action { event, ask } = *action;
        let Ask::Event(mapped) = ask else {
            return false;
        };
        // A legacy row may hold any number.
        self.events = self.events.saturating_add(1);
        set(&mut self.assignee, mapped.fields.assignee.as_ref());
        if mapped.kind.is_appointment() {
            return true;
        }
        set(&mut self.stage, mapped.fields.stage.as_ref());
        set(&mut self.amount, mapped.fields.amount.as_ref());
        match mapped.kind {
            EventType::LeadCreated => self.created_at = self.created_at.or(Some(event.time)),
            EventType::LeadConverted => self.converted_at = self.converted_at.or(Some(event.time)),
            EventType::LeadClosed => {
                self.closed_at = Some(event.time);
                self.closed_reason.clone_from(&mapped.fields.closed_reason);
            }
            EventType::LeadUpdated
            | EventType::AppointmentScheduled
            | EventType::AppointmentRescheduled
            | EventType::AppointmentStarted
            | EventType::AppointmentCompleted
            | EventType::AppointmentCancelled
            | EventType::AppointmentNoShow => {}
        }
        true
    }
}

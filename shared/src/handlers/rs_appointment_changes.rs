use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{Action, Ask, Handler, RSAppointment, Row, Status, Version};
use crate::model::{Group, GroupKind};
use crate::settings::Mapped;

/// An appointment's history: one version for each event, in order, that changed its status or
/// assignee. The row itself is the version in force; the versions are stored one by one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RSAppointmentChanges {
    /// The appointment's id.
    pub appointment_id: SmolStr,
    #[serde(skip_serializing_if = "Option::is_none")]
    assignee: Option<SmolStr>,
    /// How many versions there are.
    pub n: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    /// The tenant.
    pub tenant: SmolStr,
    #[serde(skip)]
    versions: Vec<Version>,
}

/// What a version holds.
#[derive(Serialize)]
struct Fields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    assignee: Option<&'a SmolStr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
}

/// Compares the version in force; the history is stored, and compared, on its own.
impl PartialEq for RSAppointmentChanges {
    fn eq(&self, other: &Self) -> bool {
        self.appointment_id == other.appointment_id
            && self.assignee == other.assignee
            && self.n == other.n
            && self.status == other.status
            && self.tenant == other.tenant
    }
}

impl Handler for RSAppointmentChanges {
    const VERSION: u32 = 1;
    const ID_FIELD: &'static str = "appointmentId";
    const GROUPS: &'static [GroupKind] = RSAppointment::GROUPS;

    fn route(mapped: &Mapped, group: &Group) -> Option<SmolStr> {
        RSAppointment::route(mapped, group)
    }

    fn follows(adopted: &Row) -> Option<SmolStr> {
        match adopted {
            Row::RSAppointment(appointment) => Some(appointment.appointment_id.clone()),
            Row::RSLead(_)
            | Row::RSAppointmentChanges(_)
            | Row::RSLeadGlobalConversions(_)
            | Row::RSTenantDailyConversions(_) => None,
        }
    }

    fn new(group: &Group, id: &SmolStr) -> Self {
        Self {
            appointment_id: id.clone(),
            assignee: None,
            n: 0,
            status: None,
            tenant: group.tenant.clone(),
            versions: Vec::new(),
        }
    }

    fn apply(&mut self, action: &Action<'_>) -> bool {
        let Action { event, ask } = *action;
        let (assignee, status) = match ask {
            Ask::Event(mapped) => (
                mapped.fields.assignee.as_ref().or(self.assignee.as_ref()),
                Status::after(mapped.kind).or(self.status),
            ),
            Ask::Baseline(Row::RSAppointment(adopted)) => {
                (adopted.assignee.as_ref(), adopted.status)
            }
            Ask::Baseline(
                Row::RSLead(_)
                | Row::RSAppointmentChanges(_)
                | Row::RSLeadGlobalConversions(_)
                | Row::RSTenantDailyConversions(_),
            )
            | Ask::Contribution(_) => return false,
        };
        if assignee == self.assignee.as_ref() && status == self.status {
            return false;
        }
        let fields = serde_json::to_string(&Fields { assignee, status }).unwrap_or_default();
        self.assignee = assignee.cloned();
        self.status = status;
        if let Some(open) = self.versions.last_mut() {
            open.valid_to = Some(event.time);
        }
        self.n += 1;
        self.versions.push(Version {
            n: self.n,
            valid_from: event.time,
            valid_to: None,
            caused_by: event.id.clone(),
            fields: fields.into(),
        });
        true
    }

    fn versions(&self) -> Option<&[Version]> {
        Some(&self.versions)
    }

    fn last_version(&self) -> u32 {
        self.n
    }
}

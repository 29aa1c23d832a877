use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{Action, Ask, Handler, StatusGroup};
use crate::model::{Amount, Group, Timestamp};
use crate::observers::Contribution;
use crate::settings::Mapped;

/// What a lead has led to: its conversions by name, its appointments by status, and how long the
/// way to being a customer took. Derived: fed by observers alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RSLeadGlobalConversions {
    /// Appointments that are cancelled now, or to which nobody came.
    pub appointments_cancelled: i64,
    /// Appointments that are completed now.
    pub appointments_completed: i64,
    /// Appointments that are scheduled or started now.
    pub appointments_open: i64,
    /// Conversions by the names of the tenant's rules.
    pub conversions: BTreeMap<SmolStr, Conversion>,
    /// `RSLead.convertedAt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub converted_at: Option<Timestamp>,
    /// The lead's id.
    pub lead_id: SmolStr,
    /// Whole seconds from `RSLead.createdAt` to `convertedAt`, cut off towards zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_to_conversion: Option<i64>,
    /// The tenant.
    pub tenant: SmolStr,
}

/// One conversion's figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Conversion {
    /// How often.
    pub count: u64,
    /// Event time of the first.
    pub first_at: Timestamp,
    /// Event time of the last.
    pub last_at: Timestamp,
    /// What all of them are worth; `None` where no event gave a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Amount>,
}

impl Handler for RSLeadGlobalConversions {
    const VERSION: u32 = 1;
    const ID_FIELD: &'static str = "leadId";

    fn route(_mapped: &Mapped, _group: &Group) -> Option<SmolStr> {
        None
    }

    fn new(group: &Group, id: &SmolStr) -> Self {
        Self {
            appointments_cancelled: 0,
            appointments_completed: 0,
            appointments_open: 0,
            conversions: BTreeMap::new(),
            converted_at: None,
            lead_id: id.clone(),
            seconds_to_conversion: None,
            tenant: group.tenant.clone(),
        }
    }

    fn apply(&mut self, action: &Action<'_>) -> bool {
        let Ask::Contribution(contribution) = action.ask else {
            return false;
        };
        match contribution {
            Contribution::Converted { name, value, at } => self.convert(name, *value, *at),
            Contribution::LeadMilestones {
                created_at,
                converted_at,
            } => {
                self.converted_at = *converted_at;
                self.seconds_to_conversion = created_at
                    .zip(*converted_at)
                    .map(|(created, converted)| converted.ms_since(created) / 1_000);
            }
            Contribution::AppointmentMoved { from, to } => {
                if let Some(from) = from {
                    self.count(*from, -1);
                }
                if let Some(to) = to {
                    self.count(*to, 1);
                }
            }
        }
        true
    }
}

impl RSLeadGlobalConversions {
    fn count(&mut self, group: StatusGroup, more: i64) {
        let count = match group {
            StatusGroup::Open => &mut self.appointments_open,
            StatusGroup::Completed => &mut self.appointments_completed,
            StatusGroup::Cancelled => &mut self.appointments_cancelled,
        };
        // A legacy row may hold any number.
        *count = count.saturating_add(more);
    }

    fn convert(&mut self, name: &SmolStr, value: Option<Amount>, at: Timestamp) {
        let conversion = self.conversions.entry(name.clone()).or_insert(Conversion {
            count: 0,
            first_at: at,
            last_at: at,
            value: None,
        });
        conversion.count = conversion.count.saturating_add(1);
        conversion.first_at = conversion.first_at.min(at);
        conversion.last_at = conversion.last_at.max(at);
        if let Some(value) = value {
            conversion.value = Some(conversion.value.unwrap_or_default().plus(value));
        }
    }
}

use smol_str::SmolStr;

use super::{Cause, Contribution, Observer};
use crate::handlers::{Row, StatusGroup, Table};
use crate::model::Group;

/// Sees appointments: one that goes from open to completed, say, changes its lead's counts.
#[derive(Debug)]
pub(super) struct AppointmentStatus;

impl Observer for AppointmentStatus {
    const WATCHES: Table = Table::RSAppointment;
    const FEEDS: Table = Table::RSLeadGlobalConversions;
    type Seen = Option<StatusGroup>;

    fn target(group: &Group) -> SmolStr {
        group.key.clone()
    }

    fn look(row: &Row) -> Option<Option<StatusGroup>> {
        let Row::RSAppointment(appointment) = row else {
            return None;
        };
        Some(appointment.status.map(|status| status.group()))
    }

    fn notice(from: Option<StatusGroup>, after: &Row, _cause: &Cause<'_>) -> Vec<Contribution> {
        let to = Self::look(after).flatten();
        if to == from {
            return Vec::new();
        }
        vec![Contribution::AppointmentMoved { from, to }]
    }
}

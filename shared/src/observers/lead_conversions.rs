use smol_str::SmolStr;

use super::{Cause, Contribution, Observer};
use crate::handlers::{Row, Table};
use crate::model::{Group, Timestamp};

/// Sees leads: an event that counts for a conversion, a lead created or converted.
#[derive(Debug)]
pub(super) struct LeadConversions;

/// The milestones that conversions are measured by.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Milestones {
    created_at: Option<Timestamp>,
    converted_at: Option<Timestamp>,
}

impl Observer for LeadConversions {
    const WATCHES: Table = Table::RSLead;
    const FEEDS: Table = Table::RSLeadGlobalConversions;
    type Seen = Milestones;

    fn target(group: &Group) -> SmolStr {
        group.key.clone()
    }

    fn look(row: &Row) -> Option<Milestones> {
        let Row::RSLead(lead) = row else { return None };
        Some(Milestones {
            created_at: lead.created_at,
            converted_at: lead.converted_at,
        })
    }

    fn notice(before: Milestones, after: &Row, cause: &Cause<'_>) -> Vec<Contribution> {
        let mut contributions: Vec<Contribution> = Vec::new();
        if let Some(now) = Self::look(after)
            && now != before
        {
            let Milestones {
                created_at,
                converted_at,
            } = now;
            contributions.push(Contribution::LeadMilestones {
                created_at,
                converted_at,
            });
        }
        contributions.extend(cause.meaning.conversions().iter().map(|hit| {
            Contribution::Converted {
                name: hit.name.clone(),
                value: hit.value,
                at: cause.event.time,
            }
        }));
        contributions
    }
}

use std::fmt;

use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};

use super::{EventHash, Timestamp};

/// How the partition keys of Foldback's own groups begin. Nobody else may name one.
pub const OWN_KEYS: &str = "foldback:";
const DAY_KEYS: &str = "foldback:day/";
const APPOINTMENT_KEYS: &str = "foldback:appointment/";
const EVENT_KEYS: &str = "foldback:event/";
/// The characters of an RFC 3339 date.
const DAY_CHARS: usize = 10;

/// The unit of ordering: one tenant's partition key. One SQS message group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Group {
    /// The tenant.
    pub tenant: SmolStr,
    /// The partition key, here the lead.
    pub key: SmolStr,
}

impl Group {
    /// 63 bits of BLAKE3 over the group, never negative: stores keep and partition groups by it.
    #[must_use]
    pub fn hash(&self) -> i64 {
        (EventHash::of(&self.tenant, &self.key).short() >> 1).cast_signed()
    }
}

impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lead => "lead",
            Self::Appointment => "appointment",
            Self::Day => "day",
            Self::Event => "event",
        })
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.tenant, self.key)
    }
}

/// What a group is the journal of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupKind {
    /// A lead, and all that names it.
    Lead,
    /// An appointment whose events do not name their lead.
    Appointment,
    /// A UTC day of a tenant; takes copies of other groups' events.
    Day,
    /// An event of which the first that came was a withdrawal that names no group: the home of its tellings.
    /// It has no rows.
    Event,
}

impl Group {
    /// The tenant's UTC day on which `at` lies.
    #[must_use]
    pub fn of_day(tenant: &SmolStr, at: Timestamp) -> Self {
        let text = at.to_string();
        let day = text.get(..DAY_CHARS).unwrap_or_default();
        Self {
            tenant: tenant.clone(),
            key: format_smolstr!("{DAY_KEYS}{day}"),
        }
    }

    /// The appointment's own group.
    #[must_use]
    pub fn of_appointment(tenant: &SmolStr, id: &str) -> Self {
        Self {
            tenant: tenant.clone(),
            key: format_smolstr!("{APPOINTMENT_KEYS}{id}"),
        }
    }

    /// The home of an event that is withdrawn before anybody said which group it belongs to.
    #[must_use]
    pub fn of_event(tenant: &SmolStr, identity: EventHash) -> Self {
        Self {
            tenant: tenant.clone(),
            key: format_smolstr!("{EVENT_KEYS}{identity}"),
        }
    }

    /// The groups of which something with this id is the subject: a lead, an appointment, a day.
    #[must_use]
    pub fn of_subject(tenant: &SmolStr, id: &SmolStr) -> [Self; 3] {
        let group = |key: SmolStr| Self {
            tenant: tenant.clone(),
            key,
        };
        [
            group(id.clone()),
            Self::of_appointment(tenant, id),
            group(format_smolstr!("{DAY_KEYS}{id}")),
        ]
    }

    /// What it is the journal of.
    #[must_use]
    pub fn kind(&self) -> GroupKind {
        if !self.key.starts_with(OWN_KEYS) {
            GroupKind::Lead
        } else if self.key.starts_with(DAY_KEYS) {
            GroupKind::Day
        } else if self.key.starts_with(EVENT_KEYS) {
            GroupKind::Event
        } else {
            GroupKind::Appointment
        }
    }

    /// The id of what it is the journal of: the lead's, the appointment's, the day, or the event's hash.
    #[must_use]
    pub fn subject(&self) -> &str {
        let prefix = match self.kind() {
            GroupKind::Lead => "",
            GroupKind::Appointment => APPOINTMENT_KEYS,
            GroupKind::Day => DAY_KEYS,
            GroupKind::Event => EVENT_KEYS,
        };
        self.key.strip_prefix(prefix).unwrap_or(&self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_say_what_they_are_of() {
        let tenant = SmolStr::from("acme");
        let at = Timestamp::parse("2026-03-01T23:59:59.999+01:00").expect("a time");
        let lead = Group {
            tenant: tenant.clone(),
            key: "lead-7".into(),
        };
        for (group, kind, subject) in [
            (lead, GroupKind::Lead, "lead-7"),
            (
                Group::of_appointment(&tenant, "a/1"),
                GroupKind::Appointment,
                "a/1",
            ),
            (Group::of_day(&tenant, at), GroupKind::Day, "2026-03-01"),
        ] {
            assert_eq!((group.kind(), group.subject()), (kind, subject), "{group}");
            assert!(Group::of_subject(&tenant, &subject.into()).contains(&group));
        }
        let first = Timestamp::parse("2026-03-01T00:30:00+01:00").expect("a time");
        assert_eq!(Group::of_day(&tenant, first).subject(), "2026-02-28");
    }
}

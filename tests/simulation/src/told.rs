//! What the outside says happened.

use serde_json::{Map, Value, json};
use shared::model::Timestamp;

/// The types that senders use, and that the rules give the same names; the last has no rule.
pub(crate) const KINDS: [&str; 11] = [
    "lead.created",
    "lead.updated",
    "lead.converted",
    "lead.closed",
    "appointment.scheduled",
    "appointment.rescheduled",
    "appointment.started",
    "appointment.completed",
    "appointment.cancelled",
    "appointment.no_show",
    "crm.noise",
];

/// A tenant: one whose appointments are told by lead, and one whose appointments need not name any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tenant {
    Acme,
    Bolt,
}

impl Tenant {
    pub(crate) const ALL: [Self; 2] = [Self::Acme, Self::Bolt];

    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::Acme => "acme",
            Self::Bolt => "bolt",
        }
    }

    /// Whether an appointment is a group of its own.
    pub(crate) fn links(self) -> bool {
        self == Self::Bolt
    }
}

/// One telling of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) tenant: Tenant,
    pub(crate) source: &'static str,
    pub(crate) id: String,
    pub(crate) revision: u32,
    pub(crate) withdrawn: bool,
    pub(crate) kind: &'static str,
    pub(crate) ms: i64,
    /// Microseconds below the millisecond.
    pub(crate) below: u32,
    pub(crate) sequence: Option<&'static str>,
    pub(crate) lead: Option<String>,
    pub(crate) appointment: Option<String>,
    /// Fields of the payload that the rules read.
    pub(crate) fields: Vec<(&'static str, String)>,
}

impl Told {
    pub(crate) fn is_appointment(&self) -> bool {
        self.kind.starts_with("appointment.")
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let found = fields.find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn time(&self) -> String {
        Timestamp::from_ms(self.ms).to_string()
    }

    /// The event as its sender writes it; `number` says in its payload which telling it is.
    pub(crate) fn text(&self, number: usize) -> String {
        let mut data: Map<String, Value> = Map::new();
        for (name, value) in &self.fields {
            data.insert((*name).to_owned(), json!(value));
        }
        data.insert("number".to_owned(), json!(number));
        if let Some(lead) = &self.lead {
            data.insert("lead".to_owned(), json!(lead));
        }
        if let Some(id) = &self.appointment {
            data.insert("appointment".to_owned(), json!(id));
        }
        let time = self.time();
        let time = format!("{}{:03}Z", time.trim_end_matches('Z'), self.below);
        let mut event = json!({
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": self.kind,
            "time": time,
            "tenant": self.tenant.id(),
            "data": data,
        });
        if let Some(object) = event.as_object_mut() {
            if let Some(sequence) = self.sequence {
                object.insert("sequence".to_owned(), json!(sequence));
            }
            if self.revision > 0 {
                object.insert("revision".to_owned(), json!(self.revision));
            }
            if self.withdrawn {
                object.insert("withdrawn".to_owned(), json!(true));
            }
        }
        event.to_string()
    }

    /// In a few words.
    pub(crate) fn story(&self) -> String {
        let mut words = format!("{} {} at {}", self.id, self.kind, self.time());
        if self.below > 0 {
            words.push_str(&format!(" + {} µs", self.below));
        }
        if let Some(sequence) = self.sequence {
            words.push_str(&format!(", sequence {sequence}"));
        }
        words.push_str(&format!(", {} of {}", self.source, self.tenant.id()));
        if let Some(lead) = &self.lead {
            words.push_str(&format!(", {lead}"));
        }
        if let Some(id) = &self.appointment {
            words.push_str(&format!(", {id}"));
        }
        for (name, value) in &self.fields {
            words.push_str(&format!(", {name} {value:?}"));
        }
        if self.revision > 0 {
            words.push_str(&format!(", revision {}", self.revision));
        }
        if self.withdrawn {
            words.push_str(", withdrawn");
        }
        words
    }
}

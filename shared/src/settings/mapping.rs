use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::file::Expression;
use super::pattern::Pattern;
use super::pluck::Pluck;
use super::take::Takes;
use crate::handlers::Baseline;
use crate::model::cloud_event::ATTRIBUTE_BYTES_MAX;
use crate::model::{Amount, Event};

/// The canonical event types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EventType {
    /// A lead came into being.
    #[serde(rename = "lead.created")]
    LeadCreated,
    /// Something about a lead changed.
    #[serde(rename = "lead.updated")]
    LeadUpdated,
    /// A lead became a customer.
    #[serde(rename = "lead.converted")]
    LeadConverted,
    /// A lead was given up.
    #[serde(rename = "lead.closed")]
    LeadClosed,
    /// An appointment was made.
    #[serde(rename = "appointment.scheduled")]
    AppointmentScheduled,
    /// An appointment was moved; its status is `scheduled` again.
    #[serde(rename = "appointment.rescheduled")]
    AppointmentRescheduled,
    /// An appointment began.
    #[serde(rename = "appointment.started")]
    AppointmentStarted,
    /// An appointment took place.
    #[serde(rename = "appointment.completed")]
    AppointmentCompleted,
    /// An appointment was called off.
    #[serde(rename = "appointment.cancelled")]
    AppointmentCancelled,
    /// Nobody came.
    #[serde(rename = "appointment.no_show")]
    AppointmentNoShow,
}

impl EventType {
    /// Whether the event is about an appointment (and so about its lead too).
    #[must_use]
    pub fn is_appointment(self) -> bool {
        match self {
            Self::LeadCreated | Self::LeadUpdated | Self::LeadConverted | Self::LeadClosed => false,
            Self::AppointmentScheduled
            | Self::AppointmentRescheduled
            | Self::AppointmentStarted
            | Self::AppointmentCompleted
            | Self::AppointmentCancelled
            | Self::AppointmentNoShow => true,
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// What a tenant's settings make of an event's type.
#[derive(Debug, Clone, PartialEq)]
pub enum Mapping {
    /// The event has a meaning.
    Mapped(Meaning),
    /// No rule takes its type: journaled, counted, shown.
    Unmapped,
    /// A rule takes it, but a field it needs is missing or wrong; says which and why.
    Fault(String),
}

/// What an event means.
#[derive(Debug, Clone, PartialEq)]
pub enum Meaning {
    /// What a rule of the tenant's settings says it does.
    Event(Mapped),
    /// What a row was when Foldback took it over, whatever the settings say.
    Baseline(Baseline),
}

impl Meaning {
    /// The conversions it counts for. A baseline counts for none: what it holds was counted before.
    #[must_use]
    pub fn conversions(&self) -> &[ConversionHit] {
        match self {
            Self::Event(mapped) => &mapped.conversions,
            Self::Baseline(_) => &[],
        }
    }
}

impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(mapped) => mapped.kind.fmt(f),
            Self::Baseline(baseline) => write!(f, "baseline of {}", baseline.table().name()),
        }
    }
}

/// An event's canonical meaning by a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapped {
    /// The canonical type.
    pub kind: EventType,
    /// The fields it sets.
    pub fields: Fields,
    /// The conversions it counts for.
    pub conversions: Vec<ConversionHit>,
}

/// The fields an event sets; one that is `None` leaves the row's as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fields {
    /// The lead's stage.
    pub stage: Option<SmolStr>,
    /// The lead's amount.
    pub amount: Option<Amount>,
    /// Who is in charge.
    pub assignee: Option<SmolStr>,
    /// Why the lead was closed.
    pub closed_reason: Option<SmolStr>,
    /// Which appointment; always there on appointment events.
    pub appointment_id: Option<SmolStr>,
    /// The kind of appointment.
    pub kind: Option<SmolStr>,
}

/// One conversion that an event counts for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversionHit {
    /// The rule's name.
    pub name: SmolStr,
    /// What it is worth, where the rule names a value and the event has it.
    pub value: Option<Amount>,
}

/// The fields that a rule may set, as a settings file names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Field {
    Stage,
    Amount,
    Assignee,
    ClosedReason,
    AppointmentId,
    Kind,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// One compiled mapping rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) pattern: Pattern,
    to: EventType,
    set: Takes<Field>,
}

/// One compiled conversion rule.
#[derive(Debug)]
pub(super) struct ConversionRule {
    pub(super) name: SmolStr,
    pub(super) on: On,
    pub(super) value: Option<ValueOf>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum On {
    Canonical(EventType),
    External(Pattern),
}

#[derive(Debug)]
pub(super) enum ValueOf {
    Amount,
    Pointer(Pluck),
}

impl Rule {
    pub(super) fn new(
        pattern: Pattern,
        to: EventType,
        set: BTreeMap<Field, Expression>,
    ) -> Result<Self, String> {
        if to.is_appointment() && !set.contains_key(&Field::AppointmentId) {
            return Err(format!(
                "type {:?} maps to {to} but sets no appointmentId; say where it is, for example \
                 set = {{ appointmentId = {{ pointer = \"/appointment/id\" }} }}",
                pattern.text()
            ));
        }
        Ok(Self {
            pattern,
            to,
            set: Takes::new(set),
        })
    }

    /// The event's meaning by this rule, or which field is wrong and why.
    pub(super) fn apply(
        &self,
        event: &Event,
        captures: &[&str],
        conversions: &[ConversionRule],
    ) -> Result<Mapped, String> {
        let mut fields = Fields::default();
        for (field, value) in self.set.values(event.data.json(), captures) {
            fields
                .set(field, value)
                .map_err(|why| format!("{field}: {why}"))?;
        }
        if self.to.is_appointment() && fields.appointment_id.is_none() {
            return Err(format!(
                "appointmentId: {}",
                self.where_is(Field::AppointmentId)
            ));
        }
        let mut hits = Vec::new();
        for rule in conversions
            .iter()
            .filter(|rule| rule.on.takes(self.to, &event.kind))
        {
            let value = rule
                .value(&fields, event)
                .map_err(|why| format!("{}: {why}", rule.name))?;
            hits.push(ConversionHit {
                name: rule.name.clone(),
                value,
            });
        }
        Ok(Mapped {
            kind: self.to,
            fields,
            conversions: hits,
        })
    }

    fn where_is(&self, field: Field) -> String {
        match self.set.pointer(field) {
            Some(pointer) => format!("the data has no text at {pointer}"),
            None => "it is empty".to_owned(),
        }
    }
}

impl Fields {
    fn set(&mut self, field: Field, value: SmolStr) -> Result<(), String> {
        if value.len() > ATTRIBUTE_BYTES_MAX {
            return Err(format!("more than {ATTRIBUTE_BYTES_MAX} bytes"));
        }
        match field {
            Field::Stage => self.stage = Some(value),
            Field::Amount => self.amount = Some(amount(&value)?),
            Field::Assignee => self.assignee = Some(value),
            Field::ClosedReason => self.closed_reason = Some(value),
            Field::AppointmentId => self.appointment_id = Some(value).filter(|id| !id.is_empty()),
            Field::Kind => self.kind = Some(value),
        }
        Ok(())
    }
}

impl On {
    fn takes(&self, canonical: EventType, external: &str) -> bool {
        match self {
            Self::Canonical(kind) => *kind == canonical,
            Self::External(pattern) => pattern.matches(external),
        }
    }
}

impl ConversionRule {
    fn value(&self, fields: &Fields, event: &Event) -> Result<Option<Amount>, String> {
        match &self.value {
            None => Ok(None),
            Some(ValueOf::Amount) => Ok(fields.amount),
            Some(ValueOf::Pointer(pluck)) => {
                let text = event.data.json().and_then(|json| pluck.one(json));
                text.map(|text| amount(&text)).transpose()
            }
        }
    }
}

fn amount(text: &str) -> Result<Amount, String> {
    Amount::parse(text).map_err(|error| error.to_string())
}

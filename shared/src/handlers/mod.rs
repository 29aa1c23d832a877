//! The tables. One file each: the row and the pure rule of how it follows from one more event.
//!
//! Adding a table is adding its file and one line to `tables!`; journal, ordering, replay, trail
//! and export come with it.

mod baseline;
mod fields;
mod rs_appointment;
mod rs_appointment_changes;
mod rs_lead;
mod rs_lead_global_conversions;
mod rs_tenant_daily_conversions;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

pub use baseline::{Baseline, known_fields};
pub use rs_appointment::{RSAppointment, Status, StatusGroup};
pub use rs_appointment_changes::RSAppointmentChanges;
pub use rs_lead::RSLead;
pub use rs_lead_global_conversions::{Conversion, RSLeadGlobalConversions};
pub use rs_tenant_daily_conversions::{DailyConversion, RSTenantDailyConversions};

use crate::flow::{Change, FieldPathError};
use crate::model::{Event, Group, GroupKind, Timestamp};
use crate::observers::Contribution;
use crate::settings::{Mapped, Meaning};

/// The pure rule of one table: how a row follows from one more event.
///
/// `apply` must give one result for one row and one action: no clock, no randomness, no I/O. It is
/// called with a group's events in order; live handling and replay call the same function.
///
/// ```
/// use shared::handlers::{Action, Ask, Handler, RSLead};
/// use shared::model::{Group, cloud_event};
/// use shared::settings::{EventType, Fields, Mapped};
///
/// let group = Group { tenant: "acme".into(), key: "lead-7".into() };
/// let event = cloud_event::parse(br#"{"specversion":"1.0","source":"//crm","id":"1",
///     "type":"lead.new","time":"2026-03-01T09:30:00Z"}"#)?;
/// let fields = Fields { stage: Some("open".into()), ..Fields::default() };
/// let mapped = Mapped { kind: EventType::LeadCreated, fields, conversions: vec![] };
///
/// let mut lead = RSLead::new(&group, &group.key);
/// assert!(lead.apply(&Action { event: &event, ask: Ask::Event(&mapped) }));
/// assert_eq!(lead.stage.as_deref(), Some("open"));
/// assert_eq!(lead.created_at, Some(event.time));
/// # Ok::<(), shared::model::cloud_event::Refusal>(())
/// ```
pub trait Handler: Clone + PartialEq + Serialize + DeserializeOwned {
    /// Grows when the rule changes, so that replay can tell rows made by an older one.
    const VERSION: u32;
    /// Whether any order of the same actions gives the same row; policy `atomic` needs it.
    const COMMUTATIVE: bool = false;

    /// The name of the field that holds a row's id.
    const ID_FIELD: &'static str;

    /// What the groups are whose events rows of the table follow from.
    const GROUPS: &'static [GroupKind] = &[GroupKind::Lead];

    /// The id of the row that the event itself acts on, if any. Derived tables have none: they are
    /// fed by [observers](crate::observers).
    fn route(mapped: &Mapped, group: &Group) -> Option<SmolStr>;

    /// The id of the row that the baseline of `adopted`, a row of another table, acts on too, if any.
    /// A baseline of this table's own row needs no rule: the row becomes what it says.
    fn follows(_adopted: &Row) -> Option<SmolStr> {
        None
    }

    /// A row that holds no event yet.
    fn new(group: &Group, id: &SmolStr) -> Self;

    /// Takes in one more event and says whether the row's content changed.
    fn apply(&mut self, action: &Action<'_>) -> bool;

    /// What `apply` does to a row, as changes that can be made without reading it; policy `atomic` needs
    /// them of a commutative rule.
    ///
    /// # Errors
    /// A name in the event is none that a document store can address.
    fn changes(_mapped: &Mapped) -> Result<Vec<Change>, FieldPathError> {
        Ok(Vec::new())
    }

    /// A temporal row's versions: all of them after a fold from nothing, the new ones after a fold
    /// from a stored row. Other rows have none.
    fn versions(&self) -> Option<&[Version]> {
        None
    }

    /// The number of a temporal row's last version in force; 0 where there is none.
    fn last_version(&self) -> u32 {
        0
    }
}

/// "Apply this event to that row."
#[derive(Debug, Clone, Copy)]
pub struct Action<'a> {
    /// The event that started it all.
    pub event: &'a Event,
    /// What is asked of the row.
    pub ask: Ask<'a>,
}

/// What an action asks of a row.
#[derive(Debug, Clone, Copy)]
pub enum Ask<'a> {
    /// To take in the event itself, which means this to its tenant.
    Event(&'a Mapped),
    /// To go on from this row, which other code wrote.
    Baseline(&'a Row),
    /// To take in what an observer saw because of it.
    Contribution(&'a Contribution),
}

/// One version of a temporal row's history, by event time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// Its number among those in force, from 1.
    pub n: u32,
    /// The event time from which it held.
    pub valid_from: Timestamp,
    /// The event time until which it held; that of the next version. `None` while it holds.
    pub valid_to: Option<Timestamp>,
    /// The id of the event that brought it about.
    pub caused_by: SmolStr,
    /// The table's own fields as a canonical JSON object.
    pub fields: Box<str>,
}

/// Declares the tables: the enum of their names, the enum of their rows, and the dispatch.
macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// The tables, by the names that stores and exports use.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[expect(clippy::enum_variant_names, reason = "the users' names of the tables")]
        pub enum Table {
            $($(#[$doc])* $name,)+
        }

        /// A row of any table.
        #[derive(Debug, Clone, PartialEq)]
        #[expect(clippy::enum_variant_names, reason = "the users' names of the tables")]
        pub enum Row {
            $(
                #[doc = concat!("A row of ", stringify!($name), ".")]
                $name($name),
            )+
        }

        impl Table {
            /// Every table, in the order in which an event's actions run.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$name),+];
            /// How many tables there are.
            pub const COUNT: usize = [$(stringify!($name)),+].len();

            /// The name that stores and exports use.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// Whether any order of the same actions gives the same row.
            #[must_use]
            pub fn is_commutative(self) -> bool {
                match self { $(Self::$name => $name::COMMUTATIVE,)+ }
            }

            /// The version of the table's rule.
            #[must_use]
            pub fn handler_version(self) -> u32 {
                match self { $(Self::$name => $name::VERSION,)+ }
            }

            /// The name of the field that holds a row's id.
            #[must_use]
            pub fn id_field(self) -> &'static str {
                match self { $(Self::$name => $name::ID_FIELD,)+ }
            }

            /// The names of all fields that a row of the table can have.
            #[must_use]
            pub fn fields(self) -> &'static [&'static str] {
                match self { $(Self::$name => fields::names::<$name>(),)+ }
            }

            /// Whether rows of the table follow from the events of such groups.
            #[must_use]
            pub fn lives_in(self, kind: GroupKind) -> bool {
                match self { $(Self::$name => $name::GROUPS.contains(&kind),)+ }
            }

            /// What an event does to a row of a table under policy `atomic`.
            ///
            /// # Errors
            /// A name in the event is none that a document store can address.
            pub fn changes(self, mapped: &Mapped) -> Result<Vec<Change>, FieldPathError> {
                match self { $(Self::$name => $name::changes(mapped),)+ }
            }

            /// The id of the row that the event itself acts on, if any.
            #[must_use]
            pub fn route(self, meaning: &Meaning, group: &Group) -> Option<SmolStr> {
                if !self.lives_in(group.kind()) {
                    return None;
                }
                match meaning {
                    Meaning::Event(mapped) => {
                        match self { $(Self::$name => $name::route(mapped, group),)+ }
                    }
                    Meaning::Baseline(baseline) if baseline.table() == self => {
                        Some(baseline.id().clone())
                    }
                    Meaning::Baseline(baseline) => {
                        match self { $(Self::$name => $name::follows(baseline.row()),)+ }
                    }
                }
            }

            /// A row that holds no event yet.
            #[must_use]
            pub fn new_row(self, group: &Group, id: &SmolStr) -> Row {
                match self { $(Self::$name => Row::$name($name::new(group, id)),)+ }
            }

            /// Reads a row from its canonical JSON.
            ///
            /// # Errors
            /// The text is no row of this table.
            pub fn read_row(self, body: &str) -> Result<Row, serde_json::Error> {
                match self { $(Self::$name => serde_json::from_str(body).map(Row::$name),)+ }
            }
        }

        impl Row {
            /// The row's table.
            #[must_use]
            pub fn table(&self) -> Table {
                match self { $(Self::$name(_) => Table::$name,)+ }
            }

            /// Takes in one more event and says whether the content changed.
            pub fn apply(&mut self, action: &Action<'_>) -> bool {
                if let Ask::Baseline(adopted) = action.ask
                    && adopted.table() == self.table()
                {
                    let changed = self != adopted;
                    *self = adopted.clone();
                    return changed;
                }
                match self { $(Self::$name(row) => row.apply(action),)+ }
            }

            /// A temporal row's versions; `None` for rows of other tables.
            #[must_use]
            pub fn versions(&self) -> Option<&[Version]> {
                match self { $(Self::$name(row) => row.versions(),)+ }
            }

            /// The number of a temporal row's last version in force; 0 where there is none.
            #[must_use]
            pub fn last_version(&self) -> u32 {
                match self { $(Self::$name(row) => row.last_version(),)+ }
            }

            /// The row as canonical JSON: compact, keys sorted, absent fields left out.
            #[must_use]
            pub fn body(&self) -> String {
                let json = match self { $(Self::$name(row) => serde_json::to_string(row),)+ };
                json.unwrap_or_default()
            }
        }
    };
}

tables! {
    /// Current: the leads.
    RSLead,
    /// Current: the appointments.
    RSAppointment,
    /// Temporal: what an appointment's status and assignee were, when, and since when we know.
    RSAppointmentChanges,
    /// Derived: a lead's conversions and appointment counts.
    RSLeadGlobalConversions,
    /// Derived, across groups: a tenant's conversions of one day.
    RSTenantDailyConversions,
}

impl Row {
    /// The places at which a lead's conversions are found: each conversion's name and last moment.
    pub fn places(&self) -> impl Iterator<Item = (&SmolStr, Timestamp)> {
        let conversions = match self {
            Self::RSLeadGlobalConversions(row) => Some(&row.conversions),
            Self::RSLead(_)
            | Self::RSAppointment(_)
            | Self::RSAppointmentChanges(_)
            | Self::RSTenantDailyConversions(_) => None,
        };
        let places = conversions.into_iter().flatten();
        places.map(|(name, conversion)| (name, conversion.last_at))
    }
}

impl Table {
    /// The table's place in [`Table::ALL`], also its number in stored records.
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// The table with that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// Whether rows that other code wrote can be taken over: those of a lead's own. A history cannot: it
    /// begins with the baseline of the row that it is the history of.
    #[must_use]
    pub fn is_adoptable(self) -> bool {
        !self.is_temporal() && self.lives_in(GroupKind::Lead)
    }

    /// Whether rows of the table have a history of versions.
    #[must_use]
    pub fn is_temporal(self) -> bool {
        let group = Group {
            tenant: SmolStr::default(),
            key: SmolStr::default(),
        };
        self.new_row(&group, &SmolStr::default())
            .versions()
            .is_some()
    }
}

/// Sets a field where the event gives it a value.
fn set<T: Clone>(field: &mut Option<T>, value: Option<&T>) {
    if let Some(value) = value {
        *field = Some(value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_canonical_json() {
        let group = Group {
            tenant: "t".into(),
            key: "k".into(),
        };
        let mut optional = 0;
        for table in Table::ALL {
            let row = table.new_row(&group, &"id".into());
            let sorted: serde_json::Value = serde_json::from_str(&row.body()).expect("JSON");
            assert_eq!(row.body(), sorted.to_string(), "{}", table.name());
            assert_eq!(table.read_row(&row.body()).expect("a row"), row);
            let object = sorted.as_object().expect("an object");
            assert!(
                object
                    .keys()
                    .all(|name| table.fields().contains(&name.as_str()))
            );
            optional += table.fields().len() - object.len();
            assert!(table.fields().is_sorted());
        }
        assert!(optional > 0, "optional ones included");
    }
}

//! Observers: each sees the changes of one table and asks for child actions on another.
//!
//! An observer looks at a row before and after an event and states what follows, as data. It is pure:
//! live handling and replay run the same observers.

mod across;
mod appointment_status;
mod lead_conversions;

use smol_str::SmolStr;

pub use across::{may_be_stated_to, stated_to};

use crate::handlers::{Row, StatusGroup, Table};
use crate::model::{Amount, Event, Group, Timestamp};
use crate::settings::Meaning;

/// What an observer states to the row it feeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contribution {
    /// An event counts for a conversion.
    Converted {
        /// The conversion rule's name.
        name: SmolStr,
        /// What it is worth.
        value: Option<Amount>,
        /// Event time.
        at: Timestamp,
    },
    /// When the lead was created and converted, as of now.
    LeadMilestones {
        /// `RSLead.createdAt`.
        created_at: Option<Timestamp>,
        /// `RSLead.convertedAt`.
        converted_at: Option<Timestamp>,
    },
    /// An appointment went from one status group to another.
    AppointmentMoved {
        /// The group it was in; `None` for a new appointment.
        from: Option<StatusGroup>,
        /// The group it is in; `None` where a baseline gives it no status.
        to: Option<StatusGroup>,
    },
}

/// A child action that an observer asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// The table of the row it is for.
    pub table: Table,
    /// The row's id.
    pub id: SmolStr,
    /// What it states.
    pub contribution: Contribution,
}

/// Why a row changed.
#[derive(Debug, Clone, Copy)]
pub struct Cause<'a> {
    /// The event.
    pub event: &'a Event,
    /// What it means.
    pub meaning: &'a Meaning,
    /// The row's group.
    pub group: &'a Group,
}

/// One observer.
trait Observer {
    /// The table whose changes it sees.
    const WATCHES: Table;
    /// The table it feeds.
    const FEEDS: Table;
    /// What it remembers of the row before the event.
    type Seen;

    /// The id of the row it feeds, for a watched row of `group`.
    fn target(group: &Group) -> SmolStr;
    /// Looks at a row before an event.
    fn look(row: &Row) -> Option<Self::Seen>;
    /// Looks at it after the event and says what follows.
    fn notice(before: Self::Seen, after: &Row, cause: &Cause<'_>) -> Vec<Contribution>;
}

macro_rules! observers {
    ($($module:ident::$name:ident,)+) => {
        /// What all observers remember of one row before an event.
        #[derive(Debug)]
        #[expect(non_snake_case, reason = "one field an observer, named as its type")]
        pub struct Watch {
            $($name: Option<<$module::$name as Observer>::Seen>,)+
        }

        impl Watch {
            /// Looks at a row before an event.
            #[must_use]
            pub fn look(row: &Row) -> Self {
                Self { $($name: $module::$name::look(row),)+ }
            }

            /// Looks at it after the event: the child actions that follow, in a fixed order.
            #[must_use]
            pub fn notice(self, after: &Row, cause: &Cause<'_>) -> Vec<Child> {
                let mut children = Vec::new();
                $(
                    if let Some(seen) = self.$name
                        && $module::$name::FEEDS.lives_in(cause.group.kind())
                    {
                        for contribution in $module::$name::notice(seen, after, cause) {
                            children.push(Child {
                                table: $module::$name::FEEDS,
                                id: $module::$name::target(cause.group),
                                contribution,
                            });
                        }
                    }
                )+
                children
            }
        }

        /// The rows that changes of a row of `table` may lead to, without having to run anything.
        pub fn feeds(table: Table, group: &Group) -> impl Iterator<Item = (Table, SmolStr)> {
            [$((
                $module::$name::WATCHES,
                $module::$name::FEEDS,
                $module::$name::target as fn(&Group) -> SmolStr,
            )),+]
            .into_iter()
            .filter(move |(watches, feeds, _)| {
                *watches == table && feeds.lives_in(group.kind())
            })
            .map(|(_, feeds, target)| (feeds, target(group)))
        }

        /// The tables whose rows' changes lead to rows of `fed`.
        pub fn feeders(fed: Table) -> impl Iterator<Item = Table> {
            [$(($module::$name::WATCHES, $module::$name::FEEDS)),+]
                .into_iter()
                .filter(move |(_, feeds)| *feeds == fed)
                .map(|(watches, _)| watches)
        }
    };
}

observers! {
    lead_conversions::LeadConversions,
    appointment_status::AppointmentStatus,
}

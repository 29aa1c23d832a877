use std::collections::BTreeMap;

use serde::Serialize;

/// What a check of a data directory came to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreCheck {
    /// The format of its file.
    pub format: i32,
    /// The version of the settings in force; 0 where there are none.
    pub settings: u32,
    /// How many of each part were read and checked.
    pub counts: BTreeMap<&'static str, u64>,
    /// What is wrong: of each part the first few.
    pub faults: Vec<StoreFault>,
    /// How much is wrong, by part.
    pub faulty: BTreeMap<StorePart, u64>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreFault {
    /// In which part.
    pub part: StorePart,
    /// Where in it, for a person to find.
    pub place: String,
    /// What is wrong there.
    pub what: String,
}

/// A part of a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StorePart {
    /// The file's pages, as `SQLite` sees them.
    Pages,
    /// Events that were accepted.
    Journal,
    /// Whose an event's identity is.
    Identities,
    /// Messages that wait, and dead letters.
    Queue,
    /// Settings.
    Settings,
    /// Rows and their trails.
    Rows,
    /// Versions of histories.
    Histories,
    /// Places that conversions are found by.
    Conversions,
    /// Indexes.
    Indexes,
    /// What long groups were before some of their events.
    Images,
    /// Hierarchies, replays and reports.
    Records,
}

impl StorePart {
    /// In a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pages => "pages",
            Self::Journal => "journal",
            Self::Identities => "identities",
            Self::Queue => "queue",
            Self::Settings => "settings",
            Self::Rows => "rows",
            Self::Histories => "histories",
            Self::Conversions => "conversions",
            Self::Indexes => "indexes",
            Self::Images => "images",
            Self::Records => "records",
        }
    }

    /// Whether what is wrong there can be made anew from what the directory has.
    #[must_use]
    pub fn is_mendable(self) -> bool {
        match self {
            Self::Pages | Self::Journal | Self::Identities | Self::Queue => false,
            Self::Settings
            | Self::Rows
            | Self::Histories
            | Self::Conversions
            | Self::Indexes
            | Self::Images
            | Self::Records => true,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn what_to_do(self) -> &'static str {
        match self {
            Self::Pages | Self::Journal | Self::Identities | Self::Queue => {
                "nothing in the directory can mend this: restore it from a backup, or take the events in again \
                 into a new one"
            }
            Self::Settings => "put settings in force that are right: `foldback settings put FILE`",
            Self::Rows | Self::Histories => {
                "the journal has all that they follow from: `foldback replay --mode update` makes them anew"
            }
            Self::Conversions | Self::Indexes => "`foldback indexes --create` makes them anew",
            Self::Images => {
                "nothing is lost: a late event of such a group folds its whole journal, and leaves new ones"
            }
            Self::Records => {
                "no row follows from them: nothing is to be done but to know that they are damaged"
            }
        }
    }
}

/// How many faults of one part are named; all are counted.
const NAMED_MAX: u64 = 20;

impl StoreCheck {
    /// Notes a fault.
    pub fn found(&mut self, part: StorePart, place: impl Into<String>, what: impl Into<String>) {
        let count = self.faulty.entry(part).or_default();
        *count += 1;
        if *count <= NAMED_MAX {
            self.faults.push(StoreFault {
                part,
                place: place.into(),
                what: what.into(),
            });
        }
    }

    /// Counts one more of what was checked.
    pub fn saw(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.faulty.is_empty()
    }

    /// Whether all that is wrong can be made anew from what the directory has.
    #[must_use]
    pub fn is_mendable(&self) -> bool {
        self.faulty.keys().all(|part| part.is_mendable())
    }
}

//! The same writes committed again change nothing.

use foldback_tests::fixtures::{at, changes, converted, group, key, lead, lead_key, write};
use shared::adapters::mongo::Mongo;
use shared::flow::{RowKey, Write};
use shared::handlers::Table;
use shared::model::{ActionHierarchy, ActionNode, Group, Outcome, Timestamp};
use shared::ports::Committed::{Conflict, Done};
use shared::ports::{Committed, ConversionQuery, Error, Hierarchies, Reading, Tables};

use crate::mongo::{connect, fresh_uri, run};

/// A commit of everything that goes together: a row, a history, a place in the index of conversions
/// and a finished action hierarchy.
pub(super) struct Whole {
    pub(super) group: Group,
    writes: Vec<Write>,
    finished: Vec<ActionHierarchy>,
}

/// What the store holds of it: rows with their versions, versions of the history as they follow one
/// another, leads that converted, hierarchies.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Held {
    rows: Vec<(Table, u64)>,
    history: Vec<(u32, bool)>,
    converted: usize,
    hierarchies: usize,
}

impl Whole {
    /// A first one of a group.
    pub(super) fn first(group: &Group) -> Self {
        let steps = [(0, "scheduled"), (10, "started")];
        Self {
            group: group.clone(),
            writes: vec![
                write(&lead_key(group), None, lead(group, "open")),
                changes(&meeting(group), None, 0, false, &steps),
                write(&lead_conversions(group), None, met(group, 10)),
            ],
            finished: vec![finished(group, "first")],
        }
    }

    /// The next one over it, which rewrites half of the history.
    pub(super) fn second(group: &Group) -> Self {
        let steps = [(5, "cancelled"), (20, "scheduled")];
        Self {
            group: group.clone(),
            writes: vec![
                write(&lead_key(group), Some(1), lead(group, "won")),
                changes(&meeting(group), Some(1), 1, true, &steps),
                write(&lead_conversions(group), Some(1), met(group, 20)),
            ],
            finished: vec![finished(group, "second")],
        }
    }

    pub(super) async fn commit(&self, rows: &Mongo) -> Result<Vec<Committed>, Error> {
        rows.commit(&self.writes, &self.finished, at(30)).await
    }

    /// What the store must hold when the first of these commits were done, each once.
    pub(super) fn held_after(commits: usize) -> Held {
        let version = commits as u64;
        Held {
            rows: match commits {
                0 => vec![],
                _more => vec![
                    (Table::RSLead, version),
                    (Table::RSAppointmentChanges, version),
                    (Table::RSLeadGlobalConversions, version),
                ],
            },
            history: match commits {
                0 => vec![],
                1 => vec![(1, true), (2, true)],
                _two => vec![(1, true), (2, false), (2, true), (3, true)],
            },
            converted: commits.min(1),
            hierarchies: commits,
        }
    }

    /// What the store holds.
    pub(super) async fn held(&self, rows: &Mongo) -> Held {
        let group = &self.group;
        let keys = [lead_key(group), meeting(group), lead_conversions(group)];
        let read = rows.read(&keys, Reading::Row).await.expect("read");
        let mut read: Vec<_> = read
            .iter()
            .map(|row| (row.key.table, row.trail.version))
            .collect();
        read.sort_unstable();
        let history = rows.history(&meeting(group)).await.expect("history");
        let mut history: Vec<_> = history
            .iter()
            .map(|one| (one.version.n, one.recorded_to.is_none()))
            .collect();
        history.sort_unstable();
        let saved = rows.of_group(group).await.expect("hierarchies");
        Held {
            rows: read,
            history,
            converted: self.places(rows).await,
            hierarchies: saved.len(),
        }
    }

    /// How many places the group's lead has, as pages of one row find them.
    async fn places(&self, rows: &Mongo) -> usize {
        let mut query = ConversionQuery {
            tenant: self.group.tenant.clone(),
            name: "met".into(),
            from: Timestamp::MIN,
            to: Timestamp::MAX,
            limit: 1,
            after: None,
        };
        let mut places = 0;
        loop {
            let page = rows.conversions(&query).await.expect("conversions");
            places += page.rows.len();
            match page.next {
                Some(next) => query.after = Some(next),
                None => return places,
            }
        }
    }
}

pub(super) fn meeting(group: &Group) -> RowKey {
    key(group, Table::RSAppointmentChanges, "meeting")
}

fn lead_conversions(group: &Group) -> RowKey {
    RowKey::conversions(&group.tenant, &group.key)
}

fn met(group: &Group, minutes: i64) -> shared::handlers::Row {
    converted(group, &[("met", at(minutes))])
}

fn finished(group: &Group, event_id: &str) -> ActionHierarchy {
    ActionHierarchy {
        group: group.clone(),
        source: "//crm.example".into(),
        event_id: event_id.into(),
        attempt: 1,
        read_start: at(1),
        write_start: at(2),
        late: None,
        unmapped: false,
        actions: vec![ActionNode {
            table: Table::RSLead,
            id: group.key.clone(),
            outcome: Outcome::Changed,
            children: vec![],
        }],
    }
}

#[test]
fn a_commit_that_comes_again_loses_and_changes_nothing() {
    run(async {
        let rows = connect(&fresh_uri()).await;
        let group = group("acme", "lead-1");
        let first = Whole::first(&group);
        assert_eq!(first.held(&rows).await, Whole::held_after(0));
        assert_eq!(first.commit(&rows).await.expect("commit"), [Done; 3]);
        assert_eq!(first.commit(&rows).await.expect("commit"), [Conflict; 3]);
        assert_eq!(first.held(&rows).await, Whole::held_after(1));
        let second = Whole::second(&group);
        assert_eq!(second.commit(&rows).await.expect("commit"), [Done; 3]);
        for again in [&second, &first] {
            assert_eq!(again.commit(&rows).await.expect("commit"), [Conflict; 3]);
            assert_eq!(second.held(&rows).await, Whole::held_after(2));
        }
    });
}

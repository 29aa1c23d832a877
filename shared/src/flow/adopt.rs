use smol_str::SmolStr;

use crate::handlers::{Baseline, Table};
use crate::model::{Entry, Group, Stamps, Timestamp};
use crate::settings::Tenant;

use super::row::Making;
use super::{Put, RowKey, Write, amend, fold_all};

impl Baseline {
    /// The key of the row.
    #[must_use]
    pub fn key(&self) -> RowKey {
        RowKey {
            group: self.group().clone(),
            table: self.table(),
            id: self.id().clone(),
        }
    }
}

/// The entry from which folding is to go on for a row that other code wrote, read at `read_start`; `None`
/// where the last baseline of the row in its group's journal says the same already.
///
/// It comes after every baseline that the group has, whatever the clocks of those who wrote them: what
/// it says is newer, and a row that observers feed must absorb what they saw of the rows adopted before.
#[must_use]
pub fn begin(baseline: &Baseline, journal: &[Entry], read_start: Timestamp) -> Option<Entry> {
    let mut time = read_start;
    let mut last: Option<(&Entry, Baseline)> = None;
    for entry in journal {
        let Some(Ok(known)) = Baseline::read(&entry.event) else {
            continue;
        };
        time = time.max(entry.event.time);
        let follows = |(last, _): &(&Entry, Baseline)| entry.event.cmp_order(&last.event).is_gt();
        if known.table() == baseline.table()
            && known.id() == baseline.id()
            && last.as_ref().is_none_or(follows)
        {
            last = Some((entry, known));
        }
    }
    let mut id = baseline.event_id(None);
    if let Some((entry, known)) = last {
        if known.row() == baseline.row() {
            return None;
        }
        time = time.max(entry.event.time.plus_ms(1));
        // The row is again what an earlier baseline says.
        let source = Baseline::source(baseline.table());
        if journal
            .iter()
            .any(|known| known.event.id == id && known.event.source == source)
        {
            id = baseline.event_id(Some(&entry.event.id));
        }
    }
    Some(baseline.entry(id, time))
}

/// The first writes of adopted rows of one group, as the journal folds now, baselines included; `None`
/// for a row that it does not lead to.
#[must_use]
pub fn first_writes(
    tenant: &Tenant,
    group: &Group,
    journal: &[Entry],
    rows: &[(Table, SmolStr)],
    stamps: Stamps,
) -> Vec<Option<Write>> {
    let amended = amend::known(journal.iter());
    let journal: Vec<&Entry> = journal.iter().collect();
    let mut cells = fold_all(tenant, group, &journal);
    let write = |(table, id): &(Table, SmolStr)| {
        let cell = cells.remove(&(*table, id.clone()))?;
        let event = cell
            .held
            .last
            .as_ref()
            .map_or(stamps.event, |last| last.time);
        let making = Making {
            settings: tenant.version(),
            out_of_order: 0,
            stamps: Stamps { event, ..stamps },
            amended: amended.as_ref(),
        };
        let key = RowKey {
            group: group.clone(),
            table: *table,
            id: id.clone(),
        };
        Some(Write {
            key,
            expected: None,
            put: Some(Put::new(cell, None, making, None)),
        })
    };
    rows.iter().map(write).collect()
}

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::flow::{Write, begin, first_writes};
use crate::handlers::{Baseline, Table};
use crate::model::{Entry, Group, Stamps, Timestamp};
use crate::ports::{
    Appended, Clock, Committed, Error, Journal, LegacyRow, LegacyTables, Reading, Tables,
};

use super::{Adopt, PAGE_ROWS, Run, read};

/// How often a row that changed between reading and writing is read again.
const ATTEMPTS_MAX: u32 = 4;

/// A row that can be adopted as far as can be told.
struct Candidate {
    row: LegacyRow,
    baseline: Baseline,
}

/// A group's candidates and its journal.
struct Work {
    journal: Vec<Entry>,
    candidates: Vec<Candidate>,
}

/// Rows to be read again, by handle, with their groups.
type Again = BTreeMap<String, Group>;

impl<P: Journal + Tables + LegacyTables, C: Clock> Adopt<'_, P, C> {
    /// Adopts the rows of a page and returns its last handle; `None` after the last page.
    pub(super) async fn page(
        &self,
        run: &mut Run<'_>,
        table: Table,
        after: Option<&str>,
    ) -> Result<Option<String>, Error> {
        let mut last = None;
        let mut again = Again::new();
        for attempt in 0..ATTEMPTS_MAX {
            let read_start = self.clock.now();
            let mut rows = self.ports.untracked(table, after, PAGE_ROWS).await?;
            if attempt == 0 {
                last = rows.last().map(|row| row.handle.clone());
                run.total.rows += rows.len() as u64;
            } else {
                rows.retain(|row| again.contains_key(&row.handle));
            }
            again = Again::new();
            let candidates = self.candidates(run, rows).await?;
            if candidates.is_empty() {
                break;
            }
            let mut works = self.works(candidates).await?;
            let known = self.begin(run, &mut works, &mut again, read_start).await?;
            if attempt == 0 {
                run.total.already += known;
            }
            self.write(run, works, &mut again, read_start).await?;
            if again.is_empty() {
                break;
            }
        }
        run.total.conflicts += again.len() as u64;
        run.left.extend(again.into_values());
        Ok(last)
    }

    /// The rows whose place can be told and is free; refuses the others.
    async fn candidates(
        &self,
        run: &mut Run<'_>,
        rows: Vec<LegacyRow>,
    ) -> Result<Vec<Candidate>, Error> {
        let mut candidates = Vec::with_capacity(rows.len());
        for row in rows {
            match self.place(run, &row) {
                Ok(baseline) => candidates.push(Candidate { row, baseline }),
                Err(why) => run.total.refuse(row.table, Some(&row.handle), why),
            }
        }
        if candidates.is_empty() {
            return Ok(candidates);
        }
        let keys: Vec<_> = candidates.iter().map(|one| one.baseline.key()).collect();
        let stored = self.ports.read(&keys, Reading::Row).await?;
        let mut taken: BTreeSet<_> = stored.into_iter().map(|row| row.key).collect();
        candidates.retain(|Candidate { row, baseline }| {
            let free = taken.insert(baseline.key());
            if !free {
                let (group, id) = (baseline.group(), baseline.id());
                let why = format!("there is a row {id:?} of {group} already that Foldback keeps");
                run.total.refuse(row.table, Some(&row.handle), why);
            }
            free
        });
        Ok(candidates)
    }

    fn place(&self, run: &Run<'_>, row: &LegacyRow) -> Result<Baseline, String> {
        let tenant = row.tenant.as_ref().or(run.tenant);
        let tenant = tenant.ok_or("it names no tenant, and none is given for such rows")?;
        if self.settings.tenant(tenant).is_none() {
            return Err(format!("the settings know no tenant {tenant:?}"));
        }
        read(row, tenant)
    }

    async fn works(&self, candidates: Vec<Candidate>) -> Result<BTreeMap<Group, Work>, Error> {
        let mut by_group: BTreeMap<Group, Vec<Candidate>> = BTreeMap::new();
        for candidate in candidates {
            let group = candidate.baseline.group().clone();
            by_group.entry(group).or_default().push(candidate);
        }
        let groups: Vec<Group> = by_group.keys().cloned().collect();
        let journals = self.ports.entries(&groups).await?;
        let work = |((group, candidates), journal)| {
            let work = Work {
                journal,
                candidates,
            };
            (group, work)
        };
        Ok(by_group.into_iter().zip(journals).map(work).collect())
    }

    /// Journals the baselines and says how many were journaled before. Takes those rows out, to be read
    /// again, whose baseline another run journaled in the meantime.
    async fn begin(
        &self,
        run: &mut Run<'_>,
        works: &mut BTreeMap<Group, Work>,
        again: &mut Again,
        read_start: Timestamp,
    ) -> Result<u64, Error> {
        let recorded = self.clock.now();
        let mut entries = Vec::new();
        let mut handles = Vec::new();
        let mut known = 0;
        for work in works.values() {
            for Candidate { row, baseline } in &work.candidates {
                match begin(baseline, &work.journal, read_start) {
                    Some(entry) => {
                        entries.push(Arc::new(Entry { recorded, ..entry }));
                        handles.push(row.handle.clone());
                    }
                    None => known += 1,
                }
            }
        }
        if entries.is_empty() {
            return Ok(known);
        }
        let appended = self.ports.append(&entries).await?;
        for ((entry, handle), became) in entries.into_iter().zip(handles).zip(appended) {
            let group = entry.group.clone();
            match (became, works.get_mut(&group)) {
                (Appended::New | Appended::Duplicate, Some(work)) => {
                    work.journal.push(Arc::unwrap_or_clone(entry));
                    run.groups.insert(group);
                }
                (Appended::Conflict | Appended::Elsewhere, _) | (_, None) => {
                    drop(again.insert(handle, group));
                }
            }
        }
        for work in works.values_mut() {
            let begun = |one: &Candidate| !again.contains_key(&one.row.handle);
            work.candidates.retain(begun);
        }
        Ok(known)
    }

    /// Gives the rows their trails, and adds those that changed meanwhile to `again`.
    async fn write(
        &self,
        run: &mut Run<'_>,
        works: BTreeMap<Group, Work>,
        again: &mut Again,
        read_start: Timestamp,
    ) -> Result<(), Error> {
        let write_start = self.clock.now();
        let stamps = Stamps {
            event: read_start,
            read_start,
            write_start,
        };
        let mut adoptions: Vec<(LegacyRow, Write)> = Vec::new();
        for (group, work) in works {
            let Some(tenant) = self.settings.tenant(&group.tenant) else {
                continue;
            };
            let rows = work.candidates.iter().map(|one| &one.baseline);
            let rows: Vec<_> = rows.map(|one| (one.table(), one.id().clone())).collect();
            let writes = first_writes(tenant, &group, &work.journal, &rows, stamps);
            for (Candidate { row, .. }, write) in work.candidates.into_iter().zip(writes) {
                match write {
                    Some(write) => adoptions.push((row, write)),
                    None => {
                        let why = "its journaled baseline cannot be read".to_owned();
                        run.total.refuse(row.table, Some(&row.handle), why);
                    }
                }
            }
        }
        if adoptions.is_empty() {
            return Ok(());
        }
        let committed = self.ports.adopt(&adoptions, write_start).await?;
        for ((row, write), became) in adoptions.into_iter().zip(committed) {
            match became {
                Committed::Done => {
                    run.total.adopted += 1;
                    run.groups.insert(write.key.group);
                }
                Committed::Conflict => drop(again.insert(row.handle, write.key.group)),
            }
        }
        Ok(())
    }
}

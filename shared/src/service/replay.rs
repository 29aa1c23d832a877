use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::flow::{Comparison, Evidence, ImagesWrite, Stored, Write, compare};
use crate::handlers::Table;
use crate::model::{Entry, EventHash, Finding, Group, ReplayRun, Stamps};
use crate::ports::{
    Clock, Commit, Committed, Error, Journal, LockKey, Locks, Partition, Queue, Tables, Waiting,
};
use crate::settings::Settings;

use super::locked::Leases;
use super::owed::{self, Debtor};

/// How many groups are read at once.
const PAGE_GROUPS: usize = 256;
/// How often a repair is tried.
const ATTEMPTS_MAX: u32 = 4;
/// How often a group with a suspected difference is read until two reads in a row agree.
const READS_MAX: u32 = 8;
/// How many dead letters are read at once.
const LETTERS_PAGE: usize = 1_000;
/// How many groups a scope names.
const GROUPS_NAMED_MAX: usize = 8;

/// What a replay does about a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Report it. Writes no row.
    Report,
    /// Mend it, through the same conditional writes as live handling.
    Update,
}

impl Mode {
    /// The name as kept runs have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Update => "update",
        }
    }
}

/// Which groups a replay looks at.
#[derive(Debug, Clone, PartialEq)]
pub enum Scope {
    /// Those of a partition, of one tenant or of all.
    Partition(Partition, Option<SmolStr>),
    /// These.
    Groups(Vec<Group>),
}

/// In words, as kept runs have it.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partition(partition, tenant) => {
                match tenant {
                    Some(tenant) => write!(f, "tenant {tenant}")?,
                    None => f.write_str("all tenants")?,
                }
                let Partition { index, count } = partition;
                if *count > 1 {
                    write!(f, ", partition {}/{count}", index + 1)?;
                }
                Ok(())
            }
            Self::Groups(groups) => {
                f.write_str("groups")?;
                for group in groups.iter().take(GROUPS_NAMED_MAX) {
                    write!(f, " {group}")?;
                }
                let more = groups.len().saturating_sub(GROUPS_NAMED_MAX);
                if more > 0 {
                    write!(f, " and {more} more")?;
                }
                Ok(())
            }
        }
    }
}

/// What a replay came to.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replayed {
    /// Groups looked at.
    pub groups: u64,
    /// Events folded.
    pub events: u64,
    /// Rows compared.
    pub rows: u64,
    /// Differences found.
    pub findings: u64,
    /// Differences mended.
    pub mended: u64,
    /// Journaled events that no row can take in, because a field is wrong under the settings.
    pub faults: u64,
    /// Groups of tenants that the settings do not know; nothing can be said of them.
    pub unknown_groups: u64,
    /// Groups that were written to each time they were read, so that nothing was said of them.
    #[serde(default)]
    pub busy_groups: u64,
    /// Groups with differences that were left because somebody else holds the lock of a row.
    #[serde(default)]
    pub locked_groups: u64,
}

impl Replayed {
    /// Writes the sums on a run that is to be kept.
    pub fn sum_up(&self, run: &mut ReplayRun) {
        run.groups = self.groups;
        run.events = self.events;
        run.rows = self.rows;
        run.findings = self.findings;
        run.mended = self.mended;
        run.faults = self.faults;
        run.busy_groups = self.busy_groups;
        run.locked_groups = self.locked_groups;
    }

    /// Adds what another partition came to.
    pub fn add(&mut self, other: &Self) {
        self.groups += other.groups;
        self.events += other.events;
        self.rows += other.rows;
        self.findings += other.findings;
        self.mended += other.mended;
        self.faults += other.faults;
        self.unknown_groups += other.unknown_groups;
        self.busy_groups += other.busy_groups;
        self.locked_groups += other.locked_groups;
    }
}

/// Events that sit in the dead-letter queue, by group.
pub type Parked = BTreeMap<Group, BTreeSet<EventHash>>;

/// The events that sit in the dead-letter queue.
///
/// # Errors
/// The queue failed.
pub async fn parked_events(queue: &impl Queue) -> Result<Parked, Error> {
    let mut parked = Parked::new();
    let mut after = 0;
    loop {
        let letters = queue.dead_letters(after, LETTERS_PAGE).await?;
        let Some(last) = letters.last() else {
            return Ok(parked);
        };
        after = last.id;
        for letter in letters {
            let events = letter.message.entries.iter().map(|entry| entry.hash);
            parked
                .entry(letter.message.group)
                .or_default()
                .extend(events);
        }
    }
}

/// What a replay works with.
#[derive(Debug)]
pub struct Replay<'a, P, C> {
    /// Where events and rows are.
    pub ports: &'a P,
    /// What time it is.
    pub clock: &'a C,
    /// What the events mean.
    pub settings: &'a Settings,
    /// The events that sit in the dead-letter queue.
    pub parked: &'a Parked,
    /// An event that was recorded so many milliseconds ago or less is under way, not lost.
    pub grace_ms: i64,
}

impl<P: Journal + Waiting + Tables + Locks, C: Clock> Replay<'_, P, C> {
    /// Folds groups anew from their journals and compares the result with what is stored.
    ///
    /// A difference counts once it is in two reads in a row between which nothing of the group changed, so
    /// that live traffic beside the replay gives no false findings. A group that changes each time is
    /// counted as busy. `found` gets every finding; `progress` the sums so far.
    ///
    /// # Errors
    /// A port failed.
    pub async fn run(
        &self,
        scope: &Scope,
        mode: Mode,
        mut found: impl FnMut(Finding),
        mut progress: impl FnMut(&Replayed),
    ) -> Result<Replayed, Error> {
        let mut total = Replayed::default();
        let mut pages = Pages::new(scope);
        while let Some(page) = self.page(&mut pages, mode, &mut found).await? {
            total.add(&page);
            progress(&total);
        }
        Ok(total)
    }

    /// Does the same for the next page of groups alone, and says what that came to; `None` where there
    /// are no more.
    ///
    /// # Errors
    /// A port failed. To go on from the page's own place is to do it again.
    pub async fn page(
        &self,
        pages: &mut Pages<'_>,
        mode: Mode,
        mut found: impl FnMut(Finding),
    ) -> Result<Option<Replayed>, Error> {
        let Some(groups) = pages.next(self.ports).await? else {
            return Ok(None);
        };
        let mut total = Replayed::default();
        let comparisons = self.compare(&groups).await?;
        for (group, compared) in groups.iter().zip(comparisons) {
            total.groups += 1;
            let Some(compared) = compared else {
                total.unknown_groups += 1;
                continue;
            };
            let Comparison {
                events,
                rows,
                faults,
                ..
            } = compared.comparison;
            total.events += events;
            total.rows += rows;
            total.faults += faults;
            if compared.comparison.findings.is_empty() {
                continue;
            }
            let Some(findings) = self.confirm(group, compared).await? else {
                total.busy_groups += 1;
                continue;
            };
            if mode == Mode::Update && !findings.is_empty() {
                match self.mend(group).await? {
                    Some(mended) => total.mended += mended,
                    None => total.locked_groups += 1,
                }
            }
            for finding in findings {
                total.findings += 1;
                found(finding);
            }
        }
        Ok(Some(total))
    }

    /// Compares each group; `None` for one whose tenant the settings do not know.
    async fn compare(&self, groups: &[Group]) -> Result<Vec<Option<Compared>>, Error> {
        let nothing = BTreeSet::new();
        let read_start = self.clock.now();
        let stored = self.ports.read_groups(groups).await?;
        let journals = self.ports.entries(groups).await?;
        let waiting = self.ports.waiting(groups).await?;
        let mut comparisons: Vec<Option<Comparison>> = Vec::with_capacity(groups.len());
        let mut excused = Vec::with_capacity(groups.len());
        let mut reads = Vec::with_capacity(groups.len());
        for (((group, stored), journal), waiting) in
            groups.iter().zip(&stored).zip(&journals).zip(&waiting)
        {
            let last = journal
                .iter()
                .map(|entry| entry.event.time)
                .max()
                .unwrap_or(read_start);
            let stamps = Stamps {
                event: last,
                read_start,
                write_start: self.clock.now(),
            };
            let young = journal
                .iter()
                .filter(|entry| entry.recorded.plus_ms(self.grace_ms) > read_start);
            let mut in_flight: BTreeSet<EventHash> =
                waiting.iter().chain(young).map(|one| one.hash).collect();
            comparisons.push(self.settings.tenant(&group.tenant).map(|tenant| {
                let parked = self.parked.get(group).unwrap_or(&nothing);
                let evidence = Evidence {
                    tenant,
                    group,
                    stored,
                    journal,
                    parked,
                    in_flight: &in_flight,
                };
                compare(&evidence, stamps)
            }));
            in_flight.extend(self.parked.get(group).into_iter().flatten());
            reads.push(Read::new(stored, journal, &in_flight));
            excused.push(in_flight);
        }
        let debtors = journals.iter().zip(&comparisons).zip(excused);
        let debtors: Vec<Debtor<'_>> = debtors
            .map(|((journal, comparison), excused)| Debtor {
                journal,
                owed: comparison.as_ref().map_or(&[], |one| &one.owed),
                excused,
            })
            .collect();
        let missing = owed::missing(self.ports, &debtors, read_start).await?;
        let compared = groups.iter().zip(comparisons).zip(missing).zip(reads);
        Ok(compared
            .map(|(((group, comparison), missing), mut read)| {
                let mut comparison = comparison?;
                comparison.findings.extend(owed::findings(group, &missing));
                read.missing = missing.iter().map(|copy| copy.hash).collect();
                Some(Compared {
                    comparison,
                    missing,
                    read,
                })
            })
            .collect())
    }

    /// The findings of a suspected group, once two reads in a row agree on what there is: none where the
    /// difference is gone by then, `None` where the group is written to all the while.
    ///
    /// Rows, journal and queue are read one after another. Where the rows are the same before and after the
    /// journal was read, and so is the journal, the first of the two reads was of one moment.
    async fn confirm(
        &self,
        group: &Group,
        suspected: Compared,
    ) -> Result<Option<Vec<Finding>>, Error> {
        let mut last = suspected;
        for _read in 0..READS_MAX {
            let again = self.compare(std::slice::from_ref(group)).await?;
            let Some(again) = again.into_iter().flatten().next() else {
                return Ok(None);
            };
            if again.comparison.findings.is_empty() {
                return Ok(Some(Vec::new()));
            }
            if again.read == last.read {
                // Those of the first, which is of one moment; what the second finds besides may be of none.
                let again = again.comparison.findings;
                let mut findings = last.comparison.findings;
                findings.retain(|one| again.iter().any(|other| is_of_one_row(one, other)));
                return Ok(Some(findings));
            }
            last = again;
        }
        Ok(None)
    }

    /// Writes what mends a group, and states what it owes to others. `None` where somebody else holds a
    /// lock that this needs, and nothing was written.
    async fn mend(&self, group: &Group) -> Result<Option<u64>, Error> {
        let mut mended = 0;
        let mut groups = BTreeSet::from([group.clone()]);
        // An appointment states to leads, and leads to days: what is stated ends there.
        while let Some(next) = groups.pop_first() {
            let Some((rows, owed)) = self.mend_rows(&next).await? else {
                if next == *group {
                    return Ok(None);
                }
                // The next replay finds it: its journal is complete now.
                continue;
            };
            mended += rows;
            let copies: Vec<Arc<Entry>> = owed.into_iter().map(Arc::new).collect();
            if !copies.is_empty() {
                self.ports.append(&copies).await?;
                groups.extend(copies.iter().map(|copy| copy.group.clone()));
            }
        }
        Ok(Some(mended))
    }

    /// Writes what mends a group's rows, under the locks of those that other code writes too, and returns
    /// the copies that it owes; a write that loses a race is worked out anew. `None` where it is locked out.
    async fn mend_rows(&self, group: &Group) -> Result<Option<(u64, Vec<Entry>)>, Error> {
        let owner = format!("replay of {group} at {}", self.clock.now().ms());
        let mut leases = Leases::of(&owner);
        let mended = self.mend_under(group, &mut leases).await;
        leases.release(self.ports).await;
        mended
    }

    async fn mend_under(
        &self,
        group: &Group,
        leases: &mut Leases,
    ) -> Result<Option<(u64, Vec<Entry>)>, Error> {
        let mut mended = 0;
        let mut owed = Vec::new();
        for _attempt in 0..ATTEMPTS_MAX {
            let comparisons = self.compare(std::slice::from_ref(group)).await?;
            let mut writes = Vec::new();
            for compared in comparisons.into_iter().flatten() {
                writes.extend(compared.comparison.writes);
                owed = compared.missing;
            }
            if writes.is_empty() {
                break;
            }
            let wanted = self.locks(group, &writes);
            if !leases.has(&wanted) {
                if !leases
                    .hold(self.ports, self.clock, wanted, true)
                    .await?
                    .is_empty()
                {
                    return Ok(None);
                }
                // What was read before the lock may be another's by now.
                continue;
            }
            if !leases.keep(self.ports, self.clock).await?.is_empty() {
                return Ok(None);
            }
            leases.fence(&mut writes);
            // What the rows were is not what the images say any more.
            let images = [ImagesWrite::none(group)];
            let commit = Commit {
                writes: &writes,
                finished: &[],
                images: &images,
            };
            let committed = self.ports.commit_all(commit, self.clock.now()).await?;
            mended += committed
                .iter()
                .filter(|one| **one == Committed::Done)
                .count() as u64;
        }
        Ok(Some((mended, owed)))
    }

    /// The locks of those rows that other code writes too.
    fn locks(&self, group: &Group, writes: &[Write]) -> BTreeSet<LockKey> {
        let Some(tenant) = self.settings.tenant(&group.tenant) else {
            return BTreeSet::new();
        };
        let locked = writes
            .iter()
            .filter(|write| tenant.locks_by_id(write.key.table));
        locked.map(|write| LockKey::of_row(&write.key)).collect()
    }
}

/// Whether two findings are about one row.
fn is_of_one_row(one: &Finding, other: &Finding) -> bool {
    (one.table, &one.id, &one.group) == (other.table, &other.id, &other.group)
}

/// What looking at one group came to.
struct Compared {
    comparison: Comparison,
    /// The copies that it owes to others and that do not stand in their journals.
    missing: Vec<Entry>,
    read: Read,
}

/// What a look at one group went by; two that are equal saw the same.
#[derive(PartialEq)]
struct Read {
    /// Tables, ids, versions, fences, and how many versions the rows' histories have.
    rows: Vec<(Table, SmolStr, u64, u64, usize)>,
    entries: usize,
    /// What is on its way, too young or parked.
    excused: BTreeSet<EventHash>,
    /// The copies that are owed and not there.
    missing: BTreeSet<EventHash>,
}

impl Read {
    fn new(stored: &[Stored], journal: &[Entry], excused: &BTreeSet<EventHash>) -> Self {
        let row = |row: &Stored| {
            let Stored { key, trail, .. } = row;
            let versions = row.history.as_ref().map_or(0, Vec::len);
            (
                key.table,
                key.id.clone(),
                trail.version,
                trail.fence,
                versions,
            )
        };
        Self {
            rows: stored.iter().map(row).collect(),
            entries: journal.len(),
            excused: excused.clone(),
            missing: BTreeSet::new(),
        }
    }
}

/// The pages of groups of a scope: of a partition first those that have entries, then those that have
/// nothing but rows.
#[derive(Debug)]
pub struct Pages<'a> {
    scope: &'a Scope,
    place: Place,
    /// Hashes of the groups with entries that these pages held.
    seen: BTreeSet<i64>,
}

/// Where in the pages of a scope a replay is; to be kept, so that another can go on from there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Place {
    pass: Pass,
    after: Option<Group>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Pass {
    #[default]
    Journal,
    Rows,
    Done,
}

impl<'a> Pages<'a> {
    /// All of them.
    #[must_use]
    pub fn new(scope: &'a Scope) -> Self {
        Self::from(scope, Place::default())
    }

    /// Those from a place on.
    #[must_use]
    pub fn from(scope: &'a Scope, place: Place) -> Self {
        Self {
            scope,
            place,
            seen: BTreeSet::new(),
        }
    }

    /// Where the next page begins.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    async fn next(&mut self, ports: &(impl Journal + Tables)) -> Result<Option<Vec<Group>>, Error> {
        let (partition, tenant) = match self.scope {
            Scope::Groups(groups) => {
                let first = self.place.pass == Pass::Journal;
                self.place.pass = Pass::Done;
                return Ok(first.then(|| groups.clone()));
            }
            Scope::Partition(partition, tenant) => (*partition, tenant),
        };
        let after = self.place.after.as_ref();
        let mut groups = match self.place.pass {
            Pass::Journal => ports.groups(partition, after, PAGE_GROUPS).await?,
            Pass::Rows => {
                ports
                    .groups_with_rows(partition, after, PAGE_GROUPS)
                    .await?
            }
            Pass::Done => return Ok(None),
        };
        let more = groups.len() >= PAGE_GROUPS;
        let after = groups.last().filter(|_| more).cloned();
        groups.retain(|group| tenant.as_ref().is_none_or(|id| group.tenant == *id));
        match self.place.pass {
            Pass::Journal => self.seen.extend(groups.iter().map(Group::hash)),
            Pass::Rows | Pass::Done => groups = self.without_entries(ports, groups).await?,
        }
        self.place.after = after;
        if !more {
            self.place.pass = match self.place.pass {
                Pass::Journal => Pass::Rows,
                Pass::Rows | Pass::Done => Pass::Done,
            };
        }
        Ok(Some(groups))
    }

    /// Those that the first pass did not hold. An earlier replay may have gone through it, so where it
    /// is not known here the journal is asked.
    async fn without_entries(
        &self,
        journal: &impl Journal,
        mut groups: Vec<Group>,
    ) -> Result<Vec<Group>, Error> {
        groups.retain(|group| !self.seen.contains(&group.hash()));
        if groups.is_empty() {
            return Ok(groups);
        }
        let entries = journal.entries(&groups).await?;
        let bare = groups.into_iter().zip(entries);
        Ok(bare
            .filter(|(_, entries)| entries.is_empty())
            .map(|(group, _)| group)
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_says_what_it_is() {
        let part = Partition { index: 0, count: 4 };
        let group = |n: usize| Group {
            tenant: "acme".into(),
            key: format!("lead-{n}").into(),
        };
        for (scope, expect) in [
            (Scope::Partition(Partition::WHOLE, None), "all tenants"),
            (
                Scope::Partition(part, Some("acme".into())),
                "tenant acme, partition 1/4",
            ),
            (
                Scope::Groups((1..3).map(group).collect()),
                "groups acme#lead-1 acme#lead-2",
            ),
            (
                Scope::Groups((0..10).map(group).collect()),
                "groups acme#lead-0 acme#lead-1 acme#lead-2 acme#lead-3 acme#lead-4 acme#lead-5 \
                 acme#lead-6 acme#lead-7 and 2 more",
            ),
        ] {
            assert_eq!(scope.to_string(), expect);
        }
    }
}

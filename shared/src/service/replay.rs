use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::flow::{Comparison, Evidence, ImagesWrite, compare};
use crate::model::{Entry, EventHash, Finding, Group, ReplayRun, Stamps};
use crate::ports::{Clock, Commit, Committed, Error, Journal, Partition, Queue, Tables, Waiting};
use crate::settings::Settings;

use super::owed::{self, Debtor};

/// How many groups are read at once.
const PAGE_GROUPS: usize = 256;
/// How often a suspected difference is read again before it counts, and a repair is tried.
const ATTEMPTS_MAX: u32 = 4;
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

impl<P: Journal + Waiting + Tables, C: Clock> Replay<'_, P, C> {
    /// Folds groups anew from their journals and compares the result with what is stored.
    ///
    /// A difference counts once it was read again and is still there, so that live traffic beside
    /// the replay gives no false findings. `found` gets every finding; `progress` the sums so far.
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
            let Some(Compared { comparison, .. }) = compared else {
                total.unknown_groups += 1;
                continue;
            };
            total.events += comparison.events;
            total.rows += comparison.rows;
            total.faults += comparison.faults;
            if comparison.findings.is_empty() {
                continue;
            }
            for finding in self.confirm(group, &comparison).await? {
                total.findings += 1;
                found(finding);
            }
            if mode == Mode::Update {
                total.mended += self.mend(group).await?;
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
        let compared = groups.iter().zip(comparisons).zip(missing);
        Ok(compared
            .map(|((group, comparison), missing)| {
                let mut comparison = comparison?;
                comparison.findings.extend(owed::findings(group, &missing));
                Some(Compared {
                    comparison,
                    missing,
                })
            })
            .collect())
    }

    /// The findings of a suspected group that are still there when everything is read again.
    async fn confirm(&self, group: &Group, suspected: &Comparison) -> Result<Vec<Finding>, Error> {
        let again = self.compare(std::slice::from_ref(group)).await?;
        let again = again
            .into_iter()
            .flatten()
            .flat_map(|compared| compared.comparison.findings);
        let suspect = |finding: &Finding| {
            let row = (finding.table, &finding.id);
            suspected
                .findings
                .iter()
                .any(|one| (one.table, &one.id) == row)
        };
        Ok(again.filter(suspect).collect())
    }

    /// Writes what mends a group, and states what it owes to others.
    async fn mend(&self, group: &Group) -> Result<u64, Error> {
        let mut mended = 0;
        let mut groups = BTreeSet::from([group.clone()]);
        // An appointment states to leads, and leads to days: what is stated ends there.
        while let Some(group) = groups.pop_first() {
            let (rows, owed) = self.mend_rows(&group).await?;
            mended += rows;
            let copies: Vec<Arc<Entry>> = owed.into_iter().map(Arc::new).collect();
            if !copies.is_empty() {
                self.ports.append(&copies).await?;
                groups.extend(copies.iter().map(|copy| copy.group.clone()));
            }
        }
        Ok(mended)
    }

    /// Writes what mends a group's rows, and returns the copies that it owes; a write that loses a race is
    /// worked out anew.
    async fn mend_rows(&self, group: &Group) -> Result<(u64, Vec<Entry>), Error> {
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
        Ok((mended, owed))
    }
}

/// What looking at one group came to.
struct Compared {
    comparison: Comparison,
    /// The copies that it owes to others and that do not stand in their journals.
    missing: Vec<Entry>,
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

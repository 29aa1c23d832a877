use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use smol_str::SmolStr;

use crate::flow::{
    Batch, Disposition, EventOutcome, ImagesWrite, Imaging, Outcome, RowKey, Stored, Write,
    amended_reach, reach, sort_events, step,
};
use crate::handlers::Table;
use crate::model::{
    ActionHierarchy, ActionNode, Entry, Finding, Group, GroupKind, Late, Stamps, Timestamp,
};
use crate::ports::{
    Clock, Commit, Committed, Error, Journal, LockKey, Locks, Message, Queue, Reading, Receipt,
    Received, Reports, Tables,
};
use crate::settings::{Mapping, Policy, Settings, Tenant};
use crate::side_by_side;

use super::atomic;
use super::ingest::{Duplicates, deduplication_id, ingest};
use super::lateness::{self, Suspect};
use super::locked::Leases;
use correction::{Behind, correct_all};

mod correction;

/// How often a group's rows are read and written again after another writer was faster.
const COMMIT_ATTEMPTS_MAX: u32 = 8;

/// What processing a batch of messages came to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Processed {
    /// Messages that are done.
    pub messages: u64,
    /// Events taken in by their rows.
    pub events: u64,
    /// Copies that other groups state, taken in by their rows.
    pub copies: u64,
    /// Copies stated to other groups.
    pub stated: u64,
    /// Events that their rows held already.
    pub held: u64,
    /// Events that no rule maps.
    pub unmapped: u64,
    /// Events that were parked, with the reason.
    pub parked: Vec<(Arc<Entry>, String)>,
    /// Events that came late, with how late.
    pub late: Vec<(Arc<Entry>, Late)>,
    /// Actions run.
    pub actions: u64,
    /// Rows written.
    pub rows: u64,
    /// Rows written by a refold.
    pub refolded: u64,
    /// Events that refolds folded.
    pub folded: u64,
    /// Images that refolds began with.
    pub images: u64,
    /// Writes that lost a race and were made again.
    pub conflicts: u64,
    /// Rows under policy `detect` that were found out of order after they were written.
    pub found: Vec<Finding>,
    /// Messages left for another try, because their group could not be finished.
    pub failed: Vec<Receipt>,
    /// Events that are done, with what each led to.
    pub finished: Vec<(Arc<Entry>, ActionHierarchy)>,
    /// What was stated to other groups.
    pub copies_made: Vec<Arc<Entry>>,
    /// Groups whose messages are among these because somebody else holds a lock that they need.
    pub locked_out: Vec<(Group, LockKey)>,
}

impl Processed {
    /// Adds what another batch came to.
    pub fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.events += other.events;
        self.copies += other.copies;
        self.stated += other.stated;
        self.held += other.held;
        self.unmapped += other.unmapped;
        self.parked.extend(other.parked);
        self.late.extend(other.late);
        self.actions += other.actions;
        self.rows += other.rows;
        self.refolded += other.refolded;
        self.folded += other.folded;
        self.images += other.images;
        self.conflicts += other.conflicts;
        self.found.extend(other.found);
        self.failed.extend(other.failed);
        self.finished.extend(other.finished);
        self.copies_made.extend(other.copies_made);
        self.locked_out.extend(other.locked_out);
    }
}

/// One group's part of a batch of messages.
struct Work<'a> {
    tenant: &'a Tenant,
    group: Group,
    entries: Vec<&'a Arc<Entry>>,
    mappings: Vec<Mapping>,
    receipts: Vec<Receipt>,
    attempt: u32,
    imaging: Imaging,
    /// The rows that its amendments can touch because of what was told before.
    told: BTreeSet<(Table, SmolStr)>,
}

/// Handles received messages: each group strictly in order, all groups' rows read and written
/// together. In order, that is one read and one write whatever the number of messages.
///
/// # Errors
/// A port failed. Nothing is acknowledged then; the messages come again.
pub async fn process<P>(
    ports: &P,
    clock: &impl Clock,
    settings: &Settings,
    received: &[Received],
) -> Result<Processed, Error>
where
    P: Journal + Queue + Tables + Locks + Reports,
{
    process_imaging(ports, clock, settings, received, Imaging::LIVE).await
}

/// Does the same; `imaging` says which groups keep images of what their rows were.
///
/// # Errors
/// As [`process`].
pub async fn process_imaging<P>(
    ports: &P,
    clock: &impl Clock,
    settings: &Settings,
    received: &[Received],
    imaging: Imaging,
) -> Result<Processed, Error>
where
    P: Journal + Queue + Tables + Locks + Reports,
{
    let mut leavings = Leavings::default();
    let mut works = group_up(settings, received, &mut leavings);
    for work in &mut works {
        work.imaging = imaging;
    }
    let works = add_all(ports, clock, works, &mut leavings).await?;
    let mut leases = Leases::new(received, clock.now());
    let attempted = attempts(ports, clock, works, &mut leases, &mut leavings).await;
    leases.release(ports).await;
    attempted?;
    let Leavings {
        mut done,
        letters,
        receipts,
        owed,
        suspects,
    } = leavings;
    if !owed.is_empty() {
        // A death before this leaves the messages to come again, and what their rows hold is stated anew.
        let stated = ingest(ports, &owed, Duplicates::SendAgain, clock.now()).await?;
        done.stated = stated.new_entries();
        done.copies_made = owed;
    }
    done.found = lateness::detect(ports, &suspects).await?;
    if !letters.is_empty() {
        ports.park(&letters, clock.now()).await?;
    }
    // Acknowledged last: an earlier death leaves the messages to come again, which does no harm.
    ports.delete(&receipts).await?;
    done.messages = receipts.len() as u64;
    Ok(done)
}

/// Handles the groups whose rows are added to without a read, and returns the others.
async fn add_all<'s>(
    ports: &impl Tables,
    clock: &impl Clock,
    works: Vec<Work<'s>>,
    leavings: &mut Leavings,
) -> Result<Vec<Work<'s>>, Error> {
    let (atomic, others): (Vec<_>, Vec<_>) = works
        .into_iter()
        .partition(|work| atomic::is_atomic(work.tenant, &work.group) && !work.amends());
    if atomic.is_empty() {
        return Ok(others);
    }
    let batches: Vec<atomic::Batch<'_>> = atomic.iter().map(Work::to_add).collect();
    let added = atomic::add(ports, clock, &batches).await?;
    let mut finished = Vec::new();
    let mut ended = Vec::with_capacity(atomic.len());
    for (work, mut done) in atomic.iter().zip(added) {
        ended.push(ends(&done.events));
        leavings.done.rows += done.rows;
        leavings.done.actions += work.finish(&mut done.events, done.stamps, &mut finished);
        let outcome = Outcome {
            events: done.events,
            stated: work.batch(done.stamps).stated(),
            ..Outcome::default()
        };
        leavings.finish(work, outcome, clock.now());
    }
    ports.commit(&[], &finished, clock.now()).await?;
    let mut finished = finished.into_iter();
    for (work, ended) in atomic.iter().zip(ended) {
        leavings.end(work, &ended, &mut finished);
    }
    Ok(others)
}

/// Tries all groups, and those that lost a race again.
async fn attempts<P: Journal + Tables + Locks>(
    ports: &P,
    clock: &impl Clock,
    mut works: Vec<Work<'_>>,
    leases: &mut Leases,
    leavings: &mut Leavings,
) -> Result<(), Error> {
    for attempt in 0..COMMIT_ATTEMPTS_MAX {
        let anew = attempt > 0;
        look_back(ports, &mut works).await?;
        let wanted = works.iter().flat_map(Work::locks).collect();
        let refused = leases.hold(ports, clock, wanted, anew).await?;
        works.retain(|work| !leavings.is_locked_out(work, &refused));
        if works.is_empty() {
            return Ok(());
        }
        let read_start = clock.now();
        let outcomes = decide(ports, clock, &works, read_start, anew).await?;
        let lost = leases.keep(ports, clock).await?;
        let decided = works
            .into_iter()
            .zip(outcomes)
            .filter(|(work, _)| !leavings.is_locked_out(work, &lost))
            .map(|(work, (mut outcome, stamps))| {
                leases.fence(&mut outcome.writes);
                (work, (outcome, stamps))
            });
        let covered = |(work, (outcome, _)): &(Work<'_>, (Outcome, Stamps))| {
            work.has_locks_of(&outcome.writes)
        };
        let (decided, others): (Vec<_>, Vec<_>) = decided.partition(covered);
        let decided = decided.into_iter().unzip();
        works = commit(ports, clock, decided, anew, leavings).await?;
        works.extend(others.into_iter().map(|(work, _)| work));
    }
    let receipts = works.into_iter().flat_map(|work| work.receipts);
    leavings.done.failed.extend(receipts);
    Ok(())
}

/// Finds the rows that amendments can touch because of what was told of their events before.
async fn look_back(journal: &impl Journal, works: &mut [Work<'_>]) -> Result<(), Error> {
    let amending = works.iter().filter(|work| work.amends());
    let groups: Vec<Group> = amending.map(|work| work.group.clone()).collect();
    if groups.is_empty() {
        return Ok(());
    }
    let mut journals = journal.entries(&groups).await?.into_iter();
    for work in works.iter_mut().filter(|work| work.amends()) {
        let journal = journals.next().unwrap_or_default();
        work.told = amended_reach(work.tenant, &work.group, &work.entries, &journal);
    }
    Ok(())
}

/// Groups and what was decided for each.
type Decided<'s> = (Vec<Work<'s>>, Vec<(Outcome, Stamps)>);

/// Writes what was decided; returns the groups that lost a race.
async fn commit<'s, P: Tables>(
    ports: &P,
    clock: &impl Clock,
    (works, mut outcomes): Decided<'s>,
    anew: bool,
    leavings: &mut Leavings,
) -> Result<Vec<Work<'s>>, Error> {
    let mut counts = Vec::with_capacity(works.len());
    let total = outcomes
        .iter()
        .map(|(outcome, _)| outcome.writes.len())
        .sum();
    let mut writes: Vec<Write> = Vec::with_capacity(total);
    let mut finished = Vec::with_capacity(works.iter().map(|work| work.entries.len()).sum());
    let mut images: Vec<ImagesWrite> = Vec::new();
    for (work, (outcome, stamps)) in works.iter().zip(&mut outcomes) {
        let ended = ends(&outcome.events);
        let actions = work.finish(&mut outcome.events, *stamps, &mut finished);
        counts.push((outcome.writes.len(), actions, ended));
        writes.append(&mut outcome.writes);
        images.extend(outcome.images.take());
    }
    let commit = Commit {
        writes: &writes,
        finished: &finished,
        images: &images,
    };
    let committed = ports.commit_all(commit, clock.now()).await?;
    let mut committed = committed.into_iter();
    let mut finished = finished.into_iter();
    let mut again = Vec::new();
    let mut rest = writes.as_slice();
    for ((work, (outcome, _)), counts) in works.into_iter().zip(outcomes).zip(counts) {
        let (count, actions, ended) = counts;
        let written = committed.by_ref().take(count);
        let (of_group, later) = rest.split_at(count);
        rest = later;
        let lost = written.filter(|one| *one == Committed::Conflict).count();
        leavings.done.conflicts += lost as u64;
        leavings.done.rows += (count - lost) as u64;
        if lost > 0 {
            let ended = ended.iter().filter(|ended| **ended).count();
            finished.by_ref().take(ended).for_each(drop);
            again.push(work);
        } else {
            leavings.done.actions += actions;
            leavings.end(&work, &ended, &mut finished);
            if outcome.thins {
                correction::thin_images(ports, clock, &work.group, work.imaging).await?;
            }
            leavings.suspect(&work, &outcome, of_group, anew);
            leavings.finish(&work, outcome, clock.now());
        }
    }
    Ok(again)
}

/// Which of a group's events come to their end.
fn ends(events: &[EventOutcome]) -> Vec<bool> {
    let faults = events.iter().map(|event| &event.disposition);
    faults
        .map(|became| !matches!(became, Disposition::Fault(_)))
        .collect()
}

/// Puts the messages of each group together. A tenant that the settings no longer know is parked.
fn group_up<'s>(
    settings: &'s Settings,
    received: &'s [Received],
    leavings: &mut Leavings,
) -> Vec<Work<'s>> {
    let mut groups: BTreeMap<Group, Work<'s>> = BTreeMap::new();
    for Received {
        message,
        receipt,
        receives,
        ..
    } in received
    {
        let Some(tenant) = settings.tenant(&message.group.tenant) else {
            let why = format!("the settings know no tenant {:?}", message.group.tenant);
            leavings.receipts.push(receipt.clone());
            leavings.park(message.clone(), why);
            continue;
        };
        let work = groups.entry(message.group.clone()).or_insert_with(|| Work {
            tenant,
            group: message.group.clone(),
            entries: Vec::new(),
            mappings: Vec::new(),
            receipts: Vec::new(),
            attempt: *receives,
            imaging: Imaging::NEVER,
            told: BTreeSet::new(),
        });
        work.entries.extend(&message.entries);
        work.receipts.push(receipt.clone());
        work.attempt = work.attempt.max(*receives);
    }
    let mut works: Vec<Work<'s>> = groups.into_values().collect();
    for work in &mut works {
        sort_events(&mut work.entries);
    }
    let mappings = side_by_side::map(&works, |work| {
        let events = work.entries.iter().map(|entry| &entry.event);
        events.map(|event| work.tenant.map(event)).collect()
    });
    for (work, mappings) in works.iter_mut().zip(mappings) {
        work.mappings = mappings;
    }
    works
}

impl Work<'_> {
    fn to_add(&self) -> atomic::Batch<'_> {
        atomic::Batch {
            tenant: self.tenant,
            group: &self.group,
            entries: &self.entries,
            mappings: &self.mappings,
        }
    }

    fn batch(&self, stamps: Stamps) -> Batch<'_> {
        let Self {
            tenant,
            group,
            entries,
            mappings,
            ..
        } = self;
        Batch {
            tenant,
            group,
            entries,
            mappings,
            stamps,
            imaging: self.imaging,
        }
    }

    /// Adds the hierarchies of those events that came to their end and says how many actions they had.
    fn finish(
        &self,
        events: &mut [EventOutcome],
        stamps: Stamps,
        finished: &mut Vec<ActionHierarchy>,
    ) -> u64 {
        let mut count = 0;
        for (entry, event) in self.entries.iter().zip(events) {
            if matches!(event.disposition, Disposition::Fault(_)) {
                continue;
            }
            let actions = std::mem::take(&mut event.nodes);
            count += actions.iter().map(ActionNode::count).sum::<u64>();
            finished.push(ActionHierarchy {
                group: self.group.clone(),
                source: entry.event.source.clone(),
                event_id: entry.event.id.clone(),
                attempt: self.attempt,
                read_start: stamps.read_start,
                write_start: stamps.write_start,
                late: event.late.clone(),
                unmapped: event.disposition == Disposition::Unmapped
                    && entry.event.meant_for().is_none(),
                actions,
            });
        }
        count
    }

    /// Whether it takes back what some event said before.
    fn amends(&self) -> bool {
        self.entries.iter().any(|entry| entry.event.is_told_again())
    }

    /// The locks that the group's rows need.
    fn locks(&self) -> BTreeSet<LockKey> {
        let locks = |table: &Table| self.tenant.locks_by_id(*table);
        if !Table::ALL.iter().any(locks) {
            return BTreeSet::new();
        }
        let locked = self.reach().filter(|key| locks(&key.table));
        locked.map(|key| LockKey::of_row(&key)).collect()
    }

    /// Whether the locks of all rows that are to be written are among its own. A telling that was journaled since
    /// it looked back may lead to others; it looks back again then.
    fn has_locks_of(&self, writes: &[Write]) -> bool {
        let locked = |write: &&Write| self.tenant.locks_by_id(write.key.table);
        let mut locked = writes.iter().filter(locked).peekable();
        if locked.peek().is_none() {
            return true;
        }
        let locks = self.locks();
        locked.all(|write| locks.contains(&LockKey::of_row(&write.key)))
    }

    fn reach(&self) -> impl Iterator<Item = RowKey> + '_ {
        let mut reached = self.told.clone();
        for mapping in &self.mappings {
            if let Mapping::Mapped(meaning) = mapping {
                reached.extend(reach(meaning, &self.group));
            }
        }
        let group = &self.group;
        reached.into_iter().map(move |(table, id)| RowKey {
            group: group.clone(),
            table,
            id,
        })
    }
}

/// Decides what to write for each group, from the rows alone where its events come in order and
/// from the journal where they do not.
async fn decide<P: Journal + Tables>(
    ports: &P,
    clock: &impl Clock,
    works: &[Work<'_>],
    read_start: Timestamp,
    anew: bool,
) -> Result<Vec<(Outcome, Stamps)>, Error> {
    let keys: Vec<RowKey> = works.iter().flat_map(Work::reach).collect();
    let mut stored = by_group(ports.read(&keys, Reading::Row).await?);
    let write_start = clock.now();
    let with_rows: Vec<(&Work<'_>, Stamps, Vec<Stored>)> = works
        .iter()
        .map(|work| {
            let last = work.entries.last();
            let stamps = Stamps {
                event: last.map_or(read_start, |entry| entry.event.time),
                read_start,
                write_start,
            };
            let rows = stored.remove(&work.group).unwrap_or_default();
            (work, stamps, rows)
        })
        .collect();
    let stepped = side_by_side::map(&with_rows, |(work, stamps, rows)| {
        if anew {
            None
        } else {
            step(&work.batch(*stamps), rows)
        }
    });
    let mut outcomes: Vec<Option<(Outcome, Stamps)>> = Vec::with_capacity(works.len());
    let mut behind: Vec<Behind<'_>> = Vec::new();
    for ((work, stamps, rows), outcome) in with_rows.into_iter().zip(stepped) {
        if outcome.is_none() {
            behind.push(Behind { work, stamps, rows });
        }
        outcomes.push(outcome.map(|outcome| (outcome, stamps)));
    }
    let mut corrected = correct_all(ports, clock, &behind).await?.into_iter();
    Ok(outcomes
        .into_iter()
        .filter_map(|known| known.or_else(|| corrected.next()))
        .collect())
}

fn by_group(rows: Vec<Stored>) -> BTreeMap<Group, Vec<Stored>> {
    let mut groups: BTreeMap<Group, Vec<Stored>> = BTreeMap::new();
    for row in rows {
        match groups.get_mut(&row.key.group) {
            Some(rows) => rows.push(row),
            None => {
                groups.insert(row.key.group.clone(), vec![row]);
            }
        }
    }
    groups
}

/// What a batch leaves behind besides its rows.
#[derive(Default)]
struct Leavings {
    done: Processed,
    letters: Vec<(Message, String)>,
    receipts: Vec<Receipt>,
    /// Copies for other groups.
    owed: Vec<Arc<Entry>>,
    suspects: Vec<Suspect>,
}

impl Leavings {
    /// Whether a group needs one of these locks; it is left for another try then.
    fn is_locked_out(&mut self, work: &Work<'_>, locks: &BTreeSet<LockKey>) -> bool {
        if locks.is_empty() {
            return false;
        }
        let Some(lock) = work.locks().into_iter().find(|lock| locks.contains(lock)) else {
            return false;
        };
        self.done.failed.extend(work.receipts.iter().cloned());
        self.done.locked_out.push((work.group.clone(), lock));
        true
    }

    /// Remembers the rows under `detect` that may be out of order after this.
    fn suspect(&mut self, work: &Work<'_>, outcome: &Outcome, writes: &[Write], anew: bool) {
        let detects = |table: Table| work.tenant.policy(table) == Policy::Detect;
        // What came again may have been late when it came first, and not been told.
        let told =
            |event: &EventOutcome| event.late.is_none() && event.disposition != Disposition::Held;
        if !Table::ALL.into_iter().any(detects) || (!anew && outcome.events.iter().all(told)) {
            return;
        }
        for key in work.reach().filter(|key| detects(key.table)) {
            let row = (key.table, key.id.clone());
            let late = work.entries.iter().zip(&outcome.events);
            let late = late.filter_map(|(entry, event)| {
                let late = event
                    .late
                    .as_ref()
                    .filter(|late| late.rows.contains(&row))?;
                Some((Arc::clone(entry), late.clone()))
            });
            let late = late.collect();
            let put = writes.iter().find(|write| write.key == key);
            let put = put.and_then(|write| write.put.as_ref());
            self.suspects.push(Suspect {
                key,
                written: put.map(|put| put.trail.version),
                late,
            });
        }
    }

    /// Notes what those of a group's events that came to their end led to.
    fn end(
        &mut self,
        work: &Work<'_>,
        ended: &[bool],
        finished: &mut impl Iterator<Item = ActionHierarchy>,
    ) {
        let entries = work.entries.iter().zip(ended);
        let entries = entries.filter(|(_, ended)| **ended);
        let entries = entries.map(|(entry, _)| Arc::clone(entry));
        self.done.finished.extend(entries.zip(finished));
    }

    /// Parks events: no number of tries would help them.
    fn park(&mut self, message: Message, why: String) {
        let parked = message
            .entries
            .iter()
            .map(|entry| (Arc::clone(entry), why.clone()));
        self.done.parked.extend(parked);
        self.letters.push((message, why));
    }

    /// Counts what became of a group's events, and notes what other groups are to be told of them.
    fn finish(&mut self, work: &Work<'_>, outcome: Outcome, now: Timestamp) {
        self.receipts.extend(work.receipts.iter().cloned());
        self.done.refolded += outcome.refolded as u64;
        self.done.folded += outcome.folded as u64;
        self.done.images += outcome.images_used as u64;
        let stated = outcome.stated.into_iter();
        self.owed.extend(stated.map(|copy| {
            Arc::new(Entry {
                recorded: now,
                ..copy
            })
        }));
        for (entry, event) in work.entries.iter().zip(outcome.events) {
            let done = &mut self.done;
            match event.disposition {
                Disposition::Applied if entry.event.is_copy() => done.copies += 1,
                Disposition::Applied => done.events += 1,
                // What becomes of it is for the group to say that it is meant for.
                Disposition::Unmapped if entry.event.meant_for().is_some() => done.events += 1,
                Disposition::Held => done.held += 1,
                Disposition::Unmapped => done.unmapped += 1,
                Disposition::Fault(why) => {
                    let message = Message {
                        group: work.group.clone(),
                        deduplication_id: deduplication_id(&work.group, [*entry]),
                        entries: vec![Arc::clone(entry)],
                    };
                    self.park(message, why);
                    continue;
                }
            }
            // What is late for its day was late for its lead, if so.
            if let Some(late) = event.late.filter(|_| work.group.kind() != GroupKind::Day) {
                done.late.push((Arc::clone(entry), late));
            }
        }
    }
}

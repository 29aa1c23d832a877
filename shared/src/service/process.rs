use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::flow::{
    Batch, Disposition, EventOutcome, Outcome, RowKey, Stored, Write, correct, reach, sort_events,
    step,
};
use crate::handlers::Table;
use crate::model::{ActionHierarchy, ActionNode, Entry, Finding, Group, Late, Stamps, Timestamp};
use crate::ports::{
    Clock, Committed, Error, Journal, LockKey, Locks, Message, Queue, Reading, Receipt, Received,
    Reports, Tables,
};
use crate::settings::{Mapping, Policy, Settings, Tenant};

use super::ingest::deduplication_id;
use super::lateness::{self, Suspect};
use super::locked::Leases;

/// How often a group's rows are read and written again after another writer was faster.
const COMMIT_ATTEMPTS_MAX: u32 = 8;

/// What processing a batch of messages came to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Processed {
    /// Messages that are done.
    pub messages: u64,
    /// Events taken in by their rows.
    pub events: u64,
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
    /// Writes that lost a race and were made again.
    pub conflicts: u64,
    /// Rows under policy `detect` that were found out of order after they were written.
    pub found: Vec<Finding>,
    /// Messages left for another try, because their group could not be finished.
    pub failed: Vec<Receipt>,
    /// Groups whose messages are among these because somebody else holds a lock that they need.
    pub locked_out: Vec<(Group, LockKey)>,
}

impl Processed {
    /// Adds what another batch came to.
    pub fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.events += other.events;
        self.held += other.held;
        self.unmapped += other.unmapped;
        self.parked.extend(other.parked);
        self.late.extend(other.late);
        self.actions += other.actions;
        self.rows += other.rows;
        self.refolded += other.refolded;
        self.conflicts += other.conflicts;
        self.found.extend(other.found);
        self.failed.extend(other.failed);
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
    let mut leavings = Leavings::default();
    let works = group_up(settings, received, &mut leavings);
    let mut leases = Leases::new(received, clock.now());
    let attempted = attempts(ports, clock, works, &mut leases, &mut leavings).await;
    leases.release(ports).await;
    attempted?;
    let Leavings {
        mut done,
        letters,
        receipts,
        suspects,
    } = leavings;
    done.found = lateness::detect(ports, &suspects).await?;
    if !letters.is_empty() {
        ports.park(&letters, clock.now()).await?;
    }
    // Acknowledged last: an earlier death leaves the messages to come again, which does no harm.
    ports.delete(&receipts).await?;
    done.messages = receipts.len() as u64;
    Ok(done)
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
            })
            .unzip();
        works = commit(ports, clock, decided, anew, leavings).await?;
    }
    let receipts = works.into_iter().flat_map(|work| work.receipts);
    leavings.done.failed.extend(receipts);
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
    let mut finished = Vec::new();
    for (work, (outcome, stamps)) in works.iter().zip(&mut outcomes) {
        let actions = work.finish(&mut outcome.events, *stamps, &mut finished);
        counts.push((outcome.writes.len(), actions));
        writes.append(&mut outcome.writes);
    }
    let committed = ports.commit(&writes, &finished, clock.now()).await?;
    let mut committed = committed.into_iter();
    let mut again = Vec::new();
    let mut rest = writes.as_slice();
    for ((work, (outcome, _)), (count, actions)) in works.into_iter().zip(outcomes).zip(counts) {
        let written = committed.by_ref().take(count);
        let (of_group, later) = rest.split_at(count);
        rest = later;
        let lost = written.filter(|one| *one == Committed::Conflict).count();
        leavings.done.conflicts += lost as u64;
        leavings.done.rows += (count - lost) as u64;
        if lost > 0 {
            again.push(work);
        } else {
            leavings.done.actions += actions;
            leavings.suspect(&work, &outcome, of_group, anew);
            leavings.finish(&work, outcome);
        }
    }
    Ok(again)
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
        });
        work.entries.extend(&message.entries);
        work.receipts.push(receipt.clone());
        work.attempt = work.attempt.max(*receives);
    }
    for work in groups.values_mut() {
        sort_events(&mut work.entries);
        work.mappings = work
            .entries
            .iter()
            .map(|entry| work.tenant.map(&entry.event))
            .collect();
    }
    groups.into_values().collect()
}

impl Work<'_> {
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
                unmapped: event.disposition == Disposition::Unmapped,
                actions,
            });
        }
        count
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

    fn reach(&self) -> impl Iterator<Item = RowKey> + '_ {
        let mut reached = BTreeSet::new();
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
    let mut outcomes: Vec<Option<(Outcome, Stamps)>> = Vec::with_capacity(works.len());
    for work in works {
        let event = work
            .entries
            .last()
            .map_or(read_start, |entry| entry.event.time);
        let stamps = Stamps {
            event,
            read_start,
            write_start,
        };
        let rows = stored.remove(&work.group).unwrap_or_default();
        let outcome = if anew {
            None
        } else {
            step(&work.batch(stamps), &rows)
        };
        outcomes.push(outcome.map(|outcome| (outcome, stamps)));
    }
    let behind: Vec<&Work<'_>> = works
        .iter()
        .zip(&outcomes)
        .filter(|(_, known)| known.is_none())
        .map(|(w, _)| w)
        .collect();
    let mut corrected = correct_all(ports, clock, &behind, read_start)
        .await?
        .into_iter();
    Ok(outcomes
        .into_iter()
        .filter_map(|known| known.or_else(|| corrected.next()))
        .collect())
}

async fn correct_all<P: Journal + Tables>(
    ports: &P,
    clock: &impl Clock,
    works: &[&Work<'_>],
    read_start: Timestamp,
) -> Result<Vec<(Outcome, Stamps)>, Error> {
    if works.is_empty() {
        return Ok(Vec::new());
    }
    let keys: Vec<RowKey> = works.iter().flat_map(|work| work.reach()).collect();
    let mut stored = by_group(ports.read(&keys, Reading::WithHistory).await?);
    let groups: Vec<Group> = works.iter().map(|work| work.group.clone()).collect();
    let journals = ports.entries(&groups).await?;
    let write_start = clock.now();
    let mut outcomes = Vec::with_capacity(works.len());
    for (work, journal) in works.iter().zip(journals) {
        let event = work
            .entries
            .last()
            .map_or(read_start, |entry| entry.event.time);
        let stamps = Stamps {
            event,
            read_start,
            write_start,
        };
        let rows = stored.remove(&work.group).unwrap_or_default();
        outcomes.push((correct(&work.batch(stamps), &rows, &journal), stamps));
    }
    Ok(outcomes)
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

    /// Parks events: no number of tries would help them.
    fn park(&mut self, message: Message, why: String) {
        let parked = message
            .entries
            .iter()
            .map(|entry| (Arc::clone(entry), why.clone()));
        self.done.parked.extend(parked);
        self.letters.push((message, why));
    }

    /// Counts what became of a group's events.
    fn finish(&mut self, work: &Work<'_>, outcome: Outcome) {
        self.receipts.extend(work.receipts.iter().cloned());
        self.done.refolded += outcome.refolded as u64;
        for (entry, event) in work.entries.iter().zip(outcome.events) {
            let done = &mut self.done;
            match event.disposition {
                Disposition::Applied => done.events += 1,
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
            if let Some(late) = event.late {
                done.late.push((Arc::clone(entry), late));
            }
        }
    }
}

//! What must hold at every step, whatever happens: looked at with every write.

use std::collections::{BTreeMap, BTreeSet};

use shared::flow::{Addition, RowKey};
use shared::handlers::Table;
use shared::model::{ActionHierarchy, Entry, EventHash, Group, Timestamp};
use shared::ports::{Lease, LockKey, Receipt, Received};

use crate::memory::{Journals, Kept};

/// Who acts: at what moment, and how far the actor's clock is ahead.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Actor {
    pub(crate) now_ms: i64,
    pub(crate) skew_ms: i64,
}

/// Looks at every write and notes what must not be.
#[derive(Debug, Default)]
pub struct Audit {
    pub(crate) actor: Actor,
    /// Whether some table takes events as they come: rows that it feeds may count one twice until a replay
    /// mends them.
    pub(crate) detects: bool,
    /// Tables whose rows are written under locks.
    pub(crate) locked: Vec<Table>,
    /// The fences that leases had, by lock.
    fences: BTreeMap<LockKey, BTreeSet<u64>>,
    /// What was seen that must not be.
    pub(crate) violations: Vec<String>,
    /// Writes that lost a race.
    pub(crate) conflicts: u64,
    in_flight: BTreeMap<Group, BTreeMap<Receipt, Timestamp>>,
    leases: BTreeMap<LockKey, Holding>,
}

/// A lease that somebody has.
#[derive(Debug)]
struct Holding {
    lease: Lease,
    /// When it ends for its holder, by the true time.
    ends_ms: i64,
    given_back: bool,
}

impl Audit {
    /// `detects` says whether some table takes events as they come; rows of the tables `locked` are always
    /// written under locks.
    pub(crate) fn new(detects: bool, locked: Vec<Table>) -> Self {
        Self {
            detects,
            locked,
            ..Self::default()
        }
    }

    fn violation(&mut self, what: String) {
        self.violations.push(what);
    }

    /// Messages were handed out: one batch of a group at a time, in order.
    pub(crate) fn received(&mut self, received: &[Received], now: Timestamp, until: Timestamp) {
        let number =
            |receipt: &Receipt| -> Option<u64> { receipt.0.split_once('.')?.0.parse().ok() };
        let mut last: BTreeMap<&Group, Option<u64>> = BTreeMap::new();
        for one in received {
            let group = &one.message.group;
            if !last.contains_key(group) {
                let open = self.in_flight.remove(group).unwrap_or_default();
                if open.values().any(|until| *until > now) {
                    self.violation(format!("two batches of {group} are in flight"));
                }
            }
            let before = last.insert(group, number(&one.receipt));
            if before.is_some_and(|before| before >= number(&one.receipt)) {
                self.violation(format!("messages of {group} came out of order"));
            }
            let open = self.in_flight.entry(group.clone()).or_default();
            open.insert(one.receipt.clone(), until);
        }
    }

    pub(crate) fn released(&mut self, receipt: &Receipt) {
        for open in self.in_flight.values_mut() {
            open.remove(receipt);
        }
    }

    pub(crate) fn hidden(&mut self, receipt: &Receipt, until: Timestamp) {
        for open in self.in_flight.values_mut() {
            if let Some(known) = open.get_mut(receipt) {
                *known = until;
            }
        }
    }

    /// A lock was acquired or renewed: nobody else may go on under it, and its fence is a new one.
    pub(crate) fn acquired(&mut self, lease: &Lease) {
        let Actor { now_ms, skew_ms } = self.actor;
        let before = self.leases.get(&lease.key);
        let other = before.filter(|before| before.lease.fence != lease.fence);
        if let Some(other) = other {
            let same = other.lease.owner == lease.owner;
            if !same && !other.given_back && other.ends_ms > now_ms {
                let (name, mine, theirs) = (&lease.key.name, &lease.owner, &other.lease.owner);
                let what = format!("{mine:?} and {theirs:?} both hold the lock {name:?}");
                self.violations.push(what);
            }
            if other.lease.fence >= lease.fence {
                let name = &lease.key.name;
                self.violations
                    .push(format!("the fence of lock {name:?} went back"));
            }
        }
        let fences = self.fences.entry(lease.key.clone()).or_default();
        fences.insert(lease.fence);
        let holding = Holding {
            ends_ms: lease.until.ms() - skew_ms,
            lease: lease.clone(),
            given_back: false,
        };
        self.leases.insert(lease.key.clone(), holding);
    }

    pub(crate) fn given_back(&mut self, lease: &Lease) {
        if let Some(known) = self.leases.get_mut(&lease.key)
            && known.lease.fence == lease.fence
        {
            known.given_back = true;
        }
    }

    pub(crate) fn lost_race(&mut self) {
        self.conflicts += 1;
    }

    /// A row was written.
    pub(crate) fn written(
        &mut self,
        journals: &Journals,
        key: &RowKey,
        before: Option<&Kept>,
        after: Option<&Kept>,
    ) {
        let RowKey { group, table, id } = key;
        let row = format!("{} {id} of {group}", table.name());
        let Some(after) = after else {
            return self.violation(format!("{row} was taken away without a trail"));
        };
        let (trail, journal) = (&after.trail, journals.of(group));
        if let Some(before) = before {
            if trail.version <= before.trail.version {
                self.violation(format!("the version of {row} did not grow"));
            }
            if trail.fence < before.trail.fence {
                self.violation(format!("the fence of {row} went back"));
            }
        }
        if self.locked.contains(table) {
            let fences = self.fences.get(&LockKey::of_row(key));
            if !fences.is_some_and(|fences| fences.contains(&trail.fence)) {
                self.violation(format!("{row} was written without its lock"));
            }
        }
        let held = &trail.held;
        if held.events > journal.len() as u64 && !self.detects {
            let (events, of) = (held.events, journal.len());
            let body = &after.body;
            self.violation(format!(
                "{row} holds {events} events of {of} in the journal: {body}"
            ));
        }
        if (held.events == 0) != (held.fingerprint.0 == 0) {
            self.violation(format!("the trail of {row} says how many and not which"));
        }
        let known = |known: &dyn Fn(&Entry) -> bool| journal.iter().any(known);
        if let Some(last) = &held.last
            && !known(&|entry| entry.event.order() == *last)
        {
            self.violation(format!("{row} holds an event that the journal lacks"));
        }
        if let Some(taken) = held.taken
            && !known(&|entry| entry.hash == taken)
        {
            self.violation(format!("{row} took an event in that the journal lacks"));
        }
        if !trail.is_gone()
            && trail.checksum != 0
            && trail.checksum != crc32fast::hash(after.body.as_bytes())
        {
            self.violation(format!("the checksum of {row} is not that of its body"));
        }
        if !trail.is_gone() && table.read_row(&after.body).is_err() {
            self.violation(format!("{row} cannot be read: {}", after.body));
        }
    }

    /// What an event led to was kept.
    pub(crate) fn finished(&mut self, journals: &Journals, hierarchy: &ActionHierarchy) {
        let ActionHierarchy {
            group,
            source,
            event_id,
            ..
        } = hierarchy;
        let of_event = |entry: &Entry| entry.event.source == *source && entry.event.id == *event_id;
        if !journals.of(group).iter().any(of_event) {
            let what = format!("an action hierarchy of {group} is of {event_id}, which it lacks");
            self.violation(what);
        }
    }

    /// An event was added to a row.
    pub(crate) fn added(&mut self, journals: &Journals, addition: &Addition) {
        let RowKey { group, table, id } = &addition.key;
        let event: EventHash = addition.event;
        if !journals.of(group).iter().any(|entry| entry.hash == event) {
            let row = format!("{} {id} of {group}", table.name());
            self.violation(format!("{row} was added an event that the journal lacks"));
        }
    }
}

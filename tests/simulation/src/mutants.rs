//! Deliberate bugs: each an exact change of a source file, made in a copy, that the simulation must find.

use std::fmt;

/// A bug.
#[derive(Debug, Clone, Copy)]
pub struct Mutant {
    /// What it does wrong.
    pub what: &'static str,
    /// The file, from the root of the repository.
    pub file: &'static str,
    /// What stands there, once, and what is to stand there.
    pub changes: &'static [(&'static str, &'static str)],
}

/// Why a bug cannot be put in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misplaced {
    what: &'static str,
    file: &'static str,
    times: usize,
}

impl fmt::Display for Misplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, file, times } = self;
        write!(
            f,
            "{what:?}: its text stands in {file} {times} times, not once"
        )
    }
}

impl Mutant {
    /// The text of its file with the bug in it.
    ///
    /// # Errors
    /// Something that it replaces does not stand there exactly once.
    pub fn apply(&self, text: &str) -> Result<String, Misplaced> {
        let mut changed = text.to_owned();
        for (find, put) in self.changes {
            let times = changed.matches(find).count();
            if times != 1 {
                return Err(Misplaced {
                    what: self.what,
                    file: self.file,
                    times,
                });
            }
            changed = changed.replace(find, put);
        }
        Ok(changed)
    }
}

const PROCESS: &str = "shared/src/service/process.rs";
const REPLAY: &str = "shared/src/service/replay.rs";
const INGEST: &str = "shared/src/service/ingest.rs";
const TABLES: &str = "tests/simulation/src/memory/tables.rs";

/// All of them.
pub const MUTANTS: [Mutant; 28] = [
    Mutant {
        what: "a store ignores the version that a write expects",
        file: TABLES,
        changes: &[("if before.map(|row| row.trail.version) != write.expected {", "if before.is_some() && write.expected.is_none() {")],
    },
    Mutant {
        what: "a write that lost a race counts as done",
        file: PROCESS,
        changes: &[("if lost > 0 {", "if lost > writes.len() {")],
    },
    Mutant {
        what: "copies are not sent again",
        file: PROCESS,
        changes: &[("ingest(ports, &owed, Duplicates::SendAgain, clock.now())", "ingest(ports, &owed, Duplicates::Skip, clock.now())")],
    },
    Mutant {
        what: "messages are acknowledged before rows are written",
        file: PROCESS,
        changes: &[("let works = add_all(ports, clock, works, &mut leavings).await?;", "ports.delete(&received.iter().map(|one| one.receipt.clone()).collect::<Vec<_>>()).await?;
    let works = add_all(ports, clock, works, &mut leavings).await?;")],
    },
    Mutant {
        what: "what cannot be handled is acknowledged and not parked",
        file: PROCESS,
        changes: &[("if !letters.is_empty() {", "if letters.len() > received.len() {")],
    },
    Mutant {
        what: "messages of a group that is locked out are acknowledged",
        file: PROCESS,
        changes: &[("self.done.failed.extend(work.receipts.iter().cloned());", "self.receipts.extend(work.receipts.iter().cloned());")],
    },
    Mutant {
        what: "rows that a telling leads to which came meanwhile are written without their locks",
        file: PROCESS,
        changes: &[("locked.all(|write| locks.contains(&LockKey::of_row(&write.key)))", "locked.all(|write| !locks.contains(&LockKey::of_row(&write.key)) || true)")],
    },
    Mutant {
        what: "spent messages are deleted though they could not be parked",
        file: "shared/src/service/apart.rs",
        changes: &[("if letters.is_empty() || queue.park(&letters, clock.now()).await.is_err() {
            return;
        }", "if letters.is_empty() {
            return;
        }
        drop(queue.park(&letters, clock.now()).await);")],
    },
    Mutant {
        what: "events are queued before they are journaled",
        file: INGEST,
        changes: &[("let appended = append_at_home(ports, &mut entries).await?;", "let early: Vec<Message> = entries.iter().map(|entry| Message {
        group: entry.group.clone(),
        deduplication_id: deduplication_id(&entry.group, [entry]),
        entries: vec![Arc::clone(entry)],
    }).collect();
    ports.send(&early, now).await?;
    let appended = append_at_home(ports, &mut entries).await?;")],
    },
    Mutant {
        what: "what was journaled before is never queued again",
        file: INGEST,
        changes: &[("Appended::Duplicate => duplicates == Duplicates::SendAgain,", "Appended::Duplicate => false,")],
    },
    Mutant {
        what: "late events are applied where they come",
        file: "shared/src/flow/step.rs",
        changes: &[("if fold.is_behind() {", "if fold.is_behind() && batch.amends() {")],
    },
    Mutant {
        what: "a redelivered event is applied again",
        file: "shared/src/flow/fold.rs",
        changes: &[("is_some_and(|last| last >= order)", "is_some_and(|last| last > order)")],
    },
    Mutant {
        what: "a refold goes by the order of arrival",
        file: "shared/src/flow/correct.rs",
        changes: &[("    ordered.sort_by(|(_, a), (_, b)| a.event.cmp_order(&b.event));\n", "")],
    },
    Mutant {
        what: "the sequence of events is ignored",
        file: "shared/src/model/event.rs",
        changes: &[("            .then_with(|| self.sequence.cmp(&other.sequence))\n", "")],
    },
    Mutant {
        what: "rows that are fed keep the versions that a late event rewrote",
        file: "shared/src/flow/row.rs",
        changes: &[("supersede: kept < stored.len(),", "supersede: false,")],
    },
    Mutant {
        what: "withdrawn events count",
        file: "shared/src/flow/amend.rs",
        changes: &[("highest.is_none_or(|highest| *highest == entry.event.revision()) && entry.event.acts_here()", "highest.is_none_or(|highest| *highest == entry.event.revision())
        && (entry.event.acts_here() || entry.event.is_withdrawn())")],
    },
    Mutant {
        what: "groups with amended events are handled from their rows alone",
        file: "shared/src/flow/step.rs",
        changes: &[("row.is_made_under(batch.tenant) && spared && !misleads", "row.is_made_under(batch.tenant) && (spared || !misleads) && !misleads")],
    },
    Mutant {
        what: "an appointment that goes to another lead stays with the first too",
        file: "shared/src/flow/linked.rs",
        changes: &[("withdrawn: counting.is_none(),", "withdrawn: false,")],
    },
    Mutant {
        what: "what is stated anew has the revision of what was stated before",
        file: "shared/src/flow/linked.rs",
        changes: &[("let revision = if moves { linking + own } else { own };", "let revision = own + linking.min(0);")],
    },
    Mutant {
        what: "all additions to a row are one action",
        file: "shared/src/model/action.rs",
        changes: &[("hasher.update(&event.0.to_le_bytes());", "hasher.update(&event.0.to_le_bytes().map(|_| 0));")],
    },
    Mutant {
        what: "images are trusted though rows were written since that left none",
        file: "shared/src/flow/base.rs",
        // Either check is enough.
        changes: &[
            (
                "if image.version != version || image.handler != table.handler_version() {",
                "if image.handler != table.handler_version() {",
            ),
            ("if !holders.all_known {", "if false {"),
        ],
    },
    Mutant {
        what: "the fence of a lease is forgotten",
        file: "shared/src/service/locked.rs",
        changes: &[("put.trail.fence = lease.fence;", "put.trail.fence = put.trail.fence.max(lease.fence.min(0));")],
    },
    Mutant {
        what: "a lease goes to another before it is over",
        file: "shared/src/ports/locks.rs",
        changes: &[("now.plus_ms(-Self::CLOCKS_DIFFER_MS)", "now.plus_ms(20 * Self::CLOCKS_DIFFER_MS)")],
    },
    Mutant {
        what: "a replay does not look twice",
        file: REPLAY,
        changes: &[("let Some(findings) = self.confirm(group, compared).await? else {", "let Some(findings) = Some(compared.comparison.findings) else {")],
    },
    Mutant {
        what: "a replay takes what is queued for lost",
        file: REPLAY,
        changes: &[("waiting.iter().chain(young).map(|one| one.hash).collect();", "waiting.iter().take(0).chain(young).map(|one| one.hash).collect();")],
    },
    Mutant {
        what: "a replay takes rows for orphans that an event on its way will take away",
        file: "shared/src/flow/compare.rs",
        changes: &[("if !linking.is_empty() {", "if linking.len() > self.evidence.journal.len() {")],
    },
    Mutant {
        what: "a replay that only reports mends",
        file: REPLAY,
        changes: &[("if mode == Mode::Update && !findings.is_empty() {", "if !findings.is_empty() {")],
    },
    Mutant {
        what: "new settings are never looked for",
        file: "shared/src/service/settings_cache.rs",
        changes: &[("let fresh = within(state.asked?, self.limit_ms) && within(good.confirmed, stand_alone_ms);", "let fresh = state.asked.is_some() || within(good.confirmed, stand_alone_ms);")],
    },
];

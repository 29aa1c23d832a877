//! Appointments whose events need not name their lead: which one they belong to, and what its group is
//! told of them.

use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use crate::model::{Entry, EventHash};

/// What an appointment's group states to a lead's about one of its events.
///
/// Of all that is ever stated to one lead about one event, the highest revision is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement<'j> {
    /// The telling of the event that counts, or that would.
    pub entry: &'j Entry,
    /// The lead's partition key.
    pub lead: SmolStr,
    /// The revision of the statement.
    pub revision: u32,
    /// Whether the event is none of that lead's.
    pub withdrawn: bool,
}

/// One event of the appointment: what was told of it.
#[derive(Default)]
struct Told<'j> {
    /// By revision.
    tellings: BTreeMap<u32, &'j Entry>,
    /// Whether one of them names a lead.
    links: bool,
}

impl<'j> Told<'j> {
    fn latest(&self) -> Option<&'j Entry> {
        self.tellings.values().next_back().copied()
    }

    fn in_force(&self) -> Option<&'j Entry> {
        self.latest().filter(|entry| !entry.event.is_withdrawn())
    }

    fn amendments(&self) -> usize {
        self.tellings.range(1..).count()
    }
}

/// The lead that an appointment's events belong to: the one named last, in order, among those that count.
pub(super) fn lead_of<'e>(ordered: impl DoubleEndedIterator<Item = &'e Entry>) -> Option<SmolStr> {
    ordered.rev().find_map(|entry| entry.event.linked_lead())
}

/// What an appointment's group has to state, given its journal in any order.
///
/// Of two journals of which one holds all that the other does, the longer one's revisions are no lower,
/// and where they are the same so is what they state. So workers that know different parts of the journal
/// may state what they know, in any order and as often as they like.
#[must_use]
pub fn statements<'j>(journal: &[&'j Entry]) -> Vec<Statement<'j>> {
    let mut leads = BTreeSet::new();
    let mut events: BTreeMap<EventHash, Told<'j>> = BTreeMap::new();
    for entry in journal {
        let told = events.entry(entry.event.identity()).or_default();
        told.tellings.insert(entry.event.revision(), entry);
        if let Some(lead) = entry.event.linked_lead() {
            told.links = true;
            leads.insert(lead);
        }
    }
    let mut in_force: Vec<&Entry> = events.values().filter_map(Told::in_force).collect();
    in_force.sort_by(|a, b| a.event.cmp_order(&b.event));
    let lead = lead_of(in_force.into_iter());
    let linking = || events.values().filter(|told| told.links);
    let moves = leads.len() > 1 || linking().any(|told| told.amendments() > 0);
    let linking: usize = linking().map(|told| told.tellings.len()).sum();
    let mut statements = Vec::with_capacity(events.len() * leads.len());
    for told in events.values() {
        let own = if told.links { 0 } else { told.amendments() };
        // The first statement is the only one, unless what is stated can ever be another.
        let revision = if moves || own > 0 { linking + own } else { 0 };
        let revision = u32::try_from(revision).unwrap_or(u32::MAX);
        for to in &leads {
            let counting = told.in_force().filter(|_| lead.as_ref() == Some(to));
            statements.extend(counting.or_else(|| told.latest()).map(|entry| Statement {
                entry,
                lead: to.clone(),
                revision,
                withdrawn: counting.is_none(),
            }));
        }
    }
    statements
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Group, cloud_event};

    const LEADS: [&str; 3] = ["lead-1", "lead-2", "lead-3"];

    /// One telling: which event, its revision, when it happened, the lead that it names, and whether it is
    /// withdrawn.
    type Telling = (u8, u32, u8, Option<usize>, bool);

    fn entry(&(id, revision, minute, lead, withdrawn): &Telling) -> Entry {
        let text = format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"//crm","type":"t","revision":{revision},
                "withdrawn":{},"time":"2026-03-01T09:{minute:02}:00Z"}}"#,
            withdrawn && revision > 0,
        );
        let mut event = cloud_event::parse(text.as_bytes()).expect("an event");
        event.link_to(
            lead.and_then(|lead| LEADS.get(lead))
                .map(|lead| SmolStr::from(*lead)),
        );
        Entry {
            group: Group::of_appointment(&"acme".into(), "a"),
            hash: event.hash(),
            recorded: event.time,
            event,
        }
    }

    fn tellings() -> impl Strategy<Value = Vec<Telling>> {
        let lead =
            prop_oneof![3 => Just(None), 2 => Just(Some(0)), 1 => (0..3_usize).prop_map(Some)];
        let telling = (0..6_u8, 0..3_u32, 0..60_u8, lead, any::<bool>());
        proptest::collection::vec(telling, 1..12).prop_map(|mut tellings: Vec<Telling>| {
            let mut known = BTreeSet::new();
            tellings.retain(|telling| known.insert((telling.0, telling.1)));
            tellings
        })
    }

    /// What a lead believes about an event: the revision and the content of its latest statement.
    type Believed = BTreeMap<(SmolStr, SmolStr), (u32, Option<EventHash>)>;

    /// Takes in statements; two of one revision must say the same.
    fn hear(believed: &mut Believed, statements: &[Statement<'_>]) {
        for one in statements {
            let what = (one.revision, (!one.withdrawn).then_some(one.entry.hash));
            let key = (one.lead.clone(), one.entry.event.id.clone());
            let known = believed.entry(key).or_insert(what);
            if known.0 == one.revision {
                assert_eq!(*known, what, "one revision says two things");
            }
            *known = what.max(*known);
        }
    }

    /// Which telling of which event counts for which lead, told naively.
    fn truth(entries: &[Entry]) -> BTreeSet<(SmolStr, EventHash)> {
        let counts = |one: &&Entry| {
            let same = entries.iter().filter(|two| two.event.id == one.event.id);
            let highest = same.map(|two| two.event.revision()).max();
            highest == Some(one.event.revision()) && !one.event.is_withdrawn()
        };
        let counting: Vec<&Entry> = entries.iter().filter(counts).collect();
        let linking = counting
            .iter()
            .filter(|one| one.event.linked_lead().is_some());
        let last = linking.max_by(|a, b| a.event.cmp_order(&b.event));
        let Some(lead) = last.and_then(|entry| entry.event.linked_lead()) else {
            return BTreeSet::new();
        };
        let of_lead = counting.iter().map(|entry| (lead.clone(), entry.hash));
        of_lead.collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn leads_believe_what_is_right_in_the_end(
            tellings in tellings(),
            slow in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
            whole in any::<prop::sample::Index>(),
        ) {
            let entries: Vec<Entry> = tellings.iter().map(entry).collect();
            let all: Vec<&Entry> = entries.iter().collect();
            // Workers that read the journal when it was shorter state what they knew, before and after the
            // one that knows it all.
            let mut lengths: Vec<usize> = slow.iter().map(|one| one.index(all.len()) + 1).collect();
            lengths.insert(whole.index(lengths.len() + 1), all.len());
            let mut believed = Believed::new();
            for length in lengths {
                hear(&mut believed, &statements(all.get(..length).expect("a prefix")));
            }
            let counting: BTreeSet<_> = believed
                .iter()
                .filter_map(|((lead, _), (_, entry))| Some((lead.clone(), (*entry)?)))
                .collect();
            prop_assert_eq!(counting, truth(&entries));
        }

        #[test]
        fn the_order_of_the_journal_changes_nothing(tellings in tellings()) {
            let entries: Vec<Entry> = tellings.iter().map(entry).collect();
            let all: Vec<&Entry> = entries.iter().collect();
            let reversed: Vec<&Entry> = entries.iter().rev().collect();
            prop_assert_eq!(statements(&all), statements(&reversed));
        }
    }

    #[test]
    fn one_lead_and_no_amendments_need_one_statement_an_event() {
        let entries = [
            (0, 0, 1, None, false),
            (1, 0, 2, Some(0), false),
            (2, 0, 3, Some(0), false),
        ];
        let entries = entries.map(|telling| entry(&telling));
        let stated = statements(&entries.each_ref());
        assert_eq!(stated.len(), 3);
        assert!(stated.iter().all(|one| one.revision == 0 && !one.withdrawn));
    }
}

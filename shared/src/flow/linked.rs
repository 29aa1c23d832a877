//! Appointments whose events need not name their lead: which one they belong to, and what its group is
//! told of them.

use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use crate::model::{Entry, EventHash, Group};

use super::Statement;

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
        self.latest().filter(|entry| entry.event.acts_here())
    }

    /// The last one that is no other group's.
    fn latest_own(&self) -> Option<&'j Entry> {
        let mut latest_first = self.tellings.values().rev().copied();
        latest_first.find(|entry| entry.event.meant_for().is_none())
    }

    fn amendments(&self) -> usize {
        self.tellings.range(1..).count()
    }
}

/// The lead that an appointment's events belong to: the one named last, in order, among those that count.
pub(super) fn lead_of<'e>(ordered: impl DoubleEndedIterator<Item = &'e Entry>) -> Option<SmolStr> {
    ordered.rev().find_map(|entry| entry.event.linked_lead())
}

/// What an appointment's journal says of the leads that its events belong to.
pub(super) struct Linked<'j> {
    events: BTreeMap<EventHash, Told<'j>>,
    /// All that were ever named.
    leads: BTreeSet<SmolStr>,
    /// The one that counts.
    lead: Option<SmolStr>,
    /// The first telling to arrive that names one.
    first: Option<EventHash>,
}

impl<'j> Linked<'j> {
    /// Of entries in the order of arrival.
    pub(super) fn new(journal: &[&'j Entry]) -> Self {
        let mut leads = BTreeSet::new();
        let mut first = None;
        let mut events: BTreeMap<EventHash, Told<'j>> = BTreeMap::new();
        for entry in journal {
            let told = events.entry(entry.event.identity()).or_default();
            told.tellings.insert(entry.event.revision(), entry);
            let own = entry.event.meant_for().is_none();
            if let Some(lead) = entry.event.linked_lead().filter(|_| own) {
                told.links = true;
                leads.insert(lead);
                first = first.or(Some(entry.hash));
            }
        }
        let mut in_force: Vec<&Entry> = events.values().filter_map(Told::in_force).collect();
        in_force.sort_by(|a, b| a.event.cmp_order(&b.event));
        let lead = lead_of(in_force.into_iter());
        Self {
            events,
            leads,
            lead,
            first,
        }
    }

    fn linking(&self) -> impl Iterator<Item = &Told<'j>> {
        self.events.values().filter(|told| told.links)
    }

    /// Whether the lead can be another for one who knows less of the journal.
    fn moves(&self) -> bool {
        self.leads.len() > 1 || self.linking().any(|told| told.amendments() > 0)
    }

    /// All that the group has to state, in no order of arrival.
    ///
    /// Of two journals of which one holds all that the other does, the longer one's revisions are no lower,
    /// and where they are the same so is what they state. So workers that know different parts of the
    /// journal may state what they know, in any order and as often as they like.
    pub(super) fn statements(&self) -> Vec<Statement<'j>> {
        self.statements_about(|_| true)
    }

    /// What there is to state once these have been handled. What others change they state themselves.
    pub(super) fn news(&self, handled: &BTreeSet<EventHash>) -> Vec<Statement<'j>> {
        let is_handled = |told: &Told<'j>| {
            let mut tellings = told.tellings.values();
            tellings.any(|entry| handled.contains(&entry.hash))
        };
        let changes_all = if self.moves() {
            self.linking().any(is_handled)
        } else {
            // All name one lead. Whoever handles the one that came first tells it of the others.
            self.first.is_some_and(|first| handled.contains(&first))
        };
        self.statements_about(|told| changes_all || is_handled(told))
    }

    fn statements_about(&self, wanted: impl Fn(&Told<'j>) -> bool) -> Vec<Statement<'j>> {
        let moves = self.moves();
        let linking: usize = self.linking().map(|told| told.tellings.len()).sum();
        let mut statements = Vec::new();
        for told in self.events.values().filter(|told| wanted(told)) {
            let own = if told.links { 0 } else { told.amendments() };
            // 0 where what is stated can never have been another.
            let revision = if moves { linking + own } else { own };
            let revision = u32::try_from(revision).unwrap_or(u32::MAX);
            for to in &self.leads {
                let counting = told.in_force().filter(|_| self.lead.as_ref() == Some(to));
                let entry = counting.or_else(|| told.latest_own());
                statements.extend(entry.map(|entry| Statement {
                    entry,
                    because_of: entry,
                    to: Group {
                        tenant: entry.group.tenant.clone(),
                        key: to.clone(),
                    },
                    revision,
                    withdrawn: counting.is_none(),
                }));
            }
        }
        statements
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::model::{Group, cloud_event};

    const LEADS: [&str; 3] = ["lead-1", "lead-2", "lead-3"];

    /// One telling: which event, its revision, when it happened, the lead that it names, and whether it is
    /// withdrawn or one of another appointment.
    type Telling = (u8, u32, u8, Option<usize>, Fate);

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Fate {
        Counts,
        Withdrawn,
        Elsewhere,
    }

    fn entry(&(id, revision, minute, lead, fate): &Telling) -> Entry {
        let text = format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"//crm","type":"t","revision":{revision},
                "withdrawn":{},"time":"2026-03-01T09:{minute:02}:00Z"}}"#,
            fate == Fate::Withdrawn && revision > 0,
        );
        let mut event = cloud_event::parse(text.as_bytes()).expect("an event");
        event.link_to(
            lead.and_then(|lead| LEADS.get(lead))
                .map(|lead| SmolStr::from(*lead)),
        );
        let own = Group::of_appointment(&"acme".into(), "a");
        let other = Group::of_appointment(&"acme".into(), "b");
        let entry = Entry {
            group: if fate == Fate::Elsewhere {
                other
            } else {
                own.clone()
            },
            hash: event.hash(),
            recorded: event.time,
            event,
        };
        entry.at_home(&own)
    }

    fn tellings() -> impl Strategy<Value = Vec<Telling>> {
        let lead =
            prop_oneof![3 => Just(None), 2 => Just(Some(0)), 1 => (0..3_usize).prop_map(Some)];
        let fate = prop_oneof![
            3 => Just(Fate::Counts),
            2 => Just(Fate::Withdrawn),
            1 => Just(Fate::Elsewhere),
        ];
        let telling = (0..6_u8, 0..3_u32, 0..60_u8, lead, fate);
        proptest::collection::vec(telling, 1..12).prop_map(|mut tellings: Vec<Telling>| {
            let mut known = BTreeSet::new();
            tellings.retain(|telling| known.insert((telling.0, telling.1)));
            tellings
        })
    }

    /// What a lead believes about an event: the revision and the content of its latest statement.
    type Believed = BTreeMap<(SmolStr, SmolStr), (u32, Option<EventHash>)>;

    fn what(one: &Statement<'_>) -> (SmolStr, EventHash, u32, bool) {
        let identity = one.entry.event.identity();
        (one.to.key.clone(), identity, one.revision, one.withdrawn)
    }

    /// Takes in statements; two of one revision must say the same.
    fn hear(believed: &mut Believed, statements: &[Statement<'_>]) {
        for one in statements {
            let stated = (one.revision, (!one.withdrawn).then_some(one.entry.hash));
            let key = (one.to.key.clone(), one.entry.event.id.clone());
            let known = believed.entry(key).or_insert(stated);
            if known.0 == one.revision {
                assert_eq!(*known, stated, "one revision says two things");
            }
            *known = stated.max(*known);
        }
    }

    /// Which telling of which event counts for which lead, told naively.
    fn truth(entries: &[Entry]) -> BTreeSet<(SmolStr, EventHash)> {
        let counts = |one: &&Entry| {
            let same = entries.iter().filter(|two| two.event.id == one.event.id);
            let highest = same.map(|two| two.event.revision()).max();
            highest == Some(one.event.revision()) && one.event.acts_here()
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
            again in proptest::collection::vec(any::<(Index, Index)>(), 0..6),
            first in proptest::collection::vec(any::<Index>(), 12),
            turns in any::<Index>(),
        ) {
            let entries: Vec<Entry> = tellings.iter().map(entry).collect();
            let all: Vec<&Entry> = entries.iter().collect();
            // Each is handled once or more, in any order, by workers that know all that had arrived by then and
            // some of what arrived later.
            let once = (0..all.len()).zip(first);
            let again = again.iter().map(|(place, known)| (place.index(all.len()), *known));
            let mut handlings: Vec<(usize, Index)> = once.chain(again).collect();
            let turn = turns.index(handlings.len());
            handlings.rotate_left(turn);
            let mut believed = Believed::new();
            let mut heard = BTreeSet::new();
            for (place, known) in handlings {
                let known = place + 1 + known.index(all.len() - place);
                let known = Linked::new(all.get(..known).expect("a prefix"));
                let handled = all.get(place).map(|entry| entry.hash);
                let news = known.news(&handled.into_iter().collect());
                hear(&mut believed, &news);
                heard.extend(news.iter().map(what));
            }
            let linked = Linked::new(&all);
            let owed: BTreeSet<_> = linked.statements().iter().map(what).collect();
            prop_assert!(owed.is_subset(&heard), "replay would find that something was not stated");
            let counting: BTreeSet<_> = believed
                .iter()
                .filter_map(|((lead, _), (_, entry))| Some((lead.clone(), (*entry)?)))
                .collect();
            prop_assert_eq!(counting, truth(&entries));
        }

        #[test]
        fn what_is_owed_does_not_depend_on_the_order_of_arrival(tellings in tellings()) {
            let entries: Vec<Entry> = tellings.iter().map(entry).collect();
            let all: Vec<&Entry> = entries.iter().collect();
            let reversed: Vec<&Entry> = entries.iter().rev().collect();
            let owed = |journal: &[&Entry]| -> BTreeSet<_> {
                Linked::new(journal).statements().iter().map(what).collect()
            };
            prop_assert_eq!(owed(&all), owed(&reversed));
        }
    }

    #[test]
    fn one_lead_and_no_amendments_need_one_statement_an_event() {
        let entries = [
            (0, 0, 1, None, Fate::Counts),
            (1, 0, 2, Some(0), Fate::Counts),
            (2, 0, 3, Some(0), Fate::Counts),
        ];
        let entries = entries.map(|telling| entry(&telling));
        let linked = Linked::new(&entries.each_ref());
        let stated = linked.statements();
        assert_eq!(stated.len(), 3);
        assert!(stated.iter().all(|one| one.revision == 0 && !one.withdrawn));
    }
}

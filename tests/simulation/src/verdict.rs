//! Whether everything at rest is what the model says it must be.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use shared::flow::{RowKey, Stored};
use shared::handlers::Version;
use shared::model::{Entry, EventHash, Fingerprint, Group};

use crate::memory::Store;
use crate::model::{self, Key, Right};
use crate::plan::Plan;
use crate::rules::Rules;
use crate::told::{Tenant, Told};

/// What is not as it must be.
pub(crate) fn verdict(store: &Store, plan: &Plan) -> Option<String> {
    let Some(rules) = in_force(store, plan) else {
        return Some("the settings in force are none that were put".to_owned());
    };
    let (waiting, _) = store.queue.sizes();
    if waiting > 0 {
        return Some(format!("{waiting} messages are left"));
    }
    stray_letter(store, plan, rules)
        .or_else(|| unparked(store, plan, rules))
        .or_else(|| wrong_row(store, plan, rules))
        .or_else(|| torn_history(store, plan))
}

fn in_force<'p>(store: &Store, plan: &'p Plan) -> Option<&'p Rules> {
    let text = &store.keeping.settings.last()?.text;
    let mut rules = plan.rules.iter();
    rules.find(|rules| rules.text(&plan.tenants) == *text)
}

/// Which telling an entry is.
fn number(entry: &Entry) -> Option<usize> {
    let data: Value = serde_json::from_str(entry.event.data.json()?).ok()?;
    usize::try_from(data.get("number")?.as_u64()?).ok()
}

/// A dead letter of an event that could be handled.
fn stray_letter(store: &Store, plan: &Plan, rules: &Rules) -> Option<String> {
    for letter in store.queue.letters() {
        for entry in &letter.message.entries {
            let told = number(entry).and_then(|number| plan.told.get(number))?;
            if !rules.is_fault(told) {
                let (id, reason) = (&entry.event.id, &letter.reason);
                return Some(format!("{id} of {} stays parked: {reason}", entry.group));
            }
        }
    }
    None
}

/// An event that counts and cannot be handled, and that is not parked.
fn unparked(store: &Store, plan: &Plan, rules: &Rules) -> Option<String> {
    if !plan.is_strict() {
        return None;
    }
    let letters = store.queue.letters().flat_map(|one| &one.message.entries);
    let parked: BTreeSet<usize> = letters.filter_map(|entry| number(entry)).collect();
    let counting = model::counting(&arrived(store, plan));
    let mut faults = counting.iter().filter(|(_, told)| rules.is_fault(told));
    let lost = faults.find(|(number, _)| !parked.contains(number));
    lost.map(|(_, told)| format!("{} cannot be handled and is not parked", told.id))
}

fn wrong_row(store: &Store, plan: &Plan, rules: &Rules) -> Option<String> {
    let arrived = arrived(store, plan);
    let rights = model::tables(rules, &arrived);
    let stored = stored(store);
    let names: BTreeSet<&Key> = rights.keys().chain(stored.keys()).collect();
    for name in names {
        let (tenant, group, table, id) = name;
        let row = format!("{table} {id} of {}#{group}", tenant.id());
        let wrong = match (rights.get(name), stored.get(name)) {
            (Some(right), Some(stored)) => differs(store, right, stored).or_else(|| {
                // Under detect a row may have come out right all the same.
                let strict = plan.is_strict() && stored.trail.out_of_order > 0;
                strict.then(|| "its trail says that it is out of order".to_owned())
            }),
            (Some(right), None) => Some(format!("is missing; it must be {}", right.body)),
            (None, Some(stored)) => Some(format!("must not be: {}", stored.row.body())),
            (None, None) => None,
        };
        if let Some(wrong) = wrong {
            return Some(format!("{row}: {wrong}"));
        }
    }
    None
}

/// What the outside told and was journaled, as far as it is no copy.
fn arrived<'p>(store: &Store, plan: &'p Plan) -> Vec<(usize, &'p Told)> {
    let entries = store.journal.groups.values().flatten();
    let told = entries.filter(|entry| !entry.event.is_copy());
    told.filter_map(|entry| {
        let number = number(entry)?;
        Some((number, plan.told.get(number)?))
    })
    .collect()
}

/// The rows that are there.
fn stored(store: &Store) -> BTreeMap<Key, Stored> {
    let mut rows = BTreeMap::new();
    for group in store.tables.groups() {
        for row in store
            .tables
            .of_group(group)
            .into_iter()
            .filter(|row| !row.is_gone())
        {
            let tenant = Tenant::ALL.into_iter().find(|one| one.id() == group.tenant);
            let RowKey { table, id, .. } = &row.key;
            if let Some(tenant) = tenant {
                let key = (tenant, group.key.to_string(), table.name(), id.to_string());
                rows.insert(key, row);
            }
        }
    }
    rows
}

fn differs(store: &Store, right: &Right, stored: &Stored) -> Option<String> {
    let body = store
        .tables
        .kept(&stored.key)
        .map(|kept| kept.body.as_str());
    let body = body.unwrap_or_default();
    if body != right.body {
        return Some(format!("it is {body} and must be {}", right.body));
    }
    let mut fingerprint = Fingerprint::default();
    let mut last = None;
    for number in &right.events {
        let Some(entry) = telling(store, &stored.key.group, *number) else {
            return Some(format!(
                "telling {number} is not in the journal of its group"
            ));
        };
        fingerprint = fingerprint.with(entry.hash);
        last = Some(entry.event.order());
    }
    let held = &stored.trail.held;
    if (held.events, held.fingerprint) != (right.events.len() as u64, fingerprint) {
        let (events, wanted) = (held.events, right.events.len());
        return Some(format!(
            "its trail says {events} events, other ones than the {wanted} it must be"
        ));
    }
    if held.last != last {
        return Some(format!(
            "its last event is {:?} and must be {last:?}",
            held.last
        ));
    }
    let versions = stored.history.iter().flatten().map(version);
    let versions: Vec<Value> = versions.collect();
    if versions != right.versions {
        let right = json!(right.versions);
        return Some(format!(
            "its versions are {} and must be {right}",
            json!(versions)
        ));
    }
    None
}

/// The entry of a group by which a telling counts: the last of its identity, and none that takes it back.
fn telling<'s>(store: &'s Store, group: &Group, number_of: usize) -> Option<&'s Entry> {
    let mut last: BTreeMap<EventHash, &Entry> = BTreeMap::new();
    for entry in store.journal.of(group) {
        let known = last.entry(entry.event.identity()).or_insert(entry);
        if known.event.revision() < entry.event.revision() {
            *known = entry;
        }
    }
    let mut counting = last
        .into_values()
        .filter(|entry| !entry.event.is_withdrawn());
    counting.find(|entry| number(entry) == Some(number_of))
}

fn version(version: &Version) -> Value {
    json!({
        "n": version.n,
        "from": version.valid_from.to_string(),
        "to": version.valid_to.map(|time| time.to_string()),
        "by": version.caused_by,
        "fields": version.fields,
    })
}

/// A history in which something was deleted, or two versions of one number are in force.
fn torn_history(store: &Store, plan: &Plan) -> Option<String> {
    // Two writers' clocks differ.
    let skew_ms = 2 * i64::try_from(plan.skew_ms).unwrap_or(0);

    for (key, _) in store
        .tables
        .all()
        .filter(|(key, _)| key.table.is_temporal())
    {
        let mut numbers = BTreeSet::new();
        for one in store.tables.history(&key) {
            let (id, n) = (&key.id, one.version.n);
            if one
                .recorded_to
                .is_some_and(|to| to.plus_ms(skew_ms) < one.recorded_from)
            {
                return Some(format!(
                    "version {n} of {id} was believed before it was recorded"
                ));
            }
            if one.recorded_to.is_none() && !numbers.insert(n) {
                return Some(format!("version {n} of {id} is in force twice"));
            }
        }
    }
    None
}

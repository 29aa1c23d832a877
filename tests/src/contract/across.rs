//! What holds across groups: what leads led to stands in their days once each, whatever happens between.
//!
//! A conversion is an event of its lead that counts, and it counts on the day on which it happened. So no
//! other event can move it to another day, late or not: only its own amendment could, and what counts changes
//! with the settings alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fastrand::Rng;
use serde_json::{Value, json};
use shared::flow::Stored;
use shared::handlers::{Row, Table};
use shared::model::{Class, Entry, Event, Finding, Group, Payload};
use shared::ports::{Committed, Message, Partition, Queue, Received, Tables};
use shared::service::{Duplicates, Mode, Parked, Replay, Scope, ingest, process};
use shared::settings::{Format, Settings};

use super::together::AllPorts;
use super::{Fixture, Still};
use crate::fixtures::{Lives, at, entry, event, group, lead_key, write};
use crate::mortal::{Deed, Mortal};

suite! { $ across_suite, across: AllPorts;
    days_are_exact_wherever_a_worker_dies,
    days_added_up_are_exact_wherever_a_worker_dies,
    days_are_exact_while_policies_change_and_messages_come_again,
    a_copy_never_stated_is_found_by_its_leads_partition,
    a_day_that_counts_twice_is_found,
    settings_that_count_other_events_change_the_days,
}

const HOUR_MS: i64 = 3_600_000;
const DAY_MINUTES: i64 = 24 * 60;
/// Each scenario is a tenant's, so that many share a store.
const TENANTS: u32 = 150;
/// How many messages are handled at once.
const BATCH: usize = 4;
/// More batches than any scenario takes.
const BATCHES_MAX: u32 = 200;
const PARTITIONS: u64 = 8;
const CONVERSIONS: [(&str, &str); 3] = [
    ("lead.created", "created"),
    ("appointment.completed", "met"),
    ("lead.converted", "sale"),
];

/// Lead, type, minutes after the first day's nine o'clock, amount; in the order of arrival. The last wave is
/// late, and one of its events counts on a day that is long over.
const WAVES: [&[(&str, &str, i64, u32)]; 3] = [
    &[
        ("a", "lead.created", 0, 0),
        ("b", "lead.created", 1, 0),
        ("c", "lead.created", DAY_MINUTES, 0),
        ("a", "lead.converted", DAY_MINUTES + 10, 250),
    ],
    &[
        ("b", "appointment.completed", DAY_MINUTES + 20, 0),
        ("c", "lead.converted", DAY_MINUTES + 30, 70),
        ("a", "lead.converted", DAY_MINUTES + 40, 40),
        ("a", "lead.updated", DAY_MINUTES + 50, 5),
    ],
    &[
        ("b", "lead.converted", 20, 10),
        ("a", "appointment.completed", 30, 0),
        ("a", "appointment.scheduled", 25, 0),
    ],
];

fn tenant(number: u32) -> String {
    format!("t{number}")
}

/// Settings of all tenants, under one policy for their days.
fn settings(policy: &str, conversions: &[(&str, &str)], version: u32) -> Settings {
    let ids: Vec<String> = (0..TENANTS)
        .map(|one| format!("{:?}", tenant(one)))
        .collect();
    let text = Lives::settings_text();
    let (text, _) = text
        .split_once("[[tenant.conversion]]")
        .expect("a conversion");
    let days =
        format!("[tenant.tables.RSTenantDailyConversions]\npolicy = \"{policy}\"\n[[tenant.map]]");
    let mut text = text
        .replacen(r#"["acme", "globex"]"#, &format!("[{}]", ids.join(", ")), 1)
        .replacen("[[tenant.map]]", &days, 1);
    for (on, name) in conversions {
        let value = if *name == "sale" {
            "value = \"amount\"\n"
        } else {
            ""
        };
        text.push_str(&format!(
            "[[tenant.conversion]]\nname = \"{name}\"\non = \"{on}\"\n{value}"
        ));
    }
    Settings::compile(&text, Format::Toml, version).expect("the settings compile")
}

fn wave(number: usize, tenant: &str) -> Vec<Arc<Entry>> {
    let told = |(lead, kind, minutes, amount): &(&str, &str, i64, u32)| {
        let group = group(tenant, lead);
        let data = json!({ "amount": amount, "appointment": format!("{lead}-1"), "kind": "call" });
        let event = Event {
            kind: (*kind).into(),
            time: at(*minutes),
            data: Payload::Json(data.to_string().into()),
            ..event(&group, &format!("{lead} {kind} {minutes}"))
        };
        entry(&group, event)
    };
    WAVES[number].iter().map(told).collect()
}

/// What a tenant's days must be, counted event by event.
fn expected(tenant: &str, conversions: &[(&str, &str)]) -> Vec<Value> {
    let mut days: BTreeMap<String, BTreeMap<&str, (u32, u32)>> = BTreeMap::new();
    for (_, kind, minutes, amount) in WAVES.concat() {
        if let Some((_, name)) = conversions.iter().find(|(on, _)| *on == kind) {
            let day = at(minutes)
                .to_string()
                .split_once('T')
                .expect("a time")
                .0
                .to_owned();
            let (count, value) = days.entry(day).or_default().entry(name).or_default();
            *count += 1;
            *value += amount;
        }
    }
    let rows = days.into_iter().map(|(day, counted)| {
        let counted = counted.into_iter().map(|(name, (count, value))| {
            let figures = match name {
                "sale" => json!({ "count": count, "value": value }),
                _no_value => json!({ "count": count }),
            };
            (name.to_owned(), figures)
        });
        let conversions: serde_json::Map<String, Value> = counted.collect();
        json!({ "conversions": conversions, "day": day, "tenant": tenant })
    });
    rows.collect()
}

fn days(tenant: &str) -> [Group; 2] {
    [0, DAY_MINUTES].map(|minutes| Group::of_day(&tenant.into(), at(minutes)))
}

async fn stored_days(ports: &impl AllPorts, tenant: &str) -> Vec<Stored> {
    let rows = ports.read_groups(&days(tenant)).await;
    rows.expect("rows").concat()
}

async fn assert_exact(ports: &impl AllPorts, tenant: &str, conversions: &[(&str, &str)]) {
    let rows = stored_days(ports, tenant).await;
    let bodies = rows
        .iter()
        .map(|row| serde_json::from_str(&row.row.body()).expect("JSON"));
    let bodies: Vec<Value> = bodies.collect();
    assert_eq!(bodies, expected(tenant, conversions), "{tenant}");
}

/// Handles messages until none is left, as this worker and, where it dies, as another in its place.
async fn drain<P: AllPorts>(
    worker: &Mortal<'_, P>,
    clock: &Still,
    mut settings: impl FnMut() -> Arc<Settings>,
) {
    for _batch in 0..BATCHES_MAX {
        let depth = worker.depth(clock.0).await.expect("depth");
        if depth.visible + depth.in_flight == 0 {
            assert_eq!(depth.dead, 0, "nothing is parked");
            return;
        }
        let received = worker.receive(BATCH, clock.0).await.expect("receive");
        let processed = process(worker, clock, &settings(), &received).await;
        let again = match processed {
            Ok(done) => done.failed,
            Err(_died) => received.into_iter().map(|one| one.receipt).collect(),
        };
        // Those that were deleted by who died are no longer there to be shown again.
        let _shown = worker.hide_until(&again, clock.0).await;
    }
    panic!("messages are left");
}

/// Takes a tenant's events in, wave by wave. With each, messages of the one before come again.
async fn live<P: AllPorts>(
    worker: &Mortal<'_, P>,
    clock: &Still,
    tenant: &str,
    mut settings: impl FnMut() -> Arc<Settings>,
) {
    for number in 0..WAVES.len() {
        // Who sends events tries again until they are taken.
        while ingest(
            worker,
            &wave(number, tenant),
            Duplicates::SendAgain,
            clock.0,
        )
        .await
        .is_err()
        {
            assert!(worker.has_died(), "dies once");
        }
        if number > 0 {
            let before = wave(number - 1, tenant);
            let mut rng = Rng::with_seed(group(tenant, "").hash().cast_unsigned());
            let again = before
                .iter()
                .take(2)
                .map(|entry| again(&mut rng, &entry.group, &[entry]));
            let again: Vec<Message> = again.collect();
            while worker.send(&again, clock.0).await.is_err() {
                assert!(worker.has_died(), "dies once");
            }
        }
        drain(worker, clock, &mut settings).await;
    }
}

/// A message that came before, with another id: the queue does not know it again.
fn again(rng: &mut Rng, group: &Group, entries: &[&Arc<Entry>]) -> Message {
    Message {
        group: group.clone(),
        deduplication_id: rng.u128(..),
        entries: entries.iter().map(|entry| Arc::clone(entry)).collect(),
    }
}

/// All that stands in a tenant's days' journals comes again.
async fn copies_come_again(ports: &impl AllPorts, clock: &Still, rng: &mut Rng, tenant: &str) {
    let days = days(tenant);
    let journals = ports.entries(&days).await.expect("entries");
    let mut messages = Vec::new();
    for (day, copies) in days.iter().zip(journals) {
        let copies: Vec<Arc<Entry>> = copies.into_iter().map(Arc::new).collect();
        let half = copies.len() / 2;
        for part in [&copies[..half], &copies[half..], &copies[..]] {
            let part: Vec<&Arc<Entry>> = part.iter().collect();
            messages.push(again(rng, day, &part));
        }
    }
    ports.send(&messages, clock.0).await.expect("send");
}

async fn replayed(
    ports: &impl AllPorts,
    clock: &Still,
    settings: &Settings,
    mode: Mode,
    partition: Partition,
) -> Vec<Finding> {
    let replay = Replay {
        ports,
        clock,
        settings,
        parked: &Parked::new(),
        grace_ms: 0,
    };
    let mut found = Vec::new();
    let scope = Scope::Partition(partition, None);
    let run = replay.run(&scope, mode, |finding| found.push(finding), |_| {});
    run.await.expect("replay");
    found
}

async fn assert_nothing_found(ports: &impl AllPorts, clock: &Still, settings: &Settings) {
    let found = replayed(ports, clock, settings, Mode::Report, Partition::WHOLE).await;
    assert_eq!(found, []);
}

/// A worker dies at each call in turn, right before it is done and right after. Among these are the gaps
/// between a lead's rows, their copies' way into the journal, the copies' messages, and the
/// acknowledgement.
async fn exact_wherever_a_worker_dies<F: Fixture<Ports: AllPorts>>(fixture: &mut F, policy: &str) {
    fixture.pass(HOUR_MS).await;
    let (ports, clock) = (fixture.ports(), Still(fixture.now()));
    let settings = Arc::new(settings(policy, &CONVERSIONS, 1));
    let unharmed = Mortal::immortal(ports);
    live(&unharmed, &clock, &tenant(0), || Arc::clone(&settings)).await;
    assert_exact(ports, &tenant(0), &CONVERSIONS).await;
    let calls = unharmed.calls();
    assert!(calls > 20 && 2 * calls < TENANTS, "{calls} calls");
    for dies_at in 0..calls {
        for (deed, odd) in [(Deed::Undone, 1), (Deed::Done, 2)] {
            let tenant = tenant(2 * dies_at + odd);
            let worker = Mortal::new(ports, dies_at, deed);
            live(&worker, &clock, &tenant, || Arc::clone(&settings)).await;
            assert!(worker.has_died(), "{dies_at} {deed:?}");
            assert_exact(ports, &tenant, &CONVERSIONS).await;
        }
    }
    assert_nothing_found(ports, &clock, &settings).await;
}

async fn days_are_exact_wherever_a_worker_dies(fixture: &mut impl Fixture<Ports: AllPorts>) {
    exact_wherever_a_worker_dies(fixture, "correct").await;
}

async fn days_added_up_are_exact_wherever_a_worker_dies(
    fixture: &mut impl Fixture<Ports: AllPorts>,
) {
    exact_wherever_a_worker_dies(fixture, "atomic").await;
}

/// Each batch may be handled under another policy than the one before; workers die; what has been handled
/// under one policy comes again under another.
async fn days_are_exact_while_policies_change_and_messages_come_again(
    fixture: &mut impl Fixture<Ports: AllPorts>,
) {
    const LIVES: u32 = 24;
    fixture.pass(HOUR_MS).await;
    let (ports, clock) = (fixture.ports(), Still(fixture.now()));
    let policies = ["correct", "atomic", "detect"];
    let policies = policies.map(|policy| Arc::new(settings(policy, &CONVERSIONS, 1)));
    for number in 0..LIVES {
        let mut rng = Rng::with_seed(u64::from(number));
        let mut choice = Rng::with_seed(u64::from(number) + 1_000);
        let mut any = || Arc::clone(&policies[choice.usize(..policies.len())]);
        let deed = if rng.bool() { Deed::Done } else { Deed::Undone };
        let worker = Mortal::new(ports, rng.u32(..30), deed);
        let tenant = tenant(number);
        live(&worker, &clock, &tenant, &mut any).await;
        assert_exact(ports, &tenant, &CONVERSIONS).await;
        copies_come_again(ports, &clock, &mut rng, &tenant).await;
        drain(&worker, &clock, &mut any).await;
        assert_exact(ports, &tenant, &CONVERSIONS).await;
    }
    for settings in &policies {
        assert_nothing_found(ports, &clock, settings).await;
    }
}

/// A lead's rows are written, and nothing is told to its days: the worker dies, and its messages are gone.
async fn untold<P: AllPorts>(ports: &P, clock: &Still, settings: &Settings, tenant: &str) {
    const THE_APPEND_OF_COPIES: u32 = 1;
    let entries: Vec<Arc<Entry>> = (0..WAVES.len()).flat_map(|n| wave(n, tenant)).collect();
    let of_lead = entries.into_iter().filter(|entry| entry.group.key == "a");
    let of_lead: Vec<Arc<Entry>> = of_lead.collect();
    let ingested = ingest(ports, &of_lead, Duplicates::Skip, clock.0).await;
    ingested.expect("ingest");
    let received: Vec<Received> = ports.receive(BATCH, clock.0).await.expect("receive");
    let worker = Mortal::new(ports, THE_APPEND_OF_COPIES, Deed::Undone);
    let died = process(&worker, clock, settings, &received).await;
    assert!(died.is_err() && worker.has_died());
    let receipts: Vec<_> = received.into_iter().map(|one| one.receipt).collect();
    ports.delete(&receipts).await.expect("deleted");
    let lead = lead_key(&group(tenant, "a"));
    let rows = ports.read(&[lead], shared::ports::Reading::Row).await;
    assert_eq!(rows.expect("read").len(), 1, "the lead's row is written");
    assert!(stored_days(ports, tenant).await.is_empty());
}

async fn a_copy_never_stated_is_found_by_its_leads_partition(
    fixture: &mut impl Fixture<Ports: AllPorts>,
) {
    fixture.pass(HOUR_MS).await;
    let (ports, clock) = (fixture.ports(), Still(fixture.now()));
    let settings = Arc::new(settings("correct", &CONVERSIONS, 1));
    let tenant = tenant(0);
    untold(ports, &clock, &settings, &tenant).await;
    let lead = group(&tenant, "a");
    let all = (0..PARTITIONS).map(|index| Partition {
        index,
        count: PARTITIONS,
    });
    for partition in all.clone() {
        let found = replayed(ports, &clock, &settings, Mode::Report, partition).await;
        if !partition.has(&lead) {
            assert_eq!(found, [], "{partition:?}");
            continue;
        }
        let ids = ["2026-03-01", "2026-03-02"];
        assert_eq!(found.len(), ids.len(), "{found:#?}");
        for (finding, (id, events)) in found.iter().zip(ids.iter().zip([2, 2])) {
            assert_eq!(finding.class, Class::Lost);
            assert_eq!(finding.table, Table::RSTenantDailyConversions);
            assert_eq!((finding.id.as_str(), finding.events.len()), (*id, events));
            let told = format!("{events} of {lead}, whose copies do not stand in the journal of");
            assert!(
                finding.explanation.contains(&told),
                "{}",
                finding.explanation
            );
        }
        let mended = replayed(ports, &clock, &settings, Mode::Update, partition).await;
        assert_eq!(mended.len(), ids.len());
    }
    assert_nothing_found(ports, &clock, &settings).await;
    // The others' events come as ever; the lead's own, which are known, come again.
    live(&Mortal::immortal(ports), &clock, &tenant, || {
        Arc::clone(&settings)
    })
    .await;
    assert_exact(ports, &tenant, &CONVERSIONS).await;
    for partition in all {
        let found = replayed(ports, &clock, &settings, Mode::Report, partition).await;
        assert_eq!(found, [], "{partition:?}");
    }
}

/// Writes a row of a day that counts everything twice.
async fn double(ports: &impl AllPorts, clock: &Still, tenant: &str) {
    let row = stored_days(ports, tenant).await.remove(0);
    let Row::RSTenantDailyConversions(mut day) = row.row else {
        panic!("{:?} is no day", row.key);
    };
    for conversion in day.conversions.values_mut() {
        conversion.count *= 2;
    }
    let day = Row::RSTenantDailyConversions(day);
    let mut doubled = write(&row.key, Some(row.trail.version), day);
    let put = doubled.put.as_mut().expect("a row");
    put.trail = row.trail;
    put.trail.version += 1;
    let committed = Tables::commit(ports, &[doubled], &[], clock.0).await;
    assert_eq!(committed.expect("commit"), [Committed::Done]);
}

async fn a_day_that_counts_twice_is_found(fixture: &mut impl Fixture<Ports: AllPorts>) {
    fixture.pass(HOUR_MS).await;
    let (ports, clock) = (fixture.ports(), Still(fixture.now()));
    for (number, policy) in (0..).zip(["correct", "atomic"]) {
        let settings = Arc::new(settings(policy, &CONVERSIONS, 1));
        let (tenant, worker) = (tenant(number), Mortal::immortal(ports));
        live(&worker, &clock, &tenant, || Arc::clone(&settings)).await;
        double(ports, &clock, &tenant).await;
        let found = replayed(ports, &clock, &settings, Mode::Report, Partition::WHOLE).await;
        assert_eq!(found.len(), 1, "{policy}: {found:#?}");
        let finding = &found[0];
        assert_eq!(
            (finding.class, finding.id.as_str()),
            (Class::Foreign, "2026-03-01")
        );
        let fields: BTreeSet<&str> = finding
            .changes
            .iter()
            .map(|one| one.field.as_str())
            .collect();
        let expect = ["created", "met", "sale"].map(|name| format!("conversions.{name}.count"));
        assert_eq!(
            fields,
            expect.iter().map(String::as_str).collect(),
            "{policy}"
        );
        replayed(ports, &clock, &settings, Mode::Update, Partition::WHOLE).await;
        assert_exact(ports, &tenant, &CONVERSIONS).await;
        assert_nothing_found(ports, &clock, &settings).await;
        // What a replay wrote has taken its events in: none of them counts again.
        copies_come_again(ports, &clock, &mut Rng::with_seed(number.into()), &tenant).await;
        drain(&worker, &clock, || Arc::clone(&settings)).await;
        assert_exact(ports, &tenant, &CONVERSIONS).await;
    }
}

/// Events that count no more are taken out of their days, and those that count now are stated to them.
async fn settings_that_count_other_events_change_the_days(
    fixture: &mut impl Fixture<Ports: AllPorts>,
) {
    const OTHERS: [(&str, &str); 2] = [("lead.converted", "sale"), ("lead.updated", "touched")];
    fixture.pass(HOUR_MS).await;
    let (ports, clock) = (fixture.ports(), Still(fixture.now()));
    for (number, policy) in (0..).zip(["correct", "atomic"]) {
        let before = Arc::new(settings(policy, &CONVERSIONS, 1));
        let now = settings(policy, &OTHERS, 2);
        let tenant = tenant(number);
        live(&Mortal::immortal(ports), &clock, &tenant, || {
            Arc::clone(&before)
        })
        .await;
        assert_exact(ports, &tenant, &CONVERSIONS).await;
        let found = replayed(ports, &clock, &now, Mode::Update, Partition::WHOLE).await;
        let days = found
            .iter()
            .filter(|one| one.table == Table::RSTenantDailyConversions);
        let classes: BTreeSet<Class> = days.map(|one| one.class).collect();
        assert_eq!(
            classes,
            BTreeSet::from([Class::Lost, Class::Stale]),
            "{found:#?}"
        );
        assert_exact(ports, &tenant, &OTHERS).await;
        assert_nothing_found(ports, &clock, &now).await;
    }
}

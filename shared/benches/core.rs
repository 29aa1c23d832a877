//! What the pure core takes, piece by piece: parse, route and map, step, fold, refold, fingerprint, compare.
//!
//! ```text
//! cargo bench -p shared --bench core
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use divan::Bencher;
use divan::counter::ItemsCount;
use shared::flow::{Batch, Evidence, Fold, Imaging, Stored, compare, correct, fold_all, step};
use shared::model::{Entry, EventHash, Fingerprint, Group, Stamps, Timestamp, cloud_event};
use shared::service::accept;
use shared::settings::{Format, Mapping, Settings};

/// Events of a lead: one of few, and a long one.
const LENGTHS: [usize; 3] = [10, 100, 1_000];
/// Leads that are gone through in turn, so that not all stands in the processor's cache.
const LEADS: usize = 64;

const SETTINGS: &str = include_str!("../../infra/local/sample/settings.toml");

fn main() {
    divan::main();
}

fn settings() -> Settings {
    Settings::compile(SETTINGS, Format::Toml, 1).expect("settings")
}

/// A lead's `n`th event, as a sender writes it.
fn text(lead: usize, n: usize) -> String {
    let (kind, data) = match n % 5 {
        0 if n == 0 => ("lead.created", r#","deal":{"value":1200.50}"#.to_owned()),
        0 | 1 => (
            "lead.stage_changed",
            format!(r#","stage":{{"to":"stage-{}"}}"#, n % 7),
        ),
        2 => ("meeting.booked", meeting(n / 5)),
        3 => ("meeting.started", meeting(n / 5)),
        _ => ("meeting.held", meeting(n / 5)),
    };
    let (minute, second) = (n / 60 % 60, n % 60);
    let hour = n / 3_600;
    format!(
        r#"{{"specversion":"1.0","id":"evt-{lead}-{n}","source":"//acme.crm.example","type":"crm.{kind}.v1","time":"2026-01-05T{hour:02}:{minute:02}:{second:02}.113Z","tenant":"acme","partitionkey":"lead-{lead}","data":{{"lead":{{"id":"lead-{lead}"}},"owner":"ada"{data}}}}}"#
    )
}

fn meeting(number: usize) -> String {
    format!(r#","meeting":{{"id":"meeting-{number}","kind":"demo","host":"grace"}}"#)
}

/// A lead's events in order, and what each means.
struct Lead {
    group: Group,
    entries: Vec<Arc<Entry>>,
    mappings: Vec<Mapping>,
}

fn leads(settings: &Settings, length: usize) -> Vec<Lead> {
    let tenant = settings.tenant("acme").expect("a tenant");
    let lead = |lead: usize| {
        let entry = |n: usize| {
            let text = text(lead, n);
            Arc::new(accept(settings, None, text.as_bytes(), Timestamp::MAX).expect("an event"))
        };
        let entries: Vec<Arc<Entry>> = (0..length).map(entry).collect();
        let first = entries.first().expect("an event");
        Lead {
            group: first.group.clone(),
            mappings: entries
                .iter()
                .map(|entry| tenant.map(&entry.event))
                .collect(),
            entries,
        }
    };
    (0..LEADS).map(lead).collect()
}

impl Lead {
    /// The rows that its events lead to, as a store gives them.
    fn stored(&self, settings: &Settings) -> Vec<Stored> {
        let entries: Vec<&Arc<Entry>> = self.entries.iter().collect();
        let outcome = step(&self.batch(settings, &entries, &self.mappings), &[]);
        let stored = outcome.expect("in order").writes.into_iter().map(|write| {
            let put = write.put.expect("a row");
            Stored {
                history: put.row.versions().map(<[_]>::to_vec),
                key: write.key,
                row: put.row,
                readable: true,
                trail: put.trail,
            }
        });
        stored.collect()
    }

    fn batch<'a>(
        &'a self,
        settings: &'a Settings,
        entries: &'a [&'a Arc<Entry>],
        mappings: &'a [Mapping],
    ) -> Batch<'a> {
        Batch {
            tenant: settings.tenant("acme").expect("a tenant"),
            group: &self.group,
            entries,
            mappings,
            stamps: Stamps::default(),
            imaging: Imaging::NEVER,
        }
    }
}

#[divan::bench]
fn parse(bencher: Bencher<'_, '_>) {
    let texts: Vec<String> = (0..1_000).map(|n| text(n % LEADS, n)).collect();
    bencher.counter(ItemsCount::new(texts.len())).bench(|| {
        for text in &texts {
            divan::black_box(cloud_event::parse(text.as_bytes()).expect("an event"));
        }
    });
}

/// Parse, find the tenant and the group.
#[divan::bench]
fn route(bencher: Bencher<'_, '_>) {
    let settings = settings();
    let texts: Vec<String> = (0..1_000).map(|n| text(n % LEADS, n)).collect();
    bencher.counter(ItemsCount::new(texts.len())).bench(|| {
        for text in &texts {
            divan::black_box(accept(&settings, None, text.as_bytes(), Timestamp::MAX).is_ok());
        }
    });
}

#[divan::bench]
fn map(bencher: Bencher<'_, '_>) {
    let settings = settings();
    let tenant = settings.tenant("acme").expect("a tenant");
    let leads = leads(&settings, 10);
    bencher.counter(ItemsCount::new(LEADS * 10)).bench(|| {
        for entry in leads.iter().flat_map(|lead| &lead.entries) {
            divan::black_box(tenant.map(&entry.event));
        }
    });
}

/// One more event to the stored rows of a lead, in order.
#[divan::bench(args = LENGTHS)]
fn step_one(bencher: Bencher<'_, '_>, length: usize) {
    let settings = settings();
    let leads = leads(&settings, length + 1);
    let prepared: Vec<_> = leads
        .iter()
        .map(|lead| {
            let mut before = Lead {
                group: lead.group.clone(),
                entries: lead.entries.clone(),
                mappings: lead.mappings.clone(),
            };
            let last = before.entries.pop().expect("an event");
            let mapping = before.mappings.pop().expect("a mapping");
            // The process step reads the rows in the event's reach, not all of them.
            let mut stored = before.stored(&settings);
            if let Mapping::Mapped(meaning) = &mapping {
                let reached = shared::flow::reach(meaning, &lead.group);
                stored.retain(|row| reached.contains(&(row.key.table, row.key.id.clone())));
            }
            (lead, last, [mapping], stored)
        })
        .collect();
    bencher.counter(ItemsCount::new(LEADS)).bench(|| {
        for (lead, last, mapping, stored) in &prepared {
            let entries = [last];
            let batch = lead.batch(&settings, &entries, mapping);
            divan::black_box(step(&batch, stored).expect("in order"));
        }
    });
}

#[divan::bench(args = LENGTHS)]
fn fold(bencher: Bencher<'_, '_>, length: usize) {
    let settings = settings();
    let leads = leads(&settings, length);
    bencher.counter(ItemsCount::new(LEADS * length)).bench(|| {
        for lead in &leads {
            let mut fold = Fold::new(&lead.group);
            for (entry, mapping) in lead.entries.iter().zip(&lead.mappings) {
                if let Mapping::Mapped(meaning) = mapping {
                    divan::black_box(fold.apply(entry, meaning));
                }
            }
            divan::black_box(fold.into_cells());
        }
    });
}

/// Maps, sorts and folds a journal.
#[divan::bench(args = LENGTHS)]
fn fold_journal(bencher: Bencher<'_, '_>, length: usize) {
    let settings = settings();
    let tenant = settings.tenant("acme").expect("a tenant");
    let leads = leads(&settings, length);
    bencher.counter(ItemsCount::new(LEADS * length)).bench(|| {
        for lead in &leads {
            let journal: Vec<&Entry> = lead.entries.iter().rev().map(AsRef::as_ref).collect();
            divan::black_box(fold_all(tenant, &lead.group, &journal));
        }
    });
}

/// A late event: refolds the lead from its journal, with no image to begin with.
#[divan::bench(args = LENGTHS)]
fn refold(bencher: Bencher<'_, '_>, length: usize) {
    let settings = settings();
    let leads = leads(&settings, length);
    let prepared: Vec<_> = leads
        .iter()
        .map(|lead| {
            let journal: Vec<Entry> = lead
                .entries
                .iter()
                .map(|entry| Entry::clone(entry))
                .collect();
            let stored = lead.stored(&settings);
            let middle = length / 2;
            let late = lead.entries.get(middle).expect("an event");
            let mapping = [lead.mappings.get(middle).expect("a mapping").clone()];
            (lead, journal, stored, late, mapping)
        })
        .collect();
    bencher.counter(ItemsCount::new(LEADS * length)).bench(|| {
        for (lead, journal, stored, late, mapping) in &prepared {
            let entries = [*late];
            let batch = lead.batch(&settings, &entries, mapping);
            divan::black_box(correct(&batch, stored, journal));
        }
    });
}

#[divan::bench]
fn fingerprint(bencher: Bencher<'_, '_>) {
    let ids: Vec<String> = (0..1_000).map(|n| format!("evt_{n:016x}")).collect();
    bencher.counter(ItemsCount::new(ids.len())).bench(|| {
        let hash = |id: &String| EventHash::of("//acme.crm.example", id);
        ids.iter()
            .map(hash)
            .fold(Fingerprint::default(), Fingerprint::with)
    });
}

/// What replay does of each lead: all rows are equal.
#[divan::bench(args = LENGTHS)]
fn compare_rows(bencher: Bencher<'_, '_>, length: usize) {
    let settings = settings();
    let tenant = settings.tenant("acme").expect("a tenant");
    let leads = leads(&settings, length);
    let none = BTreeSet::new();
    let prepared: Vec<_> = leads
        .iter()
        .map(|lead| {
            let journal: Vec<Entry> = lead
                .entries
                .iter()
                .map(|entry| Entry::clone(entry))
                .collect();
            (lead, journal, lead.stored(&settings))
        })
        .collect();
    bencher.counter(ItemsCount::new(LEADS * length)).bench(|| {
        for (lead, journal, stored) in &prepared {
            let evidence = Evidence {
                tenant,
                group: &lead.group,
                stored,
                journal,
                parked: &none,
                in_flight: &none,
            };
            let comparison = compare(&evidence, Stamps::default());
            assert!(comparison.findings.is_empty(), "{:?}", comparison.findings);
        }
    });
}

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use clap::Parser;
use flate2::read::GzDecoder;
use shared::model::{RejectReason, Timestamp, cloud_event};
use shared::service;
use shared::settings::{Format, Mapping, Settings};

use super::travel::{AsWhat, Delivery, Fault, RESENT_FROM_MS};
use super::*;

const SAMPLE: &[u8] = include_bytes!("../../sample/events.jsonl.gz");
const SETTINGS: &str = include_str!("../../sample/settings.toml");

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: GenerateArgs,
}

/// What a command line with these words asks for.
fn args(words: &[&str]) -> GenerateArgs {
    Cli::parse_from(["generate"].iter().chain(words)).args
}

fn plan(words: &[&str]) -> Plan {
    args(words).plan()
}

const IN_ORDER: [&str; 8] = [
    "--late",
    "0",
    "--duplicates",
    "0",
    "--resent",
    "0",
    "--malformed",
    "0",
];

fn arrivals(plan: &Plan) -> Vec<(Delivery, String)> {
    travel::arrivals(plan)
        .map(|delivery| (delivery, delivery.text(plan)))
        .collect()
}

fn truth(plan: &Plan) -> Vec<String> {
    travel::truth(plan)
        .map(|event| text::line(plan, &event))
        .collect()
}

fn settings() -> Settings {
    Settings::compile(SETTINGS, Format::Toml, 1).expect("the sample's settings compile")
}

#[test]
fn the_shipped_sample_is_what_the_defaults_give() {
    let mut shipped = String::new();
    GzDecoder::new(SAMPLE)
        .read_to_string(&mut shipped)
        .expect("gzip of UTF-8");
    let generated = arrivals(&plan(&[]));
    let differs = shipped
        .lines()
        .zip(&generated)
        .position(|(line, (_, expect))| line != expect);
    assert!(
        differs.is_none() && shipped.lines().count() == generated.len(),
        "line {differs:?} of the sample differs; make it anew: \
         foldback generate --output infra/local/sample/events.jsonl.gz"
    );
}

#[test]
fn the_truth_is_in_order_and_means_something() {
    let settings = settings();
    let plan = plan(&["--tenants", "16"]);
    let truth = truth(&plan);
    let events: Vec<_> = truth
        .iter()
        .map(|line| cloud_event::parse(line.as_bytes()).expect(line))
        .collect();
    assert!(
        events.is_sorted_by(|a, b| a.cmp_order(b).is_lt()),
        "sorted, and none twice"
    );
    let ids: BTreeSet<_> = events.iter().map(|event| &event.id).collect();
    assert_eq!(ids.len(), events.len());

    let (mut tenants, mut meanings) = (BTreeSet::new(), BTreeMap::new());
    let mut equal_times = 0;
    for (event, line) in events.iter().zip(&truth) {
        let tenant = event.tenant.as_deref().expect("a tenant");
        let meaning = match settings.tenant(tenant).expect(tenant).map(event) {
            Mapping::Mapped(meaning) => meaning.to_string(),
            Mapping::Unmapped => "unmapped".to_owned(),
            Mapping::Fault(fault) => panic!("{fault}: {line}"),
        };
        *meanings.entry(meaning).or_insert(0) += 1;
        tenants.insert(tenant);
    }
    for pair in events.windows(2) {
        equal_times += u32::from(pair[0].time == pair[1].time);
    }
    assert_eq!(tenants.len(), 16);
    assert_eq!(
        meanings.len(),
        11,
        "ten canonical types, and unmapped: {meanings:?}"
    );
    assert!(meanings.values().all(|&count| count > 100), "{meanings:?}");
    assert!(equal_times > 500, "{equal_times}");
    assert!(events.iter().all(|event| event.time.ms() < RESENT_FROM_MS));
    assert!(events.iter().any(|event| event.sequence.is_some()));
}

#[test]
fn every_event_arrives_once_and_its_duplicate_has_the_same_bytes() {
    let plan = plan(&[
        "--leads",
        "300",
        "--late",
        "30",
        "--duplicates",
        "20",
        "--resent",
        "10",
    ]);
    let mut counts = Counts::default();
    let (mut first, mut again) = (BTreeSet::new(), Vec::new());
    let mut before = Timestamp::MIN;
    for (delivery, line) in arrivals(&plan) {
        counts.add(delivery.as_what);
        assert!(delivery.at >= before, "in the order of arrival");
        before = delivery.at;
        match delivery.as_what {
            AsWhat::Event | AsWhat::Late | AsWhat::Resent => {
                assert_eq!(
                    delivery.at > delivery.event.at,
                    delivery.as_what != AsWhat::Event
                );
                assert!(first.insert(line), "an event arrives anew once");
            }
            AsWhat::Duplicate => again.push(line),
            AsWhat::Malformed(_) => {}
        }
    }
    assert!(again.iter().all(|line| first.contains(line)));
    assert_eq!(first, truth(&plan).into_iter().collect());

    let Counts {
        events,
        late,
        resent,
        duplicates,
        ..
    } = counts;
    let about = |count: u64, percent: u64| count.abs_diff(events * percent / 100) < events / 50;
    assert!(events > 2_500 && about(duplicates, 20), "{counts:?}");
    assert!(
        about(resent, 10) && about(late, 27),
        "what is lost cannot be late: {counts:?}"
    );
}

#[test]
fn every_malformed_line_is_rejected_for_its_reason() {
    let settings = settings();
    let plan = plan(&["--leads", "100", "--malformed", "50"]);
    let mut journal = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (delivery, line) in arrivals(&plan) {
        let now = delivery.at;
        let accepted = service::accept(&settings, None, line.as_bytes(), now).map(|_| ());
        let parsed = cloud_event::parse(line.as_bytes());
        let AsWhat::Malformed(fault) = delivery.as_what else {
            assert_eq!(accepted, Ok(()), "{line}");
            let event = parsed.expect("an event");
            journal.insert((event.source.clone(), event.id.clone()), event);
            continue;
        };
        seen.insert(fault);
        let reason = match fault {
            Fault::CutOff | Fault::Garbage | Fault::NoId | Fault::OldVersion => {
                RejectReason::Malformed
            }
            Fault::NoTime | Fault::ImpossibleTime => RejectReason::Time,
            Fault::UnknownTenant => RejectReason::UnknownTenant,
            Fault::NoLead => RejectReason::NoPartitionKey,
            Fault::Oversized => RejectReason::Oversized,
            Fault::OtherContent => {
                let event = parsed.expect("an event");
                let journaled = &journal[&(event.source.clone(), event.id.clone())];
                assert!(!journaled.same_content(&event), "a conflict: {line}");
                continue;
            }
        };
        let refusal = accepted.expect_err(&line);
        assert_eq!(refusal.reason, reason, "{fault:?} {refusal}: {line:.400}");
    }
    assert_eq!(seen.len(), 10, "every fault comes up: {seen:?}");
}

#[test]
fn an_option_changes_only_what_it_is_about() {
    let undisturbed = plan(&IN_ORDER);
    let lines: Vec<String> = arrivals(&undisturbed)
        .into_iter()
        .map(|(_, line)| line)
        .collect();
    let truth_of = |words: &[&str]| truth(&plan(words));
    assert_eq!(
        lines,
        truth(&undisturbed),
        "without disturbances events arrive in order"
    );
    assert_eq!(truth_of(&["--late", "100", "--malformed", "12.5"]), lines);
    assert_ne!(truth_of(&["--seed", "8"]), lines);

    let of = |words: &[&str], wanted: fn(AsWhat) -> bool| -> Vec<String> {
        let lines = arrivals(&plan(words)).into_iter();
        lines
            .filter(|(delivery, _)| wanted(delivery.as_what))
            .map(|(_, line)| line)
            .collect()
    };
    let late = |as_what| as_what == AsWhat::Late;
    assert_eq!(
        of(&[], late),
        of(&["--duplicates", "50", "--malformed", "0"], late)
    );
}

#[test]
fn files_are_compressed_by_their_names_and_hold_the_same_lines() {
    let directory = std::env::temp_dir().join(format!("foldback-generate-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let path = |name: &str| directory.join(name).display().to_string();
    let (gz, zst) = (path("a.jsonl.gz"), path("a.jsonl.zst"));
    let (plain, truth_file) = (path("a.jsonl"), path("truth.jsonl.gz"));
    for output in [&gz, &zst, &plain] {
        let words = ["--leads", "20", "--output", output, "--truth", &truth_file];
        assert_eq!(run(&args(&words)).expect("written"), Status::Clean);
    }
    let bytes = |path: &str| std::fs::read(path).expect("readable");
    let unzip = |bytes: Vec<u8>| {
        let mut text = Vec::new();
        GzDecoder::new(bytes.as_slice())
            .read_to_end(&mut text)
            .expect("gzip");
        text
    };
    assert_eq!(unzip(bytes(&gz)), bytes(&plain));
    assert_eq!(
        zstd::decode_all(bytes(&zst).as_slice()).expect("zstd"),
        bytes(&plain)
    );
    let expect: String = truth(&plan(&["--leads", "20"]))
        .into_iter()
        .map(|line| line + "\n")
        .collect();
    assert_eq!(unzip(bytes(&truth_file)), expect.into_bytes());

    let clash = run(&args(&["--output", &plain, "--truth", &plain]));
    assert!(matches!(clash, Err(Failure::Input(why)) if why.contains("give each its own file")));
    let nowhere = run(&args(&["--output", &path("no/such/directory")]));
    assert!(matches!(nowhere, Err(Failure::File { what, .. }) if what.starts_with("write ")));
    std::fs::remove_dir_all(&directory).expect("removed");
}

#[test]
fn impossible_options_are_refused() {
    for words in [
        ["--late", "101"],
        ["--tenants", "0"],
        ["--leads", "0"],
        ["--malformed", "x"],
    ] {
        let parsed = Cli::try_parse_from(["generate"].iter().chain(&words));
        assert!(parsed.is_err(), "{words:?}");
    }
}

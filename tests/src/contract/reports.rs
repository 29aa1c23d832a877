//! What every [`Reports`] must do.

use std::slice::from_ref;

use serde_json::json;
use shared::handlers::Table;
use shared::model::{
    Class, Depth, EventRef, FieldChange, Finding, ReplayRun, Report, RunInShort, Timestamp, Traffic,
};
use shared::ports::{LIVE_RUN, REPORTS_KEPT_MAX, RUNS_KEPT_MAX, Reports};

use super::Fixture;
use crate::fixtures::{at, group};

suite! { $ reports_suite, reports: Reports;
    nothing_kept_is_nothing_found,
    runs_and_findings_come_back_as_they_were,
    many_findings_come_back_in_their_order,
    findings_come_in_pages,
    the_newest_runs_come_first,
    runs_are_apart,
    a_row_has_one_finding_of_live_handling,
    a_finding_of_live_handling_is_forgotten_as_it_was_read,
    the_oldest_runs_are_forgotten_with_their_findings,
    the_oldest_reports_are_forgotten,
    reports_come_back_as_they_were,
    the_newest_reports_come_first,
    all_of_it_survives_reopening,
}

/// What no document store may stumble over.
const NASTY: &str = "名前 \u{1f600} ' \" \\ $inc a.b \n\t\u{fffd} é";

fn finding(id: &str) -> Finding {
    Finding {
        class: Class::Lost,
        table: Table::RSLead,
        group: group("acme", "lead-1"),
        id: id.into(),
        changes: vec![],
        events: vec![],
        explanation: String::new(),
    }
}

/// A finding of every class, on every table, with values of every kind.
fn every_shape() -> Vec<Finding> {
    let named = |id: String| EventRef {
        id: id.into(),
        source: NASTY.into(),
        time: Some(at(7)),
    };
    let change = |field: &str, before, after| FieldChange {
        field: field.to_owned(),
        before,
        after,
        caused_by: (!field.is_empty()).then(|| named(field.to_owned())),
    };
    let changes = vec![
        change("conversions.sale.count", None, Some(json!(3))),
        change("amount", Some(json!(0.5)), Some(json!(-99_999_999_999.5))),
        change("stage", Some(json!("")), Some(json!(NASTY))),
        change("", None, None),
        change(
            NASTY,
            Some(json!([1, [], {}, [null, true]])),
            Some(json!({"a.b": {"c d": null}, "n": 1_i64 << 53, "名": [false]})),
        ),
    ];
    let tables = Table::ALL.iter().cycle();
    let mut findings: Vec<Finding> = Class::ALL
        .into_iter()
        .zip(tables)
        .map(|(class, table)| Finding {
            class,
            table: *table,
            explanation: class.explanation().to_owned(),
            ..finding(class.name())
        })
        .collect();
    findings.push(Finding {
        group: group("globex", NASTY),
        changes,
        events: (0..16).map(|n| named(format!("{NASTY} {n}"))).collect(),
        explanation: NASTY.repeat(50),
        ..finding(NASTY)
    });
    findings
}

fn run_of(started: i64, findings: &[Finding]) -> ReplayRun {
    let mut run = ReplayRun {
        started: at(started),
        finished: at(started).plus_ms(1),
        mode: "update".into(),
        scope: NASTY.to_owned(),
        groups: 1 << 53,
        events: 2,
        rows: 3,
        findings: 0,
        mended: 5,
        faults: 6,
        busy_groups: 7,
        locked_groups: 8,
        settings: 9,
        ..ReplayRun::default()
    };
    findings.iter().for_each(|finding| run.count(finding));
    run
}

fn report(minutes: i64) -> Report {
    Report {
        at: at(minutes),
        rows: [("RSLead".into(), 7), ("RSAppointment".into(), 0)].into(),
        queue: Depth {
            visible: 1,
            in_flight: 1 << 53,
            dead: 3,
        },
        last_run: None,
        trend: vec![],
        late_rows: vec![],
        traffic: vec![],
        indexes: None,
        notes: vec![],
    }
}

async fn keep_run(
    fixture: &impl Fixture<Ports: Reports>,
    run: &ReplayRun,
    findings: &[Finding],
) -> u64 {
    let kept = fixture.ports().keep_run(run, findings).await;
    kept.expect("keep a run")
}

async fn runs(fixture: &impl Fixture<Ports: Reports>, limit: usize) -> Vec<(u64, ReplayRun)> {
    fixture.ports().runs(limit).await.expect("runs")
}

async fn keep_report(fixture: &impl Fixture<Ports: Reports>, report: &Report) {
    let kept = fixture.ports().keep_report(report).await;
    kept.expect("keep a report");
}

async fn reports(fixture: &impl Fixture<Ports: Reports>, limit: usize) -> Vec<Report> {
    fixture.ports().reports(limit).await.expect("reports")
}

/// The findings of a run, read page by page.
async fn findings(fixture: &impl Fixture<Ports: Reports>, run: u64, limit: usize) -> Vec<Finding> {
    let mut all: Vec<Finding> = Vec::new();
    loop {
        let after = all.len() as u64;
        let page = fixture.ports().findings(run, after, limit).await;
        let page = page.expect("findings");
        assert!(page.len() <= limit, "a page of {} for {limit}", page.len());
        if page.is_empty() {
            return all;
        }
        for (expect, (place, finding)) in (after + 1..).zip(page) {
            assert_eq!(place, expect, "places count from 1");
            all.push(finding);
        }
    }
}

async fn nothing_kept_is_nothing_found(fixture: &mut impl Fixture<Ports: Reports>) {
    assert_eq!(runs(fixture, 10).await, []);
    assert_eq!(reports(fixture, 10).await, []);
    for run in [0, 1, 7] {
        assert_eq!(findings(fixture, run, 10).await, [], "{run}");
    }
}

async fn runs_and_findings_come_back_as_they_were(fixture: &mut impl Fixture<Ports: Reports>) {
    let all = every_shape();
    let full = run_of(0, &all);
    assert_eq!((full.findings, full.by_class.len()), (9, 8));
    let extreme = ReplayRun {
        started: Timestamp::MIN,
        finished: Timestamp::MAX,
        ..ReplayRun::default()
    };
    for (run, found) in [(full, all), (extreme, vec![])] {
        let number = keep_run(fixture, &run, &found).await;
        assert!(number > 0);
        assert_eq!(runs(fixture, 1).await, [(number, run)]);
        assert_eq!(findings(fixture, number, 100).await, found);
    }
}

async fn many_findings_come_back_in_their_order(fixture: &mut impl Fixture<Ports: Reports>) {
    let many: Vec<Finding> = (0..2_500)
        .map(|n| finding(&format!("lead-{}", n * 7_919 % 2_503)))
        .collect();
    let number = keep_run(fixture, &run_of(0, &many), &many).await;
    assert_eq!(findings(fixture, number, 1_000).await, many);
    assert_eq!(findings(fixture, number, 10_000).await, many);
}

async fn findings_come_in_pages(fixture: &mut impl Fixture<Ports: Reports>) {
    let five: Vec<Finding> = ["c", "a", "b", "a", "d"].map(finding).to_vec();
    let number = keep_run(fixture, &run_of(0, &five), &five).await;
    for limit in 1..=6 {
        assert_eq!(findings(fixture, number, limit).await, five, "{limit}");
    }
    assert_eq!(findings(fixture, number, 0).await, []);
    let beyond = fixture.ports().findings(number, 5, 10).await;
    assert_eq!(beyond.expect("findings"), []);
}

async fn the_newest_runs_come_first(fixture: &mut impl Fixture<Ports: Reports>) {
    let mut newest_first = Vec::new();
    // Equal moments, too.
    for started in [0, 5, 5, 9] {
        let run = run_of(started, &[]);
        let number = keep_run(fixture, &run, &[]).await;
        newest_first.insert(0, (number, run));
    }
    let numbers = newest_first.iter().map(|(number, _)| *number);
    assert!(numbers.is_sorted_by(|a, b| a > b), "numbers grow");
    for limit in [0, 1, 3, 4, 5] {
        let expect = &newest_first[..limit.min(4)];
        assert_eq!(runs(fixture, limit).await, expect, "{limit}");
    }
}

async fn runs_are_apart(fixture: &mut impl Fixture<Ports: Reports>) {
    let (ours, theirs) = (["a", "b"].map(finding), ["b", "c", "d"].map(finding));
    let one = keep_run(fixture, &run_of(0, &ours), &ours).await;
    let two = keep_run(fixture, &run_of(1, &theirs), &theirs).await;
    let same = keep_run(fixture, &run_of(1, &theirs), &theirs).await;
    assert!(one < two && two < same, "{one} {two} {same}");
    for limit in [1, 2, 10] {
        assert_eq!(findings(fixture, one, limit).await, ours);
        assert_eq!(findings(fixture, two, limit).await, theirs);
        assert_eq!(findings(fixture, same, limit).await, theirs);
    }
    assert_eq!(findings(fixture, same + 1, 10).await, []);
}

/// However often it is found: the newest one says how things stand.
async fn a_row_has_one_finding_of_live_handling(fixture: &mut impl Fixture<Ports: Reports>) {
    let live = async |found: &[Finding]| {
        let kept = fixture.ports().keep_live(found).await;
        kept.expect("keep");
    };
    let again = |of: &Finding, explanation: &str| Finding {
        explanation: explanation.to_owned(),
        ..of.clone()
    };
    let (a, b) = (finding("a"), finding("b"));
    let other_table = Finding {
        table: Table::RSAppointment,
        ..a.clone()
    };
    live(&[a.clone(), b.clone(), other_table.clone()]).await;
    let newer = again(&a, "newer");
    live(&[again(&a, "new"), newer.clone()]).await;
    live(&[]).await;
    let mut all = Vec::new();
    let mut after = 0;
    loop {
        let page = fixture.ports().findings(LIVE_RUN, after, 2).await;
        let page = page.expect("findings");
        assert!(page.is_sorted_by(|(a, _), (b, _)| a < b), "by their places");
        let Some((last, _)) = page.last() else { break };
        after = *last;
        all.extend(page.into_iter().map(|(_place, finding)| finding));
    }
    all.sort_by(|x, y| (&x.id, x.table).cmp(&(&y.id, y.table)));
    assert_eq!(all, [newer, other_table, b]);
    assert_eq!(runs(fixture, 10).await, [], "no run is kept with them");
}

async fn a_finding_of_live_handling_is_forgotten_as_it_was_read(
    fixture: &mut impl Fixture<Ports: Reports>,
) {
    let ports = fixture.ports();
    let live = async || {
        let found = ports.findings(LIVE_RUN, 0, 10).await.expect("findings");
        let mut found: Vec<Finding> = found.into_iter().map(|(_place, one)| one).collect();
        found.sort_by(|a, b| a.id.cmp(&b.id));
        found
    };
    let mut all = every_shape();
    all.truncate(3);
    let rich = every_shape().pop().expect("a finding with changes");
    all.push(rich.clone());
    let old = finding("again");
    let newer = Finding {
        explanation: "newer".to_owned(),
        ..old.clone()
    };
    all.push(old.clone());
    ports.keep_live(&all).await.expect("keep");
    ports.keep_live(from_ref(&newer)).await.expect("keep");
    let forgotten = [rich, old, finding("never kept")];
    ports.forget_live(&forgotten).await.expect("forget");
    let mut left = vec![newer];
    left.extend(all.into_iter().take(3));
    left.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(
        live().await,
        left,
        "what a newer one took the place of stays"
    );
    let run = keep_run(fixture, &run_of(0, &left), &left).await;
    ports.forget_live(&left).await.expect("forget");
    assert_eq!(live().await, []);
    assert_eq!(
        findings(fixture, run, 10).await,
        left,
        "a run keeps its own"
    );
}

async fn the_oldest_runs_are_forgotten_with_their_findings(
    fixture: &mut impl Fixture<Ports: Reports>,
) {
    let live = finding("live");
    let kept = fixture.ports().keep_live(from_ref(&live)).await;
    kept.expect("keep");
    let mut numbers = Vec::new();
    for run in 0..RUNS_KEPT_MAX + 3 {
        let found = [finding("a"), finding(&format!("lead-{run}"))];
        numbers.push(keep_run(fixture, &run_of(0, &found), &found).await);
    }
    let (gone, left) = numbers.split_at(3);
    let listed = runs(fixture, numbers.len()).await;
    let listed: Vec<u64> = listed.into_iter().rev().map(|(number, _)| number).collect();
    assert_eq!(listed, left);
    for number in gone {
        assert_eq!(findings(fixture, *number, 10).await, [], "{number}");
    }
    for number in left {
        assert_eq!(findings(fixture, *number, 10).await.len(), 2, "{number}");
    }
    let open = fixture.ports().findings(LIVE_RUN, 0, 10).await;
    let open: Vec<Finding> = open
        .expect("findings")
        .into_iter()
        .map(|(_, one)| one)
        .collect();
    assert_eq!(open, [live], "no run has those of live handling");
}

async fn the_oldest_reports_are_forgotten(fixture: &mut impl Fixture<Ports: Reports>) {
    let kept_max = i64::try_from(REPORTS_KEPT_MAX).expect("a small number");
    for minute in 0..kept_max + 3 {
        keep_report(fixture, &report(minute)).await;
    }
    let listed = reports(fixture, 10_000).await;
    let newest_first: Vec<Report> = (3..kept_max + 3).rev().map(report).collect();
    assert_eq!(listed, newest_first);
}

async fn reports_come_back_as_they_were(fixture: &mut impl Fixture<Ports: Reports>) {
    let full = Report {
        rows: Table::ALL
            .into_iter()
            .map(|table| (table.name().into(), table.index() as u64))
            .collect(),
        last_run: Some(run_of(3, &every_shape())),
        late_rows: every_shape(),
        trend: vec![RunInShort::from(&run_of(3, &every_shape())); 2],
        traffic: vec![Traffic {
            hour: "2026-03-01T09".into(),
            events: 1 << 53,
            late_days: 3,
            ..Traffic::default()
        }],
        indexes: Some(json!({
            "unused": ["conversions.sale.lastAt_1", NASTY],
            "RSLead": {"reads per write": 1.5, "a.b": null, "whole": true, "none": {}},
        })),
        notes: vec![String::new(), NASTY.to_owned(), "x".repeat(10_000)],
        ..report(0)
    };
    let bare = Report {
        rows: [].into(),
        queue: Depth::default(),
        at: Timestamp::MAX,
        ..report(0)
    };
    for report in [full, bare] {
        keep_report(fixture, &report).await;
        assert_eq!(reports(fixture, 1).await, [report]);
    }
}

async fn the_newest_reports_come_first(fixture: &mut impl Fixture<Ports: Reports>) {
    let mut newest_first = Vec::new();
    for (minutes, note) in [(0, "first"), (5, "second"), (5, "third"), (9, "fourth")] {
        let mut report = report(minutes);
        report.notes.push(note.to_owned());
        keep_report(fixture, &report).await;
        newest_first.insert(0, report);
    }
    for limit in [0, 1, 3, 4, 5] {
        let expect = &newest_first[..limit.min(4)];
        assert_eq!(reports(fixture, limit).await, expect, "{limit}");
    }
}

async fn all_of_it_survives_reopening(fixture: &mut impl Fixture<Ports: Reports>) {
    let all = every_shape();
    let number = keep_run(fixture, &run_of(0, &all), &all).await;
    keep_report(fixture, &report(0)).await;
    fixture.reopen().await;
    assert_eq!(runs(fixture, 10).await, [(number, run_of(0, &all))]);
    assert_eq!(findings(fixture, number, 4).await, all);
    assert_eq!(reports(fixture, 10).await, [report(0)]);
    let next = keep_run(fixture, &run_of(1, &[]), &[]).await;
    assert!(next > number, "{next} after {number}");
    keep_report(fixture, &report(1)).await;
    assert_eq!(reports(fixture, 10).await, [report(1), report(0)]);
}

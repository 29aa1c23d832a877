//! What replay runs that are under way promise, as DynamoDB keeps them.

use std::collections::BTreeSet;

use foldback_tests::contract::Fixture;
use foldback_tests::fixtures::{group, lead_key};
use foldback_tests::servers::Fault;
use shared::adapters::SystemClock;
use shared::adapters::aws::{Aws, Part, Run, RunState};
use shared::model::{Class, EventHash, Finding};
use shared::ports::{Clock, ErrorKind};
use shared::service::Parked;

use crate::aws::OnAws;

const TRANSACT: &str = "DynamoDB_20120810.TransactWriteItems";
const WRITE: &str = "DynamoDB_20120810.BatchWriteItem";
const PARTITIONS: u64 = 3;

fn finding(number: usize) -> Finding {
    let group = group("acme", &format!("lead-{number}"));
    let key = lead_key(&group);
    Finding {
        class: Class::Foreign,
        group: key.group,
        table: key.table,
        id: key.id,
        explanation: "somebody else wrote it".to_owned(),
        changes: Vec::new(),
        events: Vec::new(),
    }
}

fn parked(groups: usize, events: u128) -> Parked {
    let of_group = |number: usize| {
        let base = (number as u128) << 64;
        let events: BTreeSet<EventHash> =
            (0..events).map(|event| EventHash(base + event)).collect();
        (group("acme", &format!("lead-{number}")), events)
    };
    (0..groups).map(of_group).collect()
}

async fn begun(aws: &Aws, parked: &Parked) -> Run {
    let run = aws.new_run("report", Some("acme".into()), PARTITIONS);
    aws.begin_run(&run, parked).await.expect("begin");
    run
}

/// Saves a partition with findings; says whether it was the one to do so.
async fn saved(aws: &Aws, run: &Run, index: u64, part: &mut Part, found: &[Finding]) -> bool {
    let mut kept = found.to_vec();
    kept.retain(|finding| part.take(finding));
    let saved = aws.save_part(&run.id, index, part, &kept).await;
    saved.expect("save")
}

/// More parked events than an item holds.
#[test]
fn a_run_is_read_as_it_was_begun() {
    OnAws::run(async {
        let mut fixture = OnAws::fresh().await;
        let parked = parked(20, 1_000);
        let run = begun(fixture.ports(), &parked).await;
        fixture.reopen().await;
        let (read, state, read_parked) = fixture.ports().run(&run.id).await.expect("the run");
        assert_eq!(read, run);
        let expected = RunState {
            done: 0,
            finisher: None,
            finished: false,
        };
        assert_eq!(state, expected);
        assert!(read_parked == parked, "of {} groups", read_parked.len());
        let parts = fixture.ports().parts(&run.id).await.expect("parts");
        assert_eq!(parts, vec![Part::default(); 3]);
        for (id, part) in [("2026-03-01T09:00:00Z-none", 0), (&*run.id, PARTITIONS)] {
            let error = fixture.ports().part(id, part).await.expect_err("none");
            assert_eq!(error.kind(), ErrorKind::Reject, "{id} {part}");
        }
        let none = fixture.ports().run("2026-03-01T09:00:00Z-none").await;
        assert_eq!(none.expect_err("none").kind(), ErrorKind::Reject);
    });
}

#[test]
fn who_is_done_last_finds_all_partitions_done() {
    OnAws::run(async {
        let fixture = OnAws::fresh().await;
        let aws = fixture.ports();
        let run = begun(aws, &Parked::new()).await;
        for index in 0..PARTITIONS {
            let mut part = aws.part(&run.id, index).await.expect("a part");
            part.sums.groups = 5;
            assert!(saved(aws, &run, index, &mut part, &[finding(0)]).await);
            // A second page, and the end.
            part.sums.groups += 1;
            part.done = true;
            assert!(saved(aws, &run, index, &mut part, &[finding(1), finding(2)]).await);
            let (_, state, _) = aws.run(&run.id).await.expect("the run");
            assert_eq!(state.done, index + 1);
            assert!(!state.finished);
        }
        let parts = aws.parts(&run.id).await.expect("parts");
        assert!(
            parts
                .iter()
                .all(|part| part.done && part.sums.groups == 6 && part.kept == 3)
        );
        let counted: u64 = parts[0].by_class["foreign"].values().sum();
        assert_eq!(counted, 3);
        let findings = aws.findings_of_run(&run.id).await.expect("findings");
        assert_eq!(findings.len(), 9);
        assert_eq!(findings[..3], [finding(0), finding(1), finding(2)]);
        aws.finish_run(&run.id, 7).await.expect("finish");
        assert!(aws.run(&run.id).await.expect("the run").1.finished);
    });
}

/// Partitions that are done at the same time: one worker sums up, another only once that one must be dead.
#[test]
fn of_two_that_are_done_last_one_sums_up() {
    OnAws::run(async {
        let fixture = OnAws::fresh().await;
        let aws = fixture.ports();
        let run = begun(aws, &Parked::new()).await;
        let soon = SystemClock.now().ms() + 60_000;
        let claim = async |index, until| {
            let claimed = aws.claim_finish(&run.id, index, until).await;
            claimed.expect("a claim")
        };
        let past = SystemClock.now().ms() - 1;
        assert!(claim(2, past).await);
        assert!(claim(1, soon).await, "the first must be dead");
        assert!(!claim(0, soon).await);
        assert!(!claim(1, soon).await, "a message that came twice");
        let (_, state, _) = aws.run(&run.id).await.expect("the run");
        assert_eq!(state.finisher, Some(1));
        assert!(!state.finished);
    });
}

/// A claim whose answer got lost is made again by the SDK, and must not be taken for another worker's.
#[test]
fn a_claim_whose_answer_got_lost_is_its_own() {
    OnAws::run(async {
        let fixture = OnAws::fresh().await;
        let aws = fixture.ports();
        let run = begun(aws, &Parked::new()).await;
        fixture.fail("DynamoDB_20120810.UpdateItem", Fault::Lost, 1);
        let until = SystemClock.now().ms() + 60_000;
        let claimed = aws.claim_finish(&run.id, 0, until).await;
        assert!(claimed.expect("a claim"));
    });
}

/// Two workers have the same partition, since a message came twice.
#[test]
fn of_two_that_save_a_partition_one_goes_on() {
    OnAws::run(async {
        let fixture = OnAws::fresh().await;
        let aws = fixture.ports();
        let run = begun(aws, &Parked::new()).await;
        let mut one = aws.part(&run.id, 1).await.expect("a part");
        let mut two = one.clone();
        one.done = true;
        two.done = true;
        assert!(saved(aws, &run, 1, &mut one, &[finding(1)]).await);
        assert!(!saved(aws, &run, 1, &mut two, &[finding(1)]).await);
        let (_, state, _) = aws.run(&run.id).await.expect("the run");
        assert_eq!(state.done, 1, "counted once");
        let findings = aws.findings_of_run(&run.id).await.expect("findings");
        assert_eq!(findings, [finding(1)]);
    });
}

/// A save whose answer got lost is made again by the SDK, and must not be taken for another worker's.
#[test]
fn a_save_whose_answer_got_lost_is_its_own() {
    OnAws::run(async {
        let fixture = OnAws::fresh().await;
        let aws = fixture.ports();
        let run = begun(aws, &Parked::new()).await;
        let mut part = aws.part(&run.id, 0).await.expect("a part");
        for page in 1..=2 {
            part.done = page == 2;
            fixture.fail(TRANSACT, Fault::Lost, 1);
            assert!(
                saved(aws, &run, 0, &mut part, &[finding(page)]).await,
                "page {page}"
            );
        }
        let (_, state, _) = aws.run(&run.id).await.expect("the run");
        assert_eq!(state.done, 1, "counted once");
        assert_eq!(
            aws.findings_of_run(&run.id).await.expect("findings").len(),
            2
        );
    });
}

#[test]
fn what_fails_in_a_run_is_for_another_try() {
    OnAws::run(async {
        let fixture = OnAws::fresh().await;
        let aws = fixture.ports();
        let run = aws.new_run("update", None, 40);
        fixture.fail(WRITE, Fault::Partial, 6);
        aws.begin_run(&run, &parked(2, 3)).await.expect("begin");
        assert_eq!(aws.parts(&run.id).await.expect("parts").len(), 40);
        let mut part = aws.part(&run.id, 0).await.expect("a part");
        fixture.fail(TRANSACT, Fault::Throttled, 4);
        let error = aws.save_part(&run.id, 0, &mut part.clone(), &[]).await;
        assert_eq!(error.expect_err("throttled").kind(), ErrorKind::Retry);
        assert!(saved(aws, &run, 0, &mut part, &[]).await);
    });
}

/// Of very many findings all are counted and the first thousand kept.
#[test]
fn many_findings_are_counted() {
    OnAws::run(async {
        let fixture = OnAws::fresh().await;
        let aws = fixture.ports();
        let run = begun(aws, &Parked::new()).await;
        let mut part = aws.part(&run.id, 2).await.expect("a part");
        let found: Vec<Finding> = (0..1_100).map(finding).collect();
        assert!(saved(aws, &run, 2, &mut part, &found).await);
        let read = aws.part(&run.id, 2).await.expect("a part");
        let counted: u64 = read.by_class["foreign"].values().sum();
        assert_eq!((counted, read.kept), (1_100, 1_000));
        let findings = aws.findings_of_run(&run.id).await.expect("findings");
        assert!(findings == found[..1_000], "{} kept", findings.len());
    });
}

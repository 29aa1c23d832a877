//! The function `replay`, called as Lambda, a schedule and a person call it.

#![expect(
    clippy::indexing_slicing,
    reason = "what an answer lacks is null when it is asked for by name; an assertion then says so"
)]
#![expect(clippy::panic, reason = "what does not hold in a test ends it")]

use std::sync::Arc;

use foldback_tests::fixtures::{group, happened, lead_key, plain, taking_away};
use serde_json::{Value, json};
use shared::adapters::mongo::Mongo;
use shared::adapters::stack::Stack;
use shared::adapters::{Joined, SystemClock};
use shared::model::{Entry, Group, ReplayRun};
use shared::ports::{Clock, ErrorKind, Partition, Reading, Reports, Tables};
use shared::service::{Mode, Pages, Parked, Replay, Scope};

use crate::aws_world::{World, deadline_ms, failed, in_time};
use crate::mongo::run;

/// Less time than a page may take.
const SHORT_MS: u64 = 5_000;
/// More groups than a page has.
const GROUPS: usize = 300;

fn lead(tenant: &str, number: i64) -> Group {
    group(tenant, &format!("lead-{number}"))
}

/// Three leads of one tenant and two of another, with their rows; no event is young.
async fn world() -> World {
    let mut world = World::new("").await;
    world.stack = world.set_up_as(|config| config.grace_ms = 0);
    for (tenant, count) in [("acme", 3), ("globex", 2)] {
        let events = (1..=count).map(|number| {
            let group = lead(tenant, number);
            happened(&group, 100 * number, "lead.updated")
        });
        let events: Vec<Arc<Entry>> = events.collect();
        world.told(&events).await;
    }
    world.drained().await;
    world
}

/// Takes the row of a lead away.
async fn lose(world: &World, group: &Group) {
    let key = lead_key(group);
    let read = world
        .rows
        .read(std::slice::from_ref(&key), Reading::Row)
        .await;
    let row = read.expect("read").pop().expect("a row");
    let away = taking_away(&key, row.trail.version);
    let committed = world.rows.commit(&[away], &[], SystemClock.now()).await;
    committed.expect("commit");
}

async fn has_row(world: &World, group: &Group) -> bool {
    let read = world.rows.read(&[lead_key(group)], Reading::Row).await;
    !read.expect("read").is_empty()
}

async fn call(stack: &Stack, input: &Value, deadline_ms: u64) -> Value {
    let answer = foldback_replay::handle(stack, input.clone(), deadline_ms).await;
    answer.expect("an answer")
}

/// Has a run made and all its partitions gone through.
async fn replayed(world: &World, request: &Value) -> ReplayRun {
    let before = runs(&world.rows).await.len();
    let began = call(&world.stack, request, in_time()).await;
    assert!(began["run"].is_string(), "{began}");
    let partitions = world.partitions();
    assert_eq!(json!(partitions.len()), began["partitions"]);
    for partition in &partitions {
        let answer = call(&world.stack, partition, in_time()).await;
        assert_eq!(failed(&answer), [] as [&str; 0]);
    }
    let mut runs = runs(&world.rows).await;
    assert_eq!(runs.len(), before + 1, "kept once, by who is done last");
    runs.remove(0)
}

/// The kept runs, the newest first.
async fn runs(rows: &Mongo) -> Vec<ReplayRun> {
    let runs = rows.runs(100).await.expect("runs");
    runs.into_iter().map(|(_, run)| run).collect()
}

/// As a schedule asks, as a person asks for one lead, and as the schedule asks again.
#[test]
fn a_lost_row_is_found_by_the_fan_out_and_mended_by_its_id() {
    run(async {
        let world = world().await;
        assert_eq!(
            replayed(&world, &json!({ "mode": "report" }))
                .await
                .findings,
            0
        );
        lose(&world, &lead("acme", 2)).await;

        let found = replayed(&world, &json!({ "mode": "report", "partitions": 5 })).await;
        assert_eq!((found.findings, found.mended, found.groups), (1, 0, 5));
        assert_eq!(json!(found.by_class), json!({ "missing": { "RSLead": 1 } }));
        assert!(found.scope.ends_with("5 partitions"), "{}", found.scope);
        assert!(
            !has_row(&world, &lead("acme", 2)).await,
            "a report writes nothing"
        );

        let id = json!({ "mode": "changes", "tenant": "acme", "id": "lead-2" });
        let told = call(&world.stack, &id, in_time()).await;
        let told = &told["findings"];
        assert_eq!(
            (&told[0]["class"], &told[0]["id"]),
            (&json!("missing"), &json!("lead-2"))
        );
        let fields = told[0]["changes"].as_array().expect("fields");
        assert!(!fields.is_empty(), "field by field: {told}");
        assert!(
            !has_row(&world, &lead("acme", 2)).await,
            "neither do changes"
        );

        let id = json!({ "mode": "update", "tenant": "acme", "id": "lead-2" });
        let mended = call(&world.stack, &id, in_time()).await;
        assert_eq!(mended["replayed"]["mended"], 1, "{mended}");
        assert!(has_row(&world, &lead("acme", 2)).await);
        assert_eq!(
            replayed(&world, &json!({ "mode": "report" }))
                .await
                .findings,
            0
        );
    });
}

#[test]
fn a_run_is_of_one_tenant_where_that_is_asked_and_mends_where_it_is() {
    run(async {
        let world = world().await;
        lose(&world, &lead("acme", 1)).await;
        lose(&world, &lead("globex", 1)).await;
        let request = json!({ "mode": "report", "tenant": "globex", "partitions": 2 });
        let found = replayed(&world, &request).await;
        assert_eq!((found.groups, found.findings), (2, 1));
        assert!(found.scope.contains("globex"), "{}", found.scope);
        let request = json!({ "mode": "update", "tenant": "globex" });
        let found = replayed(&world, &request).await;
        assert_eq!((found.findings, found.mended), (1, 1));
        assert!(has_row(&world, &lead("globex", 1)).await);
        assert!(!has_row(&world, &lead("acme", 1)).await, "another tenant's");
        let found = replayed(&world, &json!({ "mode": "changes" })).await;
        assert_eq!(
            (found.findings, found.mended, &*found.mode),
            (1, 0, "changes")
        );
    });
}

/// A message that comes twice, at once and after the end, counts once.
#[test]
fn a_partition_that_is_delivered_twice_counts_once() {
    run(async {
        let world = world().await;
        lose(&world, &lead("acme", 1)).await;
        let began = call(&world.stack, &json!({ "partitions": 1 }), in_time()).await;
        assert_eq!(began["partitions"], 1);
        let partition = world.partitions().remove(0);
        let other = world.set_up_as(|_same| {});
        let both = futures_util::future::join(
            Box::pin(call(&world.stack, &partition, in_time())),
            Box::pin(call(&other, &partition, in_time())),
        );
        let (one, two) = both.await;
        assert_eq!((failed(&one).len(), failed(&two).len()), (0, 0));
        let again = call(&world.stack, &partition, in_time()).await;
        assert_eq!(failed(&again), [] as [&str; 0]);
        let runs = runs(&world.rows).await;
        assert_eq!(runs.len(), 1);
        assert_eq!((runs[0].groups, runs[0].findings), (5, 1));
    });
}

/// Many workers are done at the same moment: one of them sums up.
#[test]
fn a_run_whose_partitions_end_together_is_kept_once() {
    run(async {
        let world = world().await;
        for round in 1..=5 {
            let began = call(&world.stack, &json!({ "partitions": 8 }), in_time()).await;
            assert_eq!(began["partitions"], 8);
            let partitions = world.partitions();
            let all = partitions
                .iter()
                .map(|partition| call(&world.stack, partition, in_time()));
            for answer in futures_util::future::join_all(all).await {
                assert_eq!(failed(&answer), [] as [&str; 0]);
            }
            let runs = runs(&world.rows).await;
            assert_eq!(runs.len(), round);
            assert_eq!(runs[0].groups, 5);
        }
    });
}

/// Its time is up before a page: the partition goes to the queue again. Somebody went through the first page
/// before: it goes on there.
#[test]
fn a_partition_goes_on_where_it_was_left() {
    run(async {
        let world = World::new("").await;
        let events = (0..GROUPS).map(|number| {
            let group = group("acme", &format!("lead-{number}"));
            plain(&group, &format!("event-{number}"))
        });
        world.told(&events.collect::<Vec<_>>()).await;
        let began = call(&world.stack, &json!({ "partitions": 1 }), in_time()).await;
        let id = began["run"].as_str().expect("an id");
        let partition = world.partitions().remove(0);
        let answer = call(&world.stack, &partition, deadline_ms(SHORT_MS)).await;
        assert_eq!(failed(&answer), [] as [&str; 0]);
        let partition = world.partitions().remove(0);

        let groups = first_page(&world, id).await;
        assert!((1..GROUPS as u64).contains(&groups), "{groups} in a page");
        let answer = call(&world.stack, &partition, in_time()).await;
        assert_eq!(failed(&answer), [] as [&str; 0]);
        let runs = runs(&world.rows).await;
        assert_eq!(
            (runs.len(), runs[0].groups),
            (1, GROUPS as u64),
            "none twice"
        );
        assert_eq!(runs[0].findings, 0, "all are on their way");
    });
}

/// Goes through the first page of a run's only partition, as a function would that then died.
async fn first_page(world: &World, id: &str) -> u64 {
    let mut part = world.stack.aws.part(id, 0).await.expect("a part");
    let ports = Joined {
        events: &world.stack.aws,
        tables: &world.rows,
    };
    let replay = Replay {
        ports: &ports,
        clock: &SystemClock,
        settings: &*world.settings().await,
        parked: &Parked::new(),
        grace_ms: world.stack.config.grace_ms,
    };
    let scope = Scope::Partition(Partition::WHOLE, None);
    let mut pages = Pages::from(&scope, part.place.clone());
    let page = replay.page(&mut pages, Mode::Report, |found| panic!("{found:?}"));
    let sums = page.await.expect("a page").expect("groups");
    part.sums.add(&sums);
    part.place = pages.place().clone();
    let saved = world.stack.aws.save_part(id, 0, &mut part, &[]).await;
    assert!(saved.expect("save"));
    sums.groups
}

/// An event that is journaled and on no row: young, it is on its way; old enough, it is lost.
#[test]
fn an_event_within_the_grace_period_is_on_its_way() {
    run(async {
        let world = world().await;
        let event = happened(&lead("acme", 1), 900, "lead.updated");
        world.told(&[event]).await;
        let id = json!({ "tenant": "acme", "id": "lead-1" });
        let patient = world.set_up_as(|config| config.grace_ms = 900_000);
        let young = call(&patient, &id, in_time()).await;
        assert_eq!(young["findings"], json!([]));
        let old = call(&world.stack, &id, in_time()).await;
        assert_eq!(old["findings"][0]["class"], "lost", "{old}");
    });
}

/// Lambda counts what fails as a whole, and an alarm goes by it.
#[test]
fn what_cannot_be_done_is_a_failure_of_the_call() {
    run(async {
        let world = World::new("").await;
        for (input, why) in [
            (json!({ "mode": "repair" }), "repair"),
            (json!({ "partitions": 0 }), "0 partitions"),
            (json!({ "partitions": 100_000 }), "100000 partitions"),
            (json!({ "tenant": 7 }), "tenant"),
            (json!({ "id": "nobody" }), "no row has this id"),
            (
                json!({ "Records": [{ "messageId": "1", "body": "hello" }] }),
                "partition",
            ),
            (
                json!({ "Records": [{ "messageId": "1", "body": r#"{"run":"none","partition":0}"# }] }),
                "none",
            ),
        ] {
            let answer = foldback_replay::handle(&world.stack, input, in_time()).await;
            let error = answer.expect_err(why);
            assert_eq!(error.kind(), ErrorKind::Reject, "{}", error.chain());
            assert!(error.chain().contains(why), "{}", error.chain());
        }
    });
}

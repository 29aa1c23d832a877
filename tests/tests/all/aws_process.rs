//! What the function `process` answers to Lambda, and when what it names comes again.

#![expect(
    clippy::indexing_slicing,
    reason = "what an answer lacks is null when it is asked for by name; an assertion then says so"
)]

use std::collections::BTreeMap;

use foldback_tests::fixtures::{group, happened, lead_key};
use foldback_tests::servers::post;
use serde_json::{Value, json};
use shared::adapters::SystemClock;
use shared::adapters::stack::Stack;
use shared::adapters::telemetry::Telemetry;
use shared::config::MongoUri;
use shared::model::Group;
use shared::ports::{Clock, LockKey, Locks, Queue, Tables};

use crate::aws_world::{World, deadline_ms, failed, in_time};
use crate::mongo::run;

/// The longest pause before a second try.
const PAUSE_MS: i64 = 10_000;
const LOCKED: &str = "[tenant.tables.RSLead]\nlock_by_id = true";

fn lead(number: i64) -> Group {
    group("acme", &format!("lead-{number}"))
}

async fn two_events_each(world: &World, leads: i64) {
    for number in 1..=leads {
        for minute in 0..2 {
            let event = happened(&lead(number), 100 * number + minute, "lead.updated");
            world.told(&[event]).await;
        }
    }
}

async fn handle(stack: &Stack, batch: &Value, deadline_ms: u64) -> Value {
    let batch = serde_json::from_value(batch.clone()).expect("a batch");
    let telemetry = Telemetry::new(&stack.config).expect("telemetry");
    let answer = foldback_process::handle(stack, &telemetry, batch, deadline_ms).await;
    json!(answer.expect("an answer"))
}

/// The ids of a batch's messages, sorted.
fn ids(batch: &Value) -> Vec<String> {
    let records = batch["Records"].as_array().expect("records");
    let id = |one: &Value| one["messageId"].as_str().expect("an id").to_owned();
    let mut ids: Vec<String> = records.iter().map(id).collect();
    ids.sort_unstable();
    ids
}

fn receives(batch: &Value) -> Vec<String> {
    let records = batch["Records"].as_array().expect("records");
    let count = |one: &Value| one["attributes"]["ApproximateReceiveCount"].clone();
    let count = |one: &Value| count(one).as_str().expect("a count").to_owned();
    records.iter().map(count).collect()
}

async fn has_rows(world: &World, number: i64) -> bool {
    let read = world.rows.read_groups(&[lead(number)]).await;
    !read.expect("read").concat().is_empty()
}

/// Somebody else holds the lock of one lead; nobody can read one message; two leads are well.
#[test]
fn what_cannot_be_done_is_named_and_comes_again_soon() {
    run(async {
        let world = World::new(LOCKED).await;
        let key = LockKey::of_row(&lead_key(&lead(1)));
        let now = SystemClock.now();
        let held = world
            .stack
            .aws
            .acquire(&key, "other code", 600_000, now)
            .await;
        assert!(held.expect("acquire").is_some());
        // The locked group's messages are the first that are sent.
        two_events_each(&world, 3).await;
        world.say("acme#nobody", "hello");

        let batch = world.actions();
        let all = ids(&batch);
        assert_eq!(all.len(), 7);
        let answer = handle(&world.stack, &batch, in_time()).await;
        assert_eq!(failed(&answer).len(), 2);
        for one in batch["Records"].as_array().expect("records") {
            let id = one["messageId"].as_str().expect("an id").to_owned();
            let of_locked = one["body"].as_str().expect("text").contains("lead-1");
            assert_eq!(failed(&answer).contains(&id), of_locked, "{one}");
        }
        for (number, expect) in [(1, false), (2, true), (3, true)] {
            assert_eq!(has_rows(&world, number).await, expect, "lead {number}");
        }
        let letters = world.stack.aws.dead_letters(0, 10).await.expect("letters");
        assert_eq!(letters.len(), 1, "what nobody can read");
        assert!(
            letters[0].reason.contains("not a message"),
            "{}",
            letters[0].reason
        );

        assert_eq!(
            ids(&world.actions()),
            [] as [&str; 0],
            "a pause comes first"
        );
        world.server.pass(PAUSE_MS + 1_000);
        let again = world.actions();
        let left = failed(&answer);
        assert_eq!(ids(&again), left, "before the visibility timeout ends");
        assert_eq!(receives(&again), ["2", "2"]);
    });
}

#[test]
fn a_batch_whose_rows_are_out_of_reach_comes_again_as_a_whole() {
    run(async {
        let world = World::new("").await;
        two_events_each(&world, 2).await;
        let unreachable = world.set_up_as(|config| {
            let uri = "mongodb://127.0.0.1:1/none?serverSelectionTimeoutMS=200";
            config.mongodb = Some(MongoUri::Plain(uri.to_owned()));
        });
        let batch = world.actions();
        let answer = handle(&unreachable, &batch, in_time()).await;
        assert_eq!(failed(&answer), ids(&batch));
        let letters = world.stack.aws.dead_letters(0, 10).await.expect("letters");
        assert_eq!(letters, []);
        world.server.pass(PAUSE_MS + 1_000);
        let batch = world.actions();
        let answer = handle(&world.stack, &batch, in_time()).await;
        assert_eq!(failed(&answer), [] as [&str; 0]);
        assert!(has_rows(&world, 1).await && has_rows(&world, 2).await);
    });
}

/// It answers before it is stopped, and what it did not come to comes again.
#[test]
fn a_function_whose_time_is_up_names_what_is_not_done() {
    run(async {
        let world = World::new("").await;
        two_events_each(&world, 2).await;
        let batch = world.actions();
        let answer = handle(&world.stack, &batch, deadline_ms(2_000)).await;
        assert_eq!(
            failed(&answer),
            ids(&batch),
            "two seconds are for the answer"
        );
        assert!(!has_rows(&world, 1).await);
        world.server.pass(PAUSE_MS + 1_000);
        let batch = world.actions();
        assert_eq!(receives(&batch), ["2", "2", "2", "2"]);
        let answer = handle(&world.stack, &batch, in_time()).await;
        assert_eq!(failed(&answer), [] as [&str; 0]);
        assert!(has_rows(&world, 1).await && has_rows(&world, 2).await);
    });
}

/// How often DynamoDB and SQS were asked, by operation.
fn asked(world: &World) -> BTreeMap<String, u64> {
    let (status, told) = post(&world.server.endpoint(), "/_asked", &[], "");
    assert_eq!(status, 200, "{told}");
    let told: BTreeMap<String, Value> = serde_json::from_str(&told).expect("JSON");
    let requests = |value: &Value| value["requests"].as_u64().expect("a count");
    told.iter()
        .map(|(operation, value)| (operation.clone(), requests(value)))
        .collect()
}

/// Of events in order that no day hears of; each of those would be stated in a request of its own.
#[test]
fn a_batch_in_order_asks_as_often_whatever_its_size() {
    run(async {
        let world = World::new("").await;
        let mut costs = Vec::new();
        // The first reads the settings.
        for (round, leads) in [(0, 1), (1, 1), (2, 10)] {
            let lead = |number: i64| lead(100 * round + number);
            let events = (0..leads)
                .map(|number| happened(&lead(number), 100 * round + number, "lead.updated"));
            world.told(&events.collect::<Vec<_>>()).await;
            let batch = world.actions();
            assert_eq!(i64::try_from(ids(&batch).len()), Ok(leads));
            let before = asked(&world);
            let answer = handle(&world.stack, &batch, in_time()).await;
            assert_eq!(failed(&answer), [] as [&str; 0]);
            let after = asked(&world).into_iter();
            let cost = after.map(|(operation, count)| {
                let known = before.get(&operation).copied().unwrap_or(0);
                (operation, count - known)
            });
            costs.push(
                cost.filter(|(_, count)| *count > 0)
                    .collect::<BTreeMap<_, _>>(),
            );
            for number in 0..leads {
                let read = world.rows.read_groups(&[lead(number)]).await;
                assert!(!read.expect("read").concat().is_empty(), "{number}");
            }
        }
        assert!(!costs[1].is_empty());
        assert_eq!(costs[1], costs[2], "one message and ten");
    });
}

//! A stack as its functions see it: SQS and DynamoDB in an emulator of its own, rows in MongoDB; and its
//! functions called as Lambda calls them.

#![expect(
    clippy::indexing_slicing,
    reason = "what an answer lacks is null when it is asked for by name; an assertion then says so"
)]

use std::sync::Arc;

use foldback_tests::contract::Fixture;
use foldback_tests::fixtures::settings_text;
use foldback_tests::servers::{Ministack, Policies, aws_call};
use serde_json::{Value, json};
use shared::adapters::mongo::Mongo;
use shared::adapters::stack::Stack;
use shared::adapters::{Joined, SystemClock};
use shared::config::{Config, Keys, MongoUri};
use shared::model::Entry;
use shared::ports::{Clock, Queue, SettingsVersions};
use shared::service::{Duplicates, ingest, process};
use shared::settings::{Format, Settings};

use crate::aws::{OnAws, set_up};
use crate::mongo::{connect, fresh_uri};

/// More time than any call takes.
const LONG_MS: u64 = 250_000;

pub(crate) struct World {
    pub(crate) server: Ministack,
    pub(crate) stack: Stack,
    pub(crate) rows: Mongo,
    replay_queue: String,
}

impl World {
    /// With settings in force that the fixtures' events go by, and `more` for their tenants.
    pub(crate) async fn new(more: &str) -> Self {
        let server = Ministack::start(Policies::Ignored);
        let names = set_up(&server, OnAws::VISIBILITY_MS, OnAws::RECEIVES_MAX);
        let input = json!({ "QueueName": "replay", "Attributes": { "VisibilityTimeout": "30" } });
        let made = aws_call(&server.endpoint(), "AmazonSQS.CreateQueue", &input);
        let replay_queue = made["QueueUrl"].as_str().expect("a URL").to_owned();
        let uri = fresh_uri();
        let config = Config {
            stack: "foldback".to_owned(),
            region: "us-east-1".to_owned(),
            endpoint: Some(server.endpoint()),
            keys: Keys {
                id: "test".to_owned(),
                secret: "test".to_owned(),
                token: None,
            },
            journal_table: names.journal_table,
            state_table: names.state_table,
            queue_url: names.queue_url,
            dlq_url: names.dlq_url,
            replay_queue_url: Some(replay_queue.clone()),
            mongodb: Some(MongoUri::Plain(uri.clone())),
            receives_max: OnAws::RECEIVES_MAX,
            grace_ms: 900_000,
            settings_ms: 1_000,
            partitions: 3,
            xray: false,
            xray_daemon: None,
            otlp: None,
        };
        let world = Self {
            rows: connect(&uri).await,
            stack: Stack::new(config),
            replay_queue,
            server,
        };
        let text =
            settings_text().replacen("[[tenant.map]]", &format!("{more}\n[[tenant.map]]"), 1);
        let now = SystemClock.now();
        let put = world.stack.aws.put(&text, Format::Toml, now).await;
        put.expect("settings");
        world
    }

    /// The same stack, set up otherwise.
    pub(crate) fn set_up_as(&self, change: impl FnOnce(&mut Config)) -> Stack {
        let mut config = self.stack.config.clone();
        change(&mut config);
        Stack::new(config)
    }

    pub(crate) async fn settings(&self) -> Arc<Settings> {
        self.stack.settings().await.expect("settings")
    }

    /// Journals events and queues them.
    pub(crate) async fn told(&self, entries: &[Arc<Entry>]) {
        let now = SystemClock.now();
        let recorded: Vec<Arc<Entry>> = entries
            .iter()
            .map(|entry| {
                let entry = Entry::clone(entry);
                Arc::new(Entry {
                    recorded: now,
                    ..entry
                })
            })
            .collect();
        let told = ingest(&self.stack.aws, &recorded, Duplicates::Skip, now).await;
        told.expect("ingest");
    }

    /// Handles all that is queued.
    pub(crate) async fn drained(&self) {
        let ports = Joined {
            events: &self.stack.aws,
            tables: &self.rows,
        };
        let settings = self.settings().await;
        loop {
            let received = self.stack.aws.receive(100, SystemClock.now()).await;
            let received = received.expect("receive");
            if received.is_empty() {
                return;
            }
            let done = process(&ports, &SystemClock, &settings, &received).await;
            assert_eq!(done.expect("process").failed, []);
        }
    }

    /// The next batch of a queue, as Lambda hands it over.
    fn batch(&self, queue: &str) -> Value {
        let input = json!({
            "QueueUrl": queue,
            "MaxNumberOfMessages": 10,
            "AttributeNames": ["All"],
        });
        let received = aws_call(&self.server.endpoint(), "AmazonSQS.ReceiveMessage", &input);
        let messages = received["Messages"].as_array().cloned().unwrap_or_default();
        let records = messages.iter().map(|one| {
            json!({
                "messageId": one["MessageId"],
                "receiptHandle": one["ReceiptHandle"],
                "body": one["Body"],
                "attributes": one["Attributes"],
                "messageAttributes": {},
                "md5OfBody": one["MD5OfBody"],
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:queue",
                "awsRegion": "us-east-1",
            })
        });
        json!({ "Records": records.collect::<Vec<_>>() })
    }

    /// The next batch of the queue of actions.
    pub(crate) fn actions(&self) -> Value {
        self.batch(&self.stack.config.queue_url)
    }

    /// The partitions that wait, each a batch of its own.
    pub(crate) fn partitions(&self) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let batch = self.batch(&self.replay_queue);
            let records = batch["Records"].as_array().cloned().unwrap_or_default();
            if records.is_empty() {
                return all;
            }
            all.extend(records.iter().map(|one| json!({ "Records": [one] })));
        }
    }

    /// Puts a message into the queue of actions as nobody of Foldback's would.
    pub(crate) fn say(&self, group: &str, body: &str) {
        let input = json!({
            "QueueUrl": self.stack.config.queue_url,
            "MessageBody": body,
            "MessageGroupId": group,
            "MessageDeduplicationId": body,
        });
        let _sent = aws_call(&self.server.endpoint(), "AmazonSQS.SendMessage", &input);
    }
}

/// When a call ends that begins now and may take so long.
pub(crate) fn deadline_ms(ms: u64) -> u64 {
    u64::try_from(SystemClock.now().ms()).expect("after 1970") + ms
}

/// When a call ends that may take long.
pub(crate) fn in_time() -> u64 {
    deadline_ms(LONG_MS)
}

/// The ids that an answer to Lambda names as failed, sorted.
pub(crate) fn failed(answer: &Value) -> Vec<String> {
    let failures = answer["batchItemFailures"].as_array().expect("failures");
    let id = |one: &Value| one["itemIdentifier"].as_str().expect("an id").to_owned();
    let mut ids: Vec<String> = failures.iter().map(id).collect();
    ids.sort_unstable();
    ids
}

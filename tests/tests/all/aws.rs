//! The contract suites over SQS and DynamoDB, and what only those promise.
//!
//! Tested against ministack, an emulator that speaks the same protocols.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use foldback_tests::contract::Fixture;
use foldback_tests::servers::{Fault, Ministack, Policies, aws_call};
use serde_json::{Value, json};
use shared::adapters::aws::{Access, Aws, Names};
use shared::adapters::embedded::{Embedded, QueueLimits};
use shared::adapters::{Joined, SystemClock};
use shared::model::Timestamp;
use shared::ports::Clock;
use tempfile::TempDir;

/// The machine's clock, so far ahead as the emulator's.
#[derive(Default)]
struct Ahead(AtomicI64);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus_ms(self.0.load(Ordering::Relaxed))
    }
}

/// Events and messages on AWS: an emulator of its own, since its clock is put forward.
pub(crate) struct OnAws {
    ports: Aws,
    server: Ministack,
    clock: Arc<Ahead>,
}

/// Makes the queues and tables of a stack, as the template has them.
pub(crate) fn set_up(server: &Ministack, visibility_ms: i64, receives_max: u32) -> Names {
    let endpoint = server.endpoint();
    let fifo = |name: &str, redrive: Option<String>| {
        let mut attributes = json!({
            "FifoQueue": "true",
            "DeduplicationScope": "messageGroup",
            "FifoThroughputLimit": "perMessageGroupId",
            "VisibilityTimeout": (visibility_ms / 1_000).to_string(),
        });
        if let (Some(policy), Some(all)) = (redrive, attributes.as_object_mut()) {
            all.insert("RedrivePolicy".to_owned(), policy.into());
        }
        let input = json!({ "QueueName": name, "Attributes": attributes });
        let made = aws_call(&endpoint, "AmazonSQS.CreateQueue", &input);
        let url = made.get("QueueUrl").and_then(Value::as_str);
        url.expect("a URL").to_owned()
    };
    let dlq_url = fifo("actions-dlq.fifo", None);
    let input = json!({ "QueueUrl": dlq_url, "AttributeNames": ["QueueArn"] });
    let asked = aws_call(&endpoint, "AmazonSQS.GetQueueAttributes", &input);
    let target = asked.pointer("/Attributes/QueueArn").expect("an ARN");
    let redrive = json!({ "deadLetterTargetArn": target, "maxReceiveCount": receives_max });
    let queue_url = fifo("actions.fifo", Some(redrive.to_string()));
    for table in ["journal", "state"] {
        let input = json!({
            "TableName": table,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [
                { "AttributeName": "pk", "AttributeType": "S" },
                { "AttributeName": "sk", "AttributeType": "S" },
            ],
            "KeySchema": [
                { "AttributeName": "pk", "KeyType": "HASH" },
                { "AttributeName": "sk", "KeyType": "RANGE" },
            ],
        });
        let _made = aws_call(&endpoint, "DynamoDB_20120810.CreateTable", &input);
    }
    Names {
        journal_table: "journal".to_owned(),
        state_table: "state".to_owned(),
        queue_url,
        dlq_url,
        receives_max,
    }
}

/// The ports of what [`set_up`] made.
pub(crate) fn connect(server: &Ministack, names: Names) -> Aws {
    let keys = ("test", "test");
    let access = Access::with_keys("us-east-1", Some(server.endpoint()), keys, None);
    Aws::new(&access.config(), names)
}

impl OnAws {
    /// Where the emulator listens.
    pub(crate) fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    /// Makes the next requests of an operation go wrong, so many times.
    pub(crate) fn fail(&self, operation: &str, fault: Fault, times: u32) {
        self.server.fail(operation, fault, times);
    }

    /// Lets requests go well again.
    pub(crate) fn end_faults(&self) {
        self.server.fail("", Fault::Throttled, 0);
    }
}

impl Fixture for OnAws {
    type Ports = Aws;

    const VISIBILITY_MS: i64 = 30_000;
    const RECEIVES_MAX: u32 = 3;
    // ministack keeps the time of the first send.
    const LETTERS_SAY_WHEN: bool = false;

    async fn fresh() -> Self {
        let server = Ministack::start(Policies::Ignored);
        let names = set_up(&server, Self::VISIBILITY_MS, Self::RECEIVES_MAX);
        let clock = Arc::new(Ahead::default());
        let ports = connect(&server, names).with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
        Self {
            ports,
            server,
            clock,
        }
    }

    fn ports(&self) -> &Aws {
        &self.ports
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn pass(&mut self, ms: i64) {
        self.server.pass(ms);
        self.clock
            .0
            .store(self.server.ahead_ms(), Ordering::Relaxed);
    }

    async fn reopen(&mut self) {
        let names = self.ports.names().clone();
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        self.ports = connect(&self.server, names).with_clock(clock);
    }

    fn run(check: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(check);
    }
}

/// Events and messages on AWS, rows in a directory.
pub(crate) struct RowsHere {
    ports: Joined<'static, Aws, Embedded>,
    server: Ministack,
    clock: Arc<Ahead>,
    _directory: TempDir,
}

impl Fixture for RowsHere {
    type Ports = Joined<'static, Aws, Embedded>;

    const VISIBILITY_MS: i64 = OnAws::VISIBILITY_MS;
    const RECEIVES_MAX: u32 = OnAws::RECEIVES_MAX;
    const DIES_IN_EVERY_WAY: bool = false;

    async fn fresh() -> Self {
        let OnAws {
            ports,
            server,
            clock,
        } = OnAws::fresh().await;
        let directory = tempfile::tempdir().expect("a directory");
        let tables = Embedded::open(directory.path(), QueueLimits::default()).expect("open");
        // They live as long as the test does.
        let ports = Joined {
            events: Box::leak(Box::new(ports)),
            tables: Box::leak(Box::new(tables)),
        };
        Self {
            ports,
            server,
            clock,
            _directory: directory,
        }
    }

    fn ports(&self) -> &Self::Ports {
        &self.ports
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn pass(&mut self, ms: i64) {
        self.server.pass(ms);
        let ahead = self.server.ahead_ms();
        self.clock.0.store(ahead, Ordering::Relaxed);
    }

    async fn reopen(&mut self) {}

    fn run(check: impl Future<Output = ()>) {
        OnAws::run(check);
    }
}

mod across {
    foldback_tests::across_suite!(super::RowsHere);
}

mod amended {
    foldback_tests::amended_suite!(super::RowsHere);
}

mod unlinked {
    foldback_tests::unlinked_suite!(super::RowsHere);
}

mod apart {
    foldback_tests::apart_suite!(super::RowsHere);
}

mod locked {
    foldback_tests::locked_suite!(super::RowsHere);
}

// Not `waiting`: nobody can look into an SQS queue; replay there goes by the grace period.
mod together {
    foldback_tests::together_suite!(super::RowsHere);
}

mod journal {
    foldback_tests::journal_suite!(super::OnAws);
}

mod identities {
    foldback_tests::identities_suite!(super::OnAws);
}

mod queue {
    foldback_tests::queue_suite!(super::OnAws);
}

mod queue_deduplication {
    foldback_tests::queue_deduplication_suite!(super::OnAws);
}

mod queue_failures {
    foldback_tests::queue_failures_suite!(super::OnAws);
}

mod settings_versions {
    foldback_tests::settings_versions_suite!(super::OnAws);
}

mod locks {
    foldback_tests::locks_suite!(super::OnAws);
}

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use foldback_tests::servers::{Ministack, Policies, aws_call};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::Deserialize;
use serde_json::json;
use shared::adapters::aws::{Access, Aws, Names};
use shared::adapters::embedded::{Embedded, QueueLimits};
use shared::adapters::{Joined, SystemClock};
use shared::model::Entry;
use shared::ports::{Clock, Queue};
use shared::service::{Duplicates, ingest, process_apart};
use shared::settings::Settings;

const INGEST_GB: f64 = 0.25;
const PROCESS_GB: f64 = 0.5;
/// The most messages that Lambda hands a function of a FIFO queue at once.
const BATCH_MESSAGES: usize = 10;

/// List prices of us-east-1 in USD. Change them to yours.
#[derive(Debug, Clone, Args)]
pub(crate) struct Prices {
    /// A million requests to SQS FIFO, each of up to 64 KB.
    #[arg(long, default_value_t = 0.50)]
    sqs: f64,
    /// A million write units of DynamoDB on demand.
    #[arg(long, default_value_t = 0.625)]
    write: f64,
    /// A million read units.
    #[arg(long, default_value_t = 0.125)]
    read: f64,
    /// A GB-second of Lambda on arm64.
    #[arg(long, default_value_t = 0.000_013_333_4)]
    gb_second: f64,
    /// A million requests to Lambda.
    #[arg(long, default_value_t = 0.20)]
    calls: f64,
}

/// How events come in.
#[derive(Debug)]
pub(crate) struct Feed {
    name: &'static str,
    request: usize,
    shuffled: bool,
}

/// What an operation was asked for.
#[derive(Debug, Default, Deserialize)]
struct Asked {
    requests: u64,
    chunks: u64,
    write: f64,
    read: f64,
}

/// What a feed took.
#[derive(Debug)]
pub(crate) struct Cost {
    asked: BTreeMap<String, Asked>,
    ingests: usize,
    ingest_time: Duration,
    batches: usize,
    process_time: Duration,
}

impl Feed {
    pub(crate) fn new(name: &'static str, request: usize, shuffled: bool) -> Self {
        Self {
            name,
            request,
            shuffled,
        }
    }

    /// Takes events in and processes them, as the functions would.
    pub(crate) async fn run(&self, entries: &[Arc<Entry>], settings: &Settings) -> Cost {
        let server = Ministack::start(Policies::Ignored);
        let aws = connect(&server);
        let directory = tempfile::tempdir().expect("a directory");
        let rows = Embedded::open(directory.path(), QueueLimits::default()).expect("a store");
        let mut entries = entries.to_vec();
        if self.shuffled {
            shuffle(&mut entries);
        }
        let mut cost = Cost {
            asked: BTreeMap::new(),
            ingests: 0,
            ingest_time: Duration::ZERO,
            batches: 0,
            process_time: Duration::ZERO,
        };
        for request in entries.chunks(self.request) {
            let start = now();
            let ingested = ingest(&aws, request, Duplicates::SendAgain, SystemClock.now()).await;
            ingested.expect("ingest");
            cost.ingests += 1;
            cost.ingest_time += start.elapsed();
        }
        let ports = Joined {
            events: &aws,
            tables: &rows,
        };
        loop {
            let received = aws.receive(BATCH_MESSAGES, SystemClock.now()).await;
            let received = received.expect("receive");
            if received.is_empty() {
                break;
            }
            let start = now();
            let apart = process_apart(&ports, &SystemClock, settings, &received, 5).await;
            assert_eq!(apart.failures.len(), 0, "{:?}", apart.failures);
            let counted = aws.tally(&apart.processed, 0, SystemClock.now()).await;
            counted.expect("counted");
            cost.batches += 1;
            cost.process_time += start.elapsed();
        }
        cost.asked = asked(&server);
        cost
    }
}

impl Cost {
    pub(crate) fn print(&self, feed: &Feed, events: usize, prices: &Prices) {
        let per = |number: f64| number * 1_000.0 / count(events);
        println!("{}", feed.name);
        println!("  per 1,000 events            requests     write units   read units");
        let mut usd = Vec::new();
        let (mut sqs, mut write, mut read) = (0.0, 0.0, 0.0);
        for (operation, asked) in &self.asked {
            let name = operation.replace("DynamoDB_20120810", "DynamoDB");
            if name.ends_with("CreateQueue")
                || name.contains("CreateTable")
                || name.ends_with("GetQueueAttributes")
            {
                continue;
            }
            let requests = per(wide(asked.requests));
            println!(
                "  {name:<28}{requests:>8.1}{:>16.1}{:>13.1}",
                per(asked.write),
                per(asked.read)
            );
            write += asked.write;
            read += asked.read;
            if name.starts_with("AmazonSQS") {
                sqs += wide(asked.chunks);
            }
        }
        let million = |number: f64, price: f64| number / count(events) * price;
        usd.push(("SQS", million(sqs, prices.sqs)));
        usd.push(("DynamoDB writes", million(write, prices.write)));
        usd.push(("DynamoDB reads", million(read, prices.read)));
        let calls = count(self.ingests + self.batches);
        usd.push(("Lambda requests", million(calls, prices.calls)));
        let seconds = self.ingest_time.as_secs_f64() * INGEST_GB
            + self.process_time.as_secs_f64() * PROCESS_GB;
        let compute = seconds / count(events) * 1_000_000.0 * prices.gb_second;
        usd.push(("Lambda GB-seconds", compute));
        println!(
            "  Lambda: {} calls of ingest, {:.1} ms each; {} of process, {:.1} ms each",
            self.ingests,
            self.ingest_time.as_secs_f64() * 1_000.0 / count(self.ingests.max(1)),
            self.batches,
            self.process_time.as_secs_f64() * 1_000.0 / count(self.batches.max(1)),
        );
        println!("  USD per million events");
        for (name, price) in &usd {
            println!("    {name:<20}{price:>8.3}");
        }
        let total: f64 = usd.iter().map(|(_, price)| price).sum();
        println!("    {:<20}{total:>8.3}\n", "all");
    }
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

fn wide(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

#[expect(clippy::disallowed_methods, reason = "a benchmark takes the time")]
fn now() -> Instant {
    Instant::now()
}

fn asked(server: &Ministack) -> BTreeMap<String, Asked> {
    let endpoint = server.endpoint();
    let host = endpoint.strip_prefix("http://").expect("an http endpoint");
    let mut stream = TcpStream::connect(host).expect("the emulator");
    write!(
        stream,
        "GET /_asked HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let body = answer
        .find('{')
        .and_then(|at| answer.get(at..))
        .expect("JSON");
    let end = body.rfind('}').expect("JSON");
    serde_json::from_str(body.get(..=end).expect("JSON")).expect("JSON")
}

/// The queues and the table that events need.
fn connect(server: &Ministack) -> Aws {
    let endpoint = server.endpoint();
    let queue = |name: &str| {
        let attributes = json!({
            "FifoQueue": "true",
            "DeduplicationScope": "messageGroup",
            "FifoThroughputLimit": "perMessageGroupId",
            "VisibilityTimeout": "360",
        });
        let input = json!({ "QueueName": name, "Attributes": attributes });
        let made = aws_call(&endpoint, "AmazonSQS.CreateQueue", &input);
        let url = made.get("QueueUrl").and_then(|url| url.as_str());
        url.expect("a URL").to_owned()
    };
    let key = |name: &str, kind: &str| json!({ "AttributeName": name, "KeyType": kind });
    let text = |name: &str| json!({ "AttributeName": name, "AttributeType": "S" });
    for table in ["journal", "state"] {
        let input = json!({
            "TableName": table,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [text("pk"), text("sk")],
            "KeySchema": [key("pk", "HASH"), key("sk", "RANGE")],
        });
        let _made = aws_call(&endpoint, "DynamoDB_20120810.CreateTable", &input);
    }
    let access = Access::with_keys("us-east-1", Some(endpoint.clone()), ("test", "test"), None);
    let names = Names {
        journal_table: "journal".to_owned(),
        state_table: "state".to_owned(),
        queue_url: queue("actions.fifo"),
        dlq_url: queue("actions-dlq.fifo"),
        receives_max: 5,
    };
    Aws::new(&access.config(), names)
}

/// A complete permutation (Fisher and Yates), the same in every run.
fn shuffle<T>(items: &mut [T]) {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    for i in (1..items.len()).rev() {
        let j = random.next_u64() % (i as u64 + 1);
        items.swap(i, usize::try_from(j).unwrap_or(0));
    }
}

//! The template, deployed to an emulator that keeps to the roles' policies.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use foldback_tests::servers::stack::{Stack, ask};
use foldback_tests::servers::{Ministack, Policies};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What the emulator has, told shortly.
const LOOK: &str = include_str!("look.py");

/// A zip with one stored file, `bootstrap`: a program that only waits.
fn placeholder(directory: &TempDir) -> PathBuf {
    const SCRIPT: &[u8] = b"#!/bin/sh\nexec sleep 3600\n";
    const NAME: &[u8] = b"bootstrap";
    let mut checksum = flate2::Crc::new();
    checksum.update(SCRIPT);
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("short");
    // Of a local header and of the directory's entry: version, flags, method, time, date, sums, lengths.
    let mut common = Vec::new();
    for part in [20_u16, 0, 0, 0, 0x21] {
        common.extend(part.to_le_bytes());
    }
    for part in [checksum.sum(), length(SCRIPT), length(SCRIPT)] {
        common.extend(part.to_le_bytes());
    }
    common.extend([9, 0, 0, 0]);
    let local = [b"PK\x03\x04".as_slice(), &common, NAME, SCRIPT].concat();
    // Made on Unix, with the mode of a program.
    let entry = [b"PK\x01\x02\x14\x03".as_slice(), &common, &[0; 6]].concat();
    let entry = [
        entry,
        (0o100_755_u32 << 16).to_le_bytes().to_vec(),
        vec![0; 4],
        NAME.to_vec(),
    ];
    let entry = entry.concat();
    let mut end = b"PK\x05\x06\0\0\0\0\x01\0\x01\0".to_vec();
    end.extend(length(&entry).to_le_bytes());
    end.extend(length(&local).to_le_bytes());
    end.extend([0, 0]);
    let path = directory.path().join("placeholder.zip");
    let mut file = File::create(&path).expect("a file");
    file.write_all(&[local, entry, end].concat())
        .expect("a zip");
    path
}

/// Deploys placeholders, and looks at what there is then.
fn deployed() -> (Stack, Value) {
    let directory = tempfile::tempdir().expect("a directory");
    let zip = placeholder(&directory);
    let ministack = Ministack::start(Policies::Enforced);
    let zips =
        ["console", "ingest", "process", "replay", "report"].map(|name| (name, zip.as_path()));
    let parameters = [
        ("MongoUri", "mongodb://127.0.0.1:1/none"),
        ("MaximumConcurrency", "7"),
        ("ReceivesMax", "3"),
        ("LogRetentionDays", "14"),
        ("ReportSchedule", "rate(1 hour)"),
    ];
    let stack = Stack::deploy(&ministack, &zips, &parameters);
    let there = ask(&ministack, LOOK);
    (stack, there)
}

#[test]
fn the_emulator_takes_the_template() {
    let (stack, there) = deployed();
    assert_eq!(there["stack"], "CREATE_COMPLETE");
    queues_are_there(&there);
    calls_are_there(&there);
    let keys = json!({ "pk": "HASH", "sk": "RANGE" });
    for output in ["JournalTable", "StateTable"] {
        let name = stack.outputs().get(output).expect(output);
        let table = json!([keys, "PAY_PER_REQUEST", true]);
        assert_eq!(there["tables"][name], table);
    }
    let logs = json!({
        "/aws/lambda/foldback-console": 14,
        "/aws/lambda/foldback-ingest": 14,
        "/aws/lambda/foldback-process": 14,
        "/aws/lambda/foldback-replay": 14,
        "/aws/lambda/foldback-report": 14,
    });
    assert_eq!(there["logs"], logs);
    assert_eq!(there["alarms"], 18);
    let url = stack.outputs().get("IngestUrl");
    assert_eq!(there["url"].as_str(), url.map(String::as_str));
}

fn queues_are_there(there: &Value) {
    let dlq = "arn:aws:sqs:us-east-1:000000000000:foldback-actions-dlq.fifo";
    let actions = json!({
        "FifoQueue": "true",
        "FifoThroughputLimit": "perMessageGroupId",
        "DeduplicationScope": "messageGroup",
        "SqsManagedSseEnabled": "true",
        "VisibilityTimeout": "360",
        "RedrivePolicy": { "deadLetterTargetArn": dlq, "maxReceiveCount": "3" },
    });
    assert_eq!(there["queues"]["foldback-actions.fifo"], actions);
    let queues = there["queues"].as_object().expect("queues");
    let names: Vec<_> = queues.keys().collect();
    let expected = [
        "foldback-actions-dlq.fifo",
        "foldback-actions.fifo",
        "foldback-replay",
        "foldback-replay-dlq",
        "foldback-schedules-dlq",
    ];
    assert_eq!(names, expected);
}

/// What calls a function: a queue, or a schedule.
fn calls_are_there(there: &Value) {
    let mapping = |queue: &str, function: &str, batch: u32| {
        let partial = ["ReportBatchItemFailures"];
        json!([queue, function, batch, 7, partial, "Enabled"])
    };
    let mappings = json!([
        mapping("foldback-actions.fifo", "foldback-process", 10),
        mapping("foldback-replay", "foldback-replay", 1),
    ]);
    assert_eq!(there["mappings"], mappings);
    let schedule = |function: &str, expression: &str, input: &str| {
        json!([function, expression, input, 10, "foldback-schedules-dlq"])
    };
    let replay = schedule(
        "foldback-replay",
        "cron(17 3 * * ? *)",
        r#"{"mode":"report"}"#,
    );
    let report = schedule("foldback-report", "rate(1 hour)", "{}");
    assert_eq!(there["schedules"], json!([replay, report]));
}

//! A function's own binary, started as Lambda starts it, with no store in reach: what it answers, and what it
//! writes to its log.

#![expect(clippy::panic, reason = "what does not hold in a test ends it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use shared::adapters::SystemClock;
use shared::ports::Clock;

/// What became of one call.
struct Called {
    /// The end of the path that the function answered at: `response` or `error`.
    answered: String,
    answer: Value,
    /// What it had written to its log by then.
    lines: Vec<Value>,
}

/// A request that a function made of the runtime API, without its head.
fn request(listener: &TcpListener, answer: &str, headers: &str) -> (String, String) {
    let (stream, _) = listener.accept().expect("a request");
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).expect("a request line");
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a header");
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(text) = line.strip_prefix("content-length:") {
            length = text.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    let size = answer.len();
    let mut stream = reader.into_inner();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {size}\r\n{headers}\r\n{answer}"
    )
    .expect("an answer");
    let path = first.split(' ').nth(1).expect("a path").to_owned();
    (path, String::from_utf8(body).expect("UTF-8"))
}

/// Calls a function once, with so much time.
fn call(function: &str, event: &Value, ms: i64) -> Called {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let api = listener.local_addr().expect("a port").to_string();
    let binary = Path::new(env!("CARGO_BIN_EXE_foldback")).with_file_name(function);
    let nowhere = "http://127.0.0.1:1";
    let mut child = Command::new(binary)
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", api)
        .env("AWS_LAMBDA_FUNCTION_NAME", function)
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", function)
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "1")
        // As the template's LoggingConfig has Lambda set it.
        .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ENDPOINT_URL", nowhere)
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("FOLDBACK_STACK", "alone")
        .env("FOLDBACK_JOURNAL_TABLE", "journal")
        .env("FOLDBACK_STATE_TABLE", "state")
        .env("FOLDBACK_QUEUE_URL", format!("{nowhere}/queue"))
        .env("FOLDBACK_DLQ_URL", format!("{nowhere}/dlq"))
        .env(
            "FOLDBACK_MONGODB",
            "mongodb://127.0.0.1:1/none?serverSelectionTimeoutMS=200",
        )
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let deadline_ms = SystemClock.now().ms() + ms;
    let headers = format!(
        "Lambda-Runtime-Aws-Request-Id: 1\r\nLambda-Runtime-Deadline-Ms: {deadline_ms}\r\n\
         Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:000000000000:function:f\r\n"
    );
    let (asked, _) = request(&listener, &event.to_string(), &headers);
    assert!(asked.ends_with("/invocation/next"), "{asked}");
    let (path, body) = request(&listener, "{}", "");
    child.kill().expect("killed");
    let output = child.wait_with_output().expect("ended");
    let log = String::from_utf8(output.stdout).expect("UTF-8");
    let line = |line: &str| {
        let read: Result<Value, _> = serde_json::from_str(line);
        let read = read.unwrap_or_else(|error| panic!("{function}: {error}: {line}"));
        assert!(read.is_object(), "{function}: {line}");
        read
    };
    Called {
        answered: path.rsplit('/').next().unwrap_or_default().to_owned(),
        answer: serde_json::from_str(&body).expect("JSON"),
        lines: log.lines().map(line).collect(),
    }
}

/// Whether there is a line of this level.
fn has_level(called: &Called, level: &str) -> bool {
    let mut lines = called.lines.iter();
    lines.any(|line| line.get("level") == Some(&json!(level)))
}

/// Before Lambda would answer 502 in its place.
#[test]
fn ingest_asks_to_try_again_before_its_time_is_up() {
    let event = json!({
        "version": "2.0", "routeKey": "$default", "rawPath": "/events/acme", "rawQueryString": "",
        "headers": { "content-type": "application/cloudevents+json" }, "isBase64Encoded": false,
        "body": "{}",
        "requestContext": {
            "accountId": "anonymous", "apiId": "x", "domainName": "x", "domainPrefix": "x",
            "requestId": "r", "routeKey": "$default", "stage": "$default",
            "time": "01/Mar/2026:09:30:00 +0000", "timeEpoch": 1_772_357_400_000_i64,
            "http": { "method": "POST", "path": "/events/acme", "protocol": "HTTP/1.1",
                      "sourceIp": "192.0.2.1", "userAgent": "crm" },
        },
    });
    let called = call("ingest", &event, 1_500);
    assert_eq!(called.answered, "response");
    assert_eq!(called.answer.get("statusCode"), Some(&json!(503)));
    let kind = called.answer.pointer("/headers/content-type");
    assert_eq!(kind, Some(&json!("application/problem+json")));
    assert!(has_level(&called, "ERROR"), "{:?}", called.lines);
}

#[test]
fn process_names_what_is_not_done_before_its_time_is_up() {
    let record = json!({
        "messageId": "m-1", "receiptHandle": "r-1",
        "body": r#"{"v":1,"tenant":"acme","key":"lead-1","id":"00000000000000000000000000000001","events":[]}"#,
        "attributes": { "ApproximateReceiveCount": "1", "SentTimestamp": "1772357400000" },
        "messageAttributes": {}, "eventSource": "aws:sqs", "awsRegion": "us-east-1",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:actions.fifo",
    });
    let called = call("process", &json!({ "Records": [record] }), 3_500);
    let named = json!([{ "itemIdentifier": "m-1" }]);
    assert_eq!(called.answered, "response", "{}", called.answer);
    assert_eq!(called.answer.get("batchItemFailures"), Some(&named));
    let metrics = called.lines.iter().find(|line| line.get("_aws").is_some());
    let metrics = metrics.expect("metrics");
    assert_eq!(metrics.get("Stack"), Some(&json!("alone")));
    assert_eq!(metrics.get("MessagesFailed"), Some(&json!(1.0)));
    assert!(has_level(&called, "ERROR"), "{:?}", called.lines);
}

#[test]
fn checks_that_fail_are_failures_of_the_call() {
    for (function, event, why) in [
        ("replay", json!({ "mode": "repair" }), "repair"),
        ("report", json!({}), "MongoDB"),
    ] {
        let called = call(function, &event, 60_000);
        assert_eq!(called.answered, "error", "{function}");
        let said = called.answer.get("errorMessage").and_then(Value::as_str);
        assert!(
            said.is_some_and(|said| said.contains(why)),
            "{}",
            called.answer
        );
    }
}

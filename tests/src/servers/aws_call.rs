//! Requests to an emulator of AWS that the product never makes: setting up what a deployment would.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

/// Asks a service for what a JSON protocol of AWS calls `target`, such as `AmazonSQS.CreateQueue`.
///
/// # Panics
/// It does not answer, or refuses.
#[must_use]
pub fn aws_call(endpoint: &str, target: &str, input: &Value) -> Value {
    let host = endpoint.strip_prefix("http://").expect("an http endpoint");
    let mut stream = TcpStream::connect(host).expect("the emulator");
    let body = input.to_string();
    let version = if target.starts_with("DynamoDB") {
        "1.0"
    } else {
        "1.1"
    };
    let service = target
        .split(['_', '.'])
        .next()
        .unwrap_or_default()
        .to_lowercase();
    let service = service
        .strip_prefix("amazon")
        .unwrap_or(&service)
        .to_owned();
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nX-Amz-Target: {target}\r\n\
         Content-Type: application/x-amz-json-{version}\r\nContent-Length: {}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=test/20260301/us-east-1/{service}/aws4_request, \
         SignedHeaders=host, Signature=0\r\n\r\n{body}",
        body.len()
    )
    .expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.1 200"), "{target}: {answer}");
    serde_json::from_str(body).unwrap_or(json!({}))
}

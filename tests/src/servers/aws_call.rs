//! Plain requests to a server of this machine: what a deployment or a webhook's sender would ask.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

/// Posts a body to a path of a server, and returns the status and what it answers.
///
/// # Panics
/// It does not answer in HTTP.
#[must_use]
pub fn post(endpoint: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    request("POST", endpoint, path, headers, body)
}

/// Asks for a path of a server, and returns the status and what it answers.
///
/// # Panics
/// It does not answer in HTTP.
#[must_use]
pub fn get(endpoint: &str, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    request("GET", endpoint, path, headers, "")
}

fn request(
    method: &str,
    endpoint: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, String) {
    let host = endpoint.strip_prefix("http://").expect("an http endpoint");
    let mut stream = TcpStream::connect(host).expect("the server");
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let length = body.len();
    write!(stream, "{head}Content-Length: {length}\r\n\r\n{body}").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.expect("a status"), body.to_owned())
}

/// Asks a service of an emulator for what a JSON protocol of AWS calls `target`, such as
/// `AmazonSQS.CreateQueue`.
///
/// # Panics
/// It does not answer, or refuses.
#[must_use]
pub fn aws_call(endpoint: &str, target: &str, input: &Value) -> Value {
    let service = target.split(['_', '.']).next().unwrap_or_default();
    let service = service.to_lowercase();
    let service = service.strip_prefix("amazon").unwrap_or(&service);
    let version = if service == "dynamodb" { "1.0" } else { "1.1" };
    let content = format!("application/x-amz-json-{version}");
    let signed = format!(
        "AWS4-HMAC-SHA256 Credential=test/20260301/us-east-1/{service}/aws4_request, \
         SignedHeaders=host, Signature=0"
    );
    let headers = [
        ("X-Amz-Target", target),
        ("Content-Type", &content),
        ("Authorization", &signed),
    ];
    let (status, body) = post(endpoint, "/", &headers, &input.to_string());
    assert_eq!(status, 200, "{target}: {body}");
    serde_json::from_str(&body).unwrap_or(json!({}))
}

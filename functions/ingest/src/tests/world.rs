use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use aws_lambda_events::encodings::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use shared::adapters::embedded::{Embedded, QueueLimits};
use shared::model::{Depth, Entry, EventHash, Group, Secret, SecretRef, Timestamp};
use shared::ports::{
    Appended, Error, ErrorKind, Journal, Letter, Message, Partition, Queue, Receipt, Received,
    Secrets, Since,
};
use shared::settings::{Format, Settings};
use smol_str::SmolStr;
use tempfile::TempDir;

use crate::handle;

const SETTINGS: &str = r#"
version = 1

[[tenant]]
ids = ["acme", "globex"]
partition_key = "/deal/id"
map = [{ type = "*", to = "lead.updated" }]

[tenant.webhook]
secrets = [{ secretsmanager = "webhook/{tenant}/new" }, { env = "OLD_{tenant}" }]
[tenant.webhook.wrap]
type = { pointer = "/event" }
id = { pointer = "/eventId" }
source = { const = "//crm.example" }
time = { pointer = "/occurredAt" }

[[tenant]]
ids = ["open"]
map = [{ type = "*", to = "lead.updated" }]
webhook = { unsigned = true }

[[tenant]]
ids = ["files"]
map = [{ type = "*", to = "lead.updated" }]
"#;

/// When everything happens unless a test says otherwise.
pub(super) const NOW: &str = "2026-03-01T09:30:00.000Z";
/// The newest secret of tenant acme, and the one before it.
pub(super) const NEW: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub(super) const OLD: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// A store that can be told to fail, the secrets, and the settings.
pub(super) struct World {
    pub(super) store: Failing,
    pub(super) secrets: Kept,
    pub(super) settings: Settings,
    _directory: TempDir,
}

/// Secrets in memory; a text that is missing is out of reach for now.
pub(super) struct Kept(pub(super) BTreeMap<SecretRef, Option<&'static str>>);

/// The embedded store, whose next appends or sends fail.
pub(super) struct Failing {
    pub(super) inner: Embedded,
    pub(super) appends: AtomicUsize,
    pub(super) sends: AtomicUsize,
    pub(super) kind: ErrorKind,
}

/// A request as a test says it; `None` takes the header away.
#[derive(Clone)]
pub(super) struct Sent {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
    pub(super) base64: bool,
}

impl World {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let inner = Embedded::open(directory.path(), QueueLimits::default()).expect("a store");
        let secrets = [
            (
                SecretRef::SecretsManager("webhook/acme/new".into()),
                Some(NEW),
            ),
            (SecretRef::Env("OLD_acme".into()), Some(OLD)),
            (SecretRef::SecretsManager("webhook/globex/new".into()), None),
        ];
        Self {
            store: Failing {
                inner,
                appends: AtomicUsize::new(0),
                sends: AtomicUsize::new(0),
                kind: ErrorKind::Retry,
            },
            secrets: Kept(secrets.into()),
            settings: Settings::compile(SETTINGS, Format::Toml, 1).expect("settings"),
            _directory: directory,
        }
    }

    /// Sends a request at `NOW` and tells of the answer: the status, the headers that are not always
    /// there, and the body (of a problem: type, detail and errors, a line each).
    pub(super) fn send(&self, sent: &Sent) -> String {
        let request = ApiGatewayV2httpRequest::from(sent);
        self.handle(&request, Timestamp::parse(NOW).expect("a time"))
    }

    pub(super) fn handle(&self, request: &ApiGatewayV2httpRequest, now: Timestamp) -> String {
        let answer = handle(&self.store, &self.secrets, &self.settings, request, now);
        let answer = pollster::block_on(answer);
        let mut told = answer.status_code.to_string();
        for (name, value) in &answer.headers {
            if name != "content-type" {
                write!(told, " {name}: {}", value.to_str().expect("text")).expect("written");
            }
        }
        let Some(Body::Text(body)) = answer.body else {
            panic!("an answer has a body of text");
        };
        let content_type = answer.headers.get("content-type").expect("a content type");
        if content_type == "application/json" {
            return format!("{told} {body}");
        }
        assert_eq!(content_type, "application/problem+json");
        let problem: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(problem["status"], answer.status_code);
        assert!(problem["title"].is_string(), "{body}");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        write!(
            told,
            " {}\n{}",
            text(&problem["type"]),
            text(&problem["detail"])
        )
        .expect("written");
        for error in problem["errors"].as_array().into_iter().flatten() {
            let (index, reason) = (&error["index"], text(&error["reason"]));
            write!(told, "\n{index} {reason}: {}", text(&error["detail"])).expect("written");
        }
        told
    }

    /// The journal's events of a group of tenant acme, by id.
    pub(super) fn journal(&self, tenant: &str, key: &str) -> Vec<String> {
        let (tenant, key) = (tenant.into(), key.into());
        let groups = [Group { tenant, key }];
        let entries = pollster::block_on(self.store.inner.entries(&groups)).expect("entries");
        entries
            .into_iter()
            .flatten()
            .map(|entry| entry.event.id.to_string())
            .collect()
    }

    /// Takes all messages off the queue: of each, its group and the ids of its events.
    pub(super) fn messages(&self, now: &str) -> Vec<String> {
        let now = Timestamp::parse(now).expect("a time");
        let mut messages = Vec::new();
        loop {
            let received =
                pollster::block_on(self.store.inner.receive(100, now)).expect("messages");
            if received.is_empty() {
                return messages;
            }
            for one in received {
                let ids: Vec<&str> = one
                    .message
                    .entries
                    .iter()
                    .map(|entry| entry.event.id.as_str())
                    .collect();
                messages.push(format!("{} {}", one.message.group, ids.join(",")));
                pollster::block_on(self.store.inner.delete(&[one.receipt])).expect("deleted");
            }
        }
    }
}

/// An event with this id, lead and data, as JSON.
pub(super) fn event(id: &str, lead: &str, data: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"//crm","type":"t","partitionkey":"{lead}",
            "time":"2026-03-01T09:29:00Z","data":{data}}}"#
    )
}

/// A POST for this tenant, signed now with the newest secret of acme.
pub(super) fn post(tenant: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Sent {
    let headers = [("content-type".to_owned(), content_type.to_owned())];
    Sent {
        method: "POST",
        path: format!("/events/{tenant}"),
        headers: headers.into(),
        body: body.into(),
        base64: false,
    }
    .signed(NEW, 0)
}

pub(super) fn batch(events: &[String]) -> Sent {
    let body = format!("[{}]", events.join(","));
    post("acme", "application/cloudevents-batch+json", body)
}

impl Sent {
    /// The request with another header; without it where the value is empty.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.remove(name);
        if !value.is_empty() {
            self.headers.insert(name.to_owned(), value.to_owned());
        }
        self
    }

    /// The request signed with a secret, so many seconds from now.
    pub(super) fn signed(self, secret: &str, seconds: i64) -> Self {
        let now = Timestamp::parse(NOW).expect("a time").ms() / 1_000;
        let timestamp = (now + seconds).to_string();
        let key = STANDARD
            .decode(secret.trim_start_matches("whsec_"))
            .expect("base64");
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key");
        mac.update(format!("msg_1.{timestamp}.").as_bytes());
        mac.update(&self.body);
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        self.with("webhook-id", "msg_1")
            .with("webhook-timestamp", &timestamp)
            .with("webhook-signature", &format!("v1,{signature}"))
    }
}

impl From<&Sent> for ApiGatewayV2httpRequest {
    /// By way of the JSON that a function URL gives.
    fn from(sent: &Sent) -> Self {
        let body = if sent.base64 {
            STANDARD.encode(&sent.body)
        } else {
            String::from_utf8(sent.body.clone()).expect("UTF-8")
        };
        let json = json!({
            "version": "2.0", "routeKey": "$default", "rawPath": sent.path, "rawQueryString": "",
            "headers": sent.headers, "isBase64Encoded": sent.base64, "body": body,
            "requestContext": {
                "accountId": "anonymous", "apiId": "x", "domainName": "x.lambda-url.eu-west-1.on.aws",
                "domainPrefix": "x", "requestId": "r", "routeKey": "$default", "stage": "$default",
                "time": "01/Mar/2026:09:30:00 +0000", "timeEpoch": 1_772_357_400_000_i64,
                "http": {"method": sent.method, "path": sent.path, "protocol": "HTTP/1.1",
                         "sourceIp": "192.0.2.1", "userAgent": "crm"},
            },
        });
        serde_json::from_value(json).expect("a request")
    }
}

fn failed(kind: ErrorKind, doing: &str) -> Error {
    Error::new(kind, doing, "the account 123456789012 is throttled")
}

impl Secrets for Kept {
    async fn secret(&self, reference: &SecretRef) -> Result<Secret, Error> {
        match self.0.get(reference) {
            Some(Some(text)) => Ok(Secret::new(*text)),
            Some(None) => Err(failed(ErrorKind::Retry, "read a secret")),
            None => Err(failed(ErrorKind::Reject, "find a secret")),
        }
    }
}

impl Failing {
    /// Fails as often as the counter says.
    fn may(&self, left: &AtomicUsize, doing: &str) -> Result<(), Error> {
        let fails = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        fails.map_or(Ok(()), |_| Err(failed(self.kind, doing)))
    }
}

impl Journal for Failing {
    async fn append(&self, entries: &[Arc<Entry>]) -> Result<Vec<Appended>, Error> {
        self.may(&self.appends, "append")?;
        self.inner.append(entries).await
    }

    async fn entries(&self, groups: &[Group]) -> Result<Vec<Vec<Entry>>, Error> {
        self.inner.entries(groups).await
    }

    async fn entries_since(&self, groups: &[Since]) -> Result<Vec<Vec<Entry>>, Error> {
        self.inner.entries_since(groups).await
    }

    async fn whereabouts(
        &self,
        events: &[(SmolStr, EventHash)],
    ) -> Result<Vec<Option<Group>>, Error> {
        self.inner.whereabouts(events).await
    }

    async fn homes(&self, events: &[(SmolStr, EventHash)]) -> Result<Vec<Option<Group>>, Error> {
        self.inner.homes(events).await
    }

    async fn groups(
        &self,
        partition: Partition,
        after: Option<&Group>,
        limit: usize,
    ) -> Result<Vec<Group>, Error> {
        self.inner.groups(partition, after, limit).await
    }
}

impl Queue for Failing {
    async fn send(&self, messages: &[Message], now: Timestamp) -> Result<(), Error> {
        self.may(&self.sends, "send")?;
        self.inner.send(messages, now).await
    }

    async fn receive(&self, limit: usize, now: Timestamp) -> Result<Vec<Received>, Error> {
        self.inner.receive(limit, now).await
    }

    async fn delete(&self, receipts: &[Receipt]) -> Result<(), Error> {
        self.inner.delete(receipts).await
    }

    async fn hide_until(&self, receipts: &[Receipt], at: Timestamp) -> Result<(), Error> {
        self.inner.hide_until(receipts, at).await
    }

    async fn park(&self, letters: &[(Message, String)], now: Timestamp) -> Result<(), Error> {
        self.inner.park(letters, now).await
    }

    async fn dead_letters(&self, after: u128, limit: usize) -> Result<Vec<Letter>, Error> {
        self.inner.dead_letters(after, limit).await
    }

    async fn redrive(&self, letters: &[u128], now: Timestamp) -> Result<u64, Error> {
        self.inner.redrive(letters, now).await
    }

    async fn discard(&self, letters: &[u128]) -> Result<u64, Error> {
        self.inner.discard(letters).await
    }

    async fn depth(&self, now: Timestamp) -> Result<Depth, Error> {
        self.inner.depth(now).await
    }
}

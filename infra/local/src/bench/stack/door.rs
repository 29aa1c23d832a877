//! The function `ingest`, as a sender of webhooks meets it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::ring::default_provider;
use serde::Deserialize;
use serde::de::IgnoredAny;
use shared::webhook::{BODY_BYTES_MAX, REQUEST_EVENTS_MAX};
use tokio::sync::Semaphore;

use crate::error::Failure;
use crate::stopwatch::rest_for;

/// The first pause before a request is sent again; each next one is twice as long.
const PAUSE: Duration = Duration::from_millis(100);
/// How often a request is sent at most: for about a minute.
const SENDS_MAX: u32 = 10;
/// The most requests at one time; a process may commonly have 1,024 files open.
const OPEN_MAX: usize = 500;
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Where a stack takes events in.
#[derive(Debug, Clone)]
pub(super) struct Door {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    url: String,
    /// How many requests more may be open: each is a connection of its own.
    open: Arc<Semaphore>,
    /// The most events of one request.
    pub(super) per_request: usize,
}

/// A request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Post<'a> {
    pub(super) tenant: &'a str,
    /// An array of events.
    pub(super) body: &'a str,
    pub(super) events: u64,
    /// It is one that nobody can read, and to be refused.
    pub(super) alone: bool,
}

/// What became of a request.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) accepted: u64,
    pub(super) duplicates: u64,
    /// Events that were refused.
    pub(super) refused: u64,
    /// How often it was sent again.
    pub(super) retries: u64,
}

/// What the function says when it took events in, or some of them.
#[derive(Debug, Default, Deserialize)]
struct Answer {
    #[serde(default)]
    errors: Vec<IgnoredAny>,
    #[serde(default)]
    accepted: u64,
    #[serde(default)]
    duplicates: u64,
}

impl Door {
    pub(super) fn new(url: &str, per_request: usize) -> Result<Self, Failure> {
        let url = url.trim_end_matches('/').to_owned();
        if let Err(error) = format!("{url}/events/a").parse::<Uri>() {
            return Err(Failure::Input(format!("{url:?} is no URL: {error}")));
        }
        if per_request == 0 || per_request > REQUEST_EVENTS_MAX {
            return Err(Failure::Input(format!(
                "a request has 1 to {REQUEST_EVENTS_MAX} events, not {per_request}"
            )));
        }
        let builder = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(default_provider())
            .map_err(|source| Failure::File {
                what: "read the certificates that this machine trusts".to_owned(),
                source,
            })?;
        let connector = builder.https_or_http().enable_http1().build();
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            url,
            open: Arc::new(Semaphore::new(OPEN_MAX)),
            per_request,
        })
    }

    /// Whether so many bytes still fit into a request.
    pub(super) fn fits(bytes: usize) -> bool {
        bytes <= BODY_BYTES_MAX
    }

    /// Posts events, again where the answer is to try again. Waits while too many requests are open.
    pub(super) async fn post(&self, post: &Post<'_>) -> Result<Taken, String> {
        let _permit = self.open.acquire().await;
        let mut pause = PAUSE;
        let mut retries = 0;
        loop {
            let why = match self.once(post.tenant, post.body).await {
                Ok((StatusCode::ACCEPTED, text)) => {
                    let answer: Answer = serde_json::from_str(&text).unwrap_or_default();
                    return Ok(Taken {
                        accepted: answer.accepted,
                        duplicates: answer.duplicates,
                        refused: 0,
                        retries,
                    });
                }
                // It names those that it refuses, and took the others, some of which it may have had.
                Ok((StatusCode::CONFLICT, text)) => {
                    let answer: Answer = serde_json::from_str(&text).unwrap_or_default();
                    let refused = answer.errors.len() as u64;
                    return Ok(Taken {
                        accepted: post.events.saturating_sub(refused),
                        duplicates: 0,
                        refused,
                        retries,
                    });
                }
                Ok((StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE, _)) if post.alone => {
                    return Ok(Taken {
                        refused: post.events,
                        retries,
                        ..Taken::default()
                    });
                }
                Ok((status, text)) if is_passing(status) => format!("{status}: {text}"),
                Ok((status, text)) => return Err(format!("{status}: {text}")),
                Err(why) => why,
            };
            retries += 1;
            if retries >= u64::from(SENDS_MAX) {
                return Err(format!("{why} ({SENDS_MAX} times)"));
            }
            rest_for(pause).await;
            pause *= 2;
        }
    }

    async fn once(&self, tenant: &str, body: &str) -> Result<(StatusCode, String), String> {
        let request = Request::post(format!("{}/events/{tenant}", self.url))
            .header("content-type", "application/cloudevents-batch+json")
            .body(Body::from(body.to_owned()))
            .map_err(|error| error.to_string())?;
        let response = self.client.request(request).await;
        let response = response.map_err(|error| match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        })?;
        let status = response.status();
        let body = to_bytes(Body::new(response.into_body()), ANSWER_BYTES_MAX).await;
        let body = body.map_err(|error| error.to_string())?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

/// Whether the same request may be taken another time. A function URL answers 429 where too many of its
/// function run, and 502 where one died.
fn is_passing(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

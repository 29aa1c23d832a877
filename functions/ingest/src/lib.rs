//! The Lambda function that takes webhooks in, apart from its wiring.
//!
//! A function URL and an HTTP API of API Gateway give the same shape of request (payload format 2.0,
//! <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads>).

use std::borrow::Cow;
use std::future::Future;
use std::time::Duration;

use aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use aws_lambda_events::encodings::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use shared::model::Timestamp;
use shared::ports::{Error, ErrorKind, Journal, Queue, Secrets};
use shared::service::{self, TakenIn};
use shared::settings::Settings;
use shared::trace::Journey;
use shared::webhook::{Problem, ProblemKind, Request, Response};

#[cfg(test)]
mod tests;

/// Kept back of the time that is left, to answer in.
const MARGIN_MS: i64 = 1_000;

/// Takes in the events of a request and answers it.
pub async fn handle<P: Journal + Queue, S: Secrets>(
    ports: &P,
    secrets: &S,
    settings: &Settings,
    request: &ApiGatewayV2httpRequest,
    now: Timestamp,
) -> ApiGatewayV2httpResponse {
    answer(
        take_in(ports, secrets, settings, request, now)
            .await
            .response,
    )
}

/// Lets a request go on in the trace of X-Ray that its call belongs to, and in no other of X-Ray's: where
/// that is not used, its header says nothing about what is to be recorded.
pub fn trace_as(request: &mut ApiGatewayV2httpRequest, xray: Option<&str>) {
    const HEADER: HeaderName = HeaderName::from_static("x-amzn-trace-id");
    request.headers.remove(HEADER);
    if let Some(value) = xray.and_then(|text| HeaderValue::from_str(text).ok()) {
        request.headers.insert(HEADER, value);
    }
}

/// Takes in the events of a request.
///
/// What went wrong on this side is logged here; the sender is told no more than whether to try again.
pub async fn take_in<P: Journal + Queue, S: Secrets>(
    ports: &P,
    secrets: &S,
    settings: &Settings,
    request: &ApiGatewayV2httpRequest,
    now: Timestamp,
) -> TakenIn {
    let Some(body) = body(request) else {
        let detail = "the body is marked as base64 and is not";
        return TakenIn::nothing(&Problem::new(ProblemKind::Unreadable, detail));
    };
    let read = Request {
        method: &request.request_context.http.method,
        path: path(request),
        headers: &request.headers,
        body: &body,
    };
    let taken = service::take_in(ports, secrets, settings, &read, now).await;
    let tenant = taken.tenant.as_deref().unwrap_or_default();
    let status = taken.response.status.as_u16();
    let first = taken.events.first();
    let trace = first.map(|(entry, _)| Journey::of(entry).trace().to_string());
    let trace = trace.or_else(|| Some(taken.context?.trace.to_string()));
    match &taken.failure {
        Some(error) => tracing::error!(
            tenant,
            status,
            trace,
            error = error.chain(),
            "request not taken"
        ),
        None if taken.response.status.is_success() => {
            tracing::info!(
                tenant,
                status,
                trace,
                taken = taken.response.body,
                "request taken"
            );
        }
        None => tracing::warn!(
            tenant,
            status,
            trace,
            told = taken.response.body,
            "request refused"
        ),
    }
    taken
}

/// Gives the answer of `work`, or asks the sender to try again shortly before the function is stopped.
///
/// Stopped by Lambda, it would answer 502 with a body that no sender can read. `deadline_ms` is when that is, in
/// milliseconds since 1970. What was journaled by then stays, and the same request completes it.
pub async fn before(
    deadline_ms: u64,
    now: Timestamp,
    work: impl Future<Output = ApiGatewayV2httpResponse>,
) -> ApiGatewayV2httpResponse {
    let deadline_ms = i64::try_from(deadline_ms).unwrap_or(i64::MAX);
    let left_ms = deadline_ms
        .saturating_sub(now.ms())
        .saturating_sub(MARGIN_MS);
    let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0));
    match tokio::time::timeout(left, work).await {
        Ok(answer) => answer,
        Err(_elapsed) => {
            let why = "the stores did not answer in time";
            failed(&Error::new(ErrorKind::Retry, "take a request in", why))
        }
    }
}

/// Answers a request that could not be looked at, because what it takes could not be had.
#[must_use]
pub fn failed(error: &Error) -> ApiGatewayV2httpResponse {
    tracing::error!(error = error.chain(), "request not looked at");
    answer(Problem::from(error).response())
}

fn body(request: &ApiGatewayV2httpRequest) -> Option<Cow<'_, [u8]>> {
    let text = request.body.as_deref().unwrap_or_default();
    if request.is_base64_encoded {
        return STANDARD.decode(text).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(text.as_bytes()))
}

/// The path without the stage, which a stage other than `$default` puts before it.
fn path(request: &ApiGatewayV2httpRequest) -> &str {
    let path = request.raw_path.as_deref().unwrap_or_default();
    let stage = request.request_context.stage.as_deref();
    let below = stage.and_then(|stage| path.strip_prefix('/')?.strip_prefix(stage));
    below.filter(|rest| rest.starts_with('/')).unwrap_or(path)
}

/// A response as API Gateway and function URLs take it.
#[must_use]
pub fn answer(response: Response) -> ApiGatewayV2httpResponse {
    let mut answer = ApiGatewayV2httpResponse::default();
    answer.status_code = i64::from(response.status.as_u16());
    answer.headers = response.headers;
    answer.body = Some(Body::Text(response.body));
    answer
}

//! What the function `process` does with a batch.

use std::time::Duration;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use shared::adapters::aws::{Delivered, Delivery};
use shared::adapters::stack::Stack;
use shared::adapters::telemetry::Telemetry;
use shared::adapters::{Joined, SystemClock, Watched};
use shared::metrics::Reading;
use shared::metrics::registry::{MESSAGES_FAILED, MESSAGES_RECEIVED};
use shared::model::Timestamp;
use shared::ports::{Clock, Error, Readings};
use shared::service::{Apart, LateLine, Processed, measured, process_apart, traced};
use shared::trace::{Journey, Scope, Span};

/// Kept back of the time that is left, to answer in.
const MARGIN_MS: i64 = 2_000;
/// Kept back of that when it has been said when failed messages are to come again.
const LAST_MS: i64 = 300;

/// Handles a batch and names the messages that are to come again.
///
/// `deadline_ms` is when the function is
/// stopped, in milliseconds since 1970: what is not done before that comes again too, and finds what was
/// written.
///
/// # Errors
/// Nothing of the batch could be looked at; all of it comes again.
pub async fn handle(
    stack: &Stack,
    telemetry: &Telemetry,
    batch: SqsEvent,
    deadline_ms: u64,
) -> Result<SqsBatchResponse, Error> {
    let begun = SystemClock.now();
    let lookups = stack.lookups();
    let requests = Readings::default();
    let delivered = batch.records.into_iter().map(delivered).collect();
    let delivery = Delivery::new(&stack.aws, delivered).await?;
    let work = Box::pin(apart(stack, &delivery, &requests));
    let apart = match tokio::time::timeout(left(deadline_ms, MARGIN_MS), work).await {
        Ok(Ok(apart)) => Some(apart),
        Ok(Err(error)) => {
            tracing::error!(error = error.chain(), "the batch comes again");
            None
        }
        Err(_elapsed) => {
            tracing::error!("out of time; what is not done comes again");
            None
        }
    };
    let failed = delivery.failed();
    let (mut readings, spans) = match &apart {
        Some(apart) => {
            tell(apart);
            measures(apart, &delivery, begun)
        }
        None => (counts(&delivery, failed.len() as u64), Vec::new()),
    };
    readings.extend(requests.take());
    readings.extend(measured::of_lookups(lookups, stack.lookups()));
    telemetry.measure(SystemClock.now(), &readings);
    let release = delivery.release_failed(SystemClock.now());
    match tokio::time::timeout(left(deadline_ms, LAST_MS), release).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(
            error = error.chain(),
            "failed messages stay hidden for longer"
        ),
        Err(_elapsed) => tracing::warn!("failed messages stay hidden for longer"),
    }
    // Traces come last: they may be lost, nothing else may.
    let export = telemetry.trace(spans);
    if let Ok((readings, error)) = tokio::time::timeout(left(deadline_ms, LAST_MS), export).await {
        telemetry.measure(SystemClock.now(), &readings);
        if let Some(error) = error {
            tracing::warn!(error = error.chain(), "traces are lost");
        }
    }
    let mut response = SqsBatchResponse::default();
    for id in failed {
        let mut failure = BatchItemFailure::default();
        failure.item_identifier = id.into();
        response.batch_item_failures.push(failure);
    }
    Ok(response)
}

/// How long there is until so much before the function is stopped.
fn left(deadline_ms: u64, margin_ms: i64) -> Duration {
    let deadline_ms = i64::try_from(deadline_ms).unwrap_or(i64::MAX);
    let left_ms = deadline_ms
        .saturating_sub(SystemClock.now().ms())
        .saturating_sub(margin_ms);
    Duration::from_millis(u64::try_from(left_ms).unwrap_or(0))
}

async fn apart(
    stack: &Stack,
    delivery: &Delivery<'_>,
    requests: &Readings,
) -> Result<Apart, Error> {
    let settings = stack.settings().await?;
    if let Some((version, why)) = stack.refused_settings() {
        tracing::error!(
            version,
            why,
            "the stored settings do not compile; the last good ones stay in force"
        );
    }
    let ports = Joined {
        events: delivery,
        tables: stack.tables().await?,
    };
    let ports = Watched {
        ports: &ports,
        meter: requests,
    };
    let (received, spent) = (delivery.received(), stack.config.receives_max);
    let work = process_apart(&ports, &SystemClock, &settings, received, spent);
    let apart = Box::pin(work).await;
    let now = SystemClock.now();
    // A statistic: the batch is done all the same.
    let waited_ms = waited_ms(delivery, now);
    if let Err(error) = stack.aws.tally(&apart.processed, waited_ms, now).await {
        tracing::warn!(error = error.chain(), "not counted");
    }
    Ok(apart)
}

/// How long the message of the batch that was sent first has waited.
fn waited_ms(delivery: &Delivery<'_>, now: Timestamp) -> i64 {
    let waited = delivery.received().iter().map(|one| now.ms_since(one.sent));
    waited.max().unwrap_or(0).max(0)
}

/// Writes to the log what a person should know.
fn tell(apart: &Apart) {
    for (group, error) in &apart.failures {
        tracing::error!(
            group = group.to_string(),
            error = error.chain(),
            "a group's messages come again, or are parked after their last try"
        );
    }
    for (group, lock) in &apart.processed.locked_out {
        tracing::warn!(
            group = group.to_string(),
            lock = lock.name.as_str(),
            "a group's messages come again: somebody else holds a lock, another worker, or other code \
             that writes the same row"
        );
    }
    for (entry, why) in &apart.processed.parked {
        tracing::error!(
            group = entry.group.to_string(),
            event = entry.event.id.as_str(),
            trace = Journey::of(entry).trace().to_string(),
            why,
            "an event is parked"
        );
    }
    tell_late(&apart.processed);
}

/// The metrics of a batch of which nothing else is known. Alarms go by `MessagesFailed`: for Lambda, a batch
/// of which some comes again went well.
fn counts(delivery: &Delivery<'_>, failed: u64) -> Vec<Reading> {
    vec![
        MESSAGES_RECEIVED.is(delivery.count(), &[]),
        MESSAGES_FAILED.is(failed, &[]),
    ]
}

/// The metrics and the spans of a batch.
fn measures(apart: &Apart, delivery: &Delivery<'_>, begun: Timestamp) -> (Vec<Reading>, Vec<Span>) {
    let (received, done) = (delivery.received(), &apart.processed);
    let when = (begun, SystemClock.now());
    let failed = apart.failed_messages(received);
    let mut readings = measured::of_batch(received, done, failed, when);
    // Those that could not be read are no messages of ours, but they were received.
    let unreadable = delivery.count().saturating_sub(received.len() as u64);
    readings.push(MESSAGES_RECEIVED.is(unreadable, &[]));
    readings.extend(measured::of_spent(received, &apart.failures, apart.spent));
    (readings, traced::of_batch(received, done, Scope::AWS, when))
}

/// What came out of order, and what live handling found because of it.
fn tell_late(done: &Processed) {
    for (entry, late) in &done.late {
        let line = LateLine::new(entry, late);
        tracing::error!(
            tenant = line.tenant,
            group = line.group,
            event = line.event,
            source = line.source,
            time = line.time,
            late_ms = line.late_ms,
            overtaken_by = line.overtaken_by,
            overtaken_by_source = line.overtaken_by_source,
            overtaken_by_time = line.overtaken_by_time,
            trace = line.trace,
            rows = line.rows,
            "{}",
            LateLine::MESSAGE
        );
    }
    for finding in &done.found {
        tracing::error!(
            group = finding.group.to_string(),
            table = finding.table.name(),
            id = finding.id.as_str(),
            why = finding.explanation,
            "{}",
            LateLine::MESSAGE_OF_ROW
        );
    }
}

fn delivered(message: SqsMessage) -> Delivered {
    let number = |name: &str| message.attributes.get(name)?.parse::<i64>().ok();
    let receives = number("ApproximateReceiveCount").and_then(|count| u32::try_from(count).ok());
    let sent = number("SentTimestamp").unwrap_or(0);
    Delivered {
        receives: receives.unwrap_or(1),
        sent: Timestamp::from_ms(sent),
        id: message.message_id.unwrap_or_default(),
        receipt: message.receipt_handle.unwrap_or_default(),
        body: message.body.unwrap_or_default(),
    }
}

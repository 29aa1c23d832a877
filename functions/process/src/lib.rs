//! What the function `process` does with a batch.

use std::time::Duration;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use shared::adapters::aws::{Delivered, Delivery, Metric, count_of, metrics_line};
use shared::adapters::stack::Stack;
use shared::adapters::{Joined, SystemClock};
use shared::model::Timestamp;
use shared::ports::{Clock, Error, Received};
use shared::service::{Apart, LateLine, Processed, process_apart};

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
    batch: SqsEvent,
    deadline_ms: u64,
) -> Result<SqsBatchResponse, Error> {
    let delivered = batch.records.into_iter().map(delivered).collect();
    let delivery = Delivery::new(&stack.aws, delivered).await?;
    let work = Box::pin(apart(stack, &delivery));
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
    let metrics = match &apart {
        Some(apart) => {
            tell(apart);
            metrics(apart, &delivery)
        }
        None => counts(&delivery, failed.len() as u64),
    };
    #[expect(clippy::print_stdout, reason = "CloudWatch reads metrics from the log")]
    {
        let stack = &stack.config.stack;
        println!("{}", metrics_line(SystemClock.now(), stack, &metrics, None));
    }
    let release = delivery.release_failed(SystemClock.now());
    match tokio::time::timeout(left(deadline_ms, LAST_MS), release).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(
            error = error.chain(),
            "failed messages stay hidden for longer"
        ),
        Err(_elapsed) => tracing::warn!("failed messages stay hidden for longer"),
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

async fn apart(stack: &Stack, delivery: &Delivery<'_>) -> Result<Apart, Error> {
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
    let (received, spent) = (delivery.received(), stack.config.receives_max);
    let apart = process_apart(&ports, &SystemClock, &settings, received, spent).await;
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
            why,
            "an event is parked"
        );
    }
    tell_late(&apart.processed);
}

/// The metrics of a batch whatever became of it. Alarms go by `MessagesFailed`: for Lambda, a batch of which
/// some comes again went well.
fn counts(delivery: &Delivery<'_>, failed: u64) -> Vec<Metric> {
    let waited_ms = waited_ms(delivery, SystemClock.now());
    let seconds = u32::try_from(waited_ms / 1_000).unwrap_or(u32::MAX);
    vec![
        count_of("MessagesReceived", delivery.count()),
        count_of("MessagesFailed", failed),
        ("QueueAge", "Seconds", f64::from(seconds)),
    ]
}

fn metrics(apart: &Apart, delivery: &Delivery<'_>) -> Vec<Metric> {
    let done = &apart.processed;
    let locked_out = |one: &&Received| {
        let mut groups = done.locked_out.iter();
        groups.any(|(group, _)| *group == one.message.group)
    };
    let received = delivery.received();
    let locked_out = received.iter().filter(locked_out).count();
    let mut metrics = counts(delivery, apart.failed_messages(received));
    metrics.extend([
        count_of("MessagesLockedOut", locked_out as u64),
        count_of("EventsProcessed", done.events + done.held + done.unmapped),
        count_of("EventsParked", done.parked.len() as u64 + apart.spent),
        count_of("LateEvents", done.late.len() as u64),
        count_of("LateRows", done.found.len() as u64),
    ]);
    if let Some(ms) = done.late.iter().map(|(_, late)| late.ms).max() {
        let seconds = u32::try_from(ms / 1_000).unwrap_or(u32::MAX);
        metrics.push(("LatenessMax", "Seconds", f64::from(seconds)));
    }
    metrics
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

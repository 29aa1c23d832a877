//! What the function `process` does with a batch.

use std::time::Duration;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use shared::adapters::aws::{Delivered, Delivery, metrics_line};
use shared::adapters::stack::Stack;
use shared::adapters::{Joined, SystemClock};
use shared::model::Timestamp;
use shared::ports::{Clock, Error};
use shared::service::{Apart, LateLine, Processed, process_apart};

/// Kept back of the time that is left, to answer in.
const MARGIN_MS: i64 = 1_000;

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
    let left_ms = i64::try_from(deadline_ms)
        .unwrap_or(i64::MAX)
        .saturating_sub(SystemClock.now().ms())
        .saturating_sub(MARGIN_MS);
    let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0));
    match tokio::time::timeout(left, apart(stack, &delivery)).await {
        Ok(Ok(apart)) => tell(&apart),
        Ok(Err(error)) => tracing::error!(error = error.chain(), "the batch comes again"),
        Err(_elapsed) => tracing::warn!("out of time; what is not done comes again"),
    }
    if let Err(error) = delivery.release_failed(SystemClock.now()).await {
        tracing::warn!(
            error = error.chain(),
            "failed messages stay hidden for longer"
        );
    }
    let mut response = SqsBatchResponse::default();
    for id in delivery.failed() {
        let mut failure = BatchItemFailure::default();
        failure.item_identifier = id.into();
        response.batch_item_failures.push(failure);
    }
    Ok(response)
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
    // A statistic: the batch is done all the same.
    if let Err(error) = stack.aws.tally(&apart.processed, SystemClock.now()).await {
        tracing::warn!(error = error.chain(), "not counted");
    }
    Ok(apart)
}

/// Writes to the log what a person, or an alarm, should know.
fn tell(apart: &Apart) {
    for (group, error) in &apart.failures {
        tracing::error!(
            group = group.to_string(),
            error = error.chain(),
            "a group's messages come again, or are parked after their last try"
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
    let count = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    let done = &apart.processed;
    let events = usize::try_from(done.events + done.held + done.unmapped).unwrap_or(usize::MAX);
    let spent = usize::try_from(apart.spent).unwrap_or(usize::MAX);
    let metrics = [
        ("EventsProcessed", "Count", count(events)),
        ("EventsParked", "Count", count(done.parked.len() + spent)),
        ("LateEvents", "Count", count(done.late.len())),
        ("LateRows", "Count", count(done.found.len())),
    ];
    let mut metrics = metrics.to_vec();
    if let Some(ms) = done.late.iter().map(|(_, late)| late.ms).max() {
        let seconds = u32::try_from(ms / 1_000).unwrap_or(u32::MAX);
        metrics.push(("LatenessMax", "Seconds", f64::from(seconds)));
    }
    #[expect(clippy::print_stdout, reason = "CloudWatch reads metrics from the log")]
    {
        println!("{}", metrics_line(SystemClock.now(), &metrics, None));
    }
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

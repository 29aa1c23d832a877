use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use serde_json::{Value, json};
use shared::adapters::aws::{PartOfRun, Run, metric_lines};
use shared::adapters::stack::Stack;
use shared::adapters::{Joined, SystemClock};
use shared::model::{Finding, ReplayRun};
use shared::ports::{Clock, Error, ErrorKind, Partition};
use shared::service::{Pages, Replay, Replayed, Scope, keep_run, measured};

use crate::request::mode;

/// With less than this left, a partition is sent on: no page should take longer.
const MARGIN_MS: i64 = 20_000;

/// Takes partitions from the queue and says which are to come again.
///
/// # Errors
/// All failed: Lambda counts that, and an alarm goes by it; they come again all the same.
pub(crate) async fn handle(
    stack: &Stack,
    batch: SqsEvent,
    deadline_ms: u64,
) -> Result<Value, Error> {
    let deadline_ms = i64::try_from(deadline_ms).unwrap_or(i64::MAX);
    let mut response = SqsBatchResponse::default();
    let count = batch.records.len();
    let mut last = None;
    for message in batch.records {
        let body = message.body.unwrap_or_default();
        let part = serde_json::from_str::<PartOfRun>(&body);
        let part = part.map_err(|error| {
            Error::new(
                ErrorKind::Reject,
                "read which partition is to be replayed",
                error,
            )
        });
        let gone_through = match part {
            Ok(part) => go_through(stack, &part, deadline_ms).await,
            Err(error) => Err(error),
        };
        if let Err(error) = gone_through {
            tracing::error!(body, error = error.chain(), "a partition comes again");
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = message.message_id.unwrap_or_default();
            response.batch_item_failures.push(failure);
            last = Some(error);
        }
    }
    match last {
        Some(error) if response.batch_item_failures.len() == count => Err(error),
        Some(_) | None => Ok(json!(response)),
    }
}

/// Goes through a partition from where it was left, as far as the time allows.
async fn go_through(stack: &Stack, asked: &PartOfRun, deadline_ms: i64) -> Result<(), Error> {
    let (run, state, parked) = stack.aws.run(&asked.run).await?;
    let mut part = stack.aws.part(&run.id, asked.partition).await?;
    if !part.done {
        let settings = stack.settings().await?;
        let ports = Joined {
            events: &stack.aws,
            tables: stack.tables().await?,
        };
        let replay = Replay {
            ports: &ports,
            clock: &SystemClock,
            settings: &settings,
            parked: &parked,
            grace_ms: stack.config.grace_ms,
        };
        let partition = Partition {
            index: asked.partition,
            count: run.partitions,
        };
        let scope = Scope::Partition(partition, run.tenant.clone());
        let mut pages = Pages::from(&scope, part.place.clone());
        while !part.done {
            if deadline_ms - SystemClock.now().ms() < MARGIN_MS {
                return send_on(stack, asked).await;
            }
            let mut found: Vec<Finding> = Vec::new();
            let page = replay.page(&mut pages, mode(&run.mode), |finding| found.push(finding));
            match page.await? {
                Some(sums) => part.sums.add(&sums),
                None => part.done = true,
            }
            part.place = pages.place().clone();
            found.retain(|finding| part.take(finding));
            let saved = stack
                .aws
                .save_part(&run.id, asked.partition, &mut part, &found);
            if !saved.await? {
                tracing::warn!(run = run.id, "another worker has this partition");
                return Ok(());
            }
        }
    } else if state.finished {
        return Ok(());
    }
    finish(stack, &run, asked.partition, deadline_ms).await
}

async fn send_on(stack: &Stack, asked: &PartOfRun) -> Result<(), Error> {
    let Some(queue) = &stack.config.replay_queue_url else {
        let why = "FOLDBACK_REPLAY_QUEUE_URL is not set";
        return Err(Error::new(ErrorKind::Reject, "send a partition on", why));
    };
    tracing::info!(
        run = asked.run,
        partition = asked.partition,
        "goes on in another call"
    );
    stack
        .aws
        .send_parts(queue, &asked.run, &[asked.partition])
        .await
}

/// Sums the run up where its last partition is done, and keeps it with the rows. Of partitions that are done
/// at the same time one sees to it. Who dies here leaves it to the partition's next delivery; a run is then
/// kept twice at worst.
async fn finish(stack: &Stack, run: &Run, partition: u64, deadline_ms: i64) -> Result<(), Error> {
    let (_, state, _) = stack.aws.run(&run.id).await?;
    if state.done < run.partitions || state.finished {
        return Ok(());
    }
    let claimed = stack.aws.claim_finish(&run.id, partition, deadline_ms);
    if !claimed.await? {
        let (_, state, _) = stack.aws.run(&run.id).await?;
        if state.finished || state.finisher != Some(partition) {
            // That worker has a message of its own, which comes again should it die.
            return Ok(());
        }
        let why = "an earlier delivery of its last partition may be at it still";
        let doing = format!("sum the replay run {} up", run.id);
        return Err(Error::new(ErrorKind::Retry, doing, why));
    }
    let scope = Scope::Partition(Partition::WHOLE, run.tenant.clone());
    let mut kept = ReplayRun {
        started: run.started,
        finished: SystemClock.now(),
        mode: run.mode.clone(),
        scope: format!("{scope}, {} partitions", run.partitions),
        settings: stack.settings().await?.version(),
        ..ReplayRun::default()
    };
    let mut total = Replayed::default();
    for part in stack.aws.parts(&run.id).await? {
        total.add(&part.sums);
        part.sum_up(&mut kept);
    }
    total.sum_up(&mut kept);
    let findings = stack.aws.findings_of_run(&run.id).await?;
    let number = keep_run(stack.tables().await?, &kept, &findings).await?;
    stack.aws.finish_run(&run.id, number).await?;
    tell(&stack.config.stack, run.tenant.is_none(), &kept, &findings);
    Ok(())
}

/// Writes to the log what a person, or an alarm, should know.
fn tell(stack: &str, whole: bool, run: &ReplayRun, findings: &[Finding]) {
    for finding in findings {
        tracing::error!(
            class = finding.class.name(),
            table = finding.table.name(),
            group = finding.group.to_string(),
            id = finding.id.as_str(),
            why = finding.explanation,
            "a row differs from the fold of its events"
        );
    }
    #[expect(clippy::print_stdout, reason = "CloudWatch reads metrics from the log")]
    for line in metric_lines(run.finished, stack, &measured::of_replay(run, whole)) {
        println!("{line}");
    }
}

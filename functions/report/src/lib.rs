//! What the function `report` does.

use serde_json::{Value, json};
use shared::adapters::aws::metrics_line;
use shared::adapters::stack::Stack;
use shared::adapters::{Joined, SystemClock};
use shared::model::Report;
use shared::ports::{Clock, Error, Indexes, Reports};
use shared::service;

/// How far back the report looks at what was processed.
const TRAFFIC_MS: i64 = 24 * 3_600_000;

/// Makes a report, keeps it with the rows, and answers with it.
///
/// # Errors
/// A store failed.
pub async fn handle(stack: &Stack) -> Result<Value, Error> {
    let rows = stack.tables().await?;
    let counts = rows.row_counts().await?.into_iter();
    let counts = counts.map(|(table, count)| (table.name().into(), count));
    let indexes = rows.check_indexes().await?;
    let ports = Joined {
        events: &stack.aws,
        tables: rows,
    };
    let indexes = Some(json!(indexes));
    let now = SystemClock.now();
    let mut report = service::report(&ports, counts.collect(), indexes, now).await?;
    report.traffic = stack.aws.traffic(now.plus_ms(-TRAFFIC_MS)).await?;
    rows.keep_report(&report).await?;
    tell(&report);
    Ok(json!(report))
}

/// Writes the metrics to the log, for `CloudWatch` to read them there.
fn tell(report: &Report) {
    let count = |number: u64| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    let metrics = [
        ("QueueVisible", "Count", count(report.queue.visible)),
        ("QueueInFlight", "Count", count(report.queue.in_flight)),
        ("DeadLetters", "Count", count(report.queue.dead)),
    ];
    #[expect(clippy::print_stdout, reason = "CloudWatch reads metrics from the log")]
    {
        println!("{}", metrics_line(report.at, &metrics, None));
    }
    for note in &report.notes {
        tracing::warn!(note, "report");
    }
}

//! What the function `report` does.

use serde_json::{Value, json};
use shared::adapters::aws::metric_lines;
use shared::adapters::stack::Stack;
use shared::adapters::{Joined, SystemClock};
use shared::model::Report;
use shared::ports::{Clock, Error, Indexes, Reports};
use shared::service::{self, measured};

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
    let faults = indexes.faults();
    let usage_is_told = indexes.usage.is_some();
    let indexes = Some(json!(indexes));
    let now = SystemClock.now();
    let mut report = service::report(&ports, counts.collect(), indexes, now).await?;
    if !usage_is_told {
        let note = "the server does not say how often its indexes are used ($indexStats)";
        report.notes.push(note.to_owned());
    }
    report.traffic = stack.aws.traffic(now.plus_ms(-TRAFFIC_MS)).await?;
    rows.keep_report(&report).await?;
    tell(&stack.config.stack, &report, faults);
    Ok(json!(report))
}

/// Writes the metrics to the log, for `CloudWatch` to read them there.
fn tell(stack: &str, report: &Report, index_faults: u64) {
    #[expect(clippy::print_stdout, reason = "CloudWatch reads metrics from the log")]
    for line in metric_lines(report.at, stack, &measured::of_report(report, index_faults)) {
        println!("{line}");
    }
    for note in &report.notes {
        tracing::warn!(note, "report");
    }
}

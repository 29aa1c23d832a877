use shared::metrics::registry as m;

/// A rule.
struct Alert {
    name: &'static str,
    expression: String,
    /// How long it must be so.
    lasting: &'static str,
    severity: &'static str,
    summary: &'static str,
    description: &'static str,
}

/// The alert rules, as Prometheus reads them.
#[must_use]
pub fn alerts() -> String {
    let mut text = String::from(
        "# Made from the registry of metrics (tests/src/dashboards); a test compares the two.\n\
         groups:\n  - name: foldback\n    rules:\n",
    );
    for alert in all() {
        let Alert {
            name,
            expression,
            lasting,
            severity,
            summary,
            description,
        } = alert;
        text.push_str(&format!(
            "      - alert: {name}\n        expr: {expression}\n        for: {lasting}\n        labels:\n          \
             severity: {severity}\n        annotations:\n          summary: \"{summary}\"\n          \
             description: \"{description}\"\n"
        ));
    }
    text
}

fn all() -> Vec<Alert> {
    let queue = m::QUEUE_MESSAGES.name;
    let requests = m::REQUESTS.name;
    let (received, failed) = (m::MESSAGES_RECEIVED.name, m::MESSAGES_FAILED.name);
    let (oldest, findings, replays) = (
        m::QUEUE_OLDEST_SECONDS.name,
        m::FINDINGS.name,
        m::REPLAYS.name,
    );
    let (late, processed) = (m::EVENTS_LATE.name, m::EVENTS_PROCESSED.name);
    let rate = |name: &str, over: &str| format!("sum by (job) (rate({name}[{over}]))");
    let share = |part: String, whole: String| format!("{part} / {whole} > 0.05");
    let alert = |name, expression, lasting, severity, (summary, description)| Alert {
        name,
        expression,
        lasting,
        severity,
        summary,
        description,
    };
    vec![
        alert(
            "FoldbackGone",
            format!("absent({queue}{{state=\"visible\"}})"),
            "5m",
            "critical",
            (
                "Nobody answers at /metrics",
                "foldback serve is down, or Prometheus cannot reach it. Events are refused meanwhile; their senders try again.",
            ),
        ),
        alert(
            "FoldbackParked",
            format!("max by (job) ({queue}{{state=\"dead\"}}) > 0"),
            "1m",
            "warning",
            (
                "{{ $value }} messages are in the dead-letter queue",
                "The rows of their events wait. foldback dlq list says why; mend the settings, then foldback dlq redrive.",
            ),
        ),
        alert(
            "FoldbackQueueOld",
            format!("max by (job) ({oldest}) > 900"),
            "5m",
            "critical",
            (
                "The oldest message has waited for {{ $value | humanizeDuration }}",
                "Events wait too long before they are worked on: the process is too slow, or a group fails again and again.",
            ),
        ),
        alert(
            "FoldbackFindings",
            format!("sum by (job, class) ({findings}) > 0"),
            "1m",
            "critical",
            (
                "{{ $value }} rows differ from their journal ({{ $labels.class }})",
                "foldback runs findings lists them; foldback replay --mode update mends them.",
            ),
        ),
        alert(
            "FoldbackNoReplay",
            format!("sum by (job) (increase({replays}[3h])) == 0"),
            "30m",
            "warning",
            (
                "No replay has ended for three hours",
                "Nobody checks the rows. See the log of foldback serve; --replay-every says how often it should.",
            ),
        ),
        alert(
            "FoldbackFailing",
            share(rate(failed, "10m"), rate(received, "10m")),
            "10m",
            "critical",
            (
                "{{ $value | humanizePercentage }} of the messages are left for another try",
                "A store fails, or some groups do. The log says which.",
            ),
        ),
        alert(
            "FoldbackRefusing",
            share(
                rate(&format!("{requests}{{status=~\"5..\"}}"), "10m"),
                rate(requests, "10m"),
            ),
            "5m",
            "critical",
            (
                "{{ $value | humanizePercentage }} of the webhooks are answered by 5xx",
                "Events are not taken in; their senders try again. The log says why.",
            ),
        ),
        alert(
            "FoldbackLate",
            format!(
                "{} / {} > 0.2",
                rate(late, "1h"),
                rate(&format!("{processed}{{result=\"applied\"}}"), "1h")
            ),
            "1h",
            "info",
            (
                "{{ $value | humanizePercentage }} of the events come late",
                "The tables are right all the same; each late event costs a refold. A sender has changed its order.",
            ),
        ),
        alert(
            "FoldbackIndexes",
            format!("max by (job) ({}) > 0", m::INDEX_FAULTS.name),
            "1m",
            "warning",
            (
                "{{ $value }} queries run without their index",
                "foldback indexes says which; --create makes what is missing.",
            ),
        ),
        alert(
            "FoldbackTracesLost",
            format!(
                "sum by (job) (rate({}{{result!=\"exported\"}}[10m])) > 0",
                m::SPANS.name
            ),
            "15m",
            "info",
            (
                "Spans of traces are lost",
                "The collector at OTEL_EXPORTER_OTLP_ENDPOINT does not take them, or not fast enough.",
            ),
        ),
    ]
}

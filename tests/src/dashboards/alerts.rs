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
    let mut alerts = of_the_queue();
    alerts.extend(of_checks());
    alerts.extend(of_failures());
    alerts.extend(of_the_rest());
    alerts
}

fn of_the_queue() -> Vec<Alert> {
    let queue = m::QUEUE_MESSAGES.name;
    vec![
        Alert {
            name: "FoldbackGone",
            expression: format!("absent({queue}{{state=\"visible\"}})"),
            lasting: "5m",
            severity: "critical",
            summary: "Nobody answers at /metrics",
            description: "foldback serve is down, or Prometheus cannot reach it. Events are refused meanwhile; their \
                          senders try again.",
        },
        Alert {
            name: "FoldbackParked",
            expression: format!("max by (job) ({queue}{{state=\"dead\"}}) > 0"),
            lasting: "1m",
            severity: "warning",
            summary: "{{ $value }} messages are in the dead-letter queue",
            description: "The rows of their events wait. foldback dlq list says why; mend the settings, then \
                          foldback dlq redrive.",
        },
        Alert {
            name: "FoldbackQueueOld",
            expression: format!("max by (job) ({}) > 900", m::QUEUE_OLDEST_SECONDS.name),
            lasting: "5m",
            severity: "critical",
            summary: "The oldest message has waited for {{ $value | humanizeDuration }}",
            description: "Events wait too long before they are worked on: the process is too slow, or a group fails \
                          again and again.",
        },
    ]
}

fn of_checks() -> Vec<Alert> {
    let replays = m::REPLAYS.name;
    vec![
        Alert {
            name: "FoldbackFindings",
            expression: format!("sum by (job, class) ({}) > 0", m::FINDINGS.name),
            lasting: "1m",
            severity: "critical",
            summary: "{{ $value }} rows differ from their journal ({{ $labels.class }})",
            description: "foldback runs findings lists them; foldback replay --mode update mends them.",
        },
        Alert {
            name: "FoldbackNoReplay",
            expression: format!("sum by (job) (increase({replays}[3h])) == 0"),
            lasting: "30m",
            severity: "warning",
            summary: "No replay has ended for three hours",
            description: "Nobody checks the rows. See the log of foldback serve; --replay-every says how often it \
                          should.",
        },
        Alert {
            name: "FoldbackIndexes",
            expression: format!("max by (job) ({}) > 0", m::INDEX_FAULTS.name),
            lasting: "1m",
            severity: "warning",
            summary: "{{ $value }} queries run without their index",
            description: "foldback indexes says which; --create makes what is missing.",
        },
    ]
}

fn of_failures() -> Vec<Alert> {
    let requests = m::REQUESTS.name;
    let (failed, received) = (m::MESSAGES_FAILED.name, m::MESSAGES_RECEIVED.name);
    let refused = format!("{requests}{{status=~\"5..\"}}");
    vec![
        Alert {
            name: "FoldbackFailing",
            expression: format!("{} / {} > 0.05", rate(failed, "10m"), rate(received, "10m")),
            lasting: "10m",
            severity: "critical",
            summary: "{{ $value | humanizePercentage }} of the messages are left for another try",
            description: "A store fails, or some groups do. The log says which.",
        },
        Alert {
            name: "FoldbackRefusing",
            expression: format!(
                "{} / {} > 0.05",
                rate(&refused, "10m"),
                rate(requests, "10m")
            ),
            lasting: "5m",
            severity: "critical",
            summary: "{{ $value | humanizePercentage }} of the webhooks are answered by 5xx",
            description: "Events are not taken in; their senders try again. The log says why.",
        },
    ]
}

fn of_the_rest() -> Vec<Alert> {
    let applied = format!("{}{{result=\"applied\"}}", m::EVENTS_PROCESSED.name);
    let lost = format!("{}{{result!=\"exported\"}}", m::SPANS.name);
    let late = rate(m::EVENTS_LATE.name, "1h");
    vec![
        Alert {
            name: "FoldbackLate",
            expression: format!("{late} / {} > 0.2", rate(&applied, "1h")),
            lasting: "1h",
            severity: "info",
            summary: "{{ $value | humanizePercentage }} of the events come late",
            description: "The tables are right all the same; each late event costs a refold. A sender has changed its \
                          order.",
        },
        Alert {
            name: "FoldbackTracesLost",
            expression: format!("{} > 0", rate(&lost, "10m")),
            lasting: "15m",
            severity: "info",
            summary: "Spans of traces are lost",
            description: "The collector at OTEL_EXPORTER_OTLP_ENDPOINT does not take them, or not fast enough.",
        },
    ]
}

fn rate(series: &str, over: &str) -> String {
    format!("sum by (job) (rate({series}[{over}]))")
}

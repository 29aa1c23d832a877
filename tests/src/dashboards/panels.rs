use shared::metrics::Metric;
use shared::metrics::registry as m;

/// Panels that belong together.
#[derive(Debug)]
pub struct Row {
    /// What they are about.
    pub title: &'static str,
    /// The panels.
    pub panels: &'static [Panel],
}

/// A chart.
#[derive(Debug)]
pub struct Panel {
    /// What it shows.
    pub title: &'static str,
    /// What it is measured in, as Grafana calls it.
    pub unit: &'static str,
    /// What it asks.
    pub queries: &'static [Query],
    /// What it asks `CloudWatch` instead, where AWS knows it better.
    pub aws: &'static [Aws],
}

/// What a panel asks.
#[derive(Debug, Clone, Copy)]
pub enum Query {
    /// How many a second, by a label.
    Rate(&'static Metric, Option<&'static str>),
    /// How many a second, of those whose label is this.
    RateOf(&'static Metric, &'static str, &'static str),
    /// How much, by a label.
    Value(&'static Metric, Option<&'static str>),
    /// How long half, nearly all and all but one in a hundred take.
    Quantiles(&'static Metric),
    /// How long nearly all take, by a label.
    Most(&'static Metric, Option<&'static str>),
    /// Of two counters, the one's share in the other.
    Share(&'static Metric, &'static Metric),
}

/// A metric of AWS's own, of a part of the stack.
#[derive(Debug, Clone, Copy)]
pub struct Aws {
    /// The namespace.
    pub namespace: &'static str,
    /// The name.
    pub name: &'static str,
    /// The dimension.
    pub dimension: &'static str,
    /// What the name of the part ends with, after the stack's.
    pub part: &'static str,
    /// How values are summed up.
    pub statistic: &'static str,
}

const fn panel(title: &'static str, unit: &'static str, queries: &'static [Query]) -> Panel {
    Panel {
        title,
        unit,
        queries,
        aws: &[],
    }
}

const fn sqs(name: &'static str, part: &'static str) -> Aws {
    Aws {
        namespace: "AWS/SQS",
        name,
        dimension: "QueueName",
        part,
        statistic: "Maximum",
    }
}

const WAITING: &str = "ApproximateNumberOfMessagesVisible";

/// All of them, the most important first.
pub static ROWS: &[Row] = &[
    Row {
        title: "Is it all right?",
        panels: &[
            Panel {
                aws: &[
                    sqs(WAITING, "-actions.fifo"),
                    sqs("ApproximateNumberOfMessagesNotVisible", "-actions.fifo"),
                    sqs(WAITING, "-actions-dlq.fifo"),
                ],
                ..panel(
                    "Messages by state",
                    "short",
                    &[Query::Value(&m::QUEUE_MESSAGES, Some("state"))],
                )
            },
            Panel {
                aws: &[sqs("ApproximateAgeOfOldestMessage", "-actions.fifo")],
                ..panel(
                    "Oldest message",
                    "s",
                    &[Query::Value(&m::QUEUE_OLDEST_SECONDS, None)],
                )
            },
            panel(
                "Rows that differ from their journal",
                "short",
                &[Query::Value(&m::FINDINGS, Some("class"))],
            ),
            panel(
                "From arrival to rows",
                "s",
                &[Query::Quantiles(&m::ARRIVAL_SECONDS)],
            ),
        ],
    },
    Row {
        title: "What comes in",
        panels: &[
            panel(
                "Events a second",
                "short",
                &[Query::Rate(&m::EVENTS_INGESTED, Some("result"))],
            ),
            panel(
                "Webhook requests a second",
                "short",
                &[Query::Rate(&m::REQUESTS, Some("status"))],
            ),
            panel(
                "Ingest: from request to journal and queue",
                "s",
                &[Query::Quantiles(&m::INGEST_SECONDS)],
            ),
            panel(
                "Duplicates a second",
                "short",
                &[
                    Query::RateOf(&m::EVENTS_INGESTED, "result", "duplicate"),
                    Query::RateOf(&m::EVENTS_PROCESSED, "result", "held"),
                ],
            ),
        ],
    },
    Row {
        title: "What is worked on",
        panels: &[
            panel(
                "Events worked on a second",
                "short",
                &[Query::Rate(&m::EVENTS_PROCESSED, Some("result"))],
            ),
            panel(
                "Wait in the queue",
                "s",
                &[Query::Quantiles(&m::QUEUE_WAIT_SECONDS)],
            ),
            panel(
                "Work on a batch",
                "s",
                &[Query::Quantiles(&m::PROCESS_SECONDS)],
            ),
            panel(
                "From the event out there to rows",
                "s",
                &[Query::Quantiles(&m::END_TO_END_SECONDS)],
            ),
            panel(
                "Rows written a second",
                "short",
                &[Query::Rate(&m::ROWS_WRITTEN, Some("how"))],
            ),
            panel(
                "Actions, and events folded again, a second",
                "short",
                &[
                    Query::Rate(&m::ACTIONS, None),
                    Query::Rate(&m::EVENTS_FOLDED, None),
                ],
            ),
        ],
    },
    Row {
        title: "What is late",
        panels: &[
            panel(
                "Late events a second, by how late",
                "short",
                &[Query::Rate(&m::EVENTS_LATE, Some("lateness"))],
            ),
            panel(
                "Share of late events",
                "percentunit",
                &[Query::Share(&m::EVENTS_LATE, &m::EVENTS_PROCESSED)],
            ),
            panel("How late", "s", &[Query::Quantiles(&m::LATENESS_SECONDS)]),
            panel(
                "Rows found out of order a second (policy detect)",
                "short",
                &[Query::Rate(&m::ROWS_LATE, None)],
            ),
        ],
    },
    Row {
        title: "What goes wrong",
        panels: &[
            panel(
                "Messages tried again a second",
                "short",
                &[
                    Query::Rate(&m::MESSAGES_RECEIVED, None),
                    Query::Rate(&m::RETRIES, None),
                    Query::Rate(&m::MESSAGES_FAILED, None),
                ],
            ),
            panel(
                "Events parked a second",
                "short",
                &[Query::Rate(&m::EVENTS_PARKED, None)],
            ),
            panel(
                "Races and locks a second",
                "short",
                &[
                    Query::Rate(&m::WRITE_CONFLICTS, None),
                    Query::Rate(&m::LOCKED_OUT, None),
                ],
            ),
            panel(
                "Queries without their index, rows out of order",
                "short",
                &[
                    Query::Value(&m::INDEX_FAULTS, None),
                    Query::Value(&m::ROWS_LATE_OPEN, None),
                ],
            ),
        ],
    },
    Row {
        title: "Replay, settings, stores",
        panels: &[
            panel(
                "Rows compared by the last replay",
                "short",
                &[Query::Value(&m::REPLAY_ROWS, None)],
            ),
            panel(
                "How long the last replay took",
                "s",
                &[Query::Value(&m::REPLAY_SECONDS, None)],
            ),
            panel(
                "Replays and differences mended a second",
                "short",
                &[
                    Query::Rate(&m::REPLAYS, None),
                    Query::Rate(&m::FINDINGS_MENDED, None),
                ],
            ),
            panel(
                "Look-ups of settings a second",
                "short",
                &[Query::Rate(&m::SETTINGS_LOOKUPS, Some("result"))],
            ),
            panel(
                "Requests to stores a second",
                "short",
                &[Query::Rate(&m::STORE_REQUESTS, Some("store"))],
            ),
            panel(
                "95 % of requests to stores take",
                "s",
                &[Query::Most(&m::STORE_SECONDS, Some("store"))],
            ),
            panel(
                "Spans a second",
                "short",
                &[Query::Rate(&m::SPANS, Some("result"))],
            ),
        ],
    },
];

impl Query {
    /// The metrics that it asks for.
    #[must_use]
    pub fn metrics(&self) -> Vec<&'static Metric> {
        match self {
            Self::Rate(metric, _)
            | Self::RateOf(metric, _, _)
            | Self::Value(metric, _)
            | Self::Quantiles(metric)
            | Self::Most(metric, _) => vec![metric],
            Self::Share(part, whole) => vec![part, whole],
        }
    }

    /// The labels that it tells apart, each with its metric.
    #[must_use]
    pub fn labels(&self) -> Option<(&'static Metric, &'static str)> {
        match self {
            Self::Rate(metric, by) | Self::Value(metric, by) | Self::Most(metric, by) => {
                by.map(|by| (*metric, by))
            }
            Self::RateOf(metric, label, _) => Some((metric, label)),
            Self::Quantiles(_) | Self::Share(_, _) => None,
        }
    }
}

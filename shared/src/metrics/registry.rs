//! Every metric there is.

use super::{Kind, Label, Metric, Unit, Values};

/// Microseconds of a millisecond.
const MS: u64 = 1_000;
/// Microseconds of a second.
const S: u64 = 1_000 * MS;
/// Microseconds of a day.
const DAY: u64 = 86_400 * S;

/// For what this side takes.
const STEPS: Kind = Kind::Histogram(&[
    MS,
    2_500,
    5 * MS,
    10 * MS,
    25 * MS,
    50 * MS,
    100 * MS,
    250 * MS,
    500 * MS,
    S,
    2_500 * MS,
    5 * S,
    10 * S,
    30 * S,
    60 * S,
    300 * S,
]);
/// For what begins with the sender.
const JOURNEYS: Kind = Kind::Histogram(&[
    100 * MS,
    S,
    5 * S,
    15 * S,
    60 * S,
    300 * S,
    900 * S,
    3_600 * S,
    14_400 * S,
    DAY,
    7 * DAY,
    30 * DAY,
]);

const TENANT: Label = Label {
    name: "tenant",
    dimension: None,
    values: Values::Tenants,
};

const fn label(
    name: &'static str,
    dimension: &'static str,
    values: &'static [&'static str],
) -> Label {
    Label {
        name,
        dimension: Some(dimension),
        values: Values::Of(values),
    }
}

macro_rules! metrics {
    ($($constant:ident $name:literal $cloudwatch:literal $kind:expr, $unit:ident, [$($label:expr),*], $help:literal;)*) => {
        $(
            #[doc = $help]
            pub static $constant: Metric = Metric {
                name: $name,
                cloudwatch: $cloudwatch,
                kind: $kind,
                unit: Unit::$unit,
                labels: &[$($label),*],
                help: $help,
            };
        )*
        /// All of them.
        pub static ALL: &[&Metric] = &[$(&$constant),*];
    };
}

metrics! {
    REQUESTS "foldback_webhook_requests_total" "WebhookRequests" Kind::Counter, Count,
        [label("status", "Status", &["202", "400", "401", "403", "404", "405", "409", "413", "415", "500", "503", "other"])],
        "Requests of webhooks by the status they were answered with";
    INGEST_SECONDS "foldback_ingest_seconds" "IngestTime" STEPS, Seconds, [],
        "From a request's arrival to its events standing in the journal and the queue";
    EVENTS_INGESTED "foldback_events_ingested_total" "EventsIngested" Kind::Counter, Count,
        [label("result", "Result", &["new", "duplicate", "conflict", "rejected"]), TENANT],
        "Events that came in: new, known before, known with other content, refused";

    QUEUE_WAIT_SECONDS "foldback_queue_wait_seconds" "QueueAge" STEPS, Seconds, [],
        "From a message's sending to its receive";
    PROCESS_SECONDS "foldback_process_seconds" "ProcessTime" STEPS, Seconds, [],
        "From the receive of a batch of messages to its rows standing in the store";
    ARRIVAL_SECONDS "foldback_arrival_to_rows_seconds" "ArrivalToRows" STEPS, Seconds, [],
        "From an event's arrival to its rows standing in the store";
    END_TO_END_SECONDS "foldback_end_to_end_seconds" "EndToEnd" JOURNEYS, Seconds, [],
        "From the time that an event happened, by its sender's clock, to its rows standing in the store";
    MESSAGES_RECEIVED "foldback_messages_received_total" "MessagesReceived" Kind::Counter, Count, [],
        "Messages received to be worked on";
    MESSAGES_FAILED "foldback_messages_failed_total" "MessagesFailed" Kind::Counter, Count, [],
        "Messages left for another try, or parked after their last one";
    RETRIES "foldback_message_retries_total" "MessageRetries" Kind::Counter, Count, [],
        "Messages received that had been received before";
    EVENTS_PROCESSED "foldback_events_processed_total" "EventsProcessed" Kind::Counter, Count,
        [label("result", "Result", &["applied", "held", "unmapped", "copy"])],
        "Events worked on: taken in by rows, held by them already, mapped by no rule, stated by another group";
    EVENTS_PARKED "foldback_events_parked_total" "EventsParked" Kind::Counter, Count, [TENANT],
        "Events put into the dead-letter queue";
    EVENTS_LATE "foldback_events_late_total" "LateEvents" Kind::Counter, Count,
        [label("lateness", "Lateness", &["under_1m", "1m_to_1h", "1h_to_1d", "over_1d"]), TENANT],
        "Events that came after a later one of their row was applied, by how late";
    LATENESS_SECONDS "foldback_lateness_seconds" "Lateness" JOURNEYS, Seconds, [],
        "How late those events were, in time out there";
    ROWS_LATE "foldback_late_rows_total" "LateRows" Kind::Counter, Count, [],
        "Rows under policy detect found out of order after they were written";
    ACTIONS "foldback_actions_total" "Actions" Kind::Counter, Count, [],
        "Actions run, children included";
    ROWS_WRITTEN "foldback_rows_written_total" "RowsWritten" Kind::Counter, Count,
        [label("how", "How", &["in_order", "refolded"])],
        "Rows written: from the stored row alone, from their journal";
    EVENTS_FOLDED "foldback_events_folded_total" "EventsFolded" Kind::Counter, Count, [],
        "Events read from the journal and folded because something was out of order";
    WRITE_CONFLICTS "foldback_write_conflicts_total" "WriteConflicts" Kind::Counter, Count, [],
        "Writes that lost a race and were made again";
    LOCKED_OUT "foldback_messages_locked_out_total" "MessagesLockedOut" Kind::Counter, Count, [],
        "Messages left for another try because somebody else held a lock; these did not fail";

    QUEUE_MESSAGES "foldback_queue_messages" "QueueMessages" Kind::Gauge, Count,
        [label("state", "State", &["visible", "in_flight", "dead"])],
        "Messages in the queue: waiting, being worked on, in the dead-letter queue";
    QUEUE_OLDEST_SECONDS "foldback_queue_oldest_seconds" "QueueOldest" Kind::Gauge, Seconds, [],
        "Age of the oldest message in the queue";

    FINDINGS "foldback_findings" "Findings" Kind::Gauge, Count,
        [label("class", "Class", &["late", "lost", "extra", "foreign", "stale", "parked", "missing", "orphan"])],
        "Rows that differed from the fold of their events when replay last looked at all of them, by class";
    REPLAYS "foldback_replays_total" "Replays" Kind::Counter, Count, [],
        "Runs of replay that came to their end";
    REPLAY_ROWS "foldback_replay_rows" "ReplayRows" Kind::Gauge, Count, [],
        "Rows compared by the last run of replay";
    REPLAY_SECONDS "foldback_replay_seconds" "ReplayTime" Kind::Gauge, Seconds, [],
        "How long the last run of replay took";
    FINDINGS_MENDED "foldback_findings_mended_total" "FindingsMended" Kind::Counter, Count, [],
        "Differences that runs of replay mended";

    INDEX_FAULTS "foldback_index_faults" "IndexFaults" Kind::Gauge, Count, [],
        "Queries that the last report found to run without the index that was made for them";

    ROWS_LATE_OPEN "foldback_late_rows_open" "LateRowsOpen" Kind::Gauge, Count, [],
        "Rows under policy detect that were found out of order and that nothing had mended by the last report";

    SETTINGS_LOOKUPS "foldback_settings_lookups_total" "SettingsLookups" Kind::Counter, Count,
        [label("result", "Result", &["hit", "miss"])],
        "Times that settings were wanted: at hand, asked of the store";
    SPANS "foldback_spans_total" "Spans" Kind::Counter, Count,
        [label("result", "Result", &["exported", "failed", "dropped"])],
        "Spans of traces: exported, not taken by the collector, dropped because too many waited";
    STORE_REQUESTS "foldback_store_requests_total" "StoreRequests" Kind::Counter, Count,
        [label("store", "Store", &["journal", "queue", "tables", "locks", "reports"]), label("result", "Result", &["ok", "error"])],
        "Requests to the stores by port: round trips, where a store is a server";
    STORE_SECONDS "foldback_store_request_seconds" "StoreTime" STEPS, Seconds,
        [label("store", "Store", &["journal", "queue", "tables", "locks", "reports"])],
        "How long those requests took";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// <https://prometheus.io/docs/practices/naming/>
    #[test]
    fn names_follow_the_conventions() {
        let mut names = BTreeSet::new();
        for metric in ALL {
            let Metric { name, kind, .. } = metric;
            assert!(
                names.insert(*name) && names.insert(metric.cloudwatch),
                "{name} is there twice"
            );
            assert!(name.starts_with("foldback_"), "{name}");
            let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(name.chars().all(legal), "{name}");
            assert!(
                metric.cloudwatch.chars().all(char::is_alphanumeric),
                "{name}"
            );
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert_eq!(
                name.ends_with("_seconds"),
                metric.unit == Unit::Seconds,
                "{name}"
            );
            assert!(
                !metric.help.ends_with('.') && metric.help.len() > 20,
                "{name}"
            );
        }
    }

    #[test]
    fn buckets_rise() {
        for metric in ALL {
            if let Kind::Histogram(bounds) = metric.kind {
                assert!(bounds.is_sorted_by(|a, b| a < b), "{}", metric.name);
            }
        }
    }

    /// A series for each set of labels; tenants are at most [`super::super::TENANTS_MAX`] and one.
    #[test]
    fn there_are_not_too_many_series() {
        let series = |metric: &Metric| -> usize {
            let values = metric.labels.iter().map(|label| match label.values {
                Values::Of(values) => values.len() + 1,
                Values::Tenants => super::super::TENANTS_MAX + 1,
            });
            let buckets = match metric.kind {
                Kind::Counter | Kind::Gauge => 1,
                Kind::Histogram(bounds) => bounds.len() + 3,
            };
            values.product::<usize>() * buckets
        };
        let all: usize = ALL.iter().map(|metric| series(metric)).sum();
        assert!(all < 1_000, "{all}");
    }
}

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::model::{Timestamp, Traffic};
use crate::ports::Error;
use crate::service::Processed;

use super::item::{PK, SK, text, text_of};
use super::{Aws, failed};

/// How long an hour's tally is kept.
const KEPT_SECONDS: i64 = 35 * 86_400;
/// Over so many items an hour's tally is spread, so that many workers do not wait for one.
const SHARDS: u32 = 8;
const PARTITION: &str = "tally";
const HOUR: usize = "2026-03-01T09".len();

impl Aws {
    /// Counts what a batch came to in the tally of its hour, and how long its messages had waited. A batch that
    /// comes again counts again.
    ///
    /// # Errors
    /// The table failed.
    pub async fn tally(
        &self,
        done: &Processed,
        waited_ms: i64,
        now: Timestamp,
    ) -> Result<(), Error> {
        let counted = traffic(done);
        let fields = [
            ("events", counted.events),
            ("held", counted.held),
            ("unmapped", counted.unmapped),
            ("parked", counted.parked),
            ("late", counted.late),
            ("lateMinutes", counted.late_minutes),
            ("lateHours", counted.late_hours),
            ("lateDays", counted.late_days),
        ];
        let mut update = self
            .dynamo
            .update_item()
            .table_name(&self.names.state_table)
            .key(PK, text(PARTITION))
            .key(SK, text(place(now, fastrand::u32(0..SHARDS))));
        let mut expression = String::from("SET expires = :expires ADD waited :waited, ");
        let expires = now.ms() / 1_000 + KEPT_SECONDS;
        let number = |number: String| AttributeValue::N(number);
        let waited = AttributeValue::Ns(vec![rounded_seconds(waited_ms).to_string()]);
        update = update
            .expression_attribute_values(":expires", number(expires.to_string()))
            .expression_attribute_values(":waited", waited);
        for (place, (name, count)) in fields.iter().enumerate() {
            if *count > 0 || place == 0 {
                let comma = if place == 0 { "" } else { ", " };
                expression.push_str(&format!("{comma}#{name} :{name}"));
                update = update
                    .expression_attribute_names(format!("#{name}"), *name)
                    .expression_attribute_values(format!(":{name}"), number(count.to_string()));
            }
        }
        let updated = update.update_expression(expression).send().await;
        updated.map_err(failed("count what was processed"))?;
        Ok(())
    }

    /// The tallies since a moment, an hour each, the oldest first.
    ///
    /// # Errors
    /// The table failed.
    pub async fn traffic(&self, since: Timestamp) -> Result<Vec<Traffic>, Error> {
        let doing = "read what was processed";
        let mut pages = self
            .dynamo
            .query()
            .table_name(&self.names.state_table)
            .key_condition_expression("pk = :tally AND sk >= :since")
            .expression_attribute_values(":tally", text(PARTITION))
            .expression_attribute_values(":since", text(hour(since)))
            .into_paginator()
            .send();
        let mut hours: BTreeMap<String, Traffic> = BTreeMap::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(failed(doing))?;
            for item in page.items() {
                let Some(hour) = text_of(item, SK)?.get(..HOUR) else {
                    continue;
                };
                let number = |name: &str| -> u64 {
                    let number = item.get(name).and_then(|value| value.as_n().ok());
                    number.and_then(|text| text.parse().ok()).unwrap_or(0)
                };
                let sum = hours.entry(hour.to_owned()).or_default();
                sum.hour = hour.into();
                sum.events += number("events");
                sum.held += number("held");
                sum.unmapped += number("unmapped");
                sum.parked += number("parked");
                sum.late += number("late");
                sum.late_minutes += number("lateMinutes");
                sum.late_hours += number("lateHours");
                sum.late_days += number("lateDays");
                let waited = item.get("waited").and_then(|value| value.as_ns().ok());
                let waited = waited.into_iter().flatten();
                let longest = waited.filter_map(|text| text.parse().ok()).max();
                sum.waited_seconds_max = sum.waited_seconds_max.max(longest.unwrap_or(0));
            }
        }
        Ok(hours.into_values().collect())
    }
}

/// DynamoDB adds to numbers and to sets, and knows no greatest of two. So a tally has the set of all waits;
/// rounded to powers of two, they are few.
fn rounded_seconds(ms: i64) -> u64 {
    let seconds = u64::try_from(ms).unwrap_or(0).div_ceil(1_000);
    seconds.checked_next_power_of_two().unwrap_or(seconds)
}

fn hour(at: Timestamp) -> String {
    at.to_string().get(..HOUR).unwrap_or_default().to_owned()
}

fn place(now: Timestamp, shard: u32) -> String {
    format!("{}#{shard}", hour(now))
}

fn traffic(done: &Processed) -> Traffic {
    let later_than = |ms: i64| done.late.iter().filter(|(_, late)| late.ms > ms).count() as u64;
    Traffic {
        hour: "".into(),
        events: done.events,
        held: done.held,
        unmapped: done.unmapped,
        parked: done.parked.len() as u64,
        late: done.late.len() as u64,
        late_minutes: later_than(60_000),
        late_hours: later_than(3_600_000),
        late_days: later_than(86_400_000),
        waited_seconds_max: 0,
    }
}

//! What events need and cost on AWS, and which limit is reached first.
//!
//! What an event needs was measured: `cargo bench -p foldback-tests --bench aws` counts what the adapters ask
//! an emulator for (README, "Events on AWS"). The limits are those that AWS publishes for an account that has
//! asked for no more; regions and accounts differ.

use clap::Args;

use super::number::{float, short};
use super::outcome::Outcome;

/// Seconds of an average month.
pub(crate) const MONTH_SECONDS: f64 = 2_629_746.0;

/// Requests by 1,000 events, by events a request to `ingest`: SQS requests of 64 KB, write units, read units.
const IN_ORDER: [(f64, [f64; 3]); 3] = [
    (1.0, [1_200.0, 2_187.0, 44.0]),
    (10.0, [183.0, 1_541.0, 44.0]),
    (100.0, [69.0, 1_322.0, 44.0]),
];
/// The same of a feed in a random permutation, 100 events a request.
const SHUFFLED: [f64; 3] = [244.0, 1_962.0, 833.0];
/// Messages of one call of `process`.
const CALL_MESSAGES: f64 = 10.0;
const INGEST_GB: f64 = 0.25;
const PROCESS_GB: f64 = 0.5;
/// What `ingest` takes for a request, in milliseconds: its writes go side by side.
const INGEST_MS: f64 = 20.0;

/// List prices of us-east-1 in USD, and what of a deployment this machine cannot tell.
#[derive(Debug, Clone, Args)]
pub(crate) struct Terms {
    /// Events of one request to `ingest`.
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    per_request: f64,
    /// Milliseconds that a call of `process` takes for ten messages: mostly waiting for MongoDB and
    /// DynamoDB. Assumed; the duration that the function's metrics show says it.
    #[arg(long, value_name = "MS", default_value_t = 100.0)]
    call_ms: f64,
    /// A million requests to SQS FIFO, each of up to 64 KB.
    #[arg(long, value_name = "USD", default_value_t = 0.50)]
    sqs: f64,
    /// A million write units of DynamoDB on demand.
    #[arg(long, value_name = "USD", default_value_t = 0.625)]
    write: f64,
    /// A million read units.
    #[arg(long, value_name = "USD", default_value_t = 0.125)]
    read: f64,
    /// A GB-second of Lambda on arm64.
    #[arg(long, value_name = "USD", default_value_t = 0.000_013_333_4)]
    gb_second: f64,
    /// A million requests to Lambda.
    #[arg(long, value_name = "USD", default_value_t = 0.20)]
    calls: f64,
    /// Calls to SQS FIFO a second, of one kind, in high-throughput mode: 70,000 in the largest regions, 2,400
    /// in the smallest.
    #[arg(long, value_name = "N", default_value_t = 70_000.0)]
    sqs_limit: f64,
    /// Write units a second of one DynamoDB table.
    #[arg(long, value_name = "N", default_value_t = 40_000.0)]
    write_limit: f64,
    /// Calls of Lambda at one time.
    #[arg(long, value_name = "N", default_value_t = 1_000.0)]
    lambda_limit: f64,
}

/// What an event of a workload is like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shape {
    /// Share of the events that refold their lead.
    pub(crate) disorder: f64,
    /// Copies for daily rows, an event.
    pub(crate) stated: f64,
    /// Rows written, an event.
    pub(crate) rows: f64,
}

/// A need beside its limit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Need {
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) needed: f64,
    /// `None` where nobody publishes one.
    pub(crate) limit: Option<f64>,
    /// The rate of all events at which it is reached.
    pub(crate) reached_at: Option<f64>,
}

/// What a rate needs and costs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cloud {
    /// The first limit to be reached first.
    pub(crate) needs: Vec<Need>,
    /// USD by a million events, by service.
    pub(crate) prices: Vec<(&'static str, f64)>,
    /// What is not as it was measured.
    pub(crate) extrapolates: Vec<String>,
}

impl Shape {
    /// That of a scenario's runs.
    pub(crate) fn of(outcome: &Outcome) -> Self {
        let sum = |of: fn(&super::outcome::Point) -> u64| -> f64 {
            float(outcome.points.iter().map(of).sum())
        };
        let done = sum(|point| point.done).max(1.0);
        let events = &outcome.scenario.events;
        Self {
            disorder: if events.shuffled {
                1.0
            } else {
                ((events.late + events.resent) / 100.0).min(1.0)
            },
            stated: sum(|point| point.sums.stated) / done,
            rows: sum(|point| point.sums.rows) / done,
        }
    }
}

impl Terms {
    /// What this many events a second of so many tenants need and cost.
    pub(crate) fn cloud(&self, rate: f64, tenants: f64, shape: Shape) -> Cloud {
        let [sqs, write, read] = self.per_event(shape);
        // Leads are many: the events of a request are of different ones, a message each.
        let calls = rate / CALL_MESSAGES.min(self.per_request.max(1.0));
        let requests = rate / self.per_request.max(1.0);
        let at_once = calls * self.call_ms / 1_000.0 + requests * INGEST_MS / 1_000.0;
        // The copies that a call states for one tenant's day travel as one message; a group has one batch of
        // ten messages in flight.
        let copies = rate * shape.stated / tenants.max(1.0);
        let in_message = (shape.stated * CALL_MESSAGES / tenants.max(1.0)).max(1.0);
        let day_limit = in_message * CALL_MESSAGES / (self.call_ms / 1_000.0);
        let limits = [
            (
                "SQS FIFO, sends of all groups",
                "requests/s",
                rate * sqs / 3.0,
                Some(self.sqs_limit),
            ),
            (
                "SQS FIFO, one tenant's day (hot group)",
                "copies/s",
                copies,
                Some(day_limit),
            ),
            (
                "DynamoDB, journal table",
                "write units/s",
                rate * write,
                Some(self.write_limit),
            ),
            (
                "DynamoDB, one tenant's day (hot partition)",
                "write units/s",
                copies / in_message,
                Some(1_000.0),
            ),
            (
                "Lambda, calls at once",
                "calls",
                at_once,
                Some(self.lambda_limit),
            ),
            ("MongoDB, transactions", "a second", calls, None),
            ("MongoDB, rows written", "a second", rate * shape.rows, None),
        ];
        let mut needs: Vec<Need> = limits
            .into_iter()
            .map(|(what, unit, needed, limit)| Need {
                what,
                unit,
                needed,
                limit,
                reached_at: limit
                    .filter(|_| needed > 0.0)
                    .map(|limit| rate * limit / needed),
            })
            .collect();
        let order = |need: &Need| need.reached_at.unwrap_or(f64::INFINITY);
        needs.sort_by(|one, other| order(one).total_cmp(&order(other)));
        let million = 1e6;
        let seconds = calls / rate * self.call_ms / 1_000.0 * PROCESS_GB
            + requests / rate * INGEST_MS / 1_000.0 * INGEST_GB;
        Cloud {
            needs,
            prices: vec![
                ("SQS", sqs * self.sqs),
                ("DynamoDB writes", write * self.write),
                ("DynamoDB reads", read * self.read),
                ("Lambda requests", (calls + requests) / rate * self.calls),
                ("Lambda GB-seconds", seconds * million * self.gb_second),
            ],
            extrapolates: self.extrapolates(shape),
        }
    }

    /// Requests and units of one event: between what was measured, linear in the logarithm of the events a
    /// request and in the share that comes late.
    fn per_event(&self, shape: Shape) -> [f64; 3] {
        let [(_, one), (_, ten), (_, hundred)] = IN_ORDER;
        let place = self.per_request.max(1.0).log10().min(2.0);
        let (low, high, share) = if place <= 1.0 {
            (one, ten, place)
        } else {
            (ten, hundred, place - 1.0)
        };
        let mut needs = [0.0; 3];
        let measured = low.iter().zip(high).zip(hundred).zip(SHUFFLED);
        for (need, (((low, high), hundred), shuffled)) in needs.iter_mut().zip(measured) {
            let in_order = low + (high - low) * share;
            // Disorder adds what it added where it was measured.
            let more = (shuffled - hundred) * shape.disorder;
            *need = (in_order + more) / 1_000.0;
        }
        needs
    }

    fn extrapolates(&self, shape: Shape) -> Vec<String> {
        let mut notes = vec![
            format!(
                "requests by event are those of the BPI 2012 log, between 1 and 100 events a request; here {}",
                short(self.per_request)
            ),
            format!(
                "a call of `process` is taken to last {} ms: measure yours, and give it by --call-ms",
                short(self.call_ms)
            ),
            "MongoDB publishes no limit; `foldback bench --mongodb URI` measures yours".to_owned(),
        ];
        if self.per_request > 100.0 {
            notes.push("more than 100 events a request count as 100".to_owned());
        }
        if shape.disorder > 0.0 && shape.disorder < 1.0 {
            notes.push("between order and permutation, needs are taken to be linear".to_owned());
        }
        notes
    }
}

impl Cloud {
    /// USD by a million events.
    pub(crate) fn price(&self) -> f64 {
        self.prices.iter().map(|(_, usd)| usd).sum()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Options {
        #[command(flatten)]
        terms: Terms,
    }

    fn terms(options: &[&str]) -> Terms {
        let words = std::iter::once(&"bench").chain(options);
        Options::try_parse_from(words).expect("options").terms
    }

    const IN_ORDER_SHAPE: Shape = Shape {
        disorder: 0.0,
        stated: 0.4,
        rows: 2.0,
    };

    /// At the points that were measured, the price without Lambda's is the README's.
    #[test]
    fn prices_are_those_that_were_measured() {
        let check = |per_request: &str, disorder: f64, expect: f64| {
            let shape = Shape {
                disorder,
                ..IN_ORDER_SHAPE
            };
            let cloud = terms(&["--per-request", per_request]).cloud(100.0, 4.0, shape);
            let stores: f64 = cloud.prices.iter().take(3).map(|(_, usd)| usd).sum();
            assert!((stores - expect).abs() < 0.01, "{per_request}: {stores}");
        };
        check("1", 0.0, 0.6 + 1.367 + 0.005_5);
        check("10", 0.0, 0.091_5 + 0.963 + 0.005_5);
        check("100", 0.0, 0.034_5 + 0.826 + 0.005_5);
        check("100", 1.0, 0.122 + 1.226 + 0.104);
    }

    /// Twice the rate needs twice as much; the limit that is reached first does not move.
    #[test]
    fn limits_are_reached_in_an_order() {
        let at = |rate: f64, tenants: f64| terms(&[]).cloud(rate, tenants, IN_ORDER_SHAPE);
        let (one, two) = (at(500.0, 4.0), at(1_000.0, 4.0));
        for (one, two) in one.needs.iter().zip(&two.needs) {
            assert_eq!(one.what, two.what);
            assert!((two.needed / one.needed - 2.0).abs() < 1e-9, "{}", one.what);
            assert_eq!(
                one.reached_at.map(f64::round),
                two.reached_at.map(f64::round)
            );
        }
        let first = |cloud: &Cloud| cloud.needs.first().map(|need| need.what);
        assert_eq!(
            first(&at(500.0, 1.0)),
            Some("SQS FIFO, one tenant's day (hot group)")
        );
        assert_eq!(first(&at(500.0, 1_000.0)), Some("DynamoDB, journal table"));
    }
}

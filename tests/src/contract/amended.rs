//! Amendments and withdrawals across groups: an event that is told otherwise later, of another day or another
//! lead, or that is taken back, leaves nothing behind.

use super::tellings::{Scenario, check, settings};
use super::together::AllPorts;
use super::{Fixture, Still};

suite! { $ amended_suite, amended: AllPorts;
    amended_events_are_exact_wherever_a_worker_dies,
    amended_events_added_up_are_exact_wherever_a_worker_dies,
}

const HOUR_MS: i64 = 3_600_000;

/// One conversion goes to another day and comes back, one to another lead and back on another day, one to
/// another lead for good; some are taken back, by who names their lead or by who does not.
const WAVES: &[&[&str]] = &[
    &[
        "day a lead.converted 0 amount=250",
        "lead b lead.converted 1 amount=70",
        "gone a lead.created 2",
        "met b appointment.completed 5 appointment=1",
        "open b appointment.scheduled 6 appointment=2",
        "only a lead.updated 7 stage=new",
    ],
    &[
        "day a lead.converted 1450 amount=40 rev=1",
        "lead a lead.converted 1 amount=70 rev=1",
        "open - appointment.scheduled 6 rev=1 withdrawn",
    ],
    &[
        "day a lead.converted 10 amount=5 rev=2",
        "lead b lead.converted 1441 amount=7 rev=2",
        "met a appointment.completed 4 appointment=3 rev=1",
        "gone b lead.created 2 rev=4 withdrawn",
    ],
];

const TRUTH: &[&str] = &[
    "day a lead.converted 10 amount=5",
    "lead b lead.converted 1441 amount=7",
    "met a appointment.completed 4 appointment=3",
    "only a lead.updated 7 stage=new",
];

async fn exact<F: Fixture<Ports: AllPorts>>(fixture: &mut F, policy: &str) {
    fixture.pass(HOUR_MS).await;
    let days = format!("[tenant.tables.RSTenantDailyConversions]\npolicy = \"{policy}\"");
    let scenario = Scenario {
        settings: settings(&days),
        waves: WAVES,
        truth: TRUTH,
        leads: &["a", "b"],
        appointments: &[],
        every_way: F::DIES_IN_EVERY_WAY,
    };
    check(fixture.ports(), &Still(fixture.now()), &scenario).await;
}

async fn amended_events_are_exact_wherever_a_worker_dies(
    fixture: &mut impl Fixture<Ports: AllPorts>,
) {
    exact(fixture, "correct").await;
}

async fn amended_events_added_up_are_exact_wherever_a_worker_dies(
    fixture: &mut impl Fixture<Ports: AllPorts>,
) {
    exact(fixture, "atomic").await;
}

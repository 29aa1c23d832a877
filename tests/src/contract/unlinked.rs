//! Appointments whose events need not name their lead: whichever comes first, the one that links them or the
//! others, their lead's rows and its days follow.

use super::tellings::{Scenario, check, settings};
use super::together::AllPorts;
use super::{Fixture, Still};

suite! { $ unlinked_suite, unlinked: AllPorts;
    leads_have_their_appointments_wherever_a_worker_dies,
    amended_links_are_followed_wherever_a_worker_dies,
}

const HOUR_MS: i64 = 3_600_000;

async fn exact<F: Fixture<Ports: AllPorts>>(
    fixture: &mut F,
    waves: &'static [&'static [&'static str]],
    truth: &'static [&'static str],
) {
    fixture.pass(HOUR_MS).await;
    let scenario = Scenario {
        settings: settings("appointments = \"by_id\""),
        waves,
        truth,
        leads: &["a", "b"],
        appointments: &["m", "n", "alone"],
        every_way: F::DIES_IN_EVERY_WAY,
    };
    check(fixture.ports(), &Still(fixture.now()), &scenario).await;
}

/// One of an appointment's events names its lead, later another one another lead; one appointment stays alone.
async fn leads_have_their_appointments_wherever_a_worker_dies(
    fixture: &mut impl Fixture<Ports: AllPorts>,
) {
    const EVENTS: &[&str] = &[
        "born a lead.created 1",
        "m1 - appointment.scheduled 2 appointment=m",
        "x1 - appointment.scheduled 3 appointment=alone",
        "n1 - appointment.scheduled 4 appointment=n",
        "m2 a appointment.started 10 appointment=m",
        "n2 a appointment.started 11 appointment=n",
        "n3 - appointment.completed 12 appointment=n",
        "n4 b appointment.completed 1450 appointment=n",
        "m3 - appointment.completed 20 appointment=m",
    ];
    const WAVES: &[&[&str]] = &[
        &[EVENTS[0], EVENTS[1], EVENTS[2], EVENTS[3]],
        &[EVENTS[4], EVENTS[5], EVENTS[6]],
        &[EVENTS[7], EVENTS[8]],
    ];
    exact(fixture, WAVES, EVENTS).await;
}

/// What links is amended and withdrawn, and an event goes over to another appointment.
async fn amended_links_are_followed_wherever_a_worker_dies(
    fixture: &mut impl Fixture<Ports: AllPorts>,
) {
    const WAVES: &[&[&str]] = &[
        &[
            "m1 - appointment.scheduled 2 appointment=m",
            "m2 a appointment.completed 10 appointment=m",
            "n1 a appointment.scheduled 11 appointment=n",
            "x1 a appointment.scheduled 12 appointment=alone",
        ],
        &[
            "m2 b appointment.completed 10 appointment=m rev=1",
            "n2 - appointment.completed 1450 appointment=n",
            "x1 - appointment.scheduled 12 appointment=alone rev=1",
        ],
        &[
            "m1 - appointment.started 3 appointment=n rev=1",
            "n2 - appointment.completed 1450 rev=1 withdrawn",
        ],
    ];
    const TRUTH: &[&str] = &[
        "m2 b appointment.completed 10 appointment=m",
        "n1 a appointment.scheduled 11 appointment=n",
        "m1 - appointment.started 3 appointment=n",
        "x1 - appointment.scheduled 12 appointment=alone",
    ];
    exact(fixture, WAVES, TRUTH).await;
}

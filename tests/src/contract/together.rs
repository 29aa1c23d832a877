//! What ports of one deployment must do with each other, whichever adapters they are.

use std::sync::Arc;

use shared::model::{Class, Entry, Event, Finding};
use shared::ports::Appended::New;
use shared::ports::{
    Committed, Hierarchies, Journal, Locks, Partition, Queue, Received, Reports, Tables, Waiting,
};
use shared::service::{
    Duplicates, Mode, Parked, Processed, Replay, Replayed, Scope, ingest, process,
};

use super::{Fixture, Still};
use crate::fixtures::{entry, event, group, happened, lead, lead_key, plain, settings, write};

/// All that the flow needs.
pub trait AllPorts: Journal + Queue + Waiting + Tables + Hierarchies + Locks + Reports {}
impl<P: Journal + Queue + Waiting + Tables + Hierarchies + Locks + Reports> AllPorts for P {}

suite! { $ together_suite, together: AllPorts;
    a_row_that_nothing_accounts_for_is_found,
    one_identity_in_two_tenants_reaches_both,
    events_flow_from_ingest_to_rows_once,
}

/// Replay goes by groups: one that has nothing but a row must not be passed over.
async fn a_row_that_nothing_accounts_for_is_found(fixture: &mut impl Fixture<Ports: AllPorts>) {
    let orphan = group("acme", "lead-2");
    let arrival = happened(&group("acme", "lead-1"), 0, "lead.created");
    ingest(fixture.ports(), &[arrival], Duplicates::Skip, fixture.now())
        .await
        .expect("ingest");
    let received = fixture
        .ports()
        .receive(10, fixture.now())
        .await
        .expect("receive");
    processed(fixture, &received).await;
    drained(fixture).await;
    let insert = write(&lead_key(&orphan), None, lead(&orphan, "open"));
    let mut made = insert.clone();
    if let Some(put) = &mut made.put {
        put.trail.settings = settings().version();
    }
    let committed = fixture.ports().commit(&[made], &[], fixture.now()).await;
    assert_eq!(committed.expect("commit"), [Committed::Done]);
    let mut found = Vec::new();
    let replayed = replayed_into(fixture, |finding| found.push(finding)).await;
    assert_eq!((replayed.groups, replayed.findings), (3, 1), "{found:?}");
    assert_eq!((found[0].class, &found[0].group), (Class::Orphan, &orphan));
}

/// Two tenants may have the same external system, and so events of the same source and id, at the
/// same moment: one's message must not pass for the other's.
async fn one_identity_in_two_tenants_reaches_both(fixture: &mut impl Fixture<Ports: AllPorts>) {
    for tenant in ["acme", "globex"] {
        let entries = [plain(&group(tenant, "lead-1"), "1")];
        let ingested = ingest(fixture.ports(), &entries, Duplicates::Skip, fixture.now()).await;
        assert_eq!(ingested.expect("ingest").appended, [New], "{tenant}");
    }
    let received = fixture
        .ports()
        .receive(10, fixture.now())
        .await
        .expect("receive");
    let mut tenants: Vec<_> = received
        .iter()
        .map(|one| one.message.group.tenant.as_str())
        .collect();
    tenants.sort_unstable();
    assert_eq!(tenants, ["acme", "globex"]);
}

async fn processed(fixture: &impl Fixture<Ports: AllPorts>, received: &[Received]) -> Processed {
    let clock = Still(fixture.now());
    let processed = process(fixture.ports(), &clock, &settings(), received).await;
    processed.expect("process")
}

/// Handles what groups stated to others.
async fn drained(fixture: &impl Fixture<Ports: AllPorts>) -> Processed {
    let mut all = Processed::default();
    loop {
        let received = fixture.ports().receive(10, fixture.now()).await;
        let received = received.expect("receive");
        if received.is_empty() {
            return all;
        }
        all.add(processed(fixture, &received).await);
    }
}

async fn replayed(fixture: &impl Fixture<Ports: AllPorts>) -> Replayed {
    replayed_into(fixture, |finding| panic!("{finding:?}")).await
}

async fn replayed_into(
    fixture: &impl Fixture<Ports: AllPorts>,
    found: impl FnMut(Finding),
) -> Replayed {
    let scope = Scope::Partition(Partition::WHOLE, None);
    let replay = Replay {
        ports: fixture.ports(),
        clock: &Still(fixture.now()),
        settings: &settings(),
        parked: &Parked::new(),
        grace_ms: 0,
    };
    let replayed = replay.run(&scope, Mode::Report, found, |_| {}).await;
    replayed.expect("replay")
}

/// The whole way over these ports: late events, a redelivery, a second delivery.
async fn events_flow_from_ingest_to_rows_once(fixture: &mut impl Fixture<Ports: AllPorts>) {
    let group = group("acme", "lead-1");
    let arrivals: [Arc<Entry>; 5] = [
        happened(&group, 0, "lead.created"),
        happened(&group, 20, "appointment.completed"),
        happened(&group, 10, "appointment.scheduled"),
        happened(&group, 15, "appointment.started"),
        happened(&group, 5, "lead.updated"),
    ];
    for entry in &arrivals {
        let entries = [Arc::clone(entry)];
        ingest(fixture.ports(), &entries, Duplicates::Skip, fixture.now())
            .await
            .expect("ingest");
        let received = fixture
            .ports()
            .receive(10, fixture.now())
            .await
            .expect("receive");
        let first = processed(fixture, &received).await;
        assert_eq!((first.messages, first.events), (1, 1), "{first:?}");
        let again = processed(fixture, &received).await;
        assert_eq!((again.held, again.rows), (1, 0), "{again:?}");
        let days = drained(fixture).await;
        assert_eq!((days.copies, days.events), (first.stated, 0), "{days:?}");
    }
    let unmapped = entry(
        &group,
        Event {
            kind: "x".into(),
            ..event(&group, "x")
        },
    );
    ingest(
        fixture.ports(),
        &[unmapped],
        Duplicates::Skip,
        fixture.now(),
    )
    .await
    .expect("ingest");
    let received = fixture
        .ports()
        .receive(10, fixture.now())
        .await
        .expect("receive");
    assert_eq!(processed(fixture, &received).await.unmapped, 1);

    let replayed = replayed(fixture).await;
    assert_eq!(
        (replayed.groups, replayed.events, replayed.findings),
        (2, 7, 0),
        "two events count for their day: {replayed:?}"
    );
    let saved = fixture.ports().of_group(&group).await.expect("of group");
    let late = saved.iter().filter(|one| one.late.is_some()).count();
    assert_eq!((saved.len(), late), (11, 3), "{saved:?}");
}

//! What every [`Tables`] must give when rows are read or looked for.

use shared::flow::{RowKey, Stored, Write};
use shared::handlers::Table;
use shared::model::{
    Amended, EventHash, Fingerprint, Group, Held, Order, Sequence, Stamps, Timestamp, Trail,
};
use shared::ports::Committed::Done;
use shared::ports::{Reading, Tables};

use super::Fixture;
use super::tables::{as_stored, commit, commit_all, one, read, rows_of_a_lead, stage};
use crate::fixtures::{at, converted, group, key, lead, lead_key, taking_away, write};

suite! { $ tables_reading_suite, tables_reading: Tables;
    a_read_gives_the_rows_that_exist,
    groups_are_read_whole,
    rows_do_not_run_together,
    trails_come_back_exactly,
    a_body_that_is_no_row_is_marked,
    rows_are_found_by_the_leads_id,
    rows_are_found_by_the_appointments_id,
    rows_are_found_by_tenant,
}

async fn a_read_gives_the_rows_that_exist(fixture: &mut impl Fixture<Ports: Tables>) {
    commit_all(fixture, &rows_of_a_lead(&one())).await;
    let keys = [
        key(&one(), Table::RSAppointmentChanges, "meeting"),
        key(&one(), Table::RSAppointment, "none"),
        key(&group("globex", "lead-1"), Table::RSLead, "lead-1"),
        key(&group("acme", "lead-2"), Table::RSLead, "lead-1"),
        lead_key(&one()),
    ];
    for reading in [Reading::Row, Reading::WithHistory] {
        let mut read = fixture.ports().read(&keys, reading).await.expect("read");
        read.sort_by_key(|row| row.key.table);
        let found: Vec<&RowKey> = read.iter().map(|row| &row.key).collect();
        assert_eq!(found, [&keys[4], &keys[0]]);
        let histories: Vec<_> = read
            .iter()
            .map(|row| row.history.as_ref().map(Vec::len))
            .collect();
        let expect = if reading == Reading::Row {
            None
        } else {
            Some(2)
        };
        assert_eq!(histories, [None, expect], "{reading:?}");
    }
    let none = fixture.ports().read(&[], Reading::Row).await.expect("read");
    assert_eq!(none, []);
}

async fn groups_are_read_whole(fixture: &mut impl Fixture<Ports: Tables>) {
    let (one, two) = (one(), group("globex", "lead-1"));
    let (ones, twos) = (rows_of_a_lead(&one), rows_of_a_lead(&two));
    commit_all(fixture, &ones).await;
    commit_all(fixture, &twos[..2]).await;
    let asked = [two, group("acme", "none"), one];
    let mut read = fixture
        .ports()
        .read_groups(&asked)
        .await
        .expect("read groups");
    for rows in &mut read {
        rows.sort_by(|a, b| a.key.cmp(&b.key));
    }
    let sorted = |writes: &[Write]| {
        let mut rows: Vec<Stored> = writes.iter().map(as_stored).collect();
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        rows
    };
    assert_eq!(read, [sorted(&twos[..2]), vec![], sorted(&ones)]);
}

async fn rows_do_not_run_together(fixture: &mut impl Fixture<Ports: Tables>) {
    let alike = [
        key(&group("ab", "c"), Table::RSAppointment, "d"),
        key(&group("a", "bc"), Table::RSAppointment, "d"),
        key(&group("a", "b"), Table::RSAppointment, "cd"),
        key(&group("a", "b#c"), Table::RSAppointment, "d"),
        key(&group("a", "b"), Table::RSAppointment, "c#d"),
        key(&group("a", "b"), Table::RSAppointment, "CD"),
        key(&group("a", "b"), Table::RSAppointmentChanges, "cd"),
    ];
    for key in &alike {
        let row = key.table.new_row(&key.group, &key.id);
        assert_eq!(
            commit(fixture, &[write(key, None, row)]).await,
            [Done],
            "{key:?}"
        );
    }
    for key in &alike {
        let stored = read(fixture, key).await.expect("a row");
        assert_eq!(stored.row, key.table.new_row(&key.group, &key.id));
    }
    let read = fixture
        .ports()
        .read_groups(&[group("a", "b")])
        .await
        .expect("read groups");
    assert_eq!(read[0].len(), 4);
}

async fn trails_come_back_exactly(fixture: &mut impl Fixture<Ports: Tables>) {
    let order = Order {
        time: Timestamp::MAX,
        below_ms: 999_999,
        sequence: Some(Sequence("010".into())),
        source: "//crm.example/Zürich".into(),
        id: "名前 \u{1f600}".into(),
    };
    let full = Trail {
        held: Held {
            events: 1 << 53,
            fingerprint: Fingerprint(u128::MAX),
            last: Some(order),
            taken: Some(EventHash(1 << 127)),
        },
        out_of_order: u32::MAX,
        version: 1 << 53,
        fence: 1 << 62,
        settings: u32::MAX,
        handler: 7,
        checksum: u32::MAX,
        stamps: Stamps {
            event: Timestamp::MIN,
            read_start: at(0).plus_ms(1),
            write_start: Timestamp::MAX,
        },
        amended: Some(Amended {
            until: at(7),
            open: [EventHash(1), EventHash(u128::MAX)].into(),
        }),
    };
    let empty = Trail {
        held: Held::default(),
        out_of_order: 0,
        version: 1,
        fence: 0,
        settings: 0,
        handler: 0,
        checksum: 0,
        stamps: full.stamps,
        amended: None,
    };
    let key = lead_key(&one());
    let mut expected = None;
    for trail in [empty, full] {
        let mut write = write(&key, expected, lead(&one(), "open"));
        write.put.as_mut().expect("a row").trail = trail.clone();
        commit_all(fixture, &[write]).await;
        let stored = read(fixture, &key).await.expect("a row");
        assert_eq!(stored.trail, trail);
        expected = Some(trail.version);
    }
}

/// Another writer's doing; replay has to see it, and to know which version to replace.
async fn a_body_that_is_no_row_is_marked(fixture: &mut impl Fixture<Ports: Tables>) {
    let key = lead_key(&one());
    let mut damaged = write(&key, None, lead(&one(), "open"));
    let put = damaged.put.as_mut().expect("a row");
    put.body = r#"{"leadId":"lead-1","events":"many"}"#.to_owned();
    let trail = put.trail.clone();
    commit_all(fixture, &[damaged]).await;
    let stored = read(fixture, &key).await.expect("a row, if a damaged one");
    assert!(!stored.readable);
    assert_eq!(stored.trail, trail);
    assert_eq!(stored.row, key.table.new_row(&one(), &key.id));
    commit_all(fixture, &[write(&key, Some(1), lead(&one(), "mended"))]).await;
    assert_eq!(stage(fixture, &key).await, Some(("mended".into(), 2)));
    assert!(
        read(fixture, &key)
            .await
            .is_some_and(|stored| stored.readable)
    );
}

async fn found(
    fixture: &impl Fixture<Ports: Tables>,
    tenant: Option<&str>,
    id: &str,
) -> Vec<RowKey> {
    let mut keys = fixture.ports().find(tenant, id).await.expect("find");
    keys.sort();
    keys
}

async fn rows_are_found_by_the_leads_id(fixture: &mut impl Fixture<Ports: Tables>) {
    commit_all(fixture, &rows_of_a_lead(&one())).await;
    commit_all(fixture, &rows_of_a_lead(&group("acme", "lead-10"))).await;
    let expect = [lead_key(&one()), RowKey::conversions("acme", "lead-1")];
    assert_eq!(found(fixture, None, "lead-1").await, expect);
    for unknown in ["", "lead", "LEAD-1", "lead-1 ", "lead-2", "%"] {
        assert_eq!(found(fixture, None, unknown).await, [], "{unknown:?}");
    }
    commit_all(fixture, &[taking_away(&expect[0], 1)]).await;
    assert_eq!(found(fixture, None, "lead-1").await, expect[1..]);
}

async fn rows_are_found_by_the_appointments_id(fixture: &mut impl Fixture<Ports: Tables>) {
    let (one, two) = (one(), group("acme", "lead-2"));
    commit_all(fixture, &rows_of_a_lead(&one)).await;
    commit_all(fixture, &rows_of_a_lead(&two)).await;
    let tables = [Table::RSAppointment, Table::RSAppointmentChanges];
    let of = |group: &Group| tables.map(|table| key(group, table, "meeting"));
    assert_eq!(
        found(fixture, None, "meeting").await,
        [of(&one), of(&two)].concat()
    );
}

async fn rows_are_found_by_tenant(fixture: &mut impl Fixture<Ports: Tables>) {
    let (ours, theirs) = (one(), group("globex", "lead-1"));
    for group in [&ours, &theirs] {
        let appointment = key(group, Table::RSAppointment, "meeting");
        let row = appointment.table.new_row(group, &appointment.id);
        let writes = [
            write(&lead_key(group), None, lead(group, "open")),
            write(&appointment, None, row),
            write(
                &RowKey::conversions(&group.tenant, &group.key),
                None,
                converted(group, &[]),
            ),
        ];
        commit_all(fixture, &writes).await;
    }
    for group in [&ours, &theirs] {
        let tenant = Some(group.tenant.as_str());
        let lead = [
            lead_key(group),
            RowKey::conversions(&group.tenant, "lead-1"),
        ];
        assert_eq!(found(fixture, tenant, "lead-1").await, lead);
        let meeting = [key(group, Table::RSAppointment, "meeting")];
        assert_eq!(found(fixture, tenant, "meeting").await, meeting);
    }
    assert_eq!(found(fixture, Some("initech"), "lead-1").await, []);
    assert_eq!(found(fixture, None, "lead-1").await.len(), 4);
}

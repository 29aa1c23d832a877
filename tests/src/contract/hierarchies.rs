//! What every [`Hierarchies`] must do.

use shared::handlers::Table;
use shared::model::{ActionHierarchy, ActionNode, Group, Late, Outcome, Timestamp};
use shared::ports::{Committed, Found, Hierarchies, Look, Tables};

use super::Fixture;
use crate::fixtures::{at, group, key, lead, lead_key, write};

/// Where hierarchies are saved, with the rows, and where they are read.
pub trait Finished: Tables + Hierarchies {}
impl<P: Tables + Hierarchies> Finished for P {}

suite! { $ hierarchies_suite, hierarchies: Finished;
    hierarchies_come_back_as_they_were,
    hierarchies_stay_in_the_order_in_which_they_were_finished,
    many_hierarchies_go_in_one_save,
    groups_do_not_run_together,
    an_unknown_group_has_none,
    a_group_that_lost_a_race_saves_none,
    hierarchies_survive_reopening,
    the_newest_come_first_page_by_page,
    of_one_tenant_nothing_of_another_is_found,
}

fn node(table: Table, id: &str, outcome: Outcome, children: Vec<ActionNode>) -> ActionNode {
    ActionNode {
        table,
        id: id.into(),
        outcome,
        children,
    }
}

/// The hierarchy of an event that led to one action.
fn finished(group: &Group, event_id: &str) -> ActionHierarchy {
    ActionHierarchy {
        group: group.clone(),
        source: "//crm.example".into(),
        event_id: event_id.into(),
        attempt: 1,
        read_start: at(1),
        write_start: at(2),
        late: None,
        unmapped: false,
        actions: vec![node(Table::RSLead, &group.key, Outcome::Changed, vec![])],
    }
}

/// Hierarchies that between them use every field, and each in its extremes.
fn every_shape(group: &Group) -> Vec<ActionHierarchy> {
    let grandchild = node(
        Table::RSAppointmentChanges,
        "名前 \u{1f600}",
        Outcome::Held,
        vec![],
    );
    let child = node(
        Table::RSLeadGlobalConversions,
        "",
        Outcome::Unchanged,
        vec![grandchild],
    );
    let children = vec![child.clone(), child];
    let actions = vec![
        node(Table::RSLead, "lead-1", Outcome::Changed, children),
        node(Table::RSAppointment, "meeting", Outcome::Changed, vec![]),
    ];
    let late = |ms: i64, by: &str| {
        Some(Late {
            ms,
            overtaken_by: by.into(),
            source: Some("//crm.example/Zürich".into()),
            at: Some(Timestamp::from_ms(ms)),
            rows: vec![
                (Table::RSLead, "lead-1".into()),
                (Table::RSAppointment, "名前".into()),
            ],
        })
    };
    let of_before = |late: Option<Late>| {
        late.map(|late| Late {
            source: None,
            at: None,
            rows: Vec::new(),
            ..late
        })
    };
    vec![
        finished(group, "plain"),
        ActionHierarchy {
            attempt: u32::MAX,
            late: late(86_400_000, "名前 '\u{1f600}"),
            actions,
            ..finished(group, "deep")
        },
        ActionHierarchy {
            unmapped: true,
            actions: vec![],
            ..finished(group, "unmapped")
        },
        ActionHierarchy {
            late: of_before(late(0, "")),
            read_start: Timestamp::MIN,
            write_start: Timestamp::MAX,
            ..finished(group, "late by nothing; ünïcode")
        },
    ]
}

async fn save(fixture: &impl Fixture<Ports: Finished>, hierarchies: &[ActionHierarchy]) {
    let ports = fixture.ports();
    let committed = ports.commit(&[], hierarchies, fixture.now()).await;
    assert_eq!(committed.expect("save"), []);
}

async fn saved(fixture: &impl Fixture<Ports: Finished>, group: &Group) -> Vec<ActionHierarchy> {
    fixture.ports().of_group(group).await.expect("of group")
}

async fn hierarchies_come_back_as_they_were(fixture: &mut impl Fixture<Ports: Finished>) {
    for group in [group("acme", "lead-1"), group("Ünï", "名前 \u{1f600}/#%_'")] {
        let shapes = every_shape(&group);
        save(fixture, &shapes).await;
        assert_eq!(saved(fixture, &group).await, shapes);
    }
}

async fn hierarchies_stay_in_the_order_in_which_they_were_finished(
    fixture: &mut impl Fixture<Ports: Finished>,
) {
    let (one, two) = (group("acme", "lead-1"), group("acme", "lead-2"));
    save(
        fixture,
        &[
            finished(&one, "z"),
            finished(&one, "m"),
            finished(&two, "9"),
        ],
    )
    .await;
    save(fixture, &[finished(&two, "1")]).await;
    save(fixture, &[finished(&two, "5"), finished(&one, "a")]).await;
    // Handled again: a redelivery is part of what happened.
    let again = ActionHierarchy {
        attempt: 2,
        ..finished(&one, "m")
    };
    save(fixture, std::slice::from_ref(&again)).await;
    let expect = [
        finished(&one, "z"),
        finished(&one, "m"),
        finished(&one, "a"),
        again,
    ];
    assert_eq!(saved(fixture, &one).await, expect);
    assert_eq!(
        saved(fixture, &two).await,
        ["9", "1", "5"].map(|id| finished(&two, id))
    );
}

async fn many_hierarchies_go_in_one_save(fixture: &mut impl Fixture<Ports: Finished>) {
    let groups: Vec<Group> = (0..20)
        .map(|i| group("acme", &format!("lead-{i}")))
        .collect();
    let all: Vec<ActionHierarchy> = groups
        .iter()
        .flat_map(|group| (0..25).map(move |i| finished(group, &format!("event-{i}"))))
        .collect();
    save(fixture, &all).await;
    for (group, expect) in groups.iter().zip(all.chunks(25)) {
        assert_eq!(saved(fixture, group).await, expect, "{group}");
    }
    save(fixture, &[]).await;
}

async fn groups_do_not_run_together(fixture: &mut impl Fixture<Ports: Finished>) {
    let alike = [
        group("ab", "c"),
        group("a", "bc"),
        group("a", "b#c"),
        group("A", "bc"),
    ];
    for group in &alike {
        save(fixture, &[finished(group, "1")]).await;
    }
    for group in &alike {
        assert_eq!(saved(fixture, group).await, [finished(group, "1")]);
    }
}

async fn an_unknown_group_has_none(fixture: &mut impl Fixture<Ports: Finished>) {
    save(fixture, &[finished(&group("acme", "lead-1"), "1")]).await;
    for unknown in [group("acme", "lead-2"), group("globex", "lead-1")] {
        assert_eq!(saved(fixture, &unknown).await, []);
    }
}

/// What a lost race leaves undone is done again, and then that is what happened.
async fn a_group_that_lost_a_race_saves_none(fixture: &mut impl Fixture<Ports: Finished>) {
    let [won, lost, only] = ["lead-1", "lead-2", "lead-3"].map(|key| group("acme", key));
    let insert = |group: &Group| write(&lead_key(group), None, lead(group, "open"));
    let again = [insert(&lost)];
    let before = fixture.ports().commit(&again, &[], fixture.now()).await;
    assert_eq!(before.expect("commit"), [Committed::Done]);
    let appointment = key(&lost, Table::RSAppointment, "meeting");
    let row = appointment.table.new_row(&lost, &appointment.id);
    let writes = [insert(&won), write(&appointment, None, row), insert(&lost)];
    let hierarchies = [&won, &lost, &only].map(|group| finished(group, "1"));
    let committed = fixture.ports().commit(&writes, &hierarchies, fixture.now());
    assert_eq!(
        committed.await.expect("commit"),
        [Committed::Done, Committed::Done, Committed::Conflict]
    );
    assert_eq!(saved(fixture, &won).await, hierarchies[..1]);
    assert_eq!(saved(fixture, &lost).await, []);
    assert_eq!(saved(fixture, &only).await, hierarchies[2..]);
}

async fn hierarchies_survive_reopening(fixture: &mut impl Fixture<Ports: Finished>) {
    let group = group("acme", "lead-1");
    let mut expect = every_shape(&group);
    save(fixture, &expect).await;
    fixture.reopen().await;
    assert_eq!(saved(fixture, &group).await, expect);
    expect.push(finished(&group, "later"));
    save(fixture, &expect[expect.len() - 1..]).await;
    assert_eq!(saved(fixture, &group).await, expect);
}

async fn look(fixture: &impl Fixture<Ports: Finished>, look: &Look) -> Found<ActionHierarchy> {
    fixture.ports().finished(look).await.expect("finished")
}

/// Saved one after another, each at a moment of its own.
async fn save_in_turn(fixture: &mut impl Fixture<Ports: Finished>, all: &[ActionHierarchy]) {
    for one in all {
        save(fixture, std::slice::from_ref(one)).await;
        fixture.pass(10).await;
    }
}

async fn the_newest_come_first_page_by_page(fixture: &mut impl Fixture<Ports: Finished>) {
    let groups = [group("acme", "lead-1"), group("globex", "lead-1")];
    let all: Vec<ActionHierarchy> = (0..7)
        .flat_map(|n| {
            groups
                .each_ref()
                .map(|group| finished(group, &n.to_string()))
        })
        .collect();
    save_in_turn(fixture, &all).await;
    let mut page = Look {
        tenant: None,
        from: None,
        limit: 4,
        examine: 1_000,
    };
    let mut seen = Vec::new();
    for _ in 0..all.len() {
        let found = look(fixture, &page).await;
        assert_eq!(found.examined, found.items.len() as u64);
        seen.extend(found.items);
        page.from = found.next;
        if found.next.is_none() {
            break;
        }
    }
    let newest: Vec<ActionHierarchy> = all.into_iter().rev().collect();
    assert_eq!(seen, newest);
    // One that looks at few finds no more than these, and says where it stopped.
    let few = Look {
        limit: 1_000,
        examine: 3,
        from: None,
        ..page
    };
    let found = look(fixture, &few).await;
    assert_eq!(Some(found.items.as_slice()), newest.get(..3));
    let rest = Look {
        from: Some(found.next.expect("more")),
        examine: 1_000,
        ..few
    };
    assert_eq!(
        Some(look(fixture, &rest).await.items.as_slice()),
        newest.get(3..)
    );
}

async fn of_one_tenant_nothing_of_another_is_found(fixture: &mut impl Fixture<Ports: Finished>) {
    let (own, other) = (group("acme", "lead-1"), group("acme2", "lead-1"));
    let all = [
        finished(&own, "1"),
        finished(&other, "2"),
        finished(&own, "3"),
    ];
    save_in_turn(fixture, &all).await;
    for from in [None, Some(u64::MAX)] {
        let of = |tenant: &str| Look {
            tenant: Some(tenant.into()),
            from,
            limit: 10,
            examine: 1_000,
        };
        let ids = |found: Found<ActionHierarchy>| {
            let ids = found.items.into_iter().map(|one| one.event_id.to_string());
            ids.collect::<Vec<_>>()
        };
        assert_eq!(ids(look(fixture, &of("acme")).await), ["3", "1"]);
        assert_eq!(ids(look(fixture, &of("acme2")).await), ["2"]);
        assert_eq!(ids(look(fixture, &of("nobody")).await), [] as [&str; 0]);
    }
}

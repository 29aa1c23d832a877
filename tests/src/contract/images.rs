//! What every [`Tables`] must do with images of long groups, and with the later part of a history.

use std::collections::BTreeMap;

use shared::flow::{Gone, Image, ImagesWrite, KeptImage, RowImage, Was, Write};
use shared::handlers::Table;
use shared::model::{EventHash, Group, Held, Order, Sequence, Timestamp};
use shared::ports::Committed::{Conflict, Done};
use shared::ports::{Commit, Committed, Tables};

use super::Fixture;
use super::tables::{commit_all, stage};
use crate::fixtures::{at, changes, group, key, lead, lead_key, trail, versions, write};

suite! { $ images_suite, images: Tables;
    images_come_back_as_they_were,
    images_that_end_earlier_are_not_read,
    images_go_with_the_writes_of_their_group,
    a_group_that_loses_keeps_its_images,
    an_image_that_is_gone_makes_its_groups_writes_lose,
    all_images_of_a_group_go_at_once,
    images_change_without_a_write,
    images_survive_reopening,
    versions_after_a_number_are_read_alone,
}

fn order(minutes: i64, id: &str) -> Order {
    Order {
        time: at(minutes),
        below_ms: 7,
        sequence: Some(Sequence("009".into())),
        source: "//crm.example/Zürich".into(),
        id: id.into(),
    }
}

/// An image of the events from one minute to another.
fn image(group: &Group, from: i64, until: i64) -> Image {
    let held = Held {
        last: Some(order(from - 1, "before")),
        taken: Some(EventHash::of("//crm.example", "before")),
        ..trail(1).held
    };
    let was = Was {
        body: lead(group, "as it was").body(),
        held,
    };
    let row = |was: Option<Was>, replaced: u64| RowImage {
        was,
        handler: 3,
        replaced,
        version: u64::MAX,
    };
    let rows = BTreeMap::from([
        ((Table::RSLead, group.key.clone()), row(Some(was), 41)),
        ((Table::RSAppointment, "名前#%".into()), row(None, 0)),
    ]);
    Image {
        from: order(from, "first"),
        until: order(until, "last"),
        events: 12,
        recorded: at(from + 1),
        settings: 5,
        rows,
    }
}

fn adding(group: &Group, images: &[Image]) -> ImagesWrite {
    ImagesWrite {
        group: group.clone(),
        gone: Gone::These(Vec::new()),
        add: images.to_vec(),
    }
}

async fn commit(
    fixture: &impl Fixture<Ports: Tables>,
    writes: &[Write],
    images: &[ImagesWrite],
) -> Vec<Committed> {
    let commit = Commit {
        writes,
        finished: &[],
        images,
    };
    let committed = fixture.ports().commit_all(commit, fixture.now()).await;
    committed.expect("commit")
}

async fn kept(
    fixture: &impl Fixture<Ports: Tables>,
    group: &Group,
    since: Timestamp,
) -> Vec<KeptImage> {
    let mut kept = fixture.ports().images(group, since).await.expect("images");
    kept.sort_by_key(|one| one.image.as_ref().map(|image| image.from.clone()));
    kept
}

/// A group's images by the beginning.
async fn images(fixture: &impl Fixture<Ports: Tables>, group: &Group) -> Vec<Image> {
    let kept = kept(fixture, group, Timestamp::MIN).await;
    let image = |one: KeptImage| one.image.expect("one that can be read");
    kept.into_iter().map(image).collect()
}

/// The write of a lead that is new, or over that version.
fn lead_at(group: &Group, expected: Option<u64>, at: &str) -> Write {
    write(&lead_key(group), expected, lead(group, at))
}

async fn images_come_back_as_they_were(fixture: &mut impl Fixture<Ports: Tables>) {
    for group in [group("acme", "lead-1"), group("Ünï", "名前 \u{1f600}/#%_'")] {
        let mut empty = image(&group, 30, 40);
        empty.rows.clear();
        let all = [image(&group, 0, 9), image(&group, 10, 20), empty];
        let write = [lead_at(&group, None, "open")];
        assert_eq!(
            commit(fixture, &write, &[adding(&group, &all)]).await,
            [Done]
        );
        assert_eq!(images(fixture, &group).await, all);
        let heads = fixture.ports().image_heads(&group).await;
        let mut heads = heads.expect("heads");
        heads.sort_by_key(|head| head.until);
        assert_eq!(heads, all.map(|image| image.head()));
    }
}

async fn images_that_end_earlier_are_not_read(fixture: &mut impl Fixture<Ports: Tables>) {
    let (one, two) = (group("acme", "lead-1"), group("globex", "lead-1"));
    let all = [image(&one, 0, 9), image(&one, 10, 20), image(&one, 21, 30)];
    commit(fixture, &[], &[adding(&one, &all)]).await;
    commit(fixture, &[], &[adding(&two, &[image(&two, 0, 100)])]).await;
    for (since, expect) in [(9, 3), (10, 2), (20, 2), (21, 1), (30, 1), (31, 0)] {
        let read = kept(fixture, &one, at(since)).await;
        assert_eq!(read.len(), expect, "since {since}");
        let last = read.into_iter().filter_map(|one| one.image);
        let expect: Vec<Image> = all.iter().skip(3 - expect).cloned().collect();
        assert_eq!(last.collect::<Vec<_>>(), expect);
    }
    assert_eq!(images(fixture, &group("acme", "lead-2")).await, []);
}

async fn images_go_with_the_writes_of_their_group(fixture: &mut impl Fixture<Ports: Tables>) {
    let (one, two) = (group("acme", "lead-1"), group("acme", "lead-2"));
    commit_all(
        fixture,
        &[lead_at(&one, None, "open"), lead_at(&two, None, "open")],
    )
    .await;
    let before = [image(&one, 0, 9), image(&one, 10, 20)];
    commit(fixture, &[], &[adding(&one, &before)]).await;
    let first = kept(fixture, &one, Timestamp::MIN).await.remove(0);
    let change = ImagesWrite {
        gone: Gone::These(vec![first.handle]),
        ..adding(&one, &[image(&one, 21, 30)])
    };
    let writes = [lead_at(&one, Some(1), "won"), lead_at(&two, Some(1), "won")];
    let of_two = adding(&two, &[image(&two, 0, 1)]);
    let committed = commit(fixture, &writes, &[change, of_two]).await;
    assert_eq!(committed, [Done, Done]);
    let expect = [image(&one, 10, 20), image(&one, 21, 30)];
    assert_eq!(images(fixture, &one).await, expect);
    assert_eq!(images(fixture, &two).await, [image(&two, 0, 1)]);
}

async fn a_group_that_loses_keeps_its_images(fixture: &mut impl Fixture<Ports: Tables>) {
    let (one, two) = (group("acme", "lead-1"), group("acme", "lead-2"));
    commit_all(
        fixture,
        &[lead_at(&one, None, "open"), lead_at(&two, None, "open")],
    )
    .await;
    commit(fixture, &[], &[adding(&one, &[image(&one, 0, 9)])]).await;
    let meeting = key(&one, Table::RSAppointment, "meeting");
    let writes = [
        write(
            &meeting,
            None,
            Table::RSAppointment.new_row(&one, &"meeting".into()),
        ),
        lead_at(&one, Some(7), "won"),
        lead_at(&two, Some(1), "won"),
    ];
    let change = ImagesWrite {
        gone: Gone::All,
        ..adding(&one, &[image(&one, 21, 30)])
    };
    let of_two = adding(&two, &[image(&two, 0, 1)]);
    let committed = commit(fixture, &writes, &[change, of_two]).await;
    assert_eq!(committed, [Done, Conflict, Done]);
    assert_eq!(images(fixture, &one).await, [image(&one, 0, 9)]);
    assert_eq!(images(fixture, &two).await, [image(&two, 0, 1)]);
}

async fn an_image_that_is_gone_makes_its_groups_writes_lose(
    fixture: &mut impl Fixture<Ports: Tables>,
) {
    let (one, two) = (group("acme", "lead-1"), group("acme", "lead-2"));
    commit_all(
        fixture,
        &[lead_at(&one, None, "open"), lead_at(&two, None, "open")],
    )
    .await;
    let before = [image(&one, 0, 9), image(&one, 10, 20)];
    commit(fixture, &[], &[adding(&one, &before)]).await;
    let handles = kept(fixture, &one, Timestamp::MIN).await;
    let handles: Vec<_> = handles.into_iter().map(|one| one.handle).collect();
    let change = |with: i64| ImagesWrite {
        gone: Gone::These(handles.clone()),
        ..adding(&one, &[image(&one, 0, with)])
    };
    // Somebody else merges them first.
    commit(fixture, &[], &[change(20)]).await;
    let writes = [
        lead_at(&one, Some(1), "won"),
        write(
            &key(&one, Table::RSAppointment, "meeting"),
            None,
            Table::RSAppointment.new_row(&one, &"meeting".into()),
        ),
        lead_at(&two, Some(1), "won"),
    ];
    let committed = commit(fixture, &writes, &[change(21)]).await;
    assert_eq!(committed, [Conflict, Conflict, Done]);
    assert_eq!(images(fixture, &one).await, [image(&one, 0, 20)]);
    let expect = Some(("open".to_owned(), 1));
    assert_eq!(stage(fixture, &lead_key(&one)).await, expect);
    commit(fixture, &[], &[change(22)]).await;
    assert_eq!(images(fixture, &one).await, [image(&one, 0, 20)]);
}

async fn all_images_of_a_group_go_at_once(fixture: &mut impl Fixture<Ports: Tables>) {
    let (one, two) = (group("acme", "lead-1"), group("acme", "lead-2"));
    for group in [&one, &two] {
        let all = [image(group, 0, 9), image(group, 10, 20)];
        commit(fixture, &[], &[adding(group, &all)]).await;
    }
    let writes = [lead_at(&one, None, "open")];
    let committed = commit(fixture, &writes, &[ImagesWrite::none(&one)]).await;
    assert_eq!(committed, [Done]);
    assert_eq!(images(fixture, &one).await, []);
    assert_eq!(images(fixture, &two).await.len(), 2);
}

async fn images_change_without_a_write(fixture: &mut impl Fixture<Ports: Tables>) {
    let one = group("acme", "lead-1");
    let all = [image(&one, 0, 9), image(&one, 10, 20)];
    assert_eq!(commit(fixture, &[], &[adding(&one, &all)]).await, []);
    let handles = kept(fixture, &one, at(10)).await;
    let change = ImagesWrite {
        gone: Gone::These(handles.into_iter().map(|one| one.handle).collect()),
        ..adding(&one, &[])
    };
    assert_eq!(commit(fixture, &[], &[change]).await, []);
    assert_eq!(images(fixture, &one).await, [image(&one, 0, 9)]);
}

async fn images_survive_reopening(fixture: &mut impl Fixture<Ports: Tables>) {
    let one = group("acme", "lead-1");
    commit(fixture, &[], &[adding(&one, &[image(&one, 0, 9)])]).await;
    let before = kept(fixture, &one, Timestamp::MIN).await;
    fixture.reopen().await;
    assert_eq!(kept(fixture, &one, Timestamp::MIN).await, before);
}

async fn versions_after_a_number_are_read_alone(fixture: &mut impl Fixture<Ports: Tables>) {
    let one = group("acme", "lead-1");
    let row = |id: &str| key(&one, Table::RSAppointmentChanges, id);
    let (meeting, review, none) = (row("meeting"), row("review"), row("none"));
    let begin = [(1, "scheduled"), (2, "started"), (3, "completed")];
    commit_all(fixture, &[changes(&meeting, None, 0, false, &begin)]).await;
    commit_all(fixture, &[changes(&review, None, 0, false, &begin)]).await;
    // The last two of one give way to another.
    let other = [(4, "cancelled")];
    commit_all(fixture, &[changes(&meeting, Some(1), 1, true, &other)]).await;
    let asked = [
        (review.clone(), 1),
        (none, 0),
        (meeting.clone(), 1),
        (review, 3),
    ];
    let read = fixture
        .ports()
        .versions_after(&asked)
        .await
        .expect("versions");
    let expect = [
        versions(0, &begin).into_iter().skip(1).collect(),
        vec![],
        versions(1, &other),
        vec![],
    ];
    assert_eq!(read, expect);
    let all = fixture.ports().versions_after(&[(meeting, 0)]).await;
    let all = all.expect("versions").concat();
    assert_eq!(all.iter().map(|one| one.n).collect::<Vec<_>>(), [1, 2]);
}

//! What every [`Journal`] must take for the same event.

use std::sync::Arc;

use shared::model::{Entry, Event, EventHash, Group, Payload, Sequence};
use shared::ports::Appended::{Conflict, Duplicate, Elsewhere, New};
use shared::ports::{Appended, Journal};

use super::journal::{append, bare, entries, ids};
use super::{Fixture, at_once};
use crate::fixtures::{at, entry, event, group, plain};

suite! { $ identities_suite, identities: Journal;
    the_same_event_is_a_duplicate,
    other_content_is_a_conflict,
    the_first_content_stays,
    each_entry_is_answered_on_its_own,
    appends_that_race_for_an_identity_make_it_new_once,
    an_identity_belongs_to_its_tenant,
    source_and_id_do_not_run_together,
    identities_whose_hashes_are_half_alike_are_kept_apart,
    whereabouts_name_the_group_of_each_event,
    whereabouts_of_hashes_that_are_half_alike_are_kept_apart,
    each_revision_is_an_entry_of_its_own,
    revisions_survive_reopening,
    the_first_telling_decides_on_the_home,
    whichever_telling_that_is,
    a_home_is_one_for_all_that_come_at_once,
    a_home_is_a_tenants_own_and_survives_reopening,
}

/// A change to an event.
type Change = fn(Event) -> Event;

/// Appends an event and its changed form, both in one call and in two, and expects `expect` of the
/// second.
async fn check_again(
    fixture: &impl Fixture<Ports: Journal>,
    changes: &[(&str, Change)],
    expect: Appended,
) {
    for (what, change) in changes {
        for together in [false, true] {
            let id = format!("{what} {together}");
            let known = group("acme", &format!("lead {id}"));
            let first = entry(
                &known,
                Event {
                    data: Payload::Json(r#"{"a":1,"b":[true,"x"]}"#.into()),
                    extensions: [("color".into(), r#""red""#.into())].into(),
                    ..event(&known, &id)
                },
            );
            let again = change(first.event.clone());
            let key = again.partition_key.clone().unwrap_or_default();
            let mut again = Entry::clone(&entry(&group("acme", &key), again));
            again.recorded = at(30);
            let both = [Arc::clone(&first), Arc::new(again)];
            let became = if together {
                append(fixture, &both).await
            } else {
                let mut became = append(fixture, &both[..1]).await;
                became.extend(append(fixture, &both[1..]).await);
                became
            };
            assert_eq!(became, [New, expect], "{what}, in one call: {together}");
            assert_eq!(entries(fixture, &known).await, bare(&both[..1]), "{what}");
        }
    }
}

async fn the_same_event_is_a_duplicate(fixture: &mut impl Fixture<Ports: Journal>) {
    let changes: [(&str, Change); 6] = [
        ("same bytes", |event| event),
        ("white space", |event| Event {
            data: Payload::Json("{ \"a\" : 1,\n \"b\" : [ true, \"x\" ] }".into()),
            ..event
        }),
        ("order of keys", |event| Event {
            data: Payload::Json(r#"{"b":[true,"\u0078"],"a":1}"#.into()),
            ..event
        }),
        ("traceparent", |event| Event {
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
            ..event
        }),
        ("tracestate", |mut event| {
            event
                .extensions
                .insert("tracestate".into(), r#""v=1""#.into());
            event
        }),
        ("recordedtime", |mut event| {
            event
                .extensions
                .insert("recordedtime".into(), r#""2026-03-01T09:00:00Z""#.into());
            event
        }),
    ];
    check_again(fixture, &changes, Duplicate).await;
}

async fn other_content_is_a_conflict(fixture: &mut impl Fixture<Ports: Journal>) {
    let changes: [(&str, Change); 13] = [
        ("data", |event| Event {
            data: Payload::Json(r#"{"a":2,"b":[true,"x"]}"#.into()),
            ..event
        }),
        ("order of a list", |event| Event {
            data: Payload::Json(r#"{"a":1,"b":["x",true]}"#.into()),
            ..event
        }),
        ("no data", |event| Event {
            data: Payload::None,
            ..event
        }),
        ("bytes", |event| Event {
            data: Payload::Base64("AAAA".into()),
            ..event
        }),
        ("time", |event| Event {
            time: at(1),
            ..event
        }),
        ("time below the millisecond", |event| Event {
            below_ms: 1,
            ..event
        }),
        ("type", |event| Event {
            kind: "lead.closed".into(),
            ..event
        }),
        ("sequence", |event| Event {
            sequence: Some(Sequence("1".into())),
            ..event
        }),
        ("subject", |event| Event {
            subject: Some("x".into()),
            ..event
        }),
        ("content type", |event| Event {
            content_type: Some("text/json".into()),
            ..event
        }),
        ("tenant left out", |event| Event {
            tenant: None,
            ..event
        }),
        ("extension", |mut event| {
            event.extensions.insert("color".into(), r#""blue""#.into());
            event
        }),
        ("partition key", |event| Event {
            partition_key: Some("elsewhere".into()),
            ..event
        }),
    ];
    check_again(fixture, &changes, Conflict).await;
    assert_eq!(entries(fixture, &group("acme", "elsewhere")).await, []);
}

/// A refused content leaves no trace that a later append could match.
async fn the_first_content_stays(fixture: &mut impl Fixture<Ports: Journal>) {
    let group = group("acme", "lead-1");
    let first = plain(&group, "1");
    let other = entry(
        &group,
        Event {
            time: at(5),
            ..event(&group, "1")
        },
    );
    let turns = [
        (&first, New),
        (&other, Conflict),
        (&other, Conflict),
        (&first, Duplicate),
    ];
    for (entry, expect) in turns {
        assert_eq!(append(fixture, &[Arc::clone(entry)]).await, [expect]);
    }
    assert_eq!(entries(fixture, &group).await, bare(&[first]));
}

async fn each_entry_is_answered_on_its_own(fixture: &mut impl Fixture<Ports: Journal>) {
    let (one, two) = (group("acme", "lead-1"), group("acme", "lead-2"));
    let other = entry(
        &one,
        Event {
            time: at(5),
            ..event(&one, "1")
        },
    );
    append(fixture, &[plain(&one, "1")]).await;
    let batch = [
        plain(&two, "2"),
        plain(&one, "1"),
        other,
        plain(&one, "3"),
        plain(&two, "2"),
    ];
    let became = append(fixture, &batch).await;
    assert_eq!(became, [New, Duplicate, Conflict, New, Duplicate]);
    assert_eq!(ids(&entries(fixture, &one).await), ["1", "3"]);
    assert_eq!(ids(&entries(fixture, &two).await), ["2"]);
}

/// A sender that tries again before its first try was answered, several times over.
async fn appends_that_race_for_an_identity_make_it_new_once(
    fixture: &mut impl Fixture<Ports: Journal>,
) {
    for round in 0..5 {
        let group = group("acme", &format!("lead-{round}"));
        let (raced, own) = (format!("raced {round}"), format!("own {round}"));
        let tries = (0..6).map(|racer| {
            let group = group.clone();
            let entries = [
                plain(&group, &raced),
                plain(&group, &format!("{own} {racer}")),
            ];
            let ports = fixture.ports();
            async move { ports.append(&entries).await.expect("append") }
        });
        let became = at_once(tries).await;
        let news = became.iter().filter(|of| of[0] == New).count();
        assert_eq!(news, 1, "{became:?}");
        let others = became.iter().filter(|of| of[0] == Duplicate).count();
        assert_eq!(others, 5, "{became:?}");
        assert!(became.iter().all(|of| of[1] == New), "{became:?}");
        let journaled = entries(fixture, &group).await;
        assert_eq!(journaled.len(), 7, "each once");
    }
}

async fn an_identity_belongs_to_its_tenant(fixture: &mut impl Fixture<Ports: Journal>) {
    let (ours, theirs) = (group("acme", "lead-1"), group("globex", "lead-1"));
    let altered = entry(
        &theirs,
        Event {
            time: at(5),
            ..event(&theirs, "1")
        },
    );
    assert_eq!(append(fixture, &[plain(&ours, "1")]).await, [New]);
    assert_eq!(append(fixture, &[Arc::clone(&altered)]).await, [New]);
    assert_eq!(
        append(fixture, &[plain(&ours, "1"), Arc::clone(&altered)]).await,
        [Duplicate; 2]
    );
    assert_eq!(
        append(fixture, &[plain(&ours, "2"), plain(&theirs, "2")]).await,
        [New; 2]
    );
    assert_eq!(entries(fixture, &theirs).await[0], *altered);
}

async fn source_and_id_do_not_run_together(fixture: &mut impl Fixture<Ports: Journal>) {
    let group = group("acme", "lead-1");
    let of = |source: &str, id: &str| {
        let source = source.into();
        entry(
            &group,
            Event {
                source,
                ..event(&group, id)
            },
        )
    };
    let alike = [
        of("ab", "c"),
        of("a", "bc"),
        of("a", "b#c"),
        of("a", "BC"),
        of("a#b", "c"),
    ];
    assert_eq!(append(fixture, &alike).await, [New; 5]);
    assert_eq!(append(fixture, &alike).await, [Duplicate; 5]);
}

/// Half a hash may be all that an index keeps; then two identities meet there one day.
async fn identities_whose_hashes_are_half_alike_are_kept_apart(
    fixture: &mut impl Fixture<Ports: Journal>,
) {
    let group = group("acme", "lead-1");
    let first = plain(&group, "first");
    let alike = |id: &str, flip: u128| {
        let mut entry = Entry::clone(&plain(&group, id));
        entry.hash = EventHash(first.hash.0 ^ flip);
        Arc::new(entry)
    };
    let others = [
        alike("same low half", 1 << 64),
        alike("same low half too", 1 << 127),
        alike("same high half", 1),
        alike("same high half too", 1 << 63),
    ];
    assert_eq!(append(fixture, &[Arc::clone(&first)]).await, [New]);
    assert_eq!(append(fixture, &others[..1]).await, [New]);
    assert_eq!(append(fixture, &others).await, [Duplicate, New, New, New]);
    assert_eq!(append(fixture, &others).await, [Duplicate; 4]);
    assert_eq!(append(fixture, &[first]).await, [Duplicate]);
    assert_eq!(entries(fixture, &group).await.len(), 5);
}

async fn whereabouts(
    fixture: &impl Fixture<Ports: Journal>,
    asked: &[(&str, EventHash)],
) -> Vec<Option<String>> {
    let asked: Vec<_> = asked
        .iter()
        .map(|(tenant, hash)| ((*tenant).into(), *hash))
        .collect();
    let found = fixture.ports().whereabouts(&asked).await;
    let found = found.expect("whereabouts");
    found
        .into_iter()
        .map(|group| group.map(|group| group.to_string()))
        .collect()
}

async fn whereabouts_name_the_group_of_each_event(fixture: &mut impl Fixture<Ports: Journal>) {
    let (one, two, theirs) = (
        group("acme", "lead-1"),
        group("acme", "lead-2"),
        group("globex", "lead-9"),
    );
    let known = [
        plain(&one, "1"),
        plain(&two, "2"),
        plain(&one, "3"),
        plain(&theirs, "4"),
    ];
    append(fixture, &known).await;
    let hash = |place: usize| known[place].hash;
    let asked = [
        ("acme", hash(1)),
        ("acme", EventHash::of("//crm.example", "nobody's")),
        ("acme", hash(0)),
        ("globex", hash(0)),
        ("globex", hash(3)),
        ("acme", hash(3)),
        ("acme", hash(2)),
        ("acme", hash(1)),
    ];
    let expect = [
        Some("acme#lead-2"),
        None,
        Some("acme#lead-1"),
        None,
        Some("globex#lead-9"),
        None,
        Some("acme#lead-1"),
        Some("acme#lead-2"),
    ];
    let expect = expect.map(|group| group.map(str::to_owned));
    assert_eq!(whereabouts(fixture, &asked).await, expect);
    assert_eq!(whereabouts(fixture, &[]).await, []);
    // More than one request of a store that answers a hundred at once.
    let many: Vec<_> = (0..130)
        .map(|i| plain(&one, &format!("many-{i}")))
        .collect();
    append(fixture, &many).await;
    let asked: Vec<_> = many.iter().map(|entry| ("acme", entry.hash)).collect();
    let all = vec![Some("acme#lead-1".to_owned()); many.len()];
    assert_eq!(whereabouts(fixture, &asked).await, all);
}

async fn whereabouts_of_hashes_that_are_half_alike_are_kept_apart(
    fixture: &mut impl Fixture<Ports: Journal>,
) {
    let (one, two) = (group("acme", "lead-1"), group("acme", "lead-2"));
    let first = plain(&one, "first");
    let alike = |group: &Group, id: &str, flip: u128| {
        let mut entry = Entry::clone(&plain(group, id));
        entry.hash = EventHash(first.hash.0 ^ flip);
        Arc::new(entry)
    };
    let other = alike(&two, "same low half", 1 << 64);
    append(fixture, &[Arc::clone(&first), Arc::clone(&other)]).await;
    let unknown = EventHash(first.hash.0 ^ (1 << 127));
    let asked = [
        ("acme", other.hash),
        ("acme", unknown),
        ("acme", first.hash),
    ];
    let expect = [Some("acme#lead-2"), None, Some("acme#lead-1")];
    assert_eq!(
        whereabouts(fixture, &asked).await,
        expect.map(|group| group.map(str::to_owned))
    );
}

/// The event's telling of this revision, which says `data`.
fn telling(group: &Group, id: &str, revision: u32, data: &str) -> Arc<Entry> {
    let mut told = event(group, id);
    told.data = Payload::Json(data.into());
    if revision > 0 {
        let number = revision.to_string();
        told.extensions.insert("revision".into(), number.into());
    }
    entry(group, told)
}

async fn each_revision_is_an_entry_of_its_own(fixture: &mut impl Fixture<Ports: Journal>) {
    let group = group("acme", "lead-1");
    let told = |revision: u32, data: &str| telling(&group, "1", revision, data);
    let turns = [
        (told(0, "10"), New),
        (told(2, "12"), New),
        (told(1, "11"), New),
        (told(1, "11"), Duplicate),
        (told(1, "99"), Conflict),
        (told(2, "10"), Conflict),
        (told(0, "10"), Duplicate),
        (told(0, "12"), Conflict),
    ];
    for (entry, expect) in &turns {
        assert_eq!(append(fixture, &[Arc::clone(entry)]).await, [*expect]);
    }
    let kept: Vec<_> = turns[..3]
        .iter()
        .map(|(entry, _)| Arc::clone(entry))
        .collect();
    assert_eq!(entries(fixture, &group).await, bare(&kept));
    let together = [told(0, "20"), told(1, "21"), told(1, "21"), told(1, "22")];
    let together: Vec<_> = together
        .iter()
        .map(|one| {
            let mut event = one.event.clone();
            event.id = "2".into();
            entry(&group, event)
        })
        .collect();
    let became = append(fixture, &together).await;
    assert_eq!(became, [New, New, Duplicate, Conflict]);
}

async fn revisions_survive_reopening(fixture: &mut impl Fixture<Ports: Journal>) {
    let group = group("acme", "lead-1");
    let told = [0, 1, 7].map(|revision| telling(&group, "1", revision, "true"));
    append(fixture, &told).await;
    fixture.reopen().await;
    assert_eq!(entries(fixture, &group).await, bare(&told));
    assert_eq!(append(fixture, &told).await, [Duplicate; 3]);
}

async fn homes(fixture: &impl Fixture<Ports: Journal>, asked: &[&Entry]) -> Vec<Option<String>> {
    let asked: Vec<_> = asked
        .iter()
        .map(|entry| (entry.group.tenant.clone(), entry.event.identity()))
        .collect();
    let found = fixture.ports().homes(&asked).await.expect("homes");
    let name = |group: Option<Group>| group.map(|group| group.to_string());
    found.into_iter().map(name).collect()
}

/// Appends a telling where it is sent to, expects that its home is another group, and appends it there.
async fn append_at(
    fixture: &impl Fixture<Ports: Journal>,
    home: &Group,
    told: &Entry,
) -> Vec<Appended> {
    let sent = Arc::new(told.clone());
    assert_eq!(append(fixture, &[sent]).await, [Elsewhere], "{told:?}");
    append(fixture, &[Arc::new(told.at_home(home))]).await
}

async fn the_first_telling_decides_on_the_home(fixture: &mut impl Fixture<Ports: Journal>) {
    let (one, two) = (group("acme", "lead-1"), group("acme", "lead-2"));
    let first = telling(&one, "1", 0, "10");
    let amended = telling(&two, "1", 1, "11");
    assert_eq!(homes(fixture, &[&first]).await, [None]);
    assert_eq!(append(fixture, &[Arc::clone(&first)]).await, [New]);
    let home = Some("acme#lead-1".to_owned());
    assert_eq!(homes(fixture, &[&first, &amended]).await, vec![home; 2]);
    assert_eq!(append_at(fixture, &one, &amended).await, [New]);
    assert_eq!(append_at(fixture, &one, &amended).await, [Duplicate]);
    let other = telling(&two, "1", 1, "12");
    assert_eq!(append_at(fixture, &one, &other).await, [Conflict]);
    let back = telling(&one, "1", 2, "13");
    assert_eq!(append(fixture, &[Arc::clone(&back)]).await, [New]);
    let kept = [first, Arc::new(amended.at_home(&one)), back];
    assert_eq!(entries(fixture, &one).await, bare(&kept));
    assert_eq!(entries(fixture, &two).await, []);
}

async fn whichever_telling_that_is(fixture: &mut impl Fixture<Ports: Journal>) {
    let (one, two) = (group("acme", "lead-1"), group("acme", "lead-2"));
    let first = telling(&one, "1", 0, "10");
    let amended = telling(&two, "1", 3, "11");
    assert_eq!(append(fixture, &[Arc::clone(&amended)]).await, [New]);
    assert_eq!(whereabouts(fixture, &[("acme", first.hash)]).await, [None]);
    assert_eq!(append_at(fixture, &two, &first).await, [New]);
    assert_eq!(append_at(fixture, &two, &first).await, [Duplicate]);
    assert_eq!(append(fixture, &[Arc::clone(&amended)]).await, [Duplicate]);
    let other = telling(&two, "1", 0, "12");
    assert_eq!(append(fixture, &[other]).await, [Conflict]);
    let home = Some("acme#lead-2".to_owned());
    let asked = [("acme", first.hash), ("acme", amended.hash)];
    assert_eq!(whereabouts(fixture, &asked).await, vec![home; 2]);
    let kept = [amended, Arc::new(first.at_home(&two))];
    assert_eq!(entries(fixture, &two).await, bare(&kept));
    // Of the same group the first telling may come last as well.
    let both = [telling(&one, "2", 1, "1"), telling(&one, "2", 0, "0")];
    for told in &both {
        assert_eq!(append(fixture, &[Arc::clone(told)]).await, [New]);
    }
    assert_eq!(append(fixture, &both).await, [Duplicate; 2]);
    assert_eq!(entries(fixture, &one).await, bare(&both));
}

async fn a_home_is_one_for_all_that_come_at_once(fixture: &mut impl Fixture<Ports: Journal>) {
    let (one, two) = (group("acme", "lead-1"), group("acme", "lead-2"));
    for (id, [first, second]) in [("1", [0, 1]), ("2", [1, 0]), ("3", [2, 1])] {
        let told = [
            telling(&one, id, first, "1"),
            telling(&two, id, second, "2"),
        ];
        let became = append(fixture, &told).await;
        // Any of them may be the first.
        let at = became
            .iter()
            .position(|one| *one == New)
            .expect("one is new");
        assert_eq!(became[1 - at], Elsewhere);
        let (home, other) = (&told[at].group, &told[1 - at]);
        assert_eq!(append_at(fixture, home, other).await, [New]);
    }
    let both = [entries(fixture, &one).await, entries(fixture, &two).await];
    assert_eq!(both.concat().len(), 6);
}

async fn a_home_is_a_tenants_own_and_survives_reopening(
    fixture: &mut impl Fixture<Ports: Journal>,
) {
    let (ours, theirs) = (group("acme", "lead-1"), group("globex", "lead-2"));
    let amended = telling(&ours, "1", 1, "1");
    append(fixture, &[Arc::clone(&amended)]).await;
    let first = telling(&theirs, "1", 0, "0");
    assert_eq!(append(fixture, &[Arc::clone(&first)]).await, [New]);
    fixture.reopen().await;
    let elsewhere = telling(&group("acme", "lead-9"), "1", 0, "0");
    assert_eq!(append_at(fixture, &ours, &elsewhere).await, [New]);
    let expect = ["acme#lead-1", "globex#lead-2"].map(|group| Some(group.to_owned()));
    assert_eq!(homes(fixture, &[&amended, &first]).await, expect);
}

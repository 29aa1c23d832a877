//! What every [`Waiting`] must do whose queue can be looked into.

use std::sync::Arc;

use shared::model::Entry;
use shared::ports::{Message, Queue, Waiting};

use super::Fixture;
use super::queue::{delete, ids, messages, receive, send};
use crate::fixtures::{entry, event, every_shape, group, message};

/// A queue that can be looked into.
pub trait OpenQueue: Queue + Waiting {}
impl<P: Queue + Waiting> OpenQueue for P {}

suite! { $ waiting_suite, waiting: OpenQueue;
    waiting_tells_what_is_not_done,
    a_dead_letter_waits_for_no_worker,
}

async fn waiting_tells_what_is_not_done(fixture: &mut impl Fixture<Ports: OpenQueue>) {
    let (one, two) = (group("acme", "lead-1"), group("acme", "lead-2"));
    let shapes = Message {
        group: two.clone(),
        deduplication_id: 1,
        entries: every_shape(&two),
    };
    send(fixture, &messages(&one, &["b", "a"])).await;
    send(fixture, std::slice::from_ref(&shapes)).await;
    send(fixture, &[message(&two, 2, &["y", "x"])]).await;
    let asked = [two, group("acme", "none"), one];
    let mut expect = shapes.entries;
    expect.extend(["y", "x"].map(|id| entry(&asked[0], event(&asked[0], id))));
    let of = |entries: &[Entry]| {
        entries
            .iter()
            .map(|e| e.event.id.to_string())
            .collect::<Vec<_>>()
    };

    let waiting = fixture.ports().waiting(&asked).await.expect("waiting");
    assert_eq!(waiting.len(), asked.len());
    assert!(waiting[0].iter().eq(expect.iter().map(Arc::as_ref)));
    assert_eq!(
        (of(&waiting[1]), of(&waiting[2])),
        (vec![], vec!["b".into(), "a".into()])
    );

    let received = receive(fixture, 1).await;
    let waiting = fixture.ports().waiting(&asked).await.expect("waiting");
    assert_eq!(of(&waiting[2]), ["b", "a"], "what is in flight is not done");
    assert_eq!(ids(&received), ["b"]);
    delete(fixture, &received).await;
    let waiting = fixture.ports().waiting(&asked).await.expect("waiting");
    assert_eq!(of(&waiting[2]), ["a"]);
}

async fn a_dead_letter_waits_for_no_worker(fixture: &mut impl Fixture<Ports: OpenQueue>) {
    let lead = group("acme", "lead-1");
    let letter = (message(&lead, 1, &["poison"]), "why".to_owned());
    let parked = fixture.ports().park(&[letter], fixture.now()).await;
    parked.expect("park");
    let waiting = fixture.ports().waiting(&[lead]).await.expect("waiting");
    assert_eq!(waiting, [vec![]]);
}

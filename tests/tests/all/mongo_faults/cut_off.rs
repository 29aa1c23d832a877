//! The connection breaks after the server did what it was asked, before it could say so.

use fastrand::Rng;
use foldback_tests::fixtures::{Lives, entries, group};
use foldback_tests::servers::{Proxy, holds, uri};
use foldback_tests::worker::{LIMITS, Worked, Worker, messages_of};
use shared::adapters::SystemClock;
use shared::adapters::embedded::Embedded;
use shared::adapters::mongo::Mongo;
use shared::ports::Committed::{Conflict, Done};
use shared::ports::{Clock, ErrorKind, Journal, Queue};

use super::expected::InOrder;
use super::sent_twice::Whole;
use crate::mongo::{connect, fresh_database, run, server};

const COMMIT: &str = "commitTransaction";
const BULK: &str = "bulkWrite";

/// A database, seen from behind the proxy and directly.
pub(super) struct Cut {
    pub(super) proxy: Proxy,
    pub(super) behind: Mongo,
    pub(super) direct: Mongo,
}

impl Cut {
    pub(super) async fn new() -> Self {
        let (server, database) = (server(), fresh_database());
        let proxy = Proxy::start(server.port());
        let direct = connect(&server.uri(&database)).await;
        let behind = connect(&uri(proxy.port(), &database)).await;
        Self {
            proxy,
            behind,
            direct,
        }
    }

    /// Asserts that the store holds the first of these commits, and no more after the last of them
    /// came again.
    async fn holds_once(&self, commits: usize, last: &Whole) {
        assert_eq!(last.held(&self.direct).await, Whole::held_after(commits));
        assert_eq!(
            last.commit(&self.behind).await.expect("commit"),
            [Conflict; 3]
        );
        assert_eq!(last.held(&self.direct).await, Whole::held_after(commits));
    }
}

/// Loses the first answers to a command, so many that the adapter still learns the outcome.
fn check_learns(word: &'static str, lost: u32) {
    run(async {
        let cut = Cut::new().await;
        let group = group("acme", "lead-1");
        let both = [Whole::first(&group), Whole::second(&group)];
        for (whole, commits) in both.iter().zip(1..) {
            cut.proxy.lose_first(lost, word);
            assert_eq!(whole.commit(&cut.behind).await.expect("commit"), [Done; 3]);
            cut.holds_once(commits, whole).await;
        }
        assert_eq!(cut.proxy.lost(), 2 * lost);
    });
}

#[test]
fn an_answer_to_a_commit_that_gets_lost_is_asked_for_again() {
    check_learns(COMMIT, 1);
}

#[test]
fn answers_to_a_commit_that_get_lost_again_and_again_are_asked_for_again() {
    check_learns(COMMIT, 3);
}

/// The transaction dies with its connection and is made again.
#[test]
fn a_transaction_whose_answer_gets_lost_is_made_again() {
    check_learns(BULK, 1);
}

#[test]
fn a_transaction_whose_answers_get_lost_again_and_again_is_made_again() {
    check_learns(BULK, 3);
}

#[test]
fn a_commit_that_nobody_answers_is_to_be_tried_again_and_was_done_once() {
    run(async {
        let cut = Cut::new().await;
        let group = group("acme", "lead-1");
        let (first, second) = (Whole::first(&group), Whole::second(&group));
        assert_eq!(first.commit(&cut.direct).await.expect("commit"), [Done; 3]);
        cut.proxy.lose_first(u32::MAX, COMMIT);
        let error = second.commit(&cut.behind).await.expect_err("no answer");
        assert_eq!(error.kind(), ErrorKind::Retry, "{error:?}");
        cut.proxy.lose(|_| false);
        cut.holds_once(2, &second).await;
    });
}

#[test]
fn a_transaction_that_nobody_answers_is_to_be_tried_again_and_was_not_done() {
    run(async {
        let cut = Cut::new().await;
        let whole = Whole::first(&group("acme", "lead-1"));
        cut.proxy.lose_first(u32::MAX, BULK);
        let error = whole.commit(&cut.behind).await.expect_err("no answer");
        assert_eq!(error.kind(), ErrorKind::Retry, "{error:?}");
        assert_eq!(whole.held(&cut.direct).await, Whole::held_after(0));
        cut.proxy.lose(|_| false);
        assert_eq!(whole.commit(&cut.behind).await.expect("commit"), [Done; 3]);
        cut.holds_once(1, &whole).await;
    });
}

/// More answers in a row than the adapter asks for.
const SILENCE: u32 = 9;

/// Loses answers to commits: now one, now so many in a row that nobody learns the outcome. Answers to
/// transactions are lost now and then.
fn lossy(seed: u64) -> impl FnMut(&[u8]) -> bool {
    let mut rng = Rng::with_seed(seed);
    let mut left = 0;
    move |request| {
        if holds(request, BULK) {
            return rng.u32(..24) == 0;
        }
        if !holds(request, COMMIT) {
            return false;
        }
        if left == 0 && rng.u32(..12) == 0 {
            left = if rng.u32(..3) == 0 { SILENCE } else { 1 };
        }
        let hit = left > 0;
        left -= u32::from(hit);
        hit
    }
}

#[test]
fn messages_whose_outcome_nobody_learned_come_again_and_do_no_harm() {
    let lives = Lives::new(4, 10, 200);
    let settings = Lives::settings();
    run(async {
        let cut = Cut::new().await;
        let directory = tempfile::tempdir().expect("a directory");
        let store = Embedded::open(directory.path(), LIMITS).expect("a store");
        let entries = entries(&settings, &lives.arrivals);
        store.append(&entries).await.expect("journal");
        let messages = messages_of(&entries, &mut Rng::with_seed(5));
        store
            .send(&messages, SystemClock.now())
            .await
            .expect("send");
        cut.proxy.lose(lossy(6));
        let worker = Worker {
            events: &store,
            rows: &cut.behind,
            settings: &settings,
            batch: 4,
        };
        let Worked {
            processed,
            retries,
            deliveries,
        } = worker.drain(|_| {}).await.expect("process");
        assert!(retries > 0, "{retries} retries");
        assert!(processed.held > 0, "{} held", processed.held);
        assert_eq!(processed.parked, []);
        let in_order = InOrder::of(&lives).await;
        in_order.check(&cut.direct).await;
        let spare = in_order.spare_hierarchies(&cut.direct, &deliveries).await;
        assert_eq!(spare, 0, "hierarchies of messages that did not come again");
    });
}

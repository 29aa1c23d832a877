//! The server is killed at any moment, and comes back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use foldback_tests::fixtures::{Lives, entries, group};
use foldback_tests::servers::{Durability, Proxy, Secantus, holds, uri};
use foldback_tests::worker::{LIMITS, MESSAGE_EVENTS_MAX, Worked, Worker, messages_of};
use pollster::block_on;
use shared::adapters::SystemClock;
use shared::adapters::embedded::Embedded;
use shared::ports::Committed::{Conflict, Done};
use shared::ports::{Clock, Error, ErrorKind, Journal, Queue};

use super::expected::InOrder;
use super::sent_twice::Whole;
use crate::mongo::{connect, run};

const KILLS: usize = 6;
const LEADS: u32 = 40;
const EVENTS: u32 = 1_500;
const BATCH: usize = 12;
/// Every kill hits one batch.
const FORGOTTEN_MAX: usize = KILLS * BATCH * MESSAGE_EVENTS_MAX;

#[expect(
    clippy::disallowed_methods,
    reason = "kills a server at a random moment of a run"
)]
fn sleep(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}

/// How far the work is.
#[derive(Default)]
struct Progress {
    /// Messages handled.
    handled: AtomicUsize,
    /// Batches that failed and come again.
    failed: AtomicUsize,
}

/// Handles all messages; rows are written over a connection that gives up soon.
async fn work(uri: &str, store: &Embedded, progress: &Progress) -> Worked {
    let impatient = format!("{uri}&serverSelectionTimeoutMS=200");
    let worker = Worker {
        events: store,
        rows: &connect(&impatient).await,
        settings: &Lives::settings(),
        batch: BATCH,
    };
    let count = |batch: Result<u64, &Error>| match batch {
        Ok(messages) => {
            let messages = usize::try_from(messages).expect("few");
            progress.handled.fetch_add(messages, Ordering::Relaxed);
        }
        Err(_comes_again) => {
            progress.failed.fetch_add(1, Ordering::Relaxed);
        }
    };
    worker.drain(count).await.expect("process")
}

#[test]
fn a_server_that_is_killed_again_and_again_loses_and_doubles_nothing() {
    let lives = Lives::new(2, LEADS, EVENTS);
    let mut rng = Rng::with_seed(3);
    let mut server = Secantus::start(Durability::Synced);
    let uri = server.uri("kills");
    let directory = tempfile::tempdir().expect("a directory");
    let store = Embedded::open(directory.path(), LIMITS).expect("a store");
    let messages = block_on(async {
        let entries = entries(&Lives::settings(), &lives.arrivals);
        store.append(&entries).await.expect("journal");
        let messages = messages_of(&entries, &mut rng);
        store
            .send(&messages, SystemClock.now())
            .await
            .expect("send");
        messages.len()
    });
    let progress = Progress::default();
    let worked = thread::scope(|scope| {
        let working = scope.spawn(|| run(work(&uri, &store, &progress)));
        for kill in 1..=KILLS {
            let next = messages * kill / (KILLS + 1);
            while progress.handled.load(Ordering::Relaxed) < next && !working.is_finished() {
                sleep(5);
            }
            assert!(!working.is_finished(), "all was done before kill {kill}");
            sleep(rng.u64(..100));
            let failed = progress.failed.load(Ordering::Relaxed);
            server.kill();
            sleep(rng.u64(..300));
            // A server that is back at once may go unnoticed. Every other one stays away until it is missed.
            while kill % 2 == 0 && progress.failed.load(Ordering::Relaxed) == failed {
                assert!(!working.is_finished(), "without a server");
                sleep(5);
            }
            server.restart();
        }
        working.join().expect("no panic")
    });
    let missed = u32::try_from(KILLS / 2).expect("few");
    assert!(worked.retries >= missed, "{} retries", worked.retries);
    assert_eq!(worked.processed.parked, []);
    run(async {
        let in_order = InOrder::of(&lives).await;
        let rows = connect(&uri).await;
        in_order.check(&rows).await;
        // SecantusDB forgets with its death which transactions it had committed. A batch whose commit
        // is asked for again after that is made again: it loses, and its hierarchies are saved anew.
        let spare = in_order.spare_hierarchies(&rows, &worked.deliveries).await;
        assert!(spare <= FORGOTTEN_MAX, "{spare} hierarchies too many");
    });
}

/// The server dies when it has done a commit and before it says so, and is another one when it is
/// asked again.
#[test]
fn a_commit_whose_answer_died_with_the_server_was_done_once() {
    let mut server = Secantus::start(Durability::Synced);
    let proxy = Proxy::start(server.port());
    let (direct, behind) = (server.uri("kills"), uri(proxy.port(), "kills"));
    let (restarted, wait) = channel();
    let mut commits = 0;
    proxy.lose(move |request| {
        if !holds(request, "commitTransaction") {
            return false;
        }
        commits += 1;
        if commits == 2 {
            wait.recv().expect("it comes back");
        }
        commits == 1
    });
    let whole = Whole::first(&group("acme", "lead-1"));
    thread::scope(|scope| {
        let committing = scope.spawn(|| {
            run(async {
                let rows = connect(&behind).await;
                whole.commit(&rows).await
            })
        });
        while proxy.lost() == 0 && !committing.is_finished() {
            sleep(1);
        }
        server.kill();
        server.restart();
        restarted.send(()).expect("it waits");
        let ended = committing.join().expect("no panic");
        // A server that forgot what it had done takes the write for another's.
        match ended {
            Ok(committed) => assert!(committed == [Done; 3] || committed == [Conflict; 3]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Retry),
        }
    });
    run(async {
        let rows = connect(&direct).await;
        assert_eq!(whole.held(&rows).await, Whole::held_after(1));
    });
}

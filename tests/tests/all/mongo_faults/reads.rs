//! A read of a row and its versions while another process writes them.

use std::thread;
use std::time::Duration;

use foldback_tests::fixtures::{at, group};
use shared::model::Timestamp;
use shared::ports::Committed::Done;
use shared::ports::{Reading, Tables};

use super::cut_off::Cut;
use super::sent_twice::{Whole, meeting};
use crate::mongo::run;

#[expect(
    clippy::disallowed_methods,
    reason = "lets the other requests of a read get through"
)]
fn sleep(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}

/// Reads the history's row with its versions while another writes both: the requests that hold a word
/// reach the server after that, the others before. Returns the row's version and when the versions
/// that came with it begin.
async fn read_across_a_write(word: &'static str) -> (u64, Vec<Timestamp>) {
    let cut = Cut::new().await;
    let group = group("acme", "lead-1");
    let commits = [Whole::first(&group), Whole::second(&group)];
    let done = commits[0].commit(&cut.direct).await;
    assert_eq!(done.expect("commit"), [Done; 3]);
    cut.proxy.hold_back(word);
    let (rows, key) = (cut.behind.clone(), meeting(&group));
    let reading = tokio::spawn(async move { rows.read(&[key], Reading::WithHistory).await });
    while cut.proxy.waiting() == 0 && !reading.is_finished() {
        sleep(5);
    }
    sleep(200);
    let done = commits[1].commit(&cut.direct).await;
    assert_eq!(done.expect("commit"), [Done; 3]);
    assert!(!reading.is_finished(), "no request holds {word:?}");
    cut.proxy.release();
    let read = reading.await.expect("no panic").expect("read");
    let row = read.first().expect("a row");
    let versions = row.history.as_deref().unwrap_or_default();
    let begin = versions.iter().map(|version| version.valid_from);
    (row.trail.version, begin.collect())
}

/// Whoever goes on from a row and from older versions than it has would leave some of them in force.
#[test]
fn versions_are_never_older_than_their_row() {
    run(async {
        let row_last = read_across_a_write("RSAppointmentChanges.heads").await;
        assert_eq!(row_last, (2, vec![at(0), at(5), at(20)]));
        // A write that goes on from the first version loses.
        let versions_last = read_across_a_write("RSAppointmentChanges\0").await;
        assert_eq!(versions_last, (1, vec![at(0), at(5), at(20)]));
    });
}

//! What every [`Rejects`] must do.

use shared::model::{Reject, RejectReason, Timestamp};
use shared::ports::Rejects;

use super::Fixture;
use crate::fixtures::at;

suite! { $ rejects_suite, rejects: Rejects;
    rejects_come_back_as_they_were,
    rejects_are_paged_in_the_order_they_came,
    the_same_reject_is_kept_once,
    rejects_that_differ_are_kept_each,
    rejects_survive_reopening,
}

fn reject(line: u64, text: &str) -> Reject {
    Reject {
        at: at(0),
        input: "events.jsonl".into(),
        line,
        reason: RejectReason::Malformed,
        detail: "not a CloudEvents JSON object".into(),
        text: text.into(),
    }
}

async fn keep(fixture: &impl Fixture<Ports: Rejects>, rejects: &[Reject]) {
    fixture.ports().keep(rejects).await.expect("keep");
}

/// All rejects, read page by page.
async fn listed(fixture: &impl Fixture<Ports: Rejects>, limit: usize) -> Vec<Reject> {
    let mut all: Vec<(u64, Reject)> = Vec::new();
    loop {
        let after = all.last().map_or(0, |(place, _)| *place);
        let page = fixture.ports().list(after, limit).await.expect("list");
        assert!(page.len() <= limit, "a page of {} for {limit}", page.len());
        if page.is_empty() {
            break;
        }
        all.extend(page);
        assert!(all.len() < 10_000, "the pages have no end");
        assert!(all.is_sorted_by(|(a, _), (b, _)| a < b), "places grow");
    }
    all.into_iter().map(|(_, reject)| reject).collect()
}

async fn rejects_come_back_as_they_were(fixture: &mut impl Fixture<Ports: Rejects>) {
    let reasons = [
        RejectReason::Malformed,
        RejectReason::Time,
        RejectReason::Oversized,
        RejectReason::UnknownTenant,
        RejectReason::NoPartitionKey,
        RejectReason::Conflict,
        RejectReason::Reserved,
    ];
    let mut rejects: Vec<Reject> = (1..)
        .zip(reasons)
        .map(|(line, reason)| Reject {
            reason,
            ..reject(line, "{")
        })
        .collect();
    rejects.push(Reject {
        at: Timestamp::MAX,
        input: "-".into(),
        detail: String::new(),
        ..reject(1 << 53, "")
    });
    rejects.push(Reject {
        at: Timestamp::MIN,
        input: "/données/名前 '%.jsonl".into(),
        detail: "ünïcode \u{1f600}".into(),
        ..reject(8, &"\u{0} ' \" \\ \n\t\u{fffd} é".repeat(200))
    });
    keep(fixture, &rejects).await;
    assert_eq!(listed(fixture, 100).await, rejects);
}

async fn rejects_are_paged_in_the_order_they_came(fixture: &mut impl Fixture<Ports: Rejects>) {
    assert_eq!(listed(fixture, 10).await, []);
    let rejects: Vec<Reject> = [9, 2, 7, 1, 8, 3]
        .into_iter()
        .map(|line| reject(line, &format!("line {line}")))
        .collect();
    keep(fixture, &rejects[..4]).await;
    keep(fixture, &[]).await;
    keep(fixture, &rejects[4..]).await;
    for limit in [1, 2, 4, 6, 7] {
        assert_eq!(listed(fixture, limit).await, rejects, "pages of {limit}");
    }
}

/// Running a file again must not double its rejects: input, line and text make one, when it was
/// refused and why does not.
async fn the_same_reject_is_kept_once(fixture: &mut impl Fixture<Ports: Rejects>) {
    let first = reject(1, "{");
    let again = Reject {
        at: at(60),
        reason: RejectReason::Time,
        detail: "said in other words".into(),
        ..first.clone()
    };
    keep(fixture, &[first.clone(), first.clone(), reject(2, "[")]).await;
    keep(fixture, &[first.clone(), again.clone()]).await;
    keep(fixture, &[again]).await;
    assert_eq!(listed(fixture, 1).await, [first, reject(2, "[")]);
}

async fn rejects_that_differ_are_kept_each(fixture: &mut impl Fixture<Ports: Rejects>) {
    let input = |input: &str, line: u64, text: &str| Reject {
        input: input.into(),
        ..reject(line, text)
    };
    // A number whose bytes could pass for text.
    let line = u64::from_le_bytes(*b"aaaaaaaa");
    let rejects = [
        reject(1, "a"),
        reject(2, "a"),
        reject(1, "A"),
        reject(1, "a "),
        input("ab", 1, "c"),
        input("a", 1, "bc"),
        input("", line, "ab"),
        input("a", line, "b"),
        reject(12, ""),
        reject(1, "2"),
    ];
    for reject in &rejects {
        keep(fixture, std::slice::from_ref(reject)).await;
    }
    keep(fixture, &rejects).await;
    assert_eq!(listed(fixture, 100).await, rejects);
}

async fn rejects_survive_reopening(fixture: &mut impl Fixture<Ports: Rejects>) {
    let rejects = [reject(1, "{"), reject(2, "[")];
    keep(fixture, &rejects).await;
    fixture.reopen().await;
    keep(fixture, &[rejects[1].clone(), reject(3, "x")]).await;
    let expect = [rejects.as_slice(), &[reject(3, "x")]].concat();
    assert_eq!(listed(fixture, 100).await, expect);
}

use std::sync::Arc;
use std::time::Instant;

use smol_str::SmolStr;

use crate::flow::{Addition, ImageHead, KeptImage, RowKey, Stored};
use crate::handlers::Version;
use crate::metrics::registry::{STORE_REQUESTS, STORE_SECONDS};
use crate::model::{
    ActionHierarchy, Entry, EventHash, Finding, Group, ReplayRun, Report, Timestamp,
};
use crate::ports::{
    Added, Appended, Commit, Committed, ConversionPage, ConversionQuery, Depth, Error, Found,
    Hierarchies, HistoryVersion, Journal, Lease, Letter, LockKey, Locks, Look, Message, Meter,
    Partition, Queue, Reading, Receipt, Received, Reports, Since, Tables, Waiting,
};

/// Ports whose every request is measured: how many, how long, how many failed.
#[derive(Debug)]
pub struct Watched<'a, P, M> {
    /// The ports.
    pub ports: &'a P,
    /// Where that goes.
    pub meter: &'a M,
}

impl<P: Sync, M: Meter> Watched<'_, P, M> {
    async fn watch<T>(
        &self,
        store: &'static str,
        request: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        #[expect(
            clippy::disallowed_methods,
            reason = "how long a store takes is no input of anything"
        )]
        let since = Instant::now();
        let answer = request.await;
        let us = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
        let result = if answer.is_ok() { "ok" } else { "error" };
        self.meter.record(&[
            STORE_REQUESTS.is(1, &[store, result]),
            STORE_SECONDS.is(us, &[store]),
        ]);
        answer
    }
}

impl<P: Journal, M: Meter> Journal for Watched<'_, P, M> {
    async fn append(&self, entries: &[Arc<Entry>]) -> Result<Vec<Appended>, Error> {
        self.watch("journal", self.ports.append(entries)).await
    }

    async fn entries(&self, groups: &[Group]) -> Result<Vec<Vec<Entry>>, Error> {
        self.watch("journal", self.ports.entries(groups)).await
    }

    async fn entries_since(&self, groups: &[Since]) -> Result<Vec<Vec<Entry>>, Error> {
        self.watch("journal", self.ports.entries_since(groups))
            .await
    }

    async fn whereabouts(
        &self,
        events: &[(SmolStr, EventHash)],
    ) -> Result<Vec<Option<Group>>, Error> {
        self.watch("journal", self.ports.whereabouts(events)).await
    }

    async fn homes(&self, events: &[(SmolStr, EventHash)]) -> Result<Vec<Option<Group>>, Error> {
        self.watch("journal", self.ports.homes(events)).await
    }

    async fn groups(
        &self,
        partition: Partition,
        after: Option<&Group>,
        limit: usize,
    ) -> Result<Vec<Group>, Error> {
        self.watch("journal", self.ports.groups(partition, after, limit))
            .await
    }
}

impl<P: Queue, M: Meter> Queue for Watched<'_, P, M> {
    async fn send(&self, messages: &[Message], now: Timestamp) -> Result<(), Error> {
        self.watch("queue", self.ports.send(messages, now)).await
    }

    async fn receive(&self, limit: usize, now: Timestamp) -> Result<Vec<Received>, Error> {
        self.watch("queue", self.ports.receive(limit, now)).await
    }

    async fn delete(&self, receipts: &[Receipt]) -> Result<(), Error> {
        self.watch("queue", self.ports.delete(receipts)).await
    }

    async fn hide_until(&self, receipts: &[Receipt], at: Timestamp) -> Result<(), Error> {
        self.watch("queue", self.ports.hide_until(receipts, at))
            .await
    }

    async fn park(&self, letters: &[(Message, String)], now: Timestamp) -> Result<(), Error> {
        self.watch("queue", self.ports.park(letters, now)).await
    }

    async fn dead_letters(&self, after: u128, limit: usize) -> Result<Vec<Letter>, Error> {
        self.watch("queue", self.ports.dead_letters(after, limit))
            .await
    }

    async fn redrive(&self, letters: &[u128], now: Timestamp) -> Result<u64, Error> {
        self.watch("queue", self.ports.redrive(letters, now)).await
    }

    async fn discard(&self, letters: &[u128]) -> Result<u64, Error> {
        self.watch("queue", self.ports.discard(letters)).await
    }

    async fn depth(&self, now: Timestamp) -> Result<Depth, Error> {
        self.watch("queue", self.ports.depth(now)).await
    }
}

impl<P: Locks, M: Meter> Locks for Watched<'_, P, M> {
    async fn acquire(
        &self,
        key: &LockKey,
        owner: &str,
        lease_ms: i64,
        now: Timestamp,
    ) -> Result<Option<Lease>, Error> {
        self.watch("locks", self.ports.acquire(key, owner, lease_ms, now))
            .await
    }

    async fn renew(
        &self,
        lease: &Lease,
        lease_ms: i64,
        now: Timestamp,
    ) -> Result<Option<Lease>, Error> {
        self.watch("locks", self.ports.renew(lease, lease_ms, now))
            .await
    }

    async fn release(&self, lease: &Lease) -> Result<(), Error> {
        self.watch("locks", self.ports.release(lease)).await
    }
}

impl<P: Waiting, M: Meter> Waiting for Watched<'_, P, M> {
    async fn waiting(&self, groups: &[Group]) -> Result<Vec<Vec<Entry>>, Error> {
        self.watch("queue", self.ports.waiting(groups)).await
    }
}

impl<P: Tables, M: Meter> Tables for Watched<'_, P, M> {
    async fn read(&self, keys: &[RowKey], reading: Reading) -> Result<Vec<Stored>, Error> {
        self.watch("tables", self.ports.read(keys, reading)).await
    }

    async fn read_groups(&self, groups: &[Group]) -> Result<Vec<Vec<Stored>>, Error> {
        self.watch("tables", self.ports.read_groups(groups)).await
    }

    async fn groups_with_rows(
        &self,
        partition: Partition,
        after: Option<&Group>,
        limit: usize,
    ) -> Result<Vec<Group>, Error> {
        self.watch(
            "tables",
            self.ports.groups_with_rows(partition, after, limit),
        )
        .await
    }

    async fn commit_all(
        &self,
        commit: Commit<'_>,
        now: Timestamp,
    ) -> Result<Vec<Committed>, Error> {
        self.watch("tables", self.ports.commit_all(commit, now))
            .await
    }

    async fn images(&self, group: &Group, since: Timestamp) -> Result<Vec<KeptImage>, Error> {
        self.watch("tables", self.ports.images(group, since)).await
    }

    async fn image_heads(&self, group: &Group) -> Result<Vec<ImageHead>, Error> {
        self.watch("tables", self.ports.image_heads(group)).await
    }

    async fn versions_after(&self, rows: &[(RowKey, u32)]) -> Result<Vec<Vec<Version>>, Error> {
        self.watch("tables", self.ports.versions_after(rows)).await
    }

    async fn add(&self, additions: &[Addition], now: Timestamp) -> Result<Vec<Added>, Error> {
        self.watch("tables", self.ports.add(additions, now)).await
    }

    async fn history(&self, key: &RowKey) -> Result<Vec<HistoryVersion>, Error> {
        self.watch("tables", self.ports.history(key)).await
    }

    async fn conversions(&self, query: &ConversionQuery) -> Result<ConversionPage, Error> {
        self.watch("tables", self.ports.conversions(query)).await
    }

    async fn find(&self, tenant: Option<&str>, id: &str) -> Result<Vec<RowKey>, Error> {
        self.watch("tables", self.ports.find(tenant, id)).await
    }
}

impl<P: Hierarchies, M: Meter> Hierarchies for Watched<'_, P, M> {
    async fn finished(&self, look: &Look) -> Result<Found<ActionHierarchy>, Error> {
        self.watch("tables", self.ports.finished(look)).await
    }

    async fn of_group(&self, group: &Group) -> Result<Vec<ActionHierarchy>, Error> {
        self.watch("tables", self.ports.of_group(group)).await
    }
}

impl<P: Reports, M: Meter> Reports for Watched<'_, P, M> {
    async fn keep_run(&self, run: &ReplayRun, findings: &[Finding]) -> Result<u64, Error> {
        self.watch("reports", self.ports.keep_run(run, findings))
            .await
    }

    async fn runs(&self, limit: usize) -> Result<Vec<(u64, ReplayRun)>, Error> {
        self.watch("reports", self.ports.runs(limit)).await
    }

    async fn findings(
        &self,
        run: u64,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Finding)>, Error> {
        self.watch("reports", self.ports.findings(run, after, limit))
            .await
    }

    async fn keep_live(&self, findings: &[Finding]) -> Result<(), Error> {
        self.watch("reports", self.ports.keep_live(findings)).await
    }

    async fn forget_live(&self, findings: &[Finding]) -> Result<(), Error> {
        self.watch("reports", self.ports.forget_live(findings))
            .await
    }

    async fn keep_report(&self, report: &Report) -> Result<(), Error> {
        self.watch("reports", self.ports.keep_report(report)).await
    }

    async fn reports(&self, limit: usize) -> Result<Vec<Report>, Error> {
        self.watch("reports", self.ports.reports(limit)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::{ErrorKind, Readings};

    struct Failing;

    impl Locks for Failing {
        async fn acquire(
            &self,
            _key: &LockKey,
            _owner: &str,
            _lease_ms: i64,
            _now: Timestamp,
        ) -> Result<Option<Lease>, Error> {
            Ok(None)
        }

        async fn renew(
            &self,
            _lease: &Lease,
            _lease_ms: i64,
            _now: Timestamp,
        ) -> Result<Option<Lease>, Error> {
            Err(Error::new(ErrorKind::Retry, "renew", "out of reach"))
        }

        async fn release(&self, _lease: &Lease) -> Result<(), Error> {
            Ok(())
        }
    }

    #[test]
    fn each_request_is_counted_with_how_it_went() {
        let meter = Readings::default();
        let watched = Watched {
            ports: &Failing,
            meter: &meter,
        };
        let key = LockKey {
            tenant: "acme".into(),
            name: "row".into(),
        };
        let acquired = pollster::block_on(watched.acquire(&key, "me", 1, Timestamp::MAX));
        assert!(acquired.expect("an answer").is_none());
        let lease = Lease {
            key,
            owner: "me".into(),
            fence: 1,
            until: Timestamp::MAX,
        };
        pollster::block_on(watched.renew(&lease, 1, Timestamp::MAX)).expect_err("it fails");
        let readings = meter.take();
        let counted = readings.iter().filter(|one| one.metric == &STORE_REQUESTS);
        let results: Vec<&[SmolStr]> = counted.map(|one| one.labels.as_slice()).collect();
        assert_eq!(results, [["locks", "ok"], ["locks", "error"]]);
        let timed = readings.iter().filter(|one| one.metric == &STORE_SECONDS);
        assert_eq!(timed.count(), 2);
        assert!(meter.take().is_empty(), "they are taken once");
    }
}

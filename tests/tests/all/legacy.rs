//! A store of one machine whose tables legacy code writes too, kept in memory beside it.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};

use foldback_tests::contract::{Fixture, LegacyFixture};
use serde_json::{Map, Value};
use shared::adapters::embedded::Embedded;
use shared::flow::{Addition, ImageHead, KeptImage, Put, RowKey, Stored, Write};
use shared::handlers::{Table, Version, known_fields};
use shared::model::{Entry, EventHash, Finding, Group, ReplayRun, Report, Timestamp};
use shared::ports::{
    Added, Appended, Commit, Committed, ConversionPage, ConversionQuery, Depth, Error,
    HistoryVersion, Journal, Lease, LegacyRow, LegacyTables, Letter, LockKey, Locks, Message,
    Partition, Queue, Reading, Receipt, Received, Reports, Since, Tables, Waiting,
};

use smol_str::SmolStr;

use crate::contract::OneMachine;

type Fields = Map<String, Value>;

/// A document of the legacy code's.
struct Document {
    table: Table,
    fields: Fields,
    /// The row that it is now, of which the store keeps the fields that the table knows.
    adopted: Option<RowKey>,
}

/// What legacy code does just before rows are adopted.
type Meddling = Box<dyn FnMut(&mut Fields) + Send>;

/// The embedded store's ports, and legacy rows.
pub(crate) struct Beside {
    inner: Arc<Embedded>,
    documents: Arc<Mutex<Vec<Document>>>,
    meddling: Mutex<Option<Meddling>>,
}

/// A [`OneMachine`] with legacy rows.
pub(crate) struct WithLegacy {
    machine: OneMachine,
    ports: Option<Beside>,
    documents: Arc<Mutex<Vec<Document>>>,
}

impl WithLegacy {
    fn open(&mut self) {
        self.ports = Some(Beside {
            inner: self.machine.share(),
            documents: Arc::clone(&self.documents),
            meddling: Mutex::new(None),
        });
    }
}

impl WithLegacy {
    /// Replaces the one document of a table whole, its trail included, as legacy code may do.
    pub(crate) async fn replace_legacy(&self, table: Table, document: &Value) {
        let key = {
            let mut documents = self.ports().documents();
            let known = documents.iter_mut().find(|one| one.table == table);
            let known = known.expect("a document");
            known.fields = document.as_object().expect("a document").clone();
            known.adopted.take()
        };
        if let Some(key) = key {
            let write = Write {
                expected: Some(self.ports().stored(&key).await.trail.version),
                key,
                put: None,
            };
            self.ports().commit_alone(write).await;
        }
    }
}

impl Fixture for WithLegacy {
    type Ports = Beside;

    const VISIBILITY_MS: i64 = OneMachine::VISIBILITY_MS;
    const RECEIVES_MAX: u32 = OneMachine::RECEIVES_MAX;

    async fn fresh() -> Self {
        let mut fresh = Self {
            machine: OneMachine::fresh().await,
            ports: None,
            documents: Arc::default(),
        };
        fresh.open();
        fresh
    }

    fn ports(&self) -> &Beside {
        self.ports.as_ref().expect("open")
    }

    fn now(&self) -> Timestamp {
        self.machine.now()
    }

    async fn pass(&mut self, ms: i64) {
        self.machine.pass(ms).await;
    }

    async fn reopen(&mut self) {
        self.ports = None;
        self.machine.reopen().await;
        self.open();
    }

    fn run(check: impl Future<Output = ()>) {
        OneMachine::run(check);
    }
}

impl LegacyFixture for WithLegacy {
    async fn put_legacy(&self, table: Table, document: &Value) {
        let fields = document.as_object().expect("a document");
        if let Some(key) = self.ports().set(table, fields) {
            self.ports().overwrite(&key, fields).await;
        }
    }

    async fn legacy_content(&self, table: Table, id: &str) -> Value {
        let (mut fields, key) = {
            let documents = self.ports().documents();
            let is = |one: &&Document| {
                one.table == table && one.fields.get(table.id_field()) == Some(&id.into())
            };
            let document = documents.iter().find(is).expect("a document");
            (document.fields.clone(), document.adopted.clone())
        };
        if let Some(key) = key {
            let stored = self.ports().stored(&key).await;
            let known = table.new_row(&key.group, &key.id).body();
            let known: Fields = serde_json::from_str(&known).expect("fields");
            fields.retain(|name, _| !known.contains_key(name));
            let body = stored.row.body();
            fields.extend(serde_json::from_str::<Fields>(&body).expect("fields"));
        }
        Value::Object(fields)
    }
}

impl Beside {
    fn documents(&self) -> MutexGuard<'_, Vec<Document>> {
        self.documents.lock().expect("nobody panicked")
    }

    /// Sets fields of a document, or inserts it; returns the row that it is, if it is one by now.
    fn set(&self, table: Table, fields: &Fields) -> Option<RowKey> {
        let identity = |fields: &Fields| {
            let names = ["tenant", "leadId", table.id_field()];
            names.map(|name| fields.get(name).cloned().unwrap_or_default())
        };
        let mut documents = self.documents();
        let known = documents
            .iter_mut()
            .find(|one| one.table == table && identity(&one.fields) == identity(fields));
        if let Some(document) = known {
            document.fields.extend(fields.clone());
            return document.adopted.clone();
        }
        documents.push(Document {
            table,
            fields: fields.clone(),
            adopted: None,
        });
        None
    }

    /// Whether a document is still what was read, after legacy code had its say.
    fn is_as_read(&self, row: &LegacyRow) -> bool {
        let mut documents = self.documents();
        let document = documents.get_mut(place(row)).expect("a document");
        if let Some(meddle) = &mut *self.meddling.lock().expect("nobody panicked") {
            meddle(&mut document.fields);
        }
        document.adopted.is_none() && legacy_row(place(row), document) == *row
    }

    /// Lets legacy code change each document just before it is adopted.
    pub(crate) fn meddle(&self, meddling: impl FnMut(&mut Fields) + Send + 'static) {
        *self.meddling.lock().expect("nobody panicked") = Some(Box::new(meddling));
    }

    async fn stored(&self, key: &RowKey) -> Stored {
        let read = self.inner.read(std::slice::from_ref(key), Reading::Row);
        read.await.expect("read").pop().expect("a row")
    }

    /// Changes fields of an adopted row as legacy code does: its trail stays as it is.
    async fn overwrite(&self, key: &RowKey, fields: &Fields) {
        let stored = self.stored(key).await;
        let mut body: Fields = serde_json::from_str(&stored.row.body()).expect("fields");
        body.extend(fields.clone());
        let body = known_fields(key.table, &body).expect("a row");
        let row = key.table.read_row(&body).expect("a row");
        let write = Write {
            key: key.clone(),
            expected: Some(stored.trail.version),
            put: Some(Put {
                actions: Vec::new(),
                row,
                body,
                trail: stored.trail,
                history: None,
                moved: true,
            }),
        };
        self.commit_alone(write).await;
    }

    async fn commit_alone(&self, write: Write) {
        let committed = Tables::commit(&*self.inner, &[write], &[], Timestamp::MIN).await;
        assert_eq!(committed.expect("commit"), [Committed::Done]);
    }
}

fn place(row: &LegacyRow) -> usize {
    row.handle.parse().expect("a handle")
}

/// The row that a document is as long as nobody adopted it.
fn legacy_row(place: usize, document: &Document) -> LegacyRow {
    let tenant = document.fields.get("tenant").and_then(Value::as_str);
    LegacyRow {
        table: document.table,
        handle: format!("{place:06}"),
        body: known_fields(document.table, &document.fields),
        tenant: tenant.map(Into::into),
    }
}

impl LegacyTables for Beside {
    async fn untracked(
        &self,
        table: Table,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<LegacyRow>, Error> {
        let documents = self.documents();
        let rows = documents.iter().enumerate();
        let rows = rows
            .filter(|(_, one)| one.table == table && one.adopted.is_none())
            .map(|(place, one)| legacy_row(place, one));
        let after = |row: &LegacyRow| after.is_none_or(|after| row.handle.as_str() > after);
        Ok(rows.filter(after).take(limit).collect())
    }

    async fn adopt(
        &self,
        adoptions: &[(LegacyRow, Write)],
        now: Timestamp,
    ) -> Result<Vec<Committed>, Error> {
        let mut committed = Vec::new();
        for (row, write) in adoptions {
            let mut became = Committed::Conflict;
            if self.is_as_read(row) {
                let done = Tables::commit(&*self.inner, std::slice::from_ref(write), &[], now);
                became = done.await?.into_iter().next().unwrap_or(became);
            }
            if became == Committed::Done {
                let mut documents = self.documents();
                let document = documents.get_mut(place(row)).expect("a document");
                document.adopted = Some(write.key.clone());
            }
            committed.push(became);
        }
        Ok(committed)
    }
}

impl Journal for Beside {
    async fn append(&self, entries: &[Arc<Entry>]) -> Result<Vec<Appended>, Error> {
        self.inner.append(entries).await
    }
    async fn entries(&self, groups: &[Group]) -> Result<Vec<Vec<Entry>>, Error> {
        self.inner.entries(groups).await
    }
    async fn entries_since(&self, groups: &[Since]) -> Result<Vec<Vec<Entry>>, Error> {
        self.inner.entries_since(groups).await
    }
    async fn whereabouts(
        &self,
        events: &[(SmolStr, EventHash)],
    ) -> Result<Vec<Option<Group>>, Error> {
        self.inner.whereabouts(events).await
    }

    async fn homes(&self, events: &[(SmolStr, EventHash)]) -> Result<Vec<Option<Group>>, Error> {
        self.inner.homes(events).await
    }

    async fn groups(
        &self,
        partition: Partition,
        after: Option<&Group>,
        limit: usize,
    ) -> Result<Vec<Group>, Error> {
        self.inner.groups(partition, after, limit).await
    }
}

impl Queue for Beside {
    async fn send(&self, messages: &[Message], now: Timestamp) -> Result<(), Error> {
        self.inner.send(messages, now).await
    }
    async fn receive(&self, limit: usize, now: Timestamp) -> Result<Vec<Received>, Error> {
        self.inner.receive(limit, now).await
    }
    async fn delete(&self, receipts: &[Receipt]) -> Result<(), Error> {
        self.inner.delete(receipts).await
    }
    async fn hide_until(&self, receipts: &[Receipt], at: Timestamp) -> Result<(), Error> {
        self.inner.hide_until(receipts, at).await
    }
    async fn park(&self, letters: &[(Message, String)], now: Timestamp) -> Result<(), Error> {
        self.inner.park(letters, now).await
    }
    async fn dead_letters(&self, after: u128, limit: usize) -> Result<Vec<Letter>, Error> {
        self.inner.dead_letters(after, limit).await
    }
    async fn redrive(&self, letters: &[u128], now: Timestamp) -> Result<u64, Error> {
        self.inner.redrive(letters, now).await
    }
    async fn discard(&self, letters: &[u128]) -> Result<u64, Error> {
        self.inner.discard(letters).await
    }
    async fn depth(&self, now: Timestamp) -> Result<Depth, Error> {
        self.inner.depth(now).await
    }
}

impl Locks for Beside {
    async fn acquire(
        &self,
        key: &LockKey,
        owner: &str,
        lease_ms: i64,
        now: Timestamp,
    ) -> Result<Option<Lease>, Error> {
        self.inner.acquire(key, owner, lease_ms, now).await
    }
    async fn renew(
        &self,
        lease: &Lease,
        lease_ms: i64,
        now: Timestamp,
    ) -> Result<Option<Lease>, Error> {
        self.inner.renew(lease, lease_ms, now).await
    }
    async fn release(&self, lease: &Lease) -> Result<(), Error> {
        self.inner.release(lease).await
    }
}

impl Reports for Beside {
    async fn keep_run(&self, run: &ReplayRun, findings: &[Finding]) -> Result<u64, Error> {
        self.inner.keep_run(run, findings).await
    }
    async fn runs(&self, limit: usize) -> Result<Vec<(u64, ReplayRun)>, Error> {
        self.inner.runs(limit).await
    }
    async fn findings(
        &self,
        run: u64,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Finding)>, Error> {
        self.inner.findings(run, after, limit).await
    }
    async fn keep_live(&self, findings: &[Finding]) -> Result<(), Error> {
        self.inner.keep_live(findings).await
    }
    async fn forget_live(&self, findings: &[Finding]) -> Result<(), Error> {
        self.inner.forget_live(findings).await
    }

    async fn keep_report(&self, report: &Report) -> Result<(), Error> {
        self.inner.keep_report(report).await
    }
    async fn reports(&self, limit: usize) -> Result<Vec<Report>, Error> {
        self.inner.reports(limit).await
    }
}

impl Waiting for Beside {
    async fn waiting(&self, groups: &[Group]) -> Result<Vec<Vec<Entry>>, Error> {
        self.inner.waiting(groups).await
    }
}

impl Tables for Beside {
    async fn read(&self, keys: &[RowKey], reading: Reading) -> Result<Vec<Stored>, Error> {
        self.inner.read(keys, reading).await
    }
    async fn read_groups(&self, groups: &[Group]) -> Result<Vec<Vec<Stored>>, Error> {
        self.inner.read_groups(groups).await
    }
    async fn groups_with_rows(
        &self,
        partition: Partition,
        after: Option<&Group>,
        limit: usize,
    ) -> Result<Vec<Group>, Error> {
        self.inner.groups_with_rows(partition, after, limit).await
    }
    async fn commit_all(
        &self,
        commit: Commit<'_>,
        now: Timestamp,
    ) -> Result<Vec<Committed>, Error> {
        self.inner.commit_all(commit, now).await
    }

    async fn images(&self, group: &Group, since: Timestamp) -> Result<Vec<KeptImage>, Error> {
        self.inner.images(group, since).await
    }

    async fn image_heads(&self, group: &Group) -> Result<Vec<ImageHead>, Error> {
        self.inner.image_heads(group).await
    }

    async fn versions_after(&self, rows: &[(RowKey, u32)]) -> Result<Vec<Vec<Version>>, Error> {
        self.inner.versions_after(rows).await
    }
    async fn add(&self, additions: &[Addition], now: Timestamp) -> Result<Vec<Added>, Error> {
        self.inner.add(additions, now).await
    }
    async fn history(&self, key: &RowKey) -> Result<Vec<HistoryVersion>, Error> {
        self.inner.history(key).await
    }
    async fn conversions(&self, query: &ConversionQuery) -> Result<ConversionPage, Error> {
        self.inner.conversions(query).await
    }
    async fn find(&self, tenant: Option<&str>, id: &str) -> Result<Vec<RowKey>, Error> {
        self.inner.find(tenant, id).await
    }
}

mod adoption {
    foldback_tests::adoption_suite!(super::WithLegacy);
}

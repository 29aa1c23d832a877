//! Events of which several tellings come: whoever dies, whatever order they come in and whatever is lost, the
//! rows are those of a tenant to whom only what is true was told, once.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;
use serde_json::{Map, Value, json};
use shared::flow::Stored;
use shared::model::{Entry, Finding, Group};
use shared::ports::{Message, Queue};
use shared::service::{Duplicates, Mode, Parked, Replay, Scope, accept, ingest, process};
use shared::settings::{Format, Settings};

use super::Still;
use super::together::AllPorts;
use crate::fixtures::{Lives, at, group};
use crate::mortal::{Deed, Mortal};

/// Each scenario is a tenant's, so that many share a store.
const TENANTS: u32 = 400;
/// The tenant to whom only the truth is told.
const TRUTH: u32 = 0;
/// How many messages are handled at once.
const BATCH: usize = 4;
/// More batches than any scenario takes.
const BATCHES_MAX: u32 = 400;
/// How many messages of a wave come again after it.
const COME_AGAIN: usize = 3;

/// What is told, and what of it is true in the end.
pub(super) struct Scenario {
    pub(super) settings: Arc<Settings>,
    /// Each telling in short: id, lead or `-`, type, minutes after nine o'clock, and what else it says.
    pub(super) waves: &'static [&'static [&'static str]],
    pub(super) truth: &'static [&'static str],
    pub(super) leads: &'static [&'static str],
    pub(super) appointments: &'static [&'static str],
    /// Whether each call is died at in every way, or in one, by turns.
    pub(super) every_way: bool,
}

/// The settings of all tenants; `more` goes before the mappings.
pub(super) fn settings(more: &str) -> Arc<Settings> {
    let ids = (0..TENANTS).map(|one| format!("{:?}", tenant(one)));
    let ids: Vec<String> = ids.collect();
    let text = Lives::settings_text()
        .replacen(r#"["acme", "globex"]"#, &format!("[{}]", ids.join(", ")), 1)
        .replacen("[tenant.set]", &format!("{more}\n[tenant.set]"), 1);
    Arc::new(Settings::compile(&text, Format::Toml, 1).expect("the settings compile"))
}

fn tenant(number: u32) -> String {
    format!("t{number}")
}

/// A telling as a sender puts it.
fn message(told: &str) -> String {
    let mut words = told.split_whitespace();
    let mut next = || words.next().expect("a word");
    let (id, lead, kind) = (next(), next(), next());
    let time = at(next().parse().expect("minutes"));
    let mut event = json!({"specversion": "1.0", "source": "//crm", "id": id, "type": kind,
        "time": time.to_string()});
    let mut data = Map::new();
    for word in words {
        match word.split_once('=') {
            None => event[word] = true.into(),
            Some(("rev", revision)) => event["revision"] = revision.into(),
            Some((name, value)) => drop(data.insert(name.into(), value.into())),
        }
    }
    if lead != "-" {
        event["partitionkey"] = lead.into();
    }
    if !data.is_empty() {
        event["data"] = data.into();
    }
    event.to_string()
}

impl Scenario {
    fn entries(&self, tenant: &str, told: &[&str], clock: &Still) -> Vec<Arc<Entry>> {
        let entry = |told: &&str| {
            let text = message(told);
            let accepted = accept(
                &self.settings,
                Some(&tenant.into()),
                text.as_bytes(),
                clock.0,
            );
            Arc::new(accepted.expect("an event"))
        };
        told.iter().map(entry).collect()
    }

    fn groups(&self, tenant: &str) -> Vec<Group> {
        let leads = self.leads.iter().map(|lead| group(tenant, lead));
        let appointments = self.appointments.iter();
        let appointments = appointments.map(|id| Group::of_appointment(&tenant.into(), id));
        let days = (0..3).map(|day| Group::of_day(&tenant.into(), at(day * 24 * 60)));
        leads.chain(appointments).chain(days).collect()
    }

    /// The rows of a tenant, by group, table and id, with their versions in force.
    async fn rows(&self, ports: &impl AllPorts, tenant: &str) -> BTreeMap<String, Value> {
        let stored = ports.read_groups(&self.groups(tenant)).await;
        let stored = stored.expect("rows").concat();
        let row = |row: &Stored| {
            let mut body: Value = serde_json::from_str(&row.row.body()).expect("JSON");
            body["tenant"] = Value::Null;
            let versions = row.history.iter().flatten();
            let versions: Vec<Value> = versions.map(|one| json!(one)).collect();
            let name = format!(
                "{} {} {}",
                row.key.group.key,
                row.key.table.name(),
                row.key.id
            );
            (name, json!([body, versions]))
        };
        stored
            .iter()
            .filter(|row| !row.is_gone())
            .map(row)
            .collect()
    }

    /// Takes waves in, one after another; with each, messages of the one before come again.
    async fn live<P: AllPorts>(
        &self,
        worker: &Mortal<'_, P>,
        clock: &Still,
        tenant: &str,
        (waves, fate): (&[Vec<&str>], Fate),
    ) {
        let mut rng = Rng::with_seed(group(tenant, "").hash().cast_unsigned());
        let mut again: Vec<Message> = Vec::new();
        for wave in waves {
            let entries = self.entries(tenant, wave, clock);
            // Who sends events tries again until they are taken.
            while ingest(worker, &entries, Duplicates::SendAgain, clock.0)
                .await
                .is_err()
            {
                assert!(worker.has_died(), "dies once");
            }
            for message in &mut again {
                message.deduplication_id = rng.u128(..);
            }
            while worker.send(&again, clock.0).await.is_err() {
                assert!(worker.has_died(), "dies once");
            }
            again = self.drain(worker, clock, fate).await;
            again.truncate(COME_AGAIN);
        }
    }

    /// Handles messages until none is left, as this worker and, where it dies, as another in its place; returns
    /// what was received.
    async fn drain<P: AllPorts>(
        &self,
        worker: &Mortal<'_, P>,
        clock: &Still,
        fate: Fate,
    ) -> Vec<Message> {
        let mut all = Vec::new();
        for _batch in 0..BATCHES_MAX {
            let depth = worker.depth(clock.0).await.expect("depth");
            if depth.visible + depth.in_flight == 0 {
                assert_eq!(depth.dead, 0, "nothing is parked");
                return all;
            }
            let received = worker.receive(BATCH, clock.0).await.expect("receive");
            all.extend(received.iter().map(|one| one.message.clone()));
            let processed = process(worker, clock, &self.settings, &received).await;
            let failed = match processed {
                Ok(done) => done.failed,
                Err(_died) => received.into_iter().map(|one| one.receipt).collect(),
            };
            match fate {
                // Those that were deleted by who died are no longer there to be shown again.
                Fate::ComeAgain => drop(worker.hide_until(&failed, clock.0).await),
                Fate::Lost => drop(worker.delete(&failed).await),
            }
        }
        panic!("messages are left");
    }

    async fn replayed(
        &self,
        ports: &impl AllPorts,
        clock: &Still,
        tenant: &str,
        mode: Mode,
    ) -> Vec<Finding> {
        let replay = Replay {
            ports,
            clock,
            settings: &self.settings,
            parked: &Parked::new(),
            grace_ms: 0,
        };
        let mut found = Vec::new();
        let scope = Scope::Groups(self.groups(tenant));
        let run = replay.run(&scope, mode, |finding| found.push(finding), |_| {});
        run.await.expect("replay");
        found
    }

    /// Asserts that a tenant's rows are those of the one to whom only the truth was told.
    async fn assert_true(&self, ports: &impl AllPorts, clock: &Still, tenant: &str, what: &str) {
        let truth = self.rows(ports, &self::tenant(TRUTH)).await;
        assert_eq!(self.rows(ports, tenant).await, truth, "{what}");
        let found = self.replayed(ports, clock, tenant, Mode::Report).await;
        assert_eq!(found, [], "{what}");
    }

    /// The waves as they are, and from the last telling to the first.
    fn orders(&self) -> [Vec<Vec<&'static str>>; 2] {
        let forth: Vec<Vec<&str>> = self.waves.iter().map(|wave| wave.to_vec()).collect();
        let mut back = forth.clone();
        back.reverse();
        for wave in &mut back {
            wave.reverse();
        }
        [forth, back]
    }
}

/// What becomes of the messages of a worker that died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    ComeAgain,
    /// Somebody purged the queue.
    Lost,
}

/// Tells the scenario in both orders, with a death at each call: right before it is done, right after, and
/// so that the worker's messages are lost with it, which a replay finds and mends.
pub(super) async fn check(ports: &impl AllPorts, clock: &Still, scenario: &Scenario) {
    let unharmed = Mortal::immortal(ports);
    let truth = [scenario.truth.to_vec()];
    let told = (&truth[..], Fate::ComeAgain);
    scenario.live(&unharmed, clock, &tenant(TRUTH), told).await;
    assert!(!scenario.rows(ports, &tenant(TRUTH)).await.is_empty());
    let mut tenants = (TRUTH + 1..TENANTS).map(tenant);
    let mut mended = 0;
    let orders = scenario.orders();
    for (turn, (waves, order)) in orders.iter().zip(["forth", "back"]).enumerate() {
        let unharmed = Mortal::immortal(ports);
        let tenant = tenants.next().expect("enough tenants");
        scenario
            .live(&unharmed, clock, &tenant, (waves, Fate::ComeAgain))
            .await;
        scenario.assert_true(ports, clock, &tenant, order).await;
        let calls = unharmed.calls();
        assert!(calls > 10, "{calls} calls");
        for dies_at in 0..calls {
            let fates = [
                (Deed::Undone, Fate::ComeAgain),
                (Deed::Done, Fate::ComeAgain),
                (Deed::Undone, Fate::Lost),
            ];
            let every_way = scenario.every_way;
            let by_turns = fates.len();
            let now = |way: usize| every_way || (turn + dies_at as usize) % by_turns == way;
            let fates = fates.into_iter().enumerate().filter(|(way, _)| now(*way));
            for (_, (deed, fate)) in fates {
                let tenant = tenants.next().expect("enough tenants");
                let what = format!("{order}, call {dies_at} {deed:?}, messages {fate:?}");
                let worker = Mortal::new(ports, dies_at, deed);
                scenario.live(&worker, clock, &tenant, (waves, fate)).await;
                assert!(worker.has_died(), "{what}");
                if fate == Fate::Lost {
                    let found = scenario.replayed(ports, clock, &tenant, Mode::Update).await;
                    mended += found.len();
                }
                scenario.assert_true(ports, clock, &tenant, &what).await;
            }
        }
    }
    assert!(mended > 0, "nothing that was lost mattered");
}

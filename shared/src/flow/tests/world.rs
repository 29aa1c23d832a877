//! The world around the flow in memory: journal, rows, histories, and deaths between two writes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::Value;
use smol_str::SmolStr;

use super::naive;
use super::telling::{Step, TENANT, Told};
use crate::flow::{
    Base, Batch, Comparison, Disposition, EventOutcome, Evidence, Gone, Image, ImagesWrite,
    Imaging, KeptImage, Outcome, RowKey, Stored, Write, amended_reach, compare, correct,
    correct_whole, reach, sort_events, step, thin, thins_since,
};
use crate::handlers::{Row, Table, Version};
use crate::model::{Entry, EventHash, Fingerprint, Group, Order, Stamps, Timestamp, Trail};
use crate::settings::{Mapping, Settings, Tenant};

/// How often a delivery is tried; each conflict means that another one got further.
const ATTEMPTS_MAX: u32 = 4;

/// A row as a store keeps it: text, and what the row carries about itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kept {
    pub(super) body: String,
    pub(super) trail: Trail,
}

impl Kept {
    /// Whether nothing but the trail is left.
    fn is_gone(&self) -> bool {
        self.body.is_empty() && self.trail.is_gone()
    }
}

/// A version and when it was believed, in ticks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recorded {
    pub(super) version: Version,
    pub(super) from: i64,
    pub(super) to: Option<i64>,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) settings: Settings,
    /// All that was ever accepted.
    told: Vec<Told>,
    pub(super) journal: BTreeMap<Group, Vec<Entry>>,
    pub(super) rows: BTreeMap<RowKey, Kept>,
    pub(super) histories: BTreeMap<RowKey, Vec<Recorded>>,
    /// Which groups keep images.
    pub(super) imaging: Imaging,
    pub(super) images: BTreeMap<Group, Vec<KeptImage>>,
    /// How many images there ever were.
    images_made: u64,
    /// Copies that groups stated to others and nobody delivered yet, where those are kept.
    pub(super) stated: Option<Vec<Entry>>,
    /// Grows by one with every commit.
    pub(super) now: i64,
    pub(super) log: String,
}

/// What handling some events of one group would come to.
#[derive(Debug, Clone)]
pub(super) struct Decision {
    pub(super) outcome: Outcome,
    /// Whether the stored rows alone were enough.
    pub(super) in_order: bool,
    /// Whether images were, where those were not.
    pub(super) from_images: bool,
    pub(super) entries: Vec<Arc<Entry>>,
}

/// What a row is, apart from when and by which writes it came to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) body: String,
    pub(super) events: u64,
    pub(super) fingerprint: Fingerprint,
    pub(super) last: Option<EventHash>,
    /// The versions in force, each as JSON.
    pub(super) history: Vec<Value>,
}

/// The tables as (lead, table, id) to row.
pub(super) type Tables = BTreeMap<(SmolStr, &'static str, SmolStr), Seen>;

impl World {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            told: Vec::new(),
            journal: BTreeMap::new(),
            rows: BTreeMap::new(),
            histories: BTreeMap::new(),
            imaging: Imaging::NEVER,
            images: BTreeMap::new(),
            images_made: 0,
            stated: None,
            now: 0,
            log: String::new(),
        }
    }

    fn tenant(&self) -> &Tenant {
        self.settings.tenant(TENANT).expect("the tenant")
    }

    pub(super) fn run(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Journal(told) => {
                    self.accept(told);
                }
                Step::Deliver(told) => self.deliver(told),
                Step::Torn(tables, told) => {
                    self.torn(told, |_, write| tables.contains(&write.key.table));
                }
            }
        }
    }

    /// Journals events, each once, and gives all of them back by group, as they were journaled first.
    pub(super) fn accept(&mut self, told: &[Told]) -> BTreeMap<Group, Vec<Arc<Entry>>> {
        let mut groups: BTreeMap<Group, Vec<Arc<Entry>>> = BTreeMap::new();
        for told in told {
            let entry = told.entry(&self.settings, Timestamp::from_ms(self.now));
            let home = self.home(&entry).unwrap_or_else(|| entry.group.clone());
            let entry = Arc::new(entry.at_home(&home));
            let journal = self.journal.entry(home).or_default();
            let known = journal.iter().find(|known| known.hash == entry.hash);
            let entry = known.map_or(entry, |known| Arc::new(known.clone()));
            if journal.iter().all(|known| known.hash != entry.hash) {
                journal.push(entry.as_ref().clone());
                self.told.push(told.clone());
            }
            groups.entry(entry.group.clone()).or_default().push(entry);
        }
        groups
    }

    /// The group that holds the event of an entry.
    fn home(&self, entry: &Entry) -> Option<Group> {
        let identity = entry.event.identity();
        let mut journaled = self.journal.values().flatten();
        let known = journaled.find(|known| known.event.identity() == identity);
        known.map(|known| known.group.clone())
    }

    /// The events with these ids.
    pub(super) fn named(&self, ids: &[&str]) -> Vec<Told> {
        let named = self
            .told
            .iter()
            .filter(|one| ids.contains(&one.id.as_str()));
        named.cloned().collect()
    }

    /// The events that the journal has.
    pub(super) fn journaled(&self) -> Vec<Told> {
        let has = |told: &&Told| {
            let entry = told.entry(&self.settings, Timestamp::MIN);
            let mut journaled = self.journal.values().flatten();
            journaled.any(|known| known.hash == entry.hash)
        };
        self.told.iter().filter(has).cloned().collect()
    }

    /// Asserts that every row is what the design says the journaled events make of it.
    #[track_caller]
    pub(super) fn assert_right(&self) {
        let (stored, right) = (self.tables(), naive::tables(&self.journaled()));
        let names: BTreeSet<_> = stored.keys().chain(right.keys()).collect();
        let mut wrong = String::new();
        for name in names {
            let (stored, right) = (stored.get(name), right.get(name));
            if stored != right {
                writeln!(wrong, "{name:?}\n stored {stored:#?}\n  right {right:#?}").expect("text");
            }
        }
        assert!(wrong.is_empty(), "{wrong}");
    }

    /// Accepts events and handles them, again where another writer was faster.
    pub(super) fn deliver(&mut self, told: &[Told]) {
        for (group, entries) in self.accept(told) {
            self.handle(&group, &entries, false);
        }
    }

    pub(super) fn handle(&mut self, group: &Group, entries: &[Arc<Entry>], anew: bool) {
        for attempt in 0..ATTEMPTS_MAX {
            let decision = self.decide(group, entries, anew || attempt > 0);
            if self.commit_outcome(group, &decision.outcome) {
                self.note(&decision, "");
                return;
            }
        }
        panic!("nobody else writes, and yet all of {ATTEMPTS_MAX} attempts met a conflict");
    }

    /// As [`Self::deliver`], but only some of the writes arrive and nobody learns of it.
    pub(super) fn torn(&mut self, told: &[Told], arrives: impl Fn(usize, &Write) -> bool) {
        for (group, entries) in self.accept(told) {
            let decision = self.decide(&group, &entries, false);
            let writes = decision.outcome.writes.iter().enumerate();
            let arrived: Vec<Write> = writes
                .filter(|(place, write)| arrives(*place, write))
                .map(|(_, write)| write.clone())
                .collect();
            assert!(self.commit(&arrived), "nobody else writes");
            self.note(&decision, ", torn");
        }
    }

    /// Decides as the service does: from the rows alone, or from the journal where that is not enough.
    pub(super) fn decide(&self, group: &Group, entries: &[Arc<Entry>], anew: bool) -> Decision {
        let tenant = self.tenant();
        let mut ordered: Vec<&Arc<Entry>> = entries.iter().collect();
        sort_events(&mut ordered);
        let mappings: Vec<Mapping> = ordered.iter().map(|one| tenant.map(&one.event)).collect();
        let nothing = Vec::new();
        let journal = self.journal.get(group).unwrap_or(&nothing);
        let mut reached = amended_reach(tenant, group, &ordered, journal);
        for mapping in &mappings {
            if let Mapping::Mapped(meaning) = mapping {
                reached.extend(reach(meaning, group));
            }
        }
        let batch = Batch {
            tenant,
            group,
            entries: &ordered,
            mappings: &mappings,
            stamps: self.stamps(ordered.last().map(|entry| entry.event.time)),
            imaging: self.imaging,
        };
        let in_reach = |row: &Stored| reached.contains(&(row.key.table, row.key.id.clone()));
        let rows: Vec<Stored> = self.read(group).into_iter().filter(in_reach).collect();
        let without_histories: Vec<Stored> = rows
            .iter()
            .map(|row| Stored {
                history: None,
                ..row.clone()
            })
            .collect();
        let stepped = step(&batch, &without_histories).filter(|_| !anew);
        let in_order = stepped.is_some();
        let (outcome, from_images) = match stepped {
            Some(outcome) => (outcome, false),
            None => self.correct(&batch, &rows, &without_histories),
        };
        Decision {
            outcome,
            in_order,
            from_images,
            entries: ordered.into_iter().cloned().collect(),
        }
    }

    /// Decides from images where the group is long and they tell enough, else from the whole journal.
    fn correct(&self, batch: &Batch<'_>, rows: &[Stored], bare: &[Stored]) -> (Outcome, bool) {
        let nothing = Vec::new();
        let journal = self.journal.get(batch.group).unwrap_or(&nothing);
        if !batch.is_long(bare) {
            return (correct(batch, rows, journal), false);
        }
        match self.correct_from_images(batch, bare, journal) {
            Some(outcome) => (outcome, true),
            None => (
                correct_whole(batch, &self.read(batch.group), journal),
                false,
            ),
        }
    }

    fn correct_from_images(
        &self,
        batch: &Batch<'_>,
        bare: &[Stored],
        journal: &[Entry],
    ) -> Option<Outcome> {
        let since = Base::since(batch)?;
        let kept = self.images.get(batch.group).into_iter().flatten();
        let ends_later = |kept: &&KeptImage| {
            let image = kept.image.as_ref();
            image.is_none_or(|image| image.until.time >= since)
        };
        let kept: Vec<KeptImage> = kept.filter(ends_later).cloned().collect();
        let base = Base::new(batch, &kept).filter(|base| base.holds_for(bare))?;
        let is_later =
            |entry: &&Entry| entry.event.time >= base.time() && entry.recorded >= base.recorded();
        let suffix: Vec<Entry> = journal.iter().filter(is_later).cloned().collect();
        let needs: BTreeSet<RowKey> = base.needs(&suffix).into_iter().collect();
        let mut rows = self.read(batch.group);
        rows.retain(|row| needs.contains(&row.key));
        let histories: BTreeMap<RowKey, u32> = base.histories(&rows).into_iter().collect();
        for row in &mut rows {
            let after = histories.get(&row.key);
            let later = |versions: Vec<Version>| {
                let later = versions.into_iter();
                after.map(|n| later.filter(|one| one.n > *n).collect())
            };
            row.history = row.history.take().and_then(later);
        }
        base.correct(&rows, &suffix)
    }

    fn stamps(&self, event: Option<Timestamp>) -> Stamps {
        let now = Timestamp::from_ms(self.now);
        Stamps {
            event: event.unwrap_or(now),
            read_start: now,
            write_start: now,
        }
    }

    /// A group's rows as a store reads them, with their versions in force.
    pub(super) fn read(&self, group: &Group) -> Vec<Stored> {
        let rows = self.rows.iter().filter(|(key, _)| key.group == *group);
        rows.map(|(key, kept)| {
            let row = key.table.read_row(&kept.body);
            Stored {
                readable: row.is_ok() || kept.is_gone(),
                row: row.unwrap_or_else(|_unreadable| key.table.new_row(group, &key.id)),
                trail: kept.trail.clone(),
                history: key.table.is_temporal().then(|| self.in_force(key)),
                key: key.clone(),
            }
        })
        .collect()
    }

    pub(super) fn in_force(&self, key: &RowKey) -> Vec<Version> {
        let recorded = self.histories.get(key).into_iter().flatten();
        let mut versions: Vec<Version> = recorded
            .filter(|one| one.to.is_none())
            .map(|one| one.version.clone())
            .collect();
        versions.sort_by_key(|version| version.n);
        versions
    }

    /// Makes an outcome's writes and, if none of them lost, changes the group's images.
    pub(super) fn commit_outcome(&mut self, group: &Group, outcome: &Outcome) -> bool {
        if let Some(change) = &outcome.images
            && !self.has_images(change)
        {
            return false;
        }
        if !self.commit(&outcome.writes) {
            return false;
        }
        if let Some(change) = &outcome.images {
            self.change_images(change);
        }
        if let Some(stated) = &mut self.stated {
            stated.extend(outcome.stated.iter().cloned());
        }
        if outcome.thins {
            let mut kept = self.images.get(group).cloned().unwrap_or_default();
            let images = kept.iter().filter_map(|one| one.image.as_ref());
            let since = thins_since(images.map(Image::head).collect(), self.imaging);
            kept.retain(|one| one.image.as_ref().map(|image| image.until.time) >= since);
            if let Some(change) = thin(group, &kept, self.imaging) {
                self.change_images(&change);
            }
        }
        true
    }

    fn has_images(&self, change: &ImagesWrite) -> bool {
        let kept = self
            .images
            .get(&change.group)
            .map_or(&[][..], Vec::as_slice);
        match &change.gone {
            Gone::All => true,
            Gone::These(handles) => handles
                .iter()
                .all(|handle| kept.iter().any(|one| one.handle == *handle)),
        }
    }

    fn change_images(&mut self, change: &ImagesWrite) {
        let kept = self.images.entry(change.group.clone()).or_default();
        match &change.gone {
            Gone::All => kept.clear(),
            Gone::These(handles) => kept.retain(|one| !handles.contains(&one.handle)),
        }
        for image in &change.add {
            self.images_made += 1;
            kept.push(KeptImage {
                handle: self.images_made.to_string().into(),
                image: Some(image.clone()),
            });
        }
    }

    /// Makes conditional writes, each on its own, and says whether all of them found the version
    /// they expected.
    pub(super) fn commit(&mut self, writes: &[Write]) -> bool {
        self.now += 1;
        let mut all = true;
        for write in writes {
            let found = self.rows.get(&write.key).map(|kept| kept.trail.version);
            if found == write.expected {
                self.write(write);
            } else {
                all = false;
            }
        }
        all
    }

    fn write(&mut self, write: &Write) {
        let now = self.now;
        let history = self.histories.entry(write.key.clone()).or_default();
        let in_force = |one: &&mut Recorded| one.to.is_none();
        let Some(put) = &write.put else {
            self.rows.remove(&write.key);
            for one in history.iter_mut().filter(in_force) {
                one.to = Some(now);
            }
            return;
        };
        let body = match put.is_gone() {
            true => String::new(),
            false => put.row.body(),
        };
        assert_eq!(put.body, body, "the text is the row's");
        let kept = Kept {
            body: put.body.clone(),
            trail: put.trail.clone(),
        };
        self.rows.insert(write.key.clone(), kept);
        let Some(change) = &put.history else { return };
        for one in history.iter_mut().filter(in_force) {
            if change.supersede && one.version.n > change.keep {
                one.to = Some(now);
            }
            if one.version.n == change.keep {
                one.version.valid_to = change.versions.first().map(|next| next.valid_from);
            }
        }
        history.extend(change.versions.iter().map(|version| Recorded {
            version: version.clone(),
            from: now,
            to: None,
        }));
    }

    pub(super) fn compare(&self, parked: &[Told], in_flight: &[Told]) -> Comparison {
        let hashes = |told: &[Told]| -> BTreeSet<EventHash> {
            let entries = told
                .iter()
                .map(|one| one.entry(&self.settings, Timestamp::MIN));
            entries.map(|entry| entry.hash).collect()
        };
        let (parked, in_flight) = (hashes(parked), hashes(in_flight));
        let mut groups: BTreeSet<&Group> = self.journal.keys().collect();
        groups.extend(self.rows.keys().map(|key| &key.group));
        let nothing = Vec::new();
        let mut all = Comparison::default();
        for group in groups {
            let evidence = Evidence {
                tenant: self.tenant(),
                group,
                stored: &self.read(group),
                journal: self.journal.get(group).unwrap_or(&nothing),
                parked: &parked,
                in_flight: &in_flight,
            };
            let one = compare(&evidence, self.stamps(None));
            all.findings.extend(one.findings);
            all.writes.extend(one.writes);
            all.rows += one.rows;
            all.events += one.events;
            all.faults += one.faults;
        }
        all
    }

    /// Delivers the copies that were stated, the last one first where they come `backwards`.
    pub(super) fn deliver_stated(&mut self, backwards: bool) {
        let mut copies = self.stated.replace(Vec::new()).unwrap_or_default();
        if backwards {
            copies.reverse();
        }
        for copy in copies {
            let journal = self.journal.entry(copy.group.clone()).or_default();
            match journal.iter().find(|known| known.hash == copy.hash) {
                Some(known) => assert_eq!(known.event.is_withdrawn(), copy.event.is_withdrawn()),
                None => journal.push(copy.clone()),
            }
            let group = copy.group.clone();
            self.handle(&group, &[Arc::new(copy)], false);
        }
    }

    /// The copies that groups owe to others and that do not stand in their journals.
    fn owed(&self) -> Vec<Entry> {
        let mut missing = Vec::new();
        for (group, journal) in &self.journal {
            let evidence = Evidence {
                tenant: self.tenant(),
                group,
                stored: &self.read(group),
                journal,
                parked: &BTreeSet::new(),
                in_flight: &BTreeSet::new(),
            };
            for owed in compare(&evidence, self.stamps(None)).owed {
                let target = self.journal.get(&owed.to);
                if target.is_none_or(|known| known.iter().all(|one| one.hash != owed.hash)) {
                    let entry = &journal[owed.place];
                    let recorded = Timestamp::from_ms(self.now);
                    let copy =
                        entry.statement_to(&owed.to, owed.revision, owed.withdrawn, recorded);
                    assert_eq!(copy.hash, owed.hash);
                    missing.push(copy);
                }
            }
        }
        missing
    }

    #[track_caller]
    pub(super) fn assert_owes_nothing(&self) {
        assert_eq!(self.owed(), []);
    }

    /// States what is owed, as a replay does, until nothing is.
    pub(super) fn state_what_is_owed(&mut self) {
        loop {
            let missing = self.owed();
            if missing.is_empty() {
                return;
            }
            self.stated = Some(missing);
            self.deliver_stated(false);
        }
    }

    /// Asserts that every day's figures are what the journaled events of all leads make of them.
    #[track_caller]
    pub(super) fn assert_days(&self) {
        let mut days = naive::Days::new();
        for group in self
            .rows
            .keys()
            .map(|key| &key.group)
            .collect::<BTreeSet<_>>()
        {
            for row in self.read(group) {
                let Row::RSTenantDailyConversions(row) = row.row else {
                    continue;
                };
                for (name, figures) in row.conversions {
                    let cents = figures
                        .value
                        .map(|value| naive::read_cents(&value.to_string()));
                    let key = (row.day.to_string(), name.to_string());
                    days.insert(key, (figures.count, cents));
                }
            }
        }
        assert_eq!(days, naive::days(&self.journaled()));
    }

    /// The rows of the tables that the design describes, without how they came to be.
    pub(super) fn tables(&self) -> Tables {
        let known = |(key, kept): &(&RowKey, &Kept)| {
            naive::TABLES.contains(&key.table.name()) && !kept.is_gone()
        };
        let keys = self.rows.iter().filter(known).map(|(key, _)| key);
        keys.map(|key| {
            let name = (key.group.key.clone(), key.table.name(), key.id.clone());
            (name, self.seen(key))
        })
        .collect()
    }

    fn seen(&self, key: &RowKey) -> Seen {
        let Kept { body, trail } = self.rows.get(key).expect("a row");
        let hash = |order: &Order| EventHash::of(&order.source, &order.id);
        let version = |version: Version| {
            let mut shown = serde_json::to_value(&version).expect("a version");
            shown["fields"] = serde_json::from_str(&version.fields).expect("its fields");
            shown
        };
        Seen {
            body: body.clone(),
            events: trail.held.events,
            fingerprint: trail.held.fingerprint,
            last: trail.held.last.as_ref().map(hash),
            history: self.in_force(key).into_iter().map(version).collect(),
        }
    }

    /// Writes into the log what became of each event.
    fn note(&mut self, decision: &Decision, torn: &str) {
        let how = match (decision.in_order, decision.from_images) {
            (true, _) => "step",
            (false, true) => "correct from images",
            (false, false) => "correct",
        };
        let became: Vec<String> = decision
            .entries
            .iter()
            .zip(&decision.outcome.events)
            .map(|(entry, outcome)| format!("{} {}", entry.event.id, in_words(outcome)))
            .collect();
        let rows = decision.outcome.writes.len();
        let became = became.join("; ");
        writeln!(
            self.log,
            "{} {how}: {became} ({rows} writes{torn})",
            self.now
        )
        .expect("text");
    }

    /// The rows of some tables in short.
    pub(super) fn show(&self, tables: &[Table]) -> String {
        let mut text = String::new();
        for (key, kept) in self
            .rows
            .iter()
            .filter(|(key, _)| tables.contains(&key.table))
        {
            let (table, id, trail) = (key.table.name(), &key.id, &kept.trail);
            let last = trail.held.last.as_ref().map_or("nothing", |last| &last.id);
            let fields = match kept.is_gone() {
                true => "gone".to_owned(),
                false => short(&kept.body),
            };
            let late = match trail.out_of_order {
                0 => String::new(),
                late => format!(", {late} out of order"),
            };
            writeln!(
                text,
                "{table} {id}: {fields} | {} events to {last}, version {}{late}",
                trail.held.events, trail.version
            )
            .expect("text");
            for Recorded { version, from, to } in self.histories.get(key).into_iter().flatten() {
                let to = to.map(|to| to.to_string()).unwrap_or_default();
                let until = version
                    .valid_to
                    .map(|end| end.to_string())
                    .unwrap_or_default();
                let (n, by) = (version.n, &version.caused_by);
                let valid = short_time(&format!("{}..{until}", version.valid_from));
                let fields = short(&version.fields);
                writeln!(text, "  {n} {valid} {fields} by {by}, known {from}..{to}").expect("text");
            }
        }
        text
    }
}

fn in_words(outcome: &EventOutcome) -> String {
    let became = match &outcome.disposition {
        Disposition::Applied => "applied",
        Disposition::Held => "held",
        Disposition::Unmapped => "unmapped",
        Disposition::Fault(why) => why,
    };
    match &outcome.late {
        Some(late) => format!("{became}, {} ms behind {}", late.ms, late.overtaken_by),
        None => became.to_owned(),
    }
}

/// A JSON object as `name=value` words, without the ids.
pub(super) fn short(body: &str) -> String {
    let words = words(&serde_json::from_str(body).unwrap_or_default());
    let inner = words
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'));
    inner.unwrap_or(&words).to_owned()
}

fn words(value: &Value) -> String {
    let Value::Object(fields) = value else {
        return format!("={}", value.as_str().map_or(value.to_string(), short_time));
    };
    let mut words = Vec::new();
    let ids = ["appointmentId", "leadId", "tenant"];
    for (name, value) in fields
        .iter()
        .filter(|(name, _)| !ids.contains(&name.as_str()))
    {
        words.push(format!("{name}{}", self::words(value)));
    }
    format!("({})", words.join(" "))
}

fn short_time(text: &str) -> String {
    text.replace("2026-03-01T", "").replace(":00.000Z", "")
}

//! Jobs: events on their way to their rows, and what became of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use shared::model::{ActionHierarchy, ActionNode, Entry, Group, Timestamp};
use shared::ports::{Error, Found, Letter, Look, Queued};
use smol_str::SmolStr;

use crate::access::Who;
use crate::source::Source;

/// How many jobs a page has.
const PAGE_JOBS: usize = 50;
/// How many records are looked at for one page.
const EXAMINE_MAX: usize = 20_000;
/// How many events are searched for one page: each is unpacked.
const SEARCHED_MAX: usize = 10_000;
/// How many dead letters are looked at for one page.
const LETTERS_MAX: usize = 5_000;
/// Who has waited for so long, and was tried, is stalled.
const STALLED_MS: i64 = 300_000;

/// What a job waits for, or what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// In the queue, not received yet.
    Waiting,
    /// Received, and being worked on.
    Active,
    /// Failed, and comes again by itself after a while.
    Delayed,
    /// Received, and neither done nor given back in time; or it has waited for long.
    Stalled,
    /// Done.
    Completed,
    /// In the dead-letter queue.
    Failed,
}

impl State {
    pub(crate) const ALL: [Self; 6] = [
        Self::Waiting,
        Self::Active,
        Self::Delayed,
        Self::Stalled,
        Self::Completed,
        Self::Failed,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Active => "active",
            Self::Delayed => "delayed",
            Self::Stalled => "stalled",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }

    /// How a message in the queue stands.
    pub(crate) fn of(queued: &Queued, now: Timestamp) -> Self {
        let hidden = queued.hidden_until > now;
        let old = now.ms_since(queued.sent) > STALLED_MS;
        match (hidden, queued.receives) {
            (true, 0 | 1) => Self::Active,
            (true, _) => Self::Delayed,
            (false, 0) if !old => Self::Waiting,
            (false, _) => Self::Stalled,
        }
    }
}

/// Which jobs are asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    pub(crate) state: Option<State>,
    pub(crate) tenant: Option<SmolStr>,
    /// The table of an action.
    pub(crate) action: Option<SmolStr>,
    /// An event's, a lead's, an appointment's or a row's.
    pub(crate) id: Option<SmolStr>,
    /// Within payloads.
    pub(crate) text: Option<SmolStr>,
    /// Where the last page stopped.
    pub(crate) from: Option<u64>,
}

/// A job as it is listed.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Job {
    pub(crate) state: State,
    pub(crate) tenant: SmolStr,
    pub(crate) group: SmolStr,
    /// The lead, appointment or day that the group is of.
    pub(crate) subject: SmolStr,
    pub(crate) source: SmolStr,
    pub(crate) event: SmolStr,
    /// The event's type; not known where the event is not at hand.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<SmolStr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) time: Option<Timestamp>,
    /// Since when it is in this state.
    pub(crate) since: Timestamp,
    pub(crate) attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) late_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// The number of its dead letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) letter: Option<String>,
    /// The handle of its message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) receipt: Option<SmolStr>,
    /// The rows that its actions were for.
    pub(crate) actions: Vec<String>,
}

/// A page of jobs and how far was looked for them.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page {
    pub(crate) jobs: Vec<Job>,
    /// Whether the store can tell at all.
    pub(crate) known: bool,
    /// How many were looked at.
    pub(crate) examined: u64,
    /// Where the next page goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<u64>,
}

/// The jobs that are asked for, as far as `who` may see them.
pub(crate) async fn page(
    source: &impl Source,
    who: &Who,
    asked: &Asked,
    now: Timestamp,
) -> Result<Page, Error> {
    let asked = &asked.within(who);
    if let Some(text) = asked.text.as_deref().filter(|_| asked.searches_journal()) {
        return searched(source, asked, text, now).await;
    }
    match asked.state.unwrap_or(State::Completed) {
        State::Failed => failed(source, asked).await,
        State::Completed => completed(source, asked).await,
        State::Waiting | State::Active | State::Delayed | State::Stalled => {
            queued(source, asked, now).await
        }
    }
}

impl Asked {
    /// The same, of one tenant where only that may be seen; empty fields of a form ask for nothing.
    pub(crate) fn within(&self, who: &Who) -> Self {
        let given = |text: &Option<SmolStr>| text.clone().filter(|text| !text.is_empty());
        Self {
            tenant: who.tenant.clone().or_else(|| given(&self.tenant)),
            action: given(&self.action),
            id: given(&self.id),
            text: given(&self.text),
            ..*self
        }
    }

    fn searches_journal(&self) -> bool {
        matches!(self.state, None | Some(State::Completed))
    }

    fn look(&self) -> Look {
        Look {
            tenant: self.tenant.clone(),
            from: self.from,
            limit: PAGE_JOBS,
            examine: EXAMINE_MAX,
        }
    }

    /// Whether an event that waits or failed is asked for.
    fn wants(&self, entry: &Entry) -> bool {
        let event = &entry.event;
        let id = self.id.as_deref();
        let payload = || event.data.json().unwrap_or_default().to_lowercase();
        self.tenant
            .as_ref()
            .is_none_or(|tenant| entry.group.tenant == *tenant)
            && id.is_none_or(|id| event.id == id || entry.group.subject() == id)
            && self
                .text
                .as_ref()
                .is_none_or(|text| payload().contains(&text.to_lowercase()))
    }

    /// Whether finished work is asked for.
    fn wants_done(&self, done: &ActionHierarchy) -> bool {
        let id = self.id.as_deref();
        self.action
            .as_deref()
            .is_none_or(|table| any(&done.actions, &|node| node.table.name() == table))
            && id.is_none_or(|id| {
                done.event_id == id
                    || done.group.subject() == id
                    || any(&done.actions, &|node| node.id == id)
            })
    }
}

fn any(nodes: &[ActionNode], wanted: &impl Fn(&ActionNode) -> bool) -> bool {
    nodes
        .iter()
        .any(|node| wanted(node) || any(&node.children, wanted))
}

async fn failed(source: &impl Source, asked: &Asked) -> Result<Page, Error> {
    let after = asked.from.unwrap_or(0);
    let letters = source.dead_letters(after.into(), LETTERS_MAX).await?;
    let mut page = Page {
        known: true,
        examined: letters.len() as u64,
        ..Page::default()
    };
    let more = letters.len() == LETTERS_MAX;
    for letter in &letters {
        let jobs = of_letter(letter).into_iter();
        let entries = letter.message.entries.iter();
        let wanted = jobs.zip(entries).filter(|(_, entry)| asked.wants(entry));
        page.jobs.extend(wanted.map(|(job, _)| job));
        let full = page.jobs.len() >= PAGE_JOBS;
        let last = letters.last().is_some_and(|last| last.id == letter.id);
        if (full && !last) || (last && more) {
            page.next = u64::try_from(letter.id).ok();
            break;
        }
    }
    Ok(page)
}

/// The jobs of a dead letter, one an event.
pub(crate) fn of_letter(letter: &Letter) -> Vec<Job> {
    let job = |entry: &std::sync::Arc<Entry>| Job {
        since: letter.at,
        attempts: letter.receives,
        reason: Some(letter.reason.clone()),
        letter: Some(letter.id.to_string()),
        ..of_entry(entry, State::Failed)
    };
    letter.message.entries.iter().map(job).collect()
}

fn of_entry(entry: &Entry, state: State) -> Job {
    Job {
        state,
        tenant: entry.group.tenant.clone(),
        group: entry.group.key.clone(),
        subject: entry.group.subject().into(),
        source: entry.event.source.clone(),
        event: entry.event.id.clone(),
        kind: Some(entry.event.kind.clone()),
        time: Some(entry.event.time),
        since: entry.recorded,
        attempts: 0,
        late_ms: None,
        reason: None,
        letter: None,
        receipt: None,
        actions: Vec::new(),
    }
}

async fn queued(source: &impl Source, asked: &Asked, now: Timestamp) -> Result<Page, Error> {
    let Some(found) = source.queued(&asked.look()).await? else {
        return Ok(Page::default());
    };
    let mut page = Page {
        known: true,
        examined: found.examined,
        next: found.next,
        ..Page::default()
    };
    for queued in &found.items {
        let state = State::of(queued, now);
        if asked.state.is_some_and(|wanted| wanted != state) {
            continue;
        }
        page.jobs.extend(
            of_queued(queued, state)
                .into_iter()
                .zip(&queued.message.entries)
                .filter_map(|(job, entry)| asked.wants(entry).then_some(job)),
        );
    }
    Ok(page)
}

/// The jobs of a message in the queue, one an event.
pub(crate) fn of_queued(queued: &Queued, state: State) -> Vec<Job> {
    let job = |entry: &std::sync::Arc<Entry>| Job {
        since: queued.sent,
        attempts: queued.receives,
        receipt: Some(queued.receipt.0.clone()),
        ..of_entry(entry, state)
    };
    queued.message.entries.iter().map(job).collect()
}

async fn completed(source: &impl Source, asked: &Asked) -> Result<Page, Error> {
    // By the id of an entity it is found through an index; by that of an event it is looked for.
    if let Some(id) = &asked.id {
        let groups = source.groups_of(asked.tenant.as_ref(), id).await?;
        let mut done = Vec::new();
        for group in &groups {
            done.extend(source.hierarchies(group).await?.into_iter().rev());
        }
        if !done.is_empty() {
            done.sort_by_key(|one| std::cmp::Reverse(one.write_start));
            let examined = done.len() as u64;
            let found = Found {
                items: done,
                examined,
                next: None,
            };
            return told(source, asked, found).await;
        }
    }
    let found = source.finished(&asked.look()).await?;
    told(source, asked, found).await
}

/// Finished work with what is known of its events.
async fn told(
    source: &impl Source,
    asked: &Asked,
    found: Found<ActionHierarchy>,
) -> Result<Page, Error> {
    let mut done = found.items;
    done.retain(|one| asked.wants_done(one));
    done.truncate(PAGE_JOBS * 4);
    let groups: BTreeSet<&Group> = done.iter().map(|one| &one.group).collect();
    let groups: Vec<Group> = groups.into_iter().take(PAGE_JOBS).cloned().collect();
    let journals = source.entries(&groups).await?;
    let mut events: BTreeMap<(Group, SmolStr, SmolStr), Entry> = BTreeMap::new();
    for entry in journals.into_iter().flatten() {
        let event = &entry.event;
        let identity = (entry.group.clone(), event.source.clone(), event.id.clone());
        events.insert(identity, entry);
    }
    let job = |one: &ActionHierarchy| {
        let identity = (one.group.clone(), one.source.clone(), one.event_id.clone());
        of_done(one, events.get(&identity))
    };
    Ok(Page {
        jobs: done.iter().map(job).collect(),
        known: true,
        examined: found.examined,
        next: found.next,
    })
}

/// A job that is done.
pub(crate) fn of_done(done: &ActionHierarchy, entry: Option<&Entry>) -> Job {
    let mut actions = Vec::new();
    name_actions(&done.actions, &mut actions);
    Job {
        state: State::Completed,
        tenant: done.group.tenant.clone(),
        group: done.group.key.clone(),
        subject: done.group.subject().into(),
        source: done.source.clone(),
        event: done.event_id.clone(),
        kind: entry.map(|entry| entry.event.kind.clone()),
        time: entry.map(|entry| entry.event.time),
        since: done.write_start,
        attempts: done.attempt,
        late_ms: done.late.as_ref().map(|late| late.ms),
        reason: done.unmapped.then(|| "no rule maps its type".to_owned()),
        letter: None,
        receipt: None,
        actions,
    }
}

fn name_actions(nodes: &[ActionNode], names: &mut Vec<String>) {
    for node in nodes {
        names.push(format!("{} {}", node.table.name(), node.id));
        name_actions(&node.children, names);
    }
}

/// Events whose payloads have a text in them, each as it stands.
async fn searched(
    source: &impl Source,
    asked: &Asked,
    text: &str,
    now: Timestamp,
) -> Result<Page, Error> {
    let look = Look {
        examine: SEARCHED_MAX,
        ..asked.look()
    };
    let Some(found) = source.search(text, &look).await? else {
        return Ok(Page::default());
    };
    let mut page = Page {
        known: true,
        examined: found.examined,
        next: found.next,
        ..Page::default()
    };
    let wanted = |entry: &Entry| {
        let bare = Asked {
            text: None,
            ..asked.clone()
        };
        bare.wants(entry)
    };
    let standing = Standing::look(source, asked, now).await?;
    let mut done: BTreeMap<Group, Vec<ActionHierarchy>> = BTreeMap::new();
    for entry in found
        .items
        .iter()
        .filter(|entry| wanted(entry))
        .take(PAGE_JOBS * 2)
    {
        if !done.contains_key(&entry.group) {
            done.insert(entry.group.clone(), source.hierarchies(&entry.group).await?);
        }
        let of_group = done.get(&entry.group).into_iter().flatten();
        let job = standing.of(entry, of_group);
        if asked.state.is_none_or(|state| state == job.state)
            && asked.action.as_ref().is_none_or(|table| {
                job.actions
                    .iter()
                    .any(|name| name.starts_with(table.as_str()))
            })
        {
            page.jobs.push(job);
        }
    }
    Ok(page)
}

/// What waits and what failed, to tell how events stand.
pub(crate) struct Standing {
    jobs: BTreeMap<(SmolStr, SmolStr, SmolStr), Job>,
}

impl Standing {
    pub(crate) async fn look(
        source: &impl Source,
        asked: &Asked,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let mut jobs = BTreeMap::new();
        let identity = |job: &Job| (job.tenant.clone(), job.source.clone(), job.event.clone());
        let look = Look {
            from: None,
            limit: EXAMINE_MAX,
            ..asked.look()
        };
        if let Some(found) = source.queued(&look).await? {
            for queued in &found.items {
                let of_message = of_queued(queued, State::of(queued, now));
                jobs.extend(of_message.into_iter().map(|job| (identity(&job), job)));
            }
        }
        for letter in source.dead_letters(0, LETTERS_MAX).await? {
            let of_letter = of_letter(&letter).into_iter();
            jobs.extend(of_letter.map(|job| (identity(&job), job)));
        }
        Ok(Self { jobs })
    }

    /// How an event stands, given the finished work of its group.
    pub(crate) fn of<'h>(
        &self,
        entry: &Entry,
        mut done: impl Iterator<Item = &'h ActionHierarchy>,
    ) -> Job {
        let event = &entry.event;
        let identity = (
            entry.group.tenant.clone(),
            event.source.clone(),
            event.id.clone(),
        );
        if let Some(job) = self.jobs.get(&identity) {
            return job.clone();
        }
        match done.find(|one| one.source == event.source && one.event_id == event.id) {
            Some(done) => of_done(done, Some(entry)),
            // Journaled, and neither waiting nor done that anybody knows of.
            None => of_entry(entry, State::Stalled),
        }
    }
}

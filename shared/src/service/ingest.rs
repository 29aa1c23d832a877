use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use smol_str::SmolStr;

use crate::model::cloud_event::{self, Refusal};
use crate::model::{
    Entry, Event, EventHash, Fingerprint, Group, GroupKind, OWN_ATTRIBUTES, OWN_SOURCES, OWN_TYPES,
    RejectReason, Timestamp,
};
use crate::ports::{Appended, Error, ErrorKind, Journal, Message, Queue};
use crate::settings::Settings;

/// The most events that one message carries.
const MESSAGE_EVENTS_MAX: usize = 256;
/// About how many bytes of events one message carries, or else one event. SQS takes a message of
/// 1 MiB: room for what an encoding adds.
const MESSAGE_BYTES_MAX: usize = 200 * 1024;

/// What to do with events that were journaled before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicates {
    /// Their message was sent when they were new.
    Skip,
    /// An earlier try may have died before it sent their message, so it goes out again. A second one
    /// does no harm: the queue drops it, or the rows hold its events.
    SendAgain,
}

/// What became of each entry, and how many messages went out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ingested {
    /// In the order of the entries.
    pub appended: Vec<Appended>,
    /// Messages sent.
    pub messages: u64,
}

impl Ingested {
    /// How many entries were not known before.
    #[must_use]
    pub fn new_entries(&self) -> u64 {
        let new = |became: &&Appended| **became == Appended::New;
        self.appended.iter().filter(new).count() as u64
    }
}

/// Reads one event and finds its tenant and group.
///
/// `tenant` is that of the caller, for events that name none; an event of another tenant is refused.
///
/// # Errors
/// The text is no event that can be taken; says why.
pub fn accept(
    settings: &Settings,
    tenant: Option<&SmolStr>,
    text: &[u8],
    now: Timestamp,
) -> Result<Entry, Refusal> {
    let mut event = cloud_event::parse(text)?;
    refuse_own(&event)?;
    let unknown = |detail: String| Refusal::new(RejectReason::UnknownTenant, detail);
    let id = match (&event.tenant, tenant) {
        (Some(named), Some(caller)) if named != caller => {
            return Err(unknown(format!(
                "the event names tenant {named:?}, not {caller:?}"
            )));
        }
        (Some(id), _) | (None, Some(id)) => id.clone(),
        (None, None) => {
            return Err(unknown(
                "the event names no tenant; add the attribute tenant".to_owned(),
            ));
        }
    };
    let Some(compiled) = settings.tenant(&id) else {
        return Err(unknown(format!(
            "the settings know no tenant {id:?}; add it to an ids list"
        )));
    };
    let latest = now.plus_ms(compiled.future_ms_max());
    if event.time > latest {
        let time = event.time;
        return Err(Refusal::new(
            RejectReason::Time,
            format!("time {time} lies more than the tenant's future_seconds_max ahead of {now}"),
        ));
    }
    let group = compiled.group(&id, &event)?;
    if group.kind() == GroupKind::Appointment {
        event.link_to(compiled.partition_key(&event));
    }
    let hash = event.hash();
    Ok(Entry {
        group,
        event,
        recorded: now,
        hash,
    })
}

fn refuse(what: &str, text: &str, own: &str) -> Result<(), Refusal> {
    Err(Refusal::new(
        RejectReason::Reserved,
        format!("{what} {text:?} begins with {own:?}, which is kept for Foldback's own events"),
    ))
}

/// Refuses what only Foldback itself may say, whoever sends it.
fn refuse_own(event: &Event) -> Result<(), Refusal> {
    if event.kind.starts_with(OWN_TYPES) {
        return refuse("type", &event.kind, OWN_TYPES);
    }
    if event.source.starts_with(OWN_SOURCES) {
        return refuse("source", &event.source, OWN_SOURCES);
    }
    let own = |name: &&SmolStr| name.starts_with(OWN_ATTRIBUTES);
    if let Some(name) = event.extensions.keys().find(own) {
        return refuse("attribute", name, OWN_ATTRIBUTES);
    }
    Ok(())
}

/// Journals events and sends those that are new to the queue, a group's together.
///
/// Journal first: a crash between the two loses nothing, because replay finds events no row holds.
///
/// # Errors
/// A port failed. What was journaled stays; to call again with the same events does no harm.
pub async fn ingest<P: Journal + Queue>(
    ports: &P,
    entries: &[Arc<Entry>],
    duplicates: Duplicates,
    now: Timestamp,
) -> Result<Ingested, Error> {
    let mut entries = Cow::Borrowed(entries);
    let appended = append_at_home(ports, &mut entries).await?;
    let mut groups: BTreeMap<&Group, Vec<Arc<Entry>>> = BTreeMap::new();
    // Given twice, an event goes out once: what was sent decides the deduplication id.
    let mut given = BTreeSet::new();
    for (entry, became) in entries.iter().zip(&appended) {
        let goes_out = match became {
            Appended::New => true,
            Appended::Duplicate => duplicates == Duplicates::SendAgain,
            Appended::Conflict | Appended::Elsewhere => false,
        };
        let event = (&entry.group.tenant, entry.hash);
        if goes_out && (duplicates == Duplicates::Skip || given.insert(event)) {
            groups
                .entry(&entry.group)
                .or_default()
                .push(Arc::clone(entry));
        }
    }
    let mut messages = Vec::with_capacity(groups.len());
    for (group, entries) in groups {
        for entries in parts(entries) {
            messages.push(Message {
                group: group.clone(),
                deduplication_id: deduplication_id(group, &entries),
                entries,
            });
        }
    }
    ports.send(&messages, now).await?;
    Ok(Ingested {
        appended,
        messages: messages.len() as u64,
    })
}

/// Appends entries, each in the group that holds its event. Those that belong elsewhere are changed for it.
async fn append_at_home(
    journal: &impl Journal,
    entries: &mut Cow<'_, [Arc<Entry>]>,
) -> Result<Vec<Appended>, Error> {
    let mut appended = journal.append(entries).await?;
    let away: Vec<usize> = (0..)
        .zip(&appended)
        .filter(|(_, became)| **became == Appended::Elsewhere)
        .map(|(place, _)| place)
        .collect();
    if away.is_empty() {
        return Ok(appended);
    }
    let known = entries.to_mut();
    let mut moving: Vec<&mut Arc<Entry>> = Vec::with_capacity(away.len());
    let is_away = |(place, _): &(usize, &mut Arc<Entry>)| away.contains(place);
    moving.extend(
        known
            .iter_mut()
            .enumerate()
            .filter(is_away)
            .map(|(_, entry)| entry),
    );
    let events = moving.iter();
    let events = events.map(|entry| (entry.group.tenant.clone(), entry.event.identity()));
    let homes = journal.homes(&events.collect::<Vec<_>>()).await?;
    for (entry, home) in moving.iter_mut().zip(homes) {
        if let Some(home) = home {
            **entry = Arc::new(entry.at_home(&home));
        }
    }
    let moved: Vec<Arc<Entry>> = moving.iter().map(|entry| Arc::clone(entry)).collect();
    for (place, became) in away.into_iter().zip(journal.append(&moved).await?) {
        if became == Appended::Elsewhere {
            let why = "an event has another home than a moment ago";
            return Err(Error::new(
                ErrorKind::Retry,
                "append an event where it belongs",
                why,
            ));
        }
        if let Some(known) = appended.get_mut(place) {
            *known = became;
        }
    }
    Ok(appended)
}

/// A group's events in as few messages as their limits allow, in order.
fn parts(entries: Vec<Arc<Entry>>) -> Vec<Vec<Arc<Entry>>> {
    let mut parts: Vec<Vec<Arc<Entry>>> = Vec::with_capacity(1);
    let mut part_bytes = 0;
    for entry in entries {
        let bytes = entry.event.size();
        match parts.last_mut() {
            Some(part)
                if part.len() < MESSAGE_EVENTS_MAX && part_bytes + bytes <= MESSAGE_BYTES_MAX =>
            {
                part.push(entry);
                part_bytes += bytes;
            }
            Some(_) | None => {
                parts.push(vec![entry]);
                part_bytes = bytes;
            }
        }
    }
    parts
}

/// The message's deduplication id: its group and exactly which events it carries. Another tenant's
/// events of the same identities are another message.
pub(super) fn deduplication_id<'e>(
    group: &Group,
    entries: impl IntoIterator<Item = &'e Arc<Entry>>,
) -> u128 {
    let events = entries.into_iter().map(|entry| entry.hash);
    events.fold(Fingerprint::default(), Fingerprint::with).0
        ^ EventHash::of(&group.tenant, &group.key).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Format;

    const SETTINGS: &str = r#"
version = 1
[[tenant]]
ids = ["acme"]
[[tenant.map]]
type = "*"
to = "lead.updated"
"#;

    /// What becomes of an event of this type and source, sent to tenant acme.
    fn check(kind: &str, source: &str, expect: &str) {
        let settings = Settings::compile(SETTINGS, Format::Toml, 1).expect("settings");
        let text = format!(
            r#"{{"specversion":"1.0","id":"1","source":"{source}","type":"{kind}","tenant":"acme",
                "time":"2026-03-01T09:30:00Z","partitionkey":"lead-7"}}"#
        );
        let accepted = accept(&settings, None, text.as_bytes(), Timestamp::MAX);
        let became = match accepted {
            Ok(entry) => entry.group.to_string(),
            Err(refusal) => format!("{}: {refusal}", refusal.reason.label()),
        };
        assert_eq!(became, expect, "{kind} from {source}");
    }

    /// How many events each message of a group gets, given how many bytes of data each has.
    fn check_parts(data_bytes: &[usize], expect: &[usize]) {
        let entry = |(n, bytes): (usize, &usize)| {
            let data = "x".repeat(*bytes);
            let text = format!(
                r#"{{"specversion":"1.0","id":"{n}","source":"s","type":"t","tenant":"acme",
                    "time":"2026-03-01T09:30:00Z","partitionkey":"lead-7","data":"{data}"}}"#
            );
            let settings = Settings::compile(SETTINGS, Format::Toml, 1).expect("settings");
            Arc::new(accept(&settings, None, text.as_bytes(), Timestamp::MAX).expect("an event"))
        };
        let entries: Vec<Arc<Entry>> = data_bytes.iter().enumerate().map(entry).collect();
        let parts = parts(entries.clone());
        let sizes: Vec<usize> = parts.iter().map(Vec::len).collect();
        assert_eq!(sizes, expect);
        assert_eq!(parts.concat(), entries, "in order");
    }

    #[test]
    fn a_message_has_limits_of_events_and_of_bytes() {
        check_parts(&[], &[]);
        check_parts(&[1; 600], &[256, 256, 88]);
        check_parts(&[60_000; 7], &[3, 3, 1]);
        check_parts(&[250_000; 3], &[1, 1, 1]);
        check_parts(&[10, 250_000, 10, 10], &[1, 1, 2]);
    }

    #[test]
    fn nobody_else_may_say_what_foldback_says() {
        let own = "which is kept for Foldback's own events";
        check(
            "foldback.baseline",
            "//crm",
            &format!(
                r#"reserved type or source: type "foldback.baseline" begins with "foldback.", {own}"#
            ),
        );
        check(
            "lead.new",
            "foldback:adopt/RSLead",
            &format!(
                r#"reserved type or source: source "foldback:adopt/RSLead" begins with "foldback:", {own}"#
            ),
        );
        check("foldbacks", "foldback", "acme#lead-7");
    }
}

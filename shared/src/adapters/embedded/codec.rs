//! Stored records of trails and hierarchies, as those of entries are.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::adapters::codec::{encode, unpack};
use crate::model::{ActionHierarchy, ActionNode, Entry, Group, Late, Timestamp, Trail};

pub(super) use crate::adapters::codec::{Unreadable, decode_entries_into, encode_entries};

/// The entries of a record of `group`.
pub(super) fn decode_entries(group: &Group, bytes: &[u8]) -> Result<Vec<Entry>, Unreadable> {
    let mut entries = Vec::new();
    decode_entries_into(group, bytes, &mut entries)?;
    Ok(entries)
}

pub(super) fn encode_trail(trail: &Trail) -> Result<Vec<u8>, Unreadable> {
    encode(trail)
}

pub(super) fn decode_trail(bytes: &[u8]) -> Result<Trail, Unreadable> {
    Ok(postcard::from_bytes(&unpack(bytes)?)?)
}

/// A hierarchy without its group, which the record's row names.
#[derive(Serialize, Deserialize)]
struct HierarchyV1<'a> {
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow)]
    event_id: Cow<'a, str>,
    attempt: u32,
    read_start: i64,
    write_start: i64,
    #[serde(borrow)]
    late: Option<(i64, Cow<'a, str>)>,
    unmapped: bool,
    actions: Cow<'a, [ActionNode]>,
}

pub(super) fn encode_hierarchies(hierarchies: &[ActionHierarchy]) -> Result<Vec<u8>, Unreadable> {
    let records: Vec<HierarchyV1<'_>> = hierarchies
        .iter()
        .map(|hierarchy| HierarchyV1 {
            source: Cow::Borrowed(&hierarchy.source),
            event_id: Cow::Borrowed(&hierarchy.event_id),
            attempt: hierarchy.attempt,
            read_start: hierarchy.read_start.ms(),
            write_start: hierarchy.write_start.ms(),
            late: hierarchy
                .late
                .as_ref()
                .map(|l| (l.ms, Cow::Borrowed(l.overtaken_by.as_str()))),
            unmapped: hierarchy.unmapped,
            actions: Cow::Borrowed(&hierarchy.actions),
        })
        .collect();
    encode(&records)
}

pub(super) fn decode_hierarchies(
    group: &Group,
    bytes: &[u8],
) -> Result<Vec<ActionHierarchy>, Unreadable> {
    let bytes = unpack(bytes)?;
    let records: Vec<HierarchyV1<'_>> = postcard::from_bytes(&bytes)?;
    let hierarchy = |record: HierarchyV1<'_>| ActionHierarchy {
        group: group.clone(),
        source: record.source.into(),
        event_id: record.event_id.into(),
        attempt: record.attempt,
        read_start: Timestamp::from_ms(record.read_start),
        write_start: Timestamp::from_ms(record.write_start),
        late: record.late.map(|(ms, by)| Late {
            ms,
            overtaken_by: by.into(),
        }),
        unmapped: record.unmapped,
        actions: record.actions.into_owned(),
    };
    Ok(records.into_iter().map(hierarchy).collect())
}

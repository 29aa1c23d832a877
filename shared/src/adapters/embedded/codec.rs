//! Stored records of trails and hierarchies, as those of entries are.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::adapters::codec::{self, encode, unpack};
use crate::handlers::Table;
use crate::model::{
    ActionHierarchy, ActionNode, Amended, Entry, EventHash, Group, Held, Late, Stamps, Timestamp,
    Trail,
};

pub(in crate::adapters) use crate::adapters::codec::Unreadable;

/// What a record with a checksum begins with; then come the CRC-32 of the rest, the least byte first, and the
/// rest, which is a record as any other. The disk's own checks end at the disk: a byte that changed in a
/// record that still decodes would be another event. Records from before have none and stay readable.
const CHECKED: u8 = 16;
const CHECK_BYTES: usize = 1 + size_of::<u32>();

/// The record with its checksum.
pub(in crate::adapters) fn checked(record: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(CHECK_BYTES + record.len());
    bytes.push(CHECKED);
    bytes.extend(crc32fast::hash(record).to_le_bytes());
    bytes.extend_from_slice(record);
    bytes
}

/// The record that a checksum is of; one without is itself.
pub(in crate::adapters) fn verified(bytes: &[u8]) -> Result<&[u8], Unreadable> {
    match bytes.split_first_chunk::<CHECK_BYTES>() {
        Some(([CHECKED, sum @ ..], record)) => {
            if crc32fast::hash(record) != u32::from_le_bytes(*sum) {
                return Err(Unreadable::Checksum);
            }
            Ok(record)
        }
        Some(_) | None => Ok(bytes),
    }
}

/// Encodes entries of one group, which is not part of the record.
pub(in crate::adapters) fn encode_entries<'e>(
    entries: impl IntoIterator<Item = &'e Entry>,
) -> Result<Vec<u8>, Unreadable> {
    codec::encode_entries(entries).map(|record| checked(&record))
}

/// Adds the entries of a record of `group` to `entries`.
pub(in crate::adapters) fn decode_entries_into(
    group: &Group,
    bytes: &[u8],
    entries: &mut Vec<Entry>,
) -> Result<(), Unreadable> {
    codec::decode_entries_into(group, verified(bytes)?, entries)
}

/// The entries of a record of `group`.
pub(in crate::adapters) fn decode_entries(
    group: &Group,
    bytes: &[u8],
) -> Result<Vec<Entry>, Unreadable> {
    let mut entries = Vec::new();
    decode_entries_into(group, bytes, &mut entries)?;
    Ok(entries)
}

/// A trail as records have it, but for its fence and what is known of amended events of its group.
#[derive(Serialize, Deserialize)]
struct TrailV1<'a> {
    held: Cow<'a, Held>,
    out_of_order: u32,
    version: u64,
    settings: u32,
    handler: u32,
    checksum: u32,
    stamps: Stamps,
}

/// A record that has a fence begins with this, then the fence, the greatest byte first; what follows is
/// the record as it is without one. So the first bytes of records compare as their fences do, and
/// records without one are the least.
const FENCED: u8 = 3;
const FENCE_MARK_BYTES: usize = 1 + size_of::<u64>();
/// What a record of a row in whose group events were amended began with, after its fence, when nothing else
/// was known of them.
const AMENDED: u8 = 5;
/// What it begins with since then; an [`AmendedV1`] follows.
const AMENDED_UNTIL: u8 = 6;

/// What is known of amended events.
#[derive(Serialize, Deserialize)]
struct AmendedV1 {
    until: i64,
    open: BTreeSet<EventHash>,
}

/// How a record with this fence begins. Records that begin with less, or the same, have no greater fence.
pub(in crate::adapters) fn fence_mark(fence: u64) -> [u8; FENCE_MARK_BYTES] {
    let mut mark = [FENCED; FENCE_MARK_BYTES];
    for (byte, of_fence) in mark.iter_mut().skip(1).zip(fence.to_be_bytes()) {
        *byte = of_fence;
    }
    mark
}

pub(in crate::adapters) fn encode_trail(trail: &Trail) -> Result<Vec<u8>, Unreadable> {
    let mut record = Vec::new();
    if let Some(amended) = &trail.amended {
        record.push(AMENDED_UNTIL);
        let known = AmendedV1 {
            until: amended.until.ms(),
            open: amended.open.clone(),
        };
        record = postcard::to_extend(&known, record)?;
    }
    record.extend(encode(&TrailV1 {
        held: Cow::Borrowed(&trail.held),
        out_of_order: trail.out_of_order,
        version: trail.version,
        settings: trail.settings,
        handler: trail.handler,
        checksum: trail.checksum,
        stamps: trail.stamps,
    })?);
    let record = checked(&record);
    if trail.fence == 0 {
        return Ok(record);
    }
    Ok([&fence_mark(trail.fence)[..], &record].concat())
}

pub(in crate::adapters) fn decode_trail(bytes: &[u8]) -> Result<Trail, Unreadable> {
    let (fence, bytes) = match bytes.split_first_chunk::<FENCE_MARK_BYTES>() {
        Some(([FENCED, fence @ ..], rest)) => (u64::from_be_bytes(*fence), rest),
        Some(_) | None => (0, bytes),
    };
    let bytes = verified(bytes)?;
    let (amended, bytes) = match bytes.split_first() {
        Some((&AMENDED, rest)) => (Some(Amended::unknown()), rest),
        Some((&AMENDED_UNTIL, rest)) => {
            let (known, rest): (AmendedV1, _) = postcard::take_from_bytes(rest)?;
            let amended = Amended {
                until: Timestamp::from_ms(known.until),
                open: known.open,
            };
            (Some(amended), rest)
        }
        Some(_) | None => (None, bytes),
    };
    let record: TrailV1<'_> = postcard::from_bytes(&unpack(verified(bytes)?)?)?;
    Ok(Trail {
        held: record.held.into_owned(),
        out_of_order: record.out_of_order,
        version: record.version,
        fence,
        settings: record.settings,
        handler: record.handler,
        checksum: record.checksum,
        stamps: record.stamps,
        amended,
    })
}

/// How late an event was, as records have it from format [`WITH_LATENESS`] on.
#[derive(Serialize, Deserialize)]
struct LateV2<'a> {
    ms: i64,
    #[serde(borrow)]
    overtaken_by: Cow<'a, str>,
    #[serde(borrow)]
    source: Option<Cow<'a, str>>,
    at: Option<i64>,
    rows: Cow<'a, [(Table, SmolStr)]>,
}

impl<'a> LateV2<'a> {
    fn of(late: &'a Late) -> Self {
        Self {
            ms: late.ms,
            overtaken_by: Cow::Borrowed(&late.overtaken_by),
            source: late.source.as_deref().map(Cow::Borrowed),
            at: late.at.map(Timestamp::ms),
            rows: Cow::Borrowed(&late.rows),
        }
    }
}

/// A hierarchy without its group, which the record's row names. What `Lateness` is depends on the format.
#[derive(Serialize, Deserialize)]
struct Record<'a, Lateness> {
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow)]
    event_id: Cow<'a, str>,
    attempt: u32,
    read_start: i64,
    write_start: i64,
    late: Option<Lateness>,
    unmapped: bool,
    actions: Cow<'a, [ActionNode]>,
}

type RecordV1<'a> = Record<'a, (i64, Cow<'a, str>)>;
type RecordV2<'a> = Record<'a, LateV2<'a>>;

/// A record of hierarchies with [`LateV2`] begins with this; what follows is a record as any other. One
/// in which nothing is late begins as it always did.
const WITH_LATENESS: u8 = 4;

pub(in crate::adapters) fn encode_hierarchies(
    hierarchies: &[ActionHierarchy],
) -> Result<Vec<u8>, Unreadable> {
    if hierarchies.iter().all(|one| one.late.is_none()) {
        let records: Vec<RecordV1<'_>> = hierarchies.iter().map(|one| record(one, None)).collect();
        return encode(&records);
    }
    let records: Vec<RecordV2<'_>> = hierarchies
        .iter()
        .map(|one| record(one, one.late.as_ref().map(LateV2::of)))
        .collect();
    let mut bytes = vec![WITH_LATENESS];
    bytes.extend(encode(&records)?);
    Ok(bytes)
}

fn record<L>(hierarchy: &ActionHierarchy, late: Option<L>) -> Record<'_, L> {
    Record {
        source: Cow::Borrowed(&hierarchy.source),
        event_id: Cow::Borrowed(&hierarchy.event_id),
        attempt: hierarchy.attempt,
        read_start: hierarchy.read_start.ms(),
        write_start: hierarchy.write_start.ms(),
        late,
        unmapped: hierarchy.unmapped,
        actions: Cow::Borrowed(&hierarchy.actions),
    }
}

pub(in crate::adapters) fn decode_hierarchies(
    group: &Group,
    bytes: &[u8],
) -> Result<Vec<ActionHierarchy>, Unreadable> {
    if let Some((&WITH_LATENESS, rest)) = bytes.split_first() {
        let bytes = unpack(rest)?;
        let records: Vec<RecordV2<'_>> = postcard::from_bytes(&bytes)?;
        let late = |late: LateV2<'_>| Late {
            ms: late.ms,
            overtaken_by: late.overtaken_by.into(),
            source: late.source.map(SmolStr::from),
            at: late.at.map(Timestamp::from_ms),
            rows: late.rows.into_owned(),
        };
        return Ok(records
            .into_iter()
            .map(|one| hierarchy(group, one, late))
            .collect());
    }
    let bytes = unpack(bytes)?;
    let records: Vec<RecordV1<'_>> = postcard::from_bytes(&bytes)?;
    let late = |(ms, by): (i64, Cow<'_, str>)| Late {
        ms,
        overtaken_by: by.into(),
        source: None,
        at: None,
        rows: Vec::new(),
    };
    Ok(records
        .into_iter()
        .map(|one| hierarchy(group, one, late))
        .collect())
}

fn hierarchy<L>(
    group: &Group,
    record: Record<'_, L>,
    late: impl FnOnce(L) -> Late,
) -> ActionHierarchy {
    ActionHierarchy {
        group: group.clone(),
        source: record.source.into(),
        event_id: record.event_id.into(),
        attempt: record.attempt,
        read_start: Timestamp::from_ms(record.read_start),
        write_start: Timestamp::from_ms(record.write_start),
        late: record.late.map(late),
        unmapped: record.unmapped,
        actions: record.actions.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Outcome;

    /// A hierarchy of so many generations.
    fn deep(generations: usize) -> ActionHierarchy {
        let node = |children| ActionNode {
            table: Table::RSLead,
            id: "lead-1".into(),
            outcome: Outcome::Unchanged,
            children,
        };
        let actions = (0..generations).fold(Vec::new(), |children, _| vec![node(children)]);
        ActionHierarchy {
            group: group(),
            source: "//crm".into(),
            event_id: "1".into(),
            attempt: 1,
            read_start: Timestamp::MIN,
            write_start: Timestamp::MIN,
            late: None,
            unmapped: false,
            actions,
        }
    }

    fn group() -> Group {
        Group {
            tenant: "acme".into(),
            key: "lead-1".into(),
        }
    }

    #[test]
    fn a_hierarchy_that_claims_to_be_too_deep_is_not_read() {
        let check = |generations, readable| {
            let bytes = encode_hierarchies(&[deep(generations)]).expect("encoded");
            let read = decode_hierarchies(&group(), &bytes);
            assert_eq!(read.is_ok(), readable, "{generations}");
        };
        check(3, true);
        check(64, true);
        check(65, false);
        // Nothing is left over from what was refused.
        check(64, true);
        check(1_000, false);
    }

    #[test]
    fn a_record_cannot_claim_more_than_it_can_hold() {
        for claim in [[0, 0, 0, 0x40], [0xff, 0xff, 0xff, 0x3f], [0xff; 4]] {
            let bytes = [&[2][..], &claim, &[0; 8]].concat();
            let read = decode_entries(&group(), &bytes);
            assert!(matches!(read, Err(Unreadable::TooLarge(_))), "{claim:?}");
        }
    }

    #[test]
    fn a_record_that_changed_is_not_what_its_checksum_is_of() {
        let record = checked(&[1, 0]);
        assert_eq!(verified(&record).expect("whole"), [1, 0]);
        for place in 1..record.len() {
            let mut changed = record.clone();
            changed[place] ^= 1;
            assert!(
                matches!(verified(&changed), Err(Unreadable::Checksum)),
                "{place}"
            );
        }
        assert_eq!(verified(&[1, 0]).expect("from before"), [1, 0]);
    }

    #[test]
    fn a_trail_comes_back_whatever_it_says() {
        for (fence, amended) in [
            (0, None),
            (9, None),
            (0, Some(Amended::unknown())),
            (9, Some(Amended::unknown())),
        ] {
            let trail = Trail {
                version: 7,
                fence,
                amended,
                ..Trail::default()
            };
            let record = encode_trail(&trail).expect("a record");
            assert_eq!(decode_trail(&record).expect("a trail"), trail);
        }
    }

    /// Records of before trails told how far amended events reach.
    #[test]
    fn a_trail_that_only_says_that_events_were_amended_still_reads() {
        let plain = Trail {
            version: 7,
            ..Trail::default()
        };
        let record = encode_trail(&plain).expect("a record");
        let fenced = [&fence_mark(9)[..], &[AMENDED], &record].concat();
        let unfenced = [&[AMENDED][..], &record].concat();
        for (bytes, fence) in [(unfenced, 0), (fenced, 9)] {
            let expect = Trail {
                fence,
                amended: Some(Amended::unknown()),
                ..plain.clone()
            };
            assert_eq!(decode_trail(&bytes).expect("a trail"), expect);
        }
    }
}

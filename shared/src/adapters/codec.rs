//! Stored records of entries: a format number, then `postcard` of the structs below, as an LZ4 block where there
//! is much of it. Formats only grow: a change gets a new number, and the old one stays readable.

use std::borrow::Cow;
use std::collections::BTreeMap;

use postcard::ser_flavors::Flavor;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::model::{Entry, Event, EventHash, Group, Payload, Sequence, Timestamp};

/// Why a stored record cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("the record's format {0} is not known to this version")]
    Format(u8),
    #[cfg(any(feature = "embedded", feature = "mongo"))]
    #[error("the record is of a table that is not known to this version")]
    Table,
    #[cfg(feature = "embedded")]
    #[error("the record is damaged: it is not what its checksum is of")]
    Checksum,
    #[error("the record is empty")]
    Empty,
    #[error("the record claims {0} bytes")]
    TooLarge(usize),
    #[error("the record is damaged")]
    Damaged(#[from] postcard::Error),
    #[error("the record is damaged")]
    Packed(#[from] lz4_flex::block::DecompressError),
}

const FORMAT_1: u8 = 1;
const FORMAT_1_LZ4: u8 = 2;
/// No record is larger; a damaged one must not claim all memory.
const RECORD_BYTES_MAX: usize = 1 << 30;
/// The most that a byte of an LZ4 block becomes, and what its first and last ones may add
/// (<https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md>).
const LZ4_RATIO_MAX: usize = 255;
const LZ4_MORE_MAX: usize = 64;

#[derive(Serialize, Deserialize)]
struct EntryV1<'a> {
    recorded: i64,
    hash: [u8; 16],
    time: i64,
    below_ms: u32,
    names_tenant: bool,
    names_partition_key: bool,
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    sequence: Option<Cow<'a, str>>,
    #[serde(borrow)]
    subject: Option<Cow<'a, str>>,
    #[serde(borrow)]
    traceparent: Option<Cow<'a, str>>,
    #[serde(borrow)]
    content_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: PayloadV1<'a>,
    extensions: Cow<'a, BTreeMap<SmolStr, Box<str>>>,
}

#[derive(Serialize, Deserialize)]
enum PayloadV1<'a> {
    None,
    Json(#[serde(borrow)] Cow<'a, str>),
    Base64(#[serde(borrow)] Cow<'a, str>),
}

/// Encodes entries of one group, which is not part of the record.
pub(super) fn encode_entries<'e>(
    entries: impl IntoIterator<Item = &'e Entry>,
) -> Result<Vec<u8>, Unreadable> {
    let records: Vec<EntryV1<'_>> = entries.into_iter().map(record).collect();
    encode(&records)
}

/// Adds the entries of a record of `group` to `entries`.
pub(super) fn decode_entries_into(
    group: &Group,
    bytes: &[u8],
    entries: &mut Vec<Entry>,
) -> Result<(), Unreadable> {
    let bytes = unpack(bytes)?;
    let records: Vec<EntryV1<'_>> = postcard::from_bytes(&bytes)?;
    entries.extend(records.into_iter().map(|record| entry(group, record)));
    Ok(())
}

fn record(entry: &Entry) -> EntryV1<'_> {
    let event = &entry.event;
    EntryV1 {
        recorded: entry.recorded.ms(),
        hash: entry.hash.0.to_le_bytes(),
        time: event.time.ms(),
        below_ms: event.below_ms,
        names_tenant: event.tenant.is_some(),
        names_partition_key: event.partition_key.is_some(),
        source: Cow::Borrowed(&event.source),
        id: Cow::Borrowed(&event.id),
        kind: Cow::Borrowed(&event.kind),
        sequence: event
            .sequence
            .as_ref()
            .map(|sequence| Cow::Borrowed(sequence.0.as_str())),
        subject: event.subject.as_deref().map(Cow::Borrowed),
        traceparent: event.traceparent.as_deref().map(Cow::Borrowed),
        content_type: event.content_type.as_deref().map(Cow::Borrowed),
        data: match &event.data {
            Payload::None => PayloadV1::None,
            Payload::Json(text) => PayloadV1::Json(Cow::Borrowed(text)),
            Payload::Base64(text) => PayloadV1::Base64(Cow::Borrowed(text)),
        },
        extensions: Cow::Borrowed(&event.extensions),
    }
}

fn entry(group: &Group, record: EntryV1<'_>) -> Entry {
    let text = |text: Cow<'_, str>| SmolStr::from(text);
    let mut entry = Entry {
        group: group.clone(),
        event: Event {
            source: text(record.source),
            id: text(record.id),
            kind: text(record.kind),
            time: Timestamp::from_ms(record.time),
            below_ms: record.below_ms,
            sequence: record.sequence.map(|sequence| Sequence(text(sequence))),
            subject: record.subject.map(text),
            tenant: record.names_tenant.then(|| group.tenant.clone()),
            partition_key: None,
            traceparent: record.traceparent.map(text),
            content_type: record.content_type.map(text),
            data: match record.data {
                PayloadV1::None => Payload::None,
                PayloadV1::Json(text) => Payload::Json(text.into()),
                PayloadV1::Base64(text) => Payload::Base64(text.into()),
            },
            extensions: record.extensions.into_owned(),
        },
        recorded: Timestamp::from_ms(record.recorded),
        hash: EventHash(u128::from_le_bytes(record.hash)),
    };
    if record.names_partition_key {
        entry.event.name_group(group);
    }
    entry
}

/// Events of one group are much alike; small records are not worth the trouble.
const COMPRESSED_FROM: usize = 256;

/// Room for most small records at once.
const RECORD_BYTES_USUAL: usize = 1 << 10;

/// What `postcard` writes into; its own one takes a text byte by byte.
struct Bytes(Vec<u8>);

impl Flavor for Bytes {
    type Output = Vec<u8>;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.0)
    }
}

pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Unreadable> {
    let mut plain = Vec::with_capacity(RECORD_BYTES_USUAL);
    plain.push(FORMAT_1);
    let plain = postcard::serialize_with_flavor(value, Bytes(plain))?;
    if plain.len() < COMPRESSED_FROM {
        return Ok(plain);
    }
    let mut packed = vec![FORMAT_1_LZ4];
    packed.extend(lz4_flex::compress_prepend_size(
        plain.get(1..).unwrap_or_default(),
    ));
    Ok(packed)
}

/// What a record holds.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    Ok(postcard::from_bytes(&unpack(bytes)?)?)
}

/// The `postcard` bytes of a record.
pub(super) fn unpack(bytes: &[u8]) -> Result<Cow<'_, [u8]>, Unreadable> {
    match bytes.split_first() {
        Some((&FORMAT_1, rest)) => Ok(Cow::Borrowed(rest)),
        Some((&FORMAT_1_LZ4, rest)) => {
            let (size, _) = lz4_flex::block::uncompressed_size(rest)?;
            let most = rest.len() * LZ4_RATIO_MAX + LZ4_MORE_MAX;
            if size > most.min(RECORD_BYTES_MAX) {
                return Err(Unreadable::TooLarge(size));
            }
            Ok(Cow::Owned(lz4_flex::decompress_size_prepended(rest)?))
        }
        Some((&other, _)) => Err(Unreadable::Format(other)),
        None => Err(Unreadable::Empty),
    }
}

use mongodb::bson::{Bson, DateTime, Document, doc};
use serde_json::{Map, Number, Value};
use smol_str::SmolStr;

use crate::flow::{Put, RowKey, Stored};
use crate::handlers::{Table, Version};
use crate::model::{
    Amended, EventHash, Fingerprint, Held, Order, Sequence, Stamps, Timestamp, Trail,
};

use super::keys;

/// What a row carries about itself stands in this field.
pub(super) const TRAIL: &str = "trail";

/// The fields of a row's document: its content and its trail.
pub(super) fn row(key: &RowKey, put: &Put) -> Document {
    // Of a row that is gone the trail is left, and what additions go on from where the table takes any.
    let body = match put.is_gone() {
        true => put.row.body(),
        false => put.body.clone(),
    };
    // A body that is no object is stored as none; reading it back says that it is unreadable.
    let mut body: Map<String, Value> = serde_json::from_str(&body).unwrap_or_default();
    if put.is_gone() && !key.table.is_commutative() {
        // By its names other code finds it, and its indexes may hold each of them once only.
        body.retain(|name, _| is_name(key.table, name));
    }
    let mut fields: Document = body
        .into_iter()
        .map(|(name, value)| {
            let value = to_bson(&name, value);
            (name, value)
        })
        .collect();
    fields.insert(TRAIL, trail(key, &put.trail));
    fields
}

/// Whether a field says which row it is, and nothing of it.
fn is_name(table: Table, field: &str) -> bool {
    field == "tenant" || field == table.id_field()
}

/// The fields of a table that a row that is gone has not.
pub(super) fn content_fields(table: Table) -> impl Iterator<Item = &'static str> {
    let fields = table.fields().iter().copied();
    fields.filter(move |field| !is_name(table, field))
}

/// The trail's sub-document. Its numbers are whole so that `$inc` can add to them; the fingerprint
/// stands in four parts of 32 bits for the same reason.
fn trail(key: &RowKey, trail: &Trail) -> Document {
    let stamps = trail.stamps;
    let mut fields = doc! {
        "key": keys::of_row(key),
        "group": keys::of_group(&key.group),
        "version": int(trail.version),
        "fence": int(trail.fence),
        "events": int(trail.held.events),
        "fingerprint": fingerprint(trail.held.fingerprint),
        "last": trail.held.last.as_ref().map(order),
        "taken": trail.held.taken.map(|event| event.to_string()),
        "outOfOrder": i64::from(trail.out_of_order),
        "settings": i64::from(trail.settings),
        "handler": i64::from(trail.handler),
        "checksum": i64::from(trail.checksum),
        "externalEvent": date(stamps.event),
        "readStart": date(stamps.read_start),
        "writeStart": date(stamps.write_start),
    };
    if let Some(amended) = &trail.amended {
        let open = amended.open.iter().map(EventHash::to_string);
        fields.insert(
            "amended",
            doc! { "until": date(amended.until), "open": open.collect::<Vec<_>>() },
        );
    }
    fields
}

/// A place in the order as a document that sorts the same way.
pub(super) fn order(order: &Order) -> Document {
    doc! {
        "time": date(order.time),
        "belowMs": i64::from(order.below_ms),
        "sequence": order.sequence.as_ref().map(|sequence| {
            let (text, length, digits, _raw) = sequence.key();
            doc! { "text": text, "length": int(length as u64), "digits": digits, "raw": sequence.0.as_str() }
        }),
        "source": order.source.as_str(),
        "id": order.id.as_str(),
    }
}

/// The four parts of a fingerprint, lowest first.
pub(super) fn fingerprint(fingerprint: Fingerprint) -> Document {
    let parts = PARTS.into_iter().zip(0..);
    parts
        .map(|(name, place)| {
            let part = (fingerprint.0 >> (32 * place)) & u128::from(u32::MAX);
            (
                name.to_owned(),
                Bson::Int64(i64::try_from(part).unwrap_or_default()),
            )
        })
        .collect()
}

/// The names of a fingerprint's parts.
pub(super) const PARTS: [&str; 4] = ["w0", "w1", "w2", "w3"];

/// Reads a row back. Content or a trail that cannot be read is marked, not hidden; a document without
/// a key of ours is none of our rows.
pub(super) fn stored(table: Table, document: Document) -> Option<Stored> {
    let trail = document.get_document(TRAIL).ok()?;
    let key = keys::row(table, trail.get_str("key").ok()?)?;
    let version = trail.get_i64("version").ok();
    let known = read_trail(trail);
    let bare = !content_fields(table).any(|field| document.contains_key(field));
    let gone = bare && known.as_ref().is_some_and(Trail::is_gone);
    let read = table.read_row(&body(document));
    let readable = known.is_some() && (read.is_ok() || gone);
    let mut trail = known.unwrap_or_default();
    // Writes are conditional on it, whoever spoiled the rest.
    trail.version = version.and_then(|v| u64::try_from(v).ok()).unwrap_or(0);
    Some(Stored {
        row: read.unwrap_or_else(|_unreadable| table.new_row(&key.group, &key.id)),
        key,
        readable,
        trail,
        history: None,
    })
}

/// A document's content as JSON.
pub(super) fn body(document: Document) -> String {
    let own = |name: &String| name != TRAIL && name != "_id";
    let fields: Map<String, Value> = document
        .into_iter()
        .filter(|(name, _)| own(name))
        .map(|(name, value)| (name, to_json(value)))
        .collect();
    Value::Object(fields).to_string()
}

fn read_trail(trail: &Document) -> Option<Trail> {
    let small = |name: &str| u32::try_from(trail.get_i64(name).ok()?).ok();
    let moment = |name: &str| trail.get_datetime(name).ok().map(|at| moment(*at));
    let mut fingerprint = 0_u128;
    let parts = trail.get_document("fingerprint").ok()?;
    for (name, place) in PARTS.into_iter().zip(0..) {
        // Sums of parts run over into the next one.
        let part = u128::try_from(parts.get_i64(name).ok()?).ok()?;
        fingerprint = fingerprint.wrapping_add(part << (32 * place));
    }
    let last = unless_null(trail.get("last")?, |order| read_order(order.as_document()?))?;
    let taken = unless_null(trail.get("taken")?, read_hash)?;
    Some(Trail {
        held: Held {
            events: u64::try_from(trail.get_i64("events").ok()?).ok()?,
            fingerprint: Fingerprint(fingerprint),
            last,
            taken,
        },
        out_of_order: small("outOfOrder")?,
        version: 0,
        // Rows of before there were fences have none.
        fence: match trail.get("fence") {
            None => 0,
            Some(fence) => u64::try_from(fence.as_i64()?).ok()?,
        },
        settings: small("settings")?,
        handler: small("handler")?,
        checksum: small("checksum")?,
        amended: match trail.get("amended") {
            None => None,
            Some(amended) => read_amended(amended)?,
        },
        stamps: Stamps {
            event: moment("externalEvent")?,
            read_start: moment("readStart")?,
            write_start: moment("writeStart")?,
        },
    })
}

/// A value that may be null; `None` where it is of neither kind.
pub(super) fn unless_null<'d, T>(
    value: &'d Bson,
    read: impl FnOnce(&'d Bson) -> Option<T>,
) -> Option<Option<T>> {
    match value.as_null() {
        Some(()) => Some(None),
        None => read(value).map(Some),
    }
}

/// What a trail tells of amended events: it once told only whether there were any.
fn read_amended(amended: &Bson) -> Option<Option<Amended>> {
    let Some(known) = amended.as_document() else {
        return Some(amended.as_bool()?.then(Amended::unknown));
    };
    let open = known.get_array("open").ok()?.iter();
    Some(Some(Amended {
        until: moment(*known.get_datetime("until").ok()?),
        open: open.map(read_hash).collect::<Option<_>>()?,
    }))
}

fn read_hash(hash: &Bson) -> Option<EventHash> {
    Some(EventHash(u128::from_str_radix(hash.as_str()?, 16).ok()?))
}

fn read_order(order: &Document) -> Option<Order> {
    let text = |name: &str| order.get_str(name).ok().map(SmolStr::from);
    let sequence = unless_null(order.get("sequence")?, |sequence| {
        let raw = sequence.as_document()?.get_str("raw").ok()?;
        Some(Sequence(raw.into()))
    })?;
    Some(Order {
        time: moment(*order.get_datetime("time").ok()?),
        below_ms: u32::try_from(order.get_i64("belowMs").ok()?).ok()?,
        sequence,
        source: text("source")?,
        id: text("id")?,
    })
}

/// The table's own fields of a version, as they stand in its document.
pub(super) fn version_fields(version: &Version) -> Document {
    let own: Map<String, Value> = serde_json::from_str(&version.fields).unwrap_or_default();
    own.into_iter()
        .map(|(name, value)| {
            let value = to_bson(&name, value);
            (name, value)
        })
        .collect()
}

/// Fields with names like this hold moments: dates in MongoDB, RFC 3339 in JSON.
fn holds_moments(name: &str) -> bool {
    name.ends_with("At")
}

/// A JSON value as MongoDB's users expect it.
pub(super) fn to_bson(name: &str, value: Value) -> Bson {
    match value {
        Value::Null => Bson::Null,
        Value::Bool(yes) => Bson::Boolean(yes),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Bson::Int64(whole),
            (None, Some(fraction)) => Bson::Double(fraction),
            (None, None) => Bson::String(number.to_string()),
        },
        Value::String(text) => match Timestamp::parse(&text) {
            // Only what comes back as it was.
            Ok(at) if holds_moments(name) && at.to_string() == text => Bson::DateTime(date(at)),
            Ok(_) | Err(_) => Bson::String(text),
        },
        Value::Array(items) => items.into_iter().map(|item| to_bson("", item)).collect(),
        Value::Object(fields) => Bson::Document(
            fields
                .into_iter()
                .map(|(name, value)| {
                    let value = to_bson(&name, value);
                    (name, value)
                })
                .collect(),
        ),
    }
}

/// A stored value as JSON. Other code may have written it: whole numbers are whole in whatever type.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the kinds that no row has are many, and all shown alike"
)]
pub(super) fn to_json(value: Bson) -> Value {
    match value {
        Bson::Double(number) => decimal(&number.to_string()),
        Bson::Decimal128(number) => decimal(&number.to_string()),
        Bson::Int32(number) => number.into(),
        Bson::Int64(number) => number.into(),
        Bson::Boolean(yes) => yes.into(),
        Bson::String(text) => text.into(),
        Bson::DateTime(at) => moment(at).to_string().into(),
        Bson::Array(items) => items.into_iter().map(to_json).collect(),
        Bson::Document(fields) => fields
            .into_iter()
            .map(|(name, value)| (name, to_json(value)))
            .collect(),
        // An id, a regular expression: no row has such a field; it shows as what it is.
        Bson::Null | Bson::Undefined => Value::Null,
        other => other.to_string().into(),
    }
}

fn decimal(text: &str) -> Value {
    let whole = text.strip_suffix(".0").unwrap_or(text);
    if let Ok(whole) = whole.parse::<i64>() {
        return whole.into();
    }
    let number = text.parse().ok().and_then(Number::from_f64);
    number.map_or(Value::Null, Value::Number)
}

pub(super) fn date(at: Timestamp) -> DateTime {
    DateTime::from_millis(at.ms())
}

pub(super) fn moment(at: DateTime) -> Timestamp {
    Timestamp::from_ms(at.timestamp_millis())
}

/// Counts and versions never come near what 63 bits hold.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

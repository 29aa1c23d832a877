use std::collections::BTreeSet;

use mongodb::bson::{Bson, Decimal128, Document, doc};
use mongodb::error::{ErrorKind as MongoErrorKind, TRANSIENT_TRANSACTION_ERROR};
use mongodb::options::{UpdateOneModel, WriteModel};
use serde_json::{Map, Value};

use crate::flow::{Addition, Change, How, Number};
use crate::handlers::Table;
use crate::model::{ActionId, Group, Timestamp};
use crate::ports::{Added, Error, ErrorKind};

use super::commit::{ATTEMPTS_MAX, Attempt, pause};
use super::document::{self, TRAIL, date, to_bson};
use super::plan::Plan;
use super::{ADDITIONS, Mongo, PLACES, conversions, failed, keys, rows_of};

const DOING: &str = "add to rows in MongoDB";
/// The most additions of one transaction.
const AT_ONCE: usize = 1_000;
/// Server codes of a field that holds what cannot be added to: `TypeMismatch`, `PathNotViable`, and
/// `ConflictingUpdateOperators`, which is a change within a field that rows start with as no object.
const OTHER_TYPE: [i32; 3] = [14, 28, 40];
/// `DuplicateKey`: the row is there, and a field of it holds no moment.
const DUPLICATE_KEY: i32 = 11_000;

impl Mongo {
    pub(super) async fn add_all(
        &self,
        additions: &[Addition],
        now: Timestamp,
    ) -> Result<Vec<Added>, Error> {
        for addition in additions {
            let sound = addition.check();
            sound.map_err(|why| Error::refused(addition, why))?;
        }
        let mut added = Vec::with_capacity(additions.len());
        for part in additions.chunks(AT_ONCE) {
            added.extend(self.add_part(part, now).await?);
        }
        Ok(added)
    }

    /// One transaction: each addition's mark, which says whether it is new, and its row.
    async fn add_part(&self, part: &[Addition], now: Timestamp) -> Result<Vec<Added>, Error> {
        let mut held = twice(part);
        let mut attempts = 0;
        loop {
            let mut plan = Plan::empty(self);
            for (place, addition) in part.iter().enumerate() {
                if !held.contains(&place) {
                    plan.addition(place, addition, now);
                }
            }
            match self.attempt(plan).await {
                Ok(Attempt::Done) => break,
                Ok(Attempt::Lost(more)) => held.extend(more),
                Err(error) if error.contains_label(TRANSIENT_TRANSACTION_ERROR) => {
                    attempts += 1;
                    if attempts >= ATTEMPTS_MAX {
                        return Err(Error::new(ErrorKind::Retry, DOING, error));
                    }
                    pause(attempts).await;
                }
                Err(error) if holds_another_type(&error) => {
                    return Err(Error::new(ErrorKind::Corrupt, DOING, error));
                }
                Err(error) => return Err(failed(DOING)(error)),
            }
        }
        let became = |place: usize| {
            if held.contains(&place) {
                Added::Held
            } else {
                Added::Done
            }
        };
        Ok((0..part.len()).map(became).collect())
    }
}

/// The places of additions that stand earlier in the same part.
fn twice(part: &[Addition]) -> BTreeSet<usize> {
    let mut seen = BTreeSet::new();
    let mut again = BTreeSet::new();
    for (place, addition) in part.iter().enumerate() {
        if !seen.insert((&addition.key.group, addition.action)) {
            again.insert(place);
        }
    }
    again
}

fn holds_another_type(error: &mongodb::error::Error) -> bool {
    if let MongoErrorKind::BulkWrite(bulk) = error.kind.as_ref() {
        let code = |code: i32| OTHER_TYPE.contains(&code) || code == DUPLICATE_KEY;
        return bulk.write_errors.values().any(|error| code(error.code));
    }
    matches!(error.kind.as_ref(), MongoErrorKind::Command(command) if OTHER_TYPE.contains(&command.code))
}

impl Plan {
    fn addition(&mut self, place: usize, addition: &Addition, now: Timestamp) {
        let mark = self.mark(&addition.key.group, addition.action, now);
        self.decide_by_insert(place, mark);
        let namespace = self.namespace(rows_of(addition.key.table));
        let row = UpdateOneModel::builder()
            .namespace(namespace)
            .filter(filter(addition))
            .update(update(addition))
            .upsert(true)
            .build();
        self.push(row.into());
        for (name, at) in places(addition) {
            self.push(self.later_place(addition, name, at));
        }
    }

    /// Marks an action as taken in, for good.
    pub(super) fn mark(&self, group: &Group, action: ActionId, now: Timestamp) -> WriteModel {
        let mark = format!("{}#{action}", keys::of_group(group));
        UpdateOneModel::builder()
            .namespace(self.namespace(ADDITIONS))
            .filter(doc! { "_id": mark })
            .update(doc! { "$setOnInsert": { "at": date(now) } })
            .upsert(true)
            .build()
            .into()
    }

    /// Moves an entry of the index of conversions to a later place.
    fn later_place(&self, addition: &Addition, name: &str, at: Timestamp) -> WriteModel {
        let mut entry = conversions::place(&addition.key, name, at);
        let key = entry.remove("key").unwrap_or(Bson::Null);
        let place = entry.remove("place").unwrap_or(Bson::Null);
        let last_at = entry.remove("lastAt").unwrap_or(Bson::Null);
        entry.remove("name");
        UpdateOneModel::builder()
            .namespace(self.namespace(PLACES))
            .filter(doc! { "key": key, "name": name })
            .update(doc! {
                "$max": { "place": place, "lastAt": last_at },
                "$setOnInsert": entry,
            })
            .upsert(true)
            .build()
            .into()
    }
}

/// The row, if its fields hold what moments can be compared with. If they do not, the server tries to
/// make a second row of the key, and refuses.
fn filter(addition: &Addition) -> Document {
    let mut filter = doc! { "trail.key": keys::of_row(&addition.key) };
    let of_moments = |change: &Change| match change.how {
        How::Least(_) | How::Greatest(_) => {
            let field = change.field.to_string();
            let absent = doc! { field.clone(): { "$exists": false } };
            Some(doc! { "$or": [absent, { field: { "$type": "date" } }] })
        }
        How::Increase(_) | How::SetOnInsert(_) => None,
    };
    let moments: Vec<Document> = addition.changes.iter().filter_map(of_moments).collect();
    if !moments.is_empty() {
        filter.insert("$and", moments);
    }
    filter
}

fn update(addition: &Addition) -> Document {
    let mut on_insert = doc! {
        "trail.group": keys::of_group(&addition.key.group),
        "trail.outOfOrder": 0_i64,
    };
    let start = serde_json::from_str(&addition.start.body()).unwrap_or_default();
    unnamed("", start, addition, &mut on_insert);
    let mut increase = doc! { "trail.version": 1_i64, "trail.events": 1_i64 };
    let fingerprint = crate::model::Fingerprint::default().with(addition.event);
    for (name, part) in document::fingerprint(fingerprint) {
        increase.insert(format!("{TRAIL}.fingerprint.{name}"), part);
    }
    let stamps = addition.stamps;
    let mut most = doc! {
        "trail.last": document::order(&addition.order),
        "trail.externalEvent": date(stamps.event),
        "trail.readStart": date(stamps.read_start),
        "trail.writeStart": date(stamps.write_start),
    };
    let mut least = doc! {
        "trail.settings": i64::from(addition.settings),
        "trail.handler": i64::from(addition.key.table.handler_version()),
    };
    for Change { field, how } in &addition.changes {
        let name = field.to_string();
        match how {
            How::Increase(by) => increase.insert(name, number(*by)),
            How::Least(at) => least.insert(name, date(*at)),
            How::Greatest(at) => most.insert(name, date(*at)),
            How::SetOnInsert(value) => {
                let last = field.segments().last().map_or("", |last| last.as_str());
                on_insert.insert(name, to_bson(last, value.clone()))
            }
        };
    }
    doc! {
        "$setOnInsert": on_insert,
        "$inc": increase,
        "$max": most,
        "$set": {
            "trail.taken": addition.event.to_string(),
            "trail.checksum": 0_i64,
        },
        "$min": least,
    }
}

/// Amounts as decimals: sums of those are exact.
fn number(number: Number) -> Bson {
    match number {
        Number::Count(count) => Bson::Int64(count),
        Number::Amount(amount) => match amount.to_string().parse::<Decimal128>() {
            Ok(decimal) => Bson::Decimal128(decimal),
            Err(_) => Bson::Null,
        },
    }
}

/// The fields of the row to start from that no change names, by their whole paths. An object that a
/// change lies within is made by that change.
fn unnamed(way: &str, fields: Map<String, Value>, addition: &Addition, out: &mut Document) {
    for (name, value) in fields {
        let path = format!("{way}{name}");
        let within = format!("{path}.");
        let paths = || {
            addition
                .changes
                .iter()
                .map(|change| change.field.to_string())
        };
        if paths().any(|changed| changed == path) {
            continue;
        }
        if let Value::Object(inner) = &value
            && paths().any(|changed| changed.starts_with(&within))
        {
            unnamed(&within, inner.clone(), addition, out);
            continue;
        }
        let value = to_bson(&name, value);
        out.insert(path, value);
    }
}

/// The conversions whose last moment an addition moves.
fn places(addition: &Addition) -> impl Iterator<Item = (&str, Timestamp)> {
    let is_found = addition.key.table == Table::RSLeadGlobalConversions;
    addition
        .changes
        .iter()
        .filter(move |_| is_found)
        .filter_map(|change| match (change.field.segments(), &change.how) {
            ([outer, name, last], How::Greatest(at))
                if outer == "conversions" && last == "lastAt" =>
            {
                Some((name.as_str(), *at))
            }
            _other => None,
        })
}

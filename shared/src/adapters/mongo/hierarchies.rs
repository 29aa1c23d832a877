use futures_util::TryStreamExt;
use mongodb::bson::{Bson, Document, doc};
use smol_str::SmolStr;

use crate::handlers::Table;
use crate::model::{ActionHierarchy, ActionNode, Group, Late, Timestamp};
use crate::ports::{Error, ErrorKind, Found, Hierarchies, Look};

use super::document::{date, moment, unless_null};
use super::indexes::{Index, Kind, Query, Samples};
use super::{HIERARCHIES, Mongo, failed, keys};

const BY_GROUP: &str = "by_group";
/// Documents expire in the order in which they were saved.
const BY_TENANT: &str = "by_tenant";
const EXPIRY: &str = "expiry";

pub(super) fn indexes() -> Vec<Index> {
    let of = |name, keys, kind| Index {
        collection: HIERARCHIES,
        name,
        keys,
        kind,
    };
    let by_group = doc! { "group": 1, "savedAt": 1, "_id": 1 };
    vec![
        of(BY_GROUP, by_group, Kind::Plain),
        of(BY_TENANT, doc! { "tenant": 1, "expireAt": -1 }, Kind::Plain),
        of(EXPIRY, doc! { "expireAt": 1 }, Kind::Expiry),
    ]
}

pub(super) fn queries(collection: &'static str, samples: &Samples) -> Vec<Query> {
    if collection != HIERARCHIES {
        return Vec::new();
    }
    let group = samples.first.get_str("group").unwrap_or_default();
    let tenant = samples.first.get_str("tenant").unwrap_or_default();
    let newest = doc! { "expireAt": -1 };
    let before = doc! { "$lt": date(Timestamp::MAX) };
    vec![
        Query {
            name: "Hierarchies::of_group".to_owned(),
            collection,
            needs: Some(BY_GROUP),
            filter: doc! { "group": group },
            sort: doc! { "savedAt": 1, "_id": 1 },
        },
        Query {
            name: "Hierarchies::finished, of a tenant".to_owned(),
            collection,
            needs: Some(BY_TENANT),
            filter: doc! { "tenant": tenant, "expireAt": before.clone() },
            sort: newest.clone(),
        },
        Query {
            name: "Hierarchies::finished".to_owned(),
            collection,
            needs: Some(EXPIRY),
            filter: doc! { "expireAt": before },
            sort: newest,
        },
    ]
}

const DOING: &str = "read action hierarchies from MongoDB";

impl Hierarchies for Mongo {
    async fn of_group(&self, group: &Group) -> Result<Vec<ActionHierarchy>, Error> {
        let cursor = self
            .read_from(HIERARCHIES)
            .find(doc! { "group": keys::of_group(group) })
            .sort(doc! { "savedAt": 1, "_id": 1 })
            .await
            .map_err(failed(DOING))?;
        let documents: Vec<Document> = cursor.try_collect().await.map_err(failed(DOING))?;
        let read = |document: &Document| {
            hierarchy(group, document).ok_or_else(|| {
                let id = document.get("_id").map(ToString::to_string);
                let why = format!("{HIERARCHIES} {} is none", id.unwrap_or_default());
                Error::new(ErrorKind::Corrupt, DOING, why)
            })
        };
        documents.iter().map(read).collect()
    }

    async fn finished(&self, look: &Look) -> Result<Found<ActionHierarchy>, Error> {
        let from = look
            .from
            .map_or(i64::MAX, |ms| i64::try_from(ms).unwrap_or(i64::MAX));
        let from = Timestamp::from_ms(from.min(Timestamp::MAX.ms()));
        let mut filter = doc! { "expireAt": { "$lt": date(from) } };
        if let Some(tenant) = &look.tenant {
            filter.insert("tenant", tenant.as_str());
        }
        let mut cursor = self
            .read_from(HIERARCHIES)
            .find(filter)
            .sort(doc! { "expireAt": -1 })
            .limit(i64::try_from(look.examine).unwrap_or(i64::MAX))
            .await
            .map_err(failed(DOING))?;
        let mut found = Found::default();
        let mut last = None;
        while let Some(document) = cursor.try_next().await.map_err(failed(DOING))? {
            let (one, saved) = finished(&document).ok_or_else(|| {
                Error::new(
                    ErrorKind::Corrupt,
                    DOING,
                    format!("{HIERARCHIES} has what is none"),
                )
            })?;
            // What was saved at one moment stays together: the next look goes on before it.
            if found.items.len() >= look.limit && last != Some(saved) {
                found.next = last;
                break;
            }
            last = Some(saved);
            found.examined += 1;
            found.items.push(one);
        }
        if found.next.is_none() && found.examined >= look.examine as u64 {
            found.next = last;
        }
        Ok(found)
    }
}

/// A hierarchy and the moment in it by which they are listed.
fn finished(document: &Document) -> Option<(ActionHierarchy, u64)> {
    let group = Group {
        tenant: document.get_str("tenant").ok()?.into(),
        key: document.get_str("partitionkey").ok()?.into(),
    };
    let saved = moment(*document.get_datetime("expireAt").ok()?).ms();
    Some((hierarchy(&group, document)?, u64::try_from(saved).ok()?))
}

impl Mongo {
    /// A finished hierarchy as it is kept, until it expires.
    pub(super) fn hierarchy(&self, of: &ActionHierarchy, now: Timestamp) -> Document {
        doc! {
            "group": keys::of_group(&of.group),
            "tenant": of.group.tenant.as_str(),
            "partitionkey": of.group.key.as_str(),
            "source": of.source.as_str(),
            "eventId": of.event_id.as_str(),
            "attempt": i64::from(of.attempt),
            "readStart": date(of.read_start),
            "writeStart": date(of.write_start),
            "late": of.late.as_ref().map(|late| doc! {
                "ms": late.ms,
                "overtakenBy": late.overtaken_by.as_str(),
                "source": late.source.as_deref(),
                "at": late.at.map(date),
                "rows": late.rows.iter().map(row).collect::<Vec<_>>(),
            }),
            "unmapped": of.unmapped,
            "actions": nodes(&of.actions),
            "savedAt": date(now),
            "expireAt": date(now.plus_ms(self.retention.hierarchies_ms)),
        }
    }
}

fn row((table, id): &(Table, SmolStr)) -> Document {
    doc! { "table": table.name(), "id": id.as_str() }
}

fn read_row(row: &Bson) -> Option<(Table, SmolStr)> {
    let row = row.as_document()?;
    let table = Table::named(row.get_str("table").ok()?)?;
    Some((table, row.get_str("id").ok()?.into()))
}

fn nodes(nodes: &[ActionNode]) -> Bson {
    let node = |node: &ActionNode| {
        let outcome = serde_json::to_value(node.outcome).unwrap_or_default();
        let mut document = doc! {
            "table": node.table.name(),
            "id": node.id.as_str(),
            "outcome": outcome.as_str(),
        };
        if !node.children.is_empty() {
            document.insert("children", self::nodes(&node.children));
        }
        Bson::Document(document)
    };
    nodes.iter().map(node).collect()
}

fn hierarchy(group: &Group, document: &Document) -> Option<ActionHierarchy> {
    let late = unless_null(document.get("late")?, |late| {
        let late = late.as_document()?;
        Some(Late {
            ms: late.get_i64("ms").ok()?,
            overtaken_by: late.get_str("overtakenBy").ok()?.into(),
            // What was kept before these were has none.
            source: late.get_str("source").ok().map(Into::into),
            at: late.get_datetime("at").ok().map(|at| moment(*at)),
            rows: late
                .get_array("rows")
                .map_or(Some(Vec::new()), |rows| rows.iter().map(read_row).collect())?,
        })
    })?;
    Some(ActionHierarchy {
        group: group.clone(),
        source: document.get_str("source").ok()?.into(),
        event_id: document.get_str("eventId").ok()?.into(),
        attempt: u32::try_from(document.get_i64("attempt").ok()?).ok()?,
        read_start: moment(*document.get_datetime("readStart").ok()?),
        write_start: moment(*document.get_datetime("writeStart").ok()?),
        late,
        unmapped: document.get_bool("unmapped").ok()?,
        actions: read_nodes(document.get("actions")?)?,
    })
}

fn read_nodes(nodes: &Bson) -> Option<Vec<ActionNode>> {
    let node = |node: &Bson| {
        let node = node.as_document()?;
        let outcome = node.get_str("outcome").ok()?;
        let children = node.get("children").map_or(Some(Vec::new()), read_nodes)?;
        Some(ActionNode {
            table: Table::named(node.get_str("table").ok()?)?,
            id: node.get_str("id").ok()?.into(),
            outcome: serde_json::from_value(outcome.into()).ok()?,
            children,
        })
    };
    nodes.as_array()?.iter().map(node).collect()
}

use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc};
use smol_str::SmolStr;

use crate::flow::RowKey;
use crate::model::Timestamp;
use crate::ports::{ConversionPage, ConversionQuery, Cursor, Error, Reading, Tables};

use super::document::date;
use super::{Mongo, PLACES, failed, keys};

const DOING: &str = "read conversions from MongoDB";

/// An entry of the index of conversions. An index over the rows themselves cannot sort by the time of
/// one of many conversions.
pub(super) fn place(row: &RowKey, name: &str, last_at: Timestamp) -> Document {
    doc! {
        "key": keys::of_row(row),
        "tenant": row.group.tenant.as_str(),
        "name": name,
        "place": position(last_at, &row.id),
        "lastAt": date(last_at),
        "leadId": row.id.as_str(),
    }
}

/// A moment as a text that sorts like it.
fn sortable(at: Timestamp) -> String {
    format!("{:016x}", at.ms().cast_unsigned() ^ (1 << 63))
}

/// A moment and a lead as one text that sorts by the moment first.
fn position(last_at: Timestamp, lead: &str) -> String {
    format!("{}#{lead}", sortable(last_at))
}

/// What a page looks for; one range of the index.
pub(super) fn page_filter(query: &ConversionQuery) -> Document {
    let before = match &query.after {
        Some(cursor) => position(cursor.last_at, &cursor.lead_id),
        None => sortable(query.to),
    };
    doc! {
        "tenant": query.tenant.as_str(),
        "name": query.name.as_str(),
        "place": { "$gte": sortable(query.from), "$lt": before },
    }
}

impl Mongo {
    pub(super) async fn page(&self, query: &ConversionQuery) -> Result<ConversionPage, Error> {
        let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
        let cursor = self
            .read_from(PLACES)
            .find(page_filter(query))
            .sort(doc! { "place": -1 })
            .limit(limit.saturating_add(1))
            .await
            .map_err(failed(DOING))?;
        let places: Vec<Document> = cursor.try_collect().await.map_err(failed(DOING))?;
        let mut cursors: Vec<Cursor> = places.iter().filter_map(read_place).collect();
        let more = cursors.len() > query.limit;
        cursors.truncate(query.limit);
        let keys: Vec<RowKey> = cursors
            .iter()
            .map(|cursor| RowKey::conversions(&query.tenant, &cursor.lead_id))
            .collect();
        let mut rows = self.read(&keys, Reading::Row).await?;
        // The rows come in no order; there are no more of them than a page holds.
        let place = |id: &SmolStr| keys.iter().position(|key| key.id == *id);
        rows.sort_by_cached_key(|row| place(&row.key.id));
        let next = if more { cursors.pop() } else { None };
        Ok(ConversionPage { rows, next })
    }
}

fn read_place(place: &Document) -> Option<Cursor> {
    Some(Cursor {
        last_at: super::document::moment(*place.get_datetime("lastAt").ok()?),
        lead_id: place.get_str("leadId").ok()?.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_sort_by_time_then_lead() {
        let mut positions = Vec::new();
        for ms in [Timestamp::MIN.ms(), -1, 0, 1, Timestamp::MAX.ms()] {
            for lead in ["", "a", "b", "é"] {
                positions.push(position(Timestamp::from_ms(ms), lead));
            }
        }
        assert!(positions.is_sorted());
    }
}

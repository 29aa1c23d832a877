use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc};

use crate::handlers::Table;
use crate::model::Group;
use crate::ports::{Error, Partition};

use super::document::TRAIL;
use super::{Mongo, failed, keys, rows_of};

const DOING: &str = "list groups in MongoDB";

pub(super) fn between(from: &str, to: &str) -> Document {
    doc! { "trail.group": { "$gte": from, "$lt": to } }
}

impl Mongo {
    /// Groups that have rows, by their hashes. Each collection gives its next few; what lies beyond
    /// the last of a collection that has more waits for the next page.
    pub(super) async fn page_of_groups(
        &self,
        partition: Partition,
        after: Option<&Group>,
        limit: usize,
    ) -> Result<Vec<Group>, Error> {
        let hashes = partition.hashes();
        // '$' comes right after the separator '#', '~' after every hexadecimal digit.
        let mut from = match after {
            Some(group) => format!("{}$", keys::of_group(group)),
            None => format!("{:016x}", hashes.start()),
        };
        let to = format!("{:016x}~", hashes.end());
        let at_once = limit.saturating_mul(2).max(64);
        let mut groups: Vec<String> = Vec::new();
        while groups.len() < limit {
            let mut found: Vec<String> = Vec::new();
            let mut horizon: Option<String> = None;
            for table in Table::ALL {
                let page = self
                    .group_texts(rows_of(table), (&from, &to), at_once)
                    .await?;
                if page.len() >= at_once
                    && let Some(last) = page.last()
                    && horizon.as_ref().is_none_or(|horizon| last < horizon)
                {
                    horizon = Some(last.clone());
                }
                found.extend(page);
            }
            found.sort_unstable();
            found.dedup();
            if let Some(horizon) = &horizon {
                found.retain(|text| text <= horizon);
            }
            groups.append(&mut found);
            match horizon {
                Some(horizon) => from = format!("{horizon}$"),
                None => break,
            }
        }
        groups.truncate(limit);
        Ok(groups.iter().filter_map(|text| keys::group(text)).collect())
    }

    async fn group_texts(
        &self,
        collection: &str,
        (from, to): (&str, &str),
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        let cursor = self
            .read_from(collection)
            .find(between(from, to))
            .projection(doc! { "_id": 0, "trail.group": 1 })
            .sort(doc! { "trail.group": 1 })
            .limit(i64::try_from(limit).unwrap_or(i64::MAX))
            .await
            .map_err(failed(DOING))?;
        let documents: Vec<Document> = cursor.try_collect().await.map_err(failed(DOING))?;
        let text = |document: &Document| {
            let trail = document.get_document(TRAIL).ok()?;
            trail.get_str("group").ok().map(str::to_owned)
        };
        Ok(documents.iter().filter_map(text).collect())
    }
}

//! The list of groups that have entries, in the order of their hashes.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use aws_sdk_dynamodb::types::{KeysAndAttributes, PutRequest, WriteRequest};

use crate::model::{EventHash, Group};
use crate::ports::{Error, Partition};

use super::failure::unfinished;
use super::item::{Item, SK, item, text, text_of};
use super::pause::{ATTEMPTS_MAX, pause};
use super::{Aws, failed, side_by_side};

const DOING: &str = "list groups in DynamoDB";
/// The most keys of one read and the most items of one write of a batch
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html>).
const READ_MAX: usize = 100;
const WRITE_MAX: usize = 25;
const AT_ONCE: usize = 8;
/// How many listed groups are kept in mind.
const LISTED_MAX: usize = 65_536;

/// The partition of the list that a group stands in: one of eight, by its hash, so that new groups do not
/// all come to one place.
fn shelf(hash: &str) -> String {
    format!("groups#{}", hash.get(..1).unwrap_or_default())
}

/// A group's place within the list, by its hash.
pub(super) fn place(group: &Group) -> String {
    let whole = EventHash::of(&group.tenant, &group.key);
    format!("{:016x}#{whole}", group.hash())
}

impl Aws {
    /// Puts groups that stand in no list yet into it. Most do: they are looked up first, at a tenth of the
    /// price.
    pub(super) async fn list_groups(&self, groups: BTreeSet<Group>) -> Result<(), Error> {
        let unknown: Vec<Group> = {
            let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
            groups
                .into_iter()
                .filter(|one| !listed.contains(one))
                .collect()
        };
        let mut looks = Vec::new();
        for page in unknown.chunks(READ_MAX) {
            looks.push(self.unlisted(page));
        }
        let missing = side_by_side(looks, AT_ONCE).await?;
        let items = missing.iter().flatten().map(|group| {
            let place = place(group);
            let mut item = item(&shelf(&place), &place);
            item.insert("tenant".to_owned(), text(group.tenant.as_str()));
            item.insert("key".to_owned(), text(group.key.as_str()));
            item
        });
        let table = &self.names.journal_table;
        self.put_all(table, items.collect(), DOING).await?;
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        if listed.len() + unknown.len() > LISTED_MAX {
            listed.clear();
        }
        listed.extend(unknown);
        Ok(())
    }

    /// Those that stand in no list, as far as an eventually consistent read knows: to put one again does
    /// no harm.
    async fn unlisted(&self, groups: &[Group]) -> Result<Vec<Group>, Error> {
        let keys = groups.iter().map(|group| {
            let place = place(group);
            item(&shelf(&place), &place)
        });
        let mut keys: Vec<Item> = keys.collect();
        let mut found: BTreeSet<String> = BTreeSet::new();
        for attempt in 0..ATTEMPTS_MAX {
            let asked = KeysAndAttributes::builder()
                .set_keys(Some(keys))
                .projection_expression(SK)
                .build()
                .map_err(super::unbuilt)?;
            let read = self
                .dynamo
                .batch_get_item()
                .request_items(&self.names.journal_table, asked)
                .send()
                .await
                .map_err(failed(DOING))?;
            for item in read.responses.iter().flat_map(|all| all.values()).flatten() {
                found.insert(text_of(item, SK)?.to_owned());
            }
            let left = read
                .unprocessed_keys
                .and_then(|all| all.into_values().next());
            keys = left.map(|left| left.keys).unwrap_or_default();
            if keys.is_empty() {
                let missing = groups.iter().filter(|one| !found.contains(&place(one)));
                return Ok(missing.cloned().collect());
            }
            pause(attempt).await;
        }
        Err(unfinished(DOING, keys.len()))
    }

    /// Puts items whatever stands there, batches side by side; what a batch leaves undone is sent again.
    pub(super) async fn put_all(
        &self,
        table: &str,
        items: Vec<Item>,
        doing: &str,
    ) -> Result<(), Error> {
        let mut batches: Vec<Vec<WriteRequest>> = Vec::new();
        for item in items {
            let put = PutRequest::builder().set_item(Some(item)).build();
            let put = put.map_err(super::unbuilt)?;
            let write = WriteRequest::builder().put_request(put).build();
            match batches.last_mut() {
                Some(batch) if batch.len() < WRITE_MAX => batch.push(write),
                Some(_) | None => batches.push(vec![write]),
            }
        }
        let mut puts = Vec::with_capacity(batches.len());
        for batch in batches {
            puts.push(self.put_batch(table, batch, doing));
        }
        side_by_side(puts, AT_ONCE).await?;
        Ok(())
    }

    async fn put_batch(
        &self,
        table: &str,
        mut batch: Vec<WriteRequest>,
        doing: &str,
    ) -> Result<(), Error> {
        for attempt in 0..ATTEMPTS_MAX {
            let written = self
                .dynamo
                .batch_write_item()
                .request_items(table, batch)
                .send()
                .await
                .map_err(failed(doing))?;
            let left = written.unprocessed_items;
            batch = left
                .and_then(|all| all.into_values().next())
                .unwrap_or_default();
            if batch.is_empty() {
                return Ok(());
            }
            pause(attempt).await;
        }
        Err(unfinished(doing, batch.len()))
    }

    /// Groups of a partition after `after`, by their hashes; fewer than `limit` only at the end.
    pub(super) async fn page_of_groups(
        &self,
        partition: Partition,
        after: Option<&Group>,
        limit: usize,
    ) -> Result<Vec<Group>, Error> {
        let hashes = partition.hashes();
        let first = format!("{:016x}", hashes.start());
        // '~' comes after every hexadecimal digit and after the separator '#'.
        let last = format!("{:016x}~", hashes.end());
        let mut from = after.map_or(first, |group| format!("{}~", place(group)));
        let mut groups = Vec::new();
        for shelf_digit in 0..8_u32 {
            let shelf = format!("groups#{shelf_digit}");
            let in_reach = shelf >= self::shelf(&from) && shelf <= self::shelf(&last);
            while in_reach && groups.len() < limit {
                let page = self
                    .page_of_shelf(&shelf, (&from, &last), limit - groups.len())
                    .await?;
                let Some(end) = page.last() else { break };
                from = format!("{}~", place(end));
                groups.extend(page);
            }
        }
        Ok(groups)
    }

    async fn page_of_shelf(
        &self,
        shelf: &str,
        (from, to): (&str, &str),
        limit: usize,
    ) -> Result<Vec<Group>, Error> {
        if from > to {
            return Ok(Vec::new());
        }
        let page = self
            .dynamo
            .query()
            .table_name(&self.names.journal_table)
            .key_condition_expression("pk = :shelf AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":shelf", text(shelf))
            .expression_attribute_values(":from", text(from))
            .expression_attribute_values(":to", text(to))
            .consistent_read(true)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(failed(DOING))?;
        let group = |item: &Item| {
            Ok(Group {
                tenant: text_of(item, "tenant")?.into(),
                key: text_of(item, "key")?.into(),
            })
        };
        page.items().iter().map(group).collect()
    }
}

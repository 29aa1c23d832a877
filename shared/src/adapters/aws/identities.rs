//! Which event an identity belongs to: the first that claimed it, for good.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::{KeysAndAttributes, ReturnValuesOnConditionCheckFailure};
use smol_str::SmolStr;

use crate::model::{Entry, EventHash, Group};
use crate::ports::{Error, ErrorKind};

use super::failure::{refused_over, unfinished};
use super::item::{Item, PK, bytes, bytes_of, item, text, text_of};
use super::pause::{ATTEMPTS_MAX, pause};
use super::{Aws, failed, side_by_side};

const DOING: &str = "claim an event's identity in DynamoDB";
const LOOKING: &str = "look for an event's identity in DynamoDB";
/// What a claim says of its event.
const CONTENT: &str = "content";
/// What one request may ask for.
const GET_MAX: usize = 100;
/// How many requests are under way at once.
const AT_ONCE: usize = 8;

/// What an identity was claimed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    /// The group that the event stands in, or will.
    pub(super) group: Group,
    /// The segment.
    pub(super) segment: String,
    /// What the event says.
    pub(super) content: u128,
}

/// What became of a claim.
#[derive(Debug)]
pub(super) enum Claimed {
    /// It is ours.
    Won,
    /// It was made before.
    Lost(Claim),
    /// An amendment came first, in another group.
    Elsewhere,
}

/// Identities are a tenant's own: no tenant can take another's.
pub(super) fn key(tenant: &str, hash: EventHash) -> String {
    format!("identity#{tenant}#{hash}")
}

impl Aws {
    /// Claims the identity and revision of the entry at `place` for a segment to be written. A request that
    /// the SDK sent twice, because the first answer was lost, finds its own claim.
    ///
    /// Of an event of which amendments came first, the identity is [kept](Self::find_home) for their group.
    pub(super) async fn claim(
        &self,
        place: usize,
        entry: &Entry,
        claim: Claim,
    ) -> Result<(usize, Claimed), Error> {
        let mut item = home_item(&claim.group, entry.hash);
        item.insert("segment".to_owned(), text(claim.segment.as_str()));
        item.insert(CONTENT.to_owned(), bytes(claim.content.to_be_bytes()));
        let put = self
            .dynamo
            .put_item()
            .table_name(&self.names.journal_table)
            .set_item(Some(item))
            .condition_expression(
                "attribute_not_exists(pk) OR (attribute_not_exists(content) AND #key = :key)",
            )
            .expression_attribute_names("#key", "key")
            .expression_attribute_values(":key", text(claim.group.key.as_str()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let error = match put {
            Ok(_) => return Ok((place, Claimed::Won)),
            Err(error) => error,
        };
        let Some(held) = error.as_service_error().and_then(refused_over) else {
            return Err(failed(DOING)(error));
        };
        if !held.contains_key(CONTENT) {
            return Ok((place, Claimed::Elsewhere));
        }
        let held = read(held)?;
        if held == claim {
            return Ok((place, Claimed::Won));
        }
        Ok((place, Claimed::Lost(held)))
    }

    /// The home of an event that is amended by the entry at `place`: what holds its identity, or the entry's
    /// group, for which it is kept then.
    pub(super) async fn find_home(
        &self,
        place: usize,
        entry: &Entry,
    ) -> Result<(usize, Group), Error> {
        let put = self
            .dynamo
            .put_item()
            .table_name(&self.names.journal_table)
            .set_item(Some(home_item(&entry.group, entry.event.identity())))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let error = match put {
            Ok(_) => return Ok((place, entry.group.clone())),
            Err(error) => error,
        };
        match error.as_service_error().and_then(refused_over) {
            Some(held) => Ok((place, read_group(held)?)),
            None => Err(failed(DOING)(error)),
        }
    }
}

/// What keeps an identity for a group; a claim adds to it.
fn home_item(group: &Group, identity: EventHash) -> Item {
    let mut item = item(&key(&group.tenant, identity), "-");
    item.insert("tenant".to_owned(), text(group.tenant.as_str()));
    item.insert("key".to_owned(), text(group.key.as_str()));
    item
}

impl Aws {
    /// The groups that events were claimed for.
    pub(super) async fn whereabouts_of(
        &self,
        events: &[(SmolStr, EventHash)],
    ) -> Result<Vec<Option<Group>>, Error> {
        let is_claim = |item: &Item| item.contains_key(CONTENT);
        self.groups_of_identities(events, is_claim).await
    }

    /// The groups of which tellings of events came first.
    pub(super) async fn homes_of(
        &self,
        events: &[(SmolStr, EventHash)],
    ) -> Result<Vec<Option<Group>>, Error> {
        self.groups_of_identities(events, |_| true).await
    }

    async fn groups_of_identities(
        &self,
        events: &[(SmolStr, EventHash)],
        counts: fn(&Item) -> bool,
    ) -> Result<Vec<Option<Group>>, Error> {
        let keys: Vec<String> = events
            .iter()
            .map(|(tenant, hash)| key(tenant, *hash))
            .collect();
        let mut distinct = keys.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let pages = distinct
            .chunks(GET_MAX)
            .map(|page| self.identities(page.to_vec()));
        let found = side_by_side(pages.collect(), AT_ONCE).await?;
        let mut groups = BTreeMap::new();
        for item in found.iter().flatten().filter(|item| counts(item)) {
            groups.insert(text_of(item, PK)?, read_group(item)?);
        }
        let group = |key: &String| groups.get(key.as_str()).cloned();
        Ok(keys.iter().map(group).collect())
    }

    async fn identities(&self, keys: Vec<String>) -> Result<Vec<Item>, Error> {
        let mut keys: Vec<Item> = keys.iter().map(|key| item(key, "-")).collect();
        let mut found = Vec::with_capacity(keys.len());
        for attempt in 0..ATTEMPTS_MAX {
            let asked = KeysAndAttributes::builder()
                .set_keys(Some(keys))
                .consistent_read(true)
                .build()
                .map_err(super::unbuilt)?;
            let read = self
                .dynamo
                .batch_get_item()
                .request_items(&self.names.journal_table, asked)
                .send()
                .await
                .map_err(failed(LOOKING))?;
            found.extend(
                read.responses
                    .into_iter()
                    .flat_map(|all| all.into_values())
                    .flatten(),
            );
            let left = read
                .unprocessed_keys
                .and_then(|all| all.into_values().next());
            keys = left.map(|left| left.keys).unwrap_or_default();
            if keys.is_empty() {
                return Ok(found);
            }
            pause(attempt).await;
        }
        Err(unfinished(LOOKING, keys.len()))
    }
}

fn read_group(item: &Item) -> Result<Group, Error> {
    Ok(Group {
        tenant: text_of(item, "tenant")?.into(),
        key: text_of(item, "key")?.into(),
    })
}

fn read(item: &Item) -> Result<Claim, Error> {
    let content = bytes_of(item, CONTENT)?;
    let content = content.try_into().map_err(|_length| {
        let why = "the attribute content has not 16 bytes";
        Error::new(ErrorKind::Corrupt, DOING, why)
    })?;
    Ok(Claim {
        group: read_group(item)?,
        segment: text_of(item, "segment")?.to_owned(),
        content: u128::from_be_bytes(content),
    })
}

//! Which event an identity belongs to: the first that claimed it, for good.

use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;

use crate::model::{Entry, Group};
use crate::ports::{Error, ErrorKind};

use super::failure::refused_over;
use super::item::{Item, bytes, bytes_of, item, text, text_of};
use super::{Aws, failed};

const DOING: &str = "claim an event's identity in DynamoDB";

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
}

/// Identities are a tenant's own: no tenant can take another's.
fn key(entry: &Entry) -> String {
    format!("identity#{}#{}", entry.group.tenant, entry.hash)
}

impl Aws {
    /// Claims the identity of the entry at `place` for a segment to be written. A request that the SDK sent twice, because the
    /// first answer was lost, finds its own claim.
    pub(super) async fn claim(
        &self,
        place: usize,
        entry: &Entry,
        claim: Claim,
    ) -> Result<(usize, Claimed), Error> {
        let mut item = item(&key(entry), "-");
        item.insert("tenant".to_owned(), text(claim.group.tenant.as_str()));
        item.insert("key".to_owned(), text(claim.group.key.as_str()));
        item.insert("segment".to_owned(), text(claim.segment.as_str()));
        item.insert("content".to_owned(), bytes(claim.content.to_be_bytes()));
        let put = self
            .dynamo
            .put_item()
            .table_name(&self.names.journal_table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
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
        let held = read(held)?;
        if held == claim {
            return Ok((place, Claimed::Won));
        }
        Ok((place, Claimed::Lost(held)))
    }
}

fn read(item: &Item) -> Result<Claim, Error> {
    let content = bytes_of(item, "content")?;
    let content = content.try_into().map_err(|_length| {
        let why = "the attribute content has not 16 bytes";
        Error::new(ErrorKind::Corrupt, DOING, why)
    })?;
    Ok(Claim {
        group: Group {
            tenant: text_of(item, "tenant")?.into(),
            key: text_of(item, "key")?.into(),
        },
        segment: text_of(item, "segment")?.to_owned(),
        content: u128::from_be_bytes(content),
    })
}

//! Settings texts: one item a version, under one partition key.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use serde::de::DeserializeOwned;

use crate::adapters::codec;
use crate::model::Timestamp;
use crate::ports::{Error, ErrorKind, SettingsVersions};
use crate::settings::{self, Format, SettingsVersion, StoredSettings};

use super::failure::refused_over;
use super::item::{Item, PK, SK, bytes, bytes_of, item, text, text_of};
use super::pause::pause;
use super::{Aws, failed};

const READ: &str = "read the settings in DynamoDB";
const PUT: &str = "put settings in DynamoDB";
const PARTITION: &str = "settings";
const FORMAT: &str = "format";
/// The text as it is, for a person who looks at the table.
const TEXT: &str = "text";
/// A text that is too long for that.
const PACKED: &str = "packed";
const AT: &str = "at";
/// Since which version each tenant's settings are the same, in the order of the tenants' ids.
const SINCE: &str = "since";

/// Longer texts are packed: what is read with each look-up is paid by its size.
const PLAIN_BYTES_MAX: usize = 16_384;
/// DynamoDB takes items of 400 KB, the names of their attributes included
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html>).
const PACKED_BYTES_MAX: usize = 400 * 1_024 - 1_024;
/// How often a version is tried that somebody else takes first.
const ATTEMPTS_MAX: u32 = 32;

impl SettingsVersions for Aws {
    async fn latest(&self) -> Result<Option<StoredSettings>, Error> {
        let found = self
            .dynamo
            .query()
            .table_name(&self.names.state_table)
            .key_condition_expression("pk = :settings")
            .expression_attribute_values(":settings", text(PARTITION))
            .scan_index_forward(false)
            .consistent_read(true)
            .limit(1)
            .send()
            .await
            .map_err(failed(READ))?;
        found.items().first().map(read).transpose()
    }

    async fn versions(&self, limit: usize) -> Result<Vec<SettingsVersion>, Error> {
        let mut pages = self
            .dynamo
            .query()
            .table_name(&self.names.state_table)
            .key_condition_expression("pk = :settings")
            .expression_attribute_values(":settings", text(PARTITION))
            .scan_index_forward(false)
            .into_paginator()
            .send();
        let mut versions = Vec::new();
        while let Some(page) = pages.next().await {
            for item in page.map_err(failed(READ))?.items() {
                let stored = read(item)?;
                versions.push(SettingsVersion {
                    version: stored.version,
                    at: text_of(item, AT)
                        .ok()
                        .and_then(|at| Timestamp::parse(at).ok()),
                    format: stored.format,
                    bytes: stored.text.len() as u64,
                });
                if versions.len() >= limit {
                    return Ok(versions);
                }
            }
        }
        Ok(versions)
    }

    async fn version(&self, version: u32) -> Result<Option<StoredSettings>, Error> {
        let found = self
            .dynamo
            .get_item()
            .table_name(&self.names.state_table)
            .key(PK, text(PARTITION))
            .key(SK, text(place(version)))
            .send()
            .await
            .map_err(failed(READ))?;
        found.item().map(read).transpose()
    }

    async fn put(&self, text: &str, format: Format, now: Timestamp) -> Result<u32, Error> {
        let (name, body) = body(text)?;
        for attempt in 0..ATTEMPTS_MAX {
            let latest = self.latest().await?;
            if let Some(latest) = &latest
                && latest.text == text
                && latest.format == format
            {
                return Ok(latest.version);
            }
            let version = latest
                .as_ref()
                .map_or(Some(1), |latest| latest.version.checked_add(1))
                .ok_or_else(|| Error::new(ErrorKind::Reject, PUT, "the versions are used up"))?;
            let mut item = item(PARTITION, &place(version));
            let mut since = settings::since(latest.as_ref(), text, format, version);
            match pack_since(&since, &body)? {
                Some(packed) => drop(item.insert(SINCE.to_owned(), bytes(packed))),
                None => since.clear(),
            }
            let wanted = StoredSettings {
                version,
                format,
                text: text.to_owned(),
                since,
            };
            item.insert(FORMAT.to_owned(), super::item::text(format_name(format)));
            item.insert(AT.to_owned(), super::item::text(now.to_string()));
            item.insert(name.to_owned(), body.clone());
            let held = self.put_version(item).await?;
            match held.as_ref().map(read).transpose()? {
                None => return Ok(wanted.version),
                // Ours, of a request that the SDK sent twice; or somebody else wants the same.
                Some(held) if held == wanted => return Ok(wanted.version),
                Some(_other) => pause(attempt).await,
            }
        }
        let busy = format!("others took the next version {ATTEMPTS_MAX} times");
        Err(Error::new(ErrorKind::Retry, PUT, busy))
    }
}

impl Aws {
    /// Puts a version that nobody has put yet; returns the one that stands there otherwise.
    async fn put_version(&self, item: Item) -> Result<Option<Item>, Error> {
        let put = self
            .dynamo
            .put_item()
            .table_name(&self.names.state_table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match put {
            Ok(_) => Ok(None),
            Err(error) => match error.as_service_error().and_then(refused_over) {
                Some(held) => Ok(Some(held.clone())),
                None => Err(failed(PUT)(error)),
            },
        }
    }
}

/// A version's sort key: as texts, versions come in their order.
fn place(version: u32) -> String {
    format!("{version:010}")
}

/// The attribute that holds the text, and its value.
fn body(content: &str) -> Result<(&'static str, AttributeValue), Error> {
    if content.len() <= PLAIN_BYTES_MAX {
        return Ok((TEXT, text(content)));
    }
    let packed =
        codec::encode(&content).map_err(|error| Error::new(ErrorKind::Reject, PUT, error))?;
    if packed.len() > PACKED_BYTES_MAX {
        let (long, packed) = (content.len(), packed.len());
        let why = format!(
            "the settings have {long} bytes, {packed} when packed; at most {PACKED_BYTES_MAX} fit \
             in an item of DynamoDB: let tenants with the same rules share one [[tenant]]"
        );
        return Err(Error::new(ErrorKind::Reject, PUT, why));
    }
    Ok((PACKED, bytes(packed)))
}

/// What [`SINCE`] holds; `None` where that is nothing, or where the item would become too large: rows then
/// count as made under the version itself.
fn pack_since(since: &[u32], body: &AttributeValue) -> Result<Option<Vec<u8>>, Error> {
    if since.is_empty() {
        return Ok(None);
    }
    let packed = codec::encode(&since);
    let packed = packed.map_err(|error| Error::new(ErrorKind::Reject, PUT, error))?;
    let text = body.as_s().map_or(0, String::len);
    let taken = body.as_b().map_or(text, |blob| blob.as_ref().len());
    Ok((packed.len() + taken <= PACKED_BYTES_MAX).then_some(packed))
}

fn read(item: &Item) -> Result<StoredSettings, Error> {
    let corrupt = |why: &str| Error::new(ErrorKind::Corrupt, READ, why);
    let text = if item.contains_key(PACKED) {
        unpack(bytes_of(item, PACKED)?)?
    } else {
        text_of(item, TEXT)?.to_owned()
    };
    let version = text_of(item, SK)?.parse();
    Ok(StoredSettings {
        version: version.map_err(|_not_a_number| corrupt("the sort key is no version"))?,
        format: match text_of(item, FORMAT)? {
            "toml" => Format::Toml,
            "json" => Format::Json,
            _other => return Err(corrupt("the format is neither toml nor json")),
        },
        text,
        since: match item.contains_key(SINCE) {
            true => unpack(bytes_of(item, SINCE)?)?,
            false => Vec::new(),
        },
    })
}

fn unpack<T: DeserializeOwned>(record: &[u8]) -> Result<T, Error> {
    let corrupt = |error| Error::new(ErrorKind::Corrupt, READ, error);
    codec::decode(record).map_err(corrupt)
}

fn format_name(format: Format) -> &'static str {
    match format {
        Format::Toml => "toml",
        Format::Json => "json",
    }
}

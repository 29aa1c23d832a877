//! Stored records of images: a format number, then `postcard` of the structs below, as other records are.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::flow::{Image, RowImage, Was};
use crate::handlers::Table;
use crate::model::{Held, Order, Timestamp};

use super::codec::{Unreadable, encode as pack, unpack};

#[derive(Serialize, Deserialize)]
struct ImageV1<'a> {
    from: Order,
    until: Order,
    events: u64,
    recorded: i64,
    settings: u32,
    #[serde(borrow)]
    rows: Vec<RowV1<'a>>,
}

#[derive(Serialize, Deserialize)]
struct RowV1<'a> {
    #[serde(borrow)]
    table: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    handler: u32,
    replaced: u64,
    version: u64,
    #[serde(borrow)]
    was: Option<(Cow<'a, str>, Held)>,
}

/// The record of an image. Its group is not part of it.
pub(super) fn encode(image: &Image) -> Result<Vec<u8>, Unreadable> {
    pack(&ImageV1 {
        from: image.from.clone(),
        until: image.until.clone(),
        events: image.events,
        recorded: image.recorded.ms(),
        settings: image.settings,
        rows: image.rows.iter().map(record).collect(),
    })
}

fn record<'a>(((table, id), row): (&'a (Table, SmolStr), &'a RowImage)) -> RowV1<'a> {
    let was = row.was.as_ref();
    RowV1 {
        table: Cow::Borrowed(table.name()),
        id: Cow::Borrowed(id.as_str()),
        handler: row.handler,
        replaced: row.replaced,
        version: row.version,
        was: was.map(|was| (Cow::Borrowed(was.body.as_str()), was.held.clone())),
    }
}

/// The image of a record.
///
/// # Errors
/// The record is damaged, or of a table that there is no more.
pub(super) fn decode(bytes: &[u8]) -> Result<Image, Unreadable> {
    let bytes = unpack(bytes)?;
    let image: ImageV1<'_> = postcard::from_bytes(&bytes)?;
    let row = |row: RowV1<'_>| {
        let table = Table::named(&row.table).ok_or(Unreadable::Table)?;
        let was = row.was.map(|(body, held)| Was {
            body: body.into_owned(),
            held,
        });
        let image = RowImage {
            was,
            handler: row.handler,
            replaced: row.replaced,
            version: row.version,
        };
        Ok(((table, SmolStr::from(row.id)), image))
    };
    Ok(Image {
        from: image.from,
        until: image.until,
        events: image.events,
        recorded: Timestamp::from_ms(image.recorded),
        settings: image.settings,
        rows: image
            .rows
            .into_iter()
            .map(row)
            .collect::<Result<_, Unreadable>>()?,
    })
}

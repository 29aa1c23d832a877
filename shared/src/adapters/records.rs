//! The readers of stored records and of messages, by themselves, for fuzzers to feed. Each says whether it could
//! read what it was given; what it could read must come back from what it writes.

use super::embedded::codec;
use super::{codec as plain, image_record, message_body};
use crate::model::{ActionHierarchy, Entry, Group, Trail};
use crate::ports::Message;

fn group() -> Group {
    Group {
        tenant: "acme".into(),
        key: "lead-7".into(),
    }
}

/// A record of the journal, of a message, or of a dead letter, in any format that there was.
#[must_use]
pub fn entries(bytes: &[u8]) -> Option<Vec<Entry>> {
    let group = group();
    let entries = codec::decode_entries(&group, bytes).ok()?;
    let again = codec::encode_entries(&entries).ok()?;
    let again = codec::decode_entries(&group, &again);
    assert_eq!(again.as_ref().ok(), Some(&entries));
    Some(entries)
}

/// The trail of a row.
#[must_use]
pub fn trail(bytes: &[u8]) -> Option<Trail> {
    let trail = codec::decode_trail(bytes).ok()?;
    let again = codec::encode_trail(&trail).ok()?;
    assert_eq!(codec::decode_trail(&again).ok().as_ref(), Some(&trail));
    Some(trail)
}

/// A record of hierarchies.
#[must_use]
pub fn hierarchies(bytes: &[u8]) -> Option<Vec<ActionHierarchy>> {
    let read = |bytes: &[u8]| {
        let record = codec::verified(bytes).ok()?;
        codec::decode_hierarchies(&group(), record).ok()
    };
    let hierarchies = read(bytes)?;
    let again = codec::encode_hierarchies(&hierarchies).ok()?;
    assert_eq!(read(&again).as_ref(), Some(&hierarchies));
    Some(hierarchies)
}

/// A record of an image; how many rows it holds.
#[must_use]
pub fn image(bytes: &[u8]) -> Option<usize> {
    let image = image_record::decode(codec::verified(bytes).ok()?).ok()?;
    let again = image_record::encode(&image).ok()?;
    let again = image_record::decode(&again).ok()?;
    assert_eq!(again.rows.len(), image.rows.len());
    Some(image.rows.len())
}

/// Since which version each tenant's settings are the same.
#[must_use]
pub fn since(bytes: &[u8]) -> Option<Vec<u32>> {
    let since: Vec<u32> = plain::decode(bytes).ok()?;
    let again = plain::encode(&since).ok()?;
    assert_eq!(plain::decode(&again).ok().as_ref(), Some(&since));
    Some(since)
}

/// The body of a message of SQS.
#[must_use]
pub fn message(text: &str) -> Option<Message> {
    let message = message_body::decode(text).ok()?;
    let again = message_body::encode(&message).ok()?;
    assert_eq!(message_body::decode(&again).ok().as_ref(), Some(&message));
    Some(message)
}

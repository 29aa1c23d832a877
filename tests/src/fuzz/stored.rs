//! What stores keep and queues carry: a disk may have changed it, and other code may have written it.

use serde::Serialize;
use serde::de::DeserializeOwned;
use shared::adapters::records;
use shared::model::{Amount, AuditRecord, Finding, ReplayRun, Report, Secret, Timestamp};
use shared::ports::Cursor;

pub(super) fn message(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _message = records::message(text);
    }
}

pub(super) fn entries(bytes: &[u8]) {
    let _entries = records::entries(bytes);
}

pub(super) fn trail(bytes: &[u8]) {
    let _trail = records::trail(bytes);
}

pub(super) fn records(bytes: &[u8]) {
    let _hierarchies = records::hierarchies(bytes);
    let _image = records::image(bytes);
}

/// What is kept as JSON of runs of replay, their findings, reports and deeds; and since when settings are the same.
pub(super) fn documents(bytes: &[u8]) {
    document::<AuditRecord>(bytes);
    document::<Finding>(bytes);
    document::<ReplayRun>(bytes);
    document::<Report>(bytes);
    let _since = records::since(bytes);
}

/// What could be read is kept again, and read again, without a difference.
fn document<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let Ok(document) = serde_json::from_slice::<T>(bytes) else {
        return;
    };
    let text = serde_json::to_string(&document).expect("JSON");
    let again: T = serde_json::from_str(&text).expect("what was written");
    assert_eq!(serde_json::to_string(&again).ok(), Some(text));
}

/// What a person types: cursors, moments, amounts; and no text of a secret is ever shown.
pub(super) fn query(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }
    if let Ok(moment) = Timestamp::parse_or_day(text) {
        assert_eq!(Timestamp::parse(&moment.to_string()), Ok(moment));
    }
    if let Ok(amount) = Amount::parse(text) {
        assert_eq!(Amount::parse(&amount.to_string()), Ok(amount));
    }
    if text.len() > 8 {
        let shown = format!("{:?}", Secret::new(text));
        assert!(!shown.contains(text), "{shown}");
    }
}

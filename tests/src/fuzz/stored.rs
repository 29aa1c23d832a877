//! What stores keep and queues carry: a disk may have changed it, and other code may have written it.

use shared::adapters::records;
use shared::model::{Amount, Secret, Timestamp};
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

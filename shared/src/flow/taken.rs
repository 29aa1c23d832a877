use smol_str::SmolStr;

use crate::handlers::Table;
use crate::model::{ActionId, Entry, EventHash, Group};
use crate::settings::Meaning;

use super::Write;

/// Notes on writes of commutative rows which events they take in, so that an [`Addition`](super::Addition)
/// of one of them changes nothing later: the table's policy may change, and messages come again.
pub(super) fn note<'e>(
    writes: &mut [Write],
    group: &Group,
    events: &(impl Iterator<Item = (&'e Entry, &'e Meaning)> + Clone),
    is_new: impl Fn(Table, &SmolStr, EventHash) -> bool,
) {
    for write in writes {
        let (table, id) = (write.key.table, &write.key.id);
        let Some(put) = write.put.as_mut().filter(|_| table.is_commutative()) else {
            continue;
        };
        put.actions = events
            .clone()
            .filter(|(entry, meaning)| {
                table.route(meaning, group).as_ref() == Some(id) && is_new(table, id, entry.hash)
            })
            .map(|(entry, _)| ActionId::of(entry.hash, table, id))
            .collect();
    }
}

/// Notes of events that are amended that an addition of their first telling, which may come yet, is no news.
/// Later tellings never come as additions.
pub(super) fn note_first_tellings(
    writes: &mut [Write],
    identities: &(impl Iterator<Item = EventHash> + Clone),
) {
    for write in writes {
        let (table, id) = (write.key.table, &write.key.id);
        if let Some(put) = write.put.as_mut().filter(|_| table.is_commutative()) {
            let actions = identities.clone();
            let actions = actions.map(|event| ActionId::of(event, table, id));
            put.actions.extend(actions);
        }
    }
}

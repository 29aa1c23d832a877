use crate::model::{Event, Group, GroupKind};
use crate::settings::Meaning;

/// The groups to which `group` states an event of its own that means `meaning`.
///
/// An event that counts for a conversion is stated to the day on which it happened. A copy stands in its
/// target's journal as any event does, so that the target's rows are the fold of their own journal too.
pub fn stated_to(
    group: &Group,
    event: &Event,
    meaning: &Meaning,
) -> impl Iterator<Item = Group> + use<> {
    let counts = group.kind() == GroupKind::Lead && !meaning.conversions().is_empty();
    counts
        .then(|| Group::of_day(&group.tenant, event.time))
        .into_iter()
}

/// Whether `group` could state the event to `to`, whatever the settings make of it.
pub fn may_be_stated_to(group: &Group, event: &Event, to: &Group) -> bool {
    group.kind() == GroupKind::Lead && Group::of_day(&group.tenant, event.time) == *to
}

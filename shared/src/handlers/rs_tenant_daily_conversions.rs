use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{Action, Ask, Handler};
use crate::flow::{Change, FieldPath, FieldPathError, How, Number};
use crate::model::{Amount, Group, GroupKind};
use crate::settings::Mapped;

/// What a tenant's leads led to on one UTC day, by the event times of the conversions.
///
/// It is fed across groups: each event that counts for a conversion is stated to the day on which it
/// happened. Sums alone, so any order of the same events gives the same row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RSTenantDailyConversions {
    /// Conversions by the names of the tenant's rules.
    pub conversions: BTreeMap<SmolStr, DailyConversion>,
    /// The day as an RFC 3339 date.
    pub day: SmolStr,
    /// The tenant.
    pub tenant: SmolStr,
}

/// One conversion's figures of one day.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DailyConversion {
    /// How often.
    pub count: u64,
    /// What all of them are worth; `None` where no event gave a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Amount>,
}

impl Handler for RSTenantDailyConversions {
    const VERSION: u32 = 1;
    const COMMUTATIVE: bool = true;
    const ID_FIELD: &'static str = "day";
    const GROUPS: &'static [GroupKind] = &[GroupKind::Day];

    fn route(mapped: &Mapped, group: &Group) -> Option<SmolStr> {
        (!mapped.conversions.is_empty()).then(|| group.subject().into())
    }

    fn new(group: &Group, id: &SmolStr) -> Self {
        Self {
            conversions: BTreeMap::new(),
            day: id.clone(),
            tenant: group.tenant.clone(),
        }
    }

    fn apply(&mut self, action: &Action<'_>) -> bool {
        let Ask::Event(mapped) = action.ask else {
            return false;
        };
        for hit in &mapped.conversions {
            let conversion = self.conversions.entry(hit.name.clone()).or_default();
            conversion.count = conversion.count.saturating_add(1);
            if let Some(value) = hit.value {
                conversion.value = Some(conversion.value.unwrap_or_default().plus(value));
            }
        }
        true
    }

    fn changes(mapped: &Mapped) -> Result<Vec<Change>, FieldPathError> {
        let mut changes = Vec::with_capacity(2 * mapped.conversions.len());
        for hit in &mapped.conversions {
            let field = |name| FieldPath::new(["conversions", hit.name.as_str(), name]);
            changes.push(Change {
                field: field("count")?,
                how: How::Increase(Number::Count(1)),
            });
            if let Some(value) = hit.value {
                changes.push(Change {
                    field: field("value")?,
                    how: How::Increase(Number::Amount(value)),
                });
            }
        }
        Ok(changes)
    }
}

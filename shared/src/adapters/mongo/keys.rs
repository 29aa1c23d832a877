use smol_str::SmolStr;

use crate::flow::RowKey;
use crate::handlers::Table;
use crate::model::Group;

/// Between the parts of a key. In the parts it is escaped, so that no two keys are alike.
const SEPARATOR: char = '#';

/// A group as one text that sorts by its hash: `0c6f…#acme#lead-1`.
pub(super) fn of_group(group: &Group) -> String {
    let mut text = format!("{:016x}", group.hash());
    for part in [&group.tenant, &group.key] {
        text.push(SEPARATOR);
        escape(part, &mut text);
    }
    text
}

/// A row of a table as one text, its group's first.
pub(super) fn of_row(key: &RowKey) -> String {
    let mut text = of_group(&key.group);
    text.push(SEPARATOR);
    escape(&key.id, &mut text);
    text
}

/// The group of [`of_group`], or of a row's key.
pub(super) fn group(text: &str) -> Option<Group> {
    let mut parts = text.split(SEPARATOR).skip(1);
    Some(Group {
        tenant: unescape(parts.next()?),
        key: unescape(parts.next()?),
    })
}

/// The row of [`of_row`].
pub(super) fn row(table: Table, text: &str) -> Option<RowKey> {
    let id = text.split(SEPARATOR).nth(3)?;
    Some(RowKey {
        group: group(text)?,
        table,
        id: unescape(id),
    })
}

fn escape(part: &str, out: &mut String) {
    for c in part.chars() {
        match c {
            SEPARATOR => out.push_str("%23"),
            '%' => out.push_str("%25"),
            other => out.push(other),
        }
    }
}

fn unescape(part: &str) -> SmolStr {
    if part.contains('%') {
        part.replace("%23", "#").replace("%25", "%").into()
    } else {
        part.into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_come_back_and_none_are_alike() {
        let mut seen = Vec::new();
        for (tenant, key, id) in [
            ("a", "b#c", "d"),
            ("a", "b", "c#d"),
            ("a#b", "c", "d"),
            ("a", "b%23c", "d"),
            ("%", "%25", "%2523#"),
            ("", "", ""),
            ("名前", "\u{1f600}", " "),
        ] {
            let group = Group {
                tenant: tenant.into(),
                key: key.into(),
            };
            let wanted = RowKey {
                group,
                table: Table::RSAppointment,
                id: id.into(),
            };
            let text = of_row(&wanted);
            assert_eq!(row(Table::RSAppointment, &text), Some(wanted));
            assert!(!seen.contains(&text), "{text}");
            seen.push(text);
        }
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof!["[ab#%235$.{}\"'\u{0}-]{0,6}", "\\PC{0,4}"]
    }

    fn key() -> impl Strategy<Value = RowKey> {
        (text(), text(), text()).prop_map(|(tenant, key, id)| RowKey {
            group: Group {
                tenant: tenant.into(),
                key: key.into(),
            },
            table: Table::RSAppointment,
            id: id.into(),
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Whatever is in them: operators, paths, separators, escapes.
        #[test]
        fn two_rows_have_two_keys(one in key(), other in key()) {
            prop_assert_eq!(of_row(&one) == of_row(&other), one == other);
            prop_assert_eq!(of_group(&one.group) == of_group(&other.group), one.group == other.group);
            prop_assert_eq!(row(Table::RSAppointment, &of_row(&one)), Some(one));
        }
    }
}

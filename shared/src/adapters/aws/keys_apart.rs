//! Keys of different tenants and keys never coincide, whatever is in them.

use proptest::prelude::*;

use crate::adapters::message_body;
use crate::model::{EventHash, Group};
use crate::ports::LockKey;

use super::{groups, identities, journal, locks};

/// What a tenant's id may be: settings take none with a `#`, and none that is empty.
fn tenant() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ab%2$.{}\"'0 -]{1,4}",
        "\\PC{1,3}".prop_map(|text| text.replace('#', "%23")),
        "[a-c]{125,128}",
    ]
}

/// What a key may be: anything.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ab#%23$.{}\"'0 \u{0}\n-]{0,6}",
        "\\PC{0,4}",
        "[ab#]{120,130}",
        "(lock|group|identity|run)#[ab#]{0,3}",
    ]
}

fn group() -> impl Strategy<Value = Group> {
    (tenant(), key()).prop_map(|(tenant, key)| Group {
        tenant: tenant.into(),
        key: key.into(),
    })
}

fn lock_of(group: &Group) -> String {
    locks::partition_of(&LockKey {
        tenant: group.tenant.clone(),
        name: group.key.clone(),
    })
}

fn identity_of(group: &Group) -> String {
    identities::key(&group.tenant, EventHash::of(&group.key, ""))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn two_groups_have_two_keys(one in group(), other in group()) {
        let keys: [fn(&Group) -> String; 5] =
            [journal::partition_of, groups::place, message_body::group_id, lock_of, identity_of];
        for key_of in keys {
            prop_assert_eq!(key_of(&one) == key_of(&other), one == other, "{:?}", key_of(&one));
        }
    }

    /// The same letters, divided in another place, are another group.
    #[test]
    fn a_boundary_that_moves_makes_another_key(text in "[ab%.$-]{2,6}", at in 1_usize..5, rest in key()) {
        let (at, next) = (at.min(text.len() - 1), (at + 1).min(text.len()));
        let divided = |at: usize| Group {
            tenant: text[..at].into(),
            key: format!("{}{rest}", &text[at..]).into(),
        };
        prop_assume!(at != next);
        for key_of in [journal::partition_of, groups::place, message_body::group_id, lock_of] {
            prop_assert_ne!(key_of(&divided(at)), key_of(&divided(next)));
        }
    }

    /// Things of different kinds in one table are told apart by how their keys begin.
    #[test]
    fn kinds_are_apart(one in group(), other in group()) {
        let keys = [journal::partition_of(&one), lock_of(&other), identity_of(&other)];
        prop_assert_ne!(&keys[0], &keys[1]);
        prop_assert_ne!(&keys[0], &keys[2]);
        prop_assert_ne!(&keys[1], &keys[2]);
    }
}

//! What every [`Indexes`] must say of a store that is as it should be.
//!
//! What it says of one that is not depends on the store: each adapter has tests of its own for that.

use std::collections::BTreeSet;

use shared::flow::{RowKey, Write};
use shared::handlers::Table;
use shared::model::{Group, IndexCheck, QueryPlan};
use shared::ports::{ConversionPage, ConversionQuery, Indexes, Tables};

use super::Fixture;
use super::tables::{commit_all, rows_of_a_lead};
use crate::fixtures::{at, changes, converted, group, key, write};

suite! { $ indexes_suite, indexes: IndexedTables;
    a_fresh_store_is_clean,
    a_store_of_many_rows_is_clean,
    every_plan_names_its_index,
    every_plan_has_a_name_of_its_own,
    a_complete_store_lacks_no_index,
    a_check_changes_nothing,
    indexes_survive_reopening,
}

/// What is indexed, and its indexes.
pub trait IndexedTables: Tables + Indexes {}
impl<P: Tables + Indexes> IndexedTables for P {}

const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
const LEADS_A_TENANT: usize = 60;

/// Some hundred rows: leads of several tenants, appointments with rewritten histories, conversions
/// of several names.
async fn fill(fixture: &impl Fixture<Ports: IndexedTables>) {
    for tenant in TENANTS {
        for lead in 0..LEADS_A_TENANT {
            let group = group(tenant, &format!("lead-{lead}"));
            if tenant == "initech" {
                commit_all(fixture, &[sales(&group, lead)]).await;
            } else {
                commit_all(fixture, &rows_of_a_lead(&group)).await;
            }
            let meeting = key(&group, Table::RSAppointmentChanges, "review");
            let rewritten = [
                changes(
                    &meeting,
                    None,
                    0,
                    false,
                    &[(0, "scheduled"), (9, "started")],
                ),
                changes(&meeting, Some(1), 1, true, &[(5, "cancelled")]),
            ];
            commit_all(fixture, &rewritten).await;
        }
    }
}

fn sales(group: &Group, lead: usize) -> Write {
    let minutes = i64::try_from(lead).expect("small");
    let conversions = [("sale", at(minutes * 7 % 60)), ("visit", at(minutes))];
    let key = RowKey::conversions(&group.tenant, &group.key);
    write(&key, None, converted(group, &conversions))
}

async fn checked(fixture: &impl Fixture<Ports: IndexedTables>) -> IndexCheck {
    let check = fixture.ports().check_indexes().await;
    check.expect("a check")
}

async fn clean(fixture: &impl Fixture<Ports: IndexedTables>) -> IndexCheck {
    let check = checked(fixture).await;
    let faulty: Vec<_> = check
        .plans
        .iter()
        .filter_map(|plan| Some((plan.fault()?, plan)))
        .collect();
    assert!(faulty.is_empty(), "{faulty:#?}");
    assert_eq!(check.missing, []);
    assert_eq!(check.unused, [], "the store makes none that it needs not");
    assert!(check.is_clean(), "{:#?}", check.derived);
    check
}

async fn a_fresh_store_is_clean(fixture: &mut impl Fixture<Ports: IndexedTables>) {
    clean(fixture).await;
}

async fn a_store_of_many_rows_is_clean(fixture: &mut impl Fixture<Ports: IndexedTables>) {
    fill(fixture).await;
    clean(fixture).await;
}

async fn every_plan_names_its_index(fixture: &mut impl Fixture<Ports: IndexedTables>) {
    fill(fixture).await;
    let plans = clean(fixture).await.plans;
    for plan in &plans {
        assert!(!plan.table.is_empty() && !plan.needs.is_empty(), "{plan:?}");
        assert!(!plan.explained.is_empty(), "{plan:?}");
        if !plan.is_whole_pass() {
            assert_eq!(plan.uses.as_ref(), Some(&plan.needs), "{plan:?}");
        }
    }
    let page = |plan: &&QueryPlan| plan.query.starts_with("Tables::conversions");
    let page = plans.iter().find(page);
    assert!(page.is_some_and(|page| !page.is_whole_pass()), "{page:?}");
}

async fn every_plan_has_a_name_of_its_own(fixture: &mut impl Fixture<Ports: IndexedTables>) {
    let plans = clean(fixture).await.plans;
    let names: BTreeSet<&str> = plans.iter().map(|plan| plan.query.as_str()).collect();
    assert!(!names.contains(""), "{names:?}");
    assert_eq!(names.len(), plans.len(), "{names:?}");
}

async fn a_complete_store_lacks_no_index(fixture: &mut impl Fixture<Ports: IndexedTables>) {
    let created = fixture.ports().create_indexes().await;
    assert_eq!(created.expect("created"), [""; 0]);
    fill(fixture).await;
    let created = fixture.ports().create_indexes().await;
    assert_eq!(created.expect("created"), [""; 0]);
    clean(fixture).await;
}

async fn a_check_changes_nothing(fixture: &mut impl Fixture<Ports: IndexedTables>) {
    fill(fixture).await;
    let before = sold(fixture).await;
    assert_eq!(before.rows.len(), LEADS_A_TENANT);
    let first = clean(fixture).await;
    assert_eq!(sold(fixture).await, before);
    assert_eq!(clean(fixture).await, first, "it says the same again");
}

/// What a query through an index gives.
async fn sold(fixture: &impl Fixture<Ports: IndexedTables>) -> ConversionPage {
    let query = ConversionQuery {
        tenant: "initech".into(),
        name: "sale".into(),
        from: at(0),
        to: at(60),
        limit: 100,
        after: None,
    };
    let page = fixture.ports().conversions(&query).await;
    page.expect("a page")
}

async fn indexes_survive_reopening(fixture: &mut impl Fixture<Ports: IndexedTables>) {
    fill(fixture).await;
    fixture.reopen().await;
    clean(fixture).await;
}

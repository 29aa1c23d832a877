//! What every [`Tables`] must answer when asked for leads by conversion.

use shared::flow::{RowKey, Write};
use shared::handlers::Row;
use shared::model::{Group, Timestamp};
use shared::ports::Committed::Conflict;
use shared::ports::{ConversionPage, ConversionQuery, Tables};

use super::Fixture;
use super::tables::{commit, commit_all, read};
use crate::fixtures::{at, converted, group, taking_away, write};

suite! { $ conversions_suite, conversions: Tables;
    the_newest_comes_first,
    rows_are_those_that_are_stored,
    the_range_holds_its_beginning_and_not_its_end,
    pages_hold_each_row_once,
    pages_hold_rows_of_equal_times_once,
    the_last_page_says_so,
    a_page_goes_on_where_rows_were_added_meanwhile,
    tenants_and_names_are_kept_apart,
    a_lead_with_many_conversions_is_under_each,
    a_row_moves_when_its_last_moves,
    a_row_leaves_when_its_conversion_does,
    a_row_leaves_when_it_is_deleted,
    a_conflict_moves_nothing,
    a_mended_row_stands_in_its_new_place_only,
    the_index_survives_reopening,
}

/// A query for all of acme's sales.
fn sales() -> ConversionQuery {
    ConversionQuery {
        tenant: "acme".into(),
        name: "sale".into(),
        from: Timestamp::MIN,
        to: Timestamp::MAX,
        limit: 1_000,
        after: None,
    }
}

async fn page(fixture: &impl Fixture<Ports: Tables>, query: &ConversionQuery) -> ConversionPage {
    let page = fixture
        .ports()
        .conversions(query)
        .await
        .expect("conversions");
    assert!(
        page.rows.len() <= query.limit,
        "{} of {}",
        page.rows.len(),
        query.limit
    );
    page
}

fn leads(page: &ConversionPage) -> Vec<String> {
    page.rows.iter().map(|row| row.key.id.to_string()).collect()
}

/// All pages of a query: the leads in order, and how many pages there were.
async fn paged(
    fixture: &impl Fixture<Ports: Tables>,
    query: &ConversionQuery,
) -> (Vec<String>, usize) {
    let mut query = query.clone();
    let mut all = Vec::new();
    for pages in 1..1_000 {
        let page = page(fixture, &query).await;
        all.extend(leads(&page));
        query.after = page.next;
        if query.after.is_none() {
            return (all, pages);
        }
    }
    panic!("the pages have no end");
}

async fn all(fixture: &impl Fixture<Ports: Tables>, query: &ConversionQuery) -> Vec<String> {
    let page = page(fixture, query).await;
    assert_eq!(page.next, None);
    leads(&page)
}

fn insert(group: &Group, conversions: &[(&str, Timestamp)]) -> Write {
    update(group, None, conversions)
}

fn update(group: &Group, expected: Option<u64>, conversions: &[(&str, Timestamp)]) -> Write {
    let key = RowKey::conversions(&group.tenant, &group.key);
    write(&key, expected, converted(group, conversions))
}

/// Sales of acme at so many minutes, by lead.
async fn sell(fixture: &impl Fixture<Ports: Tables>, sales: &[(&str, i64)]) {
    let writes: Vec<Write> = sales
        .iter()
        .map(|(lead, minutes)| insert(&group("acme", lead), &[("sale", at(*minutes))]))
        .collect();
    commit_all(fixture, &writes).await;
}

async fn the_newest_comes_first(fixture: &mut impl Fixture<Ports: Tables>) {
    assert_eq!(all(fixture, &sales()).await, [""; 0]);
    sell(fixture, &[("b", 5), ("a", 9), ("d", 1), ("c", 7)]).await;
    sell(fixture, &[("e", 6)]).await;
    assert_eq!(all(fixture, &sales()).await, ["a", "c", "e", "b", "d"]);
}

async fn rows_are_those_that_are_stored(fixture: &mut impl Fixture<Ports: Tables>) {
    sell(fixture, &[("a", 1)]).await;
    let group = group("acme", "a");
    commit_all(
        fixture,
        &[update(
            &group,
            Some(1),
            &[("sale", at(2)), ("visit", at(9))],
        )],
    )
    .await;
    let page = page(fixture, &sales()).await;
    let stored = read(fixture, &RowKey::conversions("acme", "a")).await;
    assert_eq!(page.rows, [stored.expect("a row")]);
    let Row::RSLeadGlobalConversions(row) = &page.rows[0].row else {
        panic!("a row of another table: {:?}", page.rows[0].row);
    };
    assert_eq!(row.conversions["sale"].last_at, at(2));
}

async fn the_range_holds_its_beginning_and_not_its_end(fixture: &mut impl Fixture<Ports: Tables>) {
    sell(fixture, &[("a", 1), ("b", 2), ("c", 3), ("d", 4)]).await;
    let between = |from: Timestamp, to: Timestamp| ConversionQuery {
        from,
        to,
        ..sales()
    };
    for (from, to, expect) in [
        (at(2), at(4), vec!["c", "b"]),
        (at(2).plus_ms(1), at(4).plus_ms(1), vec!["d", "c"]),
        (at(2), at(2).plus_ms(1), vec!["b"]),
        (at(2), at(2), vec![]),
        (at(4), at(1), vec![]),
        (at(5), Timestamp::MAX, vec![]),
        (Timestamp::MIN, at(1), vec![]),
    ] {
        assert_eq!(
            all(fixture, &between(from, to)).await,
            expect,
            "{from} to {to}"
        );
        let limit = 1;
        let single = ConversionQuery {
            limit,
            ..between(from, to)
        };
        assert_eq!(
            paged(fixture, &single).await.0,
            expect,
            "{from} to {to}, paged"
        );
    }
}

/// Pages of every size give what one page gives; `expect` of the leads in order.
async fn check_pages(fixture: &impl Fixture<Ports: Tables>, leads: &[String]) {
    for limit in 1..=leads.len() + 1 {
        let (came, pages) = paged(fixture, &ConversionQuery { limit, ..sales() }).await;
        assert_eq!(came, leads, "pages of {limit}");
        assert_eq!(pages, leads.len().div_ceil(limit), "pages of {limit}");
    }
}

async fn pages_hold_each_row_once(fixture: &mut impl Fixture<Ports: Tables>) {
    let names: Vec<String> = (0..12).map(|i| format!("lead-{i:02}")).collect();
    let spread: Vec<(&str, i64)> = (0..)
        .zip(&names)
        .map(|(i, name)| (name.as_str(), i * 7 % 12))
        .collect();
    sell(fixture, &spread).await;
    let mut newest_first = spread;
    newest_first.sort_by_key(|(_, minutes)| -minutes);
    let expect: Vec<String> = newest_first
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    check_pages(fixture, &expect).await;
}

async fn pages_hold_rows_of_equal_times_once(fixture: &mut impl Fixture<Ports: Tables>) {
    let sold = [
        ("a", 5),
        ("B", 5),
        ("", 5),
        ("é", 5),
        ("c", 9),
        ("b", 5),
        ("d", 1),
        ("aa", 5),
    ];
    sell(fixture, &sold).await;
    let whole = all(fixture, &sales()).await;
    let mut sorted = whole.clone();
    sorted.sort();
    assert_eq!(sorted, ["", "B", "a", "aa", "b", "c", "d", "é"]);
    assert_eq!((whole[0].as_str(), whole[7].as_str()), ("c", "d"));
    check_pages(fixture, &whole).await;
}

async fn the_last_page_says_so(fixture: &mut impl Fixture<Ports: Tables>) {
    sell(fixture, &[("a", 1), ("b", 2), ("c", 3)]).await;
    let of = |limit: usize| ConversionQuery { limit, ..sales() };
    assert_eq!(page(fixture, &of(3)).await.next, None);
    let first = page(fixture, &of(2)).await;
    let next = first.next.expect("one is left");
    assert_eq!((next.last_at, next.lead_id.as_str()), (at(2), "b"));
    let after = Some(next);
    assert_eq!(
        all(fixture, &ConversionQuery { after, ..of(2) }).await,
        ["a"]
    );
}

/// What comes in at the top while someone turns the pages doubles and hides nothing.
async fn a_page_goes_on_where_rows_were_added_meanwhile(fixture: &mut impl Fixture<Ports: Tables>) {
    sell(fixture, &[("a", 1), ("b", 2), ("c", 3), ("d", 4)]).await;
    let limit = 2;
    let first = page(fixture, &ConversionQuery { limit, ..sales() }).await;
    assert_eq!(leads(&first), ["d", "c"]);
    sell(fixture, &[("e", 9)]).await;
    let read_last = group("acme", "c");
    commit_all(fixture, &[update(&read_last, Some(1), &[("sale", at(8))])]).await;
    let after = first.next;
    assert_eq!(
        all(
            fixture,
            &ConversionQuery {
                limit,
                after,
                ..sales()
            }
        )
        .await,
        ["b", "a"]
    );
}

async fn tenants_and_names_are_kept_apart(fixture: &mut impl Fixture<Ports: Tables>) {
    let writes = [
        insert(&group("acme", "a"), &[("sale", at(1))]),
        insert(&group("globex", "a"), &[("sale", at(2))]),
        insert(&group("acm", "eb"), &[("sale", at(3))]),
        insert(
            &group("acme", "c"),
            &[("sales", at(4)), ("Sale", at(4)), ("sal", at(4))],
        ),
    ];
    commit_all(fixture, &writes).await;
    assert_eq!(all(fixture, &sales()).await, ["a"]);
    let of = |tenant: &str, name: &str| ConversionQuery {
        tenant: tenant.into(),
        name: name.into(),
        ..sales()
    };
    let theirs = page(fixture, &of("globex", "sale")).await;
    assert_eq!(theirs.rows[0].key, RowKey::conversions("globex", "a"));
    assert_eq!(theirs.rows.len(), 1);
    assert_eq!(all(fixture, &of("acme", "Sale")).await, ["c"]);
    for (tenant, name) in [
        ("ACME", "sale"),
        ("acme", ""),
        ("", "sale"),
        ("acme", "sale "),
    ] {
        assert_eq!(
            all(fixture, &of(tenant, name)).await,
            [""; 0],
            "{tenant} {name}"
        );
    }
}

async fn a_lead_with_many_conversions_is_under_each(fixture: &mut impl Fixture<Ports: Tables>) {
    let many = [("sale", at(1)), ("visit", at(9)), ("名前 '%", at(5))];
    commit_all(fixture, &[insert(&group("acme", "a"), &many)]).await;
    sell(fixture, &[("b", 5)]).await;
    for (name, _) in many {
        let query = ConversionQuery {
            name: name.into(),
            ..sales()
        };
        let expect: &[&str] = if name == "sale" { &["b", "a"] } else { &["a"] };
        assert_eq!(all(fixture, &query).await, expect, "{name}");
    }
}

async fn a_row_moves_when_its_last_moves(fixture: &mut impl Fixture<Ports: Tables>) {
    sell(fixture, &[("a", 1), ("b", 5)]).await;
    let a = group("acme", "a");
    commit_all(fixture, &[update(&a, Some(1), &[("sale", at(9))])]).await;
    assert_eq!(all(fixture, &sales()).await, ["a", "b"]);
    let to = at(5);
    assert_eq!(
        all(fixture, &ConversionQuery { to, ..sales() }).await,
        [""; 0],
        "not where it was"
    );
    // A refold may move it back.
    commit_all(fixture, &[update(&a, Some(2), &[("sale", at(1))])]).await;
    assert_eq!(all(fixture, &sales()).await, ["b", "a"]);
    // A write that does not touch it leaves it there once.
    commit_all(
        fixture,
        &[update(&a, Some(3), &[("sale", at(1)), ("visit", at(2))])],
    )
    .await;
    assert_eq!(all(fixture, &sales()).await, ["b", "a"]);
}

async fn a_row_leaves_when_its_conversion_does(fixture: &mut impl Fixture<Ports: Tables>) {
    let a = group("acme", "a");
    commit_all(fixture, &[insert(&a, &[("sale", at(1)), ("visit", at(2))])]).await;
    sell(fixture, &[("b", 5)]).await;
    commit_all(fixture, &[update(&a, Some(1), &[("visit", at(2))])]).await;
    assert_eq!(all(fixture, &sales()).await, ["b"]);
    let name = "visit".into();
    assert_eq!(
        all(fixture, &ConversionQuery { name, ..sales() }).await,
        ["a"]
    );
}

async fn a_row_leaves_when_it_is_deleted(fixture: &mut impl Fixture<Ports: Tables>) {
    sell(fixture, &[("a", 1), ("b", 5), ("c", 9)]).await;
    let key = RowKey::conversions("acme", "b");
    commit_all(fixture, &[taking_away(&key, 1)]).await;
    check_pages(fixture, &["c".to_owned(), "a".to_owned()]).await;
    sell(fixture, &[("b", 7)]).await;
    check_pages(fixture, &["c".to_owned(), "b".to_owned(), "a".to_owned()]).await;
}

async fn a_conflict_moves_nothing(fixture: &mut impl Fixture<Ports: Tables>) {
    sell(fixture, &[("a", 1), ("b", 5)]).await;
    let a = group("acme", "a");
    let key = RowKey::conversions("acme", "a");
    let lost = [
        insert(&a, &[("sale", at(9))]),
        update(&a, Some(7), &[("sale", at(9))]),
        update(&a, Some(7), &[]),
        taking_away(&key, 7),
        update(&group("acme", "none"), Some(1), &[("sale", at(9))]),
    ];
    assert_eq!(commit(fixture, &lost).await, [Conflict; 5]);
    check_pages(fixture, &["b".to_owned(), "a".to_owned()]).await;
}

/// Another writer spoiled the row's content. The place that it had must not stay behind.
async fn a_mended_row_stands_in_its_new_place_only(fixture: &mut impl Fixture<Ports: Tables>) {
    sell(fixture, &[("b", 5)]).await;
    let moved = converted(&group("acme", "a"), &[("sale", at(3))]).body();
    for spoiled in [moved, r#"{"leadId":"a","conversions":[]}"#.to_owned()] {
        let a = group("acme", "a");
        let mut damaged = insert(&a, &[("sale", at(1))]);
        damaged
            .put
            .as_mut()
            .expect("a row")
            .body
            .clone_from(&spoiled);
        commit_all(fixture, &[damaged]).await;
        commit_all(fixture, &[update(&a, Some(1), &[("sale", at(9))])]).await;
        assert_eq!(all(fixture, &sales()).await, ["a", "b"], "{spoiled}");
        commit_all(
            fixture,
            &[taking_away(&RowKey::conversions("acme", "a"), 2)],
        )
        .await;
        assert_eq!(all(fixture, &sales()).await, ["b"], "{spoiled}");
    }
}

async fn the_index_survives_reopening(fixture: &mut impl Fixture<Ports: Tables>) {
    sell(fixture, &[("a", 1), ("b", 5)]).await;
    fixture.reopen().await;
    let a = group("acme", "a");
    commit_all(fixture, &[update(&a, Some(1), &[("sale", at(9))])]).await;
    check_pages(fixture, &["a".to_owned(), "b".to_owned()]).await;
}

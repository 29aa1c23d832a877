//! What every [`SettingsVersions`] must do.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use shared::ports::SettingsVersions;
use shared::settings::{Format, SettingsVersion, StoredSettings};

use super::{Fixture, at_once};

suite! { $ settings_versions_suite, settings_versions: SettingsVersions;
    without_any_there_are_none,
    the_first_is_version_one,
    the_same_text_again_keeps_its_version,
    another_text_gets_the_next_version,
    the_format_counts,
    texts_come_back_as_they_were,
    more_than_ten_versions_keep_their_order,
    a_large_text_comes_back_as_it_was,
    versions_survive_reopening,
    every_version_is_listed_and_can_be_read,
    each_tenant_has_the_version_of_its_own_change,
    writers_at_once_get_versions_of_their_own,
    writers_of_one_text_at_once_get_one_version,
}

async fn put(fixture: &impl Fixture<Ports: SettingsVersions>, text: &str, format: Format) -> u32 {
    let put = fixture.ports().put(text, format, fixture.now()).await;
    put.expect("put")
}

async fn latest(fixture: &impl Fixture<Ports: SettingsVersions>) -> Option<StoredSettings> {
    fixture.ports().latest().await.expect("latest")
}

/// Puts a text that compiles to nothing and expects it in force under that version.
async fn check(
    fixture: &impl Fixture<Ports: SettingsVersions>,
    text: &str,
    format: Format,
    version: u32,
) {
    assert_eq!(put(fixture, text, format).await, version);
    let expect = StoredSettings {
        version,
        format,
        text: text.to_owned(),
        since: Vec::new(),
    };
    let found = latest(fixture).await.map(|found| StoredSettings {
        since: Vec::new(),
        ..found
    });
    assert_eq!(found, Some(expect));
}

async fn without_any_there_are_none(fixture: &mut impl Fixture<Ports: SettingsVersions>) {
    assert_eq!(latest(fixture).await, None);
}

async fn the_first_is_version_one(fixture: &mut impl Fixture<Ports: SettingsVersions>) {
    check(fixture, "version = 1\n", Format::Toml, 1).await;
}

async fn the_same_text_again_keeps_its_version(
    fixture: &mut impl Fixture<Ports: SettingsVersions>,
) {
    for _ in 0..3 {
        check(fixture, "a = 1", Format::Toml, 1).await;
        fixture.pass(60_000).await;
    }
}

async fn another_text_gets_the_next_version(fixture: &mut impl Fixture<Ports: SettingsVersions>) {
    // A text that was in force before is one like any other.
    for (version, text) in (1..).zip(["a = 1", "a = 2", "a = 1", "a = 1 ", "a = 1\n"]) {
        check(fixture, text, Format::Toml, version).await;
    }
}

async fn the_format_counts(fixture: &mut impl Fixture<Ports: SettingsVersions>) {
    for (version, format) in [
        (1, Format::Json),
        (2, Format::Toml),
        (2, Format::Toml),
        (3, Format::Json),
    ] {
        check(fixture, "{}", format, version).await;
    }
}

async fn texts_come_back_as_they_were(fixture: &mut impl Fixture<Ports: SettingsVersions>) {
    let texts = ["", "# Ünïcode 名前 \u{1f600}\r\n\t'\"\\", "\u{feff}x\u{0}"];
    for (version, text) in (1..).zip(texts) {
        check(fixture, text, Format::Toml, version).await;
    }
    let sizes = [16_383, 16_384, 16_385, 100_000];
    for (version, size) in (4..).zip(sizes) {
        let text = format!("é{}", "x".repeat(size - 2));
        check(fixture, &text, Format::Toml, version).await;
    }
}

async fn more_than_ten_versions_keep_their_order(
    fixture: &mut impl Fixture<Ports: SettingsVersions>,
) {
    for version in 1..=12 {
        check(fixture, &format!("a = {version}"), Format::Toml, version).await;
    }
}

async fn every_version_is_listed_and_can_be_read(
    fixture: &mut impl Fixture<Ports: SettingsVersions>,
) {
    assert_eq!(fixture.ports().versions(10).await.expect("versions"), []);
    assert_eq!(fixture.ports().version(1).await.expect("a version"), None);
    let long = "é".repeat(20_000);
    let texts = [
        ("a", Format::Toml),
        (long.as_str(), Format::Json),
        ("", Format::Toml),
    ];
    let mut moments = Vec::new();
    for (text, format) in texts {
        moments.push(fixture.now());
        put(fixture, text, format).await;
        fixture.pass(60_000).await;
    }
    for limit in 1..=4 {
        let listed = fixture.ports().versions(limit).await.expect("versions");
        let all = (1..)
            .zip(texts)
            .zip(&moments)
            .map(|((version, (text, format)), at)| {
                let bytes = text.len() as u64;
                SettingsVersion {
                    version,
                    at: Some(*at),
                    format,
                    bytes,
                }
            });
        let newest: Vec<_> = all
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .take(limit)
            .collect();
        assert_eq!(listed, newest);
    }
    for (version, (text, format)) in (1..).zip(texts) {
        let read = fixture.ports().version(version).await.expect("a version");
        let read = read.map(|read| StoredSettings {
            since: Vec::new(),
            ..read
        });
        let text = text.to_owned();
        assert_eq!(
            read,
            Some(StoredSettings {
                version,
                format,
                text,
                since: Vec::new(),
            })
        );
    }
    assert_eq!(fixture.ports().version(4).await.expect("a version"), None);
}

/// Rules of many tenants, as long as this.
fn large(bytes_min: usize) -> String {
    let mut text = "version = 1\n".to_owned();
    for tenant in 0.. {
        // Ids and pointers that share little with those of the tenant before.
        let mark = u64::from_le_bytes([7, 31, 127, 8, 191, 2, 77, 5]).wrapping_mul(tenant * 2 + 1);
        write!(
            text,
            "\n[[tenant]]\nids = [\"customer-{tenant}-{mark:016x}\"]\npartition_key = \"/lead/id\"\n"
        )
        .expect("a string");
        for (place, (kind, to)) in [
            ("created", "lead.created"),
            ("stage_changed", "lead.updated"),
            ("won", "lead.converted"),
            ("lost", "lead.closed"),
        ]
        .into_iter()
        .enumerate()
        {
            write!(
                text,
                "\n[[tenant.map]]\ntype = \"crm{:04x}.lead.{kind}.v{place}\"\nto = \"{to}\"\n\
                 set = {{ stage = {{ const = \"{kind}\" }}, amount = {{ pointer = \
                 \"/deal/{:06x}/value\" }} }}\n",
                mark >> 48,
                (mark >> (place * 8)) & 0xff_ffff,
            )
            .expect("a string");
        }
        if text.len() >= bytes_min {
            break;
        }
    }
    text
}

async fn a_large_text_comes_back_as_it_was(fixture: &mut impl Fixture<Ports: SettingsVersions>) {
    let text = large(1 << 20);
    shared::settings::Settings::compile(&text, Format::Toml, 1).expect("as a user may write it");
    check(fixture, &text, Format::Toml, 1).await;
    check(fixture, &text, Format::Toml, 1).await;
    check(fixture, &(text + "# more"), Format::Toml, 2).await;
}

/// Settings of tenants, each of which says who its stage is.
fn tenants(stages: &[(&str, &str)]) -> String {
    let mut text = "version = 1\n".to_owned();
    for (ids, stage) in stages {
        write!(
            text,
            "[[tenant]]\nids = [{ids}]\n[[tenant.map]]\ntype = \"lead.created\"\nto = \"lead.created\"\n\
             set = {{ stage = {{ pointer = \"/{stage}\" }} }}\n"
        )
        .expect("a string");
    }
    text
}

/// A row is stale once its own tenant's settings changed, whatever becomes of others'.
async fn each_tenant_has_the_version_of_its_own_change(
    fixture: &mut impl Fixture<Ports: SettingsVersions>,
) {
    let both = |acme, globex| tenants(&[("\"globex\"", globex), ("\"acme\"", acme)]);
    let secret = "[tenant.webhook]\nsecrets = [{ env = \"A\" }]\n";
    for (text, version, acme, globex) in [
        (both("a", "b"), 1, Some(1), Some(1)),
        (both("c", "b"), 2, Some(2), Some(1)),
        (
            "# nothing\n".to_owned() + &both("c", "b"),
            3,
            Some(2),
            Some(1),
        ),
        (both("c", "d"), 4, Some(2), Some(4)),
        (both("c", "d") + secret, 5, Some(2), Some(4)),
        (
            tenants(&[("\"acme\", \"globex\"", "c")]),
            6,
            Some(2),
            Some(6),
        ),
        (tenants(&[("\"acme\"", "c")]), 7, Some(2), None),
        (
            tenants(&[("\"acme\", \"globex\"", "c")]),
            8,
            Some(2),
            Some(8),
        ),
    ] {
        assert_eq!(put(fixture, &text, Format::Toml).await, version);
        fixture.reopen().await;
        let found = latest(fixture).await.expect("settings");
        let settings = shared::settings::Settings::of(&found).expect("settings");
        let of = |tenant| {
            settings
                .tenant(tenant)
                .map(shared::settings::Tenant::version)
        };
        assert_eq!((of("acme"), of("globex")), (acme, globex), "{text}");
        assert_eq!(settings.version(), version);
    }
}

async fn versions_survive_reopening(fixture: &mut impl Fixture<Ports: SettingsVersions>) {
    check(fixture, "a = 1", Format::Toml, 1).await;
    check(fixture, "a = 2", Format::Json, 2).await;
    fixture.reopen().await;
    check(fixture, "a = 2", Format::Json, 2).await;
    check(fixture, "a = 3", Format::Json, 3).await;
}

async fn writers_at_once_get_versions_of_their_own(
    fixture: &mut impl Fixture<Ports: SettingsVersions>,
) {
    let texts: Vec<String> = (0..12).map(|writer| format!("a = {writer}")).collect();
    let puts = texts.iter().map(|text| put(fixture, text, Format::Toml));
    let versions = at_once(puts).await;
    let distinct: BTreeSet<u32> = versions.iter().copied().collect();
    assert_eq!(distinct, (1..=12).collect(), "{versions:?}");
    let last = versions.iter().position(|version| *version == 12);
    let last = last.and_then(|writer| texts.get(writer)).expect("one");
    let found = latest(fixture).await.expect("settings");
    assert_eq!((found.version, &found.text), (12, last));
}

async fn writers_of_one_text_at_once_get_one_version(
    fixture: &mut impl Fixture<Ports: SettingsVersions>,
) {
    check(fixture, "a = 0", Format::Toml, 1).await;
    let puts = (0..12).map(|_writer| put(fixture, "a = 1", Format::Toml));
    assert_eq!(at_once(puts).await, [2; 12]);
    assert_eq!(latest(fixture).await.map(|found| found.version), Some(2));
}

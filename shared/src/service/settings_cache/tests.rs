use std::error::Error as _;
use std::sync::atomic::{AtomicU32, Ordering};

use pollster::block_on;

use crate::settings::{Format, SettingsVersion};

use super::*;

const LIMIT_MS: i64 = 1_000;

/// What the store holds, or how it fails; and how often it was asked.
#[derive(Default)]
struct Fake {
    held: Mutex<Option<StoredSettings>>,
    failing: Mutex<Option<ErrorKind>>,
    looks: AtomicU32,
}

impl SettingsVersions for Fake {
    async fn latest(&self) -> Result<Option<StoredSettings>, Error> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        match *self.failing.lock().expect("a lock") {
            Some(kind) => Err(Error::new(kind, "read the store", "it is away")),
            None => Ok(self.held.lock().expect("a lock").clone()),
        }
    }

    async fn versions(&self, _limit: usize) -> Result<Vec<SettingsVersion>, Error> {
        unreachable!("a cache lists none")
    }

    async fn version(&self, _version: u32) -> Result<Option<StoredSettings>, Error> {
        unreachable!("a cache looks at the last one")
    }

    async fn put(&self, text: &str, format: Format, _now: Timestamp) -> Result<u32, Error> {
        let mut held = self.held.lock().expect("a lock");
        let version = held.as_ref().map_or(0, |held| held.version) + 1;
        let text = text.to_owned();
        *held = Some(StoredSettings {
            version,
            format,
            text,
            since: Vec::new(),
        });
        Ok(version)
    }
}

const GOOD: &str = r#"
version = 1
[[tenant]]
ids = ["acme"]
[[tenant.map]]
type = "lead.created"
to = "lead.created"
"#;
/// What a newer program may have written.
const WRONG: &str = "version = 1\n[[tenant]]\nids = [\"acme\"]\nnew = 1\n";

fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(1_772_000_000_000 + ms)
}

fn put(fake: &Fake, text: &str) -> u32 {
    block_on(fake.put(text, Format::Toml, at(0))).expect("put")
}

fn fail(fake: &Fake, kind: Option<ErrorKind>) {
    *fake.failing.lock().expect("a lock") = kind;
}

/// The version that is in force at a moment, or the error with its reason, and how many look-ups that took.
fn get(cache: &SettingsCache, fake: &Fake, ms: i64) -> (String, u32) {
    let before = fake.looks.load(Ordering::Relaxed);
    let got = match block_on(cache.get(fake, at(ms))) {
        Ok(settings) => format!("version {}", settings.version()),
        Err(error) => {
            let why = error.source().expect("a reason");
            format!("{:?}: {error}: {why}", error.kind())
        }
    };
    (got, fake.looks.load(Ordering::Relaxed) - before)
}

#[track_caller]
fn check(cache: &SettingsCache, fake: &Fake, expect: &[(i64, u32, u32)]) {
    for (ms, version, looks) in expect {
        let expect = (format!("version {version}"), *looks);
        assert_eq!(get(cache, fake, *ms), expect, "after {ms} ms");
    }
}

#[test]
fn within_the_time_limit_nothing_is_asked() {
    let (cache, fake) = (SettingsCache::new(LIMIT_MS), Fake::default());
    put(&fake, GOOD);
    check(&cache, &fake, &[(0, 1, 1), (1, 1, 0)]);
    put(&fake, &format!("{GOOD}# more\n"));
    check(
        &cache,
        &fake,
        &[(999, 1, 0), (1_000, 2, 1), (1_999, 2, 0), (2_000, 2, 1)],
    );
    assert_eq!(cache.refused(), None);
}

#[test]
fn the_same_version_is_not_compiled_again() {
    let (cache, fake) = (SettingsCache::new(LIMIT_MS), Fake::default());
    put(&fake, GOOD);
    let first = block_on(cache.get(&fake, at(0))).expect("settings");
    let again = block_on(cache.get(&fake, at(5_000))).expect("settings");
    assert!(Arc::ptr_eq(&first, &again));
    put(&fake, &format!("{GOOD}# more\n"));
    let other = block_on(cache.get(&fake, at(10_000))).expect("settings");
    assert!(!Arc::ptr_eq(&first, &other));
    assert_eq!(first.version(), 1, "who has the old ones keeps them");
}

#[test]
fn what_does_not_compile_is_told_once_and_leaves_the_last_good_in_force() {
    let (cache, fake) = (SettingsCache::new(LIMIT_MS), Fake::default());
    put(&fake, GOOD);
    check(&cache, &fake, &[(0, 1, 1)]);
    put(&fake, WRONG);
    check(&cache, &fake, &[(1_000, 1, 1)]);
    let (version, why) = cache.refused().expect("refused");
    assert_eq!(version, 2);
    assert!(why.contains("unknown field `new`"), "{why}");
    // Also when the store has said nothing else for long.
    check(
        &cache,
        &fake,
        &[(1_500, 1, 0), (2_000, 1, 1), (20_000, 1, 1)],
    );
    assert_eq!(cache.refused(), None);
    put(&fake, &format!("{WRONG}# still\n"));
    check(&cache, &fake, &[(30_000, 1, 1)]);
    assert_eq!(cache.refused().map(|(version, _)| version), Some(3));
    put(&fake, GOOD);
    check(&cache, &fake, &[(40_000, 4, 1)]);
    assert_eq!(cache.refused(), None);
}

#[test]
fn the_first_settings_of_a_process_must_compile() {
    let (cache, fake) = (SettingsCache::new(LIMIT_MS), Fake::default());
    put(&fake, WRONG);
    for ms in [0, 1] {
        let (got, looks) = get(&cache, &fake, ms);
        let expect = "Corrupt: compile the stored settings, version 1: ";
        assert!(got.starts_with(expect), "{got}");
        assert_eq!(looks, 1);
    }
    assert_eq!(cache.refused().map(|(version, _)| version), Some(1));
    assert_eq!(cache.refused(), None);
    put(&fake, GOOD);
    check(&cache, &fake, &[(2, 2, 1), (3, 2, 0)]);
}

#[test]
fn a_failing_store_leaves_the_last_good_in_force_for_a_time() {
    for kind in [ErrorKind::Retry, ErrorKind::Reject, ErrorKind::Corrupt] {
        let (cache, fake) = (SettingsCache::new(LIMIT_MS), Fake::default());
        fail(&fake, Some(kind));
        let error = format!("{kind:?}: read the store: it is away");
        assert_eq!(get(&cache, &fake, 0), (error.clone(), 1));
        fail(&fake, None);
        put(&fake, GOOD);
        check(&cache, &fake, &[(10, 1, 1)]);
        fail(&fake, Some(kind));
        check(
            &cache,
            &fake,
            &[
                (1_010, 1, 1),
                (1_011, 1, 0),
                (2_010, 1, 1),
                (9_500, 1, 1),
                (10_009, 1, 0),
            ],
        );
        assert_eq!(get(&cache, &fake, 10_010), (error.clone(), 1));
        assert_eq!(get(&cache, &fake, 10_011), (error, 1));
        fail(&fake, None);
        check(&cache, &fake, &[(10_012, 1, 1), (10_013, 1, 0)]);
    }
}

#[test]
fn without_settings_it_says_how_to_put_them() {
    let (cache, fake) = (SettingsCache::new(LIMIT_MS), Fake::default());
    let expect = "Reject: look up the settings in force: none are stored yet; put them in force \
                  with `foldback settings put FILE`";
    assert_eq!(get(&cache, &fake, 0), (expect.to_owned(), 1));
    put(&fake, GOOD);
    check(&cache, &fake, &[(1, 1, 1)]);
    *fake.held.lock().expect("a lock") = None;
    check(&cache, &fake, &[(5_000, 1, 1)]);
    assert_eq!(get(&cache, &fake, 10_001), (expect.to_owned(), 1));
}

#[test]
fn a_clock_that_was_put_back_keeps_nothing_for_ever() {
    let (cache, fake) = (SettingsCache::new(LIMIT_MS), Fake::default());
    put(&fake, GOOD);
    check(&cache, &fake, &[(0, 1, 1), (-5_000_000, 1, 1)]);
    put(&fake, &format!("{GOOD}# more\n"));
    check(&cache, &fake, &[(-4_999_001, 1, 0), (-4_999_000, 2, 1)]);
    check(&cache, &fake, &[(-4_998_999, 2, 0)]);
}

/// An answer that is late must not put older settings back.
#[test]
fn of_two_answers_the_one_asked_for_last_stays() {
    let (cache, fake) = (SettingsCache::new(LIMIT_MS), Fake::default());
    put(&fake, GOOD);
    let early = block_on(fake.latest()).expect("a look").expect("settings");
    let look = cache.begin();
    put(&fake, &format!("{GOOD}# more\n"));
    check(&cache, &fake, &[(0, 2, 1)]);
    let late = cache.state().take_in(&early, look, at(0));
    assert_eq!(late.expect("settings").version(), 2);
    check(&cache, &fake, &[(1, 2, 0)]);
}

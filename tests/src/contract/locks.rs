//! What every [`Locks`] must do.

use shared::model::Timestamp;
use shared::ports::{Lease, LockKey, Locks};

use super::{Fixture, at_once};

suite! { $ locks_suite, locks: Locks;
    one_holds_a_lock,
    a_lease_says_what_was_acquired,
    a_lease_that_ran_out_lets_another_in,
    a_clock_that_is_ahead_lets_nobody_in,
    a_released_lock_is_free,
    renewing_keeps_the_fence,
    a_lease_that_ran_out_is_renewed_while_nobody_has_the_lock,
    a_lost_lease_is_not_renewed,
    a_lost_lease_releases_nothing,
    an_owner_that_acquires_again_gets_a_new_lease,
    fences_grow_whatever_becomes_of_a_lease,
    fences_grow_on_a_clock_that_goes_back,
    names_and_tenants_do_not_run_together,
    leases_survive_reopening,
    of_many_at_once_one_wins,
}

const LEASE_MS: i64 = 30_000;

fn key(tenant: &str, name: &str) -> LockKey {
    LockKey {
        tenant: tenant.into(),
        name: name.into(),
    }
}

fn lead() -> LockKey {
    key("acme", "RSLead lead-1")
}

async fn acquire_at(
    fixture: &impl Fixture<Ports: Locks>,
    key: &LockKey,
    owner: &str,
    now: Timestamp,
) -> Option<Lease> {
    let acquired = fixture.ports().acquire(key, owner, LEASE_MS, now).await;
    acquired.expect("acquire")
}

async fn acquire(
    fixture: &impl Fixture<Ports: Locks>,
    key: &LockKey,
    owner: &str,
) -> Option<Lease> {
    acquire_at(fixture, key, owner, fixture.now()).await
}

/// Acquires the lock, which must be free.
async fn take(fixture: &impl Fixture<Ports: Locks>, owner: &str) -> Lease {
    acquire(fixture, &lead(), owner).await.expect("a lease")
}

async fn renew(
    fixture: &impl Fixture<Ports: Locks>,
    lease: &Lease,
    now: Timestamp,
) -> Option<Lease> {
    let renewed = fixture.ports().renew(lease, LEASE_MS, now).await;
    renewed.expect("renew")
}

async fn release(fixture: &impl Fixture<Ports: Locks>, lease: &Lease) {
    fixture.ports().release(lease).await.expect("release");
}

async fn one_holds_a_lock(fixture: &mut impl Fixture<Ports: Locks>) {
    take(fixture, "one").await;
    for _ in 0..2 {
        assert_eq!(acquire(fixture, &lead(), "two").await, None);
        assert_eq!(acquire(fixture, &lead(), "").await, None);
        fixture.pass(LEASE_MS / 3).await;
    }
}

async fn a_lease_says_what_was_acquired(fixture: &mut impl Fixture<Ports: Locks>) {
    let now = fixture.now();
    for key in [
        lead(),
        key("acme", "Ünï 名前 \u{1f600}/#%_'"),
        key("acme", ""),
    ] {
        let lease = acquire_at(fixture, &key, "one Ünï", now).await;
        let lease = lease.expect("a lease");
        assert_eq!((lease.key.clone(), lease.owner.as_str()), (key, "one Ünï"));
        assert_eq!(lease.until, now.plus_ms(LEASE_MS));
        assert!(lease.lasts_at(now));
        assert!(lease.fence > 0);
    }
}

async fn a_lease_that_ran_out_lets_another_in(fixture: &mut impl Fixture<Ports: Locks>) {
    let first = take(fixture, "one").await;
    fixture.pass(LEASE_MS + Lease::CLOCKS_DIFFER_MS).await;
    let second = take(fixture, "two").await;
    assert!(second.fence > first.fence, "{second:?} after {first:?}");
    assert_eq!(acquire(fixture, &lead(), "one").await, None);
    fixture.pass(LEASE_MS + Lease::CLOCKS_DIFFER_MS).await;
    let third = take(fixture, "one").await;
    assert!(third.fence > second.fence, "{third:?} after {second:?}");
}

/// As far ahead as clocks may differ; a holder whose clock is right still holds the lock.
async fn a_clock_that_is_ahead_lets_nobody_in(fixture: &mut impl Fixture<Ports: Locks>) {
    let first = take(fixture, "one").await;
    let last = first.until.plus_ms(Lease::CLOCKS_DIFFER_MS - 1);
    assert_eq!(acquire_at(fixture, &lead(), "two", last).await, None);
    let over = last.plus_ms(1);
    let second = acquire_at(fixture, &lead(), "two", over).await;
    assert!(second.is_some_and(|second| second.fence > first.fence));
}

async fn a_released_lock_is_free(fixture: &mut impl Fixture<Ports: Locks>) {
    let first = take(fixture, "one").await;
    release(fixture, &first).await;
    let second = take(fixture, "two").await;
    assert_eq!(acquire(fixture, &lead(), "one").await, None);
    release(fixture, &second).await;
    release(fixture, &second).await;
    take(fixture, "one").await;
}

async fn renewing_keeps_the_fence(fixture: &mut impl Fixture<Ports: Locks>) {
    let mut lease = take(fixture, "one").await;
    for _ in 0..4 {
        fixture.pass(LEASE_MS * 2 / 3).await;
        let now = fixture.now();
        let renewed = renew(fixture, &lease, now).await.expect("still held");
        let expect = Lease {
            until: now.plus_ms(LEASE_MS),
            ..lease
        };
        assert_eq!(renewed, expect);
        lease = renewed;
        assert_eq!(acquire(fixture, &lead(), "two").await, None);
    }
    fixture.pass(LEASE_MS + Lease::CLOCKS_DIFFER_MS).await;
    assert!(take(fixture, "two").await.fence > lease.fence);
}

async fn a_lease_that_ran_out_is_renewed_while_nobody_has_the_lock(
    fixture: &mut impl Fixture<Ports: Locks>,
) {
    let first = take(fixture, "one").await;
    fixture.pass(LEASE_MS * 3).await;
    let renewed = renew(fixture, &first, fixture.now()).await.expect("held");
    assert_eq!(renewed.fence, first.fence);
    assert_eq!(acquire(fixture, &lead(), "two").await, None);
}

async fn a_lost_lease_is_not_renewed(fixture: &mut impl Fixture<Ports: Locks>) {
    let first = take(fixture, "one").await;
    fixture.pass(LEASE_MS + Lease::CLOCKS_DIFFER_MS).await;
    let second = take(fixture, "two").await;
    assert_eq!(renew(fixture, &first, fixture.now()).await, None);
    assert_eq!(
        renew(fixture, &second, second.until)
            .await
            .map(|it| it.fence),
        Some(second.fence)
    );
    release(fixture, &second).await;
    assert_eq!(renew(fixture, &first, fixture.now()).await, None);
    assert_eq!(
        renew(fixture, &second, fixture.now()).await,
        None,
        "released"
    );
    let never = Lease {
        key: key("acme", "never locked"),
        ..second
    };
    assert_eq!(renew(fixture, &never, fixture.now()).await, None);
    assert!(acquire(fixture, &never.key, "two").await.is_some());
}

async fn a_lost_lease_releases_nothing(fixture: &mut impl Fixture<Ports: Locks>) {
    let first = take(fixture, "one").await;
    fixture.pass(LEASE_MS + Lease::CLOCKS_DIFFER_MS).await;
    let second = take(fixture, "two").await;
    release(fixture, &first).await;
    // Neither an older fence of the same owner nor the same fence in another's hand.
    let forged = [
        Lease {
            fence: first.fence,
            ..second.clone()
        },
        Lease {
            owner: "one".into(),
            ..second.clone()
        },
        Lease {
            fence: second.fence + 1,
            ..second.clone()
        },
        Lease {
            key: key("acme", "never locked"),
            ..second.clone()
        },
    ];
    for lease in &forged {
        release(fixture, lease).await;
        assert_eq!(
            renew(fixture, lease, fixture.now()).await,
            None,
            "{lease:?}"
        );
    }
    assert_eq!(acquire(fixture, &lead(), "three").await, None);
    assert!(renew(fixture, &second, fixture.now()).await.is_some());
}

/// Also at the same moment, when nothing but the fence tells the leases apart.
async fn an_owner_that_acquires_again_gets_a_new_lease(fixture: &mut impl Fixture<Ports: Locks>) {
    let now = fixture.now();
    let mut last: Option<Lease> = None;
    for _ in 0..3 {
        let lease = acquire_at(fixture, &lead(), "one", now).await;
        let lease = lease.expect("a lease");
        if let Some(last) = &last {
            assert!(lease.fence > last.fence, "{lease:?} after {last:?}");
            assert_eq!(renew(fixture, last, now).await, None, "the earlier is lost");
            release(fixture, last).await;
        }
        assert_eq!(acquire_at(fixture, &lead(), "two", now).await, None);
        last = Some(lease);
    }
}

async fn fences_grow_whatever_becomes_of_a_lease(fixture: &mut impl Fixture<Ports: Locks>) {
    let mut fences = Vec::new();
    for turn in 0..8 {
        let lease = take(fixture, &format!("owner {}", turn % 3)).await;
        fences.push(lease.fence);
        match turn % 4 {
            0 => release(fixture, &lease).await,
            1 => {
                renew(fixture, &lease, fixture.now()).await.expect("held");
                release(fixture, &lease).await;
                fixture.reopen().await;
            }
            2 => {
                fixture.reopen().await;
                fixture.pass(LEASE_MS + Lease::CLOCKS_DIFFER_MS).await;
            }
            _later => {
                release(fixture, &lease).await;
                fixture.pass(3 * Lease::KEPT_MS).await;
            }
        }
    }
    assert!(fences.is_sorted_by(|a, b| a < b), "{fences:?}");
}

async fn fences_grow_on_a_clock_that_goes_back(fixture: &mut impl Fixture<Ports: Locks>) {
    let now = fixture.now();
    let mut fences = Vec::new();
    for ms in [0, -1, -3_600_000, -3_600_001, 5] {
        let lease = acquire_at(fixture, &lead(), "one", now.plus_ms(ms)).await;
        let lease = lease.expect("a lease");
        assert_eq!(lease.until, now.plus_ms(ms + LEASE_MS));
        fences.push(lease.fence);
        release(fixture, &lease).await;
    }
    assert!(fences.is_sorted_by(|a, b| a < b), "{fences:?}");
}

async fn names_and_tenants_do_not_run_together(fixture: &mut impl Fixture<Ports: Locks>) {
    let keys = [
        key("acme", "lead-1"),
        key("acme", "LEAD-1"),
        key("acme", "lead-1 "),
        key("acme", "lead-1#"),
        key("acme", "#lead-1"),
        key("acme", "acme#lead-1"),
        key("acm", "elead-1"),
        key("ac", "me#lead-1"),
        key("globex", "lead-1"),
    ];
    let mut leases = Vec::new();
    for key in &keys {
        leases.extend(acquire(fixture, key, "one").await);
    }
    assert_eq!(leases.len(), keys.len());
    release(fixture, &leases[0]).await;
    for (place, key) in keys.iter().enumerate() {
        let free = acquire(fixture, key, "two").await.is_some();
        assert_eq!(free, place == 0, "{key:?}");
    }
}

async fn leases_survive_reopening(fixture: &mut impl Fixture<Ports: Locks>) {
    let lease = take(fixture, "one").await;
    fixture.reopen().await;
    assert_eq!(acquire(fixture, &lead(), "two").await, None);
    let renewed = renew(fixture, &lease, fixture.now()).await;
    assert_eq!(renewed.map(|renewed| renewed.fence), Some(lease.fence));
    release(fixture, &lease).await;
    fixture.reopen().await;
    assert!(take(fixture, "two").await.fence > lease.fence);
}

async fn of_many_at_once_one_wins(fixture: &mut impl Fixture<Ports: Locks>) {
    let owners: Vec<String> = (0..20).map(|owner| format!("owner {owner}")).collect();
    let mut last = 0;
    for round in 0..6 {
        let lock = lead();
        let tries = owners.iter().map(|owner| acquire(fixture, &lock, owner));
        let won: Vec<Lease> = at_once(tries).await.into_iter().flatten().collect();
        let [lease] = won.as_slice() else {
            panic!("round {round}: {won:#?}");
        };
        assert!(lease.fence > last, "round {round}");
        last = lease.fence;
        // A lock that is new, released, or over.
        if round % 2 == 0 {
            release(fixture, lease).await;
        } else {
            fixture.pass(LEASE_MS + Lease::CLOCKS_DIFFER_MS).await;
        }
    }
}

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::model::{Secret, SecretRef, Timestamp};
use crate::ports::{Clock, Error, ErrorKind, Secrets};

/// Secrets that are asked for again only after a while: stores of secrets are slow, and charge by the
/// request.
///
/// While the store is out of reach, a secret that was read before stays good.
#[derive(Debug)]
pub struct RememberedSecrets<S, C> {
    secrets: S,
    clock: C,
    keep_ms: i64,
    read: Mutex<BTreeMap<SecretRef, (Timestamp, Secret)>>,
}

impl<S, C> RememberedSecrets<S, C> {
    /// The secrets of a store, each asked for again once it was read `keep_ms` milliseconds ago.
    pub fn new(secrets: S, clock: C, keep_ms: i64) -> Self {
        Self {
            secrets,
            clock,
            keep_ms,
            read: Mutex::default(),
        }
    }

    fn remembered(&self, reference: &SecretRef) -> Option<(Timestamp, Secret)> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.get(reference).cloned()
    }
}

impl<S: Secrets, C: Clock> Secrets for RememberedSecrets<S, C> {
    async fn secret(&self, reference: &SecretRef) -> Result<Secret, Error> {
        let now = self.clock.now();
        let remembered = self.remembered(reference);
        if let Some((at, secret)) = &remembered
            && now.ms_since(*at) < self.keep_ms
        {
            return Ok(secret.clone());
        }
        match (self.secrets.secret(reference).await, remembered) {
            (Ok(secret), _) => {
                let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
                read.insert(reference.clone(), (now, secret.clone()));
                Ok(secret)
            }
            (Err(error), Some((_, secret))) if error.kind() == ErrorKind::Retry => Ok(secret),
            (Err(error), _) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// What the store says, and how often it was asked.
    struct Store(Mutex<(Result<&'static str, ErrorKind>, usize)>);
    struct At(AtomicI64);

    impl Secrets for &Store {
        async fn secret(&self, _reference: &SecretRef) -> Result<Secret, Error> {
            let mut store = self.0.lock().expect("the store");
            store.1 += 1;
            let failed = |kind| Error::new(kind, "read a secret", "no");
            store.0.map(Secret::new).map_err(failed)
        }
    }

    impl Clock for &At {
        fn now(&self) -> Timestamp {
            Timestamp::from_ms(self.0.load(Ordering::SeqCst))
        }
    }

    #[test]
    fn a_secret_is_read_again_after_a_while() {
        let store = Store(Mutex::new((Ok("one"), 0)));
        let clock = At(AtomicI64::new(0));
        let secrets = RememberedSecrets::new(&store, &clock, 1_000);
        let check = |at_ms: i64, stored: Result<&'static str, ErrorKind>, expect: &str, asked| {
            clock.0.store(at_ms, Ordering::SeqCst);
            store.0.lock().expect("the store").0 = stored;
            let reference = SecretRef::Env("X".into());
            let read = pin!(secrets.secret(&reference));
            let Poll::Ready(read) = read.poll(&mut Context::from_waker(Waker::noop())) else {
                panic!("nothing here waits");
            };
            let got = read.map_or_else(|e| format!("{:?}", e.kind()), |s| s.reveal().to_owned());
            assert_eq!(
                (got.as_str(), store.0.lock().expect("the store").1),
                (expect, asked)
            );
        };
        check(0, Err(ErrorKind::Reject), "Reject", 1);
        check(0, Ok("one"), "one", 2);
        check(999, Ok("two"), "one", 2);
        check(1_000, Err(ErrorKind::Retry), "one", 3);
        check(1_001, Ok("two"), "two", 4);
        check(2_001, Err(ErrorKind::Reject), "Reject", 5);
    }
}

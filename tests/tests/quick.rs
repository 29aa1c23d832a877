//! quick
use std::future::Future;
use std::sync::Arc;

use foldback_tests::contract::Fixture;
use foldback_tests::fixtures::at;
use shared::adapters::embedded::{Embedded, QueueLimits};
use shared::model::Timestamp;
use tempfile::TempDir;

/// All ports of one machine, in a directory of their own.
struct OneMachine {
    store: Option<Arc<Embedded>>,
    now: Timestamp,
    directory: TempDir,
}

impl OneMachine {
    fn open(&mut self) {
        let limits = QueueLimits {
            visibility_ms: Self::VISIBILITY_MS,
            receives_max: Self::RECEIVES_MAX,
        };
        let store = Embedded::open(self.directory.path(), limits).expect("open");
        self.store = Some(Arc::new(store));
    }

    /// The store, for ports that have more than it.
    fn share(&self) -> Arc<Embedded> {
        Arc::clone(self.store.as_ref().expect("open"))
    }
}

impl Fixture for OneMachine {
    type Ports = Embedded;

    const VISIBILITY_MS: i64 = 30_000;
    const RECEIVES_MAX: u32 = 3;

    async fn fresh() -> Self {
        let mut fresh = Self {
            store: None,
            now: at(0),
            directory: tempfile::tempdir().expect("a directory"),
        };
        fresh.open();
        fresh
    }

    fn ports(&self) -> &Embedded {
        self.store.as_ref().expect("open")
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    async fn pass(&mut self, ms: i64) {
        self.now = self.now.plus_ms(ms);
    }

    async fn reopen(&mut self) {
        // The old one must let go of the directory's lock first.
        self.store = None;
        self.open();
    }

    fn run(check: impl Future<Output = ()>) {
        pollster::block_on(check);
    }
}

mod journal {
    foldback_tests::journal_suite!(super::OneMachine);
}

mod identities {
    foldback_tests::identities_suite!(super::OneMachine);
}
mod amended {
    foldback_tests::amended_suite!(super::OneMachine);
}
mod unlinked {
    foldback_tests::unlinked_suite!(super::OneMachine);
}

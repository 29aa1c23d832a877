//! The contract suites over the adapters that need nothing but a directory.

use std::future::Future;
use std::sync::Arc;

use foldback_tests::contract::Fixture;
use foldback_tests::fixtures::at;
use shared::adapters::embedded::{Embedded, QueueLimits};
use shared::model::Timestamp;
use tempfile::TempDir;

/// All ports of one machine, in a directory of their own.
pub(crate) struct OneMachine {
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
    pub(crate) fn share(&self) -> Arc<Embedded> {
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

mod queue {
    foldback_tests::queue_suite!(super::OneMachine);
}

mod queue_deduplication {
    foldback_tests::queue_deduplication_suite!(super::OneMachine);
}

mod queue_failures {
    foldback_tests::queue_failures_suite!(super::OneMachine);
}

mod settings_versions {
    foldback_tests::settings_versions_suite!(super::OneMachine);
}

mod locks {
    foldback_tests::locks_suite!(super::OneMachine);
}

mod apart {
    foldback_tests::apart_suite!(super::OneMachine);
}

mod across {
    foldback_tests::across_suite!(super::OneMachine);
}

mod amended {
    foldback_tests::amended_suite!(super::OneMachine);
}

mod unlinked {
    foldback_tests::unlinked_suite!(super::OneMachine);
}

mod locked {
    foldback_tests::locked_suite!(super::OneMachine);
}

mod waiting {
    foldback_tests::waiting_suite!(super::OneMachine);
}

mod tables {
    foldback_tests::tables_suite!(super::OneMachine);
}

mod tables_reading {
    foldback_tests::tables_reading_suite!(super::OneMachine);
}

mod images {
    foldback_tests::images_suite!(super::OneMachine);
}

mod tables_history {
    foldback_tests::tables_history_suite!(super::OneMachine);
}

mod gone {
    foldback_tests::gone_suite!(super::OneMachine);
}

mod additions {
    foldback_tests::additions_suite!(super::OneMachine);
}

mod additions_and_commits {
    foldback_tests::additions_and_commits_suite!(super::OneMachine);
}

mod conversions {
    foldback_tests::conversions_suite!(super::OneMachine);
}

mod hierarchies {
    foldback_tests::hierarchies_suite!(super::OneMachine);
}

mod indexes {
    foldback_tests::indexes_suite!(super::OneMachine);
}

mod rejects {
    foldback_tests::rejects_suite!(super::OneMachine);
}

mod reports {
    foldback_tests::reports_suite!(super::OneMachine);
}

mod together {
    foldback_tests::together_suite!(super::OneMachine);
}

//! The contract suites over the ports in memory that the simulation runs on.

use std::future::Future;

use foldback_simulation::{Memory, Open, QueueLimits};
use foldback_tests::contract::Fixture;
use foldback_tests::fixtures::at;
use shared::model::Timestamp;

/// All ports in memory, without anything that goes wrong.
struct InMemory {
    ports: Memory<Open>,
    now: Timestamp,
}

impl Fixture for InMemory {
    type Ports = Memory<Open>;

    const VISIBILITY_MS: i64 = 30_000;
    const RECEIVES_MAX: u32 = 3;

    async fn fresh() -> Self {
        let limits = QueueLimits {
            visibility_ms: Self::VISIBILITY_MS,
            receives_max: Self::RECEIVES_MAX,
        };
        Self {
            ports: Memory::new(limits, Open),
            now: at(0),
        }
    }

    fn ports(&self) -> &Memory<Open> {
        &self.ports
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    async fn pass(&mut self, ms: i64) {
        self.now = self.now.plus_ms(ms);
    }

    /// The store outlives its ports.
    async fn reopen(&mut self) {
        self.ports = self.ports.clone();
    }

    fn run(check: impl Future<Output = ()>) {
        pollster::block_on(check);
    }
}

mod journal {
    foldback_tests::journal_suite!(super::InMemory);
}

mod identities {
    foldback_tests::identities_suite!(super::InMemory);
}

mod queue {
    foldback_tests::queue_suite!(super::InMemory);
}

mod queue_deduplication {
    foldback_tests::queue_deduplication_suite!(super::InMemory);
}

mod queue_failures {
    foldback_tests::queue_failures_suite!(super::InMemory);
}

mod settings_versions {
    foldback_tests::settings_versions_suite!(super::InMemory);
}

mod locks {
    foldback_tests::locks_suite!(super::InMemory);
}

mod across {
    foldback_tests::across_suite!(super::InMemory);
}

mod locked {
    foldback_tests::locked_suite!(super::InMemory);
}

mod waiting {
    foldback_tests::waiting_suite!(super::InMemory);
}

mod tables {
    foldback_tests::tables_suite!(super::InMemory);
}

mod tables_reading {
    foldback_tests::tables_reading_suite!(super::InMemory);
}

mod images {
    foldback_tests::images_suite!(super::InMemory);
}

mod tables_history {
    foldback_tests::tables_history_suite!(super::InMemory);
}

mod additions {
    foldback_tests::additions_suite!(super::InMemory);
}

mod additions_and_commits {
    foldback_tests::additions_and_commits_suite!(super::InMemory);
}

mod conversions {
    foldback_tests::conversions_suite!(super::InMemory);
}

mod hierarchies {
    foldback_tests::hierarchies_suite!(super::InMemory);
}

mod reports {
    foldback_tests::reports_suite!(super::InMemory);
}

mod together {
    foldback_tests::together_suite!(super::InMemory);
}

mod amended {
    foldback_tests::amended_suite!(super::InMemory);
}

mod apart {
    foldback_tests::apart_suite!(super::InMemory);
}

mod gone {
    foldback_tests::gone_suite!(super::InMemory);
}

mod unlinked {
    foldback_tests::unlinked_suite!(super::InMemory);
}

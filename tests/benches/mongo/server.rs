//! The server to measure against.

use std::sync::atomic::{AtomicU32, Ordering};

use foldback_tests::servers::{Durability, Secantus};

/// A server, and names for databases of one's own there.
pub(crate) struct Server {
    kind: Kind,
    next: AtomicU32,
}

enum Kind {
    Started(Secantus),
    /// A connection string without a database.
    Given(String),
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::of(Kind::Started(Secantus::start(Durability::Relaxed)))
    }

    pub(crate) fn given(uri: &str) -> Self {
        Self::of(Kind::Given(uri.to_owned()))
    }

    fn of(kind: Kind) -> Self {
        Self {
            kind,
            next: AtomicU32::new(0),
        }
    }

    pub(crate) fn name(&self) -> String {
        match &self.kind {
            Kind::Started(_) => format!("SecantusDB ({}, relaxed durability)", Secantus::PACKAGE),
            Kind::Given(_) => "the given server".to_owned(),
        }
    }

    /// The connection string of a database that nobody uses yet.
    pub(crate) fn fresh_uri(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let database = format!("foldback_bench_{}_{number}", std::process::id());
        match &self.kind {
            Kind::Started(secantus) => secantus.uri(&database),
            Kind::Given(uri) => with_database(uri, &database),
        }
    }
}

fn with_database(uri: &str, database: &str) -> String {
    let (scheme, rest) = uri.split_once("://").expect("a connection string");
    let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
    let (hosts, named) = place.split_once('/').unwrap_or((place, ""));
    assert!(
        named.is_empty(),
        "leave the database out of --uri: the benchmark makes and drops its own"
    );
    format!("{scheme}://{hosts}/{database}?{options}")
}

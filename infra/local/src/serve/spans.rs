//! Spans on their way to a collector: on a thread of their own, so that nobody waits for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use shared::adapters::otlp::Otlp;
use shared::config;
use shared::metrics::Reading;
use shared::metrics::registry::SPANS;
use shared::trace::Span;
use tokio::runtime::Builder;

use crate::error::Failure;

/// How many batches may wait for the collector; what comes after is dropped, and counted.
const WAITING_MAX: usize = 256;

/// The thread, and what became of spans since anybody asked.
#[derive(Debug)]
pub(crate) struct Spans {
    thread: Mutex<Option<Thread>>,
    counts: Arc<Counts>,
}

/// Where batches are left, and who takes them.
type Thread = (SyncSender<Vec<Span>>, JoinHandle<()>);

#[derive(Debug, Default)]
struct Counts {
    exported: AtomicU64,
    failed: AtomicU64,
}

impl Spans {
    /// Starts the thread.
    pub(crate) fn new(config: &config::Otlp) -> Result<Self, Failure> {
        let otlp = Otlp::new(config, "foldback")?;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|source| Failure::File {
            what: "start the export of traces".to_owned(),
            source,
        })?;
        let (sender, batches) = sync_channel(WAITING_MAX);
        let counts = Arc::new(Counts::default());
        let counted = Arc::clone(&counts);
        let thread = thread::spawn(move || {
            runtime.block_on(async { export_all(&otlp, &batches, &counted).await });
        });
        Ok(Self {
            thread: Mutex::new(Some((sender, thread))),
            counts,
        })
    }

    /// Lets spans go; says how many had to be dropped.
    pub(crate) fn send(&self, spans: Vec<Span>) -> Vec<Reading> {
        let count = spans.len() as u64;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = spans.is_empty()
            || thread
                .as_ref()
                .is_some_and(|(sender, _)| sender.try_send(spans).is_ok());
        let dropped = if sent { 0 } else { count };
        vec![SPANS.is(dropped, &["dropped"])]
    }

    /// What became of spans since the last time.
    pub(crate) fn told(&self) -> Vec<Reading> {
        let Counts { exported, failed } = &*self.counts;
        vec![
            SPANS.is(exported.swap(0, Ordering::Relaxed), &["exported"]),
            SPANS.is(failed.swap(0, Ordering::Relaxed), &["failed"]),
        ]
    }

    /// Waits until those that wait are sent, and ends.
    pub(crate) fn close(&self) {
        let taken = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some((sender, thread)) = taken {
            drop(sender);
            if thread.join().is_err() {
                anstream::eprintln!("the thread that exports traces died: a fault of foldback");
            }
        }
    }
}

/// Exports until nobody sends any more. Why it fails is told once, until it goes well again.
async fn export_all(otlp: &Otlp, batches: &Receiver<Vec<Span>>, counts: &Counts) {
    let mut told = false;
    for batch in batches {
        let count = batch.len() as u64;
        let failed = match otlp.export(batch).await {
            Ok(()) => {
                told = false;
                0
            }
            Err((failed, error)) => {
                if !told {
                    anstream::eprintln!("traces are lost: {}", error.chain());
                }
                told = true;
                failed
            }
        };
        counts.exported.fetch_add(count - failed, Ordering::Relaxed);
        counts.failed.fetch_add(failed, Ordering::Relaxed);
    }
}

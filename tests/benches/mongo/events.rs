//! The events to measure with.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shared::adapters::SystemClock;
use shared::model::Entry;
use shared::ports::Clock;
use shared::service;
use shared::settings::{Format, Settings};

/// Events in order, each once, and what they mean.
pub(crate) struct Events {
    /// Where they are from.
    pub(crate) name: String,
    pub(crate) entries: Vec<Arc<Entry>>,
    pub(crate) settings: Settings,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

impl Events {
    /// The BPI Challenge 2012 log, where it lies beside the project, else the shipped sample.
    pub(crate) fn load() -> Self {
        let log = root().join("../shared/data/bpic2012.cloudevents.jsonl.gz");
        if log.exists() {
            let settings = root().join("tests/fixtures/bpic2012.toml");
            return Self::read("the BPI Challenge 2012 log", &log, &settings);
        }
        let sample = root().join("infra/local/sample");
        Self::read(
            "the shipped sample (the BPI 2012 log is not beside the project)",
            &sample.join("events.jsonl.gz"),
            &sample.join("settings.toml"),
        )
    }

    fn read(name: &str, events: &Path, settings: &Path) -> Self {
        let settings = std::fs::read_to_string(settings).expect("a settings file");
        let settings = Settings::compile(&settings, Format::Toml, 1).expect("settings");
        let mut text = String::new();
        let packed = File::open(events).expect("a file of events");
        flate2::read::MultiGzDecoder::new(packed)
            .read_to_string(&mut text)
            .expect("gzip of UTF-8");
        let now = SystemClock.now();
        let accept = |line: &str| service::accept(&settings, None, line.as_bytes(), now).ok();
        let mut entries: Vec<Arc<Entry>> = text.lines().filter_map(accept).map(Arc::new).collect();
        entries.sort_by(|a, b| a.event.cmp_order(&b.event));
        entries.dedup_by(|a, b| (&a.group, a.hash) == (&b.group, b.hash));
        Self {
            name: format!("{} events of {name}", entries.len()),
            entries,
            settings,
        }
    }
}

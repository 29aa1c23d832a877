//! The machine: what a process has used of it, and how fast it is just now.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::number::float;
use crate::error::Failure;
use crate::stopwatch::Stopwatch;

/// A tick of the times that Linux gives of a process.
const TICK_MS: u64 = 10;
/// How long the calibration loop takes.
const CALIBRATION: Duration = Duration::from_millis(300);
/// Events between two syncs of the calibration loop.
const CALIBRATION_BATCH: usize = 256;
/// What it reads: an event as senders write it.
const CALIBRATION_EVENT: &str = r#"{"specversion":"1.0","id":"evt_00000000000000a7","source":"//acme.crm.example","type":"crm.meeting.booked.v1","subject":"leads/lead-1001","time":"2026-01-05T08:14:02.113Z","tenant":"acme","partitionkey":"lead-1001","datacontenttype":"application/json","data":{"lead":{"id":"lead-1001"},"meeting":{"id":"meeting-1001-1","kind":"demo","starts":"2026-01-07T09:30Z","host":"ada"}}}"#;

/// What a process has used; zero where the system does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// Processor time of all its threads.
    pub(crate) cpu_ms: u64,
    /// The most memory that it has held.
    pub(crate) peak_kib: u64,
    /// Bytes that it caused to be sent to the disk.
    pub(crate) written: u64,
}

impl Usage {
    /// This process's.
    pub(crate) fn own() -> Self {
        Self::of("self")
    }

    /// A process's, by its number.
    pub(crate) fn of(process: &str) -> Self {
        let read = |file: &str| {
            fs::read_to_string(Path::new("/proc").join(process).join(file)).unwrap_or_default()
        };
        let number = |text: &str, name: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let word = line.and_then(|line| line.split_whitespace().next());
            word.and_then(|word| word.parse().ok()).unwrap_or_default()
        };
        let stat = read("stat");
        // The name, in brackets, may hold spaces.
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .map_or("", |(_, rest)| rest)
            .split_whitespace()
            .collect();
        let ticks = |at: usize| -> u64 {
            fields
                .get(at)
                .and_then(|ticks| ticks.parse().ok())
                .unwrap_or_default()
        };
        Self {
            cpu_ms: (ticks(11) + ticks(12)) * TICK_MS,
            peak_kib: number(&read("status"), "VmHWM:"),
            written: number(&read("io"), "write_bytes:"),
        }
    }

    /// Adds what another process has used, one after the other.
    pub(crate) fn add(&mut self, other: Self) {
        self.cpu_ms += other.cpu_ms;
        self.peak_kib = self.peak_kib.max(other.peak_kib);
        self.written += other.written;
    }
}

/// What is measured on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) processor: String,
    pub(crate) memory_mib: u64,
}

impl Machine {
    pub(crate) fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let processor = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .and_then(|line| line.split_once(": "))
            .map(|(_, name)| name.to_owned());
        let memory = read("/proc/meminfo")
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))
            .and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: processor.unwrap_or_default(),
            memory_mib: memory.unwrap_or_default() / 1_024,
        }
    }
}

/// How many events a second a loop takes that reads each as JSON and syncs what it read to a file every
/// 256 events: what the main job does least. Machines differ, and one machine from hour to hour; ratios to
/// this loop, run right beside, travel better.
pub(crate) fn calibrate(directory: &Path) -> Result<f64, Failure> {
    let path = directory.join("calibration");
    let failed = |source| Failure::File {
        what: format!("write {}", path.display()),
        source,
    };
    let mut file = File::create(&path).map_err(failed)?;
    let started = Stopwatch::start();
    let mut events = 0_u64;
    while started.elapsed() < CALIBRATION {
        let mut batch = Vec::new();
        for _ in 0..CALIBRATION_BATCH {
            let read: serde_json::Value =
                serde_json::from_str(CALIBRATION_EVENT).unwrap_or_default();
            batch.extend_from_slice(read.to_string().as_bytes());
            events += 1;
        }
        file.write_all(&batch)
            .and_then(|()| file.sync_data())
            .map_err(failed)?;
    }
    let rate = float(events) / started.elapsed().as_secs_f64();
    drop(fs::remove_file(&path));
    Ok(rate)
}

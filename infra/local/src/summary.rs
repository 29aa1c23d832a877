use std::io::Write;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount};
use shared::handlers::Table;
use shared::ports::Depth;

use crate::error::Failure;
use crate::pipeline::Totals;
use crate::verdict::Verdict;

/// What a run came to, for a person to read.
pub(crate) struct Summary<'a> {
    pub(crate) totals: &'a Totals,
    pub(crate) elapsed: Duration,
    pub(crate) verdict: Option<&'a Verdict>,
    pub(crate) depth: Depth,
    pub(crate) rows: &'a [(Table, u64)],
}

impl Summary<'_> {
    pub(crate) fn print(&self) -> Result<(), Failure> {
        let mut out = anstream::stdout().lock();
        for (name, value) in self.lines() {
            if name.is_empty() {
                writeln!(out, "              {value}")?;
            } else {
                writeln!(out, "{name:<12}  {value}")?;
            }
        }
        out.flush()?;
        Ok(())
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        let totals = self.totals;
        let done = &totals.processed;
        let rejected: u64 = totals.rejects.values().sum();
        let mut lines = vec![
            (
                "events",
                format!(
                    "{} read: {} new, {} duplicates, {} rejected",
                    HumanCount(totals.read),
                    HumanCount(totals.accepted),
                    HumanCount(totals.duplicates),
                    HumanCount(rejected),
                ),
            ),
            (
                "processed",
                format!(
                    "{} applied by {} actions, {} unmapped, {} held already",
                    HumanCount(done.events),
                    HumanCount(done.actions),
                    HumanCount(done.unmapped),
                    HumanCount(done.held),
                ),
            ),
            ("late", self.late()),
            (
                "errors",
                format!(
                    "{} parked in the dead-letter queue, {} writes lost a race and were made again",
                    HumanCount(totals.parked),
                    HumanCount(done.conflicts),
                ),
            ),
        ];
        lines.extend(self.faults());
        let rows = self.rows.iter().map(|(table, count)| {
            format!("{:<24} {:>9}", table.name(), HumanCount(*count).to_string())
        });
        for (place, row) in rows.enumerate() {
            lines.push((if place == 0 { "rows" } else { "" }, row));
        }
        lines.push(("speed", self.speed()));
        lines.push(("latency", self.latency()));
        if let Some(kib) = peak_memory_kib() {
            lines.push(("memory", format!("{} at its peak", HumanBytes(kib * 1_024))));
        }
        let Depth {
            visible,
            in_flight,
            dead,
        } = self.depth;
        if visible + in_flight + dead > 0 {
            lines.push((
                "queue",
                format!("{visible} waiting, {in_flight} in flight, {dead} dead"),
            ));
        }
        lines.push(match self.verdict {
            Some(verdict) => ("verdict", verdict.in_words()),
            None => (
                "verdict",
                "not asked for; `foldback replay` gives one".to_owned(),
            ),
        });
        lines
    }

    fn late(&self) -> String {
        let totals = self.totals;
        if totals.late == 0 {
            return "0 events".to_owned();
        }
        format!(
            "{} events, by up to {}; {} rows refolded",
            HumanCount(totals.late),
            lateness(totals.late_ms_max),
            HumanCount(totals.processed.refolded),
        )
    }

    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        let totals = self.totals;
        for (place, (reason, count)) in totals.rejects.iter().enumerate() {
            let name = if place == 0 { "rejected" } else { "" };
            lines.push((name, format!("{count:>5} {}", reason.label())));
        }
        for reject in &totals.first_rejects {
            lines.push((
                "",
                format!("{}:{}: {}", reject.input, reject.line, reject.detail),
            ));
        }
        let rejected: u64 = totals.rejects.values().sum();
        if rejected > totals.first_rejects.len() as u64 {
            lines.push(("", "… `foldback rejects` lists all of them".to_owned()));
        }
        for (place, (event, why)) in totals.first_parked.iter().enumerate() {
            let name = if place == 0 { "parked" } else { "" };
            lines.push((name, format!("event {event}: {why}")));
        }
        lines
    }

    fn speed(&self) -> String {
        let ms = self.elapsed.as_millis().max(1);
        let rate = u128::from(self.totals.read) * 1_000 / ms;
        format!(
            "{} events/s: {:.2?} in {} durable commits",
            HumanCount(u64::try_from(rate).unwrap_or(u64::MAX)),
            self.elapsed,
            HumanCount(self.totals.commits),
        )
    }

    fn latency(&self) -> String {
        let at = |quantile: f64| {
            let us = self.totals.latency_us.value_at_quantile(quantile);
            format!("{:.1?}", Duration::from_micros(us))
        };
        if self.totals.latency_us.is_empty() {
            return "no event was processed".to_owned();
        }
        format!(
            "p50 {}, p90 {}, p99 {}, max {}, from reading to durable rows",
            at(0.5),
            at(0.9),
            at(0.99),
            at(1.0)
        )
    }
}

/// The most memory this process has held, where the system tells (Linux: `VmHWM`).
fn peak_memory_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// A lateness in the two largest units that fit.
pub(crate) fn lateness(ms: i64) -> String {
    let seconds = ms / 1_000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) if seconds < 1 => format!("{ms} ms"),
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

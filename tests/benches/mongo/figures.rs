//! What was measured.

use std::time::Duration;

/// Fewer than so many calls have no 99th percentile worth printing.
const PERCENTILE_CALLS_MIN: usize = 100;
/// A tick of the times that Linux gives of a process.
const TICK: Duration = Duration::from_millis(10);

/// One call of the process step, or one event handled by hand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) elapsed: Duration,
    pub(crate) requests: u64,
    pub(crate) events: usize,
    pub(crate) rows: u64,
}

/// What one pass over some events came to.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) calls: Vec<Call>,
    /// Time spent reading rows, where that is told apart.
    pub(crate) reading: Duration,
    /// Time spent writing rows, likewise.
    pub(crate) writing: Duration,
    /// This process's own work, where the system says it.
    cpu: Option<Duration>,
}

impl Figures {
    /// Adds the work since a moment.
    pub(crate) fn add_cpu(&mut self, since: Option<Duration>) {
        if let (Some(since), Some(now)) = (since, cpu_time()) {
            self.cpu = Some(self.cpu.unwrap_or_default() + now.saturating_sub(since));
        }
    }

    pub(crate) fn events(&self) -> usize {
        self.calls.iter().map(|call| call.events).sum()
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.calls.iter().map(|call| call.elapsed).sum()
    }

    fn rate(&self) -> f64 {
        float(self.events()) / self.elapsed().as_secs_f64()
    }
}

/// All passes of one kind.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) name: String,
    /// Whether it is the product's way, over events that come in order.
    pub(crate) in_order: bool,
    pub(crate) runs: Vec<Figures>,
}

impl Measured {
    pub(crate) fn new(name: &str, in_order: bool) -> Self {
        Self {
            name: name.to_owned(),
            in_order,
            runs: Vec::new(),
        }
    }

    pub(crate) fn calls(&self) -> impl Iterator<Item = &Call> {
        self.runs.iter().flat_map(|run| &run.calls)
    }

    /// Events a second: slowest run, median, fastest.
    pub(crate) fn rates(&self) -> (f64, f64, f64) {
        let mut rates: Vec<f64> = self.runs.iter().map(Figures::rate).collect();
        rates.sort_by(f64::total_cmp);
        let at = |place: usize| rates.get(place).copied().unwrap_or_default();
        (
            at(0),
            at(rates.len() / 2),
            at(rates.len().saturating_sub(1)),
        )
    }

    /// Milliseconds a call, of all runs together: half of them take no longer, 99 of 100 take no longer
    /// (where there are enough), none takes longer.
    pub(crate) fn latencies_ms(&self) -> (f64, Option<f64>, f64) {
        let mut sorted: Vec<Duration> = self.calls().map(|call| call.elapsed).collect();
        sorted.sort_unstable();
        let count = sorted.len();
        let at = |place: usize| {
            let elapsed = sorted.get(place).copied().unwrap_or_default();
            elapsed.as_secs_f64() * 1_000.0
        };
        let rank = |percent: usize| (count * percent).div_ceil(100).saturating_sub(1);
        let p99 = (count >= PERCENTILE_CALLS_MIN).then(|| at(rank(99)));
        (at(rank(50)), p99, at(count.saturating_sub(1)))
    }

    /// Requests of each call, sorted.
    pub(crate) fn requests(&self) -> Vec<u64> {
        let mut sorted: Vec<u64> = self.calls().map(|call| call.requests).collect();
        sorted.sort_unstable();
        sorted
    }

    /// Of the time of all runs, the shares of reading and writing, and of this process's own work.
    pub(crate) fn shares(&self) -> (f64, f64, Option<f64>) {
        let sum = |of: fn(&Figures) -> Duration| -> f64 {
            self.runs.iter().map(|run| of(run).as_secs_f64()).sum()
        };
        let elapsed = sum(Figures::elapsed);
        let cpu: Option<Duration> = self.runs.iter().map(|run| run.cpu).sum();
        (
            sum(|run| run.reading) / elapsed,
            sum(|run| run.writing) / elapsed,
            cpu.map(|cpu| cpu.as_secs_f64() / elapsed),
        )
    }
}

/// Counts here are far below what a float holds exactly.
pub(crate) fn float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

/// The processor time that this process has used, all its threads together; Linux says it.
pub(crate) fn cpu_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name, in parentheses, may hold spaces; fields 14 and 15 are user and system time.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(11);
    let user: u32 = ticks.next()?.parse().ok()?;
    let system: u32 = ticks.next()?.parse().ok()?;
    Some(TICK * (user + system))
}

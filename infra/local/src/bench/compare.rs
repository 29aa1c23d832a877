//! Two results side by side: is one worse?

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::number::{float, median, short};
use super::outcome::{Outcome, Point, Results};
use super::rank::mann_whitney;
use super::scenario::{SHIPPED, read};
use crate::cli::table;
use crate::error::{Failure, Status};

/// The word for the baselines that ship with the binary.
const KEPT: &str = "kept";
/// Differences that would come about by chance more often than this are none.
const CHANCE_MAX: f64 = 0.05;

/// Compare two results, or a result with a baseline.
///
/// Figures are ratios to the calibration loop that ran right beside, so that machines may differ. Of each
/// scenario and figure all load levels and runs are tested together (Mann and Whitney). Ends with status 1
/// where a figure is worse by more than the tolerance and not by chance.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// Results or a baseline: how it was. `kept` for the baselines of the shipped scenarios, as they were when this
    /// version was made.
    before: PathBuf,
    /// Results: how it is.
    after: PathBuf,
    /// By how many percent a figure may be worse.
    #[arg(long, value_name = "PERCENT", default_value_t = 10.0)]
    tolerance: f64,
}

/// Keep the figures that `compare` needs, as ratios, and nothing else.
#[derive(Debug, Args)]
pub(crate) struct BaselineArgs {
    /// Results.
    results: PathBuf,
}

/// Figures by scenario, then by figure, then by load level: a value a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Baseline {
    scenarios: BTreeMap<String, BTreeMap<String, BTreeMap<String, Vec<f64>>>>,
}

/// A figure that is compared.
struct Figure {
    name: &'static str,
    more_is_better: bool,
    of: fn(&Point) -> f64,
}

const FIGURES: [Figure; 5] = [
    Figure {
        name: "throughput",
        more_is_better: true,
        of: |point| point.throughput / point.calibration,
    },
    Figure {
        name: "latency p50",
        more_is_better: false,
        of: |point| point.latency.p50 * point.calibration,
    },
    Figure {
        name: "latency p99",
        more_is_better: false,
        of: |point| point.latency.p99 * point.calibration,
    },
    Figure {
        name: "processor time an event",
        more_is_better: false,
        of: |point| float(point.usage.cpu_ms) / float(point.done.max(1)) * point.calibration,
    },
    Figure {
        name: "bytes written an event",
        more_is_better: false,
        of: |point| float(point.usage.written) / float(point.done.max(1)),
    },
];

/// How a figure has changed.
#[derive(Debug, Clone, PartialEq)]
struct Change {
    scenario: String,
    figure: &'static str,
    /// Above 1 it is better, whichever way that is.
    better: f64,
    chance: f64,
    values: (usize, usize),
}

impl Baseline {
    pub(crate) fn of(results: &Results) -> Self {
        let mut baseline = Self::default();
        for outcome in &results.outcomes {
            let figures = baseline.scenarios.entry(outcome.key()).or_default();
            take(outcome, figures);
        }
        baseline
    }

    /// Those of the shipped scenarios.
    fn kept() -> Result<Self, Failure> {
        let mut kept = Self::default();
        for shipped in SHIPPED {
            let one: Self = serde_json::from_str(shipped.baseline).map_err(|error| {
                Failure::Input(format!("the kept baseline of {}: {error}", shipped.name))
            })?;
            kept.scenarios.extend(one.scenarios);
        }
        Ok(kept)
    }

    fn read(path: &Path) -> Result<Self, Failure> {
        if path == Path::new(KEPT) {
            return Self::kept();
        }
        let text = read(path)?;
        if let Ok(baseline) = serde_json::from_str(&text) {
            return Ok(baseline);
        }
        results(path).map(|results| Self::of(&results))
    }

    /// All changes from this to another.
    fn changes(&self, after: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (scenario, figures) in &self.scenarios {
            for figure in &FIGURES {
                let of = |all: &Self| all.scenarios.get(scenario)?.get(figure.name).cloned();
                let before = figures.get(figure.name);
                if let (Some(before), Some(after)) = (before, of(after)) {
                    changes.extend(change(scenario, figure, before, &after));
                }
            }
        }
        changes
    }
}

fn take(outcome: &Outcome, figures: &mut BTreeMap<String, BTreeMap<String, Vec<f64>>>) {
    // A share of the best is another rate each time.
    let same = outcome.points.iter().filter(|point| point.share.is_none());
    for point in same {
        for figure in &FIGURES {
            let levels = figures.entry(figure.name.to_owned()).or_default();
            let values = levels.entry(point.key()).or_default();
            values.push((figure.of)(point));
        }
    }
}

/// Results from a file.
pub(crate) fn results(path: &Path) -> Result<Results, Failure> {
    serde_json::from_str(&read(path)?).map_err(|error| {
        Failure::Input(format!(
            "{} are no results of `foldback bench`: {error}",
            path.display()
        ))
    })
}

/// Levels differ by orders of magnitude: each is divided by its own median, then all are tested together.
fn change(
    scenario: &str,
    figure: &Figure,
    before: &BTreeMap<String, Vec<f64>>,
    after: &BTreeMap<String, Vec<f64>>,
) -> Option<Change> {
    let (mut all_before, mut all_after, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for (level, before) in before {
        let Some(after) = after.get(level) else {
            continue;
        };
        let middle = f64::midpoint(median(before), median(after));
        if middle <= 0.0 {
            continue;
        }
        ratios.push((median(after) / median(before)).ln());
        all_before.extend(before.iter().map(|value| value / middle));
        all_after.extend(after.iter().map(|value| value / middle));
    }
    let count = float(ratios.len() as u64);
    if ratios.is_empty() {
        return None;
    }
    let ratio = (ratios.iter().sum::<f64>() / count).exp();
    Some(Change {
        scenario: scenario.to_owned(),
        figure: figure.name,
        better: if figure.more_is_better {
            ratio
        } else {
            1.0 / ratio
        },
        chance: mann_whitney(&all_before, &all_after),
        values: (all_before.len(), all_after.len()),
    })
}

impl Change {
    fn word(&self, tolerance: f64) -> &'static str {
        let told_apart = self.chance < CHANCE_MAX;
        if told_apart && self.better < 1.0 - tolerance / 100.0 {
            "worse"
        } else if told_apart && self.better > 1.0 {
            "better"
        } else if told_apart {
            "worse, within the tolerance"
        } else {
            "no difference"
        }
    }
}

pub(crate) fn run(args: &CompareArgs) -> Result<Status, Failure> {
    let before = Baseline::read(&args.before)?;
    let after = Baseline::read(&args.after)?;
    let changes = before.changes(&after);
    if changes.is_empty() {
        return Err(Failure::Input(
            "the two have no scenario and load level in common".to_owned(),
        ));
    }
    let mut listed = table(&["scenario", "figure", "before : after", "p", "values", ""]);
    let mut worse = false;
    for change in &changes {
        let word = change.word(args.tolerance);
        worse |= word == "worse";
        let (one, other) = change.values;
        listed.add_row([
            change.scenario.clone(),
            change.figure.to_owned(),
            format!("1 : {} as good", short(change.better)),
            format!("{:.4}", change.chance),
            format!("{one}, {other}"),
            word.to_owned(),
        ]);
    }
    writeln!(anstream::stdout().lock(), "{listed}")?;
    Ok(if worse {
        Status::Findings
    } else {
        Status::Clean
    })
}

/// Prints the baseline of results.
pub(crate) fn baseline(args: &BaselineArgs) -> Result<Status, Failure> {
    let baseline = Baseline::of(&results(&args.results)?);
    let text = serde_json::to_string_pretty(&baseline).unwrap_or_default();
    writeln!(anstream::stdout().lock(), "{text}")?;
    Ok(Status::Clean)
}

/// Writes a file.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|source| Failure::File {
        what: format!("write {}", path.display()),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::number::thousands;
    use crate::bench::scenario::Scenario;

    /// Each shipped scenario has a baseline of its own loads, in which no figure is missing.
    #[test]
    fn every_shipped_scenario_has_its_baseline() {
        let kept = Baseline::kept().expect("baselines");
        assert_eq!(kept.scenarios.len(), SHIPPED.len());
        for shipped in SHIPPED {
            let scenario = Scenario::find(shipped.name).expect("a scenario");
            let figures = kept.scenarios.get(shipped.name).expect(shipped.name);
            for figure in &FIGURES {
                let levels = figures.get(figure.name).expect(figure.name);
                let mut known: Vec<String> = levels.keys().cloned().collect();
                let in_flight = scenario.load.in_flight.iter();
                let mut expected: Vec<String> = in_flight
                    .map(|count| format!("{} in flight", thousands(float(*count))))
                    .collect();
                known.retain(|level| level.ends_with("in flight"));
                known.sort();
                expected.sort();
                assert_eq!(known, expected, "{}: {}", shipped.name, figure.name);
                for (level, values) in levels {
                    let good = values
                        .iter()
                        .all(|value| value.is_finite() && *value >= 0.0);
                    let name = shipped.name;
                    assert!(
                        values.len() >= scenario.load.runs && good,
                        "{name}: {level}: {values:?}"
                    );
                }
            }
        }
    }

    fn levels(values: &[(&str, &[f64])]) -> BTreeMap<String, Vec<f64>> {
        values
            .iter()
            .map(|(level, values)| ((*level).to_owned(), values.to_vec()))
            .collect()
    }

    fn check(after: &[(&str, &[f64])], expect: &str) {
        let before = levels(&[
            ("1", &[1.0, 1.02, 0.98]),
            ("16", &[10.0, 10.3, 9.9]),
            ("256", &[50.0, 51.0, 49.0]),
        ]);
        let [throughput, ..] = &FIGURES;
        let change = change("base", throughput, &before, &levels(after)).expect("a change");
        assert_eq!(change.word(10.0), expect, "{change:?}");
    }

    #[test]
    fn a_regression_is_told_from_chance() {
        let same: &[f64] = &[1.01, 0.99, 1.03];
        check(
            &[
                ("1", same),
                ("16", &[10.1, 9.8, 10.2]),
                ("256", &[50.5, 49.5, 50.2]),
            ],
            "no difference",
        );
        check(
            &[
                ("1", &[0.8, 0.82, 0.79]),
                ("16", &[8.1, 8.0, 7.9]),
                ("256", &[40.0, 41.0, 39.0]),
            ],
            "worse",
        );
        check(
            &[
                ("1", &[0.95, 0.95, 0.96]),
                ("16", &[9.5, 9.6, 9.4]),
                ("256", &[47.0, 48.0, 47.5]),
            ],
            "worse, within the tolerance",
        );
        check(
            &[
                ("1", &[1.5, 1.6, 1.4]),
                ("16", &[15.0, 16.0, 14.0]),
                ("256", &[70.0, 75.0, 72.0]),
            ],
            "better",
        );
        check(&[("1", &[0.5])], "no difference");
    }
}

//! Makes a failing plan small, and tells it as a story.

use std::fmt::Write as _;

use crate::plan::{How, Plan};
use crate::run::{RESTLESS, Ran, run};
use crate::storm::Faults;

/// The most runs that are spent on it.
const RUNS_MAX: u32 = 3_000;

/// A seed that fails.
#[derive(Debug)]
pub struct Found {
    /// Why.
    pub failure: String,
    /// What is left of it: how it came about, a line a step.
    pub story: String,
}

/// Runs a seed again, leaves out all that it fails without, and tells the rest; `None` where it does not
/// fail.
#[must_use]
pub fn explain(seed: u64) -> Option<Found> {
    shrunk(&Plan::of(seed)).map(|plan| told(&plan))
}

/// What is left of a plan that fails, without all that it fails without.
fn shrunk(plan: &Plan) -> Option<Plan> {
    let whole = run(plan, false);
    let restless = whole.failure.as_ref()?.contains(RESTLESS);
    let given = Plan {
        faults: Faults::Given(whole.fired),
        ..plan.clone()
    };
    let plan = if run(&given, false).failure.is_some() {
        given
    } else {
        plan.clone()
    };
    let shrinking = Shrinking {
        plan,
        restless,
        runs: 0,
    };
    Some(shrinking.shrink())
}

fn told(plan: &Plan) -> Found {
    let ran = run(plan, true);
    Found {
        failure: ran.failure.clone().unwrap_or_default(),
        story: story(plan, &ran),
    }
}

struct Shrinking {
    plan: Plan,
    /// Whether it is that it never comes to rest that is to be shown.
    restless: bool,
    runs: u32,
}

impl Shrinking {
    /// Leaves parts out as long as it fails without them.
    fn shrink(mut self) -> Plan {
        loop {
            let before = self.runs;
            let mut smaller = self.leave_out(
                |plan| plan.deliveries.len(),
                |plan, kept| keep(&mut plan.deliveries, kept),
            );
            smaller |= self.leave_out(
                |plan| plan.chores.len(),
                |plan, kept| keep(&mut plan.chores, kept),
            );
            smaller |= self.leave_out(
                |plan| plan.workers.len(),
                |plan, kept| keep(&mut plan.workers, kept),
            );
            smaller |= self.leave_out(faults, |plan, kept| {
                if let Faults::Given(given) = &mut plan.faults {
                    let mut place = 0;
                    given.retain(|_, _| {
                        place += 1;
                        kept(place - 1)
                    });
                }
            });
            smaller |= self.leave_out(tellings, |plan, kept| {
                let mut place = 0;
                for delivery in &mut plan.deliveries {
                    delivery.told.retain(|_| {
                        place += 1;
                        kept(place - 1)
                    });
                }
            });
            smaller |= self.leave_out(fields, |plan, kept| {
                let mut place = 0;
                for told in &mut plan.told {
                    told.fields.retain(|_| {
                        place += 1;
                        kept(place - 1)
                    });
                }
            });
            smaller |= self.simplify();
            if !smaller || self.runs >= RUNS_MAX || self.runs == before {
                return self.plan;
            }
        }
    }

    /// Tries without halves, quarters … and single ones of some parts.
    fn leave_out(
        &mut self,
        count: impl Fn(&Plan) -> usize,
        apply: impl Fn(&mut Plan, &dyn Fn(usize) -> bool),
    ) -> bool {
        let mut smaller = false;
        let mut size = count(&self.plan);
        while size > 0 {
            let mut from = 0;
            while from < count(&self.plan) {
                let mut plan = self.plan.clone();
                apply(&mut plan, &|place| !(from..from + size).contains(&place));
                if self.fails(&plan) {
                    self.plan = plan;
                    smaller = true;
                } else {
                    from += size;
                }
                if self.runs >= RUNS_MAX {
                    return smaller;
                }
            }
            size /= 2;
        }
        smaller
    }

    /// Tries with plainer settings, workers and clocks.
    fn simplify(&mut self) -> bool {
        let mut smaller = false;
        let together = |plan: &mut Plan| {
            plan.workers
                .iter_mut()
                .for_each(|one| one.how = How::Together);
        };
        let changes: [fn(&mut Plan); 9] = [
            together,
            |plan| plan.outage = None,
            |plan| plan.skew_ms = 0,
            |plan| plan.pace_ms = 1,
            |plan| plan.rules[0].locked = [false; 4],
            |plan| plan.rules[0].atomic = false,
            |plan| plan.rules[0].visits = true,
            |plan| plan.workers.iter_mut().for_each(|one| one.batch = 1),
            |plan| plan.told.iter_mut().for_each(|one| one.below = 0),
        ];
        for change in changes {
            let mut plan = self.plan.clone();
            change(&mut plan);
            let same = format!("{plan:?}") == format!("{:?}", self.plan);
            if !same && self.fails(&plan) {
                self.plan = plan;
                smaller = true;
            }
        }
        smaller
    }

    fn fails(&mut self, plan: &Plan) -> bool {
        self.runs += 1;
        // Without a worker nothing ends, which is another failure.
        let restless = |failure: &String| failure.contains(RESTLESS);
        let failure = run(plan, false).failure;
        failure.is_some_and(|failure| self.restless || !restless(&failure))
    }
}

fn keep<T>(all: &mut Vec<T>, kept: &dyn Fn(usize) -> bool) {
    let mut place = 0;
    all.retain(|_| {
        place += 1;
        kept(place - 1)
    });
}

fn faults(plan: &Plan) -> usize {
    match &plan.faults {
        Faults::Given(given) => given.len(),
        Faults::Drawn { .. } => 0,
    }
}

fn tellings(plan: &Plan) -> usize {
    plan.deliveries.iter().map(|one| one.told.len()).sum()
}

fn fields(plan: &Plan) -> usize {
    plan.told.iter().map(|one| one.fields.len()).sum()
}

fn story(plan: &Plan, ran: &Ran) -> String {
    let mut text = String::new();
    let mut line = |what: String| {
        let _written: std::fmt::Result = writeln!(text, "{what}");
    };
    line(format!("seed {}", plan.seed));
    line(format!("settings: {}", plan.rules[0].story()));
    for worker in &plan.workers {
        let (task, batch) = (worker.task % 1_000, worker.batch);
        line(format!(
            "worker {task}: {:?}, {batch} messages at once",
            worker.how
        ));
    }
    let strict = if plan.is_strict() {
        "the rows must be right without a replay"
    } else {
        "the rows must be right after a replay that mends"
    };
    line(strict.to_owned());
    ran.story.iter().for_each(|one| line(one.clone()));
    line(format!(
        "wrong: {}",
        ran.failure.clone().unwrap_or_default()
    ));
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::chance::mix;
    use crate::gate::Call;
    use crate::storm::Fault;

    /// Among so many seeds some fail, and so many of them are looked at.
    const SEEDS: u64 = 600;
    const FAILING: usize = 4;

    /// The plan of a seed over a queue that says now and then that it has what it was sent, and has not: what no
    /// queue may do, and no sender can mend.
    fn forgetful(seed: u64) -> Plan {
        let lost = &[Call::Send];
        let faults = Faults::Drawn {
            seed: mix(&[seed, 2]),
            permille: 120,
            lost,
        };
        Plan {
            faults,
            ..Plan::of(seed)
        }
    }

    fn given(plan: &Plan) -> BTreeMap<(u32, u64), Fault> {
        match &plan.faults {
            Faults::Given(given) => given.clone(),
            Faults::Drawn { .. } => panic!("what goes wrong is named call by call"),
        }
    }

    /// Every plan with a delivery, a telling or a fault less, and what it lacks.
    fn lesser(plan: &Plan) -> Vec<(String, Plan)> {
        let mut all = Vec::new();
        for (place, delivery) in plan.deliveries.iter().enumerate() {
            let mut less = plan.clone();
            less.deliveries.remove(place);
            all.push((format!("delivery {place}"), less));
            for telling in 0..delivery.told.len() {
                let mut less = plan.clone();
                less.deliveries[place].told.remove(telling);
                all.push((format!("telling {telling} of delivery {place}"), less));
            }
        }
        for place in given(plan).keys() {
            let mut fewer = given(plan);
            fewer.remove(place);
            let faults = Faults::Given(fewer);
            let less = Plan {
                faults,
                ..plan.clone()
            };
            all.push((format!("the fault of {place:?}"), less));
        }
        all
    }

    fn check(seed: u64) {
        let plan = forgetful(seed);
        let whole = run(&plan, true);
        let small = shrunk(&plan).expect("it fails");
        // What is told is why the small one fails.
        let found = told(&small);
        assert_ne!(found.failure, "", "seed {seed}");
        assert_eq!(
            run(&small, false).failure.as_ref(),
            Some(&found.failure),
            "seed {seed}"
        );
        let end = format!("wrong: {}\n", found.failure);
        assert!(found.story.ends_with(&end), "{}", found.story);
        let lost = "believes that Send was done, and it was not";
        assert!(found.story.contains(lost), "{}", found.story);
        // It is small.
        let faults = given(&small);
        assert!(faults.len() < whole.fired.len(), "seed {seed}: {faults:?}");
        assert!(
            small.deliveries.len() < plan.deliveries.len(),
            "seed {seed}"
        );
        assert!(
            found.story.lines().count() < whole.story.len(),
            "{}",
            found.story
        );
        assert!(faults.values().any(|fault| *fault == Fault::Lost));
        let mut shrinking = Shrinking {
            plan: small.clone(),
            restless: false,
            runs: 0,
        };
        for (what, less) in lesser(&small) {
            let fails = shrinking.fails(&less);
            assert!(!fails, "seed {seed} fails without {what}:\n{}", found.story);
        }
        // And it is the same each time.
        let again = told(&shrunk(&plan).expect("it fails"));
        assert_eq!(again.story, found.story, "seed {seed}");
    }

    #[test]
    fn what_fails_is_made_small_and_told() {
        let fails = |seed: &u64| run(&forgetful(*seed), false).failure.is_some();
        let failing: Vec<u64> = (0..SEEDS).filter(fails).take(FAILING).collect();
        assert_eq!(failing.len(), FAILING, "{failing:?}");
        failing.into_iter().for_each(check);
    }

    #[test]
    fn what_goes_well_has_no_story() {
        assert!(explain(0).is_none());
    }
}

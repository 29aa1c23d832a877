use std::io::Write;

use clap::Args;
use serde_json::{Map, Value};
use shared::model::{IndexCheck, QueryPlan};
use shared::ports::Indexes;

use crate::cli::{Data, table};
use crate::error::{Failure, Status};
use crate::stores::Stores;

/// Explain every declared query and check the indexes that it needs.
///
/// Each query must use the index that was declared for it, and look at about as much as it returns;
/// those that are for a whole table say so. Missing and unused indexes are named. Ends with 0 where
/// every query runs as declared (with `--create`: does now), and with 1 where one does not, an index
/// is missing, or one that the store keeps itself is not what the rows say. Where the rows are in
/// MongoDB, both stores are checked: that of the rows and that of the events.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foldback indexes
  foldback indexes --create
  foldback indexes --json | jq -r '.missing[].index'")]
pub(crate) struct IndexesArgs {
    #[command(flatten)]
    data: Data,
    /// First create the indexes that are missing, and mend those that the store keeps itself.
    #[arg(long)]
    create: bool,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &IndexesArgs) -> Result<Status, Failure> {
    let mut stores = Stores::open_to_read(&args.data)?;
    if args.create {
        stores = stores.into_mending()?;
        for part in stores.each() {
            for index in stores.wait(part.store.create_indexes())? {
                anstream::eprintln!("created {index}");
            }
        }
    }
    let checks = Checks::make(&stores)?;
    let mut out = anstream::stdout().lock();
    if args.json {
        writeln!(out, "{}", checks.json())?;
    } else {
        checks.print(&mut out)?;
    }
    out.flush()?;
    for of in &checks.0 {
        anstream::eprintln!("{}{}", checks.before(of, ": "), in_words(&of.check));
    }
    Ok(if checks.0.iter().all(|of| of.check.is_clean()) {
        Status::Clean
    } else {
        Status::Findings
    })
}

/// What the checks of all stores came to; of one, or of two.
#[derive(Debug)]
pub(crate) struct Checks(Vec<Checked>);

/// What the check of a store came to.
#[derive(Debug)]
struct Checked {
    name: &'static str,
    heading: String,
    check: IndexCheck,
}

impl Checks {
    pub(crate) fn make(stores: &Stores) -> Result<Self, Failure> {
        let mut checks = Vec::new();
        for part in stores.each() {
            checks.push(Checked {
                check: stores.wait(part.store.check_indexes())?,
                name: part.name,
                heading: part.heading,
            });
        }
        Ok(Self(checks))
    }

    /// The check of the one store; of two, an object of both.
    pub(crate) fn json(&self) -> Value {
        let json = |of: &Checked| serde_json::to_value(&of.check).unwrap_or_default();
        match self.0.as_slice() {
            [one] => json(one),
            more => {
                let named = more.iter().map(|of| (of.name.to_owned(), json(of)));
                Value::Object(named.collect::<Map<_, _>>())
            }
        }
    }

    /// What is wrong, a line each; none where all is as declared.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for of in &self.0 {
            let plans = of.check.plans.iter();
            let of_plan = |plan: &QueryPlan| Some(format!("{}: {}", plan.query, plan.fault()?));
            let lines = plans.filter_map(of_plan).chain(lacks(&of.check));
            faults.extend(lines.map(|line| format!("{}{line}", self.before(of, ": "))));
        }
        faults
    }

    fn print(&self, out: &mut impl Write) -> Result<(), Failure> {
        for of in &self.0 {
            write!(out, "{}", self.before(of, "\n"))?;
            print(&of.check, out)?;
        }
        Ok(())
    }

    /// A store's heading and `then`; nothing where it is the only one.
    fn before(&self, of: &Checked, then: &str) -> String {
        match self.0.as_slice() {
            [_only] => String::new(),
            _more => format!("{}{then}", of.heading),
        }
    }
}

/// The check of any store, for a person to read.
fn print(check: &IndexCheck, out: &mut impl Write) -> Result<(), Failure> {
    let mut plans = table(&[
        "query",
        "table",
        "needs",
        "uses",
        "examined / returned",
        "verdict",
    ]);
    for plan in &check.plans {
        plans.add_row(vec![
            plan.query.as_str(),
            &plan.table,
            &plan.needs,
            plan.uses.as_deref().unwrap_or("-"),
            &examined(plan),
            &verdict(plan),
        ]);
    }
    writeln!(out, "{plans}")?;
    for line in lacks(check) {
        writeln!(out, "{line}")?;
    }
    for unused in &check.unused {
        writeln!(
            out,
            "unused   {}.{}: no query needs it",
            unused.table, unused.index
        )?;
    }
    Ok(())
}

/// Indexes that are not there, or not as they should be, a line each.
fn lacks(check: &IndexCheck) -> Vec<String> {
    let missing = check.missing.iter().map(|missing| {
        let queries = missing.queries.join("; ");
        format!(
            "missing  {}.{}, needed by: {queries}",
            missing.table, missing.index
        )
    });
    let astray = check.derived.iter().filter(|derived| !derived.is_clean());
    let astray = astray.map(|derived| {
        format!(
            "astray   {}: lacks {} entries that rows lead to, has {} that none does",
            derived.index, derived.lacking, derived.stray
        )
    });
    missing.chain(astray).collect()
}

/// "Looked at / returned" in the trial.
fn examined(plan: &QueryPlan) -> String {
    match plan.examined.zip(plan.returned) {
        Some((examined, returned)) => format!("{examined} / {returned}"),
        None => String::new(),
    }
}

fn verdict(plan: &QueryPlan) -> String {
    match plan.fault() {
        Some(fault) => format!("{fault}: {}", plan.explained),
        None if plan.is_whole_pass() => "as declared: all of the table".to_owned(),
        None => "good".to_owned(),
    }
}

/// The check in a sentence.
fn in_words(check: &IndexCheck) -> String {
    let count = |number: usize, one: &str, more: &str| match number {
        1 => format!("1 {one}"),
        number => format!("{number} {more}"),
    };
    let faulty = check.plans.iter().filter(|plan| plan.fault().is_some());
    let astray = check.derived.iter().filter(|derived| !derived.is_clean());
    let lacks = match check.missing.len() + astray.count() {
        0 => String::new(),
        _some => "; `foldback indexes --create` mends them".to_owned(),
    };
    format!(
        "{} explained: {} not as declared; {} missing, {} unused{lacks}",
        count(check.plans.len(), "plan", "plans"),
        faulty.count(),
        count(check.missing.len(), "index", "indexes"),
        check.unused.len(),
    )
}

mod page;

use std::collections::BTreeSet;

use smol_str::SmolStr;

use crate::handlers::{Baseline, Table};
use crate::model::{Finding, Group};
use crate::observers;
use crate::ports::{Clock, Error, Journal, LegacyRow, LegacyTables, Locks, Queue, Tables, Waiting};
use crate::settings::Settings;

use super::{Mode, Replay, Scope, parked_events};

/// How many legacy rows are read at once.
const PAGE_ROWS: usize = 256;
/// How many groups are brought to the fold at once.
const PAGE_GROUPS: usize = 256;
/// How many refusals are told one by one.
const REFUSED_MAX: usize = 1_000;

/// What an adoption came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Adopted {
    /// Rows without a trail that were looked at.
    pub rows: u64,
    /// Rows that have a trail now.
    pub adopted: u64,
    /// Rows whose baseline was journaled before: an earlier run died before it wrote them, or other code
    /// wrote over them what they had been.
    pub already: u64,
    /// Rows that were changed each time between reading and writing; left for another run.
    pub conflicts: u64,
    /// Differences mended in the other rows of the same groups: derived ones, histories.
    pub mended: u64,
    /// How many rows and tables cannot be adopted.
    pub refusals: u64,
    /// The first 1,000 of them.
    pub refused: Vec<Refused>,
}

/// A row, or a table, that cannot be adopted; it is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The table.
    pub table: Table,
    /// The store's handle on the row; `None` for the whole table.
    pub handle: Option<String>,
    /// Why.
    pub why: String,
}

/// What an adoption works with.
#[derive(Debug)]
pub struct Adopt<'a, P, C> {
    /// Where events, rows and legacy rows are.
    pub ports: &'a P,
    /// What time it is.
    pub clock: &'a C,
    /// What later events mean, and which tenants there are.
    pub settings: &'a Settings,
}

/// An adoption under way.
struct Run<'t> {
    /// The tenant of rows that name none.
    tenant: Option<&'t SmolStr>,
    total: Adopted,
    /// The groups that have baselines of this run, or rows that were adopted in it.
    groups: BTreeSet<Group>,
    /// Those of which a row was left for another run.
    left: BTreeSet<Group>,
}

impl<P: Journal + Queue + Waiting + Tables + LegacyTables + Locks, C: Clock> Adopt<'_, P, C> {
    /// Takes rows of tables over that other code wrote: journals what they are as baselines, gives them
    /// their trails in place, and brings the other rows of their groups to the fold.
    ///
    /// `tenant` is whose rows are that name no tenant. A table that observers feed is adopted together
    /// with those that feed it, in one run and only if all their rows can be read: one that cannot may
    /// be counted in it, and would be counted again when it is adopted later. A run that cannot keep
    /// this adopts nothing. `found` gets what was found of the other rows; `progress` the sums so far.
    ///
    /// # Errors
    /// A port failed. What was adopted stays so, and another run takes the rest; a replay in mode
    /// [`Update`](Mode::Update) brings the other rows of the groups to the fold.
    pub async fn run(
        &self,
        tables: &[Table],
        tenant: Option<&SmolStr>,
        mut found: impl FnMut(Finding),
        mut progress: impl FnMut(&Adopted),
    ) -> Result<Adopted, Error> {
        let mut run = Run {
            tenant,
            total: Adopted::default(),
            groups: BTreeSet::new(),
            left: BTreeSet::new(),
        };
        let tables = run.adoptable(tables);
        if !run.feeders_are_named(&tables) || !self.feeders_are_readable(&mut run, &tables).await? {
            return Ok(run.total);
        }
        for table in tables {
            let mut after = None;
            while let Some(last) = self.page(&mut run, table, after.as_deref()).await? {
                after = Some(last);
                progress(&run.total);
            }
        }
        // Not before all tables are through: a row made here could not be adopted any more. And not
        // where a row was left: it would be made anew beside the one that other code wrote.
        let groups: Vec<Group> = run.groups.difference(&run.left).cloned().collect();
        let parked = parked_events(self.ports).await?;
        let replay = Replay {
            ports: self.ports,
            clock: self.clock,
            settings: self.settings,
            parked: &parked,
            grace_ms: 0,
        };
        for groups in groups.chunks(PAGE_GROUPS) {
            let scope = Scope::Groups(groups.to_vec());
            let replayed = replay.run(&scope, Mode::Update, &mut found, |_| {}).await?;
            run.total.mended += replayed.mended;
            progress(&run.total);
        }
        Ok(run.total)
    }

    /// Looks at all rows of the tables that feed one to be adopted, and refuses what cannot be read.
    async fn feeders_are_readable(
        &self,
        run: &mut Run<'_>,
        tables: &[Table],
    ) -> Result<bool, Error> {
        for &fed in tables {
            let before = run.total.refusals;
            for table in observers::feeders(fed) {
                let mut after: Option<String> = None;
                loop {
                    let after_this = after.as_deref();
                    let rows = self.ports.untracked(table, after_this, PAGE_ROWS).await?;
                    let Some(last) = rows.last() else { break };
                    after = Some(last.handle.clone());
                    for row in rows {
                        if let Some(tenant) = row.tenant.as_ref().or(run.tenant)
                            && self.settings.tenant(tenant).is_some()
                            && let Err(why) = read(&row, tenant)
                        {
                            run.total.refuse(table, Some(&row.handle), why);
                        }
                    }
                }
            }
            let unreadable = run.total.refusals - before;
            if unreadable > 0 {
                let name = fed.name();
                let why = format!(
                    "{unreadable} rows that may be counted in it cannot be read, and nothing was \
                     adopted; mend them, or adopt without {name}"
                );
                run.total.refuse(fed, None, why);
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Run<'_> {
    /// The tables of which rows can be adopted, in the order of their baselines.
    fn adoptable(&mut self, tables: &[Table]) -> Vec<Table> {
        let mut adoptable = Vec::new();
        for &table in tables {
            if table.is_adoptable() {
                adoptable.push(table);
            } else {
                let why = if table.is_temporal() {
                    "a history begins with the baseline of the row that it is about; adopt the table of \
                     that row"
                } else {
                    "its rows have no events of their own to go on from: they follow from what leads count \
                     for, from the first event on"
                };
                self.total.refuse(table, None, why.to_owned());
            }
        }
        adoptable.sort_by_key(|table| Baseline::source(*table));
        adoptable.dedup();
        adoptable
    }

    fn feeders_are_named(&mut self, tables: &[Table]) -> bool {
        for &fed in tables {
            if let Some(missing) = observers::feeders(fed).find(|one| !tables.contains(one)) {
                let missing = missing.name();
                let why = format!(
                    "rows of {missing} are counted in it, and would be again when they are adopted \
                     later; nothing was adopted: name both"
                );
                self.total.refuse(fed, None, why);
                return false;
            }
        }
        true
    }
}

impl Adopted {
    fn refuse(&mut self, table: Table, handle: Option<&str>, why: String) {
        self.refusals += 1;
        if self.refused.len() < REFUSED_MAX {
            self.refused.push(Refused {
                table,
                handle: handle.map(str::to_owned),
                why,
            });
        }
    }
}

/// What the row is and where it belongs.
fn read(row: &LegacyRow, tenant: &SmolStr) -> Result<Baseline, String> {
    let no_row = |why: &String| format!("no row of {}: {why}", row.table.name());
    let body = row.body.as_ref().map_err(no_row)?;
    Baseline::new(row.table, tenant, body)
}

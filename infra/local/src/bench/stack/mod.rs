//! The same load on a stack on AWS: events go in at its front door as webhooks do, and an event is done when what
//! followed from it is kept with its rows.
//!
//! | file | what it does |
//! | --- | --- |
//! | `door` | posts events, again where it is told to |
//! | `drive` | keeps the pace, and counts |
//! | `eyes` | looks which events are done |

mod door;
mod drive;
mod eyes;

use shared::adapters::SystemClock;
use shared::adapters::mongo::Mongo;
use shared::ports::{Clock, Queue, SettingsVersions};
use shared::settings::Format;

use super::load::{Measured, Plan};
use super::workload::Workload;
use crate::aws::Stack;
use crate::cli::Data;
use crate::error::Failure;
use crate::events::HostEvents;
use crate::stopwatch::pause;
use crate::stores::Stores;
use crate::tables::HostTables;

use self::door::Door;
use self::drive::Drive;

/// How the settings begin that a benchmark has put in force: only those may the next one replace.
const MARK: &str = "# Put in force by foldback bench.\n";
/// The queue's counts lag: so many looks must find nothing, a second apart.
const REST_LOOKS: u32 = 5;
/// The longest wait for that.
const REST_SECONDS_MAX: u32 = 600;
/// A look that finds something may have come before the last message: after so many seconds there is another.
const SECOND_LOOK_SECONDS: u64 = 30;

/// A stack that is measured.
#[derive(Debug)]
pub(crate) struct Target {
    stores: Stores,
    stack: Stack,
    rows: Mongo,
    door: Door,
}

impl Target {
    /// The stack, if it is one that a benchmark may use; `url` is where it takes events in, if that is not where
    /// its outputs say.
    pub(crate) fn open(
        data: &Data,
        url: Option<&str>,
        per_request: usize,
    ) -> Result<Self, Failure> {
        let stores = Stores::open(data)?;
        let (HostEvents::Aws(stack), HostTables::Remote(rows)) = (stores.events(), stores.tables())
        else {
            return Err(Failure::Input(
                "a stack is on AWS, with its rows in MongoDB".to_owned(),
            ));
        };
        let (stack, rows) = (stack.clone(), rows.clone());
        let stored = stores.wait(stack.aws.latest())?;
        if stored.is_some_and(|stored| !stored.text.starts_with(MARK)) {
            return Err(Failure::Input(format!(
                "the stack {:?} has settings of its own: a benchmark would replace them, and its events would \
                 stand among yours for good; deploy another one to measure (infra/aws/README.md)",
                stack.name
            )));
        }
        let url = url.or(stack.ingest_url.as_deref()).ok_or_else(|| {
            Failure::Input(format!(
                "the stack {:?} has no output IngestUrl; say with --ingest-url where it takes events in",
                stack.name
            ))
        })?;
        let door = Door::new(url, per_request)?;
        Ok(Self {
            stores,
            stack,
            rows,
            door,
        })
    }

    /// Makes the stack take this workload's events in.
    pub(crate) fn begin(&self, workload: &Workload) -> Result<(), Failure> {
        self.put(&workload.settings_with_webhooks()?)
    }

    /// Makes the stack take no events any more.
    pub(crate) fn end(&self, workload: &Workload) -> Result<(), Failure> {
        self.put(&workload.settings)
    }

    fn put(&self, settings: &str) -> Result<(), Failure> {
        let text = format!("{MARK}{settings}");
        let put = self.stack.aws.put(&text, Format::Toml, SystemClock.now());
        self.stores.wait(put)?;
        // Functions that are up go on with older ones for so long.
        pause(self.stack.settings_seconds);
        Ok(())
    }

    /// Measures one point over the texts of the plan, which are those of a workload from this one on.
    pub(crate) fn measure(
        &self,
        plan: &Plan<'_>,
        workload: (&Workload, usize),
    ) -> Result<Measured, Failure> {
        let drive = Drive::new(plan, workload, &self.door, self.rows.clone())?;
        let measured = self.stores.wait(Box::pin(async {
            tokio::select! {
                measured = drive.run() => measured,
                _ = tokio::signal::ctrl_c() => Err(Failure::Input("interrupted".to_owned())),
            }
        }))?;
        self.rest()?;
        Ok(measured)
    }

    /// What the stack's stores hold.
    pub(crate) fn stores(&self) -> &Stores {
        &self.stores
    }

    /// Gives what is still under way, in spite of what the queue's counts said, the time to arrive.
    pub(crate) fn wait_on(&self) -> Result<(), Failure> {
        pause(SECOND_LOOK_SECONDS);
        self.rest()
    }

    /// Waits until no message waits or is in flight.
    fn rest(&self) -> Result<(), Failure> {
        let mut empty = 0;
        for _second in 0..REST_SECONDS_MAX {
            let depth = self.stack.aws.depth(SystemClock.now());
            let depth = self.stores.wait(depth)?;
            empty = if depth.visible + depth.in_flight == 0 {
                empty + 1
            } else {
                0
            };
            if empty == REST_LOOKS {
                return Ok(());
            }
            pause(1);
        }
        Err(Failure::Input(format!(
            "messages still waited {REST_SECONDS_MAX} seconds after the last event was done: look at the stack's \
             alarms, and at `foldback dlq list`"
        )))
    }
}

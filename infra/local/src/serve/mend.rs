//! A repair that was asked for: a page of groups at a time, so that events are taken in meanwhile.

use foldback_console::{Act, Acted, Within};
use shared::adapters::SystemClock;
use shared::model::Finding;
use shared::ports::{Clock, Error, ErrorKind};
use shared::service::{
    Mode, Pages, Parked, Place, Replay, Replayed, Scope, keep_run, parked_events,
};
use shared::settings::Settings;

use super::writer::Told;
use super::{deeds, world};
use crate::stores::Stores;
use crate::verdict::Found;

/// How often a page is tried.
const ATTEMPTS_MAX: u32 = 5;

/// A repair and how far it is.
pub(super) struct Mend {
    act: Act,
    scope: Scope,
    place: Place,
    parked: Parked,
    found: Found,
    attempts: u32,
    to: Option<Told>,
}

impl Mend {
    /// One that has looked at nothing yet.
    pub(super) async fn begin(
        stores: &Stores,
        settings: &Settings,
        act: &Act,
        within: &Within,
    ) -> Result<Self, Error> {
        let scope = world::scope_of(stores, within).await?;
        Ok(Self {
            act: act.clone(),
            found: Found::begin(Mode::Update.name(), &scope, settings),
            scope,
            place: Place::default(),
            parked: parked_events(stores.events()).await?,
            attempts: 0,
            to: None,
        })
    }

    /// The same, and who waits for the end of it.
    pub(super) fn told(self, to: Told) -> Self {
        Self {
            to: Some(to),
            ..self
        }
    }

    /// Repairs the next page and makes that durable; `false` when there is nothing left to do.
    pub(super) fn page(&mut self, stores: &Stores, settings: &Settings) -> bool {
        self.attempts += 1;
        match self.try_page(stores, settings) {
            Ok(None) => {
                self.attempts = 0;
                true
            }
            Ok(Some(acted)) => {
                self.tell(Ok(acted));
                false
            }
            Err(error) if error.kind() == ErrorKind::Retry && self.attempts < ATTEMPTS_MAX => true,
            Err(error) => {
                anstream::eprintln!("a repair is given up: {}", error.chain());
                self.tell(Err(error));
                false
            }
        }
    }

    fn tell(&mut self, acted: Result<Acted, Error>) {
        if let Some(to) = self.to.take() {
            // Whoever has hung up finds it among the runs.
            to.send(acted).ok();
        }
    }

    fn try_page(&mut self, stores: &Stores, settings: &Settings) -> Result<Option<Acted>, Error> {
        let events = stores.events();
        events.begin()?;
        let mut findings = Vec::new();
        let done = stores.wait(self.work(stores, settings, &mut findings));
        let done = done.and_then(|done| events.commit().map(|()| done));
        let done = match done {
            Ok(done) => done,
            Err(error) => {
                events.roll_back();
                return Err(error);
            }
        };
        match done {
            Done::Page(place, replayed) => {
                self.place = place;
                self.found.replayed.add(&replayed);
                for finding in findings {
                    self.found.take(finding);
                }
                Ok(None)
            }
            Done::All(acted) => Ok(Some(acted)),
        }
    }

    async fn work(
        &self,
        stores: &Stores,
        settings: &Settings,
        findings: &mut Vec<Finding>,
    ) -> Result<Done, Error> {
        let tables = stores.tables();
        let ports = stores.ports(&tables);
        let replay = Replay {
            ports: &ports,
            clock: &SystemClock,
            settings,
            parked: &self.parked,
            grace_ms: 0,
        };
        let mut pages = Pages::from(&self.scope, self.place.clone());
        let page = replay
            .page(&mut pages, Mode::Update, |finding| findings.push(finding))
            .await?;
        if let Some(replayed) = page {
            return Ok(Done::Page(pages.place().clone(), replayed));
        }
        let now = SystemClock.now();
        let mut run = self.found.run.clone();
        self.found.replayed.sum_up(&mut run);
        run.finished = now;
        let number = keep_run(&tables, &run, &self.found.findings).await?;
        deeds::note(stores, &self.act.record(run.mended, now))?;
        Ok(Done::All(Acted {
            run: Some(number),
            ..Acted::of(run.mended)
        }))
    }
}

enum Done {
    Page(Place, Replayed),
    All(Acted),
}

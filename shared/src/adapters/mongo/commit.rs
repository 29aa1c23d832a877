use std::collections::BTreeSet;
use std::time::Duration;

use mongodb::ClientSession;
use mongodb::error::{
    Error as MongoError, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT,
};

use crate::flow::{ImagesWrite, Write};
use crate::model::{ActionHierarchy, Group, Timestamp};
use crate::ports::{Commit, Committed, Error, ErrorKind};

use super::plan::Plan;
use super::{HIERARCHIES, Mongo, failed};

/// The most rows that one transaction writes. The server advises a thousand documents or so; groups
/// are not divided.
const ROWS_MAX: usize = 1_000;
/// How often a transaction that another one disturbed is made again.
pub(super) const ATTEMPTS_MAX: u32 = 12;
/// How often the outcome of a transaction is asked for again.
const OUTCOME_ATTEMPTS_MAX: u32 = 4;
/// The longest pause before an attempt, in milliseconds.
const PAUSE_MS_MAX: u64 = 400;

const DOING: &str = "write rows to MongoDB";

/// Some writes, hierarchies and images that are to go together. In what decides about them, the places of
/// images come after those of writes.
#[derive(Clone, Copy)]
struct Share<'a> {
    writes: &'a [Write],
    finished: &'a [ActionHierarchy],
    images: &'a [ImagesWrite],
    now: Timestamp,
}

/// How an attempt to write a share ended.
pub(super) enum Attempt {
    Done,
    /// Nothing was written, because these writes lost.
    Lost(BTreeSet<usize>),
}

impl Mongo {
    pub(super) async fn commit_shares(
        &self,
        commit: Commit<'_>,
        now: Timestamp,
    ) -> Result<Vec<Committed>, Error> {
        let Commit {
            writes,
            finished,
            images,
        } = commit;
        let mut committed = Vec::with_capacity(writes.len());
        let mut rest = Share {
            writes,
            finished,
            images,
            now,
        };
        while !rest.is_empty() {
            let (share, after) = rest.split();
            committed.extend(self.commit_share(share).await?);
            rest = after;
        }
        Ok(committed)
    }

    async fn commit_share(&self, share: Share<'_>) -> Result<Vec<Committed>, Error> {
        let mut lost = BTreeSet::new();
        let mut attempts = 0;
        loop {
            let plan = share.plan(self, &lost)?;
            let attempt = self.attempt(plan).await;
            match attempt {
                Ok(Attempt::Done) => break,
                Ok(Attempt::Lost(more)) => lost.extend(share.with_groups(more)),
                Err(error) if error.contains_label(TRANSIENT_TRANSACTION_ERROR) => {
                    attempts += 1;
                    if attempts >= ATTEMPTS_MAX {
                        return Err(Error::new(ErrorKind::Retry, DOING, error));
                    }
                    pause(attempts).await;
                }
                Err(error) => return Err(failed(DOING)(error)),
            }
        }
        let became = |place: usize| {
            if lost.contains(&place) {
                Committed::Conflict
            } else {
                Committed::Done
            }
        };
        Ok((0..share.writes.len()).map(became).collect())
    }

    /// One transaction: one bulk write, and its end.
    pub(super) async fn attempt(&self, plan: Plan) -> Result<Attempt, MongoError> {
        if plan.models.is_empty() {
            return Ok(Attempt::Done);
        }
        let mut session = self
            .client
            .start_session()
            .causal_consistency(false)
            .await?;
        session.start_transaction().await?;
        let lost = self.decide(plan, &mut session).await?;
        if lost.is_empty() {
            settle(&mut session).await?;
            return Ok(Attempt::Done);
        }
        // A transaction that is not ended here ends by itself; its outcome is no secret.
        drop(session.abort_transaction().await);
        Ok(Attempt::Lost(lost))
    }

    /// Runs a plan's operations and returns what lost.
    pub(super) async fn decide(
        &self,
        plan: Plan,
        session: &mut ClientSession,
    ) -> Result<BTreeSet<usize>, MongoError> {
        let result = self
            .client
            .bulk_write(plan.models)
            .session(session)
            .verbose_results()
            .await?;
        Ok(Plan::lost(&plan.deciding, &result))
    }
}

/// Ends a transaction and makes sure of how it ended: to ask again does no harm.
pub(super) async fn settle(session: &mut ClientSession) -> Result<(), MongoError> {
    let mut attempt = 1;
    loop {
        match session.commit_transaction().await {
            Err(error)
                if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT)
                    && attempt < OUTCOME_ATTEMPTS_MAX =>
            {
                attempt += 1;
            }
            ended => return ended,
        }
    }
}

/// Waits until whoever disturbed a transaction is likely to be done, each time a little longer, and
/// not as long as others that were disturbed.
pub(super) async fn pause(attempt: u32) {
    let most = (1_u64 << attempt.min(16)).min(PAUSE_MS_MAX);
    #[expect(
        clippy::disallowed_methods,
        reason = "the other transaction ends in milliseconds; a redelivery would wait for seconds"
    )]
    let sleep = tokio::time::sleep;
    sleep(Duration::from_millis(fastrand::u64(0..=most))).await;
}

impl<'a> Share<'a> {
    fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.finished.is_empty() && self.images.is_empty()
    }

    /// What lost, and all writes of groups whose images did.
    fn with_groups(&self, mut lost: BTreeSet<usize>) -> BTreeSet<usize> {
        let images = self.images.iter().zip(self.writes.len()..);
        let outdated: BTreeSet<&Group> = images
            .filter(|(_, place)| lost.contains(place))
            .map(|(one, _)| &one.group)
            .collect();
        for (place, write) in self.writes.iter().enumerate() {
            if outdated.contains(&write.key.group) {
                lost.insert(place);
            }
        }
        lost
    }

    /// All operations but those of writes that are `lost`, and of their groups' hierarchies and images.
    fn plan(self, store: &Mongo, lost: &BTreeSet<usize>) -> Result<Plan, Error> {
        let mut plan = Plan::empty(store);
        let mut losers = BTreeSet::new();
        for (place, write) in self.writes.iter().enumerate() {
            if lost.contains(&place) {
                losers.insert(&write.key.group);
            } else {
                plan.row(place, write);
                plan.beside(write, self.now);
            }
        }
        for one in self.finished {
            if !losers.contains(&one.group) {
                let document = store.hierarchy(one, self.now);
                plan.insert(HIERARCHIES, document);
            }
        }
        for (place, one) in (self.writes.len()..).zip(self.images) {
            if !losers.contains(&one.group) && !lost.contains(&place) {
                plan.images(place, one)?;
            }
        }
        Ok(plan)
    }

    /// As many whole groups as one transaction takes, and the rest.
    fn split(self) -> (Self, Self) {
        let mut count = 0;
        for group in self.writes.chunk_by(|a, b| a.key.group == b.key.group) {
            if count > 0 && count + group.len() > ROWS_MAX {
                break;
            }
            count += group.len();
        }
        let (writes, later) = self.writes.split_at(count);
        // Hierarchies stand in the order of the groups; one goes with its group's last row.
        let ends = match later.first() {
            Some(next) => self
                .finished
                .iter()
                .position(|one| one.group == next.key.group)
                .unwrap_or(self.finished.len()),
            None => self.finished.len(),
        };
        let (finished, unfinished) = self.finished.split_at(ends);
        let is_later = |one: &ImagesWrite| later.iter().any(|write| write.key.group == one.group);
        let ends = self.images.iter().position(is_later);
        let (images, later_images) = self.images.split_at(ends.unwrap_or(self.images.len()));
        let now = self.now;
        let share = Self {
            writes,
            finished,
            images,
            now,
        };
        let rest = Self {
            writes: later,
            finished: unfinished,
            images: later_images,
            now,
        };
        (share, rest)
    }
}

//! Groups whose events do not come in order: from their images where they are long and have some, else from
//! their whole journals.

use crate::flow::{
    Base, Imaging, Outcome, RowKey, Stored, correct, correct_whole, thin, thins_since,
};
use crate::model::{Group, Stamps, Timestamp};
use crate::ports::{Clock, Commit, Error, Journal, Reading, Since, Tables};
use crate::side_by_side;

use super::{Work, by_group};

/// A group whose rows alone are not enough.
pub(super) struct Behind<'a> {
    pub(super) work: &'a Work<'a>,
    pub(super) stamps: Stamps,
    /// Its rows in reach, without their histories.
    pub(super) rows: Vec<Stored>,
}

/// Decides what to write for each group.
pub(super) async fn correct_all<P: Journal + Tables>(
    ports: &P,
    clock: &impl Clock,
    behind: &[Behind<'_>],
) -> Result<Vec<(Outcome, Stamps)>, Error> {
    let short = behind.iter().filter(|one| !one.is_long());
    let mut short = correct_short(ports, clock, &short.collect::<Vec<_>>())
        .await?
        .into_iter();
    let mut outcomes = Vec::with_capacity(behind.len());
    for one in behind {
        if one.is_long() {
            outcomes.push(one.correct_long(ports, clock).await?);
        } else {
            outcomes.extend(short.next());
        }
    }
    Ok(outcomes)
}

async fn correct_short<P: Journal + Tables>(
    ports: &P,
    clock: &impl Clock,
    behind: &[&Behind<'_>],
) -> Result<Vec<(Outcome, Stamps)>, Error> {
    if behind.is_empty() {
        return Ok(Vec::new());
    }
    let keys: Vec<RowKey> = behind.iter().flat_map(|one| one.work.reach()).collect();
    let mut stored = by_group(ports.read(&keys, Reading::WithHistory).await?);
    let groups: Vec<Group> = behind.iter().map(|one| one.work.group.clone()).collect();
    let journals = ports.entries(&groups).await?;
    let write_start = clock.now();
    let with_rows: Vec<_> = behind
        .iter()
        .zip(journals)
        .map(|(one, journal)| {
            let rows = stored.remove(&one.work.group).unwrap_or_default();
            (one.work, one.at(write_start), rows, journal)
        })
        .collect();
    Ok(side_by_side::map(
        &with_rows,
        |(work, stamps, rows, journal)| (correct(&work.batch(*stamps), rows, journal), *stamps),
    ))
}

impl Behind<'_> {
    fn is_long(&self) -> bool {
        self.work.batch(self.stamps).is_long(&self.rows)
    }

    fn at(&self, write_start: Timestamp) -> Stamps {
        Stamps {
            write_start,
            ..self.stamps
        }
    }

    async fn correct_long<P: Journal + Tables>(
        &self,
        ports: &P,
        clock: &impl Clock,
    ) -> Result<(Outcome, Stamps), Error> {
        if !self.work.amends()
            && let Some(outcome) = self.correct_from_images(ports, clock).await?
        {
            return Ok(outcome);
        }
        let groups = std::slice::from_ref(&self.work.group);
        let rows = ports.read_groups(groups).await?;
        let journal = ports.entries(groups).await?;
        let (rows, journal) = (rows.concat(), journal.concat());
        let stamps = self.at(clock.now());
        let outcome = correct_whole(&self.work.batch(stamps), &rows, &journal);
        Ok((outcome, stamps))
    }

    /// `None` where the images do not tell enough.
    ///
    /// Images are read first and rows last, so that a write in between breaks the chain of versions.
    async fn correct_from_images<P: Journal + Tables>(
        &self,
        ports: &P,
        clock: &impl Clock,
    ) -> Result<Option<(Outcome, Stamps)>, Error> {
        let stamps = self.at(clock.now());
        let batch = self.work.batch(stamps);
        let Some(since) = Base::since(&batch) else {
            return Ok(None);
        };
        let images = ports.images(&self.work.group, since).await?;
        let base = Base::new(&batch, &images).filter(|base| base.holds_for(&self.rows));
        let Some(base) = base else {
            return Ok(None);
        };
        let since = Since {
            group: self.work.group.clone(),
            time: base.time(),
            recorded: base.recorded(),
        };
        let journal = ports.entries_since(std::slice::from_ref(&since)).await?;
        let journal = journal.concat();
        let mut rows = ports.read(&base.needs(&journal), Reading::Row).await?;
        let histories = base.histories(&rows);
        if !histories.is_empty() {
            let versions = ports.versions_after(&histories).await?;
            for ((key, _), versions) in histories.into_iter().zip(versions) {
                let row = rows.iter_mut().find(|row| row.key == key);
                if let Some(row) = row {
                    row.history = Some(versions);
                }
            }
        }
        let outcome = base.correct(&rows, &journal);
        Ok(outcome.map(|outcome| (outcome, stamps)))
    }
}

/// Merges a group's images. Where another writer changes them meanwhile, they stay as they are.
pub(super) async fn thin_images(
    tables: &impl Tables,
    clock: &impl Clock,
    group: &Group,
    imaging: Imaging,
) -> Result<(), Error> {
    let heads = tables.image_heads(group).await?;
    let Some(since) = thins_since(heads, imaging) else {
        return Ok(());
    };
    let images = tables.images(group, since).await?;
    if let Some(write) = thin(group, &images, imaging) {
        let commit = Commit {
            images: &[write],
            ..Commit::default()
        };
        tables.commit_all(commit, clock.now()).await?;
    }
    Ok(())
}

use rusqlite::params;

use crate::model::{ActionHierarchy, Group};
use crate::ports::{Error, Found, Hierarchies, Look};
use crate::side_by_side;

use super::query::{Index, Need, queries};
use super::{Embedded, Failure, Inner, codec};

const HIERARCHIES_BY_GROUP: Index = Index {
    name: "hierarchies_by_group",
    table: "hierarchies",
    on: "(gid)",
};

queries! {
    OF_GROUP {
        name: "Hierarchies::of_group",
        needs: [Need::Index(&HIERARCHIES_BY_GROUP)],
        sql: "SELECT body FROM hierarchies WHERE gid = ? ORDER BY id",
        trial: "SELECT gid FROM hierarchies LIMIT 1",
    }
    SAVE {
        name: "Tables::commit, hierarchies",
        needs: [],
        sql: "INSERT INTO hierarchies (gid, body) VALUES (?, ?)",
    }
}

impl Hierarchies for Embedded {
    async fn of_group(&self, group: &Group) -> Result<Vec<ActionHierarchy>, Error> {
        self.look(|inner| {
            let Some(gid) = inner.find_gid(group)? else {
                return Ok(Vec::new());
            };
            let mut select = inner.database.prepare(&OF_GROUP)?;
            let mut rows = select.query([gid])?;
            let mut hierarchies = Vec::new();
            while let Some(row) = rows.next()? {
                let body = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
                hierarchies.extend(codec::decode_hierarchies(group, codec::verified(body)?)?);
            }
            Ok::<_, Failure>(hierarchies)
        })
    }

    async fn finished(&self, look: &Look) -> Result<Found<ActionHierarchy>, Error> {
        self.finished_work(look)
    }
}

impl Inner {
    /// Saves finished hierarchies, those of one group that stand together in one record.
    pub(super) fn save<'h>(
        &mut self,
        finished: impl Iterator<Item = &'h [ActionHierarchy]>,
    ) -> Result<(), Failure> {
        let finished: Vec<&[ActionHierarchy]> = finished.collect();
        let bodies = side_by_side::map(&finished, |of_group| {
            codec::encode_hierarchies(of_group).map(|record| codec::checked(&record))
        });
        for (of_group, body) in finished.into_iter().zip(bodies) {
            let Some(first) = of_group.first() else {
                continue;
            };
            let gid = self.gid(&first.group)?;
            self.database.prepare(&SAVE)?.execute(params![gid, body?])?;
        }
        Ok(())
    }
}

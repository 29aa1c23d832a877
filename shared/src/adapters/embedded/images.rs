//! Images of long groups: one file of the port [`Tables`](crate::ports::Tables).

use rusqlite::params;
use smol_str::{SmolStr, ToSmolStr};

use crate::adapters::image_record;
use crate::flow::{Gone, ImageHead, ImagesWrite, KeptImage};
use crate::model::{Group, Timestamp};

use super::query::{Index, Need, queries};
use super::queue::bind;
use super::{Failure, Inner, codec};

const IMAGES_BY_GROUP: Index = Index {
    name: "images_by_group",
    table: "images",
    on: "(gid, until)",
};

queries! {
    SELECT_IMAGES {
        name: "Tables::images",
        needs: [Need::Index(&IMAGES_BY_GROUP)],
        sql: "SELECT id, body FROM images WHERE gid = ? AND until >= ?",
        trial: "SELECT gid, until FROM images LIMIT 1",
    }
    SELECT_IMAGE_HEADS {
        name: "Tables::image_heads",
        needs: [Need::Index(&IMAGES_BY_GROUP)],
        sql: "SELECT until, events, touched FROM images WHERE gid = ?",
        trial: "SELECT gid FROM images LIMIT 1",
    }
    IS_IMAGE {
        name: "Tables::commit_all, whether an image is there",
        needs: [Need::Key("images")],
        sql: "SELECT 1 FROM images WHERE id = ?",
        trial: "SELECT id FROM images LIMIT 1",
    }
    DELETE_IMAGE {
        name: "Tables::commit_all, an image that goes",
        needs: [Need::Key("images")],
        sql: "DELETE FROM images WHERE id = ?",
    }
    DELETE_IMAGES {
        name: "Tables::commit_all, all images that go",
        needs: [Need::Index(&IMAGES_BY_GROUP)],
        sql: "DELETE FROM images WHERE gid = ?",
    }
    ALL_IMAGES {
        name: "Check, images",
        needs: [Need::WholePass("images")],
        sql: "SELECT id, gid, body FROM images",
    }
    INSERT_IMAGE {
        name: "Tables::commit_all, an image",
        needs: [],
        sql: "INSERT INTO images (gid, until, events, touched, body) VALUES (?, ?, ?, ?, ?)",
    }
}

impl Inner {
    pub(super) fn images(
        &mut self,
        group: &Group,
        since: Timestamp,
    ) -> Result<Vec<KeptImage>, Failure> {
        let Some(gid) = self.find_gid(group)? else {
            return Ok(Vec::new());
        };
        let mut select = self.database.prepare(&SELECT_IMAGES)?;
        let mut rows = select.query(params![gid, since.ms()])?;
        let mut kept = Vec::new();
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            let body = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
            kept.push(KeptImage {
                handle: id.to_smolstr(),
                image: codec::verified(body).and_then(image_record::decode).ok(),
            });
        }
        Ok(kept)
    }

    pub(super) fn image_heads(&mut self, group: &Group) -> Result<Vec<ImageHead>, Failure> {
        let Some(gid) = self.find_gid(group)? else {
            return Ok(Vec::new());
        };
        let mut select = self.database.prepare(&SELECT_IMAGE_HEADS)?;
        let heads = select.query_map([gid], |row| {
            let count = |i| Ok::<_, rusqlite::Error>(row.get::<_, i64>(i)?.unsigned_abs());
            Ok(ImageHead {
                until: Timestamp::from_ms(row.get(0)?),
                events: count(1)?,
                rows: count(2)?,
            })
        })?;
        Ok(heads.collect::<rusqlite::Result<_>>()?)
    }

    /// Whether all images are there that are to go by name.
    pub(super) fn has_images(&self, write: &ImagesWrite) -> Result<bool, Failure> {
        let mut select = self.database.prepare(&IS_IMAGE)?;
        for id in ids(&write.gone) {
            if !select.exists([id])? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn change_images(&mut self, write: &ImagesWrite) -> Result<(), Failure> {
        let gid = self.gid(&write.group)?;
        match &write.gone {
            Gone::All => drop(self.database.prepare(&DELETE_IMAGES)?.execute([gid])?),
            Gone::These(_) => {
                let mut delete = self.database.prepare(&DELETE_IMAGE)?;
                for id in ids(&write.gone) {
                    delete.execute([id])?;
                }
            }
        }
        let mut insert = self.database.prepare(&INSERT_IMAGE)?;
        for image in &write.add {
            let body = codec::checked(&image_record::encode(image)?);
            let ImageHead {
                until,
                events,
                rows,
            } = image.head();
            insert.execute(params![gid, until.ms(), bind(events), bind(rows), body])?;
        }
        Ok(())
    }
}

/// The numbers of images that are to go by name. What is no number is none that there is.
fn ids(gone: &Gone) -> impl Iterator<Item = i64> {
    let handles: &[SmolStr] = match gone {
        Gone::These(handles) => handles,
        Gone::All => &[],
    };
    handles.iter().map(|handle| handle.parse().unwrap_or(-1))
}

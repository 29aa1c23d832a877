use futures_util::TryStreamExt;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, doc};
use mongodb::options::{DeleteManyModel, DeleteOneModel};

use crate::adapters::image_record;
use crate::flow::{Gone, Image, ImageHead, ImagesWrite, KeptImage};
use crate::model::{Group, Timestamp};
use crate::ports::{Error, ErrorKind};

use super::document::{date, int, moment};
use super::indexes::{Index, Kind, Query, Samples};
use super::plan::Plan;
use super::{IMAGES, Mongo, failed, keys};

const BY_GROUP: &str = "by_group";
const DOING: &str = "read images from MongoDB";

pub(super) fn indexes() -> Vec<Index> {
    vec![Index {
        collection: IMAGES,
        name: BY_GROUP,
        keys: doc! { "group": 1, "until": 1 },
        kind: Kind::Plain,
    }]
}

pub(super) fn queries(collection: &'static str, samples: &Samples) -> Vec<Query> {
    if collection != IMAGES {
        return Vec::new();
    }
    let group = samples.first.get_str("group").unwrap_or_default();
    let until = samples.first.get_datetime("until").copied();
    let query = |name: &str, filter: Document| Query {
        name: name.to_owned(),
        collection,
        needs: Some(BY_GROUP),
        filter,
        sort: Document::new(),
    };
    let since = until.map_or(Timestamp::from_ms(0), moment);
    vec![
        query("Tables::images", of_group_since(group, since)),
        query(
            "Tables::image_heads and Tables::commit_all, images",
            doc! { "group": group },
        ),
    ]
}

fn of_group_since(group: &str, since: Timestamp) -> Document {
    doc! { "group": group, "until": { "$gte": date(since) } }
}

impl Mongo {
    pub(super) async fn read_images(
        &self,
        group: &Group,
        since: Timestamp,
    ) -> Result<Vec<KeptImage>, Error> {
        let cursor = self
            .read_from(IMAGES)
            .find(of_group_since(&keys::of_group(group), since))
            .await
            .map_err(failed(DOING))?;
        let documents: Vec<Document> = cursor.try_collect().await.map_err(failed(DOING))?;
        let kept = |document: &Document| {
            let handle = document.get_object_id("_id").ok()?.to_hex();
            let record = document.get_binary_generic("record").ok();
            Some(KeptImage {
                handle: handle.into(),
                image: record.and_then(|record| image_record::decode(record).ok()),
            })
        };
        Ok(documents.iter().filter_map(kept).collect())
    }
}

impl Mongo {
    pub(super) async fn read_image_heads(&self, group: &Group) -> Result<Vec<ImageHead>, Error> {
        let cursor = self
            .read_from(IMAGES)
            .find(doc! { "group": keys::of_group(group) })
            .projection(doc! { "_id": 0, "until": 1, "events": 1, "rows": 1 })
            .await
            .map_err(failed(DOING))?;
        let documents: Vec<Document> = cursor.try_collect().await.map_err(failed(DOING))?;
        let head = |document: &Document| {
            let count = |name: &str| Some(document.get_i64(name).ok()?.unsigned_abs());
            Some(ImageHead {
                until: moment(*document.get_datetime("until").ok()?),
                events: count("events")?,
                rows: count("rows")?,
            })
        };
        Ok(documents.iter().filter_map(head).collect())
    }
}

impl Plan {
    /// The change of a group's images; whether those are there that go by name decides about `place`.
    pub(super) fn images(&mut self, place: usize, write: &ImagesWrite) -> Result<(), Error> {
        match &write.gone {
            Gone::All => {
                let delete = DeleteManyModel::builder()
                    .namespace(self.namespace(IMAGES))
                    .filter(doc! { "group": keys::of_group(&write.group) });
                self.push(delete.build().into());
            }
            Gone::These(handles) => {
                for handle in handles {
                    // What is no id of ours is none that there is.
                    let id = ObjectId::parse_str(handle.as_str()).ok();
                    let delete = DeleteOneModel::builder()
                        .namespace(self.namespace(IMAGES))
                        .filter(doc! { "_id": id });
                    self.decide_by_delete(place, delete.build().into());
                }
            }
        }
        for image in &write.add {
            let document = document(&write.group, image)?;
            self.insert(IMAGES, document);
        }
        Ok(())
    }
}

fn document(group: &Group, image: &Image) -> Result<Document, Error> {
    let record = image_record::encode(image)
        .map_err(|error| Error::new(ErrorKind::Reject, "write images to MongoDB", error))?;
    let record = Binary {
        subtype: BinarySubtype::Generic,
        bytes: record,
    };
    let until: DateTime = date(image.until.time);
    Ok(doc! {
        "_id": ObjectId::new(),
        "group": keys::of_group(group),
        "tenant": group.tenant.as_str(),
        "from": date(image.from.time),
        "until": until,
        "events": int(image.events),
        "rows": int(image.rows.len() as u64),
        "record": Bson::Binary(record),
    })
}

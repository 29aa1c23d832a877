use futures_util::TryStreamExt;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::ReturnDocument;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::model::{Finding, ReplayRun, Report};
use crate::ports::{Error, ErrorKind, LIVE_RUN, REPORTS_KEPT_MAX, RUNS_KEPT_MAX, Reports};

use super::document::{int, to_bson, to_json};
use super::indexes::{Index, Kind, Query, Samples};
use super::{Mongo, failed};

const RUNS: &str = "ReplayRun";
const FINDINGS: &str = "Finding";
const REPORTS: &str = "Report";
/// The last number given, by collection.
const COUNTERS: &str = "Counter";
const BY_NUMBER: &str = "by_number";
const BY_RUN: &str = "by_run";
const KEEPING: &str = "keep a report in MongoDB";
const READING: &str = "read reports from MongoDB";
/// How many findings go in one request.
const AT_ONCE: usize = 1_000;

pub(super) fn indexes() -> Vec<Index> {
    let by_number = |collection| Index {
        collection,
        name: BY_NUMBER,
        keys: doc! { "number": 1 },
        kind: Kind::Unique,
    };
    let by_run = Index {
        collection: FINDINGS,
        name: BY_RUN,
        keys: doc! { "run": 1, "place": 1 },
        kind: Kind::Plain,
    };
    vec![by_number(RUNS), by_number(REPORTS), by_run]
}

pub(super) fn queries(collection: &'static str, samples: &Samples) -> Vec<Query> {
    let newest = |name: &str| Query {
        name: name.to_owned(),
        collection,
        needs: Some(BY_NUMBER),
        filter: numbered(),
        sort: doc! { "number": -1 },
    };
    match collection {
        RUNS => vec![newest("Reports::runs")],
        REPORTS => vec![newest("Reports::reports")],
        FINDINGS => {
            let run = samples.first.get_i64("run").unwrap_or(1);
            vec![Query {
                name: "Reports::findings".to_owned(),
                collection,
                needs: Some(BY_RUN),
                filter: findings_of(run, 0),
                sort: doc! { "place": 1 },
            }]
        }
        _other => Vec::new(),
    }
}

/// All that we kept. A sparse index gives an order to documents that surely are in it, and to no others.
fn numbered() -> Document {
    doc! { "number": { "$gt": 0_i64 } }
}

fn findings_of(run: i64, after: i64) -> Document {
    doc! { "run": run, "place": { "$gt": after } }
}

impl Reports for Mongo {
    async fn keep_run(&self, run: &ReplayRun, findings: &[Finding]) -> Result<u64, Error> {
        let number = self.next(RUNS).await?;
        let mut documents = Vec::with_capacity(findings.len());
        for (place, finding) in (1_i64..).zip(findings) {
            let mut document = written(finding)?;
            document.insert("run", number);
            document.insert("place", place);
            documents.push(document);
        }
        for part in documents.chunks(AT_ONCE) {
            let collection = self.database.collection::<Document>(FINDINGS);
            let kept = collection.insert_many(part).await;
            kept.map_err(failed(KEEPING))?;
        }
        // Last: a run that can be read has all its findings.
        self.keep(RUNS, number, written(run)?).await?;
        let too_old = doc! { "$gt": 0_i64, "$lte": number - int(RUNS_KEPT_MAX) };
        self.forget(RUNS, doc! { "number": too_old.clone() })
            .await?;
        self.forget(FINDINGS, doc! { "run": too_old }).await?;
        Ok(number.unsigned_abs())
    }

    async fn runs(&self, limit: usize) -> Result<Vec<(u64, ReplayRun)>, Error> {
        self.newest(RUNS, limit).await
    }

    async fn findings(
        &self,
        run: u64,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Finding)>, Error> {
        if limit == 0 {
            // To the server, no limit.
            return Ok(Vec::new());
        }
        let cursor = self
            .read_from(FINDINGS)
            .find(findings_of(int(run), int(after)))
            .sort(doc! { "place": 1 })
            .limit(at_most(limit))
            .await
            .map_err(failed(READING))?;
        let documents: Vec<Document> = cursor.try_collect().await.map_err(failed(READING))?;
        documents
            .into_iter()
            .map(|one| read(one, "place"))
            .collect()
    }

    async fn keep_live(&self, findings: &[Finding]) -> Result<(), Error> {
        let collection = self.database.collection::<Document>(FINDINGS);
        for finding in findings {
            let place = int(finding.place_of_row());
            let mut document = written(finding)?;
            document.insert("run", int(LIVE_RUN));
            document.insert("place", place);
            // Its id is the row's, so that of two that write at once one takes the other's place.
            let of_row = doc! { "_id": format!("live#{place}") };
            let kept = collection.replace_one(of_row, document).upsert(true).await;
            kept.map_err(failed(KEEPING))?;
        }
        Ok(())
    }

    async fn forget_live(&self, findings: &[Finding]) -> Result<(), Error> {
        let collection = self.database.collection::<Document>(FINDINGS);
        for finding in findings {
            // As it was read, or it is a newer one.
            let mut as_read = written(finding)?;
            as_read.insert("_id", format!("live#{}", int(finding.place_of_row())));
            let forgotten = collection.delete_one(as_read).await;
            forgotten.map_err(failed(KEEPING))?;
        }
        Ok(())
    }

    async fn keep_report(&self, report: &Report) -> Result<(), Error> {
        let number = self.next(REPORTS).await?;
        self.keep(REPORTS, number, written(report)?).await?;
        let too_old = doc! { "$gt": 0_i64, "$lte": number - int(REPORTS_KEPT_MAX) };
        self.forget(REPORTS, doc! { "number": too_old }).await
    }

    async fn reports(&self, limit: usize) -> Result<Vec<Report>, Error> {
        let newest = self.newest(REPORTS, limit).await?;
        Ok(newest.into_iter().map(|(_number, report)| report).collect())
    }
}

impl Mongo {
    async fn next(&self, collection: &str) -> Result<i64, Error> {
        let counted = self
            .database
            .collection::<Document>(COUNTERS)
            .find_one_and_update(
                doc! { "_id": collection },
                doc! { "$inc": { "number": 1_i64 } },
            )
            .upsert(true)
            .return_document(ReturnDocument::After)
            .await
            .map_err(failed(KEEPING))?;
        let number = counted.as_ref().and_then(|one| one.get_i64("number").ok());
        number.ok_or_else(|| {
            let why = format!("{COUNTERS} {collection} holds no number");
            Error::new(ErrorKind::Corrupt, KEEPING, why)
        })
    }

    async fn keep(
        &self,
        collection: &str,
        number: i64,
        mut document: Document,
    ) -> Result<(), Error> {
        document.insert("number", number);
        let collection = self.database.collection::<Document>(collection);
        let kept = collection.insert_one(document).await;
        kept.map(|_id| ()).map_err(failed(KEEPING))
    }

    async fn forget(&self, collection: &str, which: Document) -> Result<(), Error> {
        let collection = self.database.collection::<Document>(collection);
        let forgotten = collection.delete_many(which).await;
        forgotten.map(|_count| ()).map_err(failed(KEEPING))
    }

    async fn newest<T: DeserializeOwned>(
        &self,
        collection: &str,
        limit: usize,
    ) -> Result<Vec<(u64, T)>, Error> {
        if limit == 0 {
            // To the server, no limit.
            return Ok(Vec::new());
        }
        let cursor = self
            .read_from(collection)
            .find(numbered())
            .sort(doc! { "number": -1 })
            .limit(at_most(limit))
            .await
            .map_err(failed(READING))?;
        let documents: Vec<Document> = cursor.try_collect().await.map_err(failed(READING))?;
        documents
            .into_iter()
            .map(|one| read(one, "number"))
            .collect()
    }
}

fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn written(of: &impl Serialize) -> Result<Document, Error> {
    let value = serde_json::to_value(of);
    let value = value.map_err(|error| Error::new(ErrorKind::Reject, KEEPING, error))?;
    let document = to_bson("", value);
    document.as_document().cloned().ok_or_else(|| {
        let why = format!("{document} is no document");
        Error::new(ErrorKind::Reject, KEEPING, why)
    })
}

fn read<T: DeserializeOwned>(mut document: Document, place: &str) -> Result<(u64, T), Error> {
    let number = document.get_i64(place).unwrap_or_default().unsigned_abs();
    for ours in ["_id", "run", "place", "number"] {
        document.remove(ours);
    }
    let value: Value = to_json(Bson::Document(document));
    let read = serde_json::from_value(value);
    read.map(|one| (number, one))
        .map_err(|error| Error::new(ErrorKind::Corrupt, READING, error))
}

use rusqlite::{params, params_from_iter};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::{Finding, ReplayRun, Report};
use crate::ports::{Error, ErrorKind, Reports};

use super::tables::bind;
use super::{Embedded, Failure, Inner, schema};

impl Reports for Embedded {
    async fn keep_run(&self, run: &ReplayRun, findings: &[Finding]) -> Result<u64, Error> {
        self.unit(|inner| inner.keep_run(run, findings))
    }

    async fn runs(&self, limit: usize) -> Result<Vec<(u64, ReplayRun)>, Error> {
        let sql = "SELECT run, body FROM replay_runs ORDER BY run DESC LIMIT ?";
        self.look(|inner| inner.documents(sql, &[bind(limit as u64)]))
    }

    async fn findings(
        &self,
        run: u64,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Finding)>, Error> {
        let sql = "SELECT place, body FROM findings
                   WHERE run = ? AND place > ? ORDER BY place LIMIT ?";
        let bound = [bind(run), bind(after), bind(limit as u64)];
        self.look(|inner| inner.documents(sql, &bound))
    }

    async fn keep_report(&self, report: &Report) -> Result<(), Error> {
        self.unit(|inner| {
            inner
                .connection
                .prepare_cached("INSERT INTO reports (body) VALUES (?)")?
                .execute([text(report)?])?;
            Ok::<_, Failure>(())
        })
    }

    async fn reports(&self, limit: usize) -> Result<Vec<Report>, Error> {
        let sql = "SELECT id, body FROM reports ORDER BY id DESC LIMIT ?";
        let found = self.look(|inner| inner.documents(sql, &[bind(limit as u64)]))?;
        Ok(found.into_iter().map(|(_id, report)| report).collect())
    }
}

impl Inner {
    fn keep_run(&self, run: &ReplayRun, findings: &[Finding]) -> Result<u64, Failure> {
        self.connection
            .prepare_cached("INSERT INTO replay_runs (body) VALUES (?)")?
            .execute([text(run)?])?;
        let number = self.connection.last_insert_rowid();
        let mut insert = self
            .connection
            .prepare_cached("INSERT INTO findings (run, place, body) VALUES (?, ?, ?)")?;
        for (place, finding) in (1_i64..).zip(findings) {
            insert.execute(params![number, place, text(finding)?])?;
        }
        Ok(u64::try_from(number).unwrap_or(0))
    }

    /// The documents that a query gives, each with its number, in the query's order.
    fn documents<T: DeserializeOwned>(
        &self,
        sql: &str,
        bound: &[i64],
    ) -> Result<Vec<(u64, T)>, Failure> {
        if !schema::has_format_2(&self.connection)? {
            return Ok(Vec::new());
        }
        let mut select = self.connection.prepare_cached(sql)?;
        let mut rows = select.query(params_from_iter(bound))?;
        let mut documents = Vec::new();
        while let Some(row) = rows.next()? {
            let body = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
            let document = serde_json::from_str(body).map_err(|error| {
                Failure(Error::new(
                    ErrorKind::Corrupt,
                    "read a stored report",
                    error,
                ))
            })?;
            documents.push((u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0), document));
        }
        Ok(documents)
    }
}

fn text(document: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(document)
        .map_err(|error| Failure(Error::new(ErrorKind::Reject, "keep a report", error)))
}

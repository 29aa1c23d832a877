use rusqlite::{params, params_from_iter};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::{Finding, ReplayRun, Report};
use crate::ports::{Error, ErrorKind, LIVE_RUN, REPORTS_KEPT_MAX, RUNS_KEPT_MAX, Reports};

use super::query::{Need, Query, queries};
use super::queue::bind;
use super::{Embedded, Failure, Inner};

queries! {
    KEEP_RUN {
        name: "Reports::keep_run",
        needs: [],
        sql: "INSERT INTO replay_runs (body) VALUES (?)",
    }
    KEEP_FINDING {
        name: "Reports::keep_run, a finding",
        needs: [],
        sql: "INSERT INTO findings (run, place, body) VALUES (?, ?, ?)",
    }
    KEEP_LIVE {
        name: "Reports::keep_live",
        needs: [],
        sql: "INSERT INTO findings (run, place, body) VALUES (?, ?, ?)
              ON CONFLICT (run, place) DO UPDATE SET body = excluded.body",
    }
    FORGET_LIVE {
        name: "Reports::forget_live",
        needs: [Need::Key("findings")],
        sql: "DELETE FROM findings WHERE run = ? AND place = ? AND body = ?",
    }
    FORGET_RUNS {
        name: "Reports::keep_run, what is too old",
        needs: [Need::Key("replay_runs")],
        sql: "DELETE FROM replay_runs WHERE run <= ?",
    }
    FORGET_FINDINGS {
        name: "Reports::keep_run, findings that are too old",
        needs: [Need::Key("findings")],
        sql: "DELETE FROM findings WHERE run > 0 AND run <= ?",
    }
    FORGET_REPORTS {
        name: "Reports::keep_report, what is too old",
        needs: [Need::Key("reports")],
        sql: "DELETE FROM reports WHERE id <= ?",
    }
    /// From its end; the condition, which always holds, makes a search of it.
    RUNS {
        name: "Reports::runs",
        needs: [Need::Key("replay_runs")],
        sql: "SELECT run, body FROM replay_runs WHERE run > 0 ORDER BY run DESC LIMIT ?",
        trial: "SELECT 100 FROM replay_runs LIMIT 1",
    }
    FINDINGS {
        name: "Reports::findings, page",
        needs: [Need::Key("findings")],
        sql: "SELECT place, body FROM findings WHERE run = ? AND place > ? ORDER BY place LIMIT ?",
        trial: "SELECT run, 0, 100 FROM findings LIMIT 1",
    }
    KEEP_REPORT {
        name: "Reports::keep_report",
        needs: [],
        sql: "INSERT INTO reports (body) VALUES (?)",
    }
    REPORTS {
        name: "Reports::reports",
        needs: [Need::Key("reports")],
        sql: "SELECT id, body FROM reports WHERE id > 0 ORDER BY id DESC LIMIT ?",
        trial: "SELECT 100 FROM reports LIMIT 1",
    }
}

/// The format of the file that first had these tables.
const SINCE_FORMAT: i32 = 2;

impl Reports for Embedded {
    async fn keep_run(&self, run: &ReplayRun, findings: &[Finding]) -> Result<u64, Error> {
        self.unit(|inner| inner.keep_run(run, findings))
    }

    async fn runs(&self, limit: usize) -> Result<Vec<(u64, ReplayRun)>, Error> {
        self.look(|inner| inner.documents(&RUNS, &[bind(limit as u64)]))
    }

    async fn findings(
        &self,
        run: u64,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Finding)>, Error> {
        let bound = [bind(run), bind(after), bind(limit as u64)];
        self.look(|inner| inner.documents(&FINDINGS, &bound))
    }

    async fn keep_live(&self, findings: &[Finding]) -> Result<(), Error> {
        self.unit(|inner| {
            let mut insert = inner.database.prepare(&KEEP_LIVE)?;
            for finding in findings {
                let place = bind(finding.place_of_row());
                insert.execute(params![bind(LIVE_RUN), place, text(finding)?])?;
            }
            Ok::<_, Failure>(())
        })
    }

    async fn forget_live(&self, findings: &[Finding]) -> Result<(), Error> {
        self.unit(|inner| {
            let mut delete = inner.database.prepare(&FORGET_LIVE)?;
            for finding in findings {
                let place = bind(finding.place_of_row());
                delete.execute(params![bind(LIVE_RUN), place, text(finding)?])?;
            }
            Ok::<_, Failure>(())
        })
    }

    async fn keep_report(&self, report: &Report) -> Result<(), Error> {
        self.unit(|inner| {
            let mut insert = inner.database.prepare(&KEEP_REPORT)?;
            insert.execute([text(report)?])?;
            let too_old = inner.database.last_insert_rowid() - bind(REPORTS_KEPT_MAX);
            inner
                .database
                .prepare(&FORGET_REPORTS)?
                .execute([too_old])?;
            Ok::<_, Failure>(())
        })
    }

    async fn reports(&self, limit: usize) -> Result<Vec<Report>, Error> {
        let found = self.look(|inner| inner.documents(&REPORTS, &[bind(limit as u64)]))?;
        Ok(found.into_iter().map(|(_id, report)| report).collect())
    }
}

impl Inner {
    fn keep_run(&self, run: &ReplayRun, findings: &[Finding]) -> Result<u64, Failure> {
        self.database.prepare(&KEEP_RUN)?.execute([text(run)?])?;
        let number = self.database.last_insert_rowid();
        let mut insert = self.database.prepare(&KEEP_FINDING)?;
        for (place, finding) in (1_i64..).zip(findings) {
            insert.execute(params![number, place, text(finding)?])?;
        }
        let too_old = number - bind(RUNS_KEPT_MAX);
        self.database.prepare(&FORGET_RUNS)?.execute([too_old])?;
        self.database
            .prepare(&FORGET_FINDINGS)?
            .execute([too_old])?;
        Ok(u64::try_from(number).unwrap_or(0))
    }

    /// The documents that a query gives, each with its number, in the query's order.
    pub(super) fn documents<T: DeserializeOwned>(
        &self,
        query: &Query,
        bound: &[i64],
    ) -> Result<Vec<(u64, T)>, Failure> {
        if self.database.format()? < SINCE_FORMAT {
            return Ok(Vec::new());
        }
        let mut select = self.database.prepare(query)?;
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

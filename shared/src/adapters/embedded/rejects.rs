use rusqlite::params;

use crate::model::{Reject, RejectReason, Timestamp};
use crate::ports::{Error, Rejects};

use super::query::{Need, queries};
use super::{Embedded, Failure};

queries! {
    KEEP {
        name: "Rejects::keep",
        needs: [],
        sql: "INSERT INTO rejects (mark, at, input, line, reason, detail, text)
              VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    }
    LIST {
        name: "Rejects::list, page",
        needs: [Need::Key("rejects")],
        sql: "SELECT id, at, input, line, reason, detail, text FROM rejects
              WHERE id > ? ORDER BY id LIMIT ?",
        trial: "SELECT 0, 100 FROM rejects LIMIT 1",
    }
}

impl Rejects for Embedded {
    async fn keep(&self, rejects: &[Reject]) -> Result<(), Error> {
        self.unit(|inner| {
            for reject in rejects {
                inner.database.prepare(&KEEP)?.execute(params![
                    mark(reject),
                    reject.at.ms(),
                    reject.input,
                    i64::try_from(reject.line).unwrap_or(i64::MAX),
                    reason_name(reject.reason),
                    reject.detail,
                    reject.text,
                ])?;
            }
            Ok::<_, Failure>(())
        })
    }

    async fn list(&self, after: u64, limit: usize) -> Result<Vec<(u64, Reject)>, Error> {
        self.look(|inner| {
            let mut select = inner.database.prepare(&LIST)?;
            let bound = params![
                i64::try_from(after).unwrap_or(i64::MAX),
                i64::try_from(limit).unwrap_or(i64::MAX)
            ];
            let rows = select.query_map(bound, |row| {
                let reason: String = row.get(4)?;
                let reject = Reject {
                    at: Timestamp::from_ms(row.get(1)?),
                    input: row.get(2)?,
                    line: u64::try_from(row.get::<_, i64>(3)?).unwrap_or(0),
                    reason: serde_json::from_value(reason.into())
                        .unwrap_or(RejectReason::Malformed),
                    detail: row.get(5)?,
                    text: row.get(6)?,
                };
                Ok((u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0), reject))
            })?;
            Ok::<_, Failure>(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}

/// What makes two rejects the same: running a file again must not double its rejects.
fn mark(reject: &Reject) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(reject.input.len() as u64).to_le_bytes());
    hasher.update(reject.input.as_bytes());
    hasher.update(&reject.line.to_le_bytes());
    hasher.update(reject.text.as_bytes());
    hasher
        .finalize()
        .as_bytes()
        .iter()
        .take(16)
        .copied()
        .collect()
}

fn reason_name(reason: RejectReason) -> String {
    serde_json::to_value(reason)
        .ok()
        .and_then(|v| v.as_str().map(str::to_owned))
        .unwrap_or_default()
}

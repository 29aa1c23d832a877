use crate::model::AuditRecord;
use crate::ports::{Error, ErrorKind};

use super::query::{Need, queries};
use super::queue::bind;
use super::{Embedded, Failure};

queries! {
    NOTE {
        name: "Embedded::note",
        needs: [],
        sql: "INSERT INTO audit (body) VALUES (?)",
    }
    FORGET_AUDIT {
        name: "Embedded::note, what is too old",
        needs: [Need::Key("audit")],
        sql: "DELETE FROM audit WHERE id <= ?",
    }
    AUDITED {
        name: "Embedded::audited",
        needs: [Need::Key("audit")],
        sql: "SELECT id, body FROM audit WHERE id > 0 ORDER BY id DESC LIMIT ?",
        trial: "SELECT 100 FROM audit LIMIT 1",
    }
}

/// The format of the file that first had this table.
const SINCE_FORMAT: i32 = 5;
/// The most records that are kept; a newer one takes the place of the oldest.
const KEPT_MAX: i64 = 10_000;

impl Embedded {
    /// Keeps the record of something that a person did.
    ///
    /// # Errors
    /// The store failed.
    pub fn note(&self, record: &AuditRecord) -> Result<(), Error> {
        self.unit(|inner| {
            let body = serde_json::to_string(record)
                .map_err(|error| Error::new(ErrorKind::Reject, "keep an audit record", error))?;
            inner.database.prepare(&NOTE)?.execute([body])?;
            let too_old = inner.database.last_insert_rowid() - KEPT_MAX;
            inner.database.prepare(&FORGET_AUDIT)?.execute([too_old])?;
            Ok::<_, Failure>(())
        })
    }

    /// The records kept last, the newest first, at most `limit`.
    ///
    /// # Errors
    /// The store failed.
    pub fn audited(&self, limit: usize) -> Result<Vec<AuditRecord>, Error> {
        self.look(|inner| {
            if inner.database.format()? < SINCE_FORMAT {
                return Ok(Vec::new());
            }
            let found = inner.documents(&AUDITED, &[bind(limit as u64)])?;
            Ok::<_, Failure>(found.into_iter().map(|(_id, record)| record).collect())
        })
    }
}

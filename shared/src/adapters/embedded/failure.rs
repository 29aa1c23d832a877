//! What went wrong with the file, and what a person can do about it.

use std::io;

use rusqlite::ffi::ErrorCode;

use crate::ports::{Error, ErrorKind};

use super::codec;

/// A failure on its way out of the adapter.
pub(super) struct Failure(pub(super) Error);

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self(failed("use the store")(error))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl From<codec::Unreadable> for Failure {
    fn from(error: codec::Unreadable) -> Self {
        let error = Told {
            what_to_do: DAMAGED,
            cause: error,
        };
        Self(Error::new(
            ErrorKind::Corrupt,
            "read a stored record",
            error,
        ))
    }
}

/// A cause, with what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{cause} ({what_to_do})")]
struct Told<E: std::error::Error + 'static> {
    what_to_do: &'static str,
    // Its words stand in this error's own, so it is not named as its source again.
    cause: E,
}

const DAMAGED: &str = "the file is damaged: `foldback check` says where; restore the directory from a backup, \
                       or take the events in again into a new one";
const FULL: &str = "make room and run the same again: all that was accepted is kept, and of what was not \
                    nothing took effect";
const READ_ONLY: &str =
    "foldback writes there: make the directory and its files writable, or use a copy";
const BROKEN: &str = "the disk failed, or a limit on the size of files was met; mend that and run the same again: \
                      all that was accepted is kept, and of what was not nothing took effect";
const UNREACHABLE: &str = "the file cannot be opened: is the directory there, and may this user write to it and \
                           to its files?";

/// What to do about a failure of `SQLite`.
pub(super) fn failed(doing: &str) -> impl Fn(rusqlite::Error) -> Error {
    use ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseCorrupt, DatabaseLocked, DiskFull, NotADatabase,
        PermissionDenied, ReadOnly, SystemIoFailure,
    };
    let doing = doing.to_owned();
    move |error| {
        let (kind, what_to_do) = match error.sqlite_error_code() {
            Some(DatabaseCorrupt) => (ErrorKind::Corrupt, DAMAGED),
            Some(NotADatabase) => (
                ErrorKind::Corrupt,
                "the file is not a Foldback store, or its beginning is damaged: give --data another directory, or \
                 restore this one from a backup",
            ),
            Some(DiskFull) => (ErrorKind::Retry, FULL),
            Some(SystemIoFailure) => (ErrorKind::Retry, BROKEN),
            Some(ReadOnly | PermissionDenied) => (ErrorKind::Retry, READ_ONLY),
            Some(CannotOpen) => (ErrorKind::Retry, UNREACHABLE),
            Some(DatabaseBusy | DatabaseLocked) => (
                ErrorKind::Retry,
                "another process is at work there; try again",
            ),
            Some(_) => return Error::new(ErrorKind::Retry, doing.clone(), error),
            None => return Error::new(ErrorKind::Corrupt, doing.clone(), error),
        };
        let told = Told {
            what_to_do,
            cause: error,
        };
        Error::new(kind, doing.clone(), told)
    }
}

/// What to do about a failure of the file system.
pub(super) fn of_file(doing: String) -> impl Fn(io::Error) -> Error {
    use io::ErrorKind as Io;
    move |error| {
        let kind = error.kind();
        let what_to_do = if matches!(kind, Io::PermissionDenied | Io::ReadOnlyFilesystem) {
            READ_ONLY
        } else if matches!(kind, Io::StorageFull | Io::QuotaExceeded) {
            FULL
        } else if kind == Io::FileTooLarge {
            BROKEN
        } else {
            return Error::new(ErrorKind::Reject, doing.clone(), error);
        };
        let told = Told {
            what_to_do,
            cause: error,
        };
        Error::new(ErrorKind::Retry, doing.clone(), told)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pollster::block_on;

    use crate::model::{Entry, Group, Timestamp, cloud_event};
    use crate::ports::{Appended, ErrorKind, Journal};

    use super::super::{Embedded, QueueLimits};

    fn group() -> Group {
        Group {
            tenant: "acme".into(),
            key: "lead-1".into(),
        }
    }

    fn entry(id: usize) -> Arc<Entry> {
        let data = blake3::hash(&id.to_le_bytes()).to_hex().repeat(40);
        let text = format!(
            r#"{{"specversion":"1.0","source":"//crm","id":"{id}","type":"t","partitionkey":"lead-1",
                "time":"2026-03-01T09:30:00Z","data":"{data}"}}"#
        );
        let event = cloud_event::parse(text.as_bytes()).expect("an event");
        Arc::new(Entry {
            group: group(),
            hash: event.hash(),
            event,
            recorded: Timestamp::MIN,
        })
    }

    /// A disk without room: what was accepted stays, what was not left nothing, and with room it goes on.
    #[test]
    fn a_full_disk_takes_nothing_away() {
        let directory = tempfile::tempdir().expect("a directory");
        let open = || Embedded::open(directory.path(), QueueLimits::default()).expect("a store");
        let store = open();
        store
            .lock()
            .database
            .leave_room_for(64)
            .expect("little room");
        let mut accepted = 0;
        let error = loop {
            match block_on(store.append(&[entry(accepted)])) {
                Ok(appended) => {
                    assert_eq!(appended, [Appended::New]);
                    accepted += 1;
                }
                Err(error) => break error,
            }
            assert!(accepted < 10_000, "the disk is never full");
        };
        let said = error.chain();
        assert_eq!(error.kind(), ErrorKind::Retry, "{said}");
        for word in [
            "full",
            "make room",
            directory.path().to_str().expect("UTF-8"),
        ] {
            assert!(said.contains(word), "{word}? {said}");
        }
        let journaled = |store: &Embedded| {
            let entries = block_on(store.entries(&[group()])).expect("entries");
            entries.iter().map(Vec::len).sum::<usize>()
        };
        assert!(accepted > 0);
        assert_eq!(journaled(&store), accepted);
        drop(store);
        let store = open();
        assert_eq!(journaled(&store), accepted);
        let again = block_on(store.append(&[entry(accepted), entry(0)]));
        assert_eq!(again.expect("room"), [Appended::New, Appended::Duplicate]);
        assert!(store.check().expect("a check").is_clean());
    }
}

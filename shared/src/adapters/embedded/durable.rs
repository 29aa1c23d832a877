//! A witness beside the file of how far the journal is durable.
//!
//! `SQLite` takes a write-ahead log that was cut off for one that ends there, and an older copy of the file for
//! the file: commits are gone, and nothing says so. The witness is written after each commit, so it is never
//! ahead of what was durable then, and a journal that ends before it has lost events.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::ports::{Error, ErrorKind};

use super::failure::of_file;

/// The name of the witness in a data directory.
pub(super) const DURABLE_NAME: &str = "foldback.durable";

/// The witness.
#[derive(Debug)]
pub(super) struct Durable {
    file: File,
    /// The last position of the journal that it names.
    told: i64,
    /// What the open unit of work appended up to.
    next: i64,
}

impl Durable {
    pub(super) fn open(directory: &Path) -> Result<Self, Error> {
        let path = directory.join(DURABLE_NAME);
        let doing = || format!("open {}", path.display());
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(of_file(doing()))?;
        let told = position(&mut file);
        Ok(Self {
            file,
            told,
            next: told,
        })
    }

    /// Refuses to go on with a journal that ends before what was durable.
    pub(super) fn compare(&self, last: i64) -> Result<(), Error> {
        match lost(self.told, last) {
            None => Ok(()),
            Some(lost) => Err(Error::new(
                ErrorKind::Corrupt,
                "take more events in",
                lost.as_str(),
            )),
        }
    }

    /// The open unit of work appends up to this position.
    pub(super) fn appends_to(&mut self, last: i64) {
        self.next = self.next.max(last);
    }

    /// The unit of work is durable. Should this not be written, the witness says less than there is.
    pub(super) fn tell(&mut self) {
        if self.next == self.told {
            return;
        }
        let text = format!("{:020}\n", self.next);
        let written = self
            .file
            .seek(SeekFrom::Start(0))
            .and_then(|_start| self.file.write_all(text.as_bytes()));
        if written.is_ok() {
            self.told = self.next;
        }
    }

    /// The unit of work was given up.
    pub(super) fn take_back(&mut self) {
        self.next = self.told;
    }
}

/// The last position that the witness of a directory names; 0 where there is none.
pub(super) fn told(directory: &Path) -> i64 {
    File::open(directory.join(DURABLE_NAME)).map_or(0, |mut file| position(&mut file))
}

/// Says what is lost where the journal ends before the witness.
pub(super) fn lost(told: i64, last: i64) -> Option<String> {
    (last < told).then(|| {
        format!(
            "the journal ends with segment {last}, and segment {told} was durable: the file's write-ahead log \
             (foldback.db-wal) was cut off or left behind, or an older copy of the file was put back. Put the whole \
             directory back as it was; or, to go on with what is there, delete {DURABLE_NAME}, take the lost \
             events in again, and run `foldback replay --mode update`"
        )
    })
}

fn position(file: &mut File) -> i64 {
    let mut text = String::new();
    // A witness that cannot be read bears witness to nothing.
    let read = file.read_to_string(&mut text);
    read.ok()
        .and_then(|_bytes| text.trim().parse().ok())
        .unwrap_or(0)
}

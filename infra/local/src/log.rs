use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde_json::{Value, json};
use shared::model::Timestamp;
use shared::service::{LateLine, Processed};

use crate::error::Failure;

/// Where late events are told, a line of JSON each, as the functions on AWS log them; by default nowhere.
#[derive(Default)]
pub(crate) struct Log {
    out: Option<Box<dyn Write>>,
}

impl Log {
    /// A log that begins with this run; `-` is standard error.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let out: Option<Box<dyn Write>> = match path {
            None => None,
            Some(path) if path == Path::new("-") => Some(Box::new(anstream::stderr())),
            Some(path) => {
                let file = File::create(path).map_err(|source| Failure::File {
                    what: format!("write the log {}", path.display()),
                    source,
                })?;
                Some(Box::new(BufWriter::new(file)))
            }
        };
        Ok(Self { out })
    }

    /// Tells of what is durable.
    pub(crate) fn tell(&mut self, done: &Processed, now: Timestamp) -> Result<(), Failure> {
        let Some(out) = &mut self.out else {
            return Ok(());
        };
        let mut line = |message: &str, mut fields: Value| {
            if let Some(fields) = fields.as_object_mut() {
                fields.insert("message".to_owned(), message.into());
            }
            let line = json!({ "timestamp": now.to_string(), "level": "ERROR", "fields": fields });
            writeln!(out, "{line}")
        };
        let mut write = || {
            for (entry, late) in &done.late {
                let fields = serde_json::to_value(LateLine::new(entry, late)).unwrap_or_default();
                line(LateLine::MESSAGE, fields)?;
            }
            for finding in &done.found {
                let fields = serde_json::to_value(finding).unwrap_or_default();
                line(LateLine::MESSAGE_OF_ROW, fields)?;
            }
            Ok(())
        };
        write()
            .and_then(|()| out.flush())
            .map_err(|source| Failure::File {
                what: "write the log".to_owned(),
                source,
            })
    }
}

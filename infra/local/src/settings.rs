use std::fs;
use std::path::Path;

use shared::adapters::embedded::Embedded;
use shared::model::Timestamp;
use shared::settings::{Format, Settings};

use crate::error::Failure;

/// The settings that the shipped sample is read with.
const SAMPLE: &str = include_str!("../sample/settings.toml");

/// Where a run's settings come from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source<'a> {
    /// A file that the user names.
    File(&'a Path),
    /// The shipped sample's.
    Sample,
    /// Those that the data directory was last run with.
    Stored,
}

/// Reads and compiles the settings; a wrong file is refused before anything runs.
pub(crate) fn read(source: Source<'_>) -> Result<Option<(String, Format)>, Failure> {
    let (text, format, name) = match source {
        Source::Stored => return Ok(None),
        Source::Sample => (
            SAMPLE.to_owned(),
            Format::Toml,
            "the sample's settings".to_owned(),
        ),
        Source::File(path) => {
            let name = path.display().to_string();
            let text = fs::read_to_string(path).map_err(|source| Failure::File {
                what: format!("read settings {name}"),
                source,
            })?;
            let json = path
                .extension()
                .is_some_and(|extension| extension == "json");
            (text, if json { Format::Json } else { Format::Toml }, name)
        }
    };
    Settings::compile(&text, format, 0)
        .map_err(|error| Failure::Input(format!("settings {name}: {error}")))?;
    Ok(Some((text, format)))
}

/// Puts settings that were read in force, or takes those in force, and compiles them.
pub(crate) fn put_in_force(
    store: &Embedded,
    read: Option<&(String, Format)>,
    now: Timestamp,
) -> Result<Settings, Failure> {
    if let Some((text, format)) = read {
        store.put_settings(text, *format, now)?;
    }
    in_force(store)
}

/// The settings in force in a data directory.
pub(crate) fn in_force(store: &Embedded) -> Result<Settings, Failure> {
    let Some(stored) = store.settings()? else {
        let directory = store.directory().display();
        return Err(Failure::Input(format!(
            "{directory} has no settings yet; give --settings FILE to say what the events mean"
        )));
    };
    Settings::compile(&stored.text, stored.format, stored.version).map_err(|error| {
        Failure::Input(format!(
            "stored settings, version {}: {error}",
            stored.version
        ))
    })
}

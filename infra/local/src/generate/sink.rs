use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::error::Failure;

/// Where lines go: standard output or a file, compressed by the file's extension.
pub(super) struct Sink {
    /// The file's name; `None` for standard output.
    name: Option<String>,
    encoder: Encoder,
}

enum Encoder {
    Plain(Box<dyn Write>),
    Gzip(GzEncoder<Box<dyn Write>>),
    Zstd(zstd::stream::write::Encoder<'static, Box<dyn Write>>),
}

impl Sink {
    /// Opens `path`; `-` is standard output.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            let stdout = BufWriter::new(io::stdout().lock());
            return Ok(Self {
                name: None,
                encoder: Encoder::Plain(Box::new(stdout)),
            });
        }
        let name = path.display().to_string();
        let open = || {
            let file: Box<dyn Write> = Box::new(BufWriter::new(File::create(path)?));
            Ok(match path.extension().and_then(OsStr::to_str) {
                Some("gz") => Encoder::Gzip(GzEncoder::new(file, Compression::best())),
                Some("zst") => {
                    // The default level.
                    Encoder::Zstd(zstd::stream::write::Encoder::new(file, 0)?)
                }
                Some(_) | None => Encoder::Plain(file),
            })
        };
        match open() {
            Ok(encoder) => Ok(Self {
                name: Some(name),
                encoder,
            }),
            Err(source) => Err(Failure::File {
                what: format!("write {name}"),
                source,
            }),
        }
    }

    /// Writes one line and its end.
    pub(super) fn line(&mut self, text: &str) -> Result<(), Failure> {
        let to: &mut dyn Write = match &mut self.encoder {
            Encoder::Plain(to) => to,
            Encoder::Gzip(to) => to,
            Encoder::Zstd(to) => to,
        };
        let written = to
            .write_all(text.as_bytes())
            .and_then(|()| to.write_all(b"\n"));
        written.map_err(|source| failed(self.name.as_ref(), source))
    }

    /// Writes what is still in memory. What was written is whole only after this.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let finished = match self.encoder {
            Encoder::Plain(to) => Ok(to),
            Encoder::Gzip(to) => to.finish(),
            Encoder::Zstd(to) => to.finish(),
        };
        let flushed = finished.and_then(|mut to| to.flush());
        flushed.map_err(|source| failed(self.name.as_ref(), source))
    }
}

fn failed(name: Option<&String>, source: io::Error) -> Failure {
    match name {
        Some(name) => Failure::File {
            what: format!("write {name}"),
            source,
        },
        None => Failure::Output(source),
    }
}

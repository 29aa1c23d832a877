use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use shared::adapters::texts::Reader;

use crate::error::Failure;

/// Where events come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// A file: plain, `.gz` or `.zst`.
    File(PathBuf),
    /// Standard input, `-`; compressed input is recognised by its first bytes.
    Stdin,
    /// The sample that ships with the program.
    Sample,
}

const SAMPLE: &[u8] = include_bytes!("../sample/events.jsonl.gz");
const BUFFER_BYTES: usize = 1 << 20;

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Stdin => f.write_str("-"),
            Self::Sample => f.write_str("(sample)"),
        }
    }
}

impl Input {
    /// The inputs that the words of a command line name; none means the sample.
    pub(crate) fn named(words: &[PathBuf]) -> Vec<Self> {
        if words.is_empty() {
            return vec![Self::Sample];
        }
        let named = |word: &PathBuf| {
            if word == Path::new("-") {
                Self::Stdin
            } else {
                Self::File(word.clone())
            }
        };
        words.iter().map(named).collect()
    }

    /// How many bytes there are to read, where that is known.
    pub(crate) fn bytes(&self) -> Option<u64> {
        match self {
            Self::File(path) => path
                .metadata()
                .ok()
                .filter(std::fs::Metadata::is_file)
                .map(|meta| meta.len()),
            Self::Stdin => None,
            Self::Sample => Some(SAMPLE.len() as u64),
        }
    }

    /// Says early what is wrong with a file that cannot be read.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match self {
            Self::File(path) => match File::open(path) {
                Ok(_) => Ok(()),
                Err(source) => Err(Failure::File {
                    what: format!("read {}", path.display()),
                    source,
                }),
            },
            Self::Stdin | Self::Sample => Ok(()),
        }
    }

    /// Opens the input; `consumed` counts its bytes as they are read, before decompression.
    pub(crate) fn open(&self, consumed: Counter) -> Result<Reader, Failure> {
        let raw: Box<dyn Read> = match self {
            Self::File(path) => Box::new(File::open(path).map_err(|source| Failure::File {
                what: format!("read {}", path.display()),
                source,
            })?),
            Self::Stdin => Box::new(io::stdin()),
            Self::Sample => Box::new(SAMPLE),
        };
        let failed = |source| Failure::File {
            what: format!("read {self}"),
            source,
        };
        let mut raw = BufReader::with_capacity(BUFFER_BYTES, Counted { raw, consumed });
        let magic = raw.fill_buf().map_err(failed)?;
        let plain: Box<dyn BufRead> = if magic.starts_with(&[0x1f, 0x8b]) {
            let gz = flate2::bufread::MultiGzDecoder::new(raw);
            Box::new(BufReader::with_capacity(BUFFER_BYTES, gz))
        } else if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            let zst = zstd::stream::read::Decoder::with_buffer(raw).map_err(failed)?;
            Box::new(BufReader::with_capacity(BUFFER_BYTES, zst))
        } else {
            Box::new(raw)
        };
        Ok(Reader::new(plain))
    }
}

/// Counts bytes across threads.
pub(crate) type Counter = std::sync::Arc<std::sync::atomic::AtomicU64>;

struct Counted {
    raw: Box<dyn Read>,
    consumed: Counter,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.raw.read(buffer)?;
        self.consumed
            .fetch_add(read as u64, std::sync::atomic::Ordering::Relaxed);
        Ok(read)
    }
}

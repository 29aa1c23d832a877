use std::error::Error as StdError;
use std::io;
use std::process::ExitCode;

use shared::ports::{self, ErrorKind};

/// How a command ended; stable, for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Done, and nothing is wrong.
    Clean,
    /// Done, and something was found.
    Findings,
    /// Done, and the store has lost something: what is wrong is not to be mended from what it has.
    Lost,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        match status {
            Status::Clean => Self::SUCCESS,
            Status::Findings => Self::from(1),
            Status::Lost => Self::from(3),
        }
    }
}

/// Why a command could not do its work. `clap` ends with 2 on wrong usage too.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// What was given is wrong: a file, a setting, an id. Exit status 2.
    #[error("{0}")]
    Input(String),
    /// A file cannot be read or written. Exit status 2.
    #[error("{what}")]
    File {
        /// What was being done.
        what: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The store failed: exit status 3; or what was asked of it cannot be: 2.
    #[error("cannot {0}")]
    Store(#[from] StoreFailure),
    /// Standard output cannot be written.
    #[error("write to standard output")]
    Output(#[from] io::Error),
}

/// A failure of a port, with its own text before its chain.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct StoreFailure(#[source] ports::Error);

impl From<ports::Error> for Failure {
    fn from(error: ports::Error) -> Self {
        Self::Store(StoreFailure(error))
    }
}

impl Failure {
    /// Whether another process is the one that writes there, or the store asks to try again.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self, Self::Store(StoreFailure(error)) if error.kind() == ErrorKind::Retry)
    }

    /// Prints the chain of causes once and gives the exit status.
    pub(crate) fn report(&self) -> ExitCode {
        if let Self::Output(error) = self
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            // Whoever read the output has had enough; that is their right.
            return ExitCode::SUCCESS;
        }
        let mut line = format!("foldback: {self}");
        let mut source = match self {
            Self::Store(StoreFailure(error)) => error.source(),
            Self::Input(_) | Self::File { .. } | Self::Output(_) => self.source(),
        };
        while let Some(error) = source {
            line.push_str(": ");
            line.push_str(&error.to_string());
            source = error.source();
        }
        anstream::eprintln!("{line}");
        match self {
            Self::Input(_) | Self::File { .. } => ExitCode::from(2),
            Self::Store(StoreFailure(error)) if error.kind() == ErrorKind::Reject => {
                ExitCode::from(2)
            }
            Self::Store(_) | Self::Output(_) => ExitCode::from(3),
        }
    }
}

use std::error::Error as StdError;

/// What the caller of a port should do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Try again later: the store is busy, throttled or out of reach.
    Retry,
    /// Do not try again: the request can never succeed.
    Reject,
    /// The stored data is not what it should be; a person has to look.
    Corrupt,
}

/// A failure of a port: what was being done, what to do about it, and why (the source).
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct Error {
    kind: ErrorKind,
    doing: String,
    #[source]
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A failure while `doing` something, because of `source`.
    pub fn new(
        kind: ErrorKind,
        doing: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            doing: doing.into(),
            source: Some(source.into()),
        }
    }

    /// What was being done and why it failed, cause by cause, in one line.
    #[must_use]
    pub fn chain(&self) -> String {
        let causes = std::iter::successors(self.source(), |cause| (*cause).source());
        causes.fold(self.to_string(), |said, cause| format!("{said}: {cause}"))
    }

    /// The same failure, saying where.
    #[must_use]
    pub fn within(self, place: impl std::fmt::Display) -> Self {
        let doing = format!("{} in {place}", self.doing);
        Self { doing, ..self }
    }

    /// What the caller should do.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

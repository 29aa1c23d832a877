use mongodb::error::{Error as MongoError, ErrorKind as MongoErrorKind, RETRYABLE_WRITE_ERROR};

use crate::ports::{Error, ErrorKind};

/// Server codes of requests that can never succeed as they are, by the names of
/// <https://www.mongodb.com/docs/manual/reference/error-codes/>: `BadValue`, `FailedToParse`,
/// `Unauthorized`, `TypeMismatch`, `AuthenticationFailed`, `IllegalOperation`, `CommandNotFound`,
/// `ImmutableField`, `InvalidOptions`, `InvalidNamespace`, `DocumentValidationFailure`,
/// `BSONObjectTooLarge`.
const REJECTED: [i32; 12] = [2, 9, 13, 14, 18, 20, 59, 66, 72, 73, 121, 10334];

/// What to do about a failure of the driver.
pub(super) fn failed(doing: &str) -> impl Fn(MongoError) -> Error {
    let doing = doing.to_owned();
    move |error| Error::new(kind(&error), doing.clone(), error)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the driver's enum is open, and most of it is to be tried again"
)]
fn kind(error: &MongoError) -> ErrorKind {
    if error.contains_label(RETRYABLE_WRITE_ERROR) {
        return ErrorKind::Retry;
    }
    match error.kind.as_ref() {
        MongoErrorKind::Command(command) if REJECTED.contains(&command.code) => ErrorKind::Reject,
        MongoErrorKind::InvalidArgument { .. }
        | MongoErrorKind::Authentication { .. }
        | MongoErrorKind::InvalidTlsConfig { .. }
        | MongoErrorKind::IncompatibleServer { .. }
        | MongoErrorKind::SessionsNotSupported
        | MongoErrorKind::BsonSerialization(_) => ErrorKind::Reject,
        MongoErrorKind::BsonDeserialization(_)
        | MongoErrorKind::Bson(_)
        | MongoErrorKind::InvalidResponse { .. } => ErrorKind::Corrupt,
        // Of what is left (the network, elections, full disks) some may not pass by itself; a message
        // that keeps failing ends in the dead-letter queue, which loses nothing.
        other => {
            let _: &MongoErrorKind = other;
            ErrorKind::Retry
        }
    }
}

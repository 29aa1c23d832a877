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

/// What to do about a connection string that the driver cannot read, which it may quote. A character
/// of a password that should have been escaped makes what stands before it look like a host and a port;
/// where the driver's reason repeats any of that, the reason is one of our own.
pub(super) fn unreadable(uri: &str) -> impl Fn(MongoError) -> Error {
    let address = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let user = match address.rsplit_once('@') {
        Some((user, _)) => user,
        None => address.split(['/', '?']).next().unwrap_or_default(),
    };
    let secret = user.split_once(':').map_or("", |(_, secret)| secret);
    let secret = secret.to_owned();
    move |error| {
        let doing = "read the connection string of MongoDB";
        let said = format!("{error:?}");
        let mut parts = secret.split([':', '/', '?', '#', '[', ']', '@', ',', '&', '=']);
        if parts.any(|part| !part.is_empty() && said.contains(part)) {
            return Error::new(ErrorKind::Reject, doing, FORM);
        }
        failed(doing)(error)
    }
}

/// The usual cause is a password that holds one of these characters.
const FORM: &str = "it is not of the form mongodb://user:password@host:port/database?options; in user \
                    and password, % : / ? # [ ] @ must be percent-encoded";

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

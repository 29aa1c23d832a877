use std::error::Error as StdError;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;

use crate::ports::{Error, ErrorKind};

use super::item::Item;

/// Codes of failures that pass by themselves, beside those that come with a status of 500 or more:
/// throttling of DynamoDB and SQS, too much in flight, two transactions at once.
const PASSING: [&str; 13] = [
    "KmsThrottled",
    "LimitExceededException",
    "OverLimit",
    "ProvisionedThroughputExceededException",
    "ReplicatedWriteConflictException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionConflictException",
    "TransactionInProgressException",
];

/// A response of which only the status matters.
pub(super) type Response = aws_sdk_dynamodb::config::http::HttpResponse;

/// What to do about a failure of the SDK.
pub(super) fn failed<E>(doing: &str) -> impl Fn(SdkError<E, Response>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let doing = doing.to_owned();
    move |error| Error::new(kind(&error), doing.clone(), error)
}

/// The item over which the condition of a put did not hold; only where the put asked to be told.
pub(super) fn refused_over(error: &PutItemError) -> Option<&Item> {
    if error.is_conditional_check_failed_exception()
        && let PutItemError::ConditionalCheckFailedException(failure) = error
    {
        return failure.item();
    }
    None
}

/// A batch of which some entries failed to the last.
pub(super) fn unfinished(doing: &str, left: usize) -> Error {
    let why = format!("{left} entries of a batch were left undone after every attempt");
    Error::new(ErrorKind::Retry, doing, why)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the SDK's enum is open, and what it may add is to be tried again"
)]
fn kind<E: ProvideErrorMetadata>(error: &SdkError<E, Response>) -> ErrorKind {
    match error {
        SdkError::ConstructionFailure(_) => ErrorKind::Reject,
        SdkError::ServiceError(refused) => {
            let passing = refused
                .err()
                .code()
                .is_some_and(|one| PASSING.contains(&one));
            if passing || refused.raw().status().is_server_error() {
                ErrorKind::Retry
            } else {
                ErrorKind::Reject
            }
        }
        // The network, a response that broke off.
        _ => ErrorKind::Retry,
    }
}

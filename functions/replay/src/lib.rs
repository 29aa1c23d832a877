//! What the function `replay` does.
//!
//! A request for everything, or for a tenant, becomes a run: its partitions are written down and each is
//! sent to a queue as a message of its own, with retries of its own. Whoever takes a partition goes on
//! where it was left, saves after each page, and sends it on when its time runs out. Who is done last sums
//! the run up. A request for one id is answered at once.

mod partition;
mod request;

use aws_lambda_events::sqs::SqsEvent;
use serde_json::{Value, json};
use shared::adapters::stack::Stack;
use shared::ports::{Error, ErrorKind};

pub use request::{Answer, Request, RequestMode, answer};

/// Does what is asked and answers with JSON.
///
/// To a request, what came of it; to partitions, which of them are to come again. `deadline_ms` is when the function is stopped, in milliseconds since 1970.
///
/// # Errors
/// The request is wrong, or a store failed.
pub async fn handle(stack: &Stack, input: Value, deadline_ms: u64) -> Result<Value, Error> {
    let doing = "read what is to be replayed";
    if input.get("Records").is_some() {
        let batch: SqsEvent = serde_json::from_value(input)
            .map_err(|error| Error::new(ErrorKind::Reject, doing, error))?;
        return partition::handle(stack, batch, deadline_ms).await;
    }
    let request: Request = serde_json::from_value(input).map_err(|error| {
        let why = format!(
            "{error}; give {{\"mode\": \"report\" | \"changes\" | \"update\", \"tenant\"?, \"id\"?, \
             \"partitions\"?}}"
        );
        Error::new(ErrorKind::Reject, doing, why)
    })?;
    Ok(json!(answer(stack, request).await?))
}

//! Lambda function `process`: takes batches of the actions queue and brings their rows to the fold.

use lambda_runtime::{Diagnostic, LambdaEvent, run, service_fn, tracing};
use shared::adapters::stack::Stack;
use shared::adapters::telemetry::Telemetry;
use shared::ports::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    tracing::init_default_subscriber();
    let stack = &Stack::from_env()?;
    let telemetry = &Telemetry::new(&stack.config)?;
    let handle = async |event: LambdaEvent<_>| {
        let (batch, context) = event.into_parts();
        foldback_process::handle(stack, telemetry, batch, context.deadline)
            .await
            .map_err(|error| diagnostic(&error))
    };
    run(service_fn(handle)).await
}

/// A failure as Lambda and the log show it: what was being done, and every cause.
fn diagnostic(error: &Error) -> Diagnostic {
    Diagnostic {
        error_type: format!("{:?}", error.kind()),
        error_message: error.chain(),
    }
}

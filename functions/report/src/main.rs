//! Lambda function `report`: says how things stand, as a kept document and as metrics.

use lambda_runtime::{LambdaEvent, run, service_fn, tracing};
use shared::adapters::stack::Stack;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    tracing::init_default_subscriber();
    let stack = &Stack::from_env()?;
    let handle =
        async |_schedule: LambdaEvent<serde_json::Value>| foldback_report::handle(stack).await;
    run(service_fn(handle)).await
}

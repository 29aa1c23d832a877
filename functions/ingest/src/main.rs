//! Lambda function `ingest`: takes webhooks in, journals their events and queues them.

use std::convert::Infallible;

use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use foldback_ingest::{failed, handle};
use lambda_runtime::{LambdaEvent, run, service_fn, tracing};
use shared::adapters::stack::Stack;
use shared::adapters::{RememberedSecrets, SystemClock};
use shared::ports::Clock;

/// How long a secret is used before it is read again.
const SECRETS_MS: i64 = 60_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    tracing::init_default_subscriber();
    let stack = &Stack::from_env()?;
    let secrets = &RememberedSecrets::new(stack.aws.clone(), SystemClock, SECRETS_MS);
    let handle = async |event: LambdaEvent<ApiGatewayV2httpRequest>| {
        let request = event.payload;
        Ok::<_, Infallible>(match stack.settings().await {
            Ok(settings) => {
                let now = SystemClock.now();
                handle(&stack.aws, secrets, &settings, &request, now).await
            }
            Err(error) => failed(&error),
        })
    };
    run(service_fn(handle)).await
}

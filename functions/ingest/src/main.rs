//! Lambda function `ingest`: takes webhooks in, for a function URL or an HTTP API of API Gateway.

use std::convert::Infallible;

use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_runtime::{LambdaEvent, run, service_fn, tracing};
use shared::adapters::stack::Stack;
use shared::adapters::{RememberedSecrets, SystemClock};
use shared::ports::Clock;

/// A rotated secret is found so soon.
const SECRETS_KEPT_MS: i64 = 60_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    tracing::init_default_subscriber();
    let stack = &Stack::from_env()?;
    let secrets = &RememberedSecrets::new(stack.aws.clone(), SystemClock, SECRETS_KEPT_MS);
    let handle = async |event: LambdaEvent<ApiGatewayV2httpRequest>| {
        let settings = match stack.settings().await {
            Ok(settings) => settings,
            Err(error) => return Ok(foldback_ingest::failed(&error)),
        };
        let (request, now) = (&event.payload, SystemClock.now());
        let answer = foldback_ingest::handle(&stack.aws, secrets, &settings, request, now);
        Ok::<_, Infallible>(answer.await)
    };
    run(service_fn(handle)).await
}

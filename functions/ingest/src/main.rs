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
        let (request, context) = event.into_parts();
        let answer = Box::pin(async {
            let settings = match stack.settings().await {
                Ok(settings) => settings,
                Err(error) => return foldback_ingest::failed(&error),
            };
            let now = SystemClock.now();
            foldback_ingest::handle(&stack.aws, secrets, &settings, &request, now).await
        });
        let (deadline_ms, now) = (context.deadline, SystemClock.now());
        Ok::<_, Infallible>(foldback_ingest::before(deadline_ms, now, answer).await)
    };
    run(service_fn(handle)).await
}

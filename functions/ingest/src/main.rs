//! Lambda function `ingest`: takes webhooks in, for a function URL or an HTTP API of API Gateway.

use std::convert::Infallible;

use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use http::StatusCode;
use lambda_runtime::{LambdaEvent, run, service_fn, tracing};
use shared::adapters::stack::Stack;
use shared::adapters::telemetry::Telemetry;
use shared::adapters::{RememberedSecrets, SystemClock};
use shared::ports::Clock;
use shared::service::{measured, traced};
use shared::trace::Scope;

/// A rotated secret is found so soon.
const SECRETS_KEPT_MS: i64 = 60_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    tracing::init_default_subscriber();
    let stack = &Stack::from_env()?;
    let telemetry = &Telemetry::new(&stack.config)?;
    let secrets = &RememberedSecrets::new(stack.aws.clone(), SystemClock, SECRETS_KEPT_MS);
    let handle = async |event: LambdaEvent<ApiGatewayV2httpRequest>| {
        let (mut request, context) = event.into_parts();
        let xray = context.xray_trace_id.filter(|_| stack.config.xray);
        foldback_ingest::trace_as(&mut request, xray.as_deref());
        let answer = Box::pin(async {
            let settings = match stack.settings().await {
                Ok(settings) => settings,
                Err(error) => return foldback_ingest::failed(&error),
            };
            let begun = SystemClock.now();
            let taken = foldback_ingest::take_in(&stack.aws, secrets, &settings, &request, begun);
            let taken = taken.await;
            let done = (begun, SystemClock.now());
            let spans = traced::of_request(&taken, Scope::AWS, done);
            let mut readings = measured::of_request(&taken, done.0, done.1);
            let (exported, error) = telemetry.trace(spans).await;
            readings.extend(exported);
            telemetry.measure(done.1, &readings);
            if let Some(error) = error {
                tracing::warn!(error = error.chain(), "traces are lost");
            }
            foldback_ingest::answer(taken.response)
        });
        let (deadline_ms, now) = (context.deadline, SystemClock.now());
        let answer = foldback_ingest::before(deadline_ms, now, answer).await;
        let status = u16::try_from(answer.status_code).unwrap_or_default();
        let status = StatusCode::from_u16(status).unwrap_or_default();
        telemetry.measure(SystemClock.now(), &measured::of_answer(status));
        Ok::<_, Infallible>(answer)
    };
    run(service_fn(handle)).await
}

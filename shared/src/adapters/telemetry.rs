//! What a function tells of itself: metrics in its log, spans to a collector and to X-Ray.

use crate::adapters::aws::{metric_lines, send_to_xray};
use crate::config::Config;
use crate::metrics::Reading;
use crate::metrics::registry::SPANS;
use crate::model::Timestamp;
use crate::ports::Error;
use crate::trace::Span;

#[cfg(feature = "otlp")]
use super::otlp::Otlp;

/// Where a function's readings and spans go.
#[derive(Debug)]
pub struct Telemetry {
    stack: String,
    /// The address of X-Ray's daemon, where traces are wanted there.
    xray: Option<String>,
    #[cfg(feature = "otlp")]
    otlp: Option<Otlp>,
}

impl Telemetry {
    /// As a configuration says.
    ///
    /// # Errors
    /// What it says of a collector cannot be used.
    pub fn new(config: &Config) -> Result<Self, Error> {
        #[cfg(feature = "otlp")]
        let otlp = config
            .otlp
            .as_ref()
            .map(|otlp| Otlp::new(otlp, &config.stack));
        Ok(Self {
            stack: config.stack.clone(),
            xray: config.xray.then(|| config.xray_daemon.clone()).flatten(),
            #[cfg(feature = "otlp")]
            otlp: otlp.transpose()?,
        })
    }

    /// Writes metrics to the log, where `CloudWatch` finds them.
    pub fn measure(&self, now: Timestamp, readings: &[Reading]) {
        for line in metric_lines(now, &self.stack, readings) {
            #[expect(clippy::print_stdout, reason = "CloudWatch reads metrics from the log")]
            {
                println!("{line}");
            }
        }
    }

    /// Sends spans; a function is stopped when it has answered, so they go before that. Says what became of
    /// them, and why some were not taken, for the log.
    pub async fn trace(&self, spans: Vec<Span>) -> (Vec<Reading>, Option<Error>) {
        if spans.is_empty() {
            return (Vec::new(), None);
        }
        if let Some(daemon) = &self.xray {
            // A statistic: what the daemon does not hear is lost.
            send_to_xray(daemon, &spans).ok();
        }
        self.export(spans).await
    }

    #[cfg(feature = "otlp")]
    async fn export(&self, spans: Vec<Span>) -> (Vec<Reading>, Option<Error>) {
        let Some(otlp) = &self.otlp else {
            return (Vec::new(), None);
        };
        let count = spans.len() as u64;
        let (failed, why) = match otlp.export(spans).await {
            Ok(()) => (0, None),
            Err((failed, why)) => (failed, Some(why)),
        };
        let exported = count - failed;
        (
            vec![
                SPANS.is(exported, &["exported"]),
                SPANS.is(failed, &["failed"]),
            ],
            why,
        )
    }

    #[cfg(not(feature = "otlp"))]
    #[expect(
        clippy::unused_async,
        reason = "with the feature otlp it waits for a collector"
    )]
    async fn export(&self, _spans: Vec<Span>) -> (Vec<Reading>, Option<Error>) {
        (vec![SPANS.is(0, &["exported"])], None)
    }
}

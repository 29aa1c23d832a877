//! Spans over OTLP (<https://opentelemetry.io/docs/specs/otlp/>), HTTP with protobuf.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry::trace::{
    Link, SpanContext, SpanId, SpanKind as OtelKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};

use crate::config::Otlp as Config;
use crate::model::Timestamp;
use crate::ports::{Error, ErrorKind};
use crate::trace::{Span, SpanKind, TraceContext, Value};

/// What is asked of one request.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How many spans one request carries.
const SPANS_MAX: usize = 512;

/// An exporter of spans. The library reads where to, with which headers and with which timeout from the
/// environment, as <https://opentelemetry.io/docs/specs/otel/protocol/exporter/> says.
pub struct Otlp {
    exporter: SpanExporter,
    scope: InstrumentationScope,
}

impl fmt::Debug for Otlp {
    /// Headers may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Otlp").finish_non_exhaustive()
    }
}

impl Otlp {
    /// An exporter, for a service that is called so unless the environment calls it otherwise.
    ///
    /// # Errors
    /// What the environment says cannot be read, or there are no certificates to trust.
    pub fn new(config: &Config, service: &str) -> Result<Self, Error> {
        let doing = "set the export of traces up";
        let wrong = |error| Error::new(ErrorKind::Reject, doing, error);
        let client = HyperClient::new(connector(doing)?, TIMEOUT, None);
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .build()
            .map_err(wrong)?;
        let service = config.service.clone().unwrap_or_else(|| service.to_owned());
        let resource = Resource::builder()
            .with_service_name(service)
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        exporter.set_resource(&resource);
        let scope = InstrumentationScope::builder("foldback")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        Ok(Self { exporter, scope })
    }

    /// Sends spans. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// The collector does not take them; so many of them were not sent.
    pub async fn export(&self, spans: Vec<Span>) -> Result<(), (u64, Error)> {
        let mut left = spans.len();
        let mut spans = spans.into_iter();
        while left > 0 {
            let batch: Vec<SpanData> = spans
                .by_ref()
                .take(SPANS_MAX)
                .map(|span| self.data(span))
                .collect();
            let count = batch.len();
            let exported = self.exporter.export(batch).await;
            exported.map_err(|error| {
                (
                    left as u64,
                    Error::new(ErrorKind::Retry, "export traces", error),
                )
            })?;
            left -= count;
        }
        Ok(())
    }

    fn data(&self, span: Span) -> SpanData {
        let parent = span.parent.map_or(SpanId::INVALID, |id| SpanId::from(id.0));
        let links = span
            .links
            .into_iter()
            .map(|link| Link::with_context(context(link)));
        let attributes = span.attributes.into_iter();
        SpanData {
            span_context: context(span.context),
            parent_span_id: parent,
            parent_span_is_remote: false,
            span_kind: match span.kind {
                SpanKind::Server => OtelKind::Server,
                SpanKind::Producer => OtelKind::Producer,
                SpanKind::Consumer => OtelKind::Consumer,
                SpanKind::Client => OtelKind::Client,
                SpanKind::Internal => OtelKind::Internal,
            },
            name: span.name.into(),
            start_time: at(span.start),
            end_time: at(span.end),
            attributes: attributes
                .map(|(name, value)| attribute(name, value))
                .collect(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: {
                let mut all = SpanLinks::default();
                all.links.extend(links);
                all
            },
            status: span.error.map_or(Status::Unset, Status::error),
            instrumentation_scope: self.scope.clone(),
        }
    }
}

fn connector(doing: &'static str) -> Result<HttpsConnector<HttpConnector>, Error> {
    let wrong = |error| Error::new(ErrorKind::Reject, doing, error);
    let provider = rustls::crypto::ring::default_provider();
    let builder = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider);
    Ok(builder
        .map_err(wrong)?
        .https_or_http()
        .enable_http1()
        .build())
}

fn context(context: TraceContext) -> SpanContext {
    let flags = if context.sampled {
        TraceFlags::SAMPLED
    } else {
        TraceFlags::default()
    };
    let (trace, span) = (TraceId::from(context.trace.0), SpanId::from(context.span.0));
    SpanContext::new(trace, span, flags, false, TraceState::NONE)
}

fn at(moment: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(moment.ms()).unwrap_or(0))
}

fn attribute(name: &'static str, value: Value) -> KeyValue {
    match value {
        Value::Text(text) => KeyValue::new(name, text.to_string()),
        Value::Number(number) => KeyValue::new(name, number),
        Value::Flag(flag) => KeyValue::new(name, flag),
    }
}

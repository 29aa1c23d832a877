use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;

const LOOKS: u32 = 600;
const PAUSE: Duration = Duration::from_millis(50);

/// A collector of OpenTelemetry that keeps the spans it is sent: OTLP over HTTP, protobuf
/// (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>).
#[derive(Debug)]
pub struct Collector {
    port: u16,
    spans: Arc<Mutex<Vec<Collected>>>,
}

/// A span as it came in.
#[derive(Debug, Clone, PartialEq)]
pub struct Collected {
    /// The service that sent it.
    pub service: String,
    /// Its trace, in hexadecimal digits.
    pub trace: String,
    /// Its id.
    pub id: String,
    /// That of the span it was done for; empty where there is none.
    pub parent: String,
    /// What was done.
    pub name: String,
    /// The number of its kind in the protocol.
    pub kind: i32,
    /// Nanoseconds since 1970.
    pub start: u64,
    /// When it was done.
    pub end: u64,
    /// Each as a text.
    pub attributes: BTreeMap<String, String>,
    /// Whether it failed, and why.
    pub error: Option<String>,
}

impl Collector {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its number").port();
        let spans = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&spans);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                thread::spawn(move || while answer(&stream, &kept).is_some() {});
            }
        });
        Self { port, spans }
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` is to be.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The spans of a trace, once they are such; those of the last look where that does not come about.
    #[must_use]
    pub fn wait_for(&self, trace: &str, until: impl Fn(&[Collected]) -> bool) -> Vec<Collected> {
        let mut found = Vec::new();
        for _ in 0..LOOKS {
            let spans = self
                .spans
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            found = spans
                .into_iter()
                .filter(|span| span.trace == trace)
                .collect();
            if until(&found) {
                break;
            }
            #[expect(clippy::disallowed_methods, reason = "a test waits for a process")]
            thread::sleep(PAUSE);
        }
        found
    }
}

/// Answers a request; `None` when there are no more.
fn answer(stream: &TcpStream, kept: &Mutex<Vec<Collected>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
    let (mut length, mut kind) = (0, String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "content-type" => kind = value.to_owned(),
            _others => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let wanted = first.starts_with("POST /v1/traces ") && kind == "application/x-protobuf";
    let request = ExportTraceServiceRequest::decode(body.as_slice());
    let (status, answer) = match request {
        Ok(request) if wanted => {
            let mut spans = kept.lock().unwrap_or_else(PoisonError::into_inner);
            spans.extend(collected(request));
            (
                "200 OK",
                ExportTraceServiceResponse::default().encode_to_vec(),
            )
        }
        Ok(_) | Err(_) => ("400 Bad Request", Vec::new()),
    };
    let mut stream = stream;
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
        answer.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&answer).ok()
}

fn collected(request: ExportTraceServiceRequest) -> Vec<Collected> {
    let mut all = Vec::new();
    for of_service in request.resource_spans {
        let about = of_service.resource.unwrap_or_default().attributes;
        let about: BTreeMap<String, String> = about
            .into_iter()
            .map(|one| (one.key, text(one.value.and_then(|any| any.value))))
            .collect();
        let spans = of_service
            .scope_spans
            .into_iter()
            .flat_map(|scope| scope.spans);
        all.extend(spans.map(|span| {
            let status = span.status.unwrap_or_default();
            let attributes = span.attributes.into_iter();
            Collected {
                service: about.get("service.name").cloned().unwrap_or_default(),
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                name: span.name,
                kind: span.kind,
                start: span.start_time_unix_nano,
                end: span.end_time_unix_nano,
                attributes: attributes
                    .map(|one| (one.key, text(one.value.and_then(|any| any.value))))
                    .collect(),
                error: (status.code == 2).then_some(status.message),
            }
        }));
    }
    all
}

fn text(value: Option<Value>) -> String {
    match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(flag)) => flag.to_string(),
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

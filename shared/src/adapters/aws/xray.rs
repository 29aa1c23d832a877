use std::net::UdpSocket;

use serde_json::{Map, Value as Json, json};

use crate::metrics::{Unit, in_unit, micros};
use crate::model::Timestamp;
use crate::trace::{Span, SpanKind, TraceId, Value};

/// What stands before a segment that is sent to the daemon.
const HEADER: &str = "{\"format\": \"json\", \"version\": 1}\n";
/// The largest segment (<https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html>).
const SEGMENT_BYTES_MAX: usize = 64_000;

/// Spans as X-Ray's daemon takes them, a datagram each.
///
/// Each is a subsegment of the one that it was done for, sent by itself
/// (<https://docs.aws.amazon.com/xray/latest/devguide/xray-api-sendingdata.html>).
fn segments(spans: &[Span]) -> Vec<String> {
    let documents = spans
        .iter()
        .map(|span| format!("{HEADER}{}", segment(span)));
    documents
        .filter(|text| text.len() <= SEGMENT_BYTES_MAX)
        .collect()
}

fn segment(span: &Span) -> Json {
    let mut annotations = Map::new();
    for (name, value) in &span.attributes {
        let value = match value {
            Value::Text(text) => text.as_str().into(),
            Value::Number(number) => (*number).into(),
            Value::Flag(flag) => (*flag).into(),
        };
        annotations.insert(name.replace('.', "_"), value);
    }
    let mut segment = json!({
        "name": span.name.replace(['{', '}'], ""),
        "id": span.context.span.to_string(),
        "trace_id": xray_id(span.context.trace),
        "start_time": seconds(span.start),
        "end_time": seconds(span.end),
        "annotations": annotations,
    });
    if let (Some(parent), Some(fields)) = (span.parent, segment.as_object_mut()) {
        fields.insert("parent_id".to_owned(), parent.to_string().into());
        fields.insert("type".to_owned(), "subsegment".into());
        if span.kind == SpanKind::Client {
            fields.insert("namespace".to_owned(), "remote".into());
        }
    }
    if let (Some(why), Some(fields)) = (&span.error, segment.as_object_mut()) {
        fields.insert("fault".to_owned(), true.into());
        fields.insert(
            "metadata".to_owned(),
            json!({ "foldback": { "error": why } }),
        );
    }
    segment
}

fn xray_id(trace: TraceId) -> String {
    let (time, rest) = (trace.0 >> 96, trace.0 & (u128::MAX >> 32));
    format!("1-{time:08x}-{rest:024x}")
}

fn seconds(at: Timestamp) -> f64 {
    in_unit(Unit::Seconds, micros(Timestamp::from_ms(0), at))
}

/// Sends spans to X-Ray's daemon, at the address that Lambda gives in `AWS_XRAY_DAEMON_ADDRESS`. What is lost
/// on the way is lost: the daemon does not answer.
///
/// # Errors
/// There is no such address.
pub fn send_to_xray(daemon: &str, spans: &[Span]) -> std::io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    for segment in segments(spans) {
        socket.send_to(segment.as_bytes(), daemon)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{SpanId, TraceContext};

    #[test]
    fn a_span_is_a_subsegment_of_what_it_was_done_for() {
        let context = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let span = Span {
            context: TraceContext::parse(context).expect("a context"),
            parent: Some(SpanId(1)),
            name: "write RSLead".to_owned(),
            kind: SpanKind::Client,
            start: Timestamp::from_ms(1_772_357_400_125),
            end: Timestamp::from_ms(1_772_357_400_250),
            attributes: vec![
                ("db.system.name", "mongodb".into()),
                ("foldback.attempt", 2.into()),
            ],
            links: Vec::new(),
            error: Some("out of reach".to_owned()),
        };
        let daemon = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let at = daemon.local_addr().expect("its address").to_string();
        send_to_xray(&at, &[span]).expect("sent");
        let mut read = [0; 2_048];
        let count = daemon.recv(&mut read).expect("a datagram");
        let text = std::str::from_utf8(&read[..count]).expect("UTF-8");
        let segment = text.strip_prefix(HEADER).expect("a header");
        let segment: Json = serde_json::from_str(segment).expect("JSON");
        let expect = json!({
            "name": "write RSLead",
            "id": "b7ad6b7169203331",
            "trace_id": "1-0af76519-16cd43dd8448eb211c80319c",
            "parent_id": "0000000000000001",
            "type": "subsegment",
            "namespace": "remote",
            "start_time": 1_772_357_400.125,
            "end_time": 1_772_357_400.25,
            "annotations": { "db_system_name": "mongodb", "foldback_attempt": 2 },
            "fault": true,
            "metadata": { "foldback": { "error": "out of reach" } },
        });
        assert_eq!(segment, expect);
    }
}

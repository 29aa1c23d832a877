//! What messages on SQS say of their traces.

use std::sync::Arc;

use foldback_tests::contract::Fixture;
use foldback_tests::fixtures;
use foldback_tests::servers::aws_call;
use serde_json::{Value, json};
use shared::model::Group;
use shared::ports::{Message, Queue};
use shared::trace::{Journey, TraceContext};

use crate::aws::OnAws;

/// A message as SQS has it, and what its first event's trace goes on from.
async fn sent(xray: bool) -> (Value, TraceContext) {
    let fixture = OnAws::fresh().await;
    let group = Group {
        tenant: "acme".into(),
        key: "lead-7".into(),
    };
    let entries = fixtures::every_shape(&group).into_iter();
    let mut traced = entries.filter(|entry| entry.event.traceparent.is_some());
    let entry = traced.next().expect("one with a trace");
    let message = Message {
        group: entry.group.clone(),
        deduplication_id: 1,
        entries: vec![Arc::clone(&entry)],
    };
    let queue = fixture.ports().clone().with_xray(xray);
    queue.send(&[message], fixture.now()).await.expect("sent");
    let input = json!({
        "QueueUrl": queue.names().queue_url,
        "MessageSystemAttributeNames": ["All"],
        "MessageAttributeNames": ["All"],
    });
    let answer = aws_call(&fixture.endpoint(), "AmazonSQS.ReceiveMessage", &input);
    let message = answer.pointer("/Messages/0").expect("a message");
    (message.clone(), Journey::of(&entry).created())
}

#[test]
fn a_message_names_the_trace_of_its_event() {
    OnAws::run(async {
        let (message, context) = sent(false).await;
        let attribute = message.pointer("/MessageAttributes/traceparent/StringValue");
        assert_eq!(attribute, Some(&json!(context.to_string())), "{message}");
        let trace = context.trace.to_string();
        assert_eq!(trace, "0af7651916cd43dd8448eb211c80319c", "its sender's");
        let header = message.pointer("/Attributes/AWSTraceHeader");
        assert_eq!(header, None, "{message}");
    });
}

#[test]
fn with_xray_it_goes_on_there_too() {
    OnAws::run(async {
        let (message, context) = sent(true).await;
        let header = message.pointer("/Attributes/AWSTraceHeader");
        let header = header.and_then(Value::as_str).expect("a header");
        assert_eq!(header, context.xray());
        assert_eq!(TraceContext::parse_xray(header), Some(context));
    });
}

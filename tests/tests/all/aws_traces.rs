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
    (answer["Messages"][0].clone(), Journey::of(&entry).created())
}

#[test]
fn a_message_names_the_trace_of_its_event() {
    OnAws::run(async {
        let (message, context) = sent(false).await;
        let attribute = &message["MessageAttributes"]["traceparent"]["StringValue"];
        assert_eq!(*attribute, json!(context.to_string()), "{message}");
        assert_eq!(
            context.trace.to_string(),
            "0af7651916cd43dd8448eb211c80319c",
            "its sender's"
        );
        assert_eq!(
            message["Attributes"].get("AWSTraceHeader"),
            None,
            "{message}"
        );
    });
}

#[test]
fn with_xray_it_goes_on_there_too() {
    OnAws::run(async {
        let (message, context) = sent(true).await;
        assert_eq!(
            message["Attributes"]["AWSTraceHeader"],
            json!(context.xray()),
            "{message}"
        );
        let header = message["Attributes"]["AWSTraceHeader"]
            .as_str()
            .expect("a text");
        assert_eq!(TraceContext::parse_xray(header), Some(context));
    });
}

//! The Lambda function that takes webhooks in: wiring only.

fn main() {}

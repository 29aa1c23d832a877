//! Lambda function `console`.
fn main() {}
